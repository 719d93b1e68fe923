"""What the job's own files say of its end: its output, where its driver had no last word, and which node its launcher lost."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.bounded import end_of
from hpcaccept.parse.slurm.job_end import parse_failed_nodes
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.job import JobStatus
    from hpcaccept.store.folder import RunFolder

#: A traceback's last words, and what a shell or Slurm says behind them.
_LINES, _CHARACTERS = 12, 300
_TAIL_BYTES = 64 * 1024
#: What steers a terminal goes whole: of a colour only its number would be left. ECMA-48 CSI and OSC sequences.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[@-Z\\^_])")


def with_output(folder: RunFolder, job: JobStatus | None, *, last_word: bool) -> JobStatus | None:
    """How the job ended, with what its files say of it.

    Args:
        folder: of the run.
        job: how the launcher says that it ended; None: it was not asked, or the job is not over.
        last_word: True where the driver says itself why.
    """
    if job is None or not job.over:
        return job
    if job.state == "node_fail":
        job = replace(job, nodes=tuple(dict.fromkeys((*_lost_by_launcher(folder), *job.nodes))))
    log = None if last_word else _output_of(folder)
    lines = last_lines(end_of(log, _TAIL_BYTES)) if log else ()
    if not log or not lines:
        return job
    remedy = job.remedy or f"The whole output is {log}. 'hpcaccept doctor' looks whether the nodes can run hpcaccept."
    return replace(job, remedy=remedy, last_lines=lines)


def last_lines(text: str) -> tuple[str, ...]:
    """The last lines of an output that are not empty, harmless and of bounded length."""
    lines = (safe(_ESCAPES.sub("", line)).rstrip() for line in re.split(r"\r\n|[\n\r]", text))
    kept = [line for line in lines if line.strip()][-_LINES:]
    return tuple(line if len(line) <= _CHARACTERS else f"{line[:_CHARACTERS]}…" for line in kept)


def _output_of(folder: RunFolder) -> Path | None:
    """What the batch script, or a driver without one, has written: the newest, where there are several."""
    found = [*folder.logs.glob("*_log.out"), *folder.logs.glob("driver.log")]
    return max(found, key=lambda file: file.lstat().st_mtime, default=None)


def _lost_by_launcher(folder: RunFolder) -> tuple[str, ...]:
    return parse_failed_nodes("\n".join(end_of(file, _TAIL_BYTES) for file in sorted(folder.logs.glob("step-*.err"))))
