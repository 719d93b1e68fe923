"""The use case ``matrix run``: goes on with the latest run, or begins a new one; fetches the content once; hands the cells to a client."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import __version__
from hpcaccept.app.commit import commit
from hpcaccept.app.matrix.choose import choose, known, subset
from hpcaccept.app.matrix.client import Client, Limits
from hpcaccept.app.matrix.folder import CONTENT, FILE, LOCK, MatrixRun, new_run, runs_of
from hpcaccept.app.matrix.here import Here
from hpcaccept.app.matrix.place import Absent
from hpcaccept.app.matrix.pods import Pods
from hpcaccept.app.matrix.queue import Queue
from hpcaccept.app.matrix.rented import Rented
from hpcaccept.app.matrix.state import State, matrix_as_it_was, state_of
from hpcaccept.bounded import read_text
from hpcaccept.config.matrix import read_matrix
from hpcaccept.config.private_variables import without_secrets
from hpcaccept.errors import LaunchError, RunError, UsageError
from hpcaccept.model.job import JobRef
from hpcaccept.model.matrix.attempt import Again, Begun, Unstarted
from hpcaccept.model.matrix.matrix import Cell, Content, Matrix, matches
from hpcaccept.plan.matrix.cells import cells_of
from hpcaccept.store.new_file import write_new
from hpcaccept.store.one_writer import locked
from hpcaccept.transport.process import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from hpcaccept.app.matrix.place import Place
    from hpcaccept.model.matrix.matrix import Where

_FETCH_S = 600.0
#: What can be asked to be run again.
AGAIN = ("failed", "errors", "flaky", "all")


@dataclass(frozen=True)
class Wish:
    """What ``matrix run`` was asked for.

    Attributes:
        file: of the matrix.
        folder: for its runs.
        how: to choose cells of a new run; of ``choose.CHOICES``.
        new: begin a new run though the latest is not done.
        images: patterns; empty: all.
        machines: patterns; empty: all.
        again: of ``AGAIN``; empty: nothing is run twice.
        parallel: cells at the same time; None: as the file says.
        max_cells: that are started; None: all.
        max_usd: of the run; None: no cap.
        yes: machines may be rented.
    """

    file: Path
    folder: Path
    how: str = "full"
    new: bool = False
    images: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    again: str = ""
    parallel: int | None = None
    max_cells: int | None = None
    max_usd: float | None = None
    yes: bool = False


def run_matrix(wish: Wish, say: Callable[[str], None]) -> State:
    """See above; gives where the run then stands.

    Raises:
        UsageError: file or options are wrong, or the file is another than that of the run that is not done.
        RunError: another client works on the run.
        LaunchError: a scheduler does not answer.
    """
    matrix, digest = read_matrix(wish.file)
    if wish.yes and wish.max_usd is None:
        raise UsageError("--yes rents machines and needs --max-usd.", "Without --yes nothing is rented.")
    known(matrix, wish.images, wish.machines)
    runs = runs_of(wish.folder, matrix.name)
    if runs and not wish.new:
        return _work_on(runs[-1], wish, digest, say)
    if wish.again:
        raise UsageError(f"--again {wish.again}: {matrix.name} has not been run yet.", "hpcaccept matrix run FILE")
    if runs:
        cancel(runs[-1], say, "a new run was begun")
    choice = choose(matrix, wish.folder, wish.how, wish.images, wish.machines)
    run = _begin(wish, matrix, digest, tuple(cell.id for cell in choice.chosen), choice.how)
    say(f"run {run.name}: {len(choice.chosen)} cells ({choice.how})")
    return _work_on(run, wish, digest, say)


def _begin(wish: Wish, matrix: Matrix, digest: str, cells: tuple[str, ...], how: str) -> MatrixRun:
    run = new_run(wish.folder, matrix.name)
    try:
        run.path.mkdir(parents=True)
        write_new(run.path / FILE, read_text(wish.file, follow=True).encode(), 0o644)
        content = fetch(matrix.content, run.path / CONTENT) if matrix.content else ""
    except (OSError, LaunchError) as fault:
        shutil.rmtree(run.path, ignore_errors=True)
        if isinstance(fault, LaunchError):
            raise
        raise RunError(f"Cannot write into {run.path}: {fault.strerror}.") from None
    run.write(Begun(run.name, matrix.name, digest, str(wish.file.absolute()), cells, how, __version__, commit(), content))  # fmt: skip
    return run


def fetch(content: Content, folder: Path) -> str:
    """The branch's files in a folder; gives its commit.

    Raises:
        LaunchError: git cannot have it.
    """
    environ = {**without_secrets(os.environ), "GIT_TERMINAL_PROMPT": "0"}
    words = [
        "git",
        "clone",
        "--quiet",
        "--depth=1",
        f"--branch={content.branch}",
        "--",
        content.repository,
        str(folder),
    ]
    done = ask(words, timeout_s=_FETCH_S, env=environ)
    if not done.ok:
        raise LaunchError(
            f"git cannot fetch branch {content.branch!r} of {content.repository}: {done.stderr.strip()[-300:]}"
        )
    found = ask(["git", "-C", str(folder), "rev-parse", "HEAD"], env=environ)
    shutil.rmtree(folder / ".git", ignore_errors=True)
    return found.stdout.strip()


def _work_on(run: MatrixRun, wish: Wish, digest: str, say: Callable[[str], None]) -> State:
    past = run.past()
    if past.begun.digest != digest:
        raise UsageError(
            f"{wish.file} is not what it was when run {run.name} began.",
            f"Begin another run with it: --new; or put the file back, which is kept as {run.file}.",
        )
    with locked(run.path / LOCK, "hpcaccept matrix run", wait_s=1.0):
        matrix = matrix_as_it_was(run)
        if wish.again:
            _forget(run, wish)
        chosen = [cell for cell in cells_of(matrix) if cell.id in set(past.begun.cells) and not cell.impossible]
        cells = subset(chosen, wish.images, wish.machines)
        limits = Limits(
            parallel=wish.parallel or matrix.parallel,
            max_cells=wish.max_cells,
            max_usd=wish.max_usd,
            queue_timeout_s=matrix.queue_timeout_s,
            reruns=matrix.reruns,
        )
        # What an earlier client has started is watched to its end, whatever this one was asked for.
        rest = [cell for cell in chosen if cell.id in run.past().open and cell not in cells]
        Client(
            run, [*rest, *cells], places_of(run.path, [*rest, *cells], run.past().open, wish.yes), limits, say
        ).work()
    return state_of(run)


def _forget(run: MatrixRun, wish: Wish) -> None:
    """Note which cells are to be run once more."""
    wanted = {"failed": ("FAIL",), "errors": ("ERROR",), "flaky": ("WARN",), "all": ("PASS", "FAIL", "ERROR", "WARN")}
    there = state_of(run)
    meant = [
        each
        for each in there.chosen
        if each.outcome in wanted[wish.again]
        and matches(each.cell.image.name, wish.images)
        and matches(each.cell.machine.name, wish.machines)
    ]
    run.write(*(Again(each.cell.id) for each in meant))


def places_of(run: Path, cells: Sequence[Cell], open_: Container[str], yes: bool = False) -> dict[Where, Place]:
    """Where those cells run; a place that cannot be reached has no machine.

    Args:
        run: folder of the run.
        cells: of the run.
        open_: ids of cells that were started and are not over.
        yes: machines may be rented.

    Raises:
        LaunchError: a scheduler does not answer that may have jobs of the run.
    """
    makers: dict[Where, Callable[[], Place]] = {
        "here": Here,
        "queue": Queue,
        "pods": lambda: Pods(run.parents[1]),
        "rented": lambda: Rented(yes),
    }
    found: dict[Where, Place] = {}
    for where in {cell.machine.where for cell in cells}:
        try:
            found[where] = makers[where]()
        except LaunchError as fault:
            if any(cell.id in open_ for cell in cells if cell.machine.where == where):
                raise
            found[where] = Absent(fault.message)
    return found


def cancel(run: MatrixRun, say: Callable[[str], None], why: str = "hpcaccept matrix cancel") -> int:
    """End every job that a run has open; gives how many.

    Raises:
        RunError: a client works on the run.
        LaunchError: a scheduler does not answer.
    """
    with locked(run.path / LOCK, "hpcaccept matrix cancel", wait_s=1.0):
        past = run.past()
        cells = {cell.id: cell for cell in cells_of(matrix_as_it_was(run)) if cell.id in past.open}
        places = places_of(run.path, list(cells.values()), cells)
        for name, cell in cells.items():
            place, starting = places[cell.machine.where], past.open[name]
            job = past.jobs.get(name)
            found = (
                JobRef("", job.job, job.started, job.host)
                if job
                else place.find(run.attempt(name, starting.number), starting.word)
            )
            if found:
                place.cancel(found)
            run.write(Unstarted(name, "cancelled", f"it was ended: {why}", starting.number))
            say(f"{name}: ended")
    return len(cells)


def all_patterns(words: Sequence[str]) -> tuple[str, ...]:
    """``a,b`` and repeated options alike."""
    return tuple(part.strip() for word in words for part in word.split(",") if part.strip())
