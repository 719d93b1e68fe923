"""An isolation's journal gives back what was written, without what was torn; its order survives as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.isolations import ended

from hpcaccept.errors import StoreError
from hpcaccept.model.isolation_order import (
    EndedIsolation,
    EndedRound,
    IsolationEntry,
    IsolationOrder,
    OutputRule,
    PlannedRound,
)
from hpcaccept.store import isolation_journal
from hpcaccept.store.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert isolation_journal.read(folder) == ([], 0)
    test = ended("r1g1", "node0 node1", "failed", value=3.5, how="found 3.5, expected at least 5")
    entries: list[IsolationEntry] = [
        PlannedRound(1, (test.test,)),
        test,
        EndedRound(1, 2.0, 0.1),
        EndedIsolation("decided", "all is"),
    ]
    isolation_journal.append(folder, *entries[:2])
    isolation_journal.append(folder, *entries[2:])
    assert isolation_journal.read(folder) == (entries, 0)


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    isolation_journal.append(folder, EndedRound(1, 2.0, 0.1))
    with folder.isolation_journal.open("a") as file:
        file.write('{"at":"2026","kind":"endedtest","da')
    isolation_journal.append(folder, EndedRound(2, 2.0, 0.1))
    assert isolation_journal.read(folder) == ([EndedRound(1, 2.0, 0.1), EndedRound(2, 2.0, 0.1)], 1)


def test_an_order_is_the_same_after_it_was_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert isolation_journal.read_order(folder) is None
    order = IsolationOrder(
        command=("srun", "-w", "{nodes}"),
        rule=OutputRule("x=(.*)", 1.0),
        before=(ended("s00", "a b", "hung"),),
        odds={"a": 3.0},
    )
    isolation_journal.write_order(folder, order)
    assert isolation_journal.read_order(folder) == order


def test_an_order_of_another_version_is_an_error_with_its_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.isolation_order_file.write_text('{"surprise": 1}')
    with pytest.raises(StoreError, match=r"isolation\.json"):
        isolation_journal.read_order(folder)
