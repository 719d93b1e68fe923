"""The ``mpiexec`` that starts the ranks on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.errors import install_hint
from hpcaccept.launch.job.this_machine import mpiexec
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.transport.process import ask as said

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case

PLACE = 10
NEEDS = {"mpiexec"}


def ask(case: Case) -> tuple[str, str]:
    """Its path, and what it calls itself."""
    path = mpiexec()
    version = said([path, "--version"]).stdout.strip().splitlines() if path else []
    return path, version[0] if version else ""


def judge(case: Case, seen: tuple[str, str]) -> list[Finding]:
    """In a container of Docker's, the image's own is used."""
    path, version = seen
    if case.image.reference:
        return []
    if not path:
        remedy = f"apt-get install openmpi-bin, or {install_hint('mpi')}"
        return [Finding("mpiexec", "wrong", "there is none", "an MPI", remedy, stops=True)]
    return [Finding("mpiexec", "ok", f"{path} ({version})" if version else path)]
