"""Writes what is on this node now as a file of what is expected of it. A proposal: who adopts it states that the node is whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.app.node_check.host import clock_state
from hpcaccept.measure.gpu import driver
from hpcaccept.measure.host import host, infiniband

if TYPE_CHECKING:
    from collections.abc import Iterator

#: File systems that other nodes or servers hold.
_REMOTE = frozenset(
    {"nfs", "nfs4", "lustre", "beegfs", "beegfs_nodev", "gpfs", "ceph", "fuse.weka", "wekafs", "cifs", "9p"}
)
_STA_UNSYNC = 0x0040


def expectation(root: Path = Path("/")) -> str:
    """The text of ``node-check.toml`` for a node that is like this one."""
    return "\n".join(_lines(root)) + "\n"


def _lines(root: Path) -> Iterator[str]:
    yield f"# What hpcaccept node-check found on {host.hostname()}. Read it: from now on a node without one of these is not fit."
    yield from _gpus()
    online = host.parse_cpu_list(host.kernel_text(root / "sys/devices/system/cpu/online"))
    if online:
        yield f"cores = {len(online)}"
    if total := host.parse_mem_total(host.kernel_text(root / "proc/meminfo")):
        yield f"memory_bytes = {total}"
    yield from _links(root)
    yield from _clock()
    yield "deep = false  # true once the timer of hpcaccept node-check --deep runs"
    for mount in host.parse_mounts(host.kernel_text(root / "proc/self/mountinfo")):
        if mount.kind in _REMOTE:
            yield ""
            yield f"[mounts.{_quoted(mount.point)}]"
            yield f"kind = {_quoted(mount.kind)}"
            yield f"source = {_quoted(mount.source)}"
    for place in ("/", "/tmp"):
        yield ""
        yield f"[disks.{_quoted(place)}]"
        yield f"free_bytes = {1 << 30}"


def _gpus() -> Iterator[str]:
    vendor = driver.installed()
    try:
        with vendor.open() as opened:
            found = opened.list()
            links = _nvlinks(opened, found)
    except driver.DriverMissing as missing:
        yield f"# GPUs cannot be counted: {missing.cause}"
        yield "gpus = 0"
        return
    yield f"gpus = {len(found)}" + (
        "" if all(gpu.state == "ok" for gpu in found) else "  # not all of them are healthy now"
    )
    models = {gpu.name for gpu in found if gpu.name}
    if len(models) == 1:
        yield f"gpu_model = {_quoted(models.pop())}"
    if links:
        yield f"nvlinks = {links}"


def _nvlinks(opened: driver.GpuDriver, found: tuple[driver.Gpu, ...]) -> int:
    """Active links of the GPU that has most."""
    handles = [opened.open(gpu) for gpu in found if gpu.state == "ok"]
    states = [handle.counters() for handle in handles if not isinstance(handle, driver.NoAnswer)]
    return max((sum(link.active for link in state.links) for state in states), default=0)


def _links(root: Path) -> Iterator[str]:
    ports = infiniband.ports(infiniband.adapters(root, counters=False))
    active = [port for port in ports.values() if port.active]
    if active:
        yield f"ports = [{', '.join(_quoted(port.name) for port in active)}]"
    rates = {port.rate_bits / 1e9 for port in active if port.link_layer == "InfiniBand" and port.rate_bits}
    if rates:
        yield f"rate_gbit = {min(rates):g}"
    up = [name for name, interface in infiniband.interfaces(root).items() if interface.up]
    if up:
        yield f"interfaces = [{', '.join(_quoted(name) for name in up)}]"


def _clock() -> Iterator[str]:
    try:
        unheld = bool(clock_state()[1] & _STA_UNSYNC)
    except OSError:
        unheld = True
    yield (
        "clock = false  # nothing holds the clock of this node now: true once a time daemon does"
        if unheld
        else "clock = true"
    )


def _quoted(text: str) -> str:
    """As TOML writes a string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", escaped) + '"'
