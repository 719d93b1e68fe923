"""Which TCP ports are free, and does somebody listen yet?"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from .daemons import ClusterError


def free_ports(count: int) -> list[int]:
    """Different TCP ports that nobody listens on now, below the range the kernel takes for outgoing connections.

    A port from bind(0) would be in that range: an MPI job's connection may sit on it when slurmd restarts.
    """
    ports: list[int] = []
    first = 20_000 + os.getpid() * 16 % 10_000
    for port in (*range(first, 32_000), *range(20_000, first)):
        if len(ports) == count:
            return ports
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Slurm does; a listener still refuses
            try:
                probe.bind(("", port))
            except OSError:
                continue
        ports.append(port)
    raise ClusterError(f"no {count} free TCP ports between 20000 and 32000")


def answers(path: Path) -> bool:
    """True if somebody listens on this UNIX socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def listening(port: int) -> bool:
    """True if some process of the machine listens on this TCP port (proc_net(5): state 0A)."""
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()]
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in lines)
