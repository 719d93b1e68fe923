"""``--verbose``: each program that is started and each connection that is made, a line on standard error with the time since the start.

Python's own audit events say so (https://docs.python.org/3/library/audit_events.html), whatever part of hpcaccept, or of a library, does it.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from typing import Any

#: Characters of a line: a node list of a whole fleet may be an argument.
_LONGEST = 2000


def trace() -> None:
    """Begin to print. It cannot be undone, and ends with the process."""
    begun, owner = time.monotonic(), os.getpid()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("subprocess.Popen", "socket.connect") or os.getpid() != owner:
            return
        text = _command(arguments) if event == "subprocess.Popen" else _connection(arguments)
        if text:
            os.write(2, f"{time.monotonic() - begun:7.3f} s  {_shown(text)}\n".encode(errors="replace"))

    sys.addaudithook(hook)


def _command(arguments: tuple[Any, ...]) -> str:
    words = arguments[1] if len(arguments) > 1 else ()
    if isinstance(words, (str, bytes, os.PathLike)):
        words = [words]
    return f"run {shlex.join(os.fsdecode(word) for word in words)}"


def _connection(arguments: tuple[Any, ...]) -> str:
    address = arguments[1] if len(arguments) > 1 else None
    return f"connect {address[0]} port {address[1]}" if isinstance(address, tuple) and len(address) > 1 else ""


def _shown(text: str) -> str:
    from hpcaccept.report.printable import safe

    return safe(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …")
