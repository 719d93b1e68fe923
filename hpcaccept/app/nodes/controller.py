"""The few things that are asked of Slurm about marks: two questions and five orders, each one scontrol.

Slurm has no compare-and-set. What that means for each order, seen with 22.05:

* ``create``: slurmctld makes a reservation whole or not at all, refuses a name that is taken, and without the flag MAINT refuses nodes that an
  ordinary reservation has. Nobody else's object is touched. So a quarantine is safe whatever comes in between.
* ``delete``: by a name that only one mark ever has. Safe for the same reason.
* ``drain``: overwrites the reason that is there. Between the last look and the order lie some milliseconds in which somebody else's drain
  loses its words; the node stays drained. Nothing that scontrol offers closes that: ``act`` looks last before the order, and reads back.
* ``undrain``: takes the drain away, whoever has set it in those milliseconds. It is given only under a reservation of ours, so no job starts
  there; and a mark that waits for the gate keeps that reservation until its runs have passed: minutes in which a lost drain is seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hpcaccept.errors import LaunchError
from hpcaccept.parse.slurm.nodes import parse_nodes, parse_reservations
from hpcaccept.transport.slurm import ask_slurm

if TYPE_CHECKING:
    from hpcaccept.model.node import NodeState, Reserved

_TIMEOUT_S = 30.0


class Controller(Protocol):
    """Slurm, as far as marks go. Every method raises LaunchError with Slurm's words where it refuses or does not answer."""

    def nodes(self) -> list[NodeState]:
        """All nodes."""

    def node(self, name: str) -> NodeState:
        """One node."""

    def reservations(self) -> list[Reserved]:
        """All reservations that have nodes."""

    def create(self, name: str, node: str, users: tuple[str, ...]) -> None:
        """A reservation of one node from now on, that running jobs do not stand against."""

    def maintain(self, name: str) -> None:
        """Give a reservation the flag MAINT."""

    def delete(self, name: str) -> None:
        """Remove a reservation."""

    def drain(self, node: str, reason: str) -> None:
        """Drain a node."""

    def undrain(self, node: str) -> None:
        """Take the drain off a node; its other states stay."""

    def reboot(self, node: str, reason: str) -> None:
        """Reboot a node when its jobs have ended, and keep it down afterwards."""

    def up(self, node: str) -> None:
        """Let a node that is down after such a reboot take jobs again."""


class Scontrol:
    """The real one."""

    def nodes(self) -> list[NodeState]:
        """All nodes."""
        return parse_nodes(_said("-o", "show", "node"))

    def node(self, name: str) -> NodeState:
        """One node."""
        found = parse_nodes(_said("-o", "show", "node", name))
        if len(found) != 1:
            raise LaunchError(f"Slurm shows {len(found)} nodes for {name!r}, expected one.", "See: sinfo -N")
        return found[0]

    def reservations(self) -> list[Reserved]:
        """All reservations that have nodes."""
        return parse_reservations(_said("-o", "show", "reservation"))

    def create(self, name: str, node: str, users: tuple[str, ...]) -> None:
        """Without MAINT: then an ordinary reservation of somebody else makes slurmctld refuse."""
        _said(
            "create", "reservation", f"ReservationName={name}", "StartTime=now", "Duration=UNLIMITED", f"Nodes={node}",
            f"Users={','.join(users)}", "Flags=IGNORE_JOBS",
        )  # fmt: skip

    def maintain(self, name: str) -> None:
        """Accounting then counts the time as maintenance."""
        _said("update", f"ReservationName={name}", "Flags+=MAINT")

    def delete(self, name: str) -> None:
        """By its name."""
        _said("delete", f"ReservationName={name}")

    def drain(self, node: str, reason: str) -> None:
        """Running jobs go on."""
        _said("update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}")

    def undrain(self, node: str) -> None:
        """Not RESUME, which would also call a node up that is down."""
        _said("update", f"NodeName={node}", "State=UNDRAIN")

    def reboot(self, node: str, reason: str) -> None:
        """Without nextstate=DOWN Slurm would undrain the node after the boot."""
        _said("reboot", "ASAP", "nextstate=DOWN", f"reason={reason}", node)

    def up(self, node: str) -> None:
        """RESUME takes DOWN away."""
        _said("update", f"NodeName={node}", "State=RESUME")


def _said(*words: str) -> str:
    done = ask_slurm(["scontrol", *words], timeout_s=_TIMEOUT_S, seconds=True)
    if not done.ok:
        said = " ".join(f"{done.stderr} {done.stdout}".split())[:300]
        raise LaunchError(
            f"scontrol {' '.join(words)}: {said or f'exit status {done.returncode}'}",
            "Nothing was changed by this order.",
        )
    return done.stdout
