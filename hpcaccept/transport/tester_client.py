"""Asks a machine that may answer anything: one request a connection, to a pinned certificate, with limits of size and time on our own clock.

No redirect is followed, no name is resolved, no proxy is used, and what comes back is bytes: who reads them decides what they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hpcaccept.errors import LaunchError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What went wrong. ``network`` and ``timeout`` are nobody's guilt; ``certificate`` is somebody else on the way, or a server that was started again.
Fault = Literal["network", "timeout", "oversize", "malformed", "certificate", "refused"]
_BLOCK_BYTES = 1 << 18
_MOST_REASON = 200


class TesterFault(LaunchError):
    """No usable answer. A retry may help where the fault is ``network`` or ``timeout``.

    Attributes:
        fault: which kind.
        status: of HTTP, where there was one.
        answer: the beginning of what a refusal says; somebody else's text.
    """

    def __init__(self, fault: Fault, message: str, *, status: int = 0, answer: bytes = b"") -> None:
        super().__init__(message)
        self.fault = fault
        self.status = status
        self.answer = answer[:_MOST_REASON]


@dataclass(frozen=True)
class Answer:
    """A reply with status 200.

    Attributes:
        body: at most what was allowed.
        size: bytes that were received of it; more than the body has where they were only counted.
        sent_s: ``time.monotonic`` when the first byte of the request left, after connecting and the handshake.
        done_s: when the last byte was there.
    """

    body: bytes
    size: int
    sent_s: float
    done_s: float

    @property
    def seconds(self) -> float:
        """Between both."""
        return self.done_s - self.sent_s


class TesterClient:
    """One machine's tester.

    Attributes:
        pinned: SHA-256 of the only certificate that is spoken to; empty: any, and only for asking which one it is.
    """

    def __init__(self, address: str, port: int, token: str, *, pinned: str = "", global_only: bool = True) -> None:
        """Connect to nothing yet.

        Args:
            address: numbers only: it comes from the marketplace, which has it from the host.
            port: 1 to 65535.
            token: sent to the pinned certificate only.
            pinned: as above.
            global_only: refuse addresses of this machine and of private networks: nobody rents those out, and nobody is sent there.

        Raises:
            TesterFault: the address is none that may be asked.
        """
        self._place = place_of(address, port, global_only=global_only)
        self._token = token
        self.pinned = pinned
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        # Nobody signs for a machine that is rented for an hour: its certificate is compared instead.
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE

    def fingerprint(self, *, deadline_s: float = 10.0) -> str:
        """SHA-256 of the certificate that answers there; sends nothing.

        Raises:
            TesterFault: nobody answers.
        """
        with self._connected(deadline_s) as (_, seen):
            return seen

    def ask(
        self,
        path: str,
        *,
        body: bytes | None = None,
        blocks: tuple[int, Iterator[bytes]] | None = None,
        most_bytes: int,
        deadline_s: float,
        keep: bool = True,
        with_token: bool = True,
    ) -> Answer:
        """GET, or POST where there is a body.

        Args:
            path: with its query.
            body: to post.
            blocks: to post instead: bytes of all, and the blocks.
            most_bytes: of the answer.
            deadline_s: for everything from connecting to the last byte, on this machine's clock.
            keep: False: bytes are counted and thrown away.
            with_token: False: before the certificate is known to be the machine's.

        Raises:
            TesterFault: nobody answers in time, another certificate, another status than 200, or more bytes than allowed.
        """
        try:
            with self._connected(deadline_s) as (stream, seen):
                if self.pinned and seen != self.pinned:
                    raise TesterFault(
                        "certificate",
                        "Another certificate answers than before: the tester was started again, or somebody is in between.",
                    )
                if with_token and not self.pinned:
                    raise TesterFault(
                        "certificate", "The machine's certificate is not known yet, so no token is sent to it."
                    )
                return self._asked(stream, path, body, blocks, most_bytes, keep, with_token)
        except http.client.IncompleteRead:
            raise TesterFault("network", "The connection ended before the answer did.") from None
        except http.client.HTTPException as fault:
            raise TesterFault("malformed", f"The machine's answer is not HTTP ({type(fault).__name__}).") from None
        except ValueError as fault:  # http.client of numbers that are none
            raise TesterFault("malformed", f"The machine's answer is not HTTP ({type(fault).__name__}).") from None

    def _asked(
        self,
        stream: ssl.SSLSocket,
        path: str,
        body: bytes | None,
        blocks: tuple[int, Iterator[bytes]] | None,
        most_bytes: int,
        keep: bool,
        with_token: bool,
    ) -> Answer:
        connection = http.client.HTTPConnection(*self._place)
        connection.sock = stream
        size = blocks[0] if blocks else len(body or b"")
        headers = {"Connection": "close"}
        if with_token:
            headers["Authorization"] = f"Bearer {self._token}"
        if blocks or body is not None:
            headers["Content-Length"] = str(size)
        sent_s = time.monotonic()
        connection.request(
            "GET" if blocks is None and body is None else "POST",
            path,
            body=blocks[1] if blocks else body,
            headers=headers,
        )
        with contextlib.closing(connection.getresponse()) as answer:
            if answer.status != 200:
                raise TesterFault(
                    "refused",
                    f"The machine answers with status {answer.status}.",
                    status=answer.status,
                    answer=answer.read(_MOST_REASON),
                )
            if keep and answer.length is None and not answer.chunked:
                # Its end could not be told from a broken connection, which is nobody's guilt.
                raise TesterFault("malformed", "The machine's answer does not say how long it is.")
            kept, received = [], 0
            while block := answer.read1(_BLOCK_BYTES):
                received += len(block)
                if received > most_bytes:
                    raise TesterFault(
                        "oversize",
                        f"The machine sends more than {most_bytes:,} bytes, which was all that was asked for.",
                    )
                if keep:
                    kept.append(block)
            if answer.length:
                raise TesterFault("network", f"The connection ended {answer.length:,} bytes before the answer did.")
            return Answer(b"".join(kept), received, sent_s, time.monotonic())

    @contextlib.contextmanager
    def _connected(self, deadline_s: float) -> Iterator[tuple[ssl.SSLSocket, str]]:
        """A connection that is cut at the deadline, whoever drips bytes into it."""
        late = threading.Event()
        until = time.monotonic() + deadline_s
        try:
            raw = socket.create_connection(self._place, timeout=deadline_s)
            with contextlib.closing(raw.dup()) as line, contextlib.closing(raw):
                raw.settimeout(max(0.01, until - time.monotonic()))
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                left_s = max(0.01, until - time.monotonic())
                with _cut_after(left_s, line, late), self._context.wrap_socket(raw) as stream:
                    certificate = stream.getpeercert(binary_form=True) or b""
                    yield stream, hashlib.sha256(certificate).hexdigest()
                    if late.is_set():  # the cut looks like the end of an answer without a length
                        raise TimeoutError
        except OSError as fault:  # ssl.SSLError and every end of a connection are OSErrors
            raise self._named(fault, late.is_set(), deadline_s) from None
        except (http.client.HTTPException, ValueError, TesterFault):
            if late.is_set():
                raise self._named(TimeoutError(), True, deadline_s) from None
            raise

    @staticmethod
    def _named(fault: OSError, late: bool, deadline_s: float) -> TesterFault:
        if late or isinstance(fault, TimeoutError):
            return TesterFault("timeout", f"The machine did not answer within {deadline_s:.3g} s.")
        if isinstance(fault, ssl.SSLError):
            return TesterFault("network", f"The machine's answer is not TLS 1.3 ({(fault.reason or 'broken')[:60]}).")
        return TesterFault("network", f"The machine cannot be reached: {fault.strerror or type(fault).__name__}.")


def place_of(address: str, port: int, *, global_only: bool) -> tuple[str, int]:
    """Where to connect to.

    Raises:
        TesterFault: the address is none that may be asked.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise TesterFault("malformed", f"The machine's address is not an IP address: {address[:60]!r}.") from None
    if global_only and not _is_public(parsed):
        raise TesterFault("malformed", f"The machine's address {parsed} is not one of the public network.")
    if not 0 < port < 65536:
        raise TesterFault("malformed", f"The machine's port is {port}, expected 1 to 65535.")
    return str(parsed), port


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """One host of the public network. Of IPv6 only what is allocated (2000::/3), and no form that holds an IPv4 address, which could be any."""
    if address.is_multicast or not address.is_global:
        return False
    return address.version == 4 or (int(address) >> 125 == 1 and not address.sixtofour and not address.teredo)


@contextlib.contextmanager
def _cut_after(seconds: float, line: socket.socket, late: threading.Event) -> Iterator[None]:
    def cut() -> None:
        late.set()
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
