from __future__ import annotations

import errno
import json
import os
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.builders import rank_started, record

from hpcaccept.errors import RunFolderFull
from hpcaccept.model.event import Event
from hpcaccept.model.record import CheckStarted, ModuleImported, RankFinished, RankStopped, Record, UnreadableLine
from hpcaccept.store.journal import Journal, full_disk_named, read

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.store.journal import JournalEntry

WORDS: list[JournalEntry] = [
    rank_started(1, "node1"),
    CheckStarted("speed"),
    ModuleImported("torch", 1.25),
    record("speed", "node1", {"rate_flops[fp32]": [1.0, 2.5], "wrong_elements": 0}, facts={"text": 'ä "\n\t\x00 ✓'}),
    RankStopped("ended by SIGTERM", by_peer=True, beat="fp32"),
    Event("death", "2026-11-22", nodes=("node1",), ranks=(1,), detail="rank 1 was lost"),
    RankFinished(),
]


def written(folder: Path, words: list[JournalEntry]) -> Path:
    journal = Journal(folder / "r000001.jsonl")
    for word in words:
        journal.write(word)
    return journal.file


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("whole"), WORDS).read_bytes()


def test_what_is_said_is_read_in_order(tmp_path: Path) -> None:
    assert list(read(written(tmp_path, WORDS))) == WORDS


def test_a_word_is_one_line(whole: bytes) -> None:
    assert whole.count(b"\n") == len(WORDS)
    assert [json.loads(line)["kind"] for line in whole.splitlines()] == [
        "rank_started", "check_started", "module_imported", "record", "rank_stopped", "event", "rank_finished",
    ]  # fmt: skip


def test_a_journal_cut_at_any_byte_loses_at_most_its_last_line(tmp_path: Path, whole: bytes) -> None:
    file = tmp_path / "r000001.jsonl"
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        file.write_bytes(whole[:cut])
        found = list(read(file))
        complete = sum(1 for end in ends if end - 1 <= cut)
        assert found[:complete] == WORDS[:complete], cut
        assert len(found) <= complete + 1
        assert all(isinstance(word, UnreadableLine) for word in found[complete:]), cut


def test_a_torn_line_costs_only_itself_and_is_told_with_its_text(tmp_path: Path, whole: bytes) -> None:
    lines = whole.splitlines(keepends=True)
    file = tmp_path / "r000001.jsonl"
    file.write_bytes(b"".join([*lines[:3], lines[3][:40] + b"\n", *lines[4:]]))
    found = list(read(file))
    assert found[3] == UnreadableLine("r000001.jsonl", lines[3][:40].decode(), line=4)
    assert found[:3] + found[4:] == WORDS[:3] + WORDS[4:]


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\x00",
        b"{}",
        b"[]",
        b"5",
        b"null",
        b'""',
        b'{"kind":"record"}',
        b'{"kind":"hymn","data":{}}',
        b'{"kind":["record"],"data":{}}',
        b'{"kind":"check_started","data":{"check":"speed","colour":"blue"}}',
        b'{"kind":"check_started","data":null}',
        b'{"kind":"module_imported","data":{"module":"torch"}}',
        b'{"kind":"event","data":{"kind":"burnt","at":"now"}}',
        b'{"kind":"check_started","data":{"check":"\\ud800"}}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_word_of_this_version_is_torn_and_never_an_exception(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "r000001.jsonl"
    file.write_bytes(line + b'\n{"kind":"rank_finished","data":{}}\n')
    first, second = read(file)
    assert isinstance(first, UnreadableLine)
    assert second == RankFinished()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "r000001.jsonl"
    file.write_bytes(content)
    assert all(isinstance(word, UnreadableLine) for word in read(file))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(), value=st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_and_number_comes_back(tmp_path: Path, text: str, value: float) -> None:
    file = tmp_path / "r000001.jsonl"
    file.unlink(missing_ok=True)
    word = record("speed", "node0", {"rate_flops": value}, cause=text, facts={text: text})
    Journal(file).write(word)
    assert list(read(file)) == [word]


def test_a_number_that_is_none_is_refused_when_it_is_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "r000001.jsonl")
    with pytest.raises(ValueError, match="JSON compliant"):
        journal.write(ModuleImported("torch", float("nan")))
    assert list(read(journal.file)) == []


def test_a_second_opening_goes_on_where_the_first_one_ended(tmp_path: Path) -> None:
    written(tmp_path, WORDS[:2])
    assert list(read(written(tmp_path, WORDS[2:]))) == WORDS


def test_two_threads_never_mix_their_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "r000001.jsonl")
    long = record("speed", "node0", {}, cause="x" * 5000)

    def speak() -> None:
        for _ in range(20):
            journal.write(long)

    threads = [threading.Thread(target=speak) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = list(read(journal.file))
    assert len(found) == 80
    assert all(isinstance(word, Record) for word in found)


def test_after_the_last_word_no_other_thread_says_anything(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "r000000.jsonl")
    journal.write_last(RankStopped("deadline", by_peer=False, beat="step 3"))
    late = threading.Thread(target=journal.write, args=(RankFinished(),), daemon=True)
    late.start()
    late.join(0.2)
    assert late.is_alive()
    assert [type(word) for word in read(journal.file)] == [RankStopped]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_left_is_named_with_the_file(tmp_path: Path, number: int) -> None:
    with pytest.raises(RunFolderFull, match=r"x\.jsonl"), full_disk_named(tmp_path / "x.jsonl"):
        raise OSError(number, os.strerror(number))


def test_another_fault_of_the_disk_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), full_disk_named(tmp_path / "x.jsonl"):
        raise PermissionError(errno.EACCES, "no")


def test_a_journal_with_the_old_names_is_read(tmp_path: Path) -> None:
    file = tmp_path / "r000001.jsonl"
    file.write_bytes(b'{"kind":"start","data":{"check":"speed"}}\n{"kind":"bye","data":{}}\n')
    assert list(read(file)) == [CheckStarted("speed"), RankFinished()]
