"""``python -m hpcaccept.rank RUN_FOLDER STEP``: measure the checks of one step as one rank of many."""

from __future__ import annotations

import importlib
import os
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept import __version__, checks
from hpcaccept.errors import HpcacceptError, RunError, RunFolderFull
from hpcaccept.measure import device as devices
from hpcaccept.measure import host, mpi
from hpcaccept.measure.bench import MpiBench, Place
from hpcaccept.model.check import Check, Unavailable
from hpcaccept.model.plan import Step
from hpcaccept.model.record import Bye, Hello, Import, Record, Start, Stopped
from hpcaccept.model.suite import CheckSpec
from hpcaccept.rank import EXIT_ABORT, EXIT_CANNOT_START, EXIT_FOLDER_FULL
from hpcaccept.rank.watch import Watch
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpi4py import MPI

#: Seconds a first ``import torch`` may take on a cold node (25 s seen) before it is a hang.
IMPORT_DEADLINE_S = 300.0
REMEDY_EXTRA = "Install hpcaccept with its [rank] extra where the ranks run: pip install 'hpcaccept[rank]'."


@dataclass
class Rank:
    """One rank of a step, from its first word to its last."""

    step: Step
    journal: Journal
    node: str
    number: int
    place: Place | None = None
    current: CheckSpec | None = None
    model: str = ""
    imported: dict[str, str] = field(default_factory=dict)
    outputs: Path = Path()
    queue: Any = None  # MPI communicator of the ranks on this kernel: those that measure in turn

    def record(self, spec: CheckSpec, outcome: str, **more: Any) -> Record:
        """A record of this rank."""
        return Record(
            check=spec.name,
            revision=checks.load(spec.name).revision,
            step=self.step.id,
            rank=self.number,
            node=self.node,
            device=self._device(),
            outcome=outcome,  # type: ignore[arg-type]
            device_model=self.model,
            **more,
        )

    def _device(self) -> str:
        """``cuda:3``; ``cpu``, or ``cpu:1`` where several CPU ranks share a node."""
        if self.place is None:
            return self.step.device
        several = self.place.device == "cpu" and len(self.place.node_ranks) > 1
        return f"cpu:{self.place.local_rank}" if several else self.place.device

    def last_words(self, cause: str, by_peer: bool, beat: str) -> None:
        """Called by the watch thread: what this rank was doing when it was ended."""
        if self.current is None:
            self.journal.write(Stopped(cause, by_peer, beat))
        else:
            self.journal.write(
                self.record(self.current, "error", cause=cause, cut_short=True, by_peer=by_peer, beat=beat)
            )


def main(argv: list[str]) -> int:
    """Measure; the exit code tells the driver whether this rank said everything it had to say."""
    if len(argv) != 2:
        print("usage: python -m hpcaccept.rank RUN_FOLDER STEP", file=sys.stderr)  # noqa: T201
        return 2
    try:
        return _run(RunFolder(Path(argv[0])), argv[1])
    except RunFolderFull as fault:
        print(f"hpcaccept: {fault}", file=sys.stderr)  # noqa: T201
        # Other ranks wait for this one: leave without MPI_Finalize, so that the launcher ends the step.
        sys.stderr.flush()
        os._exit(EXIT_FOLDER_FULL)
    except HpcacceptError as fault:
        print(f"hpcaccept: {fault}", file=sys.stderr)  # noqa: T201
        return EXIT_CANNOT_START


def _run(folder: RunFolder, step_id: str) -> int:
    step = folder.read_step(step_id)
    guess = mpi.rank_from_environment(os.environ)
    name = f"r{guess:06d}" if guess is not None else f"pid{os.getpid()}"
    journal = Journal(folder.records(step_id) / f"{name}.jsonl")
    rank = Rank(step, journal, _node(step, guess or 0), guess or 0, outputs=folder.outputs(step_id))
    watch = Watch(rank.last_words)
    watch.expect("MPI start", step.start_deadline_s, waits=True)
    try:
        comm = mpi.start()
    except (ImportError, RuntimeError) as fault:
        return _cannot_start(rank, f"MPI cannot start: {fault}", REMEDY_EXTRA)
    if comm.Get_size() != step.ranks:
        cause = f"this rank found itself in an MPI world of {comm.Get_size()}, expected {step.ranks}"
        return _cannot_start(
            rank, cause, "Launcher and MPI library do not fit: compare 'srun --mpi=list' with the image's MPI."
        )
    rank.number = comm.Get_rank()
    rank.node = _node(step, rank.number)
    _settle(rank, comm)
    tasks = [_begin(rank, comm, spec, watch) for spec in step.checks]
    for task in tasks:
        rank.current = task.spec
        rank.journal.write(Start(task.spec.name))
        keep_going = _check(rank, comm, task, watch)
        rank.current = None
        if not keep_going:
            # The others are inside a collective that will never complete: end the step, the driver starts the rest.
            os._exit(EXIT_ABORT)
    watch.expect("MPI finish", 30.0, waits=True)
    mpi.barrier(comm)
    rank.journal.write(Bye())
    _leave()
    return 0


def _leave() -> None:
    """End without taking the interpreter apart: with torch in it that takes a second alone, and four for four ranks at once."""
    from mpi4py import MPI

    MPI.Finalize()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _node(step: Step, rank: int) -> str:
    if step.virtual:
        return step.nodes[min(rank // step.ranks_per_node, len(step.nodes) - 1)]
    return os.environ.get("SLURMD_NODENAME") or host.hostname()


def _cannot_start(rank: Rank, cause: str, remedy: str) -> int:
    for spec in rank.step.checks:
        rank.journal.write(rank.record(spec, "error", cause=cause, remedy=remedy))
    return EXIT_CANNOT_START


def _settle(rank: Rank, comm: MPI.Intracomm) -> None:
    """Learn who else is here, and say hello."""
    cores, boot = host.usable_cores(), host.boot_id()
    mine = {"node": rank.node, "boot": boot, "cpus": sorted(host.affinity()), "cores": cores, "group": host.cgroup()}
    world = mpi.allgather(comm, mine)
    node_ranks = tuple(r for r, who in enumerate(world) if who["node"] == rank.node)
    host_ranks = tuple(r for r, who in enumerate(world) if who["boot"] == boot)
    # Ranks pinned to different cores have all of them together; those in one control group share its quota.
    shared = len({cpu for r in host_ranks for cpu in world[r]["cpus"]})
    host_cores = min(float(shared), sum({world[r]["group"]: world[r]["cores"] for r in host_ranks}.values()))
    local = node_ranks.index(rank.number)
    device = f"cuda:{local}" if rank.step.device == "cuda" else "cpu"
    rank.place = Place(
        rank=rank.number,
        size=len(world),
        node=rank.node,
        node_ranks=node_ranks,
        host_ranks=host_ranks,
        host_cores=host_cores,
        cores=cores,
        device=device,
        gpus_asked=rank.step.gpus_per_node,
        shared_kernel=len(host_ranks) == len(world),
    )
    rank.queue = comm.Split(color=min(host_ranks), key=rank.number)
    os.environ["OMP_NUM_THREADS"] = str(rank.place.threads)
    rank.model = host.cpu_model() if device == "cpu" else ""
    from mpi4py import MPI

    library = " ".join(MPI.Get_library_version().split(",")[0].split("\n")[0].strip("\0 ").split())
    rank.journal.write(
        Hello(
            rank=rank.number,
            size=len(world),
            node=rank.node,
            pid=os.getpid(),
            python=".".join(map(str, sys.version_info[:3])),
            version=__version__,
            mpi=library,
            boot_id=boot,
            cores=cores,
            ranks_on_host=len(host_ranks),
            in_turn=rank.place.in_turn,
            threads=rank.place.threads,
        ),
    )


@dataclass
class Task:
    """One check of the step on this rank, with what it will measure with."""

    spec: CheckSpec
    check: Check
    bench: MpiBench
    fault: Exception | None = None


def _begin(rank: Rank, comm: MPI.Intracomm, spec: CheckSpec, watch: Watch) -> Task:
    """Let a check look at the device before anything loads it."""
    assert rank.place is not None
    watch.expect(f"beginning {spec.name}", spec.deadline_s, waits=False)
    check = checks.build(spec.name, spec.params)
    bench = MpiBench(
        comm, rank.place, spec.name, check.metrics, spec.deadline_s, on_beat=watch.beat, folder=rank.outputs
    )
    task = Task(spec, check, bench)
    try:
        bench.begun = check.begin(bench)
    except Exception as fault:
        task.fault = fault
    return task


def _check(rank: Rank, comm: MPI.Intracomm, task: Task, watch: Watch) -> bool:
    """Measure one check on all ranks. False when this rank failed where the others cannot go on without it."""
    assert rank.place is not None
    place, spec, check, bench = rank.place, task.spec, task.check, task.bench
    # Only a first import may keep the others waiting for minutes.
    ready_s = spec.deadline_s if set(check.needs) <= set(rank.imported) else IMPORT_DEADLINE_S
    obstacle = task.fault or _prepare(rank, check, watch)
    bench.model = rank.model
    watch.expect("waiting for all ranks to be ready", ready_s, waits=True)
    if check.scope == "world":
        obstacle = obstacle or _obstacle_elsewhere(mpi.allgather(comm, (rank.node, str(obstacle or ""))))
    else:
        mpi.barrier(comm)
    begun = time.monotonic()
    started_at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    kept: list[Any] = []
    duration_s = [0.0]

    def timed(work: Callable[[], object]) -> None:
        begin = time.perf_counter()
        try:
            work()
        finally:
            duration_s[0] += time.perf_counter() - begin

    def measure() -> None:
        watch.expect("measuring", spec.deadline_s, waits=False)
        timed(lambda: kept.append(check.measure(bench)))

    fault: Exception | None = obstacle
    try:
        if check.scope == "world" and obstacle is None:
            measure()
        elif check.scope != "world":
            fault = _in_turn(rank.queue, place, watch, spec.deadline_s, measure, obstacle)
            watch.expect("waiting for all ranks to have measured", spec.deadline_s * _longest_queue(place), waits=True)
            mpi.barrier(comm)
            watch.expect("comparing", spec.deadline_s, waits=False)
            # A rank that has nothing to compare takes part all the same: the others must not wait for it.
            timed(lambda: check.compare(bench, kept[0] if kept else None))
    except Unavailable as why:
        fault = why
    except RunFolderFull:
        raise
    except Exception as why:
        # Where all ranks act together, one that was stopped and woken finds its connections closed by the others.
        stopped = watch.stopped_since(begun) if check.scope == "world" else ""
        fault = RunError(f"{stopped}; then {why}") if stopped else why
    record = _conclude(rank, spec, bench, fault, started_at, duration_s[0])
    rank.journal.write(record)
    return not (check.scope == "world" and record.outcome == "error")


def _longest_queue(place: Place) -> int:
    # Other hosts may hold more ranks than this one; nobody can hold more than all.
    return place.size if place.in_turn or not place.shared_kernel else 1


def _prepare(rank: Rank, check: Check, watch: Watch) -> Exception | None:
    """Import what the check needs, before anything is timed; what stands in the way, or None."""
    assert rank.place is not None
    if rank.place.device != "cpu" and check.on_device:
        missing = _no_gpu(rank)
        if missing:
            return missing
    # Read when the CUDA context is made: too late for a check that runs after another one.
    os.environ.update(devices.ENVIRONMENT)
    for module in check.needs:
        watch.expect(f"importing {module}", IMPORT_DEADLINE_S, waits=False)
        begin = time.perf_counter()
        try:
            found = importlib.import_module(module)
        except ImportError as fault:
            return Unavailable(f"{module} cannot be imported where the ranks run: {fault}", REMEDY_EXTRA)
        if module not in rank.imported:
            rank.imported[module] = str(getattr(found, "__version__", ""))
            rank.journal.write(Import(module, round(time.perf_counter() - begin, 4)))
            if module == "torch":
                found.set_num_threads(rank.place.threads)
    return None


def _no_gpu(rank: Rank) -> Unavailable | None:
    """Why this rank has no GPU, asked of the driver before torch is paid for."""
    from hpcaccept.measure import nvml

    assert rank.place is not None
    asked = f"{rank.place.gpus_asked} were asked for on {rank.node}"
    try:
        # The numbering of NVML and of CUDA agree in PCI order only.
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        gpus = nvml.visible(nvml.gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    except nvml.NvmlMissing as fault:
        return Unavailable(f"no GPU for this rank: {fault}; {asked}")
    usable = [gpu for gpu in gpus if gpu.state == "ok"]
    if rank.place.local_rank >= len(usable):
        return Unavailable(f"no GPU for this rank: {len(usable)} usable, {asked}")
    rank.model = usable[rank.place.local_rank].name or ""
    return None


def _obstacle_elsewhere(obstacles: list[tuple[str, str]]) -> Unavailable | None:
    for number, (node, why) in enumerate(obstacles):
        if why:
            return Unavailable(f"rank {number} on {node} cannot take part: {why}")
    return None


def _in_turn(
    queue: MPI.Comm,
    place: Place,
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


def _conclude(
    rank: Rank, spec: CheckSpec, bench: MpiBench, fault: Exception | None, started_at: str, duration_s: float
) -> Record:
    facts = {**bench.facts, **{f"{module}_version": version for module, version in rank.imported.items()}}
    common: dict[str, Any] = {
        "samples": tuple(bench.samples),
        "unsupported": bench.not_supported,
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
        return rank.record(spec, "error", cause=fault.message, remedy=fault.remedy, **common)
    return rank.record(spec, "error", cause=f"{type(fault).__name__}: {fault}", **common)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
