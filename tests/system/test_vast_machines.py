"""The whole way: from a search to a verified and a refuted machine, where every rented machine is a real process."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support import lying_testers, vast_cli, vast_machines, vast_market
from support.vast_machines import Machines
from support.vast_server import KEY, VastServer, vast_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.mpi]
RENT = ("--image", "me/hpcaccept:cuda-{cuda}", "--max-usd", "5", "--max-hours", "2", "--yes")


class Market:
    """An account, its machines, and a user's folder."""

    def __init__(self, server: VastServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.machines = Machines(folder / "machines")
        self.suite = folder / "suite.toml"
        self.suite.write_text(vast_machines.SUITE)
        server.start = self.machines.start

    def run(self, *words: str, code: int = 0, answers: str = "", **options: Any) -> str:
        """What one command says."""
        done = subprocess.run(
            vast_cli.words({"small": True, **options}, *words),
            cwd=self.folder,
            env=vast_cli.environment(self.server.url),
            input=answers,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with vast_server() as server:
        others = server.foreign(30)
        found = Market(server, tmp_path)
        yield found
        assert server.ours() == []
        assert set(others) <= set(server.instances)
        assert all(process.poll() is not None for process in found.machines.processes), (
            "what ran on machines has ended with them"
        )


def test_from_a_search_to_a_verified_and_a_refuted_machine(market: Market) -> None:
    market.server.offer(11, num_gpus=1, gpu_name="H100 SXM", dlperf=500.0)
    market.server.offer(12, num_gpus=1, gpu_name="H100 SXM", dlperf=400.0)
    market.server.offer(13, verification="verified", verified=True)
    market.machines.liars[12] = lying_testers.LazyRows

    assert "11" in market.run("search", "verified=any gpu_ram>7")
    assert "met" in market.run("check", "11")
    dry = market.run("autoverify", "--suite", str(market.suite), code=3)
    assert "Dry run: 2 of 2 machines would be rented" in dry
    assert not market.machines.processes, "nothing was rented"

    said = market.run("autoverify", "--suite", str(market.suite), "--folder", "run", *RENT, code=1)
    assert "machine 11: verified [verified]" in said
    assert "machine 12: refuted [proof-wrong]" in said
    assert "A whole list of the account shows nothing of this run." in said
    assert (market.folder / "run" / "Pass_testresults.log").read_text() == "11\n"
    assert re.match(r"12:\d+ proof-wrong ", (market.folder / "run" / "Error_testresults.log").read_text())

    audited = market.run("audit", "run/machines/12/transcript.json", code=1)
    assert "refuted (wrong-result)" in audited
    assert "verified" in market.run("audit", "run/machines/11/transcript.json")
    document = json.loads((market.folder / "run" / "results.json").read_text())
    assert document["machines"][0]["proved"]["gpu 0"].startswith("verified")
    assert "Nothing of hpcaccept is rented" in market.run("status")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (lying_testers.FalseDone, "proof-forged"),
        (lying_testers.FlippedBits, "proof-wrong"),
        (lying_testers.ForgedPath, "proof-forged"),
        (lying_testers.ChangedRoot, "proof-forged"),
        (lying_testers.Oversize, "proof-forged"),
        (lying_testers.SaysItCannot, "proof-missing"),
        (
            lying_testers.Machine,
            "verified",
        ),  # what it says of the suite is a claim: who works rightly and lies about the rest is not found out
    ],
)
def test_a_liar_is_rented_found_out_and_destroyed(market: Market, kind: type[Any], code: str) -> None:
    market.server.offer(11, num_gpus=1, gpu_name="H100 SXM")
    market.machines.liars[11] = kind
    expected = {"proof-missing": 3, "verified": 0}.get(code, 1)
    said = market.run("verify", "11", "--folder", "run", *RENT, code=expected)
    assert f"[{code}]" in said


def test_a_machine_with_fewer_gpus_than_it_offers_says_so_itself(market: Market) -> None:
    market.server.offer(11, num_gpus=8, gpu_name="H100 SXM", cpu_ram=2_000_000)
    said = market.run("verify", "11", "--suite", str(market.suite), "--folder", "run", *RENT, code=1)
    assert "[gpus-missing]" in said


def test_a_suite_that_fails_fails_the_machine(market: Market) -> None:
    market.server.offer(11, num_gpus=1, gpu_name="H100 SXM")
    market.suite.write_text(vast_machines.SUITE.replace("lower = 1e6", "lower = 1e16"))
    said = market.run("verify", "11", "--suite", str(market.suite), "--folder", "run", *RENT, code=1)
    assert "[test-failed]" in said
    assert "dgemm" in (market.folder / "run" / "Error_testresults.log").read_text()


def test_who_answers_without_this_rental_s_key_gets_no_token(market: Market) -> None:
    market.server.offer(11, num_gpus=1, gpu_name="H100 SXM")
    seen: list[str] = []

    class Stranger(lying_testers.Machine):
        def answer(self, request: Any) -> Any:
            seen.append(request.token)
            self.pin = b"x" * 32
            return super().answer(request)

    market.machines.liars[11] = Stranger
    assert "[wrong-certificate]" in market.run("verify", "11", "--folder", "run", *RENT, code=3)
    assert set(seen) == {""}


def test_a_tester_that_never_starts_is_inconclusive(market: Market) -> None:
    market.server.offer(11, num_gpus=1, gpu_name="H100 SXM")
    market.server.start = None
    said = market.run("verify", "11", "--folder", "run", "--test-timeout", "3", *RENT, code=3, connect_s=4.0)
    assert "[tester-unreachable]" in said or "[test-timeout]" in said


def test_the_account_s_key_is_on_no_machine(market: Market) -> None:
    market.server.offer(11, num_gpus=1, gpu_name="H100 SXM")
    market.run("verify", "11", "--suite", str(market.suite), "--folder", "run", *RENT, code=0)
    assert all(KEY not in json.dumps(body) for body in market.server.bodies)
    for file in market.folder.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file
    for text in (market.folder / "run").rglob("*"):
        assert not text.is_file() or "HPCACCEPT_TESTER_KEY" not in text.read_text("utf-8"), text


def test_the_page_s_walk_ends_where_the_page_says(tmp_path: Path) -> None:
    page = (vast_cli.ROOT / "docs" / "how-to" / "rented-machines.md").read_text("utf-8")
    lines = re.findall(r"^hpcaccept (vast .*)$", page.partition("## Try it without an account")[2], re.MULTILINE)
    assert len(lines) == 7
    with vast_market.market(tmp_path) as server:
        for line in lines:
            text, _, remark = line.partition("#")
            expected = int(found[1]) if (found := re.search(r"exit code (\d)", remark)) else 0
            done = subprocess.run(
                vast_cli.words(vast_market.OPTIONS, *shlex.split(text)[1:]),
                cwd=tmp_path,
                env=vast_cli.environment(server.url),
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            assert done.returncode == expected, f"{line}\n{done.stdout}{done.stderr}"
        assert server.ours() == []
        # Its images have no hpcaccept: each machine runs what it was sent, and not what is installed on this one.
        starts = [body["onstart"] for body in server.bodies if isinstance(body, dict) and "onstart" in body]
        assert all(len(start) <= 4048 and "receive.py" in start for start in starts)
    assert list((tmp_path / "machines").glob("*/tmp.*/of/hpcaccept/__init__.py"))
    assert (tmp_path / "run" / "Pass_testresults.log").read_text() == "4711\n"
    errors = (tmp_path / "run" / "Error_testresults.log").read_text()
    assert re.search(r"^4712:\d+ proof-wrong ", errors, re.MULTILINE)
    assert re.search(r"^4713:\d+ machine-offline ", errors, re.MULTILINE)
