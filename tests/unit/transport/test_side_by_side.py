"""Commands side by side: each ends for itself, is late for itself, and takes nobody with it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from hpcaccept.errors import LaunchError
from hpcaccept.transport.side_by_side import Ended, Launch, run_side_by_side


def launch(folder: Path, key: str, script: str) -> Launch:
    return Launch(key, ("sh", "-c", script), folder / f"{key}.out", folder / f"{key}.err", dict(os.environ))


def never(key: str, seconds: float) -> bool:
    return False


def by_key(ends: object) -> dict[str, Ended]:
    return {end.key: end for end in ends}  # type: ignore[attr-defined]


def test_they_run_at_the_same_time_and_each_has_its_own_status_and_output(tmp_path: Path) -> None:
    # Each waits for a file of the other: one after the other neither would ever end.
    meet = "touch {mine}; while [ ! -e {other} ]; do sleep 0.01; done; echo {mine}; exit {code}"
    launches = [
        launch(tmp_path, "a", meet.format(mine=tmp_path / "1", other=tmp_path / "2", code=0)),
        launch(tmp_path, "b", meet.format(mine=tmp_path / "2", other=tmp_path / "1", code=7)),
    ]
    ends = by_key(run_side_by_side(launches, is_late=lambda _, seconds: seconds > 60))
    assert (ends["a"].returncode, ends["b"].returncode) == (0, 7)
    assert (tmp_path / "b.out").read_text() == f"{tmp_path / '2'}\n"
    assert not any(end.late or end.stopped for end in ends.values())


def test_the_late_one_is_ended_with_its_children_and_the_other_goes_on(tmp_path: Path) -> None:
    stubborn = f"trap '' TERM; sleep 300 & echo $! > {tmp_path}/child; wait; while true; do sleep 1; done"
    launches = [launch(tmp_path, "stubborn", stubborn), launch(tmp_path, "good", "sleep 0.5; echo done")]

    def is_late(key: str, seconds: float) -> bool:
        return key == "stubborn" and (tmp_path / "child").exists()

    ends = by_key(run_side_by_side(launches, is_late=is_late, grace_s=0.4))
    assert ends["stubborn"].late
    assert ends["stubborn"].returncode < 0
    assert ends["good"].returncode == 0
    assert not is_alive(int((tmp_path / "child").read_text()))


def test_no_more_than_so_many_run_at_once(tmp_path: Path) -> None:
    count = f"echo x >> {tmp_path}/running; wc -l < {tmp_path}/running; sleep 0.05; sed -i 1d {tmp_path}/running"
    ends = list(run_side_by_side([launch(tmp_path, str(n), count) for n in range(4)], is_late=never, at_once=1))
    assert [end.key for end in ends] == ["0", "1", "2", "3"]
    assert {(tmp_path / f"{n}.out").read_text().strip() for n in range(4)} == {"1"}


def test_a_stop_ends_all_and_starts_no_other(tmp_path: Path) -> None:
    launches = [launch(tmp_path, "first", f"touch {tmp_path}/begun; sleep 300"), launch(tmp_path, "next", "true")]
    ends = list(
        run_side_by_side(launches, is_late=never, should_stop=(tmp_path / "begun").exists, at_once=1, grace_s=1)
    )
    assert [(end.key, end.stopped) for end in ends] == [("first", True)]


def test_who_leaves_early_leaves_nothing_running(tmp_path: Path) -> None:
    launches = [launch(tmp_path, "long", f"echo $$ > {tmp_path}/pid; sleep 300"), launch(tmp_path, "short", "true")]
    ends = run_side_by_side(launches, is_late=never, grace_s=1)
    assert next(ends).key == "short"
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    ends.close()  # type: ignore[attr-defined]
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    absent = Launch("a", ("/no/such/program",), tmp_path / "o", tmp_path / "e", {})
    with pytest.raises(LaunchError, match="/no/such/program"):
        list(run_side_by_side([absent], is_late=never))


def test_several_hundred_are_looked_after_by_one_loop(tmp_path: Path) -> None:
    launches = [
        Launch(str(n), (sys.executable, "-S", "-c", ""), Path(os.devnull), Path(os.devnull), dict(os.environ))
        for n in range(60)
    ]
    assert len(list(run_side_by_side(launches, is_late=never, at_once=30))) == 60


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
