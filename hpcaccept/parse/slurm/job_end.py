"""Which node failed, and who ended a job: what sinfo, srun and sacct say of it. Text in, names out."""

from __future__ import annotations

import re

#: srun of Slurm 22.05 and newer, when the controller tells it (src/api/step_launch.c).
_NODE_FAILURE = re.compile(r"^(?:\d+: )?srun: error: Node failure on (\S+)\s*$", re.MULTILINE)
#: States in which a node runs nothing. https://slurm.schedmd.com/sinfo.html#SECTION_NODE-STATE-CODES (22.05 to 25.05)
_GONE = ("down", "fail", "error", "unknown", "no_respond", "reboot", "power", "not_responding")
_BY = re.compile(r"^CANCELLED by (\d+)\b")
_JOBS_NODES = re.compile(r"^\s+NodeList=(\S+)", re.MULTILINE)


def parse_failed_nodes(stderr: str) -> tuple[str, ...]:
    """Nodes that an srun reports as lost; node names may be folded (``node[2-3]``)."""
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException

    found: dict[str, None] = {}
    for folded in _NODE_FAILURE.findall(stderr):
        try:
            found.update(dict.fromkeys(map(str, NodeSet(folded, resolver=RESOLVER_NOGROUP))))
        except NodeSetException:
            continue
    return tuple(found)


def parse_gone_nodes(text: str) -> tuple[str, ...]:
    """From ``sinfo -h -N -o '%N|%T'``: nodes that are down or do not answer (``down*``, ``idle*``), each once."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        name, _, state = line.strip().partition("|")
        if name and (state.endswith("*") or state.lower().startswith(_GONE)):
            found[name] = None
    return tuple(found)


def parse_nodes_of_job(text: str) -> str:
    """From ``scontrol show job``: its nodes, folded; empty where it had none."""
    match = _JOBS_NODES.search(text)
    return match[1] if match and match[1] != "(null)" else ""


def parse_canceller(text: str) -> int | None:
    """From ``sacct -n -X -P -o State``: number of the user who cancelled the job; None where that is not said."""
    match = _BY.match(text.strip())
    return int(match[1]) if match else None
