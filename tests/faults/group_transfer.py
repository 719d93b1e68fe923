"""A site's own test of the network between the nodes of a group: every pair, both ways, over TCP; prints the slowest in Mbit/s.

Usage: ``python group_transfer.py PREFIX node0,node3,…``: nodes are network namespaces ``PREFIX0`` …, with addresses 10.77.0.1 ….
Exit status 4 where two nodes do not reach each other.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import sys
import threading
import time

_CLONE_NEWNET = 0x40000000
_BYTES = 2 << 20
#: Other programs of the machine take a part of a transfer; the best of some is what the network can do.
_TRIES = 3


def main() -> int:
    """All pairs, in turn."""
    prefix, names = sys.argv[1:]
    numbers = [int(name.removeprefix("node")) for name in names.split(",")]
    rates = []
    for one, other in itertools.combinations(numbers, 2):
        for here, there in ((one, other), (other, one)):
            try:
                rates.append(max(_rate(prefix, here, there) for _ in range(_TRIES)))
            except OSError as fault:
                print(f"node{here} does not reach node{there}: {fault}")  # noqa: T201
                return 4
    print(f"slowest {min(rates, default=0.0):.1f} Mbit/s")  # noqa: T201
    return 0


def _rate(prefix: str, here: int, there: int) -> float:
    """Mbit/s from one node to another."""
    with _socket_in(f"{prefix}{there}") as door, _socket_in(f"{prefix}{here}") as client:
        door.bind((f"10.77.0.{there + 1}", 0))
        door.listen(1)
        door.settimeout(5)
        client.settimeout(5)
        client.connect(door.getsockname())
        server, _ = door.accept()
        with server:
            server.settimeout(10)
            begun = time.perf_counter()
            sender = threading.Thread(target=client.sendall, args=(bytes(_BYTES),))
            sender.start()
            left = _BYTES
            while left:
                left -= len(server.recv(min(left, 1 << 16)))
            seconds = time.perf_counter() - begun
            sender.join()
    return _BYTES * 8 / seconds / 1e6


def _socket_in(space: str) -> socket.socket:
    """A socket of a network namespace: a thread enters it, and only what it makes there stays there."""
    found: list[socket.socket] = []

    def make() -> None:
        handle = os.open(f"/run/netns/{space}", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns to {space}")
            found.append(socket.socket())
        finally:
            os.close(handle)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return found[0]


if __name__ == "__main__":
    sys.exit(main())
