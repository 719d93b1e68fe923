"""How often a fault is found, and how often a healthy node is blamed. Many fleets of one kind, counted."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpcaccept.model.suite import PeerRule
from hpcaccept.simulate.again import RETESTED, failed_by, failed_by_past
from hpcaccept.simulate.faults import KINDS, Fault, left_of, seeded
from hpcaccept.simulate.fleet import SPREADS, Fleet, Site
from hpcaccept.simulate.ours import Memory, run_of
from hpcaccept.simulate.rivals import PAST_RIVALS, RIVALS, changed, cusum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hpcaccept.simulate.ours import Run
    from hpcaccept.simulate.rivals import Floats

#: How our own rows are named.
OURS, OURS_PAST = "hpcaccept", "hpcaccept, five earlier runs"


@dataclass(frozen=True)
class Share:
    """So many of so many.

    Attributes:
        hits: how many.
        of: of how many.
    """

    hits: int
    of: int

    @property
    def value(self) -> float:
        """0 to 1; NaN of none."""
        return self.hits / self.of if self.of else math.nan

    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of E. B. Wilson (1927), https://doi.org/10.2307/2276774."""
        return wilson(self.value, self.of) if self.of else (0.0, 1.0)


def wilson(share: float, of: float) -> tuple[float, float]:
    """The 95 % confidence interval of a share that was seen of so many."""
    z, p, n = 1.96, share, of
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n)))


@dataclass(eq=False)
class Score:
    """What one rule made of many fleets.

    Attributes:
        found: kind → nodes with such a fault that were blamed for what it spoils.
        faulty: kind → nodes with such a fault.
        named: kind → those of ``found`` of which nothing else was blamed: no other GPU, no other metric.
        blamed: healthy nodes that were blamed.
        healthy: healthy nodes.
        clean: runs in which no healthy node was blamed.
        runs: runs.
        launches: of all runs, retests included.
        judge_s: CPU seconds of judging, all runs.
    """

    found: Counter[str] = field(default_factory=Counter)
    faulty: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    blamed: int = 0
    healthy: int = 0
    clean: int = 0
    runs: int = 0
    launches: int = 0
    judge_s: float = 0.0

    def recall(self, kinds: Iterable[str]) -> float:
        """Mean over the kinds that there were: each counts alike, however many nodes it takes."""
        shares = [self.found[kind] / self.faulty[kind] for kind in kinds if self.faulty[kind]]
        return float(np.mean(shares)) if shares else math.nan

    def recall_interval(self, kinds: Iterable[str]) -> tuple[float, float]:
        """The 95 % interval of ``recall``: Wilson's, of as many faults as would tell their share as well as these tell the mean.

        Each kind's share is estimated with two more found and two more missed, so that 0 and 1 are no certainties.
        """
        there = [(self.found[kind], self.faulty[kind]) for kind in kinds if self.faulty[kind]]
        if not there:
            return (0.0, 1.0)
        shares = [(found + 2) / (of + 4) for found, of in there]
        mean = sum(shares) / len(shares)
        variance = sum(p * (1 - p) / (of + 4) for p, (_, of) in zip(shares, there, strict=True)) / len(shares) ** 2
        return wilson(self.recall(kinds), mean * (1 - mean) / variance)

    @property
    def false_alarms(self) -> Share:
        """Of healthy nodes."""
        return Share(self.blamed, self.healthy)

    def count(self, site: Site, fleet: Fleet, faults: Sequence[Fault], failed: Iterable[tuple[int, int, str]]) -> None:
        """Count one run.

        Args:
            site: of the fleet.
            fleet: that was measured; crashed nodes are no part of any score.
            faults: that it had.
            failed: (node, GPU or -1, short name of the metric) of everything that was blamed.
        """
        by_node: dict[int, list[tuple[int, str]]] = {}
        for node, gpu, name in failed:
            by_node.setdefault(node, []).append((gpu, name))
        bad: set[int] = set()
        for fault in faults:
            kind = KINDS[fault.kind]
            for node in fault.nodes(site):
                bad.add(node)
                if fleet.gone[node]:
                    continue
                self.faulty[fault.kind] += 1
                of_it = [
                    name in kind.spoils and (kind.reach != "gpu" or gpu in (fault.gpu, -1))
                    for gpu, name in by_node.get(node, [])
                ]
                self.found[fault.kind] += any(of_it)
                self.named[fault.kind] += bool(of_it) and all(of_it)
        wrong = len(by_node.keys() - bad)
        self.blamed += wrong
        self.healthy += site.nodes - len(bad) - int(fleet.gone.sum())
        self.clean += wrong == 0
        self.runs += 1


@dataclass(frozen=True)
class Cell:
    """What is simulated many times.

    Attributes:
        site: kind of fleet.
        kinds: of faults, in turn.
        magnitude: of each, 0 to 1; 0: a healthy fleet.
        share: of the nodes that have one.
        fleets: how many.
        seed: of this cell.
        past: earlier healthy runs of each fleet; the fault then lasts two runs, and the second is scored.
    """

    site: Site
    kinds: tuple[str, ...]
    magnitude: float
    share: float
    fleets: int
    seed: int
    past: int = 0


def score(cell: Cell, rule: PeerRule | None = None, *, rivals: Sequence[str] = ()) -> dict[str, Score]:
    """Name of the rule → its score; ours first.

    Args:
        cell: what is simulated.
        rule: how ours compares peers; None: as suites do.
        rivals: of ``RIVALS``, scored as they are and retested; of ``PAST_RIVALS`` in a cell with a past.
    """
    name = OURS_PAST if cell.past else OURS
    scores = {name: Score(), **{rival: Score() for rival in rivals}}
    if not cell.past:
        scores |= {rival + RETESTED: Score() for rival in rivals}
    for number in range(cell.fleets):
        rng = np.random.default_rng([cell.seed, number])
        fleet = Fleet(cell.site, rng)
        faults = seeded(cell.kinds, cell.magnitude, cell.site, cell.share, rng) if cell.magnitude else []
        runs = _runs(fleet, faults, cell.past, rule)
        ours = scores[name]
        ours.count(cell.site, fleet, faults, runs[-1].failed(cell.site))
        ours.launches += runs[-1].launches
        ours.judge_s += runs[-1].judge_s
        for rival, failed in _rivals(rivals, runs, cell, fleet, faults):
            scores[rival].count(cell.site, fleet, faults, failed)
    return scores


def _runs(fleet: Fleet, faults: Sequence[Fault], past: int, rule: PeerRule | None) -> list[Run]:
    """The run; with a past all of them, the last two with the faults."""
    if not past:
        return [run_of(fleet, faults, rule)]
    memory, runs = Memory(fleet.site), []
    for number in range(past + 2):
        runs.append(run_of(fleet, faults if number >= past else [], rule, memory if number >= past else None))
        memory.remember(runs[-1])
    return runs


def _rivals(
    names: Sequence[str], runs: Sequence[Run], cell: Cell, fleet: Fleet, faults: Sequence[Fault]
) -> Iterable[tuple[str, Iterable[tuple[int, int, str]]]]:
    """Each rule of others, and what it blames."""
    site = cell.site
    if cell.past:
        firsts = [run.first for run in runs]
        yield from ((name, failed_by_past(*PAST_RIVALS[name], firsts, cell.past, site)) for name in names)
    elif names:
        first = runs[-1].blocks
        again = [fleet.launch(list(SPREADS), left_of(faults, site, fleet.rng)) for _ in range(PeerRule().retests)]
        launches = [first, *(_where(launch, first) for launch in again)]
        for name in names:
            yield name, failed_by(RIVALS[name], launches[:1], site)
            yield name + RETESTED, failed_by(RIVALS[name], launches, site)


def _where(launch: dict[str, Floats], present: dict[str, Floats]) -> dict[str, Floats]:
    """A launch, of the subjects alone that had values before."""
    return {name: np.where(np.isfinite(present[name]), value, np.nan) for name, value in launch.items()}


def detection_limit(recalls: dict[float, float], false_alarms: float, most: float = 0.001) -> float:
    """Smallest magnitude from which on 95 % are found, of a rule that blames few enough; inf: there is none."""
    found = math.inf
    for magnitude in sorted(recalls, reverse=True):
        if recalls[magnitude] < 0.95:
            break
        found = magnitude
    return found if false_alarms <= most else math.inf


@dataclass(frozen=True)
class Calibration:
    """Is the stated rate the real one?

    Attributes:
        subjects: like subjects of the comparison.
        tail: ``normal``, or ``t(5)``.
        stated: chance that a run blames anybody.
        real: runs that did.
    """

    subjects: int
    tail: str
    stated: float
    real: Share


def calibration(
    subjects: int,
    stated: float,
    runs: int,
    rng: np.random.Generator,
    *,
    heavy: bool = False,
    floor: float = 0.0,
    noise: float = 0.01,
) -> Calibration:
    """One comparison without retests: the cut alone, on healthy subjects.

    Args:
        subjects: like subjects.
        stated: chance that a run blames anybody.
        runs: how many.
        rng: of these runs.
        heavy: noise is a t of 5 degrees of freedom.
        floor: of the metric; 0: none, and nothing is known of its class.
        noise: standard deviation of the subjects; what is known of a class is a quarter of its floor.
    """
    from hpcaccept.judge.statistics.peer_rule import compare_with_peers, cut

    z, nodes, blamed = cut(subjects, stated), np.arange(subjects), 0
    for _ in range(runs):
        made = rng.standard_t(5, subjects) if heavy else rng.standard_normal(subjects)
        compared = compare_with_peers(1 + noise * made, True, nodes, (floor / 2, floor), z)
        blamed += bool((compared.loss > compared.fail_at).any())
    return Calibration(subjects, "t(5)" if heavy else "normal", stated, Share(blamed, runs))


def calibration_past(
    subjects: int, past: int, stated: float, runs: int, rng: np.random.Generator, *, heavy: bool = False
) -> Calibration:
    """The same for the comparison with the own past, seen once."""
    from hpcaccept.judge.statistics.history_rule import compare_with_past
    from hpcaccept.judge.statistics.peer_rule import cut

    z, blamed = cut(subjects, stated), 0
    for _ in range(runs):
        shape = (past + 1, subjects)
        noise = rng.standard_t(5, shape) if heavy else rng.standard_normal(shape)
        table = (1 + 0.02 * rng.standard_normal(subjects)) * (1 + 0.002 * noise)
        compared = compare_with_past(table[:-1], table[-1], True, (0.0, 0.0), z).compared
        blamed += bool((compared.loss > compared.fail_at).any())
    return Calibration(subjects, "t(5)" if heavy else "normal", stated, Share(blamed, runs))


@dataclass(frozen=True)
class Trending:
    """What two detectors make of series of 60 runs.

    Attributes:
        what: happens at run 40 (a step) or from run 20 on (a decline).
        twice: subjects of which the step was seen, and the median delay in runs.
        slow: subjects of which the decline (or the step) was seen, and the median delay.
        others: name of another detector → the same.
    """

    what: str
    twice: tuple[Share, float]
    slow: tuple[Share, float]
    others: dict[str, tuple[Share, float]]


def trending(what: str, step: float, decline: float, subjects: int, rng: np.random.Generator) -> Trending:
    """Series of 60 runs: 0.2 % noise (t of 5 degrees of freedom), 1 % disturbed, judged after every run from the tenth on."""
    from hpcaccept.judge.statistics.peer_rule import cut
    from hpcaccept.judge.statistics.trend_rule import DECLINE, STEP, trend

    series = _series(step, decline, subjects, rng)
    begin = 40 if step else 20
    first = {STEP: np.full(subjects, -1), DECLINE: np.full(subjects, -1)}
    healthy = not (step or decline)
    z = cut(subjects, 0.01)
    for runs in range(10 if healthy else begin + 1, len(series) + 1):
        code = trend(series[:runs], True, z).code
        for wanted, seen in first.items():
            now = (code == wanted) | ((code == STEP) & (wanted == DECLINE) & (not healthy))
            seen[(seen < 0) & now] = runs - 1 - begin if not healthy else runs
    others = {name: _delay(_after(found(series), 0 if healthy else begin)) for name, found in DETECTORS.items()}
    return Trending(what, _delay(first[STEP]), _delay(first[DECLINE]), others)


def _after(alarm: npt.NDArray[np.intp], begin: int) -> npt.NDArray[np.intp]:
    """Runs from the begin to the alarm; -1 without one, and where it came before there was anything to see."""
    return np.where(alarm >= begin, alarm - begin, -1)


def _fixed_twice(series: Floats) -> npt.NDArray[np.intp]:
    """Two runs in sequence 5 % below the median of the first ten."""
    low = series < 0.95 * np.median(series[:10], axis=0)
    twice = np.vstack([np.zeros((1, series.shape[1]), bool), low[1:] & low[:-1]])
    return np.where(twice.any(axis=0), twice.argmax(axis=0), -1)


#: Detectors of others: the run of float64[r, u] at which each subject's alarms, -1: never.
DETECTORS: dict[str, Callable[[Floats], npt.NDArray[np.intp]]] = {
    "5 % low, twice": _fixed_twice,
    "CUSUM (k 0.75, h 8)": cusum,
    "CUSUM, clipped at 3": partial(cusum, clipped=3.0),
    "segments of least squares (PELT, penalty 12)": changed,
}


def _series(step: float, decline: float, subjects: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    series = 1 + 0.002 * rng.standard_t(5, (60, subjects)) / math.sqrt(5 / 3)
    series *= 1 - (rng.random(series.shape) < 0.01) * rng.uniform(0.03, 0.15, series.shape)
    run = np.arange(60)[:, None]
    return np.asarray(series * (1 - step * (run >= 40)) * (1 - decline * np.maximum(run - 20, 0)))


def _delay(first: npt.NDArray[np.intp]) -> tuple[Share, float]:
    seen = first[first >= 0]
    return Share(len(seen), len(first)), float(np.median(seen)) if len(seen) else math.nan


def plain(found: Score, *, kinds: bool = True) -> dict[str, Any]:
    """A score as JSON has it; with the counts of each kind and the costs, where wanted."""
    numbers: dict[str, Any] = {
        "recall": _rounded(found.recall(found.faulty)),
        "recall_95": [_rounded(bound) for bound in found.recall_interval(found.faulty)] if found.faulty else None,
        "blamed": found.blamed,
        "healthy": found.healthy,
        "false_alarms": _rounded(found.false_alarms.value),
        "false_alarms_95": [_rounded(bound) for bound in found.false_alarms.interval()],
        "runs": found.runs,
        "clean_runs": found.clean,
    }
    if kinds:
        numbers["launches"], numbers["judge_s"] = found.launches, round(found.judge_s, 3)
        numbers["kinds"] = {
            kind: {
                "faulty": count,
                "found": found.found[kind],
                "named": found.named[kind],
                "found_95": [_rounded(bound) for bound in Share(found.found[kind], count).interval()],
            }
            for kind, count in sorted(found.faulty.items())
        }
    return numbers


def _rounded(value: float) -> float | None:
    """Six places: no count here tells more."""
    return round(value, 6) if math.isfinite(value) else None
