"""Would a new baseline call a slow decline normal? It is held against the oldest one that somebody has vouched for.

Compared with the last one only, a fleet that loses half a percent each month would be learned as normal each month. So every
new centre is compared with the oldest approved generation of the same conditions, and a loss of more than half the way to
that one's failing limit (at least 1 %) is refused, unless the key is accepted by name. An accepted decline starts a new chain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept.judge.baseline.match import DEVICE_FACTS, same_device
from hpcaccept.model.baseline import Baseline, BaselineEntry, stands_for
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LEAST_SHARE = 0.01
WAY = 0.5


@dataclass(frozen=True)
class Decline:
    """One metric of a new baseline that is worse than it was.

    Attributes:
        key: of the metric.
        before: centre (or shipped limit) that it is held against, SI.
        now: centre that was learned, SI.
        unit: SI unit.
        loss: relative, positive: worse.
        allowed: relative loss that would have been learned.
        since: what it is held against, in words.
    """

    key: str
    before: float
    now: float
    unit: str
    loss: float
    allowed: float
    since: str

    def __str__(self) -> str:
        return (
            f"{self.key}: {show(self.now, self.unit)} is {self.loss * 100:.1f} % worse than {show(self.before, self.unit)} "
            f"of {self.since}; up to {self.allowed * 100:.1f} % is learned"
        )


def declines(new: Baseline, earlier: Sequence[Baseline]) -> list[Decline]:
    """Metrics of a new baseline that are worse than what was vouched for, or than what is shipped.

    Args:
        new: learned just now.
        earlier: every generation of the model, oldest first, shipped ones included.
    """
    alike = [one for one in earlier if _same_conditions(one, new)]
    found = (_decline(entry, alike) for entry in new.entries.values() if entry.center is not None)
    return [decline for decline in found if decline is not None]


def accept(new: Baseline, found: Iterable[Decline], keys: Sequence[str]) -> tuple[Baseline, list[Decline]]:
    """The baseline with the named declines accepted (``*`` stands for any text), and those that were not named."""
    entries = dict(new.entries)
    refused = []
    for decline in found:
        if any(stands_for(key, decline.key) for key in keys):
            why = f"{decline.loss * 100:.1f} % below {decline.since}"
            entries[decline.key] = replace(entries[decline.key], accepted=why)
        else:
            refused.append(decline)
    return replace(new, entries=entries), refused


def _same_conditions(one: Baseline, other: Baseline) -> bool:
    mine, theirs = one.provenance, other.provenance
    if mine.setting and mine.setting != theirs.setting:
        return False
    return all(same_device(fact, mine.facts.get(fact), theirs.facts.get(fact)) for fact in DEVICE_FACTS)


def _decline(entry: BaselineEntry, earlier: Sequence[Baseline]) -> Decline | None:
    vouched = [
        (one, old)
        for one in earlier
        if one.was_approved and (old := one.entries.get(entry.key)) is not None and _comparable(old, entry)
    ]
    # The chain begins anew where somebody has accepted a decline.
    begin = max((number for number, (_, old) in enumerate(vouched) if old.accepted), default=0)
    for one, old in vouched[begin:]:
        if old.center:
            return _worse(
                entry, old.center, _allowed(old), f"generation {one.generation}, approved {_approved_on(one)}"
            )
    return next((found for one in earlier if (found := _below_shipped(entry, one)) is not None), None)


def _comparable(old: BaselineEntry, new: BaselineEntry) -> bool:
    mine = (old.revision, old.unit, old.direction, old.setting)
    return mine == (new.revision, new.unit, new.direction, new.setting)


def _allowed(old: BaselineEntry) -> float:
    """Half the way from the centre to the failing limit."""
    limit = old.lower if old.direction == "higher" else old.upper
    if limit is None or not old.center:
        return LEAST_SHARE
    return max(LEAST_SHARE, WAY * abs(old.center - limit) / abs(old.center))


def _worse(entry: BaselineEntry, before: float, allowed: float, since: str) -> Decline | None:
    now = entry.center or 0.0
    loss = (before - now) / before if entry.direction == "higher" else (now - before) / before
    return Decline(entry.key, before, now, entry.unit, loss, allowed, since) if loss > allowed else None


def _below_shipped(entry: BaselineEntry, shipped: Baseline) -> Decline | None:
    """A fleet that does not reach what is published must not become the measure of itself."""
    if shipped.state != "shipped":
        return None
    for key, old in shipped.entries.items():
        if stands_for(key, entry.key) and not old.gpus and (old.revision, old.unit) == (entry.revision, entry.unit):
            limit = old.lower if entry.direction == "higher" else old.upper
            if limit is not None:
                return _worse(entry, limit, 0.0, f"the published limit ({old.source})")
    return None


def _approved_on(baseline: Baseline) -> str:
    return next(change.at[:10] for change in baseline.changes if change.state == "approved")
