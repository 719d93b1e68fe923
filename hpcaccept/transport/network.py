"""Addresses and ports of this host, and which addresses of another host answer. IPv4."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How long an address may take to answer: first each a little, so that one behind a firewall does not cost the patience.
_PROBES_S = (1.0, 10.0)


@contextlib.contextmanager
def listening_port() -> Iterator[int]:
    """A TCP port that the kernel picks and that accepts connections, on every address, while the block is open."""
    with socket.create_server(("", 0)) as door:
        yield int(door.getsockname()[1])


def free_port() -> int:
    """A TCP port on which nobody listens at this moment; another process may take it before its user does."""
    with listening_port() as port:
        return port


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


def reachable(addresses: list[str], port: int) -> tuple[str, str] | None:
    """The first address that answers, and our own address on the way there; None when none does."""
    for timeout_s, address in itertools.product(_PROBES_S, addresses):
        with (
            contextlib.suppress(OSError),
            socket.create_connection((address, port), timeout=timeout_s) as probe,
        ):
            return address, str(probe.getsockname()[0])
    return None


def interface_of(address: str) -> str:
    """Name of the interface with this address (``eth0``), empty when there is none."""
    import psutil

    for name, entries in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in entries):
            return str(name)
    return ""
