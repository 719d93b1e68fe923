"""What does a person see while a job runs, and what does Ctrl-C do?"""

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
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hpcaccept.config.settings import Settings
    from hpcaccept.model.job import JobRef
    from hpcaccept.store.folder import RunFolder

#: Seconds in which a second Ctrl-C cancels the job.
SECOND_CHANCE_S = 3.0


def wait_and_conclude(
    folder: RunFolder, job: JobRef, settings: Settings, form: str, *, cancel_on_interrupt: bool = False
) -> int:
    """Wait with live progress, then collect, judge and report. 130 when interrupted."""
    # While the job starts there is time to import what judging needs.
    threading.Thread(target=_import_early, daemon=True).start()
    try:
        with _progress() as tell:
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
def _progress() -> Iterator[Callable[[Progress], None]]:
    """One line that changes at a terminal, one line per change elsewhere; always on standard error."""
    begun = time.monotonic()
    last = ""
    live = is_terminal()

    def tell(progress: Progress) -> None:
        nonlocal last
        at = f" {progress.check} ({min(progress.done + 1, progress.total)}/{progress.total})" if progress.check else ""
        text = f"{safe(progress.state)}{at}"
        if live:
            sys.stderr.write(f"\r\x1b[2K{time.monotonic() - begun:5.0f} s  {text}"[:200])
            sys.stderr.flush()
        elif text != last:
            click.echo(f"{time.monotonic() - begun:5.1f} s  {text}", err=True)
        last = text

    try:
        yield tell
    finally:
        if live:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
