"""Verifies that the machine has what a GPU marketplace demands, before anything is measured."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hpcaccept.config.toml import read_toml
from hpcaccept.measure.gpu import driver
from hpcaccept.measure.gpu.driver import Gpu, GpuDriver, NoAnswer
from hpcaccept.measure.host import host
from hpcaccept.measure.host.shared_cores import CoreShare, cores_together
from hpcaccept.model.check import Check, CheckContext
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Limit, Metric

TABLE = Path(__file__).with_name("requirements.toml")
#: Those that speak of GPUs: without a request for GPUs they make no sense.
_OF_GPUS = ("gpu_models", "free_memory_share", "gpu_memory_bytes", "memory_share", "cores_per_gpu", "cuda_version")


def _metric(name: str, rule: dict[str, Any]) -> Metric:
    limit = Limit(
        rule.get("lower"), rule.get("upper"), rule["unit"], "built-in", f"{rule['source']}, read {rule['date']}"
    )
    return Metric(
        name, rule["unit"], rule["direction"], rule["help"], title=rule["title"], formula=rule["formula"], source=rule["source"],
        scope="node", statistic="worst", limit=limit, required=False, code=FindingCode.REQUIREMENT_MISSED,
    )  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What the driver said when the run began.

    Attributes:
        gpus: that the job may see.
        used: share of its memory that is in use, by number of the GPU; a text where that is not known.
        cuda: newest CUDA of the driver (12040 is 12.4); None when it does not say.
        why: why the driver could not be asked; empty when it could.
    """

    gpus: tuple[Gpu, ...] = ()
    used: tuple[tuple[int, float | str], ...] = ()
    cuda: int | None = None
    why: str = ""


@dataclass(frozen=True)
class Requirements(Check):
    """The rules by which marketplaces accept a machine: one GPU model, free memory, RAM, cores, disk, CUDA.

    How: the rules stand in ``requirements.toml`` beside this check, each with its limit, source and date; every rule is one metric,
    and a suite overrides its limit as any other. GPU memory is read from the driver **when the run begins**, before any
    check uses it: torch's own counter knows only its own memory. What the driver reserves for itself does not count as used.
    RAM and cores are what the job may use, cgroups and binding included; the memory of all GPUs is that of the GPUs asked for,
    not of those that happen to be visible.

    Without a driver where GPUs were asked for, ``gpu_models`` is 0 and the fact ``gpus`` says why. Without a request for GPUs only
    the disk is judged.

    What it does not mean: nothing is measured under load. What an offer says of network, ports, reliability and PCIe is judged
    by whoever rents it, or by ``transfers``. On a machine of a stranger all of this is the machine's own claim.

    Parameters:
        disk_path: folder whose file system must have the space.
    """

    name: ClassVar = "requirements"
    revision: ClassVar = 2
    about: ClassVar = "Marketplace rules: one GPU model, free GPU memory, RAM, cores, disk and CUDA version."
    on_device: ClassVar = False
    usual_s: ClassVar = 20
    metrics: ClassVar = tuple(_metric(name, rule) for name, rule in read_toml(TABLE).items())

    disk_path: str = "/"

    def begin(self, ctx: CheckContext) -> Seen | None:
        """GPU memory before any check uses some."""
        return _ask() if ctx.local_rank == 0 and ctx.gpus_asked > 0 else None

    def measure(self, ctx: CheckContext) -> Any:
        """All rules but the one on cores; for that, which cores this rank may use."""
        if ctx.local_rank == 0:
            self._disk(ctx)
            if ctx.gpus_asked > 0:
                self._gpus(ctx, ctx.begun)
            else:
                for name in _OF_GPUS:
                    ctx.unsupported(name, "no GPU was asked for")
        cores = sorted(host.physical_cores(host.affinity()))
        return {"node": ctx.node, "cores": cores, "quota": host.cpu_quota(), "group": host.cgroup()}

    def compare(self, ctx: CheckContext, kept: Any) -> None:
        """Cores that the ranks of this node have together."""
        if ctx.gpus_asked <= 0:
            return
        mine = [k for k in ctx.allgather(kept) if k is not None and k["node"] == ctx.node]
        if ctx.local_rank == 0 and mine:
            shares = [CoreShare(frozenset(k["cores"]), k["group"], k["quota"]) for k in mine]
            ctx.emit("cores_per_gpu", cores_together(shares) / ctx.gpus_asked)

    def _disk(self, ctx: CheckContext) -> None:
        try:
            found = os.statvfs(self.disk_path)
        except OSError as fault:
            ctx.unsupported("disk_free_bytes", f"{self.disk_path}: {fault.strerror}")
        else:
            ctx.emit("disk_free_bytes", found.f_bavail * found.f_frsize)

    def _gpus(self, ctx: CheckContext, seen: Seen) -> None:
        healthy = [gpu for gpu in seen.gpus if gpu.state == "ok"]
        ctx.emit("gpu_models", len({gpu.name for gpu in healthy}))
        named = ", ".join(sorted({gpu.name or "without a name" for gpu in healthy}))
        ctx.fact("gpus", seen.why or f"{len(healthy)} healthy of {len(seen.gpus)} visible: {named or 'none'}")
        for number, used in seen.used:
            if isinstance(used, str):
                ctx.unsupported(f"free_memory_share[GPU {number}]", used)
            else:
                ctx.emit("free_memory_share", 1 - used, f"GPU {number}")
        sizes = [gpu.memory_bytes for gpu in healthy if gpu.memory_bytes]
        if sizes:
            ctx.emit("gpu_memory_bytes", min(sizes))
            # A GPU that is gone still has its share of the RAM: the request counts.
            ctx.emit("memory_share", host.memory_bytes() / (max(sizes) * max(ctx.gpus_asked, len(seen.gpus))))
        if seen.cuda is not None:
            ctx.emit("cuda_version", seen.cuda)
        lacking = {"gpu_memory_bytes": not sizes, "memory_share": not sizes, "cuda_version": seen.cuda is None}
        for name in (name for name, lacks in lacking.items() if lacks):
            ctx.unsupported(name, seen.why or "the driver does not say")


def _ask() -> Seen:
    try:
        vendor = driver.installed()
        with vendor.open() as opened:
            seen = vendor.visible(opened.list(), vendor.wanted())
            # A GPU stands once for each of its partitions that was named; its memory is there once.
            gpus = tuple({gpu.index: gpu for gpu in seen}.values())
            used = tuple((gpu.index, _used(opened, gpu)) for gpu in gpus)
            return Seen(gpus, used, _number(opened.versions().get("cuda_driver")))
    except driver.DriverMissing as missing:
        return Seen(why=f"{missing.cause}. {missing.remedy}")


def _used(opened: GpuDriver, gpu: Gpu) -> float | str:
    """Share of a GPU's memory that is in use, or why that is not known."""
    found = opened.open(gpu)
    if isinstance(found, NoAnswer):
        return found.why
    used, total = found.telemetry("memory_used"), found.telemetry("memory_total")
    for answer in (used, total):
        if isinstance(answer, NoAnswer):
            return answer.why
    assert not isinstance(used, NoAnswer)
    assert not isinstance(total, NoAnswer)
    if not total:
        return "the driver says that it has no memory"
    if not 0 <= used <= total:
        return f"the driver says that {used:.0f} of {total:.0f} bytes are in use, which cannot be"
    return used / total


def _number(version: str | None) -> int | None:
    """12040 from ``12.4``: so that 12.10 is newer than 12.9."""
    if version is None:
        return None
    major, _, minor = version.partition(".")
    return int(major) * 1000 + int(minor or 0) * 10
