"""Identifies this node, and verifies that everything requested is there."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hpcaccept import __version__
from hpcaccept.measure.gpu import driver
from hpcaccept.measure.host import host, hyperv, infiniband
from hpcaccept.model.check import Check, CheckContext
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.measure.gpu.driver import Gpu, Vendor

#: Facts that rightly differ from node to node; all others should be alike throughout a run.
UNIQUE_FACTS = frozenset({"hostname", "boot_id", "gpu_uuid", "gpu_serial", "gpu_pci_bus_id", "gpus", "physical_host"})


@dataclass(frozen=True)
class Identity(Check):
    """Whether every GPU that was asked for is there, how much of the host may be used, and which versions are at work.

    How: the GPUs come from the driver, not from torch, because a GPU that fell off the bus must be named and not
    just be absent. Counted are those that the driver calls healthy and that this job may see: the driver ignores
    ``CUDA_VISIBLE_DEVICES``, so its rules are applied here. A run that asks for slices (``1g.10gb:28``) counts slices.
    No torch, no CUDA and no MPI call is made.

    Where GPUs were asked for and there is no driver to ask, ``gpu_count`` is 0. In every case the fact ``gpus`` says in
    one sentence what was counted and what was not. Where none were asked for, the driver is left alone.

    Node metrics come from the first rank of each node, facts from every rank (``gpu_…``: of its own GPU).

    Facts that should be alike on all nodes:
        kernel, os, cpu_model, python, numpy, hpcaccept: of what the ranks run on; ``os`` is that of the image.
        image, image_digest: the container image (``HPCACCEPT_IMAGE``) and its digest (``HPCACCEPT_IMAGE_DIGEST``, or what stands behind
            ``@sha256:`` in the name); absent without them.
        driver, cuda_driver: version of the GPU driver, and the newest CUDA that it runs.
        confidential_computing: whether it is on, and of which kind.
        imex: channels of this node and members of its IMEX domain, where GPUs of several nodes share memory (NVL72).
        gpu_fabric: cluster and clique of this rank's GPU in such a fabric: only GPUs of one clique reach each other.
        torch, cuda: as torch's installed files say, without importing it: its version, and the CUDA it was built for.
            Without that line, ``cuda`` is the installed wheel of the CUDA runtime.
        nccl: the installed wheel ``nvidia-nccl-cu…``, else what NVIDIA's images say in ``NCCL_VERSION``. What a process
            has really loaded is a fact of the check that uses it.
        mpi: what the MPI library calls itself; absent where MPI was not started.
        gpus_per_node: how many were asked for on each node.
        gpu_model, vbios, gpu_power_limit_w, gpu_memory_gib, ecc_mode, mig_mode: of this rank's GPU; the power limit is the enforced one.
        product, board, bios, microcode: firmware of the host (DMI tables, ``/proc/cpuinfo``); serial numbers are left out.
        os_image: which build of an image the system is, where it says so.
        nic_firmware, ofed: models, firmware and boards of the RDMA adapters with their counts; version of NVIDIA's network driver
            where it is not the kernel's own.
        numa, smt, cpu_governor, huge_pages: how processors and memory are set up.
        locked_memory, shared_memory: how much memory a rank may lock (RDMA needs it), and the size of ``/dev/shm`` (NCCL and data loaders
            need it), to two digits.

    Facts that differ (``UNIQUE_FACTS``): hostname, boot_id, gpu_uuid, gpu_serial, gpu_pci_bus_id, gpus; physical_host (the machine
    below a VM of Azure, where Hyper-V names it: a report of a broken one needs its name from before any reboot).

    What it does not mean: a counted GPU answers its driver. Whether it computes rightly is for the other checks.
    """

    name: ClassVar = "identity"
    revision: ClassVar = 1
    about: ClassVar = "Every GPU that was asked for is there; cores, memory, serial numbers and versions."
    on_device: ClassVar = False
    unique_facts: ClassVar = UNIQUE_FACTS
    usual_s: ClassVar = 20
    metrics: ClassVar = (
        Metric(
            "gpu_count", "GPUs", "exact",
            "Healthy GPUs that the job may see. Too few: read the fact 'gpus', then type 'nvidia-smi -L', "
            "'lspci -d 10de:' and 'dmesg | grep -i xid' on the node.", title="healthy GPUs",
            formula="GPUs in the driver's state ok, of those that CUDA_VISIBLE_DEVICES names (all where it is not set)",
            source="https://docs.nvidia.com/deploy/nvml-api/", scope="node", statistic="worst", required=False,
            code=FindingCode.GPU_MISSING,
        ),
        Metric(
            "gpu_models", "models", "exact",
            "Different GPU models that the job sees on one node: its ranks would wait for the slowest of them.", title="GPU models on the node",
            formula="distinct names that the driver gives the counted GPUs", scope="node", statistic="worst", required=False,
            limit=at_most(1, "models", "the GPUs of one node are of one model"), code=FindingCode.GPU_MODELS_MIXED,
        ),
        Metric(
            "cores", "cores", "higher",
            "Processors (hardware threads) that the ranks of the node may use together, binding and quotas included.", title="CPU threads available",
            formula="processors in the affinity of the node's ranks, or their CPU quota where that is less",
            source="https://docs.kernel.org/admin-guide/cgroup-v2.html", scope="node", peer_floor=0.001,
            noise="counted",
        ),
        Metric(
            "memory_bytes", "B", "higher",
            "Memory that the job may use. Less than on its peers: a missing module, or another limit of the job.", title="memory available",
            formula="MemTotal of the kernel, or the memory limit of the cgroup where that is less",
            source="https://man7.org/linux/man-pages/man5/proc_meminfo.5.html", scope="node", peer_floor=0.02,
            noise="counted",
        ),
        Metric(
            "gpu_partitioned", "GPUs", "exact",
            "A GPU that is divided into slices, or will be after its next reset, where whole ones were asked for. "
            "Undivide it: 'nvidia-smi -mig 0', then reset it; or ask for slices.", title="GPU divided by MIG",
            formula="1 when partitioning is on or pending, 0 when it is off and stays off",
            source="https://docs.nvidia.com/datacenter/tesla/mig-user-guide/", statistic="worst", required=False,
            limit=at_most(0, "GPUs", "a divided GPU gives a program one of its slices"), code=FindingCode.GPU_PARTITIONED,
        ),
        Metric(
            "gpu_memory_bytes", "B", "higher", "Memory of the GPU as its driver gives it, reserved parts included.", title="GPU memory",
            formula="total memory, as the driver gives it", source="https://docs.nvidia.com/deploy/nvml-api/",
            peer_floor=0.005, required=False, noise="counted",
        ),
    )  # fmt: skip

    def measure(self, ctx: CheckContext) -> None:
        """Ask the host, then the driver; see the class."""
        _say(ctx, _host_facts() | _settings() | _software_facts() | image_facts(os.environ))
        if ctx.local_rank == 0:
            ctx.emit("cores", ctx.cores)
            ctx.emit("memory_bytes", host.memory_bytes())
        if ctx.gpus_asked > 0:
            _say(ctx, {"gpus_per_node": str(ctx.gpus_asked)})
            ctx.beat("asking the GPU driver")
            self._gpus(ctx, driver.installed())

    def _gpus(self, ctx: CheckContext, vendor: Vendor) -> None:
        try:
            with vendor.open() as opened:
                _say(ctx, opened.versions())
                found = opened.list()
            why = ""
        except driver.DriverMissing as missing:
            found, why = (), f"{missing.cause}. {missing.remedy}"
        seen = vendor.visible(found, vendor.wanted())
        said = why or account(found, seen, vendor.wanted(), vendor.visible_variable, slices=ctx.slices_asked)
        _say(ctx, {"gpus": said})
        if ctx.local_rank == 0:
            usable = [gpu for gpu in seen if gpu.state == "ok"]
            # A GPU that the job may use whole holds all of its slices.
            slices = [name for gpu in usable for name in gpu.partition_uuids]
            ctx.emit("gpu_count", len(slices) if ctx.slices_asked else len(usable))
            if usable:
                ctx.emit("gpu_models", len({gpu.name for gpu in usable}))
        if ctx.local_rank < len(seen):
            mine = seen[ctx.local_rank]
            _say(ctx, _gpu_facts(mine))
            if mine.state != "ok":
                # Others of the run have these numbers: that this GPU has none is its own doing, not the check's.
                for metric in ("gpu_partitioned", "gpu_memory_bytes"):
                    ctx.unsupported(metric, f"GPU {mine.index} does not answer: {mine.state}")
                return
            if mine.partition_mode is not None and not ctx.slices_asked:
                ctx.emit("gpu_partitioned", float("enabled" in mine.partition_mode))
            if mine.memory_bytes is not None:
                ctx.emit("gpu_memory_bytes", mine.memory_bytes)


def account(
    found: Sequence[Gpu], seen: Sequence[Gpu], wanted: str | None, variable: str, *, slices: bool = False
) -> str:
    """What was counted and what was not, in one sentence for the administrator.

    Args:
        found: what the driver counts.
        seen: what the job sees of it.
        wanted: the value of the variable that hides some of them, None where it is not set.
        variable: its name.
        slices: slices are counted.
    """
    parts = [f"the driver counts {len(found)}"]
    parts += [
        f"GPU {gpu.index}{f' at {gpu.pci_bus_id}' if gpu.pci_bus_id else ''}: {gpu.state}"
        for gpu in found
        if gpu.state != "ok"
    ]
    if wanted is not None:
        parts.append(f"{variable}={wanted!r} leaves {len(seen)}")
    if slices:
        parts.append(
            f"{sum(len(gpu.partition_uuids) for gpu in seen)} slices in {len({gpu.index for gpu in seen})} of them"
        )
    return "; ".join(parts)


def parse_torch_version(text: str) -> dict[str, str]:
    """``__version__`` and ``cuda`` in the text of ``torch/version.py``; what is None there is absent here."""
    return dict(re.findall(r"^(__version__|cuda)\b[^=\n]*= '([^']+)'", text, re.MULTILINE))


def _host_facts() -> dict[str, str]:
    return {
        "hostname": host.hostname(),
        "boot_id": host.boot_id(),
        "physical_host": hyperv.physical_host(),
        "kernel": host.kernel(),
        "os": host.os_release(),
        "cpu_model": host.cpu_model(),
    }


def _settings() -> dict[str, str]:
    """Firmware and settings that should be alike; only files are read, so that thousands of ranks may ask at once."""
    return {
        **host.firmware(),
        "microcode": host.microcode(),
        "os_image": host.os_image(),
        "nic_firmware": infiniband.firmware(infiniband.adapters(counters=False)),
        "ofed": host.module_version("mlx5_core"),
        "numa": host.numa_layout(),
        "smt": host.smt(),
        "cpu_governor": host.cpu_governor(),
        "huge_pages": host.huge_pages(),
        "locked_memory": host.locked_memory(),
        "shared_memory": host.shared_memory(),
    }


def image_facts(environ: Mapping[str, str]) -> dict[str, str]:
    """Name and digest of the container image: one name may stand for two images, one digest may not."""
    name = environ.get("HPCACCEPT_IMAGE", "")
    _, at, digest = name.partition("@sha256:")
    return {"image": name, "image_digest": environ.get("HPCACCEPT_IMAGE_DIGEST", "") or f"{at[1:]}{digest}"}


def _software_facts() -> dict[str, str]:
    torch = _torch()
    cuda = torch.get("cuda") or _installed("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12")
    nccl = _installed(f"nvidia-nccl-cu{cuda.partition('.')[0]}") or os.environ.get("NCCL_VERSION", "")
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "hpcaccept": __version__,
        "numpy": _installed("numpy"),
        "torch": torch.get("__version__") or _installed("torch") or "not installed",
        "cuda": cuda,
        "nccl": nccl,
        "mpi": _mpi(),
    }


def _gpu_facts(gpu: Gpu) -> dict[str, str | None]:
    return {
        "gpu_model": gpu.name,
        "gpu_uuid": gpu.uuid,
        "gpu_serial": gpu.serial,
        "gpu_pci_bus_id": gpu.pci_bus_id,
        "vbios": gpu.vbios,
        "gpu_power_limit_w": None if gpu.power_limit_w is None else f"{gpu.power_limit_w:g}",
        "gpu_memory_gib": None if gpu.memory_bytes is None else f"{gpu.memory_bytes / 2**30:.1f}",
        "ecc_mode": gpu.ecc_mode,
        "mig_mode": gpu.partition_mode,
        "gpu_fabric": gpu.fabric,
    }


def _torch() -> dict[str, str]:
    # The wheel's own metadata leave out the "+cu130", and importing torch takes seconds: its version.py has both lines.
    found = importlib.util.find_spec("torch")
    file = Path(found.origin).with_name("version.py") if found and found.origin else None
    return parse_torch_version(file.read_text(encoding="utf-8")) if file and file.exists() else {}


def _installed(*names: str) -> str:
    """Version of the first of these distributions that is installed, or nothing."""
    import importlib.metadata  # 40 ms: only where there is something to look up

    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _mpi() -> str:
    # Importing mpi4py.MPI would start MPI; the rank program has done so already, and a laptop need not.
    started = sys.modules.get("mpi4py.MPI")
    return str(started.Get_library_version()).split("\n")[0].split(",")[0].strip("\0 ") if started else ""


def _say(ctx: CheckContext, facts: Mapping[str, str | None]) -> None:
    """Keep the facts that are known."""
    for name, text in facts.items():
        if text:
            ctx.fact(name, text)
