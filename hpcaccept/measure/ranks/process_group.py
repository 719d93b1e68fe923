"""Opens ``torch.distributed`` over ranks that MPI already knows.

MPI gives rank, size and a way to agree; nothing else is needed: no elastic launcher, no ``MASTER_ADDR``, no fixed port.
Rank 0 listens on ports that the kernel picks, MPI tells the others these and a secret, each tries which of rank 0's
addresses it can reach and proves the secret there, and all agree before anyone waits. Then a ``TCPStore`` takes over the one listening
socket that all have reached, which hears only their hosts (``transport.rendezvous``). Traps: Debian's hosts file gives a host its name as 127.0.1.1; names of
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
from hpcaccept.measure.ranks.flight_recorder import recorded
from hpcaccept.transport.network import interface_of, own_addresses
from hpcaccept.transport.rendezvous import doors, knock, new_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

_LOOPBACK = "127.0.0.1"
#: Which interface gloo binds to. https://docs.pytorch.org/docs/stable/distributed.html#common-environment-variables
_GLOO = "GLOO_SOCKET_IFNAME"
#: And NCCL, for what ranks say to each other first. Told only where all of them are on one machine: between machines it also decides
#: over which network data go where there is no InfiniBand, and that is the site's to say.
#: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html#nccl-socket-ifname
_NCCL_SOCKET = "NCCL_SOCKET_IFNAME"


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
    store, local = _meet(addresses, rank, size, bcast, allgather, wait)
    interface = interface_of(local)
    # Until the end: groups of some of the ranks read it again.
    with _environment(_GLOO, interface), _environment(_NCCL_SOCKET, interface if alone else ""):
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=wait)
        try:
            with recorded(backend):
                yield backend
                target.synchronize()
            allgather(rank)
        finally:
            dist.destroy_process_group()


def _meet(
    addresses: list[str],
    rank: int,
    size: int,
    bcast: Callable[[Any], Any],
    allgather: Callable[[Any], list[Any]],
    wait: dt.timedelta,
) -> tuple[Any, str]:
    """A store that only the hosts of the ranks can reach, and the address of this rank on the way to it."""
    import torch.distributed as dist

    with contextlib.ExitStack() as open_doors:
        secret = new_secret() if rank == 0 else b""
        mine_to_open = open_doors.enter_context(doors(addresses, secret)) if rank == 0 else None
        places, secret = bcast((mine_to_open.places if mine_to_open else [], secret))
        mine = knock(places, secret)
        reached = allgather(mine[0] if mine else "")
        if "" in reached:
            blind = [r for r, address in enumerate(reached) if not address]
            raise NoRendezvousError(f"ranks {blind} cannot reach rank 0 at any of {places}")
        used, local = mine or ("", "")
        common = used if len(set(reached)) == 1 else ""
        server, port = None, 0
        if mine_to_open:
            handed, port = mine_to_open.hand_over(common)
            server = dist.TCPStore(
                used, port, size, is_master=True, timeout=wait, wait_for_workers=False, master_listen_fd=handed
            )
        port = bcast(port)
    store = server or dist.TCPStore(used, port, size, is_master=False, timeout=wait, wait_for_workers=False)
    # Rank 0 binds where the others found it, not where it finds itself.
    return dist.PrefixStore(secret.hex(), store), reached[-1] if rank == 0 else local


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
