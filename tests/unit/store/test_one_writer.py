"""One writer at a time, with the kernel's lock or, on a file system that has none, with a file of its own."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import no_locks
from support.submission import ROOT

from hpcaccept.errors import RunError
from hpcaccept.store.one_writer import locked

if TYPE_CHECKING:
    from collections.abc import Callable

#: Writes and reads each kind of file as after a run, and says what HDF5's own lock would have said.
ALL_FILES = """
import sys
from pathlib import Path
import h5py
from support.builders import AT, H100, baseline, entry, fleet
from support.pasts import FP32, past_run
from hpcaccept.app.baseline.lifecycle import upgrade
from hpcaccept.store.baseline_file import change_file, read_generations
from hpcaccept.store.history_file import append, read_past
from hpcaccept.store.run_file import read_run, write_run

place = Path(sys.argv[1])
try:
    h5py.File(place / "locked.h5", "w", locking=True)
except OSError as fault:
    print("HDF5 alone:", fault)
write_run(place / "run.h5", fleet([1.0, 2.0]), AT)
print(len(read_run(place / "run.h5").nodes), "nodes")
append(place / "history", [past_run(1, {FP32: [1.5, 2.5]})])
print(len(read_past(place / "history", ["GPU-a"], [FP32]).values), "metric")
(place / "baselines").mkdir()
change_file(place / "baselines" / "h100.h5", H100, lambda _: (baseline(entry()),))
print(len(read_generations(place / "baselines" / "h100.h5")), "baseline")
print(*upgrade(place / "baselines"))
"""


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def set_answer(answer: int) -> None:
        def refuse(*_: object) -> None:
            raise OSError(answer, os.strerror(answer))

        monkeypatch.setattr(fcntl, "flock", refuse)

    return set_answer


def held(folder: Path, **owner: Any) -> Path:
    """A lock file that somebody else has made."""
    with locked(folder / ".lock", "the other"):
        said = json.loads((folder / ".lock.held").read_text())
    said["owner"] |= owner
    (folder / ".lock.held").write_text(json.dumps(said))
    return folder / ".lock.held"


@pytest.mark.parametrize("answer", no_locks.ANSWERS)
def test_without_locks_a_file_is_the_lock_and_goes_at_the_end(
    tmp_path: Path, no_flock: Callable[[int], None], answer: int
) -> None:
    no_flock(answer)
    with locked(tmp_path / ".lock", "a test"):
        with pytest.raises(RunError, match=r"process \d+.* for .*: a test") as refused:
            locked(tmp_path / ".lock", "the other", wait_s=0.0).__enter__()
        assert refused.value.remedy.startswith("Wait until it is done")
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]
    with locked(tmp_path / ".lock", "free again", wait_s=0.0):
        pass


def test_a_lock_that_a_killed_process_left_is_told_and_not_taken(
    tmp_path: Path, no_flock: Callable[[int], None]
) -> None:
    no_flock(524)
    left = held(tmp_path, pid=2**22 + 1)
    with pytest.raises(RunError, match="the other") as refused:
        locked(tmp_path / ".lock", "mine", wait_s=0.0).__enter__()
    assert refused.value.remedy == f"Its owner left it behind (process {2**22 + 1} is gone): rm {left}"
    assert left.exists()


def test_of_another_machine_nobody_here_knows_whether_it_lives(tmp_path: Path, no_flock: Callable[[int], None]) -> None:
    no_flock(524)
    left = held(tmp_path, host="login7", boot="another", pids="another")
    with pytest.raises(RunError, match="on login7") as refused:
        locked(tmp_path / ".lock", "mine", wait_s=0.0).__enter__()
    assert f"rm {left}" in refused.value.remedy


def test_who_has_locks_waits_for_who_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The same file system, mounted with locks here and without them there.
    with monkeypatch.context() as there:
        there.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(524, "")))
        left = held(tmp_path, host="login7", boot="another")
    with pytest.raises(RunError, match="on login7"):
        locked(tmp_path / ".lock", "mine", wait_s=0.0).__enter__()
    left.unlink()
    with locked(tmp_path / ".lock", "mine", wait_s=0.0):
        pass


def test_a_lock_that_was_removed_and_taken_by_another_is_left_to_them(
    tmp_path: Path, no_flock: Callable[[int], None]
) -> None:
    no_flock(524)
    with locked(tmp_path / ".lock", "mine"):
        (tmp_path / ".lock.held").write_text("somebody else's")
    assert (tmp_path / ".lock.held").exists()


@pytest.mark.parametrize("answer", no_locks.ANSWERS)
def test_run_history_and_baseline_are_written_and_read_without_locks(tmp_path: Path, answer: int) -> None:
    (tmp_path / "site").mkdir()
    tests = Path(no_locks.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", ALL_FILES, str(tmp_path / "site")],
        env={**os.environ, **no_locks.environment(tmp_path, answer), "PYTHONPATH": f"{tests}:{tests.parent}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert "HDF5 alone: " in first
    assert "lock" in first
    assert [line.split(":")[0] for line in rest[:3]] == ["2 nodes", "1 metric", "1 baseline"]
    assert not list((tmp_path / "site").rglob("*.held"))


def test_every_hdf5_file_is_opened_without_hdf5s_own_locks() -> None:
    opened = re.compile(r"h5py\.File\([^)\n]*\)")
    calls = {
        f"{file.name}: {call}"
        for file in sorted((ROOT / "hpcaccept").rglob("*.py"))
        for call in opened.findall(file.read_text("utf-8"))
    }
    assert len(calls) >= 3
    assert {call for call in calls if "locking=False" not in call} == set()
