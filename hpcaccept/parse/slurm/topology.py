"""The leaf switch or block of each node, as Slurm says of its topology. Text in, names out.

``scontrol show topology`` prints a line for each switch (topology/tree) or block (topology/block), whichever file the site has written:
topology.conf, which has the same words, or topology.yaml (25.05). Each task of a step is told its own place by slurmd, so that a rank
needs to ask nobody. Sources: https://slurm.schedmd.com/topology.conf.html, topology.yaml.html, srun.html (SLURM_TOPOLOGY_ADDR);
src/plugins/topology/{tree,block} up to 26.05; recorded from 22.05 with topology/tree.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import NotUnderstood

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ADDRESS, _PATTERN = "SLURM_TOPOLOGY_ADDR", "SLURM_TOPOLOGY_ADDR_PATTERN"
#: Parts of an address that stand for something which nodes hang on.
_PLACES = ("switch", "block")
#: Nodes of one line: more than a cluster has are a mistake, and would fill the memory.
_MOST_NODES = 65_533


def own_leaf(environ: Mapping[str, str]) -> str:
    """The lowest switch, or the block, of the node that this task runs on; empty where Slurm knows none.

    ``spine.leaf3.node7`` with the pattern ``switch.switch.node``. A name of a node may have dots in it, and of a switch above it nothing
    may be known.
    """
    parts = environ.get(_PATTERN, "").split(".")
    above = [part for part in parts if part in _PLACES]
    if parts != [*above, "node"] or not above:
        return ""
    names = environ.get(_ADDRESS, "").split(".", len(above))
    return names[len(above) - 1] if len(names) == len(parts) else ""


def parse_topology(text: str) -> dict[str, str]:
    """Node → its leaf switch or block, from ``scontrol show topology`` or a topology.conf.

    Of switches those count that nodes are named on and that are no others' parents. A node of several leaves or blocks is left out:
    nobody can say on which of them a fault would lie.

    Raises:
        NotUnderstood: there is text, and no line of it names a switch or a block.
    """
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    records = [dict(re.findall(r"(\w+)\s*=\s*(\S+)", line)) for line in lines if line]
    found: list[tuple[str, str]] = []
    known = False
    for record in records:
        name = record.get("SwitchName") or record.get("BlockName", "")
        known |= bool(name)
        if name and record.get("Nodes") and not record.get("Switches"):
            found.append((name, record["Nodes"]))
    if records and not known:
        raise NotUnderstood(f"No switch and no block in {text.strip()[:200]!r}.")
    return _by_node(found)


def parse_topology_file(tables: Any) -> dict[str, str]:
    """The same of a topology.yaml that has been read: a list of topologies, each a tree of switches or a list of blocks.

    Where there are several, the one that is the cluster's default counts, else the first.

    Raises:
        NotUnderstood: it is no such list.
    """
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables) or not tables:
        raise NotUnderstood(
            "A topology.yaml is a list of topologies, each with 'topology' and 'tree', 'block' or 'flat'."
        )
    chosen = next((one for one in tables if one.get("cluster_default")), tables[0])
    found: list[tuple[str, str]] = []
    for kind, plural, name in (("tree", "switches", "switch"), ("block", "blocks", "block")):
        entries = (chosen.get(kind) or {}).get(plural, []) if isinstance(chosen.get(kind), dict) else []
        found += [
            (str(entry.get(name, "")), str(entry["nodes"]))
            for entry in entries
            if isinstance(entry, dict) and entry.get("nodes") and not entry.get("children")
        ]
    return _by_node(found)


def _by_node(leaves: Iterable[tuple[str, str]]) -> dict[str, str]:
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException

    found: dict[str, str] = {}
    several: set[str] = set()
    for leaf, folded in leaves:
        # A set of nodes is spelled out when it is made.
        if any(int(last) - int(first) > _MOST_NODES for first, last in re.findall(r"(\d+)-(\d+)", folded)):
            raise NotUnderstood(f"{leaf} has {folded[:200]!r}, expected {_MOST_NODES:,} nodes at most.")
        try:
            nodes = NodeSet(folded, resolver=RESOLVER_NOGROUP)
        except (NodeSetException, OverflowError, AssertionError):
            raise NotUnderstood(f"{leaf} has {folded[:200]!r}, expected a list of nodes.") from None
        for node in map(str, nodes):
            several |= {node} if found.get(node, leaf) != leaf else set()
            found[node] = leaf
    return {node: leaf for node, leaf in found.items() if node not in several}
