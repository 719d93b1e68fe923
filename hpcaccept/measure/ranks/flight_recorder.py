"""How far has this process come in its collectives, as torch's flight recorder saw it?

The recorder of this very process is read, in memory and as JSON: its files are pickle, and a rank that is stopped writes none.
What it keeps is torch's default (2,000 collectives since 2.6; before, ``TORCH_NCCL_TRACE_BUFFER_SIZE`` turns it on).
"""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.flight_recorder import progress_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcaccept.model.record import GroupProgress

#: Which function gives the trace of a backend. The recorder of gloo came with torch 2.9.
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
    """While groups of a backend are open, ``progress`` tells of them."""
    _open.backend, _open.since_ns = backend, time.time_ns()
    try:
        yield
    finally:
        _open.backend = ""


def backend() -> str:
    """``nccl`` or ``gloo`` while groups are open; else empty."""
    return _open.backend


def progress() -> tuple[GroupProgress, ...] | None:
    """How far this rank has come in each open group; None where no group is open or nothing is recorded. From any thread."""
    dump = getattr(sys.modules.get(_MODULE), _DUMPS.get(_open.backend, ""), None)
    if dump is None:
        return None
    try:
        return progress_of(dump(True, False), _open.since_ns)
    except NotUnderstood:
        return None
