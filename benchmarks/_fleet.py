"""What does a fleet of SuperBench's kind look like, and how long is it judged? Run in a process of its own.

The fleet of the measurements that docs/reference/performance.md names (section 2): 30 metrics of 14 checks on 8 GPUs per node,
normal noise of 0.7 % drawn in to 3 %, and among 1,000 nodes 12 special ones. Ten of them are bad: a GPU slower by 10, 20 and
6 % (two), a latency longer by 10 %, all metrics of two checks on a whole node slower by 20 %, a GPU slower in everything by
8 %, a check that ended with an error (two, one of them without its metrics), and a metric that one GPU lacks although its
check says that it was measured. Two are slower by 3 and 4 % and must not be flagged.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpcaccept import launch
from hpcaccept.judge import judge_values
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.model.event import Event
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.history import Past, PastRun, subject_id
from hpcaccept.model.metric import Metric
from hpcaccept.model.plan import Image, Plan, Request
from hpcaccept.model.record import Record
from hpcaccept.model.record_table import MEASURED, RecordTable
from hpcaccept.model.suite import CheckSpec, Suite
from hpcaccept.model.table import MeasuredSubject, SampleTable
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.model import summarise
from hpcaccept.serial import dumps

if TYPE_CHECKING:
    Floats = npt.NDArray[np.float64]

GPUS, METRICS, CHECKS, RUNS = 8, 30, 14, 20
_AT, _MODEL = "2026-11-22T01:00:00+00:00", "NVIDIA H100 80GB HBM3"
#: Every tenth metric is a latency.
_LOWER = np.arange(METRICS) % 10 == 9


@dataclass
class Fleet:
    """A run of it, and who is bad.

    Attributes:
        evidence: of the run.
        catalogue: of its checks.
        bad: names of the nodes that must be found.
        table: float64[nodes, gpus, metrics], NaN where a metric is absent; what the plain rule gets.
        failed: bool[nodes], a check ended with an error; likewise.
        base: float64[metrics], what a healthy GPU reaches.
    """

    evidence: Evidence
    catalogue: dict[str, dict[str, Metric]]
    bad: frozenset[str]
    table: Floats
    failed: npt.NDArray[np.bool_]
    base: Floats


def fleet(nodes: int, seed: int = 20261122) -> Fleet:
    """The same for the same number of nodes."""
    rng = np.random.default_rng(seed)
    names = [f"node{number:05d}" for number in range(nodes)]
    base = np.asarray(10.0 ** rng.integers(9, 14, METRICS), np.float64)
    noise = np.clip(rng.normal(0, 0.007, (nodes, GPUS, METRICS)), -0.03, 0.03)
    table = np.asarray((1 + noise) * base, np.float64)
    failed, bad = np.zeros(nodes, bool), set()
    for first in range(0, nodes - 999, 1000):
        special = rng.permutation(1000)[:12] + first
        _harm(table, failed, special, base)
        bad |= {names[node] for node in special[:10]}
    checks = [f"bench{number:02d}" for number in range(CHECKS)]
    metrics = [
        Metric(f"m{i:02d}", "B/s", "lower" if _LOWER[i] else "higher", "A figure.", peer_floor=0.05)
        for i in range(METRICS)
    ]
    catalogue: dict[str, dict[str, Metric]] = {name: {} for name in checks}
    for number, metric in enumerate(metrics):
        catalogue[checks[number % CHECKS]][metric.name] = metric
    subjects = tuple(
        MeasuredSubject(name, f"cuda:{g}", f"GPU-{name}-{g}", _MODEL, "12 threads")
        for name in names
        for g in range(GPUS)
    )
    plan = Plan(
        "fleet", _AT, "", "", launch.providing("sbatch")[0], Request(nodes, GPUS, GPUS),
        Suite("fleet", "", tuple(CheckSpec(name) for name in checks)), Image(), 300.0,
    )  # fmt: skip
    keys = tuple(f"{checks[i % CHECKS]}.{metric.name}" for i, metric in enumerate(metrics))
    evidence = Evidence(
        plan,
        tuple(names),
        (),
        (),
        _records(subjects, checks, failed),
        _samples(keys, subjects, table),
        (Event("ended", _AT),),
    )
    return Fleet(evidence, catalogue, frozenset(bad), table, failed, base)


def _harm(table: Floats, failed: npt.NDArray[np.bool_], node: npt.NDArray[np.intp], base: Floats) -> None:
    """Twelve special nodes: ten bad ones, then two that must pass."""
    for at, loss in zip(node[:4], (0.10, 0.20, 0.06, 0.06), strict=True):
        table[at, 3, 4] = base[4] * (1 - loss)
    table[node[4], 5, 9] = base[9] * 1.10
    collective = ~_LOWER & (np.arange(METRICS) % CHECKS < 2)
    table[node[5]][:, collective] *= 0.80
    table[node[6], 2] *= np.where(_LOWER, 1.08, 0.92)
    failed[node[7:9]] = True
    table[node[8]][:, 0::CHECKS] = np.nan
    table[node[9], 6, 7] = np.nan
    for at, loss in zip(node[10:12], (0.03, 0.04), strict=True):
        table[at, 1, 6] = base[6] * (1 - loss)


def _samples(keys: tuple[str, ...], subjects: tuple[MeasuredSubject, ...], table: Floats) -> SampleTable:
    value = table.reshape(-1)
    there = ~np.isnan(value)
    subject = np.repeat(np.arange(len(subjects), dtype=np.int32), METRICS)[there]
    key = np.tile(np.arange(METRICS, dtype=np.int32), len(subjects))[there]
    nothing = np.zeros(len(key), np.int32)
    return SampleTable(keys, subjects, key, subject, nothing, nothing, value[there])


def _records(subjects: tuple[MeasuredSubject, ...], checks: list[str], failed: npt.NDArray[np.bool_]) -> RecordTable:
    """One per GPU and check, as ``run.h5`` keeps them; the first check of a failed node ended with an error."""
    ok = [dumps(Record(name, 1, "00", 0, "@", "@", "measured", "@", _MODEL)) for name in checks]
    text, ends = bytearray(), np.empty(len(subjects) * CHECKS, np.int64)
    flags = np.full(len(ends), MEASURED, np.uint8)
    for number, subject in enumerate(subjects):
        for i, line in enumerate(ok):
            if i == 0 and failed[number // GPUS]:
                flags[number * CHECKS] = 0
                record = Record(checks[0], 1, "00", 0, subject.node, subject.device, "error", cause="return code 3")
                text += dumps(record).encode()
            else:
                text += (
                    line.replace("@", subject.node, 1)
                    .replace("@", subject.device, 1)
                    .replace("@", subject.device_id)
                    .encode()
                )
            ends[number * CHECKS + i] = len(text)
    return RecordTable(
        checks=tuple(checks),
        places=tuple((subject.node, subject.device) for subject in subjects),
        check=np.tile(np.arange(CHECKS, dtype=np.int32), len(subjects)),
        place=np.repeat(np.arange(len(subjects), dtype=np.int32), CHECKS),
        revision=np.ones(len(ends), np.int32),
        flags=flags,
        text=bytes(text),
        ends=ends,
    )


def past_of(made: Fleet, seed: int = 7) -> Past:
    """Twenty runs of the same units: 0.7 % between units, 0.2 % from run to run."""
    rng = np.random.default_rng(seed)
    subjects = made.evidence.samples.subjects
    own = 1 + np.clip(rng.normal(0, 0.007, (len(subjects), METRICS)), -0.03, 0.03)
    now = made.table.reshape(len(subjects), METRICS)
    # A healthy unit is today what it always was.
    healthy = np.abs(now / made.base - 1) <= 0.031
    usual = np.where(healthy, now, own * made.base)
    values = {
        key: usual[:, i] * (1 + 0.002 * rng.standard_normal((RUNS, len(subjects))))
        for i, key in enumerate(made.evidence.samples.keys)
    }
    runs = tuple(PastRun(f"run-{i}", f"2026-10-{i + 1:02d}T01:00:00+00:00", "", "fleet") for i in range(RUNS))
    return Past(runs, tuple(subject_id(subject) for subject in subjects), values)


def plain_rule(made: Fleet) -> set[str]:
    """Five percent off in either direction, an absent number or a failed check: what a dozen lines of numpy find."""
    off = ~(np.abs(made.table / made.base - 1) <= 0.05)
    return {made.evidence.nodes[node] for node in np.flatnonzero(off.any(axis=(1, 2)) | made.failed).tolist()}


def main(nodes: int, *, with_past: bool) -> dict[str, Any]:
    """Judge once, after a small fleet has warmed everything up."""
    small = fleet(8)
    judge_values(small.evidence, values_of(small.evidence.samples, small.catalogue), small.catalogue, {}, frozenset())
    made = fleet(nodes)
    past = past_of(made) if with_past else None
    begin, begin_cpu = time.perf_counter(), time.process_time()
    values = values_of(made.evidence.samples, made.catalogue)
    judgement = judge_values(made.evidence, values, made.catalogue, {}, frozenset(), past)
    ours_s, cpu_s = time.perf_counter() - begin, time.process_time() - begin_cpu
    begin = time.perf_counter()
    plain = plain_rule(made)
    plain_s = time.perf_counter() - begin
    summary = summarise(made.evidence, judgement, values)
    found = {node for node, outcome in summary.nodes.items() if outcome in (Outcome.FAIL, Outcome.ERROR)}
    return {
        "ours_s": ours_s,
        "cpu_s": cpu_s,
        "plain_s": plain_s,
        "bad": len(made.bad),
        "missed": len(made.bad - found),
        "false": len(found - made.bad),
        "plain_missed": len(made.bad - plain),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), with_past="--past" in sys.argv)))
