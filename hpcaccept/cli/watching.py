"""What a person sees while a job runs, and what Ctrl-C does."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcaccept import launch
from hpcaccept.app.run.submit import is_terminal
from hpcaccept.app.run.wait import Progress, wait_for
from hpcaccept.errors import HpcacceptError
from hpcaccept.report.printable import safe
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hpcaccept.config.settings import Settings
    from hpcaccept.model.job import JobRef
    from hpcaccept.store.folder import RunFolder

#: Takes the line that changes away. https://www.ecma-international.org/publications-and-standards/standards/ecma-48/ (EL)
_CLEAR = "\r\x1b[2K"
#: Seconds in which a second Ctrl-C cancels the job.
SECOND_CHANCE_S = 3.0


def wait_and_conclude(
    folder: RunFolder, job: JobRef, settings: Settings, form: str, *, cancel_on_interrupt: bool = False
) -> int:
    """Wait with live progress, then collect, judge and report. 130 when interrupted."""
    # While the job starts there is time to import what judging needs.
    threading.Thread(target=_import_early, daemon=True).start()
    try:
        with _progress(_usual_s(folder)) as tell:
            state = wait_for(folder, job, tell, queue_timeout_s=settings.queue_timeout_s)
    except KeyboardInterrupt:
        return _interrupted(folder, job, cancel_on_interrupt)
    if state and not state.over:
        click.echo(f"Job {job.id} does not start: {safe(state.detail)}. {safe(state.remedy)}", err=True)
        click.echo(
            f"It stays in the queue: hpcaccept wait {folder.run_id}, or hpcaccept cancel {folder.run_id}", err=True
        )
    from hpcaccept.store.isolation_journal import read_order

    order = read_order(folder)
    if order is not None and not order.after_suite:
        from hpcaccept.app.isolate.answer import conclude_isolation

        return conclude_isolation(folder, order, form)
    from hpcaccept.app.run.conclude import conclude

    code = conclude(folder, Path(settings.baselines_dir).absolute(), form, state, settings.history_folder)
    if order is not None:
        from hpcaccept.app.isolate.answer import follow_up

        follow_up(folder, form)
    return code


def _usual_s(folder: RunFolder) -> float | None:
    """How long such a run takes, as far as earlier ones tell; nothing depends on it."""
    from hpcaccept.app.run.listing import usual_duration_s
    from hpcaccept.store.folder import all_runs

    with contextlib.suppress(HpcacceptError, OSError):
        return usual_duration_s(folder, all_runs(folder.path.parent))
    return None


def _import_early() -> None:
    # Whatever is broken there is told when it is needed.
    with contextlib.suppress(Exception):
        import hpcaccept.app.history
        import hpcaccept.app.run.conclude
        import hpcaccept.report.formats.html
        import hpcaccept.report.formats.table  # noqa: F401


def _interrupted(folder: RunFolder, job: JobRef, cancel: bool) -> int:
    if not cancel and sys.stdin.isatty():
        click.echo(f"\nThe job goes on. Ctrl-C again within {SECOND_CHANCE_S:g} s ends it.", err=True)
        try:
            time.sleep(SECOND_CHANCE_S)
        except KeyboardInterrupt:
            cancel = True
    if cancel:
        launch.load(job.launcher).cancel(job)
        click.echo(f"Job {job.id} is cancelled. What it has measured: hpcaccept report {folder.run_id}", err=True)
    else:
        click.echo(
            f"Come back with: hpcaccept wait {folder.run_id}   End it with: hpcaccept cancel {folder.run_id}", err=True
        )
    return 130


@contextlib.contextmanager
def _progress(usual_s: float | None) -> Iterator[Callable[[Progress], None]]:
    """One line that changes at a terminal, one line per change elsewhere, and a line for each loss; always on standard error."""
    begun = time.monotonic()
    last, told = "", 0
    live = is_terminal()
    of = f" of about {show_duration(usual_s)}" if usual_s else ""
    if usual_s and not live:
        click.echo(f"Such a run took {show_duration(usual_s)} before.", err=True)

    def tell(progress: Progress) -> None:
        nonlocal last, told
        for sentence in progress.news[told:]:
            click.echo(f"{_CLEAR if live else ''}{time.monotonic() - begun:5.1f} s  {safe(sentence)}", err=True)
        told = len(progress.news)
        at = f" {progress.check} ({min(progress.done + 1, progress.total)}/{progress.total})" if progress.check else ""
        text = f"{safe(progress.state)}{at}"
        if live:
            sys.stderr.write(f"{_CLEAR}{time.monotonic() - begun:5.0f} s{of}  {text}"[:200])
            sys.stderr.flush()
        elif text != last:
            click.echo(f"{time.monotonic() - begun:5.1f} s  {text}", err=True)
        last = text

    try:
        yield tell
    finally:
        if live:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
