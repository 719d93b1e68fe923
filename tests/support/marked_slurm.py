"""A Slurm that has nodes, drains and reservations and nothing else: what ``hpcaccept nodes`` asks of it, by the rules seen with 22.05."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError
from hpcaccept.model.node import NodeState, Reserved, TakenOut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class MarkedSlurm:
    """The protocol ``Controller`` in memory.

    Attributes:
        orders: that were given, in their order.
        before: order or question → what somebody else does just before it.
    """

    def __init__(self, names: Iterable[str], partitions: tuple[str, ...] = ("gpu",)) -> None:
        self.states = {name: NodeState(name, ("IDLE",), partitions=partitions) for name in names}
        self.kept: dict[str, Reserved] = {}
        self.orders: list[str] = []
        self.before: dict[str, Callable[[], None]] = {}

    def _called(self, name: str, said: str = "") -> None:
        if said:
            self.orders.append(said)
        if name in self.before:
            self.before.pop(name)()

    def nodes(self) -> list[NodeState]:
        self._called("nodes")
        return list(self.states.values())

    def node(self, name: str) -> NodeState:
        self._called("node")
        return self.states[name]

    def reservations(self) -> list[Reserved]:
        self._called("reservations")
        return list(self.kept.values())

    def create(self, name: str, node: str, users: tuple[str, ...]) -> None:
        self._called("create", f"create {name} for {','.join(users)}")
        if name in self.kept or any(node in one.nodes for one in self.kept.values()):
            raise LaunchError("Requested reservation overlaps with another reservation")
        self.kept[name] = Reserved(name, 0.0, 1e18, frozenset({node}))

    def maintain(self, name: str) -> None:
        self._called("maintain", f"maintain {name}")

    def delete(self, name: str) -> None:
        self._called("delete", f"delete {name}")
        if name not in self.kept:
            raise LaunchError("Requested reservation is invalid")
        del self.kept[name]

    def drain(self, node: str, reason: str) -> None:
        self._called("drain", f"drain {node}")
        self.take_out(node, reason)

    def undrain(self, node: str) -> None:
        self._called("undrain", f"undrain {node}")
        self.states[node] = replace(self.states[node], flags=("IDLE",), out=None)

    def reboot(self, node: str, reason: str) -> None:
        self._called("reboot", f"reboot {node}")
        self.take_out(node, reason, "REBOOT_REQUESTED")

    def up(self, node: str) -> None:
        self._called("up", f"up {node}")

    def take_out(self, node: str, reason: str, flag: str = "DRAIN", by: str = "root") -> None:
        """Whoever does it."""
        self.states[node] = replace(self.states[node], flags=("IDLE", flag), out=TakenOut(reason, by))

    def reserve(self, name: str, *nodes: str) -> None:
        """Somebody else does."""
        self.kept[name] = Reserved(name, 0.0, 1e18, frozenset(nodes))
