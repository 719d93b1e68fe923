"""What tests compile themselves: libraries that stand in for others."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC")


def shared_library(source: Path, target: Path, *more: str) -> Path:
    """Compile one C file; without a compiler the test says that it did not run.

    Args:
        source: ``.c``.
        target: library that is made.
        more: flags, and after them libraries.
    """
    if not shutil.which("gcc"):
        pytest.skip("not run: there is no gcc (apt-get install gcc libc6-dev)")
    subprocess.run(["gcc", *_FLAGS, "-o", str(target), str(source), *more], check=True)
    return target
