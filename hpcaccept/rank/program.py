"""One rank of many, from its first line to its last: it measures the checks of one step."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import __version__
from hpcaccept.errors import HpcacceptError, RunFolderFull
from hpcaccept.measure.context import RankPlacement
from hpcaccept.measure.gpu import driver
from hpcaccept.measure.host import host
from hpcaccept.measure.host.shared_cores import CoreShare, cores_together
from hpcaccept.measure.ranks import mpi, pmix
from hpcaccept.model.record import CheckStarted, RankFinished, RankStarted
from hpcaccept.parse.slurm.gres import is_slice
from hpcaccept.rank import EXIT_ABORT, EXIT_CANNOT_START, EXIT_FOLDER_FULL, REMEDY_EXTRA
from hpcaccept.rank.journal_name import journal_name, rank_from_environment
from hpcaccept.rank.measuring import begin, measure_check
from hpcaccept.rank.plugins import missing_plugins
from hpcaccept.rank.preflight import enter
from hpcaccept.rank.rank import Rank
from hpcaccept.rank.watch import Watch
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.journal import Journal

if TYPE_CHECKING:
    from mpi4py import MPI

    from hpcaccept.model.plan import Step
    from hpcaccept.model.record import Interruption

_REMEDY_STRAY = (
    "Launcher and MPI library do not fit. Under Slurm name the type that this MPI speaks, one of 'srun --mpi=list': --mpi=pmix for "
    "Open MPI, --mpi=pmi2 for MPICH and its kin (HPCACCEPT_MPI in scripts). Else mpiexec and library must be of one MPI: compare "
    "'mpiexec --version' with 'python3 -m mpi4py --mpi-lib-version' where the ranks run."
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
    guess = rank_from_environment(os.environ)
    journal = Journal(folder.records(step_id) / journal_name(os.environ, os.getpid()))
    if not step.checks:
        return enter(folder.read_plan(), journal, _node(step, guess or 0), guess or 0)
    rank = Rank(step, journal, _node(step, guess or 0), guess or 0, outputs=folder.outputs(step_id))
    rank.image = os.environ.get("HPCACCEPT_IMAGE_DIGEST") or os.environ.get("HPCACCEPT_IMAGE", "")
    watch = Watch(rank.last_words)
    watch.expect("MPI start", step.start_deadline_s, waits=True)
    try:
        comm = mpi.start()
    except (ImportError, RuntimeError) as fault:
        return _cannot_start(rank, f"MPI cannot start: {fault}", REMEDY_EXTRA)
    if comm.Get_size() != step.ranks:
        return _cannot_start(rank, _stray(comm.Get_size(), step.ranks), _REMEDY_STRAY, "stray")
    rank.number = comm.Get_rank()
    rank.node = _node(step, rank.number)
    _settle(rank, comm)
    missing = missing_plugins(rank, comm)
    tasks = [begin(rank, comm, spec, watch, missing.get(spec.name)) for spec in step.checks]
    for task in tasks:
        rank.current = task.spec
        # One rank's word is enough to see progress by, from another host too.
        rank.journal.write(CheckStarted(task.spec.name), sync=rank.number == 0)
        keep_going = measure_check(rank, comm, task, watch)
        rank.current = None
        if not keep_going:
            # The others are inside a collective that will never complete: end the step, the driver starts the rest.
            os._exit(EXIT_ABORT)
    watch.expect("MPI finish", 30.0, waits=True)
    mpi.barrier(comm)
    rank.journal.write(RankFinished())
    _leave()
    return 0


def _stray(found: int, expected: int) -> str:
    """What is said of a rank in the wrong world: alone it means that MPI did not find its launcher, and says nothing about it."""
    there, here = pmix.host_version(os.environ), pmix.image_version()
    versions = f" (PMIx {there or 'none'} outside, {here or 'none'} inside)" if there or here else ""
    alone = "alone, " if found == 1 else ""
    return f"MPI cannot join: this rank found itself {alone}in an MPI world of {found}, expected {expected}{versions}"


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
    # A launcher that reaches hosts by names of its own says which one this is.
    return os.environ.get("HPCACCEPT_NODE") or os.environ.get("SLURMD_NODENAME") or host.hostname()


def _cannot_start(rank: Rank, cause: str, remedy: str, interruption: Interruption = "") -> int:
    for spec in rank.step.checks:
        rank.journal.write(rank.record(spec, "error", cause=cause, remedy=remedy, interruption=interruption))
    return EXIT_CANNOT_START


def _settle(rank: Rank, comm: MPI.Intracomm) -> None:
    """Learn who else is here, and say hello."""
    cores, boot = host.usable_cores(), host.boot_id()
    mine = CoreShare(host.affinity(), host.cgroup(), host.cpu_quota())
    world = mpi.allgather(comm, (rank.node, boot, mine))
    node_ranks = tuple(r for r, (node, _, _) in enumerate(world) if node == rank.node)
    host_ranks = tuple(r for r, (_, there, _) in enumerate(world) if there == boot)
    host_cores = cores_together(world[r][2] for r in host_ranks)
    local = node_ranks.index(rank.number)
    device = driver.place_rank(local) if rank.step.gpus_per_node else "cpu"
    rank.place = RankPlacement(
        rank=rank.number,
        size=len(world),
        node=rank.node,
        node_ranks=node_ranks,
        host_ranks=host_ranks,
        host_cores=host_cores,
        cores=cores,
        device=device,
        gpus_asked=rank.step.gpus_per_node,
        slices_asked=is_slice(rank.step.gpu_type),
        shared_kernel=len(host_ranks) == len(world),
    )
    rank.queue = comm.Split(color=min(host_ranks), key=rank.number)
    os.environ["OMP_NUM_THREADS"] = str(rank.place.threads)
    rank.model = "" if rank.step.gpus_per_node else host.cpu_model()
    from mpi4py import MPI

    library = " ".join(MPI.Get_library_version().split(",")[0].split("\n")[0].strip("\0 ").split())
    rank.journal.write(
        RankStarted(
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
            host_cores=host_cores,
        ),
    )
