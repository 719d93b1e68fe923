"""Why srun refused a step: its own words, and what to type. Recorded from Slurm 22.05 to 26.05 (tests/data/slurm)."""

from __future__ import annotations

import re

#: srun says one of these when there never was a step: it was refused, or not granted while it waited.
_NO_STEP = re.compile(
    r"^srun: .*(?:Unable to create step|Only allocated \d+ nodes? asked for|Unable to allocate resources|Unable to confirm allocation"
    r"|Invalid MPI type|unrecognized option|Cancelled pending job step|Invalid (node|host) ?list|Invalid GRES specification)",
    re.MULTILINE,
)
_LINE = re.compile(r"^srun: (?:(?:error|fatal): )?(?P<words>.*\S)", re.MULTILINE)
#: Part of the words → what to do.
_REMEDIES = (
    (
        "Cancelled pending job step",
        "Nodes of the job were busy with another step of it, or could not be had: see 'scontrol show step' and 'sinfo -R'.",
    ),
    ("Invalid MPI type", "Name one that 'srun --mpi=list' knows: --mpi TYPE."),
    ("gres", "Ask for GPUs that the nodes have ('sinfo -a -N -o \"%N %G\"'): --gpus-per-node [TYPE:]N."),
    ("Requested node configuration", "Compare with 'scontrol show node NAME' what is asked for: nodes, --gpus-per-node, --ranks-per-node."),
    ("More processors requested", "Ask for fewer ranks than a node has CPUs: --ranks-per-node N."),
    ("nodes are busy", "Something else of the same job holds its nodes: 'squeue --steps'."),
)  # fmt: skip


def explain_srun(stderr: str) -> tuple[str, str] | None:
    """Cause (in the words of srun) and remedy of a step that never was; None where there was one, or nobody says that there was none."""
    if not _NO_STEP.search(stderr):
        return None
    said = list(dict.fromkeys(match["words"] for match in _LINE.finditer(stderr)))
    words = " / ".join(said[-3:])[:500]
    remedy = next((remedy for part, remedy in _REMEDIES if part.lower() in words.lower()), "")
    return f"srun refused the step: {words}", remedy or ("The launcher's whole output is under logs/.")
