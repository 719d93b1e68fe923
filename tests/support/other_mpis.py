"""MPIs beside the one of this machine: wheels, each in a small environment of its own that finds everything else where this one does.

``python -m support.other_mpis mpi-open mpi-mpich`` makes them, in ``build/mpi``. They stay out of ``.venv``: there a wheel would be taken in the
place of the machine's own mpiexec.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from support.own_environment import ROOT, OwnEnvironment, group

PLACE = ROOT / "build" / "mpi"


@dataclass(frozen=True)
class Mpi:
    """An implementation of MPI.

    Attributes:
        name: for people.
        group: dependency group of pyproject.toml that installs it; empty: the machine's own.
        library: its shared library, below its environment.
        slurm: the type of ``srun --mpi`` that its wheel speaks.
    """

    name: str
    group: str
    library: str
    slurm: str

    @property
    def _own(self) -> OwnEnvironment:
        how = f"PYTHONPATH=tests python -m support.other_mpis {self.group}".strip()
        install, needs = (group(self.group), (f"lib/{self.library}",)) if self.group else ((), ())
        return OwnEnvironment(PLACE / (self.group or "none"), install, how, needs, _outside())

    @property
    def folder(self) -> Path:
        """Its environment."""
        return self._own.folder

    @property
    def python(self) -> Path:
        """Its interpreter; ``mpiexec`` of a wheel lies beside it."""
        return self._own.python

    @property
    def path(self) -> str:
        """Its library; empty where the loader finds it."""
        return str(self.folder / "lib" / self.library) if self.group else ""

    def why_not(self) -> str:
        """Why it cannot be used here; empty when it can."""
        return self._own.why_not()

    def make(self) -> None:
        """Its environment, unless it is there.

        Raises:
            subprocess.CalledProcessError: pip could not install the wheel; it has said why.
        """
        self._own.make()


DEBIANS = Mpi("Open MPI 4.1", "", "", "pmix")
OPEN_MPI_5 = Mpi("Open MPI 5", "mpi-open", "libmpi.so.40", "pmix")
MPICH = Mpi("MPICH", "mpi-mpich", "libmpi.so.12", "pmi2")
INTEL = Mpi("Intel MPI", "mpi-intel", "libmpi.so.12", "pmi2")
MPIS = (DEBIANS, OPEN_MPI_5, MPICH, INTEL)


def _outside() -> tuple[str, ...]:
    """This checkout, and what is installed beside this Python."""
    mine = Path(sys.prefix).resolve()
    beside = (path for path in sys.path if path.endswith("site-packages"))
    return str(ROOT), *(path for path in beside if Path(path).resolve().is_relative_to(mine))


def main(groups: list[str]) -> int:
    """Make those that are named, else all."""
    if unknown := set(groups) - {mpi.group for mpi in MPIS}:
        raise SystemExit(
            f"There is no {', '.join(sorted(unknown))}: {', '.join(mpi.group for mpi in MPIS if mpi.group)}."
        )
    for mpi in MPIS:
        if not groups or mpi.group in groups:
            mpi.make()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
