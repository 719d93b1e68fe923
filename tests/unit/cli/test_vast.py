"""``hpcaccept vast`` as people type it, against the server of the tests."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import vastai_client
from support.vast_server import KEY, VastServer, vast_server

from hpcaccept.app.vast import build_query
from hpcaccept.app.vast.check import compare
from hpcaccept.cli import main
from hpcaccept.provider.vast.offers import offer_of
from hpcaccept.provider.vast.query import parse_query
from hpcaccept.transport import vast_api

ROOT = Path(__file__).parents[3]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server() -> Iterator[VastServer]:
    with vast_server() as found:
        yield found


@pytest.fixture
def run(server: VastServer, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("VAST_URL", server.url)
    monkeypatch.setenv("VAST_API_KEY", KEY)
    monkeypatch.delenv("HPCACCEPT_VAST_IMAGE", raising=False)
    monkeypatch.setattr(vast_api, "INTERVAL_S", 0.0)
    monkeypatch.chdir(tmp_path)

    def found(*words: str) -> tuple[int, str, str]:
        code = main(["vast", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return found


def market(server: VastServer) -> None:
    server.offer(11, dph_total=0.40, num_gpus=1)
    server.offer(12, dph_total=1.00, num_gpus=2, gpu_name="NVIDIA H100 80GB HBM3 SXM", geolocation="Norway, NO")
    server.offer(123_456, dph_total=12.345, num_gpus=8, reliability=1.0, reliability2=1.0, dlperf=4321.0)
    server.offer(13, verification="verified", verified=True)


def test_search_fits_eighty_columns_and_shows_prices_and_premium(server: VastServer, run: Run) -> None:
    market(server)
    code, out, _ = run("search", "verified=any gpu_ram>7", "--order", "dph")
    lines = out.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == [
        "machine",
        "offer",
        "GPUs",
        "USD/h",
        "/GPU",
        "more",
        "m$/TF",
        "DLPerf",
        "rel",
        "state",
        "at",
    ]
    assert [line.split()[0] for line in lines[1:]] == ["11", "13", "12", "123456"]
    assert " 11% " in lines[1]


def test_search_sends_what_was_typed(server: VastServer, run: Run) -> None:
    run("search", "gpu_ram>7", "num_gpus in [1,2]", "--order", "dph-,id", "--limit", "5", "--type", "bid")
    (body,) = [body for body in server.bodies if body]
    assert body == {
        **parse_query("gpu_ram>7 num_gpus in [1,2]"),
        "order": [["dph_total", "desc"], ["id", "asc"]],
        "type": "bid",
        "limit": 5,
        "allocated_storage": 5.0,
    }


def test_search_for_programs(server: VastServer, run: Run) -> None:
    market(server)
    _, out, _ = run("search", "verified=any", "--json")
    found = json.loads(out)
    assert {each["machine_id"] for each in found["offers"]} == {11, 12, 13, 123_456}
    assert min(each["premium"] for each in found["offers"]) == 0
    assert found["unreadable"] == []


def test_a_wrong_query_asks_nobody(server: VastServer, run: Run) -> None:
    code, _, err = run("search", "gpu_rm>7")
    assert code == 2
    assert "Did you mean 'gpu_ram'?" in err
    assert server.requests == []


def test_nothing_found_is_said(server: VastServer, run: Run) -> None:
    assert run("search", "gpu_ram>7")[:2] == (0, "No offer meets the query.\n")


def test_fields_lists_every_field(run: Run) -> None:
    assert len(run("fields")[1].splitlines()) == 53


def test_a_bad_key_is_a_sentence(server: VastServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", "no-such-key")
    code, _, err = run("search")
    assert code == 3
    assert "Invalid user key" in err
    assert "VAST_API_KEY" in err


def test_check_says_which_rule_is_missed_and_by_how_much(server: VastServer, run: Run) -> None:
    server.offer(11, direct_port_count=4, pcie_bw=2.0)
    code, out, _ = run("check", "11")
    assert code == 1
    assert "missed  network.direct_ports" in out
    assert "short by 33.3%" in out
    assert "→ Open more ports" in out
    assert run("check", "11", "--requirements", "verification-page")[0] == 1
    assert run("check", "11", "--requirements", "selftest")[0] == 2
    assert run("check", "99")[0] == 3


def test_check_for_programs_has_the_source_and_the_day(server: VastServer, run: Run) -> None:
    server.offer(11)
    code, out, _ = run("check", "11", "--json")
    found = json.loads(out)
    assert (code, found["met"]) == (0, True)
    assert found["requirements"]["source"].startswith("https://")
    assert found["requirements"]["read"] == "2026-11-28"


def test_what_is_not_listed_is_not_met(server: VastServer, run: Run) -> None:
    server.offer(11, pcie_bw=None)
    code, out, _ = run("check", "11")
    assert code == 3
    assert "unknown pcie.bandwidth" in out


def row(machine: int, value: float, gpu: str = "RTX_4090", **other: Any) -> dict[str, Any]:
    return {"machine_id": machine, "gpu_name": gpu, "num_gpus": 2, "type": "vllm", "value": value, **other}


def test_claims_are_compared_with_what_renters_measured(server: VastServer, run: Run) -> None:
    server.offer(11)
    server.benchmarks = [row(11, 70.0, "RTX 4090"), *(row(each, 100.0 + each, "RTX 4090") for each in (1, 2, 3))]
    server.reports[11] = [{"problem": "slow", "message": "x", "created_at": "2026-01-01T00:00:00Z"}]
    _, out, _ = run("check", "11")
    assert "69% of the median of its model" in out
    assert "1 reports by renters" in out


def test_benchmarks_of_another_gpu_are_a_remark_and_old_rows_are_read() -> None:
    offer = offer_of({"id": 1, "machine_id": 11, "gpu_name": "RTX 4090", "num_gpus": 2, "dph_total": 1.0})
    (found,) = compare([row(11, 5.0, "RTX_3090")], [], offer)
    assert found.remark == "measured on RTX_3090, offered as RTX 4090"
    (old,) = compare([{"machine_id": 11, "num_gpus": 2, "name": "b", "model": "m", "score": 5.0}], [], offer)
    assert (old.name, old.value, old.others) == ("b m", 5.0, None)
    assert compare(["row", {"value": True}, {"value": 5}, None], [], offer) == ()


def test_without_yes_nothing_is_rented(server: VastServer, run: Run) -> None:
    server.offer(11)
    server.offer(12, direct_port_count=1)
    code, out, _ = run("verify", "11", "12", "--max-usd", "5", "--max-hours", "2", "--image", "me/image:{cuda}")
    assert code == 3
    assert "machine 11: 2 x RTX 4090, 0.7200 USD/h; offer 7000011, me/image:12.8, at most 0.5" in out
    assert "machine 12" in out
    assert "not rented [requirement-missed]" in out
    assert "1 of 2 machines would be rented" in out
    code, out, _ = run("verify", "11", "--json")
    assert json.loads(out)["dry_run"] is True
    assert not [each for each in server.requests if each.startswith("PUT")]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("11", "--yes", "--max-usd", "1", "--image", "a:b"), "needs --max-hours"),
        (("11", "--yes", "--max-hours", "1", "--image", "a:b"), "needs --max-usd"),
        (("11", "--yes"), "needs --max-usd, --max-hours."),
        (("11", "--yes", "--max-hours", "1", "--max-usd", "nan"), "not a finite number"),
        (("11", "--yes", "--max-hours", "1", "--max-usd", "inf"), "not a finite number"),
        (("11", "--load-timeout", "nan"), "not a finite number"),
        (("11", "--max-price", "inf"), "not a finite number"),
        (("11", "--yes", "--max-hours", "1", "--max-usd", "5", "--folder", "/proc/x"), "Cannot make the run's folder"),
        (("11", "--suite", "rentet"), "There is no suite 'rentet'"),
        (("11", "--suite", "absent.toml"), "absent.toml"),
        (("11", "--max-hours", "0.5"), "one rental may take"),
        ((), "Name machines"),
        (("11", "--resume", "x"), "not both"),
        (("--resume", "x"), "is not a run"),
        (("11", "--image", "--privileged"), "expected REGISTRY/NAME:TAG"),
    ],
)
def test_what_would_spend_without_a_cap_is_refused(
    server: VastServer, run: Run, words: tuple[str, ...], part: str
) -> None:
    server.offer(11)
    code, _, err = run("verify", *words)
    assert code in (2, 3)
    assert part in err
    assert not [each for each in server.requests if each.startswith("PUT")]


def test_autoverify_takes_the_unverified_and_free_the_strongest_first(server: VastServer, run: Run) -> None:
    server.offer(11, dlperf=10.0)
    server.offer(12, dlperf=90.0)
    server.offer(13, verification="verified", verified=True)
    server.offer(14, rentable=False)
    server.offer(15, rented=True)
    server.offer(16, cuda_max_good=12.0)
    _, out, _ = run("autoverify")
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("machine")] == [
        "machine 12",
        "machine 11",
    ]
    _, out, _ = run("autoverify", "--most", "1")
    assert "1 of 1 machines" in out
    assert run("autoverify", "--query", "gpu_name=none verified=any")[0] == 3


def test_the_suite_of_rented_machines_fits_their_limits(run: Run) -> None:
    _, out, _ = run("verify", "--help")
    assert "[default: rented]" in " ".join(out.split())


def test_status_and_reap_know_nothing_of_others(server: VastServer, run: Run) -> None:
    server.foreign(30)
    assert run("status")[:2] == (0, "Nothing of hpcaccept is rented.\n")
    assert run("reap", "--all", "--yes")[0] == 0
    assert len(server.instances) == 30


def rented(server: VastServer, label: str) -> int:
    (identity,) = server.foreign(1, label)
    server.instances[identity]["_foreign"] = False
    return identity


def test_reap_takes_what_is_past_its_time_or_named(server: VastServer, run: Run) -> None:
    late = rented(server, "hpcaccept-vast.20260101t000000-00000001.11.20260101T010000Z")
    young = rented(server, "hpcaccept-vast.20260101t000000-00000002.12.20990101T010000Z")
    code, out, _ = run("status")
    assert code == 3
    assert "EXPIRED" in out.splitlines()[0]
    assert [each["instance"] for each in json.loads(run("status", "--json")[1])] == [late, young]
    assert run("reap")[0] == 3
    assert run("reap", "--yes")[1].endswith("1 destroyed; a whole list of the account shows nothing of it.\n")
    assert server.ours() == [young]
    assert run("reap", "--run", "20260101t000000-00000002", "--yes")[0] == 0
    assert server.ours() == []


def answered(*lines: str) -> tuple[str, float | None]:
    stream = io.StringIO("".join(f"{line}\n" for line in lines))
    return build_query.build(build_query.by_lines(stream.readline, lambda _: None))


def test_a_query_is_built_from_answers() -> None:
    text, premium = answered("RTX_4090", "4", "24", "12.8", "any", "0.99", "500", "8", "SE,NO", "3", "15")
    assert text == (
        "gpu_name=RTX_4090 num_gpus>=4 gpu_ram>=24 cuda_vers>=12.8 verified=any reliability>=0.99 inet_down>=500 "
        "direct_port_count>=8 geolocation in [SE,NO] dph<=3"
    )
    assert premium == 0.15
    assert answered("[RTX_4090,RTX_5090]")[0].startswith("gpu_name in [RTX_4090,RTX_5090]")


def test_an_empty_answer_and_the_end_of_the_input_take_the_defaults() -> None:
    assert answered() == answered(*[""] * 11) == ("cuda_vers>=12.4 verified=true reliability>=0.95", None)


def test_a_wrong_answer_is_asked_again_and_nothing_is_slipped_in() -> None:
    said: list[str] = []
    stream = io.StringIO("RTX limit=5\nA dph<0\nRTX_4090\nmany\n4\n")
    text, _ = build_query.build(build_query.by_lines(stream.readline, said.append))
    assert text.startswith("gpu_name=RTX_4090 num_gpus>=4")
    assert any("expected a number" in each for each in said)


def test_query_prints_the_command_with_a_premium_over_the_cheapest(
    server: VastServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    market(server)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n" * 4 + "any\n" + "\n" * 5 + "10\n"))
    code, out, err = run("query")
    assert code == 0
    assert out == "hpcaccept vast search 'cuda_vers>=12.4 verified=any reliability>=0.95 dph<=0.44' --order dph\n"
    assert "cheapest: 0.4000 USD/h; with 10% more: 0.4400" in err


@pytest.mark.slow
@pytest.mark.skipif(bool(vastai_client.why_not()), reason=vastai_client.why_not())
def test_questionary_asks_in_a_terminal() -> None:
    """In a pseudo-terminal, by the real questionary of the witness's environment."""
    import pty

    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from hpcaccept.app.vast.build_query import build, prompt_of_this_terminal\n"
        "print('BUILT', build(prompt_of_this_terminal(print)))\n"
    )
    lead, follow = pty.openpty()
    words = [str(vastai_client.PYTHON), "-c", program, str(ROOT)]
    process = subprocess.Popen(words, stdin=follow, stdout=follow, stderr=follow, env={**os.environ, "TERM": "xterm"})
    os.close(follow)
    os.write(lead, b"RTX_4090\r" + b"\r" * 10)
    said = b""
    while b"BUILT" not in said or not said.endswith(b"\n"):
        try:
            piece = os.read(lead, 4096)
        except OSError:
            break
        said += piece
        if b"\x1b[6n" in piece:
            os.write(lead, b"\x1b[1;1R")
    process.wait(30)
    os.close(lead)
    assert b"BUILT ('gpu_name=RTX_4090 cuda_vers>=12.4 verified=true reliability>=0.95', None)" in said


def test_a_bundle_is_redacted_and_its_owner_s(server: VastServer, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "machines" / "11").mkdir(parents=True)
    begun = {"run": "20261129t184500-0a1b2c3d", "machines": [11], "image": "i", "requirements": "self-test", "max_usd": 1.0, "max_hours": 1.0,
             "max_price": None, "load_s": 1.0, "test_s": 1.0, "silence_s": 1.0, "at_once": 1, "pid": 1}  # fmt: skip
    (folder / "journal.jsonl").write_text(
        json.dumps({"at": "2026-11-29T00:00:00+00:00", "kind": "begun", "data": begun}) + "\n"
    )
    (folder / "machines" / "11" / "container.log").write_text(
        "api_key=0123456789abcdef someone@example.org 198.51.100.7\n"
    )
    code, out, _ = run("bundle", str(folder), "-o", "b.tar.gz")
    assert code == 0, out
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        text = b"".join(archive.extractfile(each).read() for each in archive.getmembers()).decode()  # type: ignore[union-attr]
    for secret in ("0123456789abcdef", "someone@example.org", "198.51.100.7"):
        assert secret not in text
    assert run("bundle", str(folder), "-o", "b.tar.gz")[0] == 2, "never over another file"
    assert run("report", str(folder))[0] == 3
    assert (folder / "Error_testresults.log").read_text().startswith("11:- interrupted")
