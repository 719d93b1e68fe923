"""Measures one check on a rank, in step with all others, so that whatever happens becomes a record."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hpcaccept import checks
from hpcaccept.errors import HpcacceptError, NotUnderstood, RunError, RunFolderFull, ToolError
from hpcaccept.measure import device as devices
from hpcaccept.measure.context import MpiContext, RankPlacement
from hpcaccept.measure.ranks import mpi
from hpcaccept.model.check import Check, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.record import ModuleImported, Record
from hpcaccept.model.suite import CheckSpec
from hpcaccept.rank import REMEDY_EXTRA
from hpcaccept.rank.importing import import_for_good
from hpcaccept.rank.plugins import Missing
from hpcaccept.rank.taken import Taken

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpi4py import MPI

    from hpcaccept.rank.rank import Rank
    from hpcaccept.rank.watch import Watch

#: Seconds a first ``import torch`` may take on a cold node (25 s seen) before it is a hang.
IMPORT_DEADLINE_S = 300.0


@dataclass
class Task:
    """One check of the step on this rank, with what it will measure with."""

    spec: CheckSpec
    check: Check
    ctx: MpiContext
    fault: Exception | None = None


def begin(rank: Rank, comm: MPI.Intracomm, spec: CheckSpec, watch: Watch, missing: Exception | None = None) -> Task:
    """Let a check look at the device before anything loads it. ``missing``: why this rank does not have it."""
    assert rank.place is not None
    watch.expect(f"beginning {spec.name}", spec.deadline_s, waits=False)
    check = Missing() if missing else checks.build(spec.name, spec.params)
    ctx = MpiContext(
        comm, rank.place, spec.name, check.metrics, spec.deadline_s, on_beat=watch.beat, folder=rank.outputs
    )
    task = Task(spec, check, ctx, missing)
    try:
        ctx.begun = check.begin(ctx)
    except Exception as fault:
        task.fault = fault
    return task


def measure_check(rank: Rank, comm: MPI.Intracomm, task: Task, watch: Watch) -> bool:
    """Measure one check on all ranks. False when this rank failed where the others cannot go on without it."""
    assert rank.place is not None
    place, spec, check, ctx = rank.place, task.spec, task.check, task.ctx
    # Only a first import may keep the others waiting for minutes.
    ready_s = spec.deadline_s if set(check.needs) <= set(rank.imported) else IMPORT_DEADLINE_S
    obstacle = task.fault or prepare(rank, check, watch)
    ctx.model = rank.model
    watch.expect("waiting for all ranks to be ready", ready_s, waits=True)
    if check.scope == "world":
        obstacle = obstacle or obstacle_elsewhere(mpi.allgather(comm, (rank.node, str(obstacle or ""))))
    else:
        mpi.barrier(comm)
    begun = time.monotonic()
    started_at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    kept: Any = None
    taken = Taken()

    def measure() -> None:
        nonlocal kept
        watch.expect("measuring", spec.deadline_s, waits=False)
        with taken.watched(watch):
            kept = check.measure(ctx)

    fault: Exception | None = obstacle
    # Where all ranks act together nobody waits for a sum of theirs: one of them may have failed in the middle.
    ours = None if len(place.host_ranks) > 1 else 0.0
    stopped = ""
    try:
        if check.scope == "world" and obstacle is None:
            measure()
        elif check.scope != "world":
            fault = _in_turn(rank.queue, place, watch, spec.deadline_s, measure, obstacle)
            watch.expect("waiting for all ranks to have measured", spec.deadline_s * _longest_queue(place), waits=True)
            mpi.barrier(comm)
            ours = taken.of_other_ranks(rank)
            watch.expect("comparing", spec.deadline_s, waits=False)
            # A rank that has nothing to compare takes part all the same: the others must not wait for it.
            with taken.timed():
                check.compare(ctx, kept)
    except Unavailable as why:
        fault = why
    except RunFolderFull:
        raise
    except Exception as why:
        # Where all ranks act together, one that was stopped and woken finds its connections closed by the others.
        stopped = watch.stopped_since(begun) if check.scope == "world" else ""
        fault = RunError(f"{stopped}; then {why}") if stopped else why
    taken.tell(ctx, check, ours)
    record = conclude(rank, spec, ctx, fault, started_at, taken.duration_s)
    if stopped:
        record = replace(record, interruption="stopped")
    rank.journal.write(record)
    return not (check.scope == "world" and record.outcome == "error")


def _longest_queue(place: RankPlacement) -> int:
    # Other hosts may hold more ranks than this one; nobody can hold more than all.
    return place.size if place.in_turn or not place.shared_kernel else 1


def prepare(rank: Rank, check: Check, watch: Watch) -> Exception | None:
    """Import what the check needs, before anything is timed; what stands in the way, or None."""
    assert rank.place is not None
    if rank.place.gpus_asked and check.on_device:
        missing = _no_gpu(rank)
        if missing:
            return missing
    # Read when torch opens the GPU: too late for a check that runs after another one.
    os.environ.update(devices.ENVIRONMENT)
    for module in check.needs:
        watch.expect(f"importing {module}", IMPORT_DEADLINE_S, waits=False)
        begin = time.perf_counter()
        try:
            found = import_for_good(module)
        except ImportError as fault:
            return Unavailable(f"{module} cannot be imported where the ranks run: {fault}", REMEDY_EXTRA)
        if module not in rank.imported:
            rank.imported[module] = str(getattr(found, "__version__", ""))
            rank.journal.write(ModuleImported(module, round(time.perf_counter() - begin, 4)), sync=False)
            if module == "torch":
                found.set_num_threads(rank.place.threads)
    if "torch" in check.needs and check.on_device and rank.place.device.startswith("cuda"):
        try:
            cause, remedy = devices.lacks_code(rank.place.device)
        except RuntimeError as fault:
            return fault
        return Unavailable(cause, remedy) if cause else None
    return None


def _no_gpu(rank: Rank) -> Unavailable | None:
    """Why this rank has no GPU, asked of the driver before torch is paid for."""
    from hpcaccept.measure.gpu import driver

    assert rank.place is not None
    asked = f"{rank.place.gpus_asked} were asked for on {rank.node}"
    try:
        for name, value in driver.installed().environment.items():
            os.environ.setdefault(name, value)
        gpus = driver.own_gpus()
    except driver.DriverMissing as fault:
        return Unavailable(f"no GPU for this rank: {fault}; {asked}")
    usable = sum(gpu.state == "ok" for gpu in gpus)
    # By its place, never by its number among the usable ones: behind a lost GPU every rank would be given its neighbour's.
    mine = gpus[rank.place.local_rank] if rank.place.local_rank < len(gpus) else None
    if mine is None or mine.state != "ok":
        which = f"GPU {mine.index} is not usable ({mine.state}), " if mine else ""
        return Unavailable(f"no GPU for this rank: {which}{usable} usable, {asked}")
    rank.model = mine.name or ""
    return None


def obstacle_elsewhere(obstacles: list[tuple[str, str]]) -> Unavailable | None:
    """Why a check of all ranks together cannot be measured: the first rank that cannot take part, by node and cause."""
    for number, (node, why) in enumerate(obstacles):
        if why:
            return Unavailable(f"rank {number} on {node} cannot take part: {why}")
    return None


def _in_turn(
    queue: MPI.Comm,
    place: RankPlacement,
    watch: Watch,
    deadline_s: float,
    measure: Callable[[], None],
    obstacle: Exception | None,
) -> Exception | None:
    """Measure: all at the same moment, or where ranks outnumber cores one after another. Gives what went wrong."""
    fault = obstacle

    def mine() -> None:
        nonlocal fault
        if fault is None:
            try:
                measure()
            except RunFolderFull:
                raise
            except Exception as why:
                fault = why

    if not place.in_turn:
        mine()
        return fault
    for turn, whose in enumerate(place.host_ranks):
        watch.expect(f"waiting for rank {whose} to measure in its turn", deadline_s, waits=True)
        if whose == place.rank:
            mine()
            watch.expect("waiting for the others to see the turn end", deadline_s, waits=True)
        if turn < len(place.host_ranks) - 1:
            mpi.barrier(queue)
    return fault


def conclude(
    rank: Rank, spec: CheckSpec, ctx: MpiContext, fault: Exception | None, started_at: str, duration_s: float
) -> Record:
    """The record of a measurement that has ended, well or with a fault."""
    facts = {**ctx.facts, **{f"{module}_version": version for module, version in rank.imported.items()}}
    if package := checks.origin(spec.name):
        facts["package"] = package
    common: dict[str, Any] = {
        "samples": tuple(ctx.samples),
        "unsupported": ctx.not_supported,
        "facts": facts,
        "started_at": started_at,
        "duration_s": duration_s,
        "device_id": facts.get("gpu_uuid", ""),
    }
    if fault is None:
        return rank.record(spec, "measured", **common)
    if isinstance(fault, Unavailable):
        return rank.record(spec, "not_run", cause=fault.cause, remedy=fault.remedy, **common)
    if isinstance(fault, HpcacceptError):
        return rank.record(spec, "error", cause=fault.message, remedy=fault.remedy, code=_code_of(fault), **common)
    return rank.record(spec, "error", cause=f"{type(fault).__name__}: {fault}", **common)


def _code_of(fault: HpcacceptError) -> str:
    """What an error of a check is called, where its kind says more than that it is one."""
    if isinstance(fault, NotUnderstood):
        return str(FindingCode.OUTPUT_UNKNOWN)
    return str(FindingCode.TOOL_ERROR) if isinstance(fault, ToolError) else ""
