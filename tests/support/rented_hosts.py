"""Rented machines of the loopback marketplace that let in by ssh: each runs its start command in name spaces of its own.

``/srv`` there is a folder of the test, process numbers are its own, and the port of its ``sshd`` is a free one of this machine. What ends one
kills everything in it at once, as a machine that loses its power does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.vast_machines import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

_INSIDE = """set -e
mount --bind "$1" /srv
mount -t tmpfs tmpfs /run
mount -t proc proc /proc
hostname "$2"
exec bash -c "$3"
"""


def why_not() -> str:
    """Why there can be no such machines here; empty when there can."""
    if os.geteuid():
        return "name spaces need root"
    missing = [name for name in ("rsync", "ssh", "ssh-keygen", "unshare") if not shutil.which(name)]
    missing += [] if Path("/usr/sbin/sshd").exists() else ["sshd"]
    return f"no {', '.join(missing)}: bash tests/system/cluster/install.sh" if missing else ""


@dataclass
class RentedHosts:
    """Processes by instance.

    Attributes:
        folder: where each has its ``/srv``.
        processes: by instance.
        onstarts: what each was started with.
    """

    folder: Path
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    onstarts: dict[int, str] = field(default_factory=dict)

    def start(self, instance: dict[str, Any]) -> tuple[int, Callable[[], None]]:
        """Run an instance's start command, with its port mapped to a free one of this machine."""
        identity = instance["id"]
        home = self.folder / str(identity)
        home.mkdir(parents=True)
        port = free_port()
        command = instance["onstart"].replace("-p 5000", f"-p {port} -o ListenAddress=127.0.0.1")
        assert command != instance["onstart"]
        self.onstarts[identity] = instance["onstart"]
        with (home / "onstart.log").open("wb") as log:
            self.processes[identity] = subprocess.Popen(
                ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "sh", "-c", _INSIDE, "sh", str(home), f"rented{identity}", command],
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )  # fmt: skip
        return port, lambda: self.kill(identity)

    def kill(self, identity: int) -> None:
        """Everything on it ends at once."""
        process = self.processes[identity]
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait(10)

    def end(self) -> None:
        """Every one of them."""
        for identity in self.processes:
            self.kill(identity)
