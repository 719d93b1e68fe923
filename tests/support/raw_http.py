"""A server that says exactly the bytes it is given, wrong ones included."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: An answer; a float in it is a pause in seconds.
Reply = bytes | tuple[bytes | float, ...]


def said(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """A well-formed answer; ``length`` announces another length than the body has."""
    size = len(body) if length is None else length
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {size}", "Connection: close", *headers])
    return head.encode() + b"\r\n\r\n" + body


@contextmanager
def raw_server(*replies: Reply) -> Iterator[tuple[str, list[bytes]]]:
    """Says these in order, the last one for ever; gives its URL and the requests that came. ``HERE`` in a reply becomes the URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    left, came = list(replies), list[bytes]()

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            reply = left.pop(0) if len(left) > 1 else left[0]
            with connection, contextlib.suppress(OSError):
                came.append(_request(connection))
                for part in reply if isinstance(reply, tuple) else (reply,):
                    if isinstance(part, float):
                        time.sleep(part)
                    else:
                        connection.sendall(part.replace(b"HERE", url.encode()))

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield url, came
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def _request(connection: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found:
        piece = connection.recv(65536)
        if not piece:
            return found
        found += piece
    head, _, body = found.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < sum(lengths):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
