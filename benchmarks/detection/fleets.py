"""Healthy fleets of every shape, and faults in them: does the comparison with the peers hold its stated rate in fleets that nobody assumed?

A generator of its own, beside ``hpcaccept.simulate``: the parameters are those of ``Shape``, so that anyone can add a fleet. It gives the
values of launches; everything after that is the product's code (``values_of``, ``judge_against_peers``, ``measured_again``), retests
included. Units of width 1 differ by a quarter of the floor of their metric, which is what the rule takes for the class; a run adds a
sixteenth of the floor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from hpcaccept import checks
from hpcaccept.judge.questions.peers import judge_against_peers
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.judge.statistics.grouping import Alike, alike_of
from hpcaccept.launch.job.retest import measured_again
from hpcaccept.model.event import Event
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.plan import Image, Plan, Request
from hpcaccept.model.suite import CheckSpec, PeerRule, Suite
from hpcaccept.model.table import MeasuredSubject, SampleTable
from hpcaccept.model.verdict import CODE, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.judge.statistics.sensitivity import Sensitivity
    from hpcaccept.model.metric import Metric
    from hpcaccept.model.verdict_table import JudgedColumn

Floats = npt.NDArray[np.float64]
Family = Literal["normal", "t(5)", "t(3)", "slow-skewed", "fast-skewed", "bins"]
MODEL = "NVIDIA H100 80GB HBM3"
#: Metrics of the catalogue; of more than these, each has variants.
_RATES = (
    ("matmul", "rate_flops", "bf16"),
    ("memory_bandwidth", "rate_bytes", "triad"),
    ("transfers", "rate_bytes", "h2d"),
    ("transfers", "rate_bytes", "d2h"),
    ("resnet", "images_per_s", "resnet50 train"),
)
BF16, TRIAD = 0, 1
#: Shape of the lognormal, and what a disturbed launch loses.
_SKEW, _DISTURBED = 0.5, (0.03, 0.15)
_RACK = 16
#: The run came to its end: whoever is suspect was launched again.
_ENDED = (Event("ended", "2026-11-29T00:00:00Z"),)


@dataclass(frozen=True)
class Shape:
    """What kind of fleet.

    Attributes:
        nodes: how many.
        gpus: per node.
        metrics: rates of each GPU, a multiple of five.
        width: healthy units differ by so many quarters of the floor.
        family: how they are distributed, with standard deviation 1: ``bins``: half of the GPUs is ``bin_loss`` slower in all metrics.
        bin_loss: of the slower half.
        rack: standard deviation between racks of 16 nodes, relative, of all metrics.
        node: between nodes, likewise.
        drift: what the last node has lost against the first.
        correlated: share of the variance between units that is the same in all metrics.
        wild: share of the units whose run noise is five times the usual.
        digits: significant digits of a value; 0: all.
        disturbed: chance that a value of a launch is low by 3 to 15 %.
        load: what a launch loses for everybody, at most.
    """

    nodes: int
    gpus: int
    metrics: int = 5
    width: float = 1.0
    family: Family = "normal"
    bin_loss: float = 0.03
    rack: float = 0.0
    node: float = 0.0
    drift: float = 0.0
    correlated: float = 0.0
    wild: float = 0.0
    digits: int = 0
    disturbed: float = 0.0
    load: float = 0.0


@dataclass(frozen=True)
class Fault:
    """What some units have lost.

    Attributes:
        loss: relative.
        metric: number of the metric; None: of all.
        nodes: share of the nodes that have it; 0: the first node alone.
        whole: True: all GPUs of a node; else its first one.
    """

    loss: float
    metric: int | None = TRIAD
    nodes: float = 0.0
    whole: bool = False

    def units(self, shape: Shape) -> npt.NDArray[np.intp]:
        """Who has it."""
        nodes = max(1, round(self.nodes * shape.nodes))
        return np.array([n * shape.gpus + g for n in range(nodes) for g in range(shape.gpus if self.whole else 1)])


@dataclass(eq=False)
class Tally:
    """What became of many runs.

    Attributes:
        runs: how many.
        failed: with a FAIL of a unit that has no fault; ``warned``: with a WARN and no FAIL of such a unit; ``undecided``: with anybody
            undecided.
        found: runs in which every faulty node has a FAIL for what is wrong with it; ``told``: in which every one is anything but PASS there.
        doubted: runs whose report says that the stated rate does not hold.
        launches: of all runs.
    """

    runs: int = 0
    failed: int = 0
    warned: int = 0
    undecided: int = 0
    found: int = 0
    told: int = 0
    doubted: int = 0
    launches: int = 0


def key_of(metric: int) -> str:
    """Of the metric with this number."""
    check, name, variant = _RATES[metric % len(_RATES)]
    return f"{check}.{name}[{variant}{f' {metric // len(_RATES)}' if metric >= len(_RATES) else ''}]"


def floor_of(metric: int) -> float:
    """Smallest loss against the peers that counts, as the catalogue says."""
    check, name, _ = _RATES[metric % len(_RATES)]
    return catalogue()[check][name].peer_floor or 0.0


@lru_cache(maxsize=1)
def catalogue() -> dict[str, dict[str, Metric]]:
    """The declared metrics."""
    return checks.catalogue(sorted({check for check, *_ in _RATES}))


def between_units(shape: Shape, rng: np.random.Generator) -> Floats:
    """float64[m, u]: what each unit reaches, 1 is typical; it stays from launch to launch."""
    count = shape.nodes * shape.gpus
    made = _deviations(shape.family, (shape.metrics, count), rng)
    if shape.correlated:
        common = _deviations(shape.family, (1, count), rng)
        made = np.sqrt(1 - shape.correlated) * made + np.sqrt(shape.correlated) * common
    floors = np.array([floor_of(metric) for metric in range(shape.metrics)])
    of_node = shape.node * rng.standard_normal(shape.nodes) + shape.drift * np.linspace(0, -1, shape.nodes)
    of_node = of_node + np.repeat(shape.rack * rng.standard_normal(-(-shape.nodes // _RACK)), _RACK)[: shape.nodes]
    like = 1 + shape.width * floors[:, None] / 4 * made + np.repeat(of_node, shape.gpus)
    if shape.family == "bins":
        like *= np.where(rng.permutation(count) < count // 2, 1 - shape.bin_loss, 1.0)
    return np.maximum(like, 0.01)


def _deviations(family: Family, size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Of standard deviation 1."""
    if family in ("t(5)", "t(3)"):
        df = int(family[2])
        return np.asarray(rng.standard_t(df, size) / np.sqrt(df / (df - 2)))
    if family in ("slow-skewed", "fast-skewed"):
        long = np.exp(_SKEW * rng.standard_normal(size))
        long /= np.sqrt((np.exp(_SKEW**2) - 1) * np.exp(_SKEW**2))
        return long if family == "fast-skewed" else -long
    return rng.standard_normal(size)


def launch_of(shape: Shape, like: Floats, noisy: Floats, rng: np.random.Generator) -> Floats:
    """float64[m, u] of one launch."""
    floors = np.array([floor_of(metric) for metric in range(len(like))])
    noise = floors[:, None] / 16 * rng.standard_normal(like.shape)
    value = like * (1 + noisy * noise) * (1 - shape.load * rng.random())
    hit = rng.random(like.shape) < shape.disturbed
    value[hit] *= 1 - rng.uniform(*_DISTURBED, int(hit.sum()))
    if shape.digits:
        value = np.round(value * 5, shape.digits - 1) / 5
    return value


def run_of(
    shape: Shape, rng: np.random.Generator, fault: Fault | None = None, rule: PeerRule | None = None
) -> tuple[list[JudgedColumn], Sensitivity, int]:
    """One run, retests included: answers, what it could see, and how many launches it took."""
    like = between_units(shape, rng)
    if fault is not None:
        like[slice(None) if fault.metric is None else fault.metric, fault.units(shape)] *= 1 - fault.loss
    noisy = np.asarray(np.where(rng.random(like.shape[1]) < shape.wild, 5.0, 1.0))
    plan, alike = _plan(rule or PeerRule()), _alike(shape.nodes, shape.gpus)
    launches = [launch_of(shape, like, noisy, rng)]
    node = alike.node
    while True:
        evidence = Evidence(plan, (), (), (), (), _table(shape, launches), _ENDED)
        answers, sensitivity = judge_against_peers(evidence, values_of(evidence.samples, catalogue()), alike)
        again = measured_again(plan.suite.peers, answers, alike, len(launches) - 1, shared_host=False)
        if again is None:
            return answers, sensitivity, len(launches)
        launch = launch_of(shape, like, noisy, rng)
        checked = np.array([_RATES[m % len(_RATES)][0] in again.checks for m in range(shape.metrics)])
        here = np.ones(len(node), bool) if again.nodes is None else np.isin(node, sorted(again.nodes))
        launches.append(np.where(checked[:, None] & here, launch, np.nan))


def tally_of(
    shape: Shape, runs: int, seed: Sequence[int], fault: Fault | None = None, rule: PeerRule | None = None
) -> Tally:
    """Many runs, counted."""
    tally = Tally(runs=runs)
    count = shape.nodes * shape.gpus
    bad = np.zeros((shape.metrics, count), bool)
    if fault is not None:
        bad[slice(None) if fault.metric is None else fault.metric, fault.units(shape)] = True
    of_key = {key_of(metric): metric for metric in range(shape.metrics)}
    for number in range(runs):
        answers, sensitivity, launches = run_of(shape, np.random.default_rng([*seed, number]), fault, rule)
        outcome = np.full(bad.shape, CODE[Outcome.PASS], np.int8)
        for answer in answers:
            outcome[of_key[answer.key], answer.subject] = answer.outcome
        fail, warn, none = (outcome == CODE[o] for o in (Outcome.FAIL, Outcome.WARN, Outcome.NO_BASELINE))
        # A neighbour on a node that is faulty as a whole, or in another metric of the unit, is no fault of the judge's.
        tally.failed += bool((fail & ~bad).any())
        tally.warned += bool((warn & ~bad).any() and not (fail & ~bad).any())
        tally.undecided += bool(none.any())
        tally.doubted += bool(sensitivity.tail)
        tally.found += _each_node(bad, fail, shape)
        tally.told += _each_node(bad, outcome != CODE[Outcome.PASS], shape)
        tally.launches += launches
    return tally


def _each_node(bad: npt.NDArray[np.bool_], said: npt.NDArray[np.bool_], shape: Shape) -> bool:
    """Was it said of each node that has a fault, for what it spoils?"""
    by_node = (shape.metrics, shape.nodes, shape.gpus)
    there = np.any(bad.reshape(by_node), axis=(0, 2))
    found = np.any((bad & said).reshape(by_node), axis=(0, 2))
    return bool(np.any(there) and np.all(found | ~there))


def _table(shape: Shape, launches: Sequence[Floats]) -> SampleTable:
    """One repeat of each launch, metric by metric."""
    value = np.stack(launches, axis=2)  # metric, unit, launch
    metric, unit, launch = np.nonzero(np.isfinite(value))
    return SampleTable(
        keys=tuple(key_of(m) for m in range(shape.metrics)),
        subjects=subjects(shape.nodes, shape.gpus),
        key=metric.astype(np.int32),
        subject=unit.astype(np.int32),
        launch=launch.astype(np.int32),
        repeat=np.zeros(len(unit), np.int32),
        value=value[metric, unit, launch],
    )


@lru_cache(maxsize=8)
def subjects(nodes: int, gpus: int) -> tuple[MeasuredSubject, ...]:
    """GPUs of like nodes."""
    return tuple(
        MeasuredSubject(f"n{node:05d}", f"cuda:{gpu}", f"GPU-{node}-{gpu}", MODEL)
        for node in range(nodes)
        for gpu in range(gpus)
    )


@lru_cache(maxsize=4)
def _alike(nodes: int, gpus: int) -> Alike:
    return alike_of(subjects(nodes, gpus))


@lru_cache(maxsize=4)
def _plan(rule: PeerRule) -> Plan:
    suite = Suite("audit", "Fleets of many shapes.", tuple(CheckSpec(name) for name in sorted(catalogue())), peers=rule)
    return Plan(
        run_id="audit", created_at="", version="", commit="", launcher="", request=Request(nodes=1, gpus_per_node=1), suite=suite, image=Image(),
        start_deadline_s=0.0,
    )  # fmt: skip
