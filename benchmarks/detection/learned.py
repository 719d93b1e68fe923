"""Whom does a learned baseline blame in health, what does it find, and what does it take for a decline? Many fleets of one kind, counted.

The fleets are those of ``benchmarks.detection.fleets``; what is learned, where the limits lie and what is refused is the product's (``learn``, ``limits_of``,
``declines``). Values are held against the limits as arrays; a test holds that ``judge_against_baseline`` says the same of each. Runs are one launch: nothing
is launched again, and everybody is learned from (the product leaves out the nodes that the peers of the run suspect).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.detection.fleets import (
    BF16,
    MODEL,
    TRIAD,
    Shape,
    between_units,
    catalogue,
    key_of,
    launch_of,
    subjects,
)
from hpcaccept.judge.baseline.decline import by_chance, declines, meant
from hpcaccept.judge.baseline.learn import learn
from hpcaccept.judge.baseline.limit import MOST_LOSS, limits_of
from hpcaccept.judge.statistics.aggregate import Values
from hpcaccept.judge.statistics.rate_shares import LEARNED_BASELINE
from hpcaccept.model.baseline import Baseline, Change, Provenance, written_loss
from hpcaccept.model.suite import PeerRule

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from benchmarks.detection.fleets import Floats

#: Learned from nodes × GPUs; judged likewise.
FROM = ((4, 1), (8, 1), (2, 8), (8, 8), (64, 8))
JUDGED = ((16, 8), (64, 8), (1024, 8))
#: Name → how wide units are and how they are distributed.
FAMILIES = {
    "x1": Shape(1, 1),
    "x1.5": Shape(1, 1, width=1.5),
    "x2": Shape(1, 1, width=2.0),
    "t(5)": Shape(1, 1, family="t(5)"),
}  # fmt: skip
METRICS = (5, 30)
LOSSES = (0.03, 0.05, 0.07, 0.10)
#: Runs of a cell that was learned from up to ``_SMALL`` units, and of others: also of 1,024 × 8 units.
RUNS, RUNS_OF_MANY, _SMALL = 400, 100, 16
#: Of the cells that ask what is found, and whether a decline is told, no more than these.
_FEWER = 200
#: Families and learned fleets for which it is asked whether a decline is told, and learned fleets of more than one run.
DECLINING, DECLINED = ("x1", "x1.5", "x2"), ((4, 1), (2, 8), (8, 8))
SEVERAL, OF_SEVERAL = (3, 5), ((4, 1), (8, 8))
_SEED = 20261129
_WHEN = "2026-11-29T00:00:00Z"


def cells(fleets: float) -> dict[str, tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]]:
    """Name → what is measured, with its arguments.

    Args:
        fleets: runs of each cell, relative to what is published.
    """
    found_by: dict[str, tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]] = {}
    for metrics in METRICS:
        for learned in FROM:
            runs = max(2, round((RUNS if learned[0] * learned[1] <= _SMALL else RUNS_OF_MANY) * fleets))
            fewer = min(runs, max(2, round(_FEWER * fleets)))
            of = f"{learned[0]}x{learned[1]} M{metrics}"
            for family in FAMILIES:
                found_by[f"learned healthy {family} {of}"] = healthy, (family, metrics, learned, runs)
            found_by[f"learned found x1 {of}"] = found, ("x1", metrics, learned, fewer)
            for family in DECLINING if learned in DECLINED else ():
                found_by[f"learned again {family} {of}"] = relearned, (family, metrics, learned, fewer)
            for several in SEVERAL if learned in OF_SEVERAL else ():
                found_by[f"learned healthy x1 {of} of {several} runs"] = (
                    healthy,
                    ("x1", metrics, learned, runs, several),
                )
    return found_by


def healthy(family: str, metrics: int, learned: tuple[int, int], runs: int, learned_runs: int = 1) -> dict[str, Any]:
    """Runs in which anybody is a FAIL or WARN: of the learned units again, and of new units in fleets of ``JUDGED``.

    Returns:
        ``rows``: of each fleet that is judged its name, in how many runs anybody is blamed, of how many; ``limit`` and ``limit_95``: median and 95 %
        quantile of the written failing loss (that of a run like the learned one) against its floor, over all metrics and runs, None without
        any; ``unlearned``: share of the metrics of which nothing was learned.
    """
    counts: dict[str, list[int]] = {}
    losses: list[float] = []
    unlearned = 0
    for number in range(runs):
        rng = np.random.default_rng([_SEED, list(FAMILIES).index(family), metrics, *learned, learned_runs, number])
        shape = replace(FAMILIES[family], metrics=metrics)
        known, like = taught(replace(shape, nodes=learned[0], gpus=learned[1]), rng, learned_runs)
        unlearned += metrics - len(known.entries)
        again = blamed(known, _measured(replace(shape, nodes=learned[0], gpus=learned[1]), like, rng))
        _count(counts, "the same", bool(again.any()))
        for judged in JUDGED:
            if judged == JUDGED[-1] and number >= RUNS_OF_MANY:
                continue
            there = replace(shape, nodes=judged[0], gpus=judged[1])
            hit = blamed(known, _measured(there, between_units(there, rng), rng))
            _count(counts, f"{judged[0]:,} x {judged[1]}", bool(hit.any()))
        losses += _limits(known)
    middle, most = np.percentile(losses, [50, 95]).tolist() if losses else (None, None)
    return {
        "family": family, "metrics": metrics, "learned": list(learned), "learned_runs": learned_runs,
        "rows": [{"judged": name, "blamed": hits, "of": of} for name, (hits, of) in counts.items()],
        "limit": middle, "limit_95": most, "unlearned": unlearned / runs / metrics,
    }  # fmt: skip


def found(family: str, metrics: int, learned: tuple[int, int], runs: int) -> dict[str, Any]:
    """GPUs of a fleet of 64 × 8 that are slower in one metric by a loss, each on a node of its own, and are a FAIL in it."""
    shape = replace(FAMILIES[family], metrics=metrics)
    there = replace(shape, nodes=64, gpus=8)
    hits: dict[str, int] = {}
    for number in range(runs):
        rng = np.random.default_rng([_SEED, 1, list(FAMILIES).index(family), metrics, *learned, number])
        known, _ = taught(replace(shape, nodes=learned[0], gpus=learned[1]), rng, 1)
        like = between_units(there, rng)
        cells = [(name, metric, loss) for name, metric in (("triad", TRIAD), ("bf16", BF16)) for loss in LOSSES]
        for node, (_, metric, loss) in enumerate(cells):
            like[metric, node * 8] *= 1 - loss
        hit = blamed(known, _measured(there, like, rng))
        for node, (name, metric, loss) in enumerate(cells):
            hits[f"{name} {loss:g}"] = hits.get(f"{name} {loss:g}", 0) + bool(hit[metric, node * 8])
    return {"family": family, "metrics": metrics, "learned": list(learned), "found": hits, "of": runs}


def relearned(family: str, metrics: int, learned: tuple[int, int], runs: int) -> dict[str, Any]:
    """Re-learnings from other units that are refused: where nothing has declined, and where triad has by 1.5 times what would be learned."""
    shape = replace(FAMILIES[family], metrics=metrics, nodes=learned[0], gpus=learned[1])
    refused, caught, allowed = 0, 0, []
    for number in range(runs):
        rng = np.random.default_rng([_SEED, 2, list(FAMILIES).index(family), metrics, *learned, number])
        before, _ = taught(shape, rng, 1)
        before = replace(before, changes=(Change("approved", _WHEN, "somebody"),), generation=1)
        after, _ = taught(shape, rng, 1)
        refused += bool(declines(after, [before]))
        key = key_of(TRIAD)
        if key not in before.entries or key not in after.entries:
            continue
        old, new = before.entries[key], after.entries[key]
        most = max(meant(old), by_chance(old, new, len(after.entries)))
        allowed.append(most)
        worse = replace(new, center=(new.center or 0.0) * (1 - 1.5 * most))
        caught += any(
            one.key == key for one in declines(replace(after, entries={**after.entries, key: worse}), [before])
        )
    middle = float(np.median(allowed)) if allowed else None
    return {
        "family": family, "metrics": metrics, "learned": list(learned), "refused": refused, "of": runs,
        "caught": caught, "declined": len(allowed), "allowed": middle,
    }  # fmt: skip


def _count(counts: dict[str, list[int]], name: str, hit: bool) -> None:
    mine = counts.setdefault(name, [0, 0])
    mine[0] += hit
    mine[1] += 1


def _limits(known: Baseline) -> list[float]:
    """Written failing loss against floor of what was learned."""
    return [written_loss(entry) / entry.floor for entry in known.entries.values()]


def taught(shape: Shape, rng: np.random.Generator, runs: int) -> tuple[Baseline, Floats]:
    """An approved baseline of some runs of some units, and what the units are like."""
    like = between_units(shape, rng)
    values = [column for _ in range(runs) for column in columns(_measured(shape, like, rng), shape.nodes, shape.gpus)]
    entries, _ = learn(values, MODEL, "", {}, {}, 0.0)
    names = tuple(dict.fromkeys(subject.node for subject in subjects(shape.nodes, shape.gpus)))
    return Baseline(MODEL, Provenance(_WHEN, ("before",), names, (), ""), entries, "approved"), like


def _measured(shape: Shape, like: Floats, rng: np.random.Generator) -> Floats:
    return launch_of(shape, like, np.zeros(like.shape[1], bool), rng)


def blamed(known: Baseline, value: Floats) -> npt.NDArray[np.bool_]:
    """bool[m, u]: values float64[m, u] beyond their limit in a run of so many."""
    entries = [known.entries.get(key_of(metric)) for metric in range(len(value))]
    comparisons = value.shape[1] * sum(entry is not None for entry in entries)
    rate = PeerRule().false_alarm_rate * LEARNED_BASELINE
    found = np.zeros(value.shape, bool)
    for row, entry in enumerate(entries):
        if entry is not None:
            lower, _, loss = limits_of(entry, comparisons, rate)
            found[row] = (value[row] < lower) if lower is not None and loss <= MOST_LOSS else False
    return found


def columns(value: Floats, nodes: int, gpus: int) -> list[Values]:
    """float64[m, u] as the values of a run."""
    measured, every = subjects(nodes, gpus), np.arange(nodes * gpus, dtype=np.int32)
    once, still = np.ones(len(every), np.int32), np.zeros(len(every))
    found = []
    for number, row in enumerate(value):
        check, _, rest = key_of(number).partition(".")
        metric = catalogue()[check][rest.partition("[")[0]]
        found.append(Values(key_of(number), metric, measured, every, row, still, once, row))
    return found
