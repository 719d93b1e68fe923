"""Nodes with a network of their own: namespaces on one bridge, every port shaped, so that one can be made slower.

Real packets over real TCP; ``tc`` (htb) shapes them. Everything has one prefix and is gone at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def why_not() -> str:
    """Why there can be no such network here; empty when there can."""
    if os.geteuid():
        return "network namespaces need root"
    missing = [name for name in ("ip", "tc") if not shutil.which(name)]
    return f"no {', '.join(missing)}: apt-get install iproute2" if missing else ""


@dataclass(frozen=True)
class Network:
    """Ports of ``nodes`` namespaces ``<prefix>0`` …, all of them at ``mbit`` megabits per second.

    Attributes:
        prefix: of the names of its namespaces.
        nodes: how many.
        mbit: rate of every healthy port and link.
    """

    prefix: str
    nodes: int
    mbit: int

    def address(self, node: int) -> str:
        """IPv4 address of a node."""
        return f"10.77.0.{node + 1}"

    def slow_port(self, node: int, mbit: int) -> None:
        """What a node sends, to whomever, is slower from now on."""
        _in(f"{self.prefix}{node}", *_tc("change", "1:10", mbit))

    def slow_link(self, one: int, other: int, mbit: int) -> None:
        """What two nodes send each other is slower from now on; what they send others is not."""
        for here, there in ((one, other), (other, one)):
            space = f"{self.prefix}{here}"
            _in(space, *_tc("add", "1:20", mbit))
            match = ("match", "ip", "dst", f"{self.address(there)}/32")
            _in(
                space,
                "tc",
                "filter",
                "add",
                "dev",
                "eth0",
                "parent",
                "1:",
                "prio",
                "1",
                "u32",
                *match,
                "flowid",
                "1:20",
            )

    def blocked(self, one: int, other: int) -> None:
        """Two nodes do not reach each other from now on; each of them reaches all others."""
        for here, there in ((one, other), (other, one)):
            _in(f"{self.prefix}{here}", "ip", "route", "add", "blackhole", f"{self.address(there)}/32")


@contextlib.contextmanager
def network(nodes: int = 4, mbit: int = 400) -> Iterator[Network]:
    """The network while open.

    Raises:
        subprocess.CalledProcessError: a command failed; its message is in ``stderr``.
    """
    made = Network(f"hpcaccept-{os.getpid()}-", nodes, mbit)
    switch = f"{made.prefix}switch"
    spaces = [switch, *(f"{made.prefix}{node}" for node in range(nodes))]
    try:
        for space in spaces:
            _run("ip", "netns", "add", space)
            _in(space, "ip", "link", "set", "lo", "up")
        _in(switch, "ip", "link", "add", "bridge", "type", "bridge")
        _in(switch, "ip", "link", "set", "bridge", "up")
        for node, space in enumerate(spaces[1:]):
            _in(switch, "ip", "link", "add", f"port{node}", "type", "veth", "peer", "name", "eth0", "netns", space)
            _in(switch, "ip", "link", "set", f"port{node}", "master", "bridge", "up")
            _in(space, "ip", "address", "add", f"{made.address(node)}/24", "dev", "eth0")
            _in(space, "ip", "link", "set", "eth0", "up")
            _in(space, "ip", "route", "add", "default", "dev", "eth0")
            _in(space, "tc", "qdisc", "add", "dev", "eth0", "root", "handle", "1:", "htb", "default", "10")
            _in(space, *_tc("add", "1:10", mbit))
        yield made
    finally:
        for space in spaces:
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)


def _tc(what: str, name: str, mbit: int) -> tuple[str, ...]:
    return (
        "tc",
        "class",
        what,
        "dev",
        "eth0",
        "parent",
        "1:",
        "classid",
        name,
        "htb",
        "rate",
        f"{mbit}mbit",
        "burst",
        "64k",
    )


def _in(space: str, *command: str) -> None:
    _run("ip", "netns", "exec", space, *command)


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)
