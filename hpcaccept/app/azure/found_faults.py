"""What the last ``health`` found on each node, kept in the cluster's folder for a report of the node's machine to Azure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.bounded import read_bytes
from hpcaccept.errors import UsageError
from hpcaccept.model.verdict import Outcome
from hpcaccept.provider.azure import tags
from hpcaccept.provider.azure.health_report import short_names
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store.replaced_files import replace_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hpcaccept.app.azure.node_health import ScaleSetHealth
    from hpcaccept.provider.azure.nodes import Node

_FILE = "health.json"
#: A finding of longer ago says nothing of the machine that the VM is on today.
_OLDEST = dt.timedelta(days=1)


@dataclass(frozen=True)
class FoundNode:
    """One row of ``health``.

    Attributes:
        node: its name.
        vm_id: of the VM that had this name then; empty where ``hosts`` did not know it.
        outcome: of the node, a value of ``Outcome``.
        reason: one sentence.
        categories: impact categories of its faults, whole (``Resource.Hpc.Unhealthy.MissingIB``).
        physical_host: that the node named then; empty where it did not know.
    """

    node: str
    vm_id: str
    outcome: str
    reason: str
    categories: tuple[str, ...]
    physical_host: str


@dataclass(frozen=True)
class FoundHealth:
    """``health.json``.

    Attributes:
        time: of the judgement, UTC.
        nodes: its rows.
    """

    time: str
    nodes: tuple[FoundNode, ...]


@dataclass(frozen=True)
class Fault:
    """What of a node is to be reported.

    Attributes:
        category: short name, as ``--category`` takes it.
        description: one sentence.
    """

    category: str
    description: str


def keep(folder: Path, health: ScaleSetHealth, nodes: Iterable[Node], now: dt.datetime) -> None:
    """Write down what ``health`` found.

    Raises:
        RunError: the folder cannot be written.
    """
    vm_ids = {node.name: node.vm_id for node in nodes}
    rows = tuple(
        FoundNode(
            row.node,
            vm_ids.get(row.node, ""),
            row.verdict.outcome.value,
            row.verdict.reason,
            row.categories,
            row.info.physical_host if row.info else "",
        )
        for row in health.rows
    )
    replace_files({_FILE: dumps(FoundHealth(tags.written(now), rows)).encode()}, folder)


def fault_of(folder: Path, node: Node, now: dt.datetime) -> Fault:
    """The fault that the last ``health`` found of a node.

    Raises:
        UsageError: it found none, or more than one kind; it is too old, or of another VM or machine. The message says what to type.
    """
    found = _read(folder, node.name)
    time = tags.read_time(found.time)
    row = next((each for each in found.nodes if each.node == node.name and each.vm_id == node.vm_id), None)
    if row is None:
        raise _refused(node, "did not look at this VM")
    if time is None or not dt.timedelta(0) <= now - time <= _OLDEST:
        raise _refused(node, f"is of {found.time}, expected the last 24 hours")
    if row.outcome != Outcome.FAIL.value:
        raise _refused(node, f"found {row.outcome}, expected FAIL")
    if row.physical_host and node.physical_host and row.physical_host != node.physical_host:
        raise UsageError(
            f"{node.name} was on the machine {row.physical_host} when health judged it, and hosts has read {node.physical_host}.",
            "The VM has moved, and its fault belongs to the other machine. Run both again: hpcaccept azure hosts CONFIG, then health.",
        )
    names = short_names(row.categories)
    if len(names) != 1:
        what = f"found several kinds of fault ({', '.join(names)})" if names else "found a fault that has no category"
        raise _refused(node, what)
    return Fault(names[0], row.reason)


def _read(folder: Path, name: str) -> FoundHealth:
    try:
        return from_plain(loads(read_bytes(folder / _FILE)), FoundHealth)
    except FileNotFoundError:
        raise UsageError(
            f"--category is missing, and there is no health of {name} to take it from.",
            "hpcaccept azure health CONFIG, or name it: --category HpcMissingGpu",
        ) from None
    except (OSError, ValueError) as fault:
        raise UsageError(f"{folder / _FILE} cannot be read: {fault}.", "hpcaccept azure health CONFIG") from None


def _refused(node: Node, what: str) -> UsageError:
    return UsageError(
        f"--category is missing, and the last health of {node.name} {what}.",
        "Name the fault: --category HpcMissingGpu --description TEXT; or run hpcaccept azure health CONFIG again.",
    )
