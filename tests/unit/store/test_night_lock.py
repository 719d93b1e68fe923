"""Who holds the lock of the nights: real processes, living and dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hpcaccept.serial import dumps
from hpcaccept.store.night_lock import SILENT_S, LockHeld, acquire, myself, read_holder

if TYPE_CHECKING:
    from pathlib import Path

NOW = "2026-11-22T02:00:00+00:00"
#: Takes the lock, says so, and keeps it until its standard input ends.
HOLDER = """
import sys
from pathlib import Path
from hpcaccept.store.night_lock import LockHeld, myself, acquire
try:
    with acquire(Path(sys.argv[1]), myself("2026-11-22T02:00:00+00:00")):
        print("held", flush=True)
        sys.stdin.read()
except LockHeld as fault:
    print("refused", fault.message, flush=True)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def lock_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("lock.*.json"))


def test_a_second_process_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        assert first_line(first) == "held"
        with pytest.raises(LockHeld, match=rf"process {first.pid} of \S+ on {os.uname().nodename}") as refused:
            acquire(tmp_path, myself(NOW))
        assert refused.value.exit_code == 3
        assert not read_holder(tmp_path).free
        first.communicate("")
    assert read_holder(tmp_path).free
    with acquire(tmp_path, myself(NOW)) as lock:
        assert lock.mine


def test_a_killed_owner_is_noticed_at_once(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        assert first_line(first) == "held"
        first.send_signal(signal.SIGKILL)
    held = read_holder(tmp_path)
    assert held.free
    assert held.stale == f"process {first.pid} is gone"
    with acquire(tmp_path, myself(NOW)) as lock:
        assert lock.mine
        assert len(lock_files(tmp_path)) == 1


def test_of_many_processes_that_find_a_dead_owner_exactly_one_takes_over(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        assert first_line(first) == "held"
        first.send_signal(signal.SIGKILL)
    contenders = [holder(tmp_path) for _ in range(6)]
    try:
        words = [first_line(process) for process in contenders]
    finally:
        for process in contenders:
            process.communicate("")
    assert sorted(word.split()[0] for word in words) == ["held"] + ["refused"] * 5
    assert read_holder(tmp_path).free


def put(folder: Path, owner: object, age_s: float = 0.0, number: int = 1) -> Path:
    file = folder / f"lock.{number:06d}.json"
    file.write_text(owner if isinstance(owner, str) else dumps(owner))
    then = time.time() - age_s
    os.utime(file, (then, then))
    return file


def test_another_process_with_the_number_of_the_owner_is_not_the_owner(tmp_path: Path) -> None:
    put(tmp_path, replace(myself(NOW), started=1))
    assert "is gone" in read_holder(tmp_path).stale


def test_an_owner_elsewhere_counts_while_it_gives_signs_of_life(tmp_path: Path) -> None:
    away = replace(myself(NOW), host="login2", boot="another")
    put(tmp_path, away, age_s=SILENT_S - 60)
    assert not read_holder(tmp_path).free
    with pytest.raises(LockHeld, match="on login2"):
        acquire(tmp_path, myself(NOW))
    put(tmp_path, away, age_s=SILENT_S + 60)
    assert read_holder(tmp_path).stale.startswith("no sign of life for 11 min")


def test_a_container_with_process_numbers_of_its_own_is_elsewhere(tmp_path: Path) -> None:
    put(tmp_path, replace(myself(NOW), pids="pid:[1]", pid=1, started=1))
    assert not read_holder(tmp_path).free


def test_a_reboot_frees_the_lock_at_once(tmp_path: Path) -> None:
    put(tmp_path, replace(myself(NOW), host="login1", boot="before"))
    assert not read_holder(tmp_path).free  # of login1 nothing is known here
    put(tmp_path, replace(myself(NOW), boot="before"))
    host = os.uname().nodename
    assert read_holder(tmp_path).free is (host.partition(".")[0] != "localhost")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "\x00\x00"])
def test_a_file_that_cannot_be_read_is_respected_until_it_is_old(tmp_path: Path, text: str) -> None:
    put(tmp_path, text)
    with pytest.raises(LockHeld, match="cannot be read"):
        acquire(tmp_path, myself(NOW))
    put(tmp_path, text, age_s=SILENT_S + 1)
    with acquire(tmp_path, myself(NOW)) as lock:
        assert lock.mine


def test_who_lost_the_lock_knows_it_and_does_not_give_back_what_is_not_theirs(tmp_path: Path) -> None:
    with acquire(tmp_path, myself(NOW)) as mine:
        put(tmp_path, replace(myself(NOW), host="login2", boot="x"), number=2)
        assert not mine.mine
    assert json.loads((tmp_path / "lock.000002.json").read_text())["host"] == "login2"
    assert not read_holder(tmp_path).free


def test_numbers_grow_and_old_files_go(tmp_path: Path) -> None:
    for _ in range(3):
        with acquire(tmp_path, myself(NOW)):
            pass
    assert [file.name for file in lock_files(tmp_path)] == ["lock.000003.json"]
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_no_folder_no_lock(tmp_path: Path) -> None:
    assert read_holder(tmp_path / "none").free
