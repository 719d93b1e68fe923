"""Whether hpcaccept itself is on the nodes, in the same version, and under which Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept import __version__
from hpcaccept.app.doctor.grouping import grouped
from hpcaccept.errors import install_hint
from hpcaccept.model.doctor.finding import Finding

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.doctor.probe import NodeFacts, ProbeResult

PLACE = 10


def judge(case: Case, heard: ProbeResult) -> list[Finding]:
    """Login side and ranks speak through files: these fit only their own version."""

    def version(node: NodeFacts) -> Finding:
        if node.version == __version__:
            return Finding("hpcaccept", "ok", f"{node.version}, as here")
        where = "the image" if case.image.reference else "the nodes' environment"
        remedy = f"Install {__version__} into {where}, or {node.version or 'its version'} here: {install_hint()}"
        return Finding("hpcaccept", "wrong", node.version or "no version", f"{__version__}, as here", remedy)

    def python(node: NodeFacts) -> Finding:
        return Finding("Python", "ok", f"{node.python} on {node.system}")

    return grouped(heard.nodes, version) + grouped([node for node in heard.nodes if node.python], python, alike=True)
