"""A file system without locks, for a process that is started with ``environment``."""

from __future__ import annotations

import errno
from pathlib import Path

from support.compiler import shared_library

#: What such file systems answer: NFS without lockd, Lustre without ``-o flock``, and kernels that let their own ENOTSUPP out.
ANSWERS = (errno.ENOLCK, errno.ENOSYS, 524)


def environment(folder: Path, answer: int) -> dict[str, str]:
    """With which a process is refused every lock; compiles a library into the folder."""
    library = folder / "no_locks.so"
    if not library.exists():
        shared_library(Path(__file__).with_name("no_locks.c"), library, "-ldl")
    return {"LD_PRELOAD": str(library), "LOCK_ERRNO": str(answer)}
