"""Turns a run folder into verdicts and reports: collect, judge, report. Each may be repeated at any time."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hpcaccept import checks
from hpcaccept.app.run.job_end import with_output
from hpcaccept.errors import HpcacceptError, RunError, StoreError, UsageError
from hpcaccept.judge import judge_values
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.report import formats
from hpcaccept.report.judged import Judged
from hpcaccept.report.model import summarise
from hpcaccept.store.baseline_file import SHIPPED, find_baseline
from hpcaccept.store.gather import Catalogue, gather
from hpcaccept.store.replaced_files import replace_file
from hpcaccept.store.run_file import read_run, write_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hpcaccept.model.baseline import Baseline
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.job import JobStatus
    from hpcaccept.store.folder import RunFolder


def collect(folder: RunFolder, job: JobStatus | None = None) -> Evidence:
    """Gather what is under the folder and write ``run.h5``.

    Raises:
        StoreError: the plan cannot be read.
        RunError: ``run.h5`` cannot be written (RunFolderFull where there is no space).
    """
    evidence = _gathered(folder, job or _ended_before(folder))
    with _named(folder):
        write_run(folder.run_file, evidence, datetime.now(timezone.utc).isoformat(timespec="seconds"))
    return evidence


def _gathered(folder: RunFolder, job: JobStatus | None) -> Evidence:
    evidence = gather(folder, catalogue_of(folder), job)
    return replace(evidence, job=with_output(folder, job, last_word=evidence.last_word is not None))


def _ended_before(folder: RunFolder) -> JobStatus | None:
    """How the job is known to have ended from an earlier collection: the scheduler may have forgotten it since."""
    with contextlib.suppress(StoreError):
        return read_run(folder.run_file).job
    return None


@contextlib.contextmanager
def _named(folder: RunFolder) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        # HDF5 wraps the errno in its own text; the folder is asked whether it is full.
        raise folder.refused(fault) from fault


def catalogue_of(folder: RunFolder) -> Catalogue:
    """The metrics of the checks of a run."""
    return checks.catalogue(spec.name for spec in folder.read_plan().suite.checks)


def evidence_of(folder: RunFolder) -> Evidence:
    """From ``run.h5``; gathered first when there is none or a journal (of a rank or the driver) is newer."""
    if not folder.run_file.exists():
        return collect(folder)
    written = folder.run_file.stat().st_mtime
    journals = (*folder.path.glob("records/*/*.jsonl"), *folder.path.glob(folder.driver_log.name))
    newest = max((f.stat().st_mtime for f in journals), default=0.0)
    return collect(folder) if newest > written else read_run(folder.run_file)


def judge_run(
    evidence: Evidence, baselines_dir: Path, history: Path | None = None, catalogue: Catalogue | None = None
) -> Judged:
    """Judge against limits, peers, the baselines of the devices that were measured, and their own past.

    Args:
        evidence: of the run.
        baselines_dir: where the site keeps its baselines.
        history: folder of what past runs measured; None, or one that is not there: nothing is asked of the past.
        catalogue: the metrics that the run was to give; None: all of its checks.

    Raises:
        StoreError: a baseline or a segment of the history is damaged.
    """
    from hpcaccept.checks.identity import UNIQUE_FACTS

    catalogue = catalogue or checks.catalogue(spec.name for spec in evidence.plan.suite.checks)
    models = {subject.model for subject in evidence.samples.subjects if subject.model}
    baselines: dict[str, Baseline] = {}
    for model in models:
        found = find_baseline((baselines_dir, SHIPPED), model, evidence.plan.created_at)
        if found:
            baselines[model] = found[1]
    values = values_of(evidence.samples, catalogue)
    past = None
    if history is not None and history.exists():
        from hpcaccept.launch.job.known import past_for

        past = past_for(history, evidence)
    judgement = judge_values(evidence, values, catalogue, baselines, UNIQUE_FACTS, past)
    return Judged(evidence, values, judgement, summarise(evidence, judgement, values), past)


def write_report(folder: RunFolder, judged: Judged) -> None:
    """``report.json`` and ``report.html``. Raises RunError where they cannot be written."""
    with _named(folder):
        replace_file(folder.report_file, text_of(judged, "json", folder))
        replace_file(folder.page_file, text_of(judged, "html", folder))


def text_of(judged: Judged, form: str, folder: RunFolder) -> str:
    """A report as text.

    Raises:
        RunError: the form cannot hold this run (hpcaccept.report.node_lists).
    """
    return formats.render(form, replace(judged, where=str(folder.path)))


def print_report(folder: RunFolder, judged: Judged, form: str) -> None:
    """To standard output, in one of ``hpcaccept.report.formats.names()``. Raises what ``text_of`` raises."""
    formats.show(form, replace(judged, where=str(folder.path)))


def save_report(folder: RunFolder, judged: Judged, form: str, output: Path) -> None:
    """Into a file, whole or not at all: whoever reads it (a collector, a web server) sees the old one or the new one.

    Raises:
        UsageError: there is no such folder, it takes no writing, or what is there is a device or a pipe, which a rename would
            replace.
    """
    file = output.resolve()
    if file.exists() and not file.is_file():
        raise UsageError(f"{output} is not a file that could be replaced.", "Leave --output out to print the report.")
    try:
        replace_file(file, text_of(judged, form, folder))
    except OSError as fault:
        raise UsageError(f"Cannot write {output}: {fault.strerror}.", "Choose another place with --output.") from fault


def conclude(
    folder: RunFolder, baselines_dir: Path, form: str, job: JobStatus | None = None, history: Path | None = None
) -> int:
    """Gather, judge, write, then print; gives the exit code of the run.

    What cannot be written (a full disk) is printed all the same, with the exit code that there will be. The run enters the
    history where one is named.

    Raises:
        RunError: run.h5, a report or the history could not be written, after the report was printed. Its exit code is the printed one.
    """
    judged = judge_run(_gathered(folder, job), baselines_dir, history)
    try:
        _keep(folder, judged, history)
    except (HpcacceptError, OSError) as fault:
        judged = _without_evidence(judged, fault)
        with contextlib.suppress(HpcacceptError, OSError):
            # So that no program takes for accepted what is not.
            write_report(folder, judged)
        print_report(folder, judged, form)
        error = fault if isinstance(fault, HpcacceptError) else RunError(f"{fault.filename}: {fault.strerror}.")
        error.exit_code = judged.judgement.exit_code
        raise error from (None if error is fault else fault)
    print_report(folder, judged, form)
    return judged.judgement.exit_code


def _keep(folder: RunFolder, judged: Judged, history: Path | None) -> None:
    with _named(folder):
        write_run(folder.run_file, judged.evidence, datetime.now(timezone.utc).isoformat(timespec="seconds"))
    write_report(folder, judged)
    if history is not None:
        from hpcaccept.app.history import remember

        remember(judged, history)


def _without_evidence(judged: Judged, fault: Exception) -> Judged:
    """A FAIL stays one; what would have been accepted is not, with nothing left to show for it."""
    why = fault.message if isinstance(fault, HpcacceptError) else f"{fault}."
    code = judged.judgement.exit_code or 3
    strict = judged.judgement.strict_exit_code or 3
    return replace(judged, unkept=why, judgement=replace(judged.judgement, exit_code=code, strict_exit_code=strict))
