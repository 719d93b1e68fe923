"""Whether this Slurm can start MPI as requested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.model.doctor.finding import Finding
from hpcaccept.parse.slurm.mpi import best_mpi_type, parse_mpi_types
from hpcaccept.transport.slurm import ask_slurm as said

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case

PLACE = 50
NEEDS = {"sbatch"}


def ask(case: Case) -> tuple[str, ...]:
    """``srun --mpi=list``, which writes to standard error."""
    done = said(["srun", "--mpi=list"])
    return parse_mpi_types(done.stdout + done.stderr)


def judge(case: Case, types: tuple[str, ...]) -> list[Finding]:
    """PMIx is what Open MPI of today needs."""
    listed, asked = ", ".join(types) or "nothing", case.request.mpi
    best = best_mpi_type(types)
    if asked and asked not in types:
        remedy = f"--mpi {best}" if best else "Install Slurm's PMIx plugin (slurm built with --with-pmix)."
        return [Finding("srun --mpi", "wrong", listed, asked, remedy, stops=True)]
    if not asked.startswith("pmix"):
        other = "Install Slurm's PMIx plugin, or an MPI in the image that speaks PMI-2."
        remedy = f"--mpi {best}" if best.startswith("pmix") else other
        return [Finding("srun --mpi", "warning", f"{asked or 'none'} of {listed}", "pmix", remedy)]
    return [Finding("srun --mpi", "ok", f"{asked} of {listed}")]
