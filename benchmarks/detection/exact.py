"""Is found what no comparison of rates shows? Counters, flags, wrong results, facts: the whole judge on small fleets with one fault each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hpcaccept import checks
from hpcaccept.checks.identity import UNIQUE_FACTS
from hpcaccept.judge import judge
from hpcaccept.judge.baseline.learn import learn
from hpcaccept.judge.questions.baseline import judge_against_baseline
from hpcaccept.judge.questions.peers import judge_against_peers
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.judge.statistics.grouping import alike_of
from hpcaccept.model.baseline import Baseline, Provenance
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.plan import Image, Plan, Request
from hpcaccept.model.record import Record, Sample
from hpcaccept.model.suite import CheckSpec, Suite
from hpcaccept.model.verdict import CODE, Outcome
from hpcaccept.simulate.fleet import MODEL, SPREADS, Fleet, Site, table_of
from hpcaccept.simulate.ours import catalogue as rates
from hpcaccept.store.gather import table_of as table_of_records

if TYPE_CHECKING:
    import numpy as np

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.metric import Metric

_NODES, _GPUS = 16, 8
_FACTS = {"gpu_model": MODEL, "gpu_power_limit_w": "700", "gpu_memory_gib": "79.6", "driver": "580.95.05"}


@dataclass(frozen=True)
class Exact:
    """A fault that a counter, a flag or a fact shows.

    Attributes:
        about: what is broken.
        key: metric key that names it; where the judge has none for it, what measures it.
        value: of that metric on the bad GPU.
        facts: that the GPUs of the bad node tell instead of the usual ones.
        model: that they say they are.
        reach: one GPU, or all of a node.
    """

    about: str
    key: str
    value: float | None = None
    facts: dict[str, str] = field(default_factory=dict)
    model: str = MODEL
    whole_node: bool = False


EXACT = (
    Exact("a GPU with an uncorrectable memory error", "health.ecc_uncorrected", 1),
    Exact("a GPU that replaces a memory row", "health.row_remaps", 1),
    Exact("a GPU with 17,657 corrected errors a second", "health.ecc_corrected_rate", 17657),
    Exact("a GPU with half of its PCIe lanes", "health.pcie_lanes_lost", 8),
    Exact("a GPU with one NVLink down", "health.nvlinks_missing", 1),
    Exact("a GPU that fell off the bus", "health.lost", 1),
    Exact("a GPU with a tenth less memory than its name says", "identity.gpu_memory_bytes", 77e9),
    Exact(
        "a node of another model that says so", "identity.drift", None,
        {"gpu_model": "NVIDIA H100 PCIe", "gpu_power_limit_w": "350"}, "NVIDIA H100 PCIe", whole_node=True,
    ),
    Exact("a node with a lower power limit", "identity.drift", None, {"gpu_power_limit_w": "600"}, whole_node=True),
    Exact("a GPU that stalls: p99 of its steps is tenfold, their mean unchanged", "ddp_train.step_s[p99]", 0.1),
)  # fmt: skip


@dataclass
class Seen:
    """What became of one kind of exact fault.

    Attributes:
        failed: nodes that had it and got a FAIL by its key.
        warned: nodes that had it and got a WARN by it, no FAIL.
        faulty: nodes that had it.
        blamed: healthy nodes with a FAIL.
        healthy: healthy nodes.
    """

    failed: int = 0
    warned: int = 0
    faulty: int = 0
    blamed: int = 0
    healthy: int = 0


def exact(fault: Exact, fleets: int, rng: np.random.Generator) -> Seen:
    """Many fleets of 16 nodes × 8 GPUs, each with one such fault."""
    seen = Seen()
    for _ in range(fleets):
        node, gpu = int(rng.integers(_NODES)), int(rng.integers(_GPUS))
        evidence, catalogue = _evidence_of(_records(fault, node, gpu, rng))
        judgement = judge(evidence, catalogue, {}, UNIQUE_FACTS)
        outcomes: dict[str, set[Outcome]] = {}
        blamed: set[str] = set()
        for verdict in judgement.verdicts:
            if verdict.key.startswith(fault.key):
                outcomes.setdefault(verdict.subject.node, set()).add(verdict.outcome)
            if verdict.outcome is Outcome.FAIL:
                blamed.add(verdict.subject.node)
        mine = outcomes.get(_name(node), set())
        seen.failed += Outcome.FAIL in mine
        seen.warned += Outcome.WARN in mine and Outcome.FAIL not in mine
        seen.faulty += 1
        seen.blamed += len(blamed - {_name(node)})
        seen.healthy += _NODES - 1
    return seen


def corrupted(chance: float, passes: int, gpus: int, rng: np.random.Generator) -> int:
    """GPUs that are blamed when each pass of each gives a wrong result with this chance; ``burn`` makes so many passes."""
    failed = 0
    for first in range(0, gpus, _NODES * _GPUS):
        count = min(_NODES * _GPUS, gpus - first)
        records = [
            _record("burn", number // _GPUS, number % _GPUS, {"wrong_elements": float(rng.binomial(passes, chance))})
            for number in range(count)
        ]
        evidence, catalogue = _evidence_of(records)
        answers = judge(evidence, catalogue, {}, UNIQUE_FACTS).table.answers
        failed += sum(
            int((answer.outcome == CODE[Outcome.FAIL]).sum())
            for answer in answers
            if answer.key == "burn.wrong_elements"
        )
    return failed


def slow_fleet(loss: float, site: Site, rng: np.random.Generator) -> tuple[int, int]:
    """Nodes that the peers, and that a baseline of the same fleet blame, when every unit of it has become slower by one share."""
    fleet = Fleet(site, rng)
    before, after = (_run(fleet, share) for share in (0.0, loss))
    entries = learn(before[1], MODEL, "", {}, {}, 0.0)[0]
    known = Baseline(MODEL, Provenance("2026-01-01", ("before",), (), (), ""), entries, "approved")
    evidence, values = after
    alike = alike_of(evidence.samples.subjects)
    peers, _ = judge_against_peers(evidence, values, alike)
    baseline, _ = judge_against_baseline(evidence, values, {MODEL: known})
    subjects = evidence.samples.subjects
    blamed = [
        {subjects[row].node for a in answers for row in a.subject[a.outcome == CODE[Outcome.FAIL]].tolist()}
        for answers in (peers, baseline)
    ]
    return len(blamed[0]), len(blamed[1])


def _run(fleet: Fleet, loss: float) -> tuple[Evidence, list[Values]]:
    site = fleet.site
    left = {name: like * 0 + 1 - loss for name, like in fleet.like.items()}
    table = table_of(site, [fleet.launch(list(SPREADS), left)], fleet.begin_run())
    plan = _plan(tuple(rates()), site.nodes, site.gpus)
    evidence = Evidence(plan, (), (), (), (), table, ())
    return evidence, values_of(table, rates())


def _records(fault: Exact, node: int, gpu: int, rng: np.random.Generator) -> list[Record]:
    """All GPUs, healthy but for the fault."""
    records = []
    for number in range(_NODES * _GPUS):
        at, card = divmod(number, _GPUS)
        bad = at == node and (fault.whole_node or card == gpu)
        numbers = {
            "health": {**dict.fromkeys(_QUIET, 0.0), "ecc_corrected_rate": float(rng.exponential(0.01))},
            "identity": {"gpu_memory_bytes": 85.5e9, "gpu_count": 8.0},
            "ddp_train": {"own_step_s": 0.01 * (1 + 0.01 * float(rng.standard_normal())), "step_s[p99]": 0.011},
        }
        check, _, metric = fault.key.partition(".")
        if bad and fault.value is not None:
            numbers[check][metric] = fault.value
        for name, values in numbers.items():
            record = _record(name, at, card, values)
            if name == "identity":
                record = replace(record, facts={**_FACTS, **(fault.facts if bad else {})})
            records.append(replace(record, device_model=fault.model if bad else MODEL))
    return records


#: Counters and flags that are 0 on a healthy GPU.
_QUIET = (
    "lost", "ecc_uncorrected", "row_remaps", "remap_pending", "remap_failure", "pcie_lanes_lost", "pcie_generations_lost",
    "nvlinks_missing",
)  # fmt: skip


def _record(check: str, node: int, gpu: int, numbers: dict[str, float]) -> Record:
    samples = []
    for key, value in numbers.items():
        metric, _, variant = key.partition("[")
        samples.append(Sample(metric, value, variant.rstrip("]")))
    return Record(
        check=check, revision=1, step="00", rank=node * _GPUS + gpu, node=_name(node), device=f"cuda:{gpu}",
        outcome="measured", device_id=f"GPU-{node}-{gpu}", device_model=MODEL, samples=tuple(samples),
    )  # fmt: skip


def _evidence_of(records: list[Record]) -> tuple[Evidence, dict[str, dict[str, Metric]]]:
    names = tuple(dict.fromkeys(record.check for record in records))
    catalogue = checks.catalogue(names)
    nodes = tuple(dict.fromkeys(record.node for record in records))
    evidence = Evidence(
        plan=_plan(names, len(nodes), _GPUS), nodes=nodes, steps=(), rank_starts=(),
        records=tuple(replace(record, samples=()) for record in records),
        samples=table_of_records(records, [], catalogue), events=(),
    )  # fmt: skip
    return evidence, catalogue


def _plan(names: tuple[str, ...], nodes: int, gpus: int) -> Plan:
    suite = Suite("simulated", "A simulated fleet.", tuple(CheckSpec(name) for name in names))
    return Plan(
        run_id="simulated", created_at="", version="", commit="", launcher="",
        request=Request(nodes=nodes, gpus_per_node=gpus), suite=suite, image=Image(), start_deadline_s=0.0,
    )  # fmt: skip


def _name(node: int) -> str:
    return f"n{node:05d}"
