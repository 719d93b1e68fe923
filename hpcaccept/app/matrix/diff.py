"""The differences between two runs of a matrix: which cells broke or mended, and which of image, driver, machine and content changed with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.app.matrix.folder import run_named, runs_of
from hpcaccept.app.matrix.state import state_of
from hpcaccept.app.matrix.views import telling
from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hpcaccept.app.matrix.state import CellState

#: Facts that change from run to run and change nothing.
_IDLE = ("machine.gpu_ids",)
PARTS = ("image", "driver", "machine", "content", "tests")


@dataclass(frozen=True)
class Change:
    """One cell whose verdict changed.

    Attributes:
        cell: its id.
        before: verdict.
        after: verdict.
        run: the earlier one that has the verdict before.
        reason: of the verdict after.
        parts: of ``PARTS`` that changed; none: nothing that was recorded.
        facts: each that changed, in words.
    """

    cell: str
    before: str
    after: str
    run: str
    reason: str
    parts: tuple[str, ...]
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Changes:
    """Two runs compared.

    Attributes:
        before: name of the earlier run.
        after: name of the later.
        broke: cells that passed and do not.
        mended: cells that did not pass and do.
        other: cells whose verdict changed otherwise.
        compared: cells that both have judged.
    """

    before: str
    after: str
    broke: tuple[Change, ...]
    mended: tuple[Change, ...]
    other: tuple[Change, ...]
    compared: int

    @property
    def exit_code(self) -> int:
        """1: a cell broke; 3: a cell that passed is not judged any more, or is flaky; else 0."""
        return 1 if any(each.after == "FAIL" for each in self.broke) else 3 if self.broke else 0

    def lines(self) -> list[str]:
        """For people."""
        out = [
            f"{self.before} → {self.after}: {self.compared} cells in both, {len(self.broke)} broke, {len(self.mended)} mended"
        ]
        for word, many in (("broke", self.broke), ("mended", self.mended), ("changed", self.other)):
            for each in many:
                why = f": {each.reason}" if each.reason else ""
                out += ["", f"{word} {each.cell}: {each.before} → {each.after}{why}", f"  {_what(each)}"]
                out += [f"    {fact}" for fact in each.facts]
        if self.broke:
            counts = Counter(part for each in self.broke for part in each.parts)
            shown = ", ".join(f"{part} in {count}" for part, count in counts.most_common())
            out += ["", f"What changed in the {len(self.broke)} that broke: {shown or 'nothing that was recorded'}."]
        return out


def _what(each: Change) -> str:
    if not each.parts:
        return "nothing that was recorded changed: run it again (--again failed); a cell that then passes is flaky"
    return f"changed: {', '.join(each.parts)}"


def changes_of(folder: Path, matrix: str, after: str = "", before: str = "") -> Changes:
    """A run against an earlier one. A cell that the earlier one did not judge is compared with the last that did, where none is named.

    Raises:
        UsageError: there are no two runs.
    """
    later = run_named(folder, matrix, after)
    names = [run.name for run in runs_of(folder, matrix)]
    past = [run for run in runs_of(folder, matrix) if run.name < later.name]
    if before:
        past = [run_named(folder, matrix, before)]
    if not past:
        raise UsageError(f"Run {later.name} of {matrix} is the first of {len(names)}: there is nothing to compare with.", "hpcaccept matrix run FILE --new")  # fmt: skip
    earlier: dict[str, tuple[str, CellState]] = {}
    for run in past:
        earlier |= {each.cell.id: (run.name, each) for each in state_of(run).chosen if each.attempts}
    now = {each.cell.id: each for each in state_of(later).chosen}
    broke: list[Change] = []
    mended: list[Change] = []
    other: list[Change] = []
    compared = 0
    for name, each in now.items():
        if name not in earlier:
            continue
        compared += bool(each.attempts)
        run_name, old = earlier[name]
        if old.outcome == each.outcome:
            continue
        change = _change(name, run_name, old, each)
        (broke if old.outcome == "PASS" else mended if each.outcome == "PASS" else other).append(change)
    return Changes(past[-1].name, later.name, tuple(broke), tuple(mended), tuple(other), compared)


def _change(name: str, run: str, old: CellState, new: CellState) -> Change:
    before, after = telling(old).facts, telling(new).facts if new.attempts else {}
    pairs = changed_facts(before, after) if new.attempts else {}
    if old.cell.tests != new.cell.tests:
        pairs["tests.definition"] = ("as it was", "changed in the file")
    parts = tuple(part for part in PARTS if any(key.startswith(f"{part}.") for key in pairs))
    facts = tuple(f"{key}: {was or 'not known'} → {now or 'not known'}" for key, (was, now) in pairs.items())
    return Change(name, old.outcome, new.outcome, run, new.reason, parts, facts)


def changed_facts(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Facts that differ: key → what it was and what it is."""
    keys = [key for key in dict.fromkeys((*before, *after)) if key not in _IDLE]
    return {key: (before.get(key, ""), after.get(key, "")) for key in keys if before.get(key) != after.get(key)}
