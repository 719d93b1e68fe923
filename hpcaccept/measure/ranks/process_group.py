"""How is ``torch.distributed`` opened over ranks that MPI already knows?

MPI gives rank, size and a way to agree; nothing else is needed: no elastic launcher, no ``MASTER_ADDR``, no fixed port.
Rank 0 opens a ``TCPStore`` on a port that the kernel picks, MPI tells the others, each tries which of rank 0's
addresses it can reach, and all agree before anyone waits. Traps: Debian's hosts file gives a host its name as 127.0.1.1; names of
virtual nodes do not resolve at all; gloo binds to whatever the host name resolves to unless it is told an interface; a
rank that closes early breaks the last collective of the others.

NCCL reads its settings once per process, when it is first used: it is told to write its log by the first group that is
opened, and writes all later ones into the same file.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.measure.device import open_device
from hpcaccept.transport.network import interface_of, own_addresses, reachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

_LOOPBACK = "127.0.0.1"
#: Which interface gloo binds to. https://docs.pytorch.org/docs/stable/distributed.html#common-environment-variables
_GLOO = "GLOO_SOCKET_IFNAME"


#: What makes NCCL say how it connects ranks. The channels belong to INIT or, since 2.27, to the transports' own subsystems.
#: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html#nccl-debug
_NCCL = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,ENV,NET,P2P,SHM,NVLS"}
_NCCL_FILE = "NCCL_DEBUG_FILE"
#: Of a log, from its beginning: a rank of a large job writes some 100 KB.
_MOST_LOG_BYTES = 16 << 20


class NoRendezvousError(RuntimeError):
    """Some ranks cannot reach rank 0 over TCP. A retry cannot help; the network or its names have to change."""


@contextlib.contextmanager
def process_group(
    device: str,
    rank: int,
    size: int,
    bcast: Callable[[Any], Any],
    allgather: Callable[[Any], list[Any]],
    *,
    shared_kernel: bool,
    timeout_s: float = 600.0,
    log_folder: Path | None = None,
) -> Iterator[str]:
    """``torch.distributed`` over all ranks while open; gives the backend: ``nccl`` on CUDA, ``gloo`` on a CPU.

    All ranks must enter and leave together. Leaving waits for the others, unless an exception is on its way.

    Args:
        device: what torch is given; made current.
        rank: of this process.
        size: number of ranks.
        bcast: rank 0's thing for everyone, over MPI.
        allgather: the thing of every rank, over MPI.
        shared_kernel: all ranks are on one kernel: where they share its network too, the loopback interface is used, whatever
            their nodes are called.
        timeout_s: after which a collective that hangs becomes an error.
        log_folder: where NCCL is to write its log, None for nowhere.

    Raises:
        NoRendezvousError: on all ranks alike, when one of them cannot reach rank 0.
    """
    import torch.distributed as dist

    wait = dt.timedelta(seconds=timeout_s)
    target = open_device(device)
    target.select()
    backend = "nccl" if target.kind == "cuda" else "gloo"
    if backend == "nccl" and log_folder is not None:
        log_nccl(log_folder, rank, os.environ)
    # Containers and namespaces of one kernel may each have a loopback of their own.
    alone = shared_kernel and len(set(allgather(_network()))) == 1
    addresses = [_LOOPBACK] if alone else own_addresses()
    server = (
        dist.TCPStore(_LOOPBACK, 0, size, is_master=True, timeout=wait, wait_for_workers=False) if rank == 0 else None
    )
    addresses, port = bcast((addresses, server.port if server else 0))
    mine = reachable(addresses, port)
    reached = allgather(mine[0] if mine else "")
    if "" in reached:
        blind = [r for r, address in enumerate(reached) if not address]
        raise NoRendezvousError(f"ranks {blind} cannot reach rank 0 at any of {addresses}, port {port}")
    used, local = mine or ("", "")
    # Rank 0 binds where the others found it, not where it finds itself.
    interface = interface_of(reached[-1] if rank == 0 else local)
    store = server or dist.TCPStore(used, port, size, is_master=False, timeout=wait, wait_for_workers=False)
    with _environment(_GLOO, interface):  # until the end: groups of some of the ranks read it again
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=wait)
        try:
            yield backend
            target.synchronize()
            allgather(rank)
        finally:
            dist.destroy_process_group()


def log_nccl(folder: Path, rank: int, environ: MutableMapping[str, str]) -> None:
    """Tell NCCL to write its log into a file of this rank; whatever the user has set stays."""
    for name, value in (*_NCCL.items(), (_NCCL_FILE, str(folder / f"nccl.r{rank:06d}.%h.%p.log"))):
        environ.setdefault(name, value)


def nccl_log(environ: Mapping[str, str]) -> tuple[str, str]:
    """What NCCL has logged in this process so far, and from which file; an empty text where there is none."""
    name = environ.get(_NCCL_FILE, "")
    # As NCCL does it: %h is the host name up to its first dot. https://github.com/NVIDIA/nccl, src/debug.cc
    name = name.replace("%h", os.uname().nodename.partition(".")[0]).replace("%p", str(os.getpid()))
    try:
        with Path(name).open("rb") as file:
            return file.read(_MOST_LOG_BYTES).decode(errors="replace"), name
    except OSError:
        return "", name


def _network() -> str:
    """Names the network that this process sees of its kernel; empty where nobody knows."""
    try:
        return str(Path("/proc/self/ns/net").readlink())
    except OSError:
        return ""


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable while open; what the user has set stays."""
    if not value or name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
