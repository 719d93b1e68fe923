"""Notices a baseline that would call a slow decline normal: it is held against the oldest one that a person has approved.

Compared with the last one only, a fleet that loses half a percent each month would be learned as normal each month. So every
new centre is compared with the oldest approved generation of the same conditions, and a loss of more than half of that one's floor (at least
1 %; of exact limits half the way to them) is refused, unless the key is accepted by name. An accepted decline starts a new chain.

Units differ, and so do the middles of two handfuls of them. What two centres may differ by where nothing has declined follows from the widths and
numbers of their units, and is learned: with the variance of a median, π/2 of the mean's, the difference has the standard deviation s =
√(Σ width² π / 2 n), and is beyond t s in ``_RATE`` of re-learnings. t is never less than 3.3 (``_SURELY``): so a true loss of 1.5 times what is
learned lies 0.5 · 3.3 s beyond, and is refused 19 times of 20, whatever the number of units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept.judge.baseline.limit import law_in, states_a_rate, units_of
from hpcaccept.judge.baseline.match import DEVICE_FACTS, same_device
from hpcaccept.judge.statistics.learned_rule import centre_scatter
from hpcaccept.judge.statistics.peer_rule import chance_of_each
from hpcaccept.judge.statistics.student_t import t_quantile
from hpcaccept.model.baseline import Baseline, BaselineEntry, stands_for, written_loss
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LEAST_SHARE = 0.01
WAY = 0.5
#: Chance that a re-learning in which nothing has declined is refused, and standard deviations that a loss must be beyond in any case.
_RATE, _SURELY = 0.01, 3.3


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
        meant: the loss that would be refused if the centres were known exactly.
        units: from how many units in each of the two on that can be told; 0: with those that there are.
    """

    key: str
    before: float
    now: float
    unit: str
    loss: float
    allowed: float
    since: str
    meant: float = 0.0
    units: int = 0

    @property
    def is_unclear(self) -> bool:
        """Worse by more than is meant to be learned, and by no more than so few units differ."""
        return self.loss <= self.allowed

    def __str__(self) -> str:
        return (
            f"{self.key}: {show(self.now, self.unit)} is {self.loss * 100:.1f} % worse than {show(self.before, self.unit)} "
            f"of {self.since}; {self._allowance()}"
        )

    def _allowance(self) -> str:
        if not self.units:
            return f"up to {self.allowed * 100:.1f} % is learned"
        return (
            f"up to {self.allowed * 100:.1f} % may be the difference between so few units, and is learned; {self.units} units in each could "
            f"tell {self.meant * 100:.1f} %"
        )


def declines(new: Baseline, earlier: Sequence[Baseline]) -> list[Decline]:
    """Metrics of a new baseline that are worse than what was vouched for, or than what is shipped.

    Args:
        new: learned just now.
        earlier: every generation of the model, oldest first, shipped ones included.
    """
    return [decline for decline in _worse_ones(new, earlier) if not decline.is_unclear]


def unclear(new: Baseline, earlier: Sequence[Baseline]) -> list[Decline]:
    """Metrics that are worse by more than is meant to be learned, where the units are too few to say that they have declined.

    Args:
        new: learned just now.
        earlier: as of ``declines``.
    """
    return [decline for decline in _worse_ones(new, earlier) if decline.is_unclear]


def _worse_ones(new: Baseline, earlier: Sequence[Baseline]) -> list[Decline]:
    alike = [one for one in earlier if _same_conditions(one, new)]
    found = (_decline(entry, alike, len(new.entries)) for entry in new.entries.values() if entry.center is not None)
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


def _decline(entry: BaselineEntry, earlier: Sequence[Baseline], metrics: int) -> Decline | None:
    vouched = [
        (one, old)
        for one in earlier
        if one.was_approved and (old := one.entries.get(entry.key)) is not None and _comparable(old, entry)
    ]
    # The chain begins anew where somebody has accepted a decline.
    begin = max((number for number, (_, old) in enumerate(vouched) if old.accepted), default=0)
    for one, old in vouched[begin:]:
        if old.center:
            since = f"generation {one.generation}, approved {_approved_on(one)}"
            return _worse(entry, old.center, meant(old), since, by_chance(old, entry, metrics))
    return next((found for one in earlier if (found := _below_shipped(entry, one)) is not None), None)


def _comparable(old: BaselineEntry, new: BaselineEntry) -> bool:
    mine = (old.revision, old.unit, old.direction, old.setting)
    return mine == (new.revision, new.unit, new.direction, new.setting)


def meant(old: BaselineEntry) -> float:
    """The loss that is learned where centres are known: half of the floor, of an exact limit half the way to it."""
    loss = old.floor if states_a_rate(old) else written_loss(old)
    return LEAST_SHARE if math.isnan(loss) else max(LEAST_SHARE, WAY * loss)


def by_chance(old: BaselineEntry, new: BaselineEntry, metrics: int) -> float:
    """The loss that two centres may show where nothing has declined."""
    known = [one for one in (old, new) if states_a_rate(one)]
    if not known:
        return 0.0
    laws = [law_in(one) for one in known]
    scatter = math.hypot(*(centre_scatter(law, units_of(one)) for law, one in zip(laws, known, strict=True)))
    freedom = min(law.freedom for law in laws)
    return max(_SURELY, t_quantile(chance_of_each(metrics, _RATE), freedom)) * scatter


def _worse(
    entry: BaselineEntry, before: float, meant_loss: float, since: str, chance_loss: float = 0.0
) -> Decline | None:
    now = entry.center or 0.0
    loss = (before - now) / before if entry.direction == "higher" else (now - before) / before
    if loss <= meant_loss:
        return None
    # The scatter falls with the root of the number of units; the smaller of the two numbers rules.
    units = math.ceil(units_of(entry) * (chance_loss / meant_loss) ** 2) if chance_loss > meant_loss > 0 else 0
    return Decline(entry.key, before, now, entry.unit, loss, max(meant_loss, chance_loss), since, meant_loss, units)


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
