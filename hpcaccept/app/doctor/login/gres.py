"""Whether Slurm gives the nodes as many GPUs as requested, and says which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.doctor.fitting import candidates, usable
from hpcaccept.app.doctor.login import partition
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.parse.slurm.gres import in_words, is_mixed, which
from hpcaccept.report.phrases import counted, fold

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.app.doctor.fitting import Seen
    from hpcaccept.model.node import NodeState
    from hpcaccept.model.plan import Request

PLACE = 40
NEEDS = {"sbatch"}
ask = partition.ask


def judge(case: Case, seen: Seen) -> list[Finding]:
    """Nodes that have fewer are no nodes of this request."""
    request = case.request
    meant = [node for node in candidates(request, seen) if usable(request, seen, node)]
    if not meant:
        return []
    most = max(node.count(request.gpu_type) for node in meant)
    if not request.gpus_per_node:
        found = f"{most} to a node, and none asked for" if most else "none, and none asked for"
        return [Finding("gres", "ok", found)]
    mixed = next((node for node in meant if is_mixed(node.gpus)), None)
    if mixed and not request.gpu_type:
        found, remedy = which(mixed.gpus, mixed.name)
        return [Finding("gres", "wrong", found, f"a type, and {request.gpus} of it", remedy, stops=True)]
    fewer = [node for node in meant if node.count(request.gpu_type) < request.gpus_per_node]
    if not fewer:
        found = f"{request.gpu_type}:{most} to a node" if request.gpu_type else f"{counted(most, 'GPU')} to a node"
        return [Finding("gres", "ok", found, request.gpus)]
    return [_fewer(request, fewer, short=len(meant) - len(fewer) < request.nodes)]


def _fewer(request: Request, fewer: list[NodeState], *, short: bool) -> Finding:
    by_gpus: dict[str, list[str]] = {}
    for node in sorted(fewer, key=lambda node: (node.count(), node.name)):
        words = in_words(node.gpus) if request.gpu_type else counted(node.count(), "GPU")
        by_gpus.setdefault(words, []).append(node.name)
    found = "; ".join(f"{fold(names)}: {words}" for words, names in by_gpus.items())
    remedy = "See gres.conf and 'scontrol show node NAME', or ask for what there is: --gpus-per-node [TYPE:]N"
    return Finding("gres", "wrong" if short else "warning", found, request.gpus, remedy, stops=short)
