"""Sends one file to a machine that knows its digest already. By HTTP in the clear: nothing of it is secret, and nothing else is accepted there."""

from __future__ import annotations

import socket
import time

from hpcaccept.transport.tester_client import TesterFault, place_of

#: Of an answer; only its first line is read.
_MOST_BYTES = 512


def put(address: str, port: int, content: bytes, *, deadline_s: float, global_only: bool = True) -> bool:
    """Send it; True where the receiver says that it was the right one.

    Args:
        address: numbers only.
        port: of the receiver.
        content: of the file.
        deadline_s: for everything.
        global_only: refuse addresses of this machine and of private networks.

    Raises:
        TesterFault: ``network`` or ``timeout``: nobody takes it there; ``malformed``: the address is none.
    """
    place = place_of(address, port, global_only=global_only)
    until = time.monotonic() + deadline_s
    head = f"PUT / HTTP/1.0\r\nHost: machine\r\nContent-Length: {len(content)}\r\n\r\n"
    answer = b""
    try:
        with socket.create_connection(place, timeout=deadline_s) as line:
            line.settimeout(_left(until))
            line.sendall(head.encode("ascii") + content)  # the time-out is of all of it
            while b"\n" not in answer and len(answer) < _MOST_BYTES:
                line.settimeout(_left(until))
                if not (part := line.recv(_MOST_BYTES)):
                    break
                answer += part
    except TimeoutError:
        raise TesterFault("timeout", f"The machine did not take the files within {deadline_s:.3g} s.") from None
    except OSError as fault:
        raise TesterFault(
            "network", f"The machine cannot be reached: {fault.strerror or type(fault).__name__}."
        ) from None
    words = answer.split(maxsplit=2)
    return len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1] == b"200"


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
