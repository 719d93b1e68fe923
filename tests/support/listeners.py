"""Servers of this machine that keep what they were sent: a mail relay (SMTP) and a webhook (HTTP)."""

from __future__ import annotations

import contextlib
import json
import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Relay:
    """A mail relay that is listening.

    Attributes:
        server: ``127.0.0.1:PORT``.
        mails: that it took.
        refuse: recipients it refuses.
        busy: how many connections it still turns away with 421.
    """

    server: str = ""
    mails: list[EmailMessage] = field(default_factory=list)
    refuse: tuple[str, ...] = ()
    busy: int = 0


@contextlib.contextmanager
def relay() -> Iterator[Relay]:
    """RFC 5321 as far as a client that only sends needs it."""
    found = Relay()

    class Session(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

        def handle(self) -> None:
            if found.busy:
                found.busy -= 1
                self.say("421 try later")
                return
            self.say("220 relay")
            for raw in self.rfile:
                verb = raw.decode().strip().upper()
                if verb.startswith("RCPT") and any(name.upper() in verb for name in found.refuse):
                    self.say("550 no such user")
                elif verb == "DATA":
                    self.say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    body = b"".join(line.removeprefix(b".") for line in lines)
                    found.mails.append(message_from_bytes(body, policy=policy.default))
                    self.say("250 taken")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)) as port:
        found.server = f"127.0.0.1:{port}"
        yield found


@dataclass
class Hook:
    """A webhook that is listening.

    Attributes:
        url: where.
        posts: documents that it was sent, with path and headers.
        answers: status codes it still gives, in turn; 200 after them. 0: it says nothing until the test ends.
        location: of redirects.
    """

    url: str = ""
    posts: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    location: str = ""
    over: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def hook(certificate: Path | None = None) -> Iterator[Hook]:
    """HTTP, or HTTPS with a certificate (a PEM file with its key)."""
    found = Hook()

    class Request(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.posts.append((self.path, dict(self.headers), json.loads(body)))
            code = found.answers.pop(0) if found.answers else 200
            if code == 0:
                # A server that drips: each byte in time, the end never.
                while not found.over.wait(0.05):
                    with contextlib.suppress(OSError):
                        self.wfile.write(b"H")
                return
            self.send_response(code)
            if found.location:
                self.send_header("Location", found.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Not into the output of tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with _serving(server) as port:
        found.url = f"http{'s' if certificate else ''}://127.0.0.1:{port}/services/T0/SECRET?key=SECRET"
        try:
            yield found
        finally:
            found.over.set()


@contextlib.contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that go away are what is tested
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
