"""What torch's flight recorder has kept of the collectives of this process.

The recorder of this very process is read, in memory and as JSON: its files are pickle, and a rank that is stopped writes none.
Nothing is turned on, so that nothing is measured with it that was not before: torch 2.14 records unless told otherwise, an older one where
``TORCH_NCCL_TRACE_BUFFER_SIZE`` says how much.
"""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Which function gives the trace of a backend, where this torch has it.
_DUMPS = {"nccl": "_dump_nccl_trace_json", "gloo": "_dump_fr_trace_json"}
_MODULE = "torch._C._distributed_c10d"


@dataclass
class _Open:
    """The groups that are open, and since when (nanoseconds since 1970); an empty backend: none."""

    backend: str = ""
    since_ns: int = 0


_open = _Open()


@contextlib.contextmanager
def recorded(backend: str) -> Iterator[None]:
    """While groups of a backend are open, ``trace`` tells of them."""
    _open.backend, _open.since_ns = backend, time.time_ns()
    try:
        yield
    finally:
        _open.backend = ""


def backend() -> str:
    """``nccl`` or ``gloo`` while groups are open; else empty."""
    return _open.backend


def trace() -> tuple[bytes, int] | None:
    """The trace as JSON, and since when it is of the groups that are open (nanoseconds since 1970); None where none is. From any thread."""
    dump = getattr(sys.modules.get(_MODULE), _DUMPS.get(_open.backend, ""), None)
    return (dump(True, False), _open.since_ns) if dump else None
