"""What differs from what was known before tonight, per node, from verdict to verdict. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.app.campaign.memory import with_runs
from hpcaccept.model.nightly.night import ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.model.nightly.night import Concluded, LastTest


@dataclass(frozen=True)
class Change:
    """One node.

    Attributes:
        node: its name.
        before: its worst outcome when it was tested the last time; empty: never.
        now: its worst outcome now.
        reason: why it was not accepted.
        run: that says so.
    """

    node: str
    before: str
    now: str
    reason: str = ""
    run: str = ""


@dataclass(frozen=True)
class Changes:
    """Every node that was tested and is not plainly as good as before, by what it means.

    Attributes:
        failed: now FAIL and not before.
        recovered: accepted now, after a FAIL or after tests that could not be judged.
        warned: now WARN, and accepted without before.
        unjudged: now without a judgement, and with one (or never tested) before.
        still: as bad as before: FAIL again, or again without a judgement.
    """

    failed: tuple[Change, ...] = ()
    recovered: tuple[Change, ...] = ()
    warned: tuple[Change, ...] = ()
    unjudged: tuple[Change, ...] = ()
    still: tuple[Change, ...] = ()

    @property
    def any(self) -> bool:
        """True when something is not as it was."""
        return bool(self.failed or self.recovered or self.warned or self.unjudged)


def compare(before: Mapping[str, LastTest], news: Sequence[Concluded]) -> Changes:
    """What the runs of tonight say that was not known before."""
    names = sorted({node for run in news for node in run.nodes})
    after = with_runs(before, news)
    kinds: dict[str, list[Change]] = {}
    for name in names:
        was, now = before.get(name), after[name]
        change = Change(name, was.outcome if was else "", now.outcome, now.reason, now.run)
        kinds.setdefault(_kind(change), []).append(change)
    return Changes(**{kind: tuple(found) for kind, found in kinds.items() if kind})


def _kind(change: Change) -> str:
    was, now = change.before, change.now
    if now in ACCEPTED:
        if was and was not in ACCEPTED:
            return "recovered"
        return "warned" if now == "WARN" and was != "WARN" else ""
    if now == "FAIL":
        return "still" if was == "FAIL" else "failed"
    return "still" if was and was not in ACCEPTED and was != "FAIL" else "unjudged"
