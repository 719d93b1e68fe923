"""The conditions of a run beside what each device reports. What a baseline was learned under, its numbers need again.

A CPU rank has the cores and the binding that its launcher gave it, and a collective is as fast as what carries it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.baseline.match import GPUS_FACT, LAUNCHER_FACT, transport_fact
from hpcaccept.model.record_table import MEASURED

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence

#: ``P2P ×24, NET/IB ×4``: how many channels were opened is none of the conditions.
_COUNT = re.compile(r" ×\d+")
#: ``Open MPI v4.1.4``: the third number changes no rate.
_MPI = re.compile(r"^(\D*\d+(?:\.\d+)?)")


def conditions_of(evidence: Evidence) -> dict[str, str]:
    """GPUs per node, launcher, and what carried the messages of each check that says so: fact → text."""
    request = evidence.plan.request
    found = {GPUS_FACT: str(request.gpus_per_node)}
    if not request.gpus_per_node and evidence.plan.launcher:
        found[LAUNCHER_FACT] = evidence.plan.launcher
    records = evidence.record_table
    measured = (records.flags & MEASURED) > 0
    for number, check in enumerate(records.checks):
        rows = np.flatnonzero(measured & (records.check == number))
        # All ranks of a check talk over the same library; the first speaks for them.
        carried = records[int(rows[0])].facts.get("transport", "") if len(rows) else ""
        if carried:
            found[transport_fact(check)] = _COUNT.sub("", carried) + (_mpi_of(evidence) if carried == "mpi" else "")
    return found


def _mpi_of(evidence: Evidence) -> str:
    library = next((rank_started.mpi for rank_started in evidence.rank_starts if rank_started.mpi), "")
    short = _MPI.match(library)
    return f" ({short[1]})" if short else ""
