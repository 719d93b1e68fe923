"""Hundreds of nodes by ssh on one machine: as many names of a few real sshds, two of them dead, and the logs of healthy nodes."""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.app.azure.node_health import gather_command
from support.ssh_hosts import ssh_hosts
from support.stand_ins import DATA

if TYPE_CHECKING:
    from collections.abc import Iterator

_SSHDS = 4
#: Nobody is at the address of the first one; the second one has another host key than the one that is known.
DEAD = ("n0007", "n0100")


@dataclass(frozen=True)
class ManyNodes:
    """Names that ssh knows.

    Attributes:
        names: ``n0000`` …
        config: of ssh.
        health_command: prints the logs of a healthy node with eight GPUs, packed as a node packs them.
    """

    names: tuple[str, ...]
    config: Path
    health_command: str


@contextlib.contextmanager
def many_nodes(folder: Path, count: int) -> Iterator[ManyNodes]:
    """So many nodes, at least 101, until the block ends."""
    with ssh_hosts(folder, _SSHDS) as hosts:
        for host in range(_SSHDS):
            hosts.kill(host)
        with (folder / "sshd_config").open("a") as settings:
            settings.write("MaxStartups 500\n")
        for host in range(_SSHDS):
            hosts.sshd(host)
        names = tuple(f"n{number:04d}" for number in range(count))
        address = {name: hosts.address(number % _SSHDS) for number, name in enumerate(names)}
        address[DEAD[0]] = f"{hosts.network}.77"
        more = {DEAD[1]: "  HostKeyAlias another\n"}
        each = "".join(f"Host {name}\n  HostName {address[name]}\n{more.get(name, '')}" for name in names)
        common = hosts.config.read_text().partition("Host *")[2]
        (folder / "many").write_text(f"{each}Host *{common}")
        yield ManyNodes(names, folder / "many", _healthy(folder / "node"))


def _healthy(root: Path) -> str:
    log = root / "var/log"
    log.mkdir(parents=True)
    written = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    (log / "aznhc-health.log").write_bytes((DATA / "aznhc/recorded/healthy.log").read_bytes())
    diagnostic = (DATA / "dcgm/v4_r2_healthy.json").read_text("utf-8")
    (log / "dcgmi-diag.log").write_text(f"dcgmi diag -r 2 -j\n{diagnostic}\nexit status: 0\n")
    for name, word in (("aznhc-health.log", "passed"), ("dcgmi-diag.log", "passed"), ("node-health.log", "healthy")):
        (log / f"{name}.status").write_text(f"{written} {word}\n")
    return gather_command().replace("--directory=/ ", f"--directory={root} ")
