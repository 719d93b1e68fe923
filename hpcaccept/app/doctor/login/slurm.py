"""Whether Slurm is installed here and its controller answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept import launch
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.transport.slurm import ask_slurm as said

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case

PLACE = 10
NEEDS = {"sbatch"}


def ask(case: Case) -> tuple[str, str]:
    """Why Slurm cannot be used (empty when it can), and its version."""
    why_not = launch.load(case.launcher).available()
    return why_not, "" if why_not else said(["sinfo", "--version"]).stdout.strip()


def judge(case: Case, seen: tuple[str, str]) -> list[Finding]:
    """Nothing else can be looked at without it."""
    why_not, version = seen
    if why_not:
        remedy = "On the login node: 'scontrol ping' and SLURM_CONF; on the controller: 'systemctl status slurmctld'."
        return [
            Finding(
                "Slurm", "wrong", " ".join(why_not.split()).rstrip("."), "a controller that answers", remedy, stops=True
            )
        ]
    return [Finding("Slurm", "ok", f"{version} answers")]
