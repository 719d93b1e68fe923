"""An image that is made in no time and holds nothing: the machine's own /usr, Python and this checkout are mounted into it.

What is under test is how a container is entered, not what is in one; ``tests/system/test_image.py`` builds a real one.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import mpi4py

from support.submission import ROOT

_FOLDERS = ("usr", "etc", "tmp", "dev", "proc", "sys", "run", "root", "var", "opt", "mnt")
#: As in every distribution. /var/run is where Enroot puts the tmpfs in which Open MPI and PMIx have their folders.
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "var/run": "../run"}


def tree_of_nothing(root: Path) -> None:
    """A folder with an empty system."""
    for name in _FOLDERS:
        (root / name).mkdir(parents=True)
    for name, target in _LINKS.items():
        (root / name).symlink_to(target)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    # The loader looks in the folders that this names; it is a cache of the mounted /usr.
    shutil.copy("/etc/ld.so.cache", root / "etc/ld.so.cache")
    shutil.copytree("/etc/alternatives", root / "etc/alternatives", symlinks=True)


def image_of_nothing(file: Path, *, entry_point: str = "") -> Path:
    """A squashfs file with an empty system, and a script of its own that Enroot runs as the image's entry point."""
    root = file.with_suffix(".root")
    tree_of_nothing(root)
    if entry_point:
        (root / "etc/rc").write_text(entry_point)
        (root / "etc/rc").chmod(0o755)
    words = ["mksquashfs", str(root), str(file), "-comp", "gzip", "-noappend", "-quiet", "-no-progress"]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    return file


def mounts() -> str:
    """``--container-mounts`` with which Python and hpcaccept are found inside where they are outside."""
    # An environment may link to the packages of another one.
    packages = Path(mpi4py.__file__).resolve().parents[1]
    places = dict.fromkeys(["/usr", sys.base_prefix, sys.prefix, str(ROOT), str(packages)])
    inner = [p for p in places if not any(p != q and p.startswith(q + "/") for q in places)]
    return ",".join(f"{place}:{place}" for place in inner)
