"""Nouns for tests: plans, records and evidence in one line each, with a catalogue of their own.

The metrics of ``CATALOGUE`` belong to no real check, so that a test of the judge does not change when a check does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.judge import Judgement, judge
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.judge.verdict_text import verdict_of
from hpcaccept.model.baseline import Baseline, BaselineEntry, Provenance
from hpcaccept.model.event import Event
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.plan import Image, Plan, Request, Step
from hpcaccept.model.record import RankStarted, Record, Sample, UnreadableLine
from hpcaccept.model.suite import CheckSpec, Suite
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.judged import Judged
from hpcaccept.report.model import summarise
from hpcaccept.store.gather import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcaccept.model.job import JobStatus
    from hpcaccept.model.verdict import Verdict

DATA = Path(__file__).parents[1] / "data"
H100 = "NVIDIA H100 80GB HBM3"
AT = "2026-11-22T01:00:00.000+00:00"

RATE = Metric("rate_flops", "FLOP/s", "higher", "Rate of products.", peer_floor=0.04)
TIME = Metric("latency_s", "s", "lower", "Time of one call.", peer_floor=0.10, required=False)
WRONG = Metric(
    "wrong_elements", "elements", "lower", "Elements that are wrong.", statistic="worst",
    limit=at_most(0, "elements", "a correct device makes none"), required=False,
)  # fmt: skip
SPREAD = Metric("spread", "share", "exact", "How far blocks lie apart.", required=False)
WORLD = Metric("busbw_bytes", "B/s", "higher", "Bandwidth of all.", scope="world", required=False)
GPUS = Metric("gpu_count", "GPUs", "exact", "GPUs that are there.", scope="node", statistic="worst", required=False)
CORES = Metric("cores", "cores", "higher", "Processors.", scope="node", peer_floor=0.001, noise="counted")

CATALOGUE: dict[str, dict[str, Metric]] = {
    "identity": {m.name: m for m in (GPUS, CORES)},
    "speed": {m.name: m for m in (RATE, TIME, WRONG, SPREAD)},
    "fabric": {m.name: m for m in (WORLD, WRONG)},
}
UNIQUE = frozenset({"hostname"})


def nodes(count: int) -> tuple[str, ...]:
    return tuple(f"node{number}" for number in range(count))


def suite(*checks: str | CheckSpec, **more: Any) -> Suite:
    """A suite named ``test`` of these checks."""
    specs = tuple(check if isinstance(check, CheckSpec) else CheckSpec(check) for check in checks or ("speed",))
    return Suite(**{"name": "test", "about": "For tests.", "checks": specs, "source": "test.toml", **more})


def plan(the_suite: Suite | None = None, **request: Any) -> Plan:
    """A plan for four nodes with one GPU each, unless the request says otherwise."""
    return Plan(
        run_id="20261122-010000-test-4n-abcd",
        created_at=AT,
        version="0.1.0",
        commit="0123456789ab",
        launcher="slurm",
        request=Request(**{"nodes": 4, "gpus_per_node": 1, **request}),
        suite=the_suite or suite(),
        image=Image(),
        start_deadline_s=300.0,
    )


def step(checks: Sequence[str] = ("speed",), count: int = 4, ranks_per_node: int = 1, **more: Any) -> Step:
    """A step of ``count`` nodes."""
    specs = tuple(CheckSpec(name) for name in checks)
    return Step(
        **{
            "id": "00",
            "nodes": nodes(count),
            "ranks_per_node": ranks_per_node,
            "gpus_per_node": 0,
            "checks": specs,
            "start_deadline_s": 300.0,
            **more,
        }
    )


def rank_started(rank: int, node: str, **more: Any) -> RankStarted:
    """The first words of a rank on a kernel of its node's own."""
    values = {
        "rank": rank, "size": 4, "node": node, "pid": 1000 + rank, "python": "3.11.7", "version": "0.1.0",
        "mpi": "Open MPI v4.1.4", "boot_id": f"boot-of-{node}", "cores": 8.0, "ranks_on_host": 1, "in_turn": False,
        "threads": 8,
    }  # fmt: skip
    return RankStarted(**{**values, **more})


def samples(numbers: Mapping[str, float | Sequence[float]]) -> tuple[Sample, ...]:
    """``{"rate_flops[fp32]": [1.0, 2.0]}`` as samples, one per repeat."""
    found = []
    for name, given in numbers.items():
        metric, _, variant = name.partition("[")
        values = [given] if isinstance(given, (int, float)) else list(given)
        found += [Sample(metric, float(value), variant.rstrip("]"), repeat) for repeat, value in enumerate(values)]
    return tuple(found)


def record(check: str, node: str, numbers: Mapping[str, float | Sequence[float]] | None = None, **more: Any) -> Record:
    """What rank 0 of a node says of a check: measured, when there are numbers."""
    values = {
        "check": check, "revision": 1, "step": "00", "rank": int(node[4:] or 0) if node[4:].isdigit() else 0,
        "node": node, "device": "cuda:0", "device_model": H100, "samples": samples(numbers or {}),
        "outcome": "measured" if numbers is not None else "error",
    }  # fmt: skip
    return Record(**{**values, **more})


def evidence(
    records: Iterable[Record],
    the_plan: Plan | None = None,
    *,
    names: tuple[str, ...] | None = None,
    rank_starts: tuple[RankStarted, ...] | None = None,
    events: tuple[Event, ...] = (),
    unreadable: tuple[UnreadableLine, ...] = (),
    job: JobStatus | None = None,
    catalogue: Mapping[str, dict[str, Metric]] = CATALOGUE,
) -> Evidence:
    """Evidence as ``gather`` would make it of these records; its driver has had its last word."""
    the_plan = the_plan or plan()
    names = nodes(the_plan.request.nodes) if names is None else names
    rank_starts = (
        rank_starts if rank_starts is not None else tuple(rank_started(rank, node) for rank, node in enumerate(names))
    )
    kept = list(records)
    return Evidence(
        plan=the_plan,
        nodes=names,
        steps=(),
        rank_starts=rank_starts,
        records=tuple(replace(r, samples=()) for r in kept),
        samples=table_of(kept, list(rank_starts), dict(catalogue)),
        events=(*events, Event("ended", AT)) if job is None else events,
        unreadable=unreadable,
        job=job,
    )


def fleet(rates: Sequence[float], the_plan: Plan | None = None, **more: Any) -> Evidence:
    """One node per rate, each with a faultless ``speed`` record."""
    the_plan = the_plan or plan(nodes=len(rates))
    return evidence(
        [
            record("speed", f"node{number}", {"rate_flops": rate, "wrong_elements": 0})
            for number, rate in enumerate(rates)
        ],
        the_plan,
        **more,
    )


def judged(found: Evidence, baselines: Mapping[str, Baseline] | None = None) -> Judgement:
    """The judgement by the catalogue of this file."""
    return judge(found, CATALOGUE, baselines or {}, UNIQUE)


def judged_run_of(found: Evidence, baselines: Mapping[str, Baseline] | None = None, where: str = "/runs/it") -> Judged:
    """What every report format is handed, by the catalogue of this file."""
    judgement, values = judged(found, baselines), values_of(found.samples, CATALOGUE)
    return Judged(found, values, judgement, summarise(found, judgement, values), where=where)


def every(judgement: Judgement) -> list[Verdict]:
    """All verdicts, PASS too."""
    table = judgement.table
    rows = (verdict_of(table, column, row) for column in table.answers for row in range(len(column)))
    return [*judgement.said, *rows]


def any_code(outcome: Outcome) -> FindingCode | None:
    """A code for a verdict whose finding does not matter; none of a PASS."""
    return None if outcome is Outcome.PASS else FindingCode.LIMIT_MISSED


def of(verdicts: Iterable[Verdict], outcome: Outcome) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.outcome is outcome]


def where(verdicts: Iterable[Verdict], outcome: Outcome) -> set[str]:
    """Nodes that have such a verdict."""
    return {verdict.subject.node for verdict in verdicts if verdict.outcome is outcome}


def entry(key: str = "speed.rate_flops", **more: Any) -> BaselineEntry:
    values = {
        "key": key, "revision": 1, "unit": "FLOP/s", "direction": "higher", "center": 100.0, "spread": 1.0,
        "lower": 90.0, "upper": None, "subjects": 8, "source": "median of 8 values",
    }  # fmt: skip
    return BaselineEntry(**{**values, **more})


def baseline(*entries: BaselineEntry, model: str = H100, setting: str = "8 threads, all at once") -> Baseline:
    origin = Provenance(AT, ("run-1",), ("node0", "node1"), ("GPU-1",), setting, {"driver": "580.1"}, "0.1.0", "abc")
    return Baseline(model, origin, {e.key: e for e in entries or (entry(),)}, "approved")


def transcript(file: Path) -> dict[str, str]:
    """Program → its output, of a recorded session (lines that begin with ``$`` are what was typed)."""
    found: dict[str, str] = {}
    program = ""
    for line in file.read_text("utf-8").splitlines(keepends=True):
        if line.startswith("$ "):
            program = line.split()[1]
            found[program] = ""
        else:
            found[program] += line
    return found
