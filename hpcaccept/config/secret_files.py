"""Takes a secret from the environment, or from a file that only its owner can read; never from a command line."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.bounded import open_regular
from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_secret(file: str, variable: str, environ: Mapping[str, str]) -> str:
    """From the environment, else the first line of a file that only its owner can read; empty when neither is set.

    Raises:
        UsageError: the file cannot be read, belongs to somebody else, or others may read it.
    """
    if found := environ.get(variable, "").strip():
        return found
    if not file:
        return ""
    path = Path(file).expanduser()
    try:
        with os.fdopen(open_regular(path, follow=True), "rb") as secret:
            mode = os.fstat(secret.fileno())
            if mode.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(mode.st_mode) & 0o077:
                raise UsageError(f"{path} holds a secret and others may read it.", f"chmod 600 {path}")
            first = secret.read(8192).partition(b"\n")[0]
    except OSError as fault:
        raise UsageError(f"Cannot read {path}: {fault.strerror}.") from None
    return first.decode("utf-8", "replace").strip()
