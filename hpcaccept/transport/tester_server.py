"""The server on a rented machine: one request a connection, over TLS 1.3, within limits of size, time and number.

It knows no endpoint: what a request means is the handler's. Whoever is slow, malformed or one too many is cut off, and costs a thread for seconds.
"""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from hpcaccept.transport.certificate import fingerprint_of

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK_BYTES = 1 << 18


@dataclass(frozen=True)
class Limits:
    """What one connection may cost.

    Attributes:
        connections: at the same time; more are closed unasked.
        hello_s: for the TLS handshake, all headers, and a body that fits into memory.
        stream_s: for a body that is counted and thrown away.
        answer_s: for the handler to make up its mind; a GPU computes meanwhile.
        send_s: for the client to take the answer.
        body_bytes: of a body that is read into memory.
        stream_bytes: of a body that is not.
    """

    connections: int = 32
    hello_s: float = 15.0
    stream_s: float = 120.0
    answer_s: float = 900.0
    send_s: float = 120.0
    body_bytes: int = 1 << 20
    stream_bytes: int = 1 << 30


@dataclass(frozen=True)
class Request:
    """One request, its body read.

    Attributes:
        method: ``GET`` or ``POST``.
        path: without the query.
        query: each name once; the last one counts.
        token: of ``Authorization: Bearer``; empty without one.
        size: bytes that the client says its body has.
        body: at most ``Limits.body_bytes``; empty where the handler streams.
        stream: blocks of a body that is not read into memory; may be taken once.
    """

    method: str
    path: str
    query: Mapping[str, str]
    token: str
    size: int = 0
    body: bytes = b""
    stream: Iterable[bytes] = ()


@dataclass(frozen=True)
class Reply:
    """What is answered.

    Attributes:
        status: of HTTP.
        body: whole, or blocks; blocks end with the connection.
        kind: content type.
    """

    status: int
    body: bytes | Iterable[bytes] = b""
    kind: str = "application/json"


@dataclass(frozen=True)
class Service:
    """What the server asks for each request.

    Attributes:
        answer: makes a reply; whatever it raises is answered with 500 and told to nobody.
        streams: paths whose body is not read into memory.
        admits: whether a token may stream, or have a body read, before anything of it is read.
    """

    answer: Callable[[Request], Reply]
    streams: frozenset[str] = field(default_factory=frozenset)
    admits: Callable[[str], bool] = lambda token: True


class TesterServer:
    """Listens from the moment it is made, in threads of its own, until ``close``."""

    def __init__(
        self, address: tuple[str, int], service: Service, certificate: Path, key: Path, limits: Limits | None = None
    ) -> None:
        """Raise OSError where the address cannot be listened at."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(certificate, key)
        self.fingerprint = fingerprint_of(certificate)
        self._server = _Server(address, context, service, limits or Limits())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), daemon=True, name="tester")
        self._thread.start()

    @property
    def port(self) -> int:
        """That it listens at."""
        return int(self._server.server_address[1])

    def wait(self, timeout_s: float | None = None) -> None:
        """Until it is closed, or the time is over."""
        self._thread.join(timeout_s)

    def close(self) -> None:
        """No more connections; those that are open end with their own limits."""
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, service: Service, limits: Limits) -> None:
        self.context, self.service, self.limits = context, service, limits
        self.places = threading.BoundedSemaphore(limits.connections)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, where there is a place for it."""
        if not self.places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self.places.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke says nothing here: the log of a stranger's machine is no place for it."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "hpcaccept", ""
    # One request a connection: nothing of one can be taken for the next one's.
    protocol_version = default_request_version = "HTTP/1.0"

    def setup(self) -> None:
        """Shake hands in this thread, never in the one that accepts."""
        raw: socket.socket = self.request
        # The duplicate ends the connection from the watch's thread, whatever this one waits for.
        self._line = raw.dup()
        self._watch(self.server.limits.hello_s)
        raw.settimeout(self.server.limits.hello_s)
        # Round trips are measured: no answer waits for an acknowledgement (40 ms).
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = self.server.context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        self.request.do_handshake()
        super().setup()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()
        with contextlib.suppress(OSError, ValueError):
            self.request.unwrap()

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().handle()

    def __init__(self, request: Any, client_address: Any, server: _Server) -> None:
        self._timer: threading.Timer | None = None
        try:
            super().__init__(request, client_address, server)
        finally:
            self._unwatch()
            with contextlib.suppress(OSError):
                self.request.close()
            with contextlib.suppress(AttributeError, OSError):
                self._line.close()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests may hold anything."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Without the request's own words."""
        self._send(Reply(int(code), b'{"error":"bad request"}'))

    def _serve(self) -> None:
        request = self._read()
        if request is None:
            return
        limits = self.server.limits
        if request.path not in self.server.service.streams:
            self._watch(limits.answer_s)
        try:
            reply = self.server.service.answer(request)
        except (OSError, ssl.SSLError):
            return
        except Exception:  # noqa: BLE001 (a stranger's request never ends the server, and learns nothing of it)
            reply = Reply(500, b'{"error":"internal error"}')
        self._watch(limits.send_s)
        self.request.settimeout(limits.send_s)
        self._send(reply)

    def _read(self) -> Request | None:
        """The request, or None where it was answered already."""
        limits, service = self.server.limits, self.server.service
        try:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query, max_num_fields=16))
            size = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            self.send_error(400)
            return None
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        streams = parts.path in service.streams and self.command == "POST"
        if size < 0 or "Transfer-Encoding" in self.headers:
            self.send_error(400)
            return None
        if size > (limits.stream_bytes if streams else limits.body_bytes):
            self.send_error(413)
            return None
        if size and not service.admits(token):
            self.send_error(401)
            return None
        head = (self.command, parts.path, query, token, size)
        if streams:
            self._watch(limits.stream_s)
            return Request(*head, stream=self._blocks(size))
        body = self.rfile.read(size) if size else b""
        return Request(*head, body=body) if len(body) == size else None

    def _blocks(self, size: int) -> Iterator[bytes]:
        while size > 0:
            block = self.rfile.read1(min(size, _BLOCK_BYTES))
            if not block:
                raise ConnectionError("the client ended before its body did")
            size -= len(block)
            yield block

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        blocks = [reply.body] if isinstance(reply.body, bytes) else reply.body
        if isinstance(reply.body, bytes):
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        for block in blocks:
            self.wfile.write(block)

    def _watch(self, seconds: float) -> None:
        """Cut the line after so long, however busy the client keeps it: a timeout of a socket is for each read of it."""
        self._unwatch()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def _unwatch(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _cut(self) -> None:
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
