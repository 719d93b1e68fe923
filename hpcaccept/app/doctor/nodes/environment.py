"""Whether each node has the cores, the space for temporary files and the character encoding that it should have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.doctor.grouping import grouped
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.units import show_bytes

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.doctor.probe import NodeFacts, ProbeResult

PLACE = 90
_LEAST_TMP = 1 << 30


def judge(case: Case, heard: ProbeResult) -> list[Finding]:
    """A rank that may use one core of ninety-six is thirty times as slow, and looks like a bad node."""
    nodes = [node for node in heard.nodes if node.python]
    return grouped(nodes, _cores) + grouped(nodes, _tmp) + grouped([node for node in nodes if node.no_locale], _locale)


def _cores(node: NodeFacts) -> Finding:
    # Slurm may be configured with more processors than there are.
    expected = min(node.cores_given or node.cores_here, node.cores_here)
    whose = "that Slurm gave" if node.cores_given else "of this machine"
    if node.cores >= expected:
        return Finding("cores", "ok", f"{node.cores:g}", f"{expected} {whose}")
    remedy = "--cpu-bind=none, --cpus-per-task; a CPU quota of the container or cgroup (cat /sys/fs/cgroup/cpu.max)"
    return Finding(
        "cores", "wrong" if node.cores * 2 <= expected else "warning", f"{node.cores:g}", f"{expected} {whose}", remedy
    )


def _tmp(node: NodeFacts) -> Finding:
    if node.no_tmp:
        remedy = "TMPDIR=FOLDER, or --container-mounts /local:/tmp"
        return Finding("temp space", "wrong", f"{node.tmp}: {node.no_tmp}", "writable", remedy)
    if node.tmp_free_bytes < _LEAST_TMP:
        found = f"{node.tmp_free_bytes >> 20} MiB free in {node.tmp}"
        return Finding(
            "temp space", "warning", found, f"{show_bytes(_LEAST_TMP)} or more", "Free some there, or TMPDIR=FOLDER"
        )
    return Finding("temp space", "ok", f"{show_bytes(_LEAST_TMP)} or more in {node.tmp}")


def _locale(node: NodeFacts) -> Finding:
    return Finding(
        "locale", "warning", node.no_locale, "UTF-8", "export LC_ALL=C.UTF-8 (or --container-env LC_ALL=C.UTF-8)"
    )
