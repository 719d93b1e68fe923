"""A certificate says what was accepted and nothing else, and no byte of it can be changed unnoticed."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import H100, nodes, record
from support.finished_runs import finished, gpu_run

from hpcaccept import __version__
from hpcaccept.app.certificate import Verified, issue, verify
from hpcaccept.app.commit import commit
from hpcaccept.cli import main
from hpcaccept.errors import HpcacceptError, RunError, StoreError, UsageError
from hpcaccept.model.event import CANCELLED
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.signing import canonical, make_key, read_private_key, sign

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 23, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good run ``run1``, one with a wrong result ``run2``, and a key."""
    folder = tmp_path_factory.mktemp("site")
    gpu_run(folder)
    gpu_run(folder, "run2", wrong="node2")
    make_key(folder / "key")
    return folder


def run(place: Path, name: str = "run1") -> RunFolder:
    return RunFolder(place / "runs" / name)


def issued(place: Path, *names: str, days: int = 90, file: str = "certificate.json") -> tuple[Path, Any]:
    folders = [run(place, name) for name in names or ("run1",)]
    found = issue(folders, place / "none", place / "key", timedelta(days=days), place / file, NOW)
    return found.file, found


def document(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_bytes())["certificate"]
    return found


def test_a_good_run_certifies_its_nodes_by_gpu_and_limit(place: Path) -> None:
    file, found = issued(place)
    assert (found.exit_code, found.others) == (0, {})
    said = document(file)
    assert [node["node"] for node in said["nodes"]] == ["node0", "node1", "node2", "node3"]
    subject = {"device": "cuda:0", "model": "NVIDIA H100 80GB HBM3", "uuid": "GPU-0", "serial": "serial-of-GPU-0"}
    assert said["nodes"][0]["units"] == [subject]
    (told,) = said["runs"]
    assert told["coverage"] == {"asked": 12, "judged": 12, "silent": []}
    limits = {(limit["key"], limit["question"]): limit for limit in told["limits"]}
    wrong = limits["matmul.wrong_elements[bf16]", "limits"]
    assert (wrong["upper"], wrong["outcomes"]) == ([0.0, 0.0], {"PASS": 4})
    assert wrong["source"]
    assert {"plan.json", "run.h5", "records/00/r000003.jsonl", "driver.jsonl"} <= told["files"].keys()
    assert (told["launcher"], told["suite"], told["exit_code"]) == ("slurm", "mine", 0)
    assert told["hpcaccept"] == {"version": __version__, "commit": "c0ffee"}
    assert said["hpcaccept"] == {"version": __version__, "commit": commit()}
    assert told["asked"] == {"nodes": 4, "gpus_per_node": 1}
    assert told["environment"]["driver"] == "580.1"
    assert [spec["name"] for spec in told["checks"]] == ["identity", "matmul", "memory_bandwidth"]


def as_local(place: Path, name: str, *, nodelist: str, hostname: str = "") -> RunFolder:
    """The run as this machine's own; its first rank calls the host so."""
    folder = run(place, name)
    plan = json.loads(folder.plan_file.read_text())
    plan["launcher"] = "local"
    plan["request"]["nodelist"] = nodelist
    folder.plan_file.write_text(json.dumps(plan))
    journal = folder.records("00") / "r000000.jsonl"
    journal.write_text(journal.read_text().replace("host-node0", hostname or "host-node0"))
    return folder


def test_a_machine_that_was_given_the_names_of_nodes_certifies_none_of_them(place: Path) -> None:
    """Whether hpcaccept made the names up, or somebody typed them."""
    for name, nodelist in (("made-up", ""), ("typed", "node[0-3]")):
        shutil.copytree(run(place).path, run(place, name).path)
        as_local(place, name, nodelist=nodelist, hostname="node0")
        with pytest.raises(RunError, match="are virtual"):
            issued(place, name, file=f"{name}.json")


def test_a_machine_may_speak_for_itself_under_its_own_name(tmp_path: Path, place: Path) -> None:
    shutil.copy(place / "key", tmp_path / "key")
    gpu_run(tmp_path, "alone", rates=(7.9e14,))
    as_local(tmp_path, "alone", nodelist="node0.example", hostname="another")
    with pytest.raises(RunError, match="are virtual"):
        issued(tmp_path, "alone")
    gpu_run(tmp_path, "itself", rates=(7.9e14,))
    as_local(tmp_path, "itself", nodelist="node0", hostname="node0")
    assert issued(tmp_path, "itself")[1].certified == ("node0",)


def test_a_run_that_was_cancelled_certifies_nobody(place: Path) -> None:
    """Even where all that it came to is well: nobody knows what it would have found out."""
    shutil.copytree(run(place).path, run(place, "cut").path)
    log = run(place, "cut").driver_log
    words = [json.loads(line) for line in log.read_text().splitlines()]
    words[-1]["data"]["detail"] = CANCELLED
    log.write_text("".join(json.dumps(word) + "\n" for word in words))
    os.utime(log, (time.time() + 60,) * 2)
    with pytest.raises(RunError, match="did not come to its end: the job was cancelled"):
        issued(place, "cut", file="cut.json")
    assert not (place / "cut.json").exists()


def test_a_node_that_failed_in_any_run_is_named_and_not_certified(place: Path) -> None:
    file, found = issued(place, "run1", "run2", file="both.json")
    assert found.exit_code == 1
    assert found.certified == ("node0", "node1", "node3")
    assert "wrong_elements" in found.others["node2"]
    (other,) = document(file)["not_certified"]
    assert (other["node"], other["verdict"], other["runs"]) == ("node2", "failed", ["run1", "run2"])


def test_a_silent_node_is_not_certified(tmp_path: Path, place: Path) -> None:
    folder = gpu_run(tmp_path, silent=("node3",))
    found = issue([folder], tmp_path, place / "key", timedelta(days=1), tmp_path / "c.json", NOW)
    assert "node3" in found.others
    assert found.exit_code in (1, 3)


def test_without_an_accepted_node_there_is_no_certificate(tmp_path: Path, place: Path) -> None:
    folder = gpu_run(tmp_path, silent=("node0", "node1", "node2", "node3"))
    with pytest.raises(RunError, match="certified"):
        issue([folder], tmp_path, place / "key", timedelta(days=1), tmp_path / "c.json", NOW)
    assert not (tmp_path / "c.json").exists()


def test_what_blames_all_nodes_together_certifies_nobody(tmp_path: Path, place: Path) -> None:
    """Each node has passed all that is its own: a certificate over a fabric that failed would be one over nothing."""
    limit = {"lower": 1e10, "unit": "B/s", "source": "contract"}
    tables = {"baseline": "optional", "checks": {"allreduce": {}}, "limits": {"allreduce.busbw_bytes": limit}}
    numbers = {
        "latency_s[64MiB]": 1e-3, "algbw_bytes[64MiB]": 1e9, "busbw_bytes[64MiB]": 1.5e9, "spread[64MiB]": 0.01,
        "wrong_elements[64MiB]": 0.0,
    }  # fmt: skip
    who = {"device": "cuda:0", "device_model": H100}
    said = {
        node: [record("allreduce", node, numbers if rank == 0 else {}, rank=rank, device_id=f"GPU-{rank}", **who)]
        for rank, node in enumerate(nodes(2))
    }
    folder = finished(tmp_path, "slow-fabric", tables, nodes(2), said)
    with pytest.raises(RunError, match=r"All nodes together are blamed.*allreduce\.busbw_bytes") as refused:
        issue([folder], tmp_path, place / "key", timedelta(days=1), tmp_path / "c.json", NOW)
    assert refused.value.remedy
    assert not (tmp_path / "c.json").exists()


def test_it_holds_for_who_trusts_the_key_until_it_expires(place: Path) -> None:
    file, _ = issued(place, days=10)

    def look(key: Path | None, now: datetime) -> Verified:
        return verify(file, [run(place)], key, now)[0]

    assert look(place / "key.pub", NOW).exit_code == 0
    assert look(None, NOW).exit_code == 3, "who signed is not known"
    late = look(place / "key.pub", NOW + timedelta(days=11))
    assert (late.exit_code, "expired" in late.bad[0]) == (3, True)
    assert look(place / "key.pub", NOW - timedelta(days=1)).exit_code == 3
    make_key(place / "other")
    assert "not by" in look(place / "other.pub", NOW).bad[0]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda f: (f.records("00") / "r000001.jsonl").write_text("{}\n"), "changed: records/00/r000001.jsonl"),
        (lambda f: (f.records("00") / "r000001.jsonl").unlink(), "missing: records/00/r000001.jsonl"),
        (lambda f: (f.records("00") / "r000009.jsonl").write_text("{}\n"), "added: records/00/r000009.jsonl"),
        (lambda f: f.run_file.write_bytes(b""), "changed: run.h5"),
    ],
)
def test_records_that_are_no_longer_the_same_are_named(
    tmp_path: Path, place: Path, harm: Callable[[RunFolder], object], said: str
) -> None:
    folder = gpu_run(tmp_path)
    file = issue([folder], tmp_path, place / "key", timedelta(days=1), tmp_path / "c.json", NOW).file
    assert verify(file, [folder], place / "key.pub", NOW)[0].bad == ()
    harm(folder)
    found = verify(file, [folder], place / "key.pub", NOW)[0]
    assert (found.exit_code, found.bad) == (3, (f"run1: {said}.",))


def test_a_run_of_another_certificate_is_a_mistake(place: Path) -> None:
    file, _ = issued(place)
    with pytest.raises(UsageError, match="run2 is not a run of this certificate"):
        verify(file, [run(place, "run2")], None, NOW)


@pytest.mark.parametrize("harm", [lambda digits: f" {digits}", lambda digits: digits.upper()])
@pytest.mark.parametrize("field", ["public_key", "value"])
def test_digits_that_mean_the_same_are_a_change_too(place: Path, field: str, harm: Callable[[str], str]) -> None:
    file, _ = issued(place)
    whole = json.loads(file.read_text())
    before = whole["signature"][field]
    assert harm(before) != before
    harmed = place / "harmed.json"
    harmed.write_text(file.read_text().replace(before, harm(before)))
    with pytest.raises(StoreError, match="not written as they were"):
        verify(harmed, [], None, NOW)


@given(data=st.data())
def test_a_change_of_any_byte_is_found(place: Path, data: st.DataObject) -> None:
    file = place / "certificate.json"
    if not file.exists():
        issued(place)
    raw = file.read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1), label="at")
    harmed = data.draw(
        st.sampled_from(
            [
                raw[:at] + bytes([raw[at] ^ (1 << data.draw(st.integers(0, 7)))]) + raw[at + 1 :],
                raw[:at] + raw[at + 1 :],
                raw[:at] + b" " + raw[at:],
                raw[:at],
            ]
        )
    )
    if harmed == raw:
        return
    other = place / "harmed.json"
    other.write_bytes(harmed)
    with pytest.raises((StoreError, UsageError)):
        verify(other, [], place / "key.pub", NOW)


@pytest.mark.parametrize("field", ["nodes", "expires_at", "runs"])
def test_a_changed_statement_that_is_written_canonically_is_found_too(place: Path, field: str) -> None:
    file, _ = issued(place)
    whole = json.loads(file.read_bytes())
    whole["certificate"][field] = whole["certificate"][field][:-1]
    (place / "forged.json").write_bytes(canonical(whole))
    with pytest.raises(StoreError, match="signature does not fit"):
        verify(place / "forged.json", [], place / "key.pub", NOW)


def test_who_signs_it_anew_is_not_the_one_that_is_trusted(place: Path) -> None:
    file, _ = issued(place)
    whole = json.loads(file.read_bytes())
    make_key(place / "thief")
    whole["signature"] = sign(whole["certificate"], read_private_key(place / "thief"))
    (place / "stolen.json").write_bytes(canonical(whole))
    assert verify(place / "stolen.json", [], place / "key.pub", NOW)[0].exit_code == 3


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_may_read_signs_nothing(tmp_path: Path, mode: int) -> None:
    make_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "key").chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        read_private_key(tmp_path / "key")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        make_key(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"certificate":1,"signature":2}', "[" * 5000, "\x00"])
def test_what_is_no_certificate_is_an_error_with_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(HpcacceptError):
        verify(tmp_path / "c.json", [], None, NOW)


def test_commands(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert main(["certificate", "keygen", "--key", "mine"]) == 0
    assert main(["certificate", "create", "run1", "--key", "mine", "--output", "c.json"]) == 0
    assert "4 nodes for 90 days" in capsys.readouterr().out
    assert main(["certificate", "verify", "c.json", "--public-key", "mine.pub", "--run", "run1"]) == 0
    assert "BAD" not in capsys.readouterr().out
    assert main(["certificate", "verify", "c.json"]) == 3
    assert "Records not looked at: run1" in capsys.readouterr().out
    Path("c.json").write_text(Path("c.json").read_text("utf-8").replace("node0", "node7"), "utf-8")
    assert main(["certificate", "verify", "c.json", "--public-key", "mine.pub"]) == 3
    assert "BAD The signature does not fit" in capsys.readouterr().out
    Path("mine").chmod(0o644)
    assert main(["certificate", "create", "run1", "--key", "mine"]) == 2
