"""Cells as jobs of the scheduler: one sbatch for each, found again by the word in its comment."""

from __future__ import annotations

import math
import os
import shlex
from typing import TYPE_CHECKING

from hpcaccept import launch
from hpcaccept.app.matrix.place import cell_command
from hpcaccept.config.private_variables import without_secrets
from hpcaccept.errors import LaunchError
from hpcaccept.model.job import JobRef, JobStatus
from hpcaccept.model.plan import gpus_in_words
from hpcaccept.parse.slurm.usable import FORMAT, none_usable
from hpcaccept.transport.slurm import ask_slurm, hand_in

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.launch import Launcher
    from hpcaccept.model.matrix.matrix import Cell, MachineSpec

LOG = "job.log"
#: Seconds that a job has beyond its cell's limit: to leave its containers and say its last word.
_ENDING_S = 60.0


class Queue:
    """See ``Place``."""

    by_hand = False

    def __init__(self) -> None:
        """Raises LaunchError where no scheduler can be asked."""
        names = launch.providing("sbatch")
        self._name = next((name for name in names if not launch.load(name).available()), "")
        if not self._name:
            why = "; ".join(launch.load(name).available().splitlines()[0].rstrip(".") for name in names)
            raise LaunchError(f"it needs a scheduler, and {why or 'none is installed'}")

    @property
    def _launcher(self) -> Launcher:
        return launch.load(self._name)

    @property
    def provides(self) -> frozenset[str]:
        """As the launcher does."""
        return self._launcher.TRAITS.provides

    def no_machine(self, cell: Cell) -> str:
        """By the states of its nodes."""
        machine = cell.machine
        which = [*(["-p", machine.partition] if machine.partition else []), *(["-n", machine.nodelist] if machine.nodelist else [])]  # fmt: skip
        done = ask_slurm(["sinfo", "-h", "-N", "-o", FORMAT, *which])
        if not done.ok:
            raise LaunchError(f"sinfo: {done.stderr.strip()[:300]}", "Is the scheduler up?")
        why = none_usable(done.stdout, machine.features)
        return f"{machine.partition or machine.nodelist or machine.name}: {why}" if why else ""

    def start(self, cell: Cell, folder: Path, word: str) -> JobRef:
        """``sbatch``."""
        kept = self._launcher.outside_environment(without_secrets(os.environ))
        done = hand_in(sbatch_command(cell, folder, word), kept)
        number = done.stdout.strip().splitlines()[-1:] if done.ok else []
        job = number[0].partition(";")[0].strip() if number else ""
        if not job.isdigit():
            found = self.find(folder, word)
            if found:
                return found
            raise LaunchError(f"Slurm refused the job: {(done.stderr or done.stdout).strip()[-300:]}")
        return JobRef(self._name, job, host=os.uname().nodename)

    def find(self, folder: Path, word: str) -> JobRef | None:
        """By its comment."""
        found = self._launcher.find_job(word)
        return found if found and not self.status(found).over else None

    def status(self, job: JobRef) -> JobStatus:
        """As the scheduler says."""
        return self._launcher.status(JobRef(self._name, job.id, job.started, job.host))

    def cancel(self, job: JobRef) -> None:
        """``scancel``."""
        self._launcher.cancel(JobRef(self._name, job.id, job.started, job.host))


def sbatch_command(cell: Cell, folder: Path, word: str) -> list[str]:
    """One node, one attempt: a job that is put back would find its cell claimed."""
    machine = cell.machine
    return [
        "sbatch",
        "--parsable",
        "--export=ALL",
        f"--job-name=hpcaccept-matrix-{cell.id}",
        f"--comment={word}",
        "--no-requeue",
        "--nodes=1",
        f"--time={math.ceil((cell.limit_s + _ENDING_S) / 60)}",
        f"--chdir={folder}",
        f"--output={str(folder / LOG).replace('%', '%%')}",
        "--signal=B:TERM@30",
        *_where(machine),
        *(f"--{key}={value}" if value else f"--{key}" for key, value in machine.slurm.items()),
        f"--wrap=exec {shlex.join(cell_command(folder))}",
    ]


def _where(machine: MachineSpec) -> list[str]:
    named = {
        "partition": machine.partition,
        "nodelist": machine.nodelist,
        "constraint": "&".join(machine.features),
        "account": machine.account,
        "gpus-per-node": gpus_in_words(machine.gpus, machine.gpu_type) if machine.gpus else "",
    }
    return [f"--{key}={value}" for key, value in named.items() if value]
