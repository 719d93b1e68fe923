"""A campaign is killed before and after each of its steps: the next one goes on, no node is tested twice, and no job is left."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.campaign_slurm import StandInSlurm

from hpcaccept.app.campaign.campaign import site_of, standing_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTS = Path(__file__).parents[3]
MOST = 200
#: After the second job is in the queue, before its number is known: lines, jobs and numbers, two steps each, of two runs.
_SECOND = 10


class Client:
    """The process that carries requests out, and may be killed by them."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.killed_campaign"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=TESTS,
            env={"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "fault" not in answer, answer
        return answer


@pytest.fixture
def client() -> Iterator[Client]:
    found = Client()
    yield found
    assert found.process.stdin is not None
    found.process.stdin.close()
    found.process.wait(60)
    assert found.process.stdout is not None
    found.process.stdout.close()


@pytest.fixture
def fresh(client: Client, tmp_path: Path) -> Callable[[int], tuple[StandInSlurm, Path]]:
    """A campaign over two nodes that has just begun, as often as it is asked for."""
    template = tmp_path / "template"
    template.mkdir()
    StandInSlurm(template, nodes=2)
    client.ask(do="start", name="c", folder=str(template))

    def copied(number: int) -> tuple[StandInSlurm, Path]:
        folder = tmp_path / str(number)
        shutil.copytree(template, folder)
        return StandInSlurm(folder), folder

    return copied


def states(there: StandInSlurm) -> list[str]:
    return sorted(one["state"] for one in there.known()["jobs"].values())


def test_a_campaign_that_is_killed_at_any_step_tests_every_node_once(
    client: Client, fresh: Callable[[int], tuple[StandInSlurm, Path]]
) -> None:
    for kill in range(1, MOST):
        there, folder = fresh(kill)
        # When both are being tested somebody needs one: one of the tests is ended, and that node is tested later.
        there.change(arrives={"id": "7", "nodes": 1}, bad={"node1": "FAIL"})
        killed = client.ask(do="go", name="c", folder=str(folder), kill=kill)["killed"]
        if killed:
            assert client.ask(do="go", name="c", folder=str(folder))["state"] == "done"
        standing = standing_in(site_of(folder / "runs", "c"))
        outcomes = {node: found.outcome for node, found in standing.tested.items()}
        assert outcomes == {"node0": "PASS", "node1": "FAIL"}, kill
        assert there.known()["violations"] == [], kill
        assert states(there) == ["cancelled", "ended", "ended"], kill
        assert all(there.runs_of(node).count("ended") == 1 for node in outcomes), kill
        if not killed:
            break
    assert kill > 20


def test_a_campaign_that_is_killed_while_it_is_stopped_leaves_no_job(
    client: Client, fresh: Callable[[int], tuple[StandInSlurm, Path]]
) -> None:
    for kill in range(1, MOST):
        there, folder = fresh(kill)
        there.change(endless=True, stopping=True)
        # Jobs of a campaign that was killed while it submitted the second.
        client.ask(do="go", name="c", folder=str(folder), kill=_SECOND)
        assert states(there) == ["running"] * 2
        killed = client.ask(do="stop", name="c", folder=str(folder), kill=kill)["killed"]
        if killed:
            written = standing_in(site_of(folder / "runs", "c")).state != "running"
            client.ask(do="go" if written else "stop", name="c", folder=str(folder))
        standing = standing_in(site_of(folder / "runs", "c"))
        assert (standing.state, standing.tested) == ("stopped", {}), kill
        assert states(there) == ["cancelled"] * 2, kill
        if not killed:
            break
    assert kill > 8
