"""Finished runs of ``identity``, ``matmul`` and ``memory_bandwidth`` on one GPU of each node, as their ranks would have left them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcaccept import __version__
from hpcaccept.config.settings import Settings
from hpcaccept.config.suites import SuiteText
from hpcaccept.model.event import Event
from hpcaccept.model.plan import Image
from hpcaccept.model.record import RankFinished
from hpcaccept.plan.make import make_plan, request_of
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.journal import Journal
from support.builders import AT, H100, nodes, rank_started, record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hpcaccept.model.record import Record

FACTS = {"driver": "580.1", "cuda": "13.0", "torch": "2.9.0", "kernel": "6.1.0-40"}


def gpu_run(
    place: Path,
    name: str = "run1",
    rates: Sequence[float] = (7.9e14, 7.91e14, 7.89e14, 7.92e14),
    *,
    bandwidths: Sequence[float] | None = None,
    facts: Mapping[str, str] | None = None,
    gpus: Sequence[str] | None = None,
    wrong: str = "",
    silent: Sequence[str] = (),
    at: str = AT,
    launcher: str = "slurm",
    moving: Mapping[str, str] | None = None,
) -> RunFolder:
    """A run under ``place/runs``; ``rates`` has one number per node, ``gpus`` its UUID, ``moving`` are facts of ``memory_bandwidth``."""
    names = nodes(len(rates))
    tables = {"baseline": "optional", "checks": {"identity": {}, "matmul": {}, "memory_bandwidth": {}}}
    said: dict[str, list[Record]] = {}
    for rank, (node, rate) in enumerate(zip(names, rates, strict=True)):
        if node in silent:
            continue
        uuid = gpus[rank] if gpus else f"GPU-{rank}"
        who = {"rank": rank, "device": "cuda:0", "device_model": H100, "device_id": uuid}
        about: dict[str, float | Sequence[float]] = {
            "gpu_count": 1,
            "gpu_models": 1,
            "cores": 8,
            "memory_bytes": 1e12,
            "gpu_memory_bytes": 8.55e10,
        }
        known = {**FACTS, **(facts or {}), "gpu_serial": f"serial-of-{uuid}", "hostname": f"host-{node}"}
        numbers: dict[str, float | Sequence[float]] = {
            "rate_flops[bf16]": [rate],
            "wrong_elements[bf16]": float(node == wrong),
            "spread[bf16]": 0.01,
        }
        width = bandwidths[rank] if bandwidths else 2.5e12
        moved: dict[str, float | Sequence[float]] = {
            "rate_bytes[copy]": [width],
            "wrong_elements[copy]": 0.0,
            "spread[copy]": 0.01,
        }
        said[node] = [
            record("identity", node, about, facts=known, **who),
            record("matmul", node, numbers, **{**who, "revision": 2}),
            record("memory_bandwidth", node, moved, facts=moving or {}, **who),
        ]
    return finished(place, name, tables, names, said, at=at, launcher=launcher)


def finished(
    place: Path,
    name: str,
    tables: Mapping[str, Any],
    names: Sequence[str],
    said: Mapping[str, Sequence[Record]],
    *,
    at: str = AT,
    launcher: str = "slurm",
) -> RunFolder:
    """A run under ``place/runs`` of a suite, one rank on each of the nodes; those that are not in ``said`` never spoke."""
    ranks = {rank: said[node] for rank, node in enumerate(names) if node in said}
    return finished_ranks(place, name, tables, names, ranks, at=at, launcher=launcher)


def finished_ranks(
    place: Path,
    name: str,
    tables: Mapping[str, Any],
    names: Sequence[str],
    said: Mapping[int, Sequence[Record]],
    *,
    events: Sequence[Event] = (),
    gpus_per_node: int = 1,
    at: str = AT,
    launcher: str = "slurm",
) -> RunFolder:
    """The same with a rank for each GPU of each node, by number, and with what else the driver saw."""
    settings = Settings(nodes=len(names), gpus_per_node=gpus_per_node)
    suite = resolve_suite(SuiteText(place / "mine.toml", dict(tables)))
    plan = make_plan(
        settings, suite, request_of(settings, gpus_per_node), Image(),
        launcher=launcher, run_id=name, now=at, version=__version__, commit="c0ffee",
    )  # fmt: skip
    folder = RunFolder(place / "runs" / name)
    folder.create()
    folder.write_plan(plan)
    folder.write_step(plan.first_step(tuple(names), virtual=False))
    driver = Journal(folder.driver_log)
    begun = (Event("started", at, nodes=tuple(names)), Event("step_started", at, step="00", nodes=tuple(names)))
    for event in (*begun, *events, Event("ended", at)):
        driver.write(event)
    for rank, records in said.items():
        journal = Journal(folder.records("00") / f"r{rank:06d}.jsonl")
        journal.write(rank_started(rank, names[rank // gpus_per_node]))
        for spoken in records:
            journal.write(spoken)
        journal.write(RankFinished())
    return folder
