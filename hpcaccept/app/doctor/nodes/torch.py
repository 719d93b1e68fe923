"""Whether torch is there, for the right device, and with NCCL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.doctor.grouping import grouped
from hpcaccept.errors import install_hint
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.report.phrases import counted

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.doctor.finding import Mark
    from hpcaccept.model.doctor.probe import NodeFacts, ProbeResult

PLACE = 40
_INSTALL = f"Where the ranks run: {install_hint('rank')}. Or use an image of 'make image'."


def judge(case: Case, heard: ProbeResult) -> list[Finding]:
    """Checks without torch run without it; all that measures GPUs needs it."""
    gpus = case.request.gpus_per_node

    def examine(node: NodeFacts) -> Finding:
        if node.no_torch:
            return Finding("torch", "wrong", node.no_torch, "torch can be imported", _INSTALL)
        if not node.torch_cuda:
            mark: Mark = "wrong" if gpus else "ok"
            return Finding(
                "torch", mark, f"{node.torch} for CPUs", "for CUDA" if gpus else "", _INSTALL if gpus else ""
            )
        nccl = f", NCCL {node.nccl}" if node.nccl else ""
        text = f"{node.torch}, CUDA {node.torch_cuda}{nccl}"
        if gpus and node.torch_gpus < gpus:
            found = f"{text}: it sees {counted(node.torch_gpus, 'GPU')}"
            remedy = "nvidia-smi there: a driver too old for this CUDA, or GPUs that the container was not given"
            return Finding("torch", "wrong", found, f"{gpus}", remedy)
        if gpus and not node.nccl:
            return Finding("torch", "wrong", text, "with NCCL", _INSTALL)
        return Finding("torch", "ok", f"{text}, sees {counted(node.torch_gpus, 'GPU')}" if gpus else text)

    return grouped([node for node in heard.nodes if node.torch or node.no_torch], examine, alike=True)
