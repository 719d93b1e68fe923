"""A disk that is full for real: a small tmpfs. What was said is safe, and the job can still say its last word."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.builders import AT, fleet, plan, record, step, suite

from hpcaccept.errors import RunFolderFull
from hpcaccept.launch.job.driver import EXIT_FOLDER_FULL, FOLDER_FULL, reckon
from hpcaccept.launch.job.events import Events
from hpcaccept.launch.job.queue import StepQueue
from hpcaccept.model.event import Event
from hpcaccept.model.record import CheckStarted
from hpcaccept.rank import EXIT_FOLDER_FULL as RANKS_EXIT_FOLDER_FULL
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.journal import Journal, read
from hpcaccept.store.run_file import write_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE_KIB = 512


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a MiB."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small file system")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_KIB}k,nr_inodes=64", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount is not allowed here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def folder(disk: Path) -> RunFolder:
    made = RunFolder(disk / "run")
    made.create()
    made.write_plan(plan(suite("identity")))
    made.write_step(step(("identity",)))
    return made


def fill(disk: Path, leave: int = 0) -> None:
    """Take all space but ``leave`` bytes."""
    with (disk / "filler").open("wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(4096))
        except OSError:
            pass
        if leave:
            out.truncate(max(0, out.tell() - leave))


def until_full(say: Callable[[], None]) -> tuple[int, str]:
    """How often it could be said, and what was said in the end."""
    for count in range(2000):
        try:
            say()
        except RunFolderFull as fault:
            return count, fault.message
    raise AssertionError("the disk does not fill")


def test_a_folder_for_which_there_is_no_space_is_refused_before_anything_starts(disk: Path) -> None:
    fill(disk)
    with pytest.raises(RunFolderFull, match="no space left") as fault:
        RunFolder(disk / "run").create()
    assert "--runs-dir" in fault.value.remedy


def test_what_was_said_before_the_disk_was_full_is_safe(folder: RunFolder, disk: Path) -> None:
    journal = Journal(folder.records("00") / "r000000.jsonl")
    first = record("identity", "node0", {}, cause="x" * 100)
    journal.write(first)
    fill(disk)
    count, message = until_full(lambda: journal.write(CheckStarted("x" * 500)))
    assert "r000000.jsonl" in message
    assert list(read(journal.file)) == [first, *[CheckStarted("x" * 500)] * count]


def test_once_there_is_space_again_a_journal_goes_on_without_a_torn_line(folder: RunFolder, disk: Path) -> None:
    journal = Journal(folder.records("00") / "r000000.jsonl")
    fill(disk)
    count, _ = until_full(lambda: journal.write(CheckStarted("x" * 700)))
    (disk / "filler").unlink()
    journal.write(CheckStarted("at last"))
    found = list(read(journal.file))
    assert found == [*[CheckStarted("x" * 700)] * count, CheckStarted("at last")]


def test_a_journal_that_cannot_even_be_opened_is_named(folder: RunFolder, disk: Path) -> None:
    taken = 0
    try:
        while True:  # inodes run out too
            (disk / f"inode{taken}").touch()
            taken += 1
    except OSError:
        pass
    with pytest.raises(RunFolderFull, match=r"r000007\.jsonl"):
        Journal(folder.records("00") / "r000007.jsonl")


@pytest.mark.parametrize("detail", ["full", "x" * 9000], ids=["short", "longer than a page"])
def test_the_reserve_lets_the_job_say_its_last_word(folder: RunFolder, disk: Path, detail: str) -> None:
    events = Events(folder)
    events.say("started", nodes=("node0",))
    fill(disk)
    spoken = 0
    while folder.reserve.exists() and spoken < 200:
        events.say("step_started", step="00")
        spoken += 1
    events.say("ended", detail=detail)
    assert not folder.reserve.exists()
    found = list(read(folder.driver_log))
    assert all(isinstance(word, Event) for word in found), "a torn line"
    last = found[-1]
    assert isinstance(last, Event)
    assert (last.kind, last.detail) == ("ended", detail)
    assert len(found) == spoken + 2


def test_when_the_reserve_is_spent_too_the_error_is_told(folder: RunFolder, disk: Path) -> None:
    events = Events(folder)
    fill(disk)
    _, message = until_full(lambda: events.say("ended", detail="x" * 4000))
    assert "driver.jsonl" in message


@pytest.mark.parametrize("code", [EXIT_FOLDER_FULL, 1])
def test_the_driver_calls_a_full_disk_by_its_name_and_blames_no_node(folder: RunFolder, disk: Path, code: int) -> None:
    events = Events(folder)
    if code == 1:  # the ranks could not even say why
        fill(disk)
    the_step = folder.read_step("00")
    queue, why = reckon(folder, events, StepQueue(()), the_step, code=code, late=False, runtime="none")
    assert why is not None
    assert why[0] == FOLDER_FULL
    assert queue.struck == {}


def test_ranks_and_driver_agree_on_what_a_full_folder_exits_with() -> None:
    assert RANKS_EXIT_FOLDER_FULL == EXIT_FOLDER_FULL


def test_a_run_file_that_finds_no_space_leaves_the_earlier_one(disk: Path) -> None:
    file = disk / "run.h5"
    write_run(file, fleet([1.0, 2.0]), AT)
    before = file.read_bytes()
    fill(disk)
    with pytest.raises(OSError, match=r"."):
        write_run(file, fleet([1.0] * 2000), AT)
    assert file.read_bytes() == before
    assert sorted(p.name for p in disk.iterdir()) == ["filler", "run.h5"]
