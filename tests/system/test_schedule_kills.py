"""The timer of scheduled runs is killed before and after each of its steps: the command runs once, and nothing is left rented or queued."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import vast_server as markets
from support.scheduled_tree import Timer, tree_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.vast_server import VastServer
    from system.cluster import VirtualSlurm

    from hpcaccept.model.schedule.standing import Standing

#: Each start of the command adds a line outside of its folder; its checkpoint counts what is done.
COMMAND = """command = '''
echo x >>"$STARTS/$HPCACCEPT_RUN_ID"
n=$(cat ck 2>/dev/null || echo 0)
while [ "$n" -lt 3 ]; do n=$((n + 1)); echo "epoch $n"; echo "$n" >ck; sleep 0.02; done
'''
grace_s = 2
"""
RENTAL = """
[rental]
image = "example/image:1"
max_price = 1.0
[stop]
max_usd = 5
max_hours = 2
"""
MOST = 200


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    starts = tmp_path / "starts"
    starts.mkdir()
    monkeypatch.setenv("STARTS", str(starts))
    return tree_with(tmp_path / "tree", {"train.py": "print()\n"})


@pytest.fixture
def timer(tree: Path) -> Iterator[Timer]:
    started = Timer.started(tree)
    yield started
    started.close()


@pytest.fixture
def market(monkeypatch: pytest.MonkeyPatch) -> Iterator[VastServer]:
    with markets.vast_server() as server:
        monkeypatch.setenv("VAST_URL", server.url)
        monkeypatch.setenv("VAST_API_KEY", markets.KEY)
        yield server


def starts_of(timer: Timer) -> int:
    file = Path(os.environ["STARTS"]) / timer.latest().run
    return len(file.read_text().splitlines()) if file.exists() else 0


def running(run: str) -> list[int]:
    """Processes of a run."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"HPCACCEPT_RUN_ID={run}".encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
        except OSError:
            continue
    return found


def _working_in(run: str) -> list[int]:
    """Processes in the folder of a run: the shell that starts the command exports the run's name after its own start."""
    found = []
    for folder in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if run in str(folder.readlink()):
                found.append(int(folder.parent.name))
    return found


def _end_at_once(run: str) -> None:
    """As a boot does: no process of the run sees another one end."""
    pids = sorted({*running(run), *_working_in(run)} - {os.getpid()})
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def test_a_timer_that_is_killed_at_any_step_here_starts_the_command_once(timer: Timer) -> None:
    killed = 0
    for kill in range(1, MOST):
        timer.ask("add", recipe=COMMAND, place="here")
        answers = [timer.ask("once", kill=kill)]
        for _ in range(3):  # the command goes on meanwhile: the same timer would come to its later steps
            if answers[-1]["killed"]:
                break
            kill -= answers[-1]["steps"]
            answers.append(timer.ask("once", kill=max(kill, 0)))
        found = timer.until(lambda standing: standing.final)
        assert (found.state, found.exit_code, starts_of(timer)) == ("done", 0, 1), (kill, found)
        assert timer.latest().file("work/ck").read_text() == "3\n"
        if not any(each["killed"] for each in answers):
            break
        killed += 1
    assert killed >= 8


@pytest.mark.parametrize("wish", ["pause", "stop"])
def test_a_timer_that_is_killed_while_it_ends_a_command_leaves_no_process(timer: Timer, wish: str) -> None:
    # The first attempt waits in its middle until it is ended, however slow this machine is.
    slow = COMMAND.replace("sleep 0.02", '[ "$n/$HPCACCEPT_ATTEMPT" != 2/1 ] || sleep 600')
    for kill in range(1, MOST):
        timer.ask("add", recipe=slow, place="here")
        timer.until(lambda standing: standing.state == "running" and starts_of(timer) == 1)
        answer = timer.ask(wish, kill=kill)
        if not timer.latest().standing().wish and answer["killed"] and timer.latest().standing().state == "running":
            timer.ask(wish)  # killed before it was written down: whoever typed it has seen that
        timer.until(lambda standing: standing.state in ("paused", "stopped"))
        assert running(timer.latest().run) == []
        if wish == "pause" and kill % 5 == 0:
            timer.ask("resume")
            found = timer.until(lambda standing: standing.final)
            assert (found.state, timer.latest().file("work/ck").read_text()) == ("done", "3\n")
        if not answer["killed"]:
            assert kill > 4
            break


def test_after_a_boot_a_run_goes_on_where_that_was_asked_for(timer: Timer) -> None:
    slow = COMMAND.replace("sleep 0.02", "sleep 0.3")
    for kill in (2, 4, 5, 6, 7):
        timer.ask("add", recipe="restart = true\n" + slow, place="here")
        timer.ask("once", kill=kill)
        _end_at_once(timer.latest().run)
        found = _after_boot(timer)
        assert (found.state, timer.latest().file("work/ck").read_text()) == ("done", "3\n"), (kill, found)


def _after_boot(timer: Timer) -> Standing:
    """Of the old boot nothing runs; what is started now is of the new one, which begins when the first look is over."""
    timer.ask("once", boot="the-next-boot")
    return timer.until(lambda standing: standing.final)


def test_a_timer_that_is_killed_at_any_step_leaves_nothing_rented(
    market: VastServer, timer: Timer, tmp_path: Path
) -> None:
    theirs = market.foreign(2)
    kills = 0
    for kill in range(1, MOST):
        offer = market.offer(5000 + kill, num_gpus=1, dph_total=0.5, verified=True, verification="verified")
        timer.ask("add", recipe=COMMAND + RENTAL, place="rented")
        machines = str(tmp_path / "machines")
        rest, answers = kill, []
        for _ in range(12):
            answers.append(timer.ask("once", kill=max(rest, 0), machines=machines))
            if answers[-1]["killed"] or timer.latest().standing().final:
                break
            rest -= answers[-1]["steps"]
        found = timer.until(lambda standing: standing.final, machines=machines)
        assert (found.state, found.lease, starts_of(timer)) == ("done", None, 1), (kill, found)
        assert market.ours() == []
        assert timer.latest().file("work/ck").read_text() == "3\n"
        del market.offers[offer["id"]]
        if not answers[-1]["killed"]:
            break
        kills += 1
    assert kills >= 30
    assert market.most_rented == 1
    assert set(theirs) <= set(market.instances)


def test_a_timer_that_is_killed_at_any_step_leaves_no_job_and_starts_once(
    plain_slurm: VirtualSlurm, tree: Path
) -> None:
    timer = Timer.started(tree, plain_slurm.env)
    try:
        for kill in range(1, MOST):
            timer.ask("add", recipe=COMMAND, place="slurm")
            answer = timer.ask("once", kill=kill)
            found = timer.until(lambda standing: standing.final)
            assert (found.state, starts_of(timer)) == ("done", 1), (kill, found)
            if not answer["killed"]:
                assert kill > 6
                break
    finally:
        timer.close()
