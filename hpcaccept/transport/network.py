"""Addresses and ports of this host. IPv4."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How long an address may take to answer: first each a little, so that one behind a firewall does not cost the patience.
PROBES_S = (1.0, 10.0)


@contextlib.contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Different TCP ports that a child process may listen on, and that the kernel gives to nobody else while the block is open.

    They are bound and not listened on. Linux lets a second socket bind and listen when both have set SO_REUSEADDR (socket(7)), as
    servers do that are started again.
    """
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) for _ in range(count)]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("", 0))
        yield [int(one.getsockname()[1]) for one in sockets]


def own_names() -> set[str]:
    """What this host calls itself, with and without its domain."""
    return {socket.gethostname(), socket.getfqdn()}


def own_addresses() -> list[str]:
    """Addresses at which other hosts may find this one, the likeliest first; loopback is never one of them."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        found += [str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    # No packet is sent: connecting a datagram socket only asks the routing table. 192.0.2.1 is reserved (RFC 5737).
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        found.append(probe.getsockname()[0])
    return _outer(found) or _outer(_of_interfaces())


def _outer(addresses: list[str]) -> list[str]:
    return [a for a in dict.fromkeys(addresses) if not ipaddress.ip_address(a).is_loopback]


def _of_interfaces() -> list[str]:
    """Every address of this host: a network of its own may have neither names nor a way out."""
    import psutil

    return [e.address for entries in psutil.net_if_addrs().values() for e in entries if e.family == socket.AF_INET]


def interface_of(address: str) -> str:
    """Name of the interface with this address (``eth0``), empty when there is none."""
    import psutil

    for name, entries in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in entries):
            return str(name)
    return ""
