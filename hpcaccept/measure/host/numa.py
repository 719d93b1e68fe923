"""The processors next to a GPU, and how a measurement is kept on them.

Host memory is placed on the NUMA node of the thread that first touches (or pins) it, and a copy from another socket's
memory crosses the link between the sockets: it may be half as fast with nothing wrong. So a rank binds itself to its
GPU's node, allocates, measures, and goes back to where the launcher had put it.

Readers take ``root``, a folder that stands for ``/``.

Traps:
    * GPU drivers write a PCI domain with 8 digits (``00000000:18:00.0``), sysfs with 4 (``0000:18:00.0``), in lower case.
    * ``numa_node`` is -1 where the firmware does not say (many virtual machines).
    * A cpuset may leave a rank only processors of another socket: then it cannot be bound, and the report must say so.
    * Affinity belongs to a thread: threads that exist already stay where they are.

Source: https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-bus-pci (``numa_node``)
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.measure.host.host import affinity, numa_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path("/")


def sysfs_name(bus_id: str) -> str:
    """``0000:18:00.0`` from a driver's ``00000000:18:00.0``.

    Raises:
        ValueError: this is no PCI address.
    """
    domain, _, rest = bus_id.lower().partition(":")
    if not rest:
        raise ValueError(f"found {bus_id!r}, expected domain:bus:device.function")
    return f"{int(domain, 16):04x}:{rest}"


def node_of_pci(bus_id: str, root: Path = _ROOT) -> int | None:
    """NUMA node of a PCI device; None where the firmware does not say, or there is no such device."""
    try:
        text = (root / "sys/bus/pci/devices" / sysfs_name(bus_id) / "numa_node").read_text()
        node = int(text)
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None


def near(bus_id: str, allowed: frozenset[int], root: Path = _ROOT) -> tuple[frozenset[int], str]:
    """Processors to measure on, of those that are allowed, and a sentence about them.

    The set is empty where nothing is to be bound: the sentence says why.
    """
    if not bus_id:
        return frozenset(), "not bound: no PCI address is known"
    node = node_of_pci(bus_id, root)
    if node is None:
        return frozenset(), f"not bound: the kernel does not say to which NUMA node {bus_id} belongs"
    mine = numa_nodes(root).get(node, frozenset())
    if not mine:
        return frozenset(), f"not bound: NUMA node {node} of {bus_id} has no processors"
    if not mine & allowed:
        return frozenset(), (
            f"not bound: this rank may use none of the processors of NUMA node {node}, where {bus_id} is: "
            "its copies cross the link between the sockets"
        )
    return mine & allowed, f"bound to {len(mine & allowed)} processors of NUMA node {node}, where {bus_id} is"


@contextlib.contextmanager
def bound_near(bus_id: str, root: Path = _ROOT) -> Iterator[str]:
    """While open this thread runs beside a PCI device, where that is possible; gives the sentence of ``near``."""
    before = affinity()
    processors, what = near(bus_id, before, root)
    if not processors:
        yield what
        return
    os.sched_setaffinity(0, processors)
    try:
        yield what
    finally:
        os.sched_setaffinity(0, before)
