"""How does a rank write down what it measured, so that a crash loses at most the line being written?

One file per rank and step, JSON lines, each written with one ``write`` and synced. A line is
``{"kind": …, "data": …}``; a torn line is reported with its text and costs only itself.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import RunFolderFull
from hpcaccept.serial import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Journal:
    """An open journal. Safe to use from the watch thread too."""

    def __init__(self, file: Path) -> None:
        """Open for appending.

        Raises:
            RunFolderFull: no space for the file.
        """
        self.file = file
        self._lock = threading.Lock()
        with full_disk_named(file):
            self._handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, kind: str, data: object) -> None:
        """Append one line and sync it.

        Raises:
            RunFolderFull: no space. The line may be torn, what was before it is safe.
        """
        line = f'{{"kind":"{kind}","data":{dumps(data)}}}\n'.encode()
        with self._lock, full_disk_named(self.file):
            written = 0
            while written < len(line):
                written += os.write(self._handle, line[written:])
            os.fsync(self._handle)


class full_disk_named:  # noqa: N801 (a context manager, used like a function)
    """Turn "no space left" into ``RunFolderFull`` with the path in it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, fault: object, trace: object) -> None:
        """Translate."""
        if isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunFolderFull(f"There is no space left for {self._file}.") from fault


@dataclass(frozen=True)
class Line:
    """One line of a journal; ``torn`` holds the raw text of one that cannot be read, and then kind is empty."""

    file: str
    kind: str
    data: Any
    torn: str = ""


def read(file: Path) -> Iterator[Line]:
    """The lines of a journal, torn ones included, in order."""
    for raw in file.read_bytes().splitlines():
        text = raw.decode("utf-8", "replace")
        try:
            thing = json.loads(text)
            if "\\u" in text:  # an escaped lone surrogate could be written nowhere: UnicodeEncodeError, so torn
                json.dumps(thing, ensure_ascii=False).encode()
            yield Line(file.name, thing["kind"], thing["data"])
        except (ValueError, KeyError, TypeError):
            yield Line(file.name, "", None, torn=text[:2000])
