"""The VMs of a test: a real sshd in a network namespace for each, with a host key, a user and a home folder of its own.

A port of this machine leads to each, as a port of the load balancer does; Azure's agent is a shell inside the namespace.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from support.ssh_hosts import SSHD, Hosts, network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.arm_server import ArmServer

ADMIN = "azureuser"


@dataclass
class Vms:
    """Nodes ``vm-000000`` …

    Attributes:
        hosts: their namespaces.
        folder: of everything that belongs to them.
    """

    hosts: Hosts
    folder: Path

    @staticmethod
    def name(index: int) -> str:
        """Its host name."""
        return f"vm-{index:06d}"

    def home(self, index: int) -> Path:
        """Home folder of the administrator there."""
        return self.folder / self.name(index)

    def log(self, index: int) -> Path:
        """Its ``/var/log``."""
        return self.folder / f"log{index}"

    def start(self, index: int, authorized: str) -> None:
        """Boot: its administrator lets this key in. A second boot has another host key."""
        home, etc = self.home(index), self.folder / f"etc{index}"
        (home / ".ssh").mkdir(parents=True, exist_ok=True)
        (home / ".ssh/authorized_keys").write_text(f"{authorized}\n")
        etc.mkdir(exist_ok=True)
        key = etc / "ssh_host_ed25519_key"
        self.log(index).mkdir(exist_ok=True)
        for file in etc.iterdir():
            file.unlink()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        (etc / "ssh_config").write_text("")
        (etc / "sshd_config").write_text(
            f"HostKey {key}\nPidFile none\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
            f"PermitRootLogin yes\nMaxStartups 200\nSetEnv PATH={home}:/usr/sbin:/usr/bin:/sbin:/bin\n"
        )
        (self.folder / f"passwd{index}").write_text(
            f"root:x:0:0::{home}:/bin/sh\n{ADMIN}:x:0:0::{home}:/bin/sh\nsshd:x:101:65534::/run/sshd:/bin/false\n"
        )
        names = "".join(f"{self.hosts.address(i)} {self.name(i)}\n" for i in range(self.hosts.count))
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        setup = (
            f"hostname {self.name(index)}; mount --bind {self.folder}/passwd{index} /etc/passwd; "
            f"mount --bind {self.folder}/hosts /etc/hosts; mount --bind {etc} /etc/ssh; mount --bind {self.log(index)} /var/log"
        )
        self.hosts.spawn(index, [SSHD, "-D", "-e", "-f", "/etc/ssh/sshd_config"], setup)
        wait_for(self.hosts.address(index), 22)

    def run(self, name: str, script: list[str]) -> str:
        """What Azure's agent does: a script as root on a VM. Hyper-V and the metadata service, which are not below it, are made up."""
        index = int(name.rpartition("-")[2])
        process = self.hosts.started[index][-1]
        inside = ["nsenter", "-t", str(process.pid), "-m", "-n", "-u", "sh", "-c", "\n".join(script)]
        said = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=30).stdout
        return said.replace(":host \n", f":host BN-{name}\n").replace(":size \n", ":size Standard_D2s_v5\n")

    def kill(self, index: int) -> None:
        """The VM is gone."""
        self.hosts.kill(index)


def wait_for(address: str, port: int) -> None:
    """Until something listens there."""
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"nothing listens at {address}:{port}")


@contextlib.contextmanager
def azure_vms(folder: Path, server: ArmServer, count: int) -> Iterator[Vms]:
    """Namespaces for so many VMs, known to the server by address and port; nothing runs in them yet."""
    with network(folder, count) as hosts, contextlib.ExitStack() as doors:
        vms = Vms(hosts, folder)
        for index in range(count):
            server.addresses[index] = hosts.address(index)
            server.ports[index] = doors.enter_context(_door(hosts.address(index)))
        server.run_script = vms.run
        yield vms


@contextlib.contextmanager
def _door(address: str) -> Iterator[int]:
    """A port of this machine that leads to port 22 of a VM."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    closing = threading.Event()

    def accept() -> None:
        while not closing.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = listener.accept()
                client.settimeout(None)
                threading.Thread(target=_join, args=(client, address), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        closing.set()
        thread.join(5)
        listener.close()


def _join(client: socket.socket, address: str) -> None:
    with contextlib.suppress(OSError), client, socket.create_connection((address, 22), timeout=5) as server:
        server.settimeout(None)
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join(30)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
