"""Does Slurm give the nodes as many GPUs as are asked for?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.doctor.login import partition
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.report.phrases import counted, fold

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case

PLACE = 40
NEEDS = {"sbatch"}
ask = partition.ask


def judge(case: Case, seen: partition.Seen) -> list[Finding]:
    """Nodes that have fewer are no nodes of this request."""
    wanted = case.request.gpus_per_node
    meant = [node for node in partition.candidates(case, seen) if partition.usable(case, node)]
    if not meant:
        return []
    by_count: dict[int, list[str]] = {}
    for node in meant:
        by_count.setdefault(node.gpus, []).append(node.name)
    most = max(by_count)
    if not wanted:
        found = f"{most} to a node, and none asked for" if most else "none, and none asked for"
        return [Finding("gres", "ok", found)]
    fewer = {count: names for count, names in by_count.items() if count < wanted}
    enough = len(meant) - sum(map(len, fewer.values()))
    if not fewer:
        return [Finding("gres", "ok", f"{counted(most, 'GPU')} to a node", f"{wanted}")]
    words = "; ".join(f"{fold(sorted(names))}: {counted(count, 'GPU')}" for count, names in sorted(fewer.items()))
    remedy = "See gres.conf and 'scontrol show node NAME', or ask for as many: --gpus-per-node N"
    short = enough < case.request.nodes
    return [Finding("gres", "wrong" if short else "warning", words, f"{wanted}", remedy, stops=short)]
