"""Hosts that are reached by ssh: network, host name and mount namespaces on one bridge, a real sshd in each.

Nothing of the machine's own ssh is read or written: keys, host keys and configuration are made for the test, and what a host mounts
only that host sees. Everything has one prefix and is gone at the end.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SSHD = "/usr/sbin/sshd"
#: Hosts of one process: neither they nor those of another one meet.
_NUMBER = itertools.count()


def why_not() -> str:
    """Why there can be no such hosts here; empty when there can."""
    if os.geteuid():
        return "network namespaces need root"
    missing = [name for name in ("ip", "ssh", "ssh-keygen", "unshare", "mpiexec") if not shutil.which(name)]
    missing += [] if Path(SSHD).exists() else ["sshd"]
    return f"no {', '.join(missing)}: bash tests/system/cluster/install.sh" if missing else ""


@dataclass
class Hosts:
    """``count`` namespaces, called ``node0`` … by ssh and ``inner0`` … by themselves.

    Attributes:
        folder: keys, configurations and logs.
        prefix: of the names of its network namespaces.
        network: first three numbers of its addresses.
        count: how many.
        started: what was started inside, by host.
    """

    folder: Path
    prefix: str
    network: str
    count: int
    started: dict[int, list[subprocess.Popen[bytes]]] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The ssh configuration that knows them."""
        return self.folder / "ssh_config"

    @property
    def env(self) -> dict[str, str]:
        """What a submission to them is started with."""
        return {
            "HPCACCEPT_LAUNCHER": "hosts",
            "OMPI_MCA_plm_rsh_agent": f"ssh -F {self.config}",
            "OMPI_MCA_pml": "ob1",
        }

    def address(self, host: int) -> str:
        """IPv4 address of a host."""
        return f"{self.network}.{host + 1}"

    def spawn(
        self, host: int, command: Sequence[str], setup: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command inside a host, after a piece of shell as its root; both in mount and name spaces of its own."""
        inside = f"hostname inner{host}; mount -t tmpfs tmpfs /run; mkdir -m 755 /run/sshd; {setup}\nexec {shlex.join(command)}"
        log = (self.folder / f"host{host}.log").open("ab")
        with log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", f"{self.prefix}{host}", "unshare", "--mount", "--uts", "sh", "-ec", inside],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
            )
        self.started.setdefault(host, []).append(process)
        return process

    def sshd(self, host: int, setup: str = "") -> None:
        """Start its sshd and wait until it answers."""
        self.spawn(host, [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")], setup)
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.address(host), 22), timeout=1):
                return
            assert time.monotonic() < end, (self.folder / f"host{host}.log").read_text()
            time.sleep(0.02)

    def kill(self, host: int) -> None:
        """The host dies: every process in it ends at once."""
        listed = ["ip", "netns", "pids", f"{self.prefix}{host}"]
        for _ in range(20):
            pids = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            for process in self.started.get(host, ()):
                process.wait(10)
            if not pids:
                return
            time.sleep(0.05)


@contextlib.contextmanager
def network(folder: Path, count: int) -> Iterator[Hosts]:
    """Hosts without anything running in them, on a network that this machine is on too.

    Raises:
        subprocess.CalledProcessError: a command failed; its message is in ``stderr``.
    """
    with _free_network() as addresses:
        yield from _made(folder, count, addresses)


@contextlib.contextmanager
def _free_network() -> Iterator[str]:
    """First three numbers of a network that no other test of this machine has while it is open.

    The kernel refuses no address that a second interface takes: two tests would talk to each other's hosts. A name in the abstract
    name space of UNIX sockets has one owner, and none once that process is gone.
    """
    first = os.getpid()
    for number in range(512):  # of 198.18.0.0/15, which RFC 2544 keeps for such networks
        place = (first + number) % 512
        with socket.socket(socket.AF_UNIX) as owner:
            try:
                owner.bind(f"\0hpcaccept-test-network-{place}")
            except OSError:
                continue
            yield f"198.{18 + place // 256}.{place % 256}"
            return
    raise AssertionError("all 512 networks of 198.18.0.0/15 are held by tests that run now")


def _made(folder: Path, count: int, addresses: str) -> Iterator[Hosts]:
    number, pid = next(_NUMBER), os.getpid()
    hosts = Hosts(folder, f"hpcssh-{pid}-{number}-", addresses, count)
    switch, link = f"{hosts.prefix}switch", f"hpc{pid}n{number}"
    spaces = [switch, *(f"{hosts.prefix}{host}" for host in range(count))]
    try:
        for space in spaces:
            _run("ip", "netns", "add", space)
            _in(space, "ip", "link", "set", "lo", "up")
        _in(switch, "ip", "link", "add", "bridge", "type", "bridge")
        _in(switch, "ip", "link", "set", "bridge", "up")
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", "uplink", "netns", switch)
        _in(switch, "ip", "link", "set", "uplink", "master", "bridge", "up")
        _run("ip", "address", "add", f"{hosts.network}.254/24", "dev", link)
        _run("ip", "link", "set", link, "up")
        for host, space in enumerate(spaces[1:]):
            _in(switch, "ip", "link", "add", f"port{host}", "type", "veth", "peer", "name", "eth0", "netns", space)
            _in(switch, "ip", "link", "set", f"port{host}", "master", "bridge", "up")
            _in(space, "ip", "address", "add", f"{hosts.address(host)}/24", "dev", "eth0")
            _in(space, "ip", "link", "set", "eth0", "up")
        yield hosts
    finally:
        for host in range(count):
            with contextlib.suppress(subprocess.CalledProcessError):
                hosts.kill(host)
        for space in spaces:
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", link], capture_output=True, check=False)


@contextlib.contextmanager
def ssh_hosts(folder: Path, count: int = 4) -> Iterator[Hosts]:
    """The same with a sshd in each, and a configuration that reaches them by a key of their own."""
    for name in ("id", "host_key"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    public = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"hosts {public}")
    (folder / "sshd_config").write_text(
        f"HostKey {folder}/host_key\nAuthorizedKeysFile {folder}/id.pub\nPidFile none\nStrictModes no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nPermitRootLogin yes\n"
        # What the user's own shell does at each log-in (pyenv waits a minute for a lock of one that was killed) is no part of a host.
        f"SetEnv HOME={folder}\n"
    )
    with network(folder, count) as hosts:
        names = "".join(f"Host node{i}\n  HostName {hosts.address(i)}\n" for i in range(count))
        hosts.config.write_text(
            f"{names}Host *\n  IdentityFile {folder}/id\n  IdentitiesOnly yes\n  HostKeyAlias hosts\n"
            f"  UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking yes\n"
        )
        for host in range(count):
            hosts.sshd(host)
        yield hosts


def _in(space: str, *command: str) -> None:
    _run("ip", "netns", "exec", space, *command)


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)
