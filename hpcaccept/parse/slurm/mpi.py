"""The kinds of MPI start-up that this Slurm has: ``srun --mpi=list``, of Slurm 20.11 to 26.05."""

from __future__ import annotations

import re

_NAME = re.compile(r"^(?:srun: )?\s*(none|openmpi|pmi2|cray_shasta|pmix(?:_v\d+)?)\s*$", re.M)
_SPECIFIC = re.compile(r"specific pmix plugin versions available: (.+)$", re.M)


def parse_mpi_types(text: str) -> tuple[str, ...]:
    """The names, in the order in which they are listed.

    ::

        MPI plugin types are...
                pmi2
                pmix
                none
        specific pmix plugin versions available: pmix_v3,pmix_v4
    """
    specific = _SPECIFIC.search(text)
    more = re.split(r"[,\s]+", specific[1].strip()) if specific else []
    return tuple(dict.fromkeys([*_NAME.findall(text), *more]))


def best_mpi_type(types: tuple[str, ...]) -> str:
    """What Open MPI can be started with: PMIx, in its newest version where Slurm names no default; else PMI-2; else nothing."""
    if "pmix" in types:
        return "pmix"
    versions = sorted((t for t in types if t.startswith("pmix_v")), key=lambda t: int(t[6:]))
    return versions[-1] if versions else "pmi2" if "pmi2" in types else ""
