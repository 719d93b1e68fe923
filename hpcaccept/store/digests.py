"""Whether the raw records are still what they were: SHA-256 of every file of a run that evidence is made of."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hpcaccept.store.folder import RunFolder

_BLOCK_BYTES = 1 << 20


def digests_of(folder: RunFolder) -> dict[str, str]:
    """Path within the run → SHA-256, of the plan, steps, journals, raw outputs and ``run.h5``.

    Reports are left out: they follow from these and may be written again.

    Raises:
        OSError: a file cannot be read.
    """
    return {str(file.relative_to(folder.path)): digest_of(file) for file in _files(folder)}


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """``missing``, ``changed`` and ``added`` files, those that are empty left out."""
    found = {
        "missing": tuple(name for name in before if name not in now),
        "changed": tuple(name for name in before if name in now and now[name] != before[name]),
        "added": tuple(name for name in now if name not in before),
    }
    return {what: names for what, names in found.items() if names}


def _files(folder: RunFolder) -> Iterator[Path]:
    for file in (folder.plan_file, folder.driver_log, folder.run_file):
        if file.is_file():
            yield file
    for part in ("steps", "records", "outputs"):
        # A link is somebody else's file: it is no record of this run.
        yield from sorted(f for f in (folder.path / part).rglob("*") if f.is_file() and not f.is_symlink())


def digest_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises OSError where it cannot be read."""
    digest = hashlib.sha256()
    with file.open("rb") as source:
        while block := source.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
