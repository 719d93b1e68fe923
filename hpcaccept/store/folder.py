"""Where each thing of a run lies.

::

    runs/<run-id>/
      plan.json        what was asked for
      known/           what the driver holds values against: an excerpt of the history, the site's baselines (0600)
      budget.json      what was bought of the suite, where a budget was given
      job.json         how to find the job again
      steps/00.json    each step that was launched, with its nodes and checks
      records/00/…     one journal per rank (store.journal)
      outputs/00/…     what tools said and wrote, as it was
      attempt          which start of the driver has taken it
      driver.jsonl     what happened to the job
      isolation.json   what is to be isolated, isolation.jsonl its journal, isolation-report.json and .html its answer
      isolation/       an isolation that followed in the same job, with the files of a run
      logs/            output of every launcher and rank
      run.h5           everything above as tables (store.run_file)
      report.json      verdicts
      report.html      the same for a browser
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hpcaccept.bounded import read_text
from hpcaccept.errors import RunError, RunFolderFull, StoreError, UsageError
from hpcaccept.model.job import JobRef
from hpcaccept.model.plan import Plan, Step
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store.replaced_files import replace_file

T = TypeVar("T")
#: Bytes held back, so that a job on a full disk can still say that the disk is full.
RESERVE_BYTES = 64 * 1024
_STEP_ID = re.compile(r"\d{2,6}", re.ASCII)
#: Errors of a file system without room: the disk is full, or the quota.
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run, and the few files that are written once and whole."""

    path: Path

    @property
    def run_id(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def plan_file(self) -> Path:
        """What was asked for."""
        return self.path / "plan.json"

    @property
    def job_file(self) -> Path:
        """How to find the job again."""
        return self.path / "job.json"

    @property
    def budget_file(self) -> Path:
        """What was bought of the suite, where a budget was given."""
        return self.path / "budget.json"

    @property
    def known_history(self) -> Path:
        """An excerpt of the history, for the driver alone."""
        return self.path / "known" / "history"

    @property
    def known_baselines(self) -> Path:
        """The site's baselines, for the driver alone."""
        return self.path / "known" / "baselines"

    @property
    def driver_log(self) -> Path:
        """What happened to the job."""
        return self.path / "driver.jsonl"

    @property
    def attempt_file(self) -> Path:
        """Which start of the driver this run belongs to: the first one."""
        return self.path / "attempt"

    @property
    def isolation_order_file(self) -> Path:
        """What is to be isolated, where this run is an isolation, or one may follow it."""
        return self.path / "isolation.json"

    @property
    def isolation_journal(self) -> Path:
        """What an isolation has found out."""
        return self.path / "isolation.jsonl"

    @property
    def isolation_report(self) -> Path:
        """The answer of an isolation; the page for a browser lies beside it."""
        return self.path / "isolation-report.json"

    @property
    def isolation(self) -> RunFolder:
        """The isolation that followed this run in its job: a folder like this one."""
        return RunFolder(self.path / "isolation")

    @property
    def logs(self) -> Path:
        """Output of launchers and ranks."""
        return self.path / "logs"

    @property
    def run_file(self) -> Path:
        """Everything measured, as tables."""
        return self.path / "run.h5"

    @property
    def report_file(self) -> Path:
        """Verdicts."""
        return self.path / "report.json"

    @property
    def page_file(self) -> Path:
        """The report for a browser."""
        return self.path / "report.html"

    @property
    def reserve(self) -> Path:
        """Space held back for the last words of a job on a full disk."""
        return self.path / ".reserve"

    def records(self, step: str) -> Path:
        """Journals of the ranks of a step."""
        return self.path / "records" / step

    def outputs(self, step: str) -> Path:
        """Raw outputs of the tools that checks of a step ran."""
        return self.path / "outputs" / step

    def step_file(self, step: str) -> Path:
        """A launched step."""
        return self.path / "steps" / f"{step}.json"

    def create(self) -> None:
        """Make the folders (0755: nothing secret is ever written here) and hold space back.

        Raises:
            RunFolderFull: there is not even space for the reserve.
            RunError: the folder cannot be made.
        """
        try:
            for part in (self.path, self.logs, self.path / "steps", self.path / "records"):
                part.mkdir(parents=True, exist_ok=True)
            self.reserve.write_bytes(os.urandom(RESERVE_BYTES))
        except OSError as fault:
            raise self.refused(fault) from fault

    def refused(self, fault: OSError) -> RunError:
        """The error for a folder that takes no writing."""
        if fault.errno in FULL:
            return RunFolderFull(
                f"There is no space left under {self.path}.", "Free some, or choose another place with --runs-dir."
            )
        return RunError(
            f"Cannot write under {self.path}: {fault.strerror}.", "Choose a shared, writable place with --runs-dir."
        )

    def write_plan(self, plan: Plan) -> None:
        """Keep the plan."""
        replace_file(self.plan_file, dumps(plan) + "\n")

    def read_plan(self) -> Plan:
        """The plan of this run."""
        return _read(self.plan_file, Plan)

    def write_job(self, job: JobRef) -> None:
        """Keep the way back to the job."""
        replace_file(self.job_file, dumps(job) + "\n")

    def read_job(self) -> JobRef | None:
        """The job of this run, None when it was not started by ``submit`` (an sbatch script)."""
        return _read(self.job_file, JobRef) if self.job_file.exists() else None

    def write_step(self, step: Step) -> None:
        """Keep a step before it is launched: its ranks read it."""
        for folder in (self.records(step.id), self.outputs(step.id)):
            folder.mkdir(parents=True, exist_ok=True)
        replace_file(self.step_file(step.id), dumps(step) + "\n")

    def read_step(self, step: str) -> Step:
        """A launched step.

        Raises:
            StoreError: it cannot be read, or calls itself otherwise than its file.
        """
        return _step(self.step_file(step))

    def read_steps(self) -> tuple[Step, ...]:
        """Every launched step, in order. Raises StoreError as ``read_step``."""
        return tuple(
            _step(file) for file in sorted((self.path / "steps").glob("*.json"), key=lambda f: (len(f.name), f.name))
        )


def _step(file: Path) -> Step:
    step = _read(file, Step)
    # Folders are found by its id: it must not lead elsewhere.
    if step.id != file.stem or not _STEP_ID.fullmatch(step.id):
        raise StoreError(f"{file} is of step {step.id[:40]!r}, expected {file.stem!r}, two digits or more.")
    return step


def _read(file: Path, kind: type[T]) -> T:
    try:
        return from_plain(loads(read_text(file)), kind)
    except FileNotFoundError:
        raise StoreError(f"{file} does not exist: {file.parent} is not a run folder of hpcaccept.") from None
    except OSError as fault:
        raise StoreError(f"{file} cannot be read: {fault.strerror}.") from None
    except ValueError as fault:
        raise StoreError(
            f"{file} is not readable as a {kind.__name__}: {fault}.", "Was it written by another version of hpcaccept?"
        ) from None


def latest(runs_dir: Path) -> RunFolder:
    """The run that was submitted last.

    Raises:
        RunError: there is none.
    """
    found = all_runs(runs_dir)
    if not found:
        raise RunError(f"There is no run under {runs_dir}.", "Start one with 'hpcaccept submit', or name a folder.")
    return found[-1]


def all_runs(runs_dir: Path) -> list[RunFolder]:
    """Every run under a folder, oldest first (the time stands in the name)."""
    return [RunFolder(p.parent) for p in sorted(runs_dir.glob("*/plan.json"))]


#: Name of the run that was submitted last, wherever a run is asked for.
LATEST = "latest"
#: Characters from which on a part of a run's name stands for it: fewer would fit a run by chance.
_SHORTEST = 4


def find(runs_dir: Path, run: str) -> RunFolder:
    """The run of that name or path, or the only one whose name begins or ends so; the latest for ``latest`` or an empty text.

    Raises:
        UsageError: no run fits, or several do; the message says how to list them.
        RunError: there is no run at all.
    """
    if run in ("", LATEST):
        return latest(runs_dir)
    for path in (runs_dir / run, Path(run)):
        # os.path takes names that no file can have for those of none, and so they are.
        if os.path.lexists(path / "plan.json"):
            return RunFolder(path.resolve())
    return _by_part(runs_dir, run)


def _by_part(runs_dir: Path, part: str) -> RunFolder:
    fitting = [
        folder
        for folder in all_runs(runs_dir)
        if len(part) >= _SHORTEST and (folder.run_id.startswith(part) or folder.run_id.endswith(part))
    ]
    if len(fitting) == 1:
        return RunFolder(fitting[0].path.resolve())
    if fitting:
        some = ", ".join(folder.run_id for folder in fitting[-3:])
        raise UsageError(
            f"{len(fitting)} runs under {runs_dir} fit {part[:200]!r}, for example {some}.", "Type more of it."
        )
    raise UsageError(f"There is no run {part[:200]!r} under {runs_dir}.", "List them with 'hpcaccept runs'.")


def short_id(run_id: str) -> str:
    """``5811`` of ``20261130-124113-cpu-2n-5811``: the random part, as ``hpcaccept runs`` shows it; the name where it has none."""
    last = run_id.rpartition("-")[2]
    return last if len(last) >= _SHORTEST else run_id
