"""The name of a rank's journal, for the rank and for its parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where launchers put the rank, so that a rank can name itself before MPI has started.
_RANK_VARIABLES = ("PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")


def rank_from_environment(environ: Mapping[str, str]) -> int | None:
    """The rank this process will have, as its launcher says; None when no launcher says anything."""
    return next((int(environ[name]) for name in _RANK_VARIABLES if environ.get(name, "").isdigit()), None)


def journal_name(environ: Mapping[str, str], pid: int) -> str:
    """``r000003.jsonl``; by the number of the process where no launcher says which rank it is."""
    rank = rank_from_environment(environ)
    return f"r{rank:06d}.jsonl" if rank is not None else f"pid{pid}.jsonl"
