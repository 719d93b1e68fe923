"""The nodes that a typed list names: ClusterShell's and Slurm's notation, and groups where the site has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcaccept.errors import UsageError
from hpcaccept.model.plan import MOST_NODES

#: Names and ranges, in the notation that ClusterShell and Slurm share.
_PLAIN = re.compile(r"[\w.,\[\]\s-]*", re.ASCII)
_RANGE = re.compile(r"[\[,](\d{1,18})-(\d+)(?:/(\d{1,9}))?(?=[\],])", re.ASCII)

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet


def nodes_named(text: str, option: str) -> NodeSet:
    """The nodes of a list. They are counted before anybody spells them out: ``node[0-99999999999]`` would fill all memory.

    Raises:
        UsageError: it is no list, names a group that nobody knows, or more nodes than there can be.
    """
    from ClusterShell.NodeSet import NodeSet, NodeSetException
    from ClusterShell.NodeUtils import GroupResolverError, GroupSourceError

    form = "Write it like node[01-04],node7."
    if _is_wide(text):
        raise UsageError(f"{option} {text[:200]!r} names too many nodes, expected {MOST_NODES:,} at most.", form)
    try:
        found = NodeSet(text)
        count = len(found)
    except NodeSetException as fault:
        raise UsageError(f"{option} {text[:200]!r} is not a node list: {fault}.", form) from None
    except (OverflowError, AssertionError):  # "range too large" is an assertion of ClusterShell's
        raise UsageError(
            f"{option} {text[:200]!r} names more nodes than can be counted, expected {MOST_NODES:,} at most.", form
        ) from None
    except (GroupResolverError, GroupSourceError) as fault:
        raise UsageError(
            f"{option} {text[:200]!r} names a group that ClusterShell does not know here: {fault}.", form
        ) from None
    if count > MOST_NODES:
        raise UsageError(f"{option} {text[:200]!r} names {count:,} nodes, expected {MOST_NODES:,} at most.", form)
    return found


def _is_wide(text: str) -> bool:
    """Whether a single range has more numbers than there can be nodes: ClusterShell spells it out before it can be counted."""
    ranges = _RANGE.findall(text)
    return any(len(high) > 18 or int(high) - int(low) > MOST_NODES * int(step or 1) for low, high, step in ranges)


def handed_on(text: str, option: str) -> str:
    """The list as it was typed; where it names groups or reckons with sets, which Slurm cannot, the nodes themselves.

    Raises:
        UsageError: as ``nodes_named``.
    """
    found = nodes_named(text, option) if text else text
    return text if _PLAIN.fullmatch(text) else str(found)
