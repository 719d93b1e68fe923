"""A node of a scale set, as far as its scripts can see: root, its own mounts, /dev, /etc, /var/log and /opt; loop devices for NVMe disks.

The kernel, the file systems and the tools of Debian are real. What a GPU node has besides prints recorded output and refuses what the
real tool refuses.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "azure" / "node" / "opt"
MIB = 1 << 20
#: Model of a controller, as sysfs has it.
LOCAL, REMOTE = "Microsoft NVMe Direct Disk v2", "MSFT NVMe Accelerator v1.0"

#: What runs in the namespace first. Everything of it goes with its last process.
_PREPARE = r"""
set -euo pipefail
place=$1
mount --make-rprivate /
mkdir -p "$place"/{etc-upper,etc-work,dev,sys-class,log}
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$place/etc-upper,workdir=$place/etc-work" /etc
mount --bind "$place/log" /var/log
mount -t tmpfs tmpfs /mnt
mount --bind "$2" /opt
mount -t tmpfs tmpfs "$place/dev"
mknod -m 666 "$place/dev/null" c 1 3; mknod -m 666 "$place/dev/zero" c 1 5; mknod -m 666 "$place/dev/random" c 1 8; mknod -m 666 "$place/dev/urandom" c 1 9
mkdir "$place/dev/shm" "$place/dev/md"
ln -s /proc/self/fd "$place/dev/fd"
mount --move "$place/dev" /dev
mount -t tmpfs tmpfs /sys/class
hostname node7
echo ready
exec sleep 600
"""


def why_not() -> str:
    """Why no such node can be had here; empty where it can."""
    if os.geteuid():
        return "needs root"
    missing = [name for name in ("unshare", "nsenter", "losetup", "blkid", "lsblk") if not shutil.which(name)]
    if missing:
        return f"needs {', '.join(missing)}"
    done = subprocess.run(["unshare", "--mount", "--uts", "true"], capture_output=True, text=True, check=False)
    return f"needs mount namespaces: {done.stderr.strip()}" if done.returncode else ""


class AzureNode:
    """One node; ``run`` runs a command on it.

    Attributes:
        log: its /var/log.
        bin: stand-ins, first in PATH.
    """

    def __init__(self, place: Path, inside: int, tools: Path | None) -> None:
        self.place, self._inside = place, inside
        self.log, self.bin = place / "log", place / "bin"
        self.bin.mkdir()
        self._loops: list[str] = []
        found = [self.bin] + ([tools / "sbin", tools / "usr/sbin"] if tools else [])
        self._environment = {
            "PATH": os.pathsep.join([*map(str, found), "/usr/sbin", "/usr/bin", "/sbin", "/bin"]),
            "LC_ALL": "C.UTF-8",
        }
        if tools:
            libraries = (tools / "usr/lib/x86_64-linux-gnu", tools / "lib/x86_64-linux-gnu")
            self._environment["LD_LIBRARY_PATH"] = os.pathsep.join(map(str, libraries))

    def command(self, *words: str) -> list[str]:
        """The command line that runs ``words`` there."""
        return ["nsenter", f"--target={self._inside}", "--mount", "--uts", "--", *words]

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs a command there, with ``more`` in its environment."""
        return subprocess.run(
            self.command(*words),
            env={**self._environment, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """Starts one that is to be ended."""
        return subprocess.Popen(
            self.command(*words),
            env={**self._environment, **more},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def stand_in(self, name: str, script: str) -> None:
        """Puts a program on its PATH."""
        file = self.bin / name
        file.write_text(f"#!/bin/bash\n{script}")
        file.chmod(0o755)

    def words(self, log: str) -> list[str]:
        """The words of the lines of a status file, each line being ``TIME WORD``."""
        lines = (self.log / f"{log}.status").read_text().splitlines()
        return [line.partition(" ")[2] for line in lines]

    def disk(self, size: int = 320 * MIB, model: str = LOCAL, content: bytes = b"", at: int = 0) -> Path:
        """Adds an NVMe disk and returns the file behind it.

        Args:
            size: in bytes.
            model: of its controller.
            content: that it holds already.
            at: byte where that begins; counted from the end where negative.
        """
        number = len(self._loops)
        file = self.place / f"disk{number}"
        with file.open("wb") as stream:
            stream.truncate(size)
            stream.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
            stream.write(content)
        return self.attach(file, model)

    def attach(self, file: Path, model: str = LOCAL) -> Path:
        """Adds a disk with what a file holds."""
        number = len(self._loops)
        made = subprocess.run(["losetup", "--find", "--show", file], capture_output=True, text=True, check=True)
        loop = made.stdout.strip()
        self._loops.append(loop)
        device = Path(loop).stat().st_rdev
        controller = f"/sys/class/nvme/nvme{number}"
        node = f"/dev/nvme{number}n1"
        script = f"mkdir -p {controller}/nvme{number}n1; echo '{model}' >{controller}/model; mknod {node} b {os.major(device)} {os.minor(device)}"
        assert self.run("bash", "-ec", script).returncode == 0
        return file

    def close(self) -> None:
        """Takes its disks away."""
        self.run("umount", "--lazy", "/mnt/resource_nvme")
        for loop in self._loops:
            subprocess.run(["losetup", "--detach", loop], capture_output=True, check=False)


@contextlib.contextmanager
def azure_node(place: Path, tools: Path | None = None) -> Iterator[AzureNode]:
    """A node in namespaces of its own.

    Args:
        place: an empty folder for what it keeps.
        tools: where mdadm, xfsprogs and cloud-init are unpacked.
    """
    holder = subprocess.Popen(
        ["unshare", "--mount", "--uts", "bash", "-c", _PREPARE, "prepare", str(place), str(SCRIPTS)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "ready\n", "the node could not be prepared"
        node = AzureNode(place, holder.pid, tools)
        try:
            yield node
        finally:
            node.close()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
