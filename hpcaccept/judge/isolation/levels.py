"""How bad a node may be, in a few levels: good, slower by a few sizes, failing.

Pass or fail alone knows one level beside good. Values know a geometric row of slow-downs, each of which stands for its neighbourhood, and failing.
A group is as bad as the worst of its members.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from hpcaccept.model.isolation import IsolationSettings, Outcome

Floats = npt.NDArray[np.float64]
#: Neighbouring slow-downs differ by this factor; each stands for a quarter of itself to either side.
_STEP, _SPREAD = 1.6, 0.22
#: Slow-downs beyond this are like failing to everybody.
_LARGEST = 0.5
#: What disturbs a value slows it by anything up to this.
_DISTURBANCE = 0.5


@dataclass(frozen=True, eq=False)
class Levels:
    """The levels of badness.

    Attributes:
        losses: relative slow-down of level 1, 2 …; NaN: it fails.
    """

    losses: tuple[float, ...]

    @property
    def count(self) -> int:
        """Levels beside good."""
        return len(self.losses)


def levels_of(settings: IsolationSettings) -> Levels:
    """The levels that a test can tell apart."""
    losses: list[float] = []
    loss = settings.smallest_loss
    while settings.values and loss < _LARGEST:
        losses.append(loss)
        loss *= _STEP
    return Levels((*losses, math.nan))


def log_likelihoods(outcome: Outcome, loss: float, levels: Levels, settings: IsolationSettings) -> Floats:
    """Log P(outcome | code of the group), for 2K + 1 codes.

    Code 0: nobody is bad. 1 … K: the worst member has this level. K + 1 … 2K: and it is among the silent.

    Args:
        outcome: of a test.
        loss: its value as a relative slow-down; NaN: none.
        levels: K of them.
        settings: of the isolation.
    """
    count = levels.count
    found = np.full(count + 1, math.log(settings.false_fail_rate))
    found[count] = math.log1p(-settings.miss_rate)
    if outcome.kind == "passed":
        found[:] = math.log1p(-settings.false_fail_rate)
        found[count] = math.log(settings.miss_rate)
        if not math.isnan(loss):
            found += _log_density(loss, levels, settings)
    outside, inside = _log_of_silence(outcome, settings)
    return np.concatenate([found[:1], found[1:] + outside, found[1:] + inside])


def _log_density(loss: float, levels: Levels, settings: IsolationSettings) -> Floats:
    """Log density of a measured slow-down; a group with a failing member that passes looks like a good one."""
    true = np.array([0.0, *(0.0 if math.isnan(one) else one for one in levels.losses)])
    width = np.hypot(settings.noise, _SPREAD * true)
    normal = np.exp(-0.5 * ((loss - true) / width) ** 2) / (width * math.sqrt(2 * math.pi))
    lowest = true - 5 * width
    disturbed = np.where((loss > lowest) & (loss < true + _DISTURBANCE), 1 / _DISTURBANCE, 1e-6)
    return np.log((1 - settings.disturbed_share) * normal + settings.disturbed_share * disturbed)


def _log_of_silence(outcome: Outcome, settings: IsolationSettings) -> tuple[float, float]:
    """How much more probable this set of silent nodes is than any of its size: with the culprit outside, and inside."""
    silent, members = len(outcome.silent), len(outcome.test.nodes)
    if outcome.kind not in ("hung", "crashed") or not 0 < silent < members:
        return 0.0, 0.0
    named = settings.names_culprit
    return math.log1p(-named), math.log(named * members / silent + 1 - named)
