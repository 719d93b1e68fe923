"""What NCCL's RAS service says of the job whose process runs on this host.

The protocol is lines of text on a TCP port of the loopback interface (``localhost:28028``, else ``NCCL_RAS_ADDR``), NCCL 2.24 and later:
https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting/ras.html
"""

from __future__ import annotations

import socket
import time
from typing import BinaryIO, cast

ADDRESS = "localhost:28028"
#: Of an answer: some lines for each process that something is wrong with.
_MOST_BYTES = 64 * 1024


def ras_status(address: str, timeout_s: float) -> str:
    """The answer to STATUS; empty where nobody answers in time, or something else than RAS does.

    Args:
        address: ``host:port``.
        timeout_s: for everything; RAS itself is told to wait for its peers for a second less, and at least for one.
    """
    until = time.monotonic() + timeout_s
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_s) as line, line.makefile("rwb") as talk:
            talk.write(f"CLIENT PROTOCOL 2\nTIMEOUT {max(1, int(timeout_s) - 1)}\nSTATUS\n".encode())
            talk.flush()
            if not talk.readline(200).startswith(b"SERVER PROTOCOL ") or talk.readline(200).strip() != b"OK":
                return ""
            return _rest(line, cast("BinaryIO", talk), until).decode("utf-8", "replace")
    except (OSError, ValueError, OverflowError):
        return ""


def _rest(line: socket.socket, talk: BinaryIO, until: float) -> bytes:
    """What comes until the other side closes; what has come where it takes too long."""
    found = b""
    while len(found) < _MOST_BYTES and (left := until - time.monotonic()) > 0:
        line.settimeout(left)
        try:
            part = talk.readline(_MOST_BYTES)
        except TimeoutError:
            break
        if not part:
            break
        found += part
    return found[:_MOST_BYTES]
