"""The ranks of a step meet over TCP, and nobody else is let in. IPv4.

``torch``'s store takes whoever connects, and shows every key to whoever asks. So its listening socket is made here: at the one address
at which the ranks find it, after each of them has proved over it that it knows a secret of this meeting, which travels over MPI
alone. From then on the kernel drops what comes from any other host (a filter on the socket, for which no right is needed). Not
protected: other processes on the hosts of the run itself, and what is read on the way, because nothing is encrypted.
"""

from __future__ import annotations

import contextlib
import ctypes
import hmac
import itertools
import secrets
import selectors
import socket
import struct
import threading
from typing import TYPE_CHECKING, cast

from hpcaccept.transport.network import PROBES_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Places = Sequence[tuple[str, int]]

_NONCE, _PROOF = 16, 32
#: A whole step may knock at the same moment.
_BACKLOG = 4096
#: For an answer of who knocks; whoever only connects keeps nobody else waiting.
_PATIENCE_S = 10.0
_LOOK_S = 0.02
#: Linux, socket(7) and linux/filter.h: classic BPF, and where it finds the header of the network layer.
_SO_ATTACH_FILTER, _NET = 26, 0xFFF00000
_LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_SOURCE = 12
#: Instructions of a filter at most (BPF_MAXINSNS); each host takes two.
_MOST_HOSTS = 2000


def new_secret() -> bytes:
    """Of one meeting."""
    return secrets.token_bytes(32)


class Doors:
    """Listening sockets, one at each address, at which ranks prove that they belong to the run."""

    def __init__(self, addresses: Sequence[str], secret: bytes) -> None:
        self._secret = secret
        self._sockets: dict[str, socket.socket] = {}
        for address in addresses:
            # A name may lead to an address that this host no longer has: nobody would find it there.
            with contextlib.suppress(OSError):
                self._sockets[address] = _listen(address)
        self._over = threading.Event()
        #: Addresses of hosts from which somebody has proved it, as they are seen from here.
        self.known: set[str] = set()
        self._porter = threading.Thread(target=self._wait, daemon=True)
        self._porter.start()

    @property
    def places(self) -> list[tuple[str, int]]:
        """Address and port of each."""
        return [(address, int(door.getsockname()[1])) for address, door in self._sockets.items()]

    def hand_over(self, address: str) -> tuple[int, int]:
        """File descriptor and port of a listening socket that hears the hosts that are known, and no others.

        Args:
            address: of the door at which all found this host; empty: they found it at several, so that it must listen at all.
        """
        self._close_to_new()
        if address not in self._sockets:
            self._sockets[address] = _listen(address)
        door = self._sockets[address]
        with contextlib.suppress(OSError):  # a kernel without such filters (gVisor); what else is said above holds
            _hear_only(door, self.known | {"127.0.0.1"})
        door.setblocking(False)
        # Whoever came before the filter, and was not asked yet, is sent away.
        with contextlib.suppress(BlockingIOError):
            while True:
                door.accept()[0].close()
        door.setblocking(True)
        port = int(door.getsockname()[1])
        return door.dup().detach(), port

    def close(self) -> None:
        """Every door that was not handed over."""
        self._close_to_new()
        for door in self._sockets.values():
            door.close()

    def _close_to_new(self) -> None:
        self._over.set()
        self._porter.join()

    def _wait(self) -> None:
        with selectors.DefaultSelector() as waiting:
            for door in self._sockets.values():
                waiting.register(door, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in waiting.select(_LOOK_S):
                    with contextlib.suppress(OSError):
                        visitor, (address, _port) = cast("socket.socket", key.fileobj).accept()
                        threading.Thread(target=self._ask, args=(visitor, address), daemon=True).start()

    def _ask(self, visitor: socket.socket, address: str) -> None:
        with visitor, contextlib.suppress(OSError):
            visitor.settimeout(_PATIENCE_S)
            nonce = secrets.token_bytes(_NONCE)
            visitor.sendall(nonce)
            if hmac.compare_digest(_exactly(visitor, _PROOF), _proof(self._secret, nonce, b"rank")):
                # Before the answer: whoever has it may come back at once.
                self.known.add(address)
                visitor.sendall(_proof(self._secret, nonce, b"door"))


@contextlib.contextmanager
def doors(addresses: Sequence[str], secret: bytes) -> Iterator[Doors]:
    """Doors at those of these addresses that this host has, while open."""
    found = Doors(addresses, secret)
    try:
        yield found
    finally:
        found.close()


def knock(places: Places, secret: bytes) -> tuple[str, str] | None:
    """The first address at which somebody answers who knows the secret, and our own address on the way there; None: nobody does."""
    for timeout_s, (address, port) in itertools.product(PROBES_S, places):
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=timeout_s) as door:
            nonce = _exactly(door, _NONCE)
            door.sendall(_proof(secret, nonce, b"rank"))
            if hmac.compare_digest(_exactly(door, _PROOF), _proof(secret, nonce, b"door")):
                return address, str(door.getsockname()[0])
    return None


def _listen(address: str) -> socket.socket:
    return socket.create_server((address, 0), backlog=_BACKLOG)


def _proof(secret: bytes, nonce: bytes, who: bytes) -> bytes:
    return hmac.digest(secret, nonce + who, "sha256")


def _exactly(stream: socket.socket, size: int) -> bytes:
    """So many bytes. Raises OSError when the other side ends, or lets one wait, before."""
    found = b""
    while len(found) < size:
        part = stream.recv(size - len(found))
        if not part:
            raise ConnectionError("the other side has closed")
        found += part
    return found


def _hear_only(door: socket.socket, hosts: set[str]) -> None:
    """Have the kernel drop every packet to a listening socket that comes from elsewhere. Raises OSError where it cannot."""
    if len(hosts) > _MOST_HOSTS:
        return
    words = [struct.unpack("!I", socket.inet_aton(host))[0] for host in sorted(hosts)]
    code = [(_LOAD_WORD, 0, 0, _NET + _SOURCE)]
    for word in words:
        code += [(_JUMP_EQUAL, 0, 1, word), (_RETURN, 0, 0, 0xFFFFFFFF)]
    code.append((_RETURN, 0, 0, 0))
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    door.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(code), ctypes.addressof(program)))
