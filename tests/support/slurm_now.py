"""What a real Slurm said of a partition of four nodes with a job, a job that waits, a drain and a reservation (tests/data/slurm/nodes_now.txt)."""

from __future__ import annotations

from support.builders import DATA


def _recorded() -> dict[str, str]:
    found: dict[str, str] = {}
    command = ""
    for line in (DATA / "slurm" / "nodes_now.txt").read_text().splitlines(keepends=True):
        if line.startswith("$ "):
            command = line[2:].strip()
            found[command] = ""
        else:
            found[command] += line
    return found


#: Command line → what it said.
SAID = _recorded()
