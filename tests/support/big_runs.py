"""Runs of any size with known faults, made as columns: 16,384 nodes in seconds. Checks and metrics are the real ones.

What is wrong: GPU 5 of node 0 made 3 wrong elements; one pair of GPUs of node 1 is slow; two GPUs of node 3 are 12 % slow in every third
rate; node 2 is slow with all its partners (where there are ``pairs``); the last node never reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hpcaccept import checks
from hpcaccept.checks.identity import UNIQUE_FACTS
from hpcaccept.judge import judge_values
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.model.event import Event
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.history import Past, PastRun, subject_id
from hpcaccept.model.record import Record
from hpcaccept.model.table import MeasuredSubject, SampleTable
from hpcaccept.report.judged import Judged
from hpcaccept.report.model import summarise
from support.builders import AT, H100, plan, rank_started, suite

SETTING = "8 threads, all at once"
#: Check → its rate, what a healthy GPU reaches, and the first part of its variants.
_RATES = {
    "matmul": ("rate_flops", 8e14, "bf16"),
    "memory_bandwidth": ("rate_bytes", 3e12, "triad"),
    "transfers": ("rate_bytes", 5.5e10, "h2d"),
}


@dataclass
class _Columns:
    """Samples while they are made."""

    keys: list[str] = field(default_factory=list)
    subject: list[npt.NDArray[np.intp]] = field(default_factory=list)
    value: list[npt.NDArray[np.float64]] = field(default_factory=list)

    def add(self, key: str, subject: npt.NDArray[np.intp], value: npt.NDArray[np.float64]) -> None:
        self.keys.append(key)
        self.subject.append(subject)
        self.value.append(value)

    def table(self, subjects: tuple[MeasuredSubject, ...]) -> SampleTable:
        key = np.repeat(np.arange(len(self.keys), dtype=np.int32), [len(part) for part in self.value])
        zeros = np.zeros(len(key), np.int32)
        subject = np.concatenate(self.subject).astype(np.int32)
        return SampleTable(tuple(self.keys), subjects, key, subject, zeros, zeros, np.concatenate(self.value))


def names(count: int) -> tuple[str, ...]:
    return tuple(f"gpu{number:05d}" for number in range(count))


def big_run(
    nodes: int, gpus: int = 8, metrics: int = 30, *, cells: bool = True, pairs: bool = False, healthy: bool = False
) -> Evidence:
    """A run of so many nodes, with so many rates per GPU (at least 3, shared among three checks)."""
    rng, columns = np.random.default_rng(4), _Columns()
    there = names(nodes) if healthy else names(nodes)[:-1]
    devices = tuple(
        MeasuredSubject(node, f"cuda:{j}", f"GPU-{i:08x}-{j:04x}-4bcd-9e2f-0123456789ab", H100, SETTING)
        for i, node in enumerate(there)
        for j in range(gpus)
    )
    whole = tuple(MeasuredSubject(node, "", "", H100, SETTING) for node in there)
    every = np.arange(len(devices))
    for number in range(metrics):
        check, (metric, center, kind) = list(_RATES.items())[number % 3]
        value = center * (1 + 0.004 * rng.standard_normal(len(devices)))
        if not healthy and number % 3 == 0:
            value[3 * gpus : 3 * gpus + 2] *= 0.88
        columns.add(f"{check}.{metric}[{kind}-{number // 3}]", every, value)
    for check in _RATES:
        wrong = np.zeros(len(devices))
        if not healthy and check == "matmul":
            wrong[min(5, gpus - 1)] = 3
        columns.add(f"{check}.wrong_elements", every, wrong)
        columns.add(f"{check}.spread", every, rng.uniform(0.001, 0.01, len(devices)))
    if cells:
        _add_cells(columns, rng, len(devices) + np.arange(len(whole)), gpus, healthy)
    if pairs:
        _add_pairs(columns, rng, there, gpus, healthy)
    asked = [*_RATES, *(["peer_to_peer"] if cells else []), *(["pairs"] if pairs else [])]
    return Evidence(
        plan=plan(suite(*asked), nodes=nodes, gpus_per_node=gpus),
        nodes=names(nodes),
        steps=(),
        rank_starts=tuple(rank_started(number, node) for number, node in enumerate(there)),
        records=tuple(_records(asked, devices)),
        samples=columns.table(devices + whole),
        events=(Event("started", AT, nodes=names(nodes)), Event("ended", AT)),
    )


def _add_cells(
    columns: _Columns, rng: np.random.Generator, rows: npt.NDArray[np.intp], gpus: int, healthy: bool
) -> None:
    for a in range(gpus):
        for b in range(gpus):
            if a != b:
                value = 3.6e11 * (1 + 0.003 * rng.standard_normal(len(rows)))
                if not healthy and (a, b) == (0, gpus - 1):
                    value[1] *= 0.6
                columns.add(f"peer_to_peer.bandwidth_bytes[{a}→{b}]", rows, value)
                columns.add(f"peer_to_peer.wrong_elements[{a}→{b}]", rows, np.zeros(len(rows)))


def _add_pairs(columns: _Columns, rng: np.random.Generator, there: tuple[str, ...], gpus: int, healthy: bool) -> None:
    node = np.repeat(np.arange(len(there)), gpus)
    rates = 4.6e10 * (1 + 0.004 * rng.standard_normal((len(there), len(node))))
    if not healthy:
        rates[2] *= 0.8
        rates[:, node == 2] *= 0.8
    for partner, name in enumerate(there):
        rows = np.flatnonzero(node != partner)
        columns.add(f"pairs.exchange_bytes[{name}]", rows, rates[partner, rows])
        columns.add(f"pairs.wrong_words[{name}]", rows, np.zeros(len(rows)))
    columns.add("pairs.node_bytes", np.arange(len(node)), np.median(rates, axis=0))


def _records(asked: list[str], devices: tuple[MeasuredSubject, ...]) -> list[Record]:
    """Every device has measured every check."""
    revision = {name: checks.load(name).revision for name in asked}
    return [
        Record(
            check=name, revision=revision[name], step="00", rank=rank, node=subject.node, device=subject.device,
            device_id=subject.device_id, device_model=H100, outcome="measured", duration_s=4.0,
        )
        for name in asked
        for rank, subject in enumerate(devices)
    ]  # fmt: skip


def judged_run(found: Evidence, past: Past | None = None) -> Judged:
    """What every report format is handed."""
    catalogue = checks.catalogue(spec.name for spec in found.plan.suite.checks)
    values = values_of(found.samples, catalogue)
    judgement = judge_values(found, values, catalogue, {}, UNIQUE_FACTS, past)
    return Judged(found, values, judgement, summarise(found, judgement, values), past)


def past_of(found: Evidence, runs: int = 12) -> Past:
    """Earlier runs in which all was well; the driver was another one until the last five, and one run knew nobody."""
    rng = np.random.default_rng(5)
    table = found.samples
    values = {}
    for number, key in enumerate(table.keys):
        if "rate" not in key:
            continue
        mine = table.key == number
        past = np.full((runs, len(table.subjects)), np.nan)
        middle = float(np.median(table.value[mine]))
        past[:, table.subject[mine]] = middle * (1 + 0.004 * rng.standard_normal((runs, int(mine.sum()))))
        past[3] = np.nan
        values[key] = past
    made = tuple(PastRun(f"run-{i}", AT, "new" if i >= runs - 5 else "old", "test") for i in range(runs))
    return Past(made, tuple(subject_id(subject) for subject in table.subjects), values)
