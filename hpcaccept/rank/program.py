"""One rank of many, from its first line to its last: it measures the checks of one step."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.errors import HpcacceptError, RunFolderFull
from hpcaccept.measure.ranks import mpi, pmix
from hpcaccept.model.record import CheckStarted, RankFinished
from hpcaccept.rank import EXIT_ABORT, EXIT_CANNOT_START, EXIT_FOLDER_FULL, REMEDY_EXTRA
from hpcaccept.rank.journal_name import journal_name, rank_from_environment
from hpcaccept.rank.measuring import begin, measure_check
from hpcaccept.rank.own_mpi import brings_mpi, measure_apart
from hpcaccept.rank.placement import node_of, own_share, settle
from hpcaccept.rank.plugins import missing_plugins
from hpcaccept.rank.preflight import enter
from hpcaccept.rank.rank import Rank
from hpcaccept.rank.watch import Watch
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.journal import Journal

if TYPE_CHECKING:
    from mpi4py import MPI

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
        return enter(folder.read_plan(), journal, node_of(step, guess or 0), guess or 0)
    rank = Rank(step, journal, node_of(step, guess or 0), guess or 0, outputs=folder.outputs(step_id))
    rank.image = os.environ.get("HPCACCEPT_IMAGE_DIGEST") or os.environ.get("HPCACCEPT_IMAGE", "")
    watch = Watch(rank.last_words)
    if brings_mpi(step):
        if guess is None:
            return _cannot_start(rank, "the launcher does not say which rank this process is", _REMEDY_STRAY)
        return measure_apart(rank, watch)
    watch.expect("MPI start", step.start_deadline_s, waits=True)
    try:
        comm = mpi.start()
    except (ImportError, RuntimeError) as fault:
        return _cannot_start(rank, f"MPI cannot start: {fault}", REMEDY_EXTRA)
    if comm.Get_size() != step.ranks:
        return _cannot_start(rank, _stray(comm.Get_size(), step.ranks), _REMEDY_STRAY, "stray")
    rank.number = comm.Get_rank()
    rank.node = node_of(step, rank.number)
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


def _cannot_start(rank: Rank, cause: str, remedy: str, interruption: Interruption = "") -> int:
    for spec in rank.step.checks:
        rank.journal.write(rank.record(spec, "error", cause=cause, remedy=remedy, interruption=interruption))
    return EXIT_CANNOT_START


def _settle(rank: Rank, comm: MPI.Intracomm) -> None:
    """Learn who else is here, and say hello."""
    world = mpi.allgather(comm, own_share(rank))
    from mpi4py import MPI

    library = " ".join(MPI.Get_library_version().split(",")[0].split("\n")[0].strip("\0 ").split())
    host_ranks = settle(rank, world, library)
    rank.queue = comm.Split(color=min(host_ranks), key=rank.number)
