"""What can be wrong with a fleet, and which numbers each fault spoils."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from hpcaccept.simulate.fleet import NODES_PER_RACK, SPREADS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.simulate.fleet import Site

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Attributes:
        about: what is broken.
        spoils: short name of a metric → share of the magnitude that it loses.
        reach: what is slow: one GPU, a node with all its GPUs, or all nodes of a rack.
        chance: that it shows in a launch; below 1 it flaps.
        of_rate: False for kinds that are not in the average over the kinds.
    """

    about: str
    spoils: dict[str, float]
    reach: Literal["gpu", "node", "rack"]
    chance: float = 1.0
    of_rate: bool = True


KINDS: dict[str, Kind] = {
    "clock": Kind("a GPU with a low clock", {"bf16": 1.0, "fp32": 1.0, "training": 1.0}, "gpu"),
    "power": Kind("a GPU that reaches its power limit early: BF16 products only", {"bf16": 1.0}, "gpu"),
    "memory": Kind("a GPU with slow memory", {"hbm": 1.0}, "gpu"),
    "pcie": Kind("a GPU with a slow PCIe link", {"h2d": 1.0, "d2h": 1.0}, "gpu"),
    "nvlink": Kind("a node with slow NVLinks", {"nvlink": 1.0}, "node"),
    "network": Kind("a node with a slow adapter, port or cable", {"network": 1.0}, "node"),
    "heat": Kind("a node that is hot: all its GPUs", {"bf16": 1.0, "training": 1.0}, "node"),
    "host": Kind("a node whose CPUs are throttled", {"h2d": 1.0, "d2h": 1.0, "training": 0.5}, "node"),
    "rack": Kind("a rack that is hot: all GPUs of 16 nodes", {"bf16": 1.0, "training": 1.0}, "rack"),
    "storage": Kind("a node with slow local storage", {"nvme": 1.0}, "node", of_rate=False),
    "flapping": Kind("an adapter that is slow in 3 of 10 launches", {"network": 1.0}, "node", 0.3, of_rate=False),
}
#: Kinds whose numbers vary least.
QUIET_KINDS = ("memory", "pcie", "nvlink", "network")
RATE_KINDS = tuple(name for name, kind in KINDS.items() if kind.of_rate)
#: Kinds that are no part of any mean over the kinds.
OTHER_KINDS = tuple(name for name, kind in KINDS.items() if not kind.of_rate)


@dataclass(frozen=True)
class Fault:
    """One fault of one fleet.

    Attributes:
        kind: of ``KINDS``.
        magnitude: share of the rate that is lost, 0 to 1.
        node: the first node it is on.
        gpu: on the node; for a whole node of no meaning.
    """

    kind: str
    magnitude: float
    node: int
    gpu: int = 0

    def nodes(self, site: Site) -> range:
        """All nodes that are slow."""
        if KINDS[self.kind].reach == "rack":
            first = self.node // NODES_PER_RACK * NODES_PER_RACK
            return range(first, min(first + NODES_PER_RACK, site.nodes))
        return range(self.node, self.node + 1)

    def rows(self, name: str, site: Site) -> npt.NDArray[np.intp]:
        """Which subjects of a metric are slow."""
        if SPREADS[name].scope == "node":
            return np.asarray(self.nodes(site))
        if KINDS[self.kind].reach == "gpu":
            return np.array([self.node * site.gpus + self.gpu])
        nodes = self.nodes(site)
        return np.arange(nodes.start * site.gpus, nodes.stop * site.gpus)


def left_of(faults: Sequence[Fault], site: Site, rng: np.random.Generator) -> dict[str, Floats]:
    """Short name → float64[u]: what is left of each subject's rate in one launch; metrics that nothing spoils are absent."""
    left: dict[str, Floats] = {}
    for fault in faults:
        kind = KINDS[fault.kind]
        if kind.chance < 1 and rng.random() >= kind.chance:
            continue
        for name, share in kind.spoils.items():
            per_node = site.gpus if SPREADS[name].scope == "device" else 1
            rates = left.setdefault(name, np.ones(site.nodes * per_node))
            rates[fault.rows(name, site)] *= 1 - fault.magnitude * share
    return left


def seeded(kinds: Sequence[str], magnitude: float, site: Site, share: float, rng: np.random.Generator) -> list[Fault]:
    """Faults on a share of the nodes, kinds in turn from a random one on, no node twice; a rack counts as one."""
    count = max(1, round(share * site.nodes))
    nodes = rng.permutation(site.nodes)
    first = int(rng.integers(len(kinds)))
    taken: set[int] = set()
    faults: list[Fault] = []
    for node in nodes.tolist():
        fault = Fault(kinds[(first + len(faults)) % len(kinds)], magnitude, node, int(rng.integers(site.gpus)))
        if taken.isdisjoint(fault.nodes(site)):
            faults.append(fault)
            taken.update(fault.nodes(site))
        if len(faults) == count:
            break
    return faults
