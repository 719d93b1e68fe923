"""The host is set up so that network cards reach the memory of its GPUs directly."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hpcaccept.measure.host import pci
from hpcaccept.measure.host.host import kernel, kernel_text
from hpcaccept.measure.host.infiniband import adapters
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Kernel modules through which a card registers memory of a GPU; the second one is the older name. https://github.com/openucx/ucx/pull/10123
_PEER_MODULES = ("nvidia_peermem", "nv_peer_mem")
#: The first kernel whose RDMA core takes memory as a DMA buffer.
_DMABUF_KERNEL = (5, 12)
_NCCL = "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html"
_RDMA = "https://docs.nvidia.com/cuda/gpudirect-rdma/"


@dataclass(frozen=True)
class Gpudirect(Check):
    """What GPUDirect RDMA needs of the host, named before a bandwidth is judged: a way to register memory, no detour, no translation.

    How: the first rank of each node reads sysfs and procfs. Nothing is sent and no library is asked, so that what is found is the host's
    configuration and not that of the image. Only nodes with GPUs and RDMA adapters are looked at.

    - ``no_registration``: 1 where cards cannot register memory of GPUs: neither ``nvidia_peermem`` (or ``nv_peer_mem``) is loaded, nor can it be handed
      over as a DMA buffer: open kernel modules of the driver and a kernel from 5.12 on.
    - ``redirecting_bridges``: of each GPU, bridges between it and its nearest card (below the same switch) whose access control services (ACS)
      redirect requests or completions to the processor: bandwidth halves, or data does not arrive at all. Not run where the bridges' configuration may
      not be read (root only; in containers mostly not at all): then type ``sudo lspci -vvv | grep ACSCtl`` on the node.
    - ``translated_devices``: 1 for a GPU or card whose DMA an IOMMU translates (``DMA``, ``DMA-FQ``) instead of passing it through (``identity``) or
      being off. Not judged on arm64, where translation is by design, and where the kernel does not say it.

    What it does not mean: that NCCL uses it; a module that is loaded may still have found no RDMA core to register with (NVIDIA/nccl#1939). That stands in NCCL's log (``allreduce``: ``transport``, ``fallback``). What of this is
    wanted by a hypervisor cannot be seen in a virtual machine.

    Parameters:
        root: a folder that stands for ``/``.
    """

    name: ClassVar = "gpudirect"
    revision: ClassVar = 1
    about: ClassVar = "Host configuration for GPUDirect RDMA: peer memory or DMA buffers, ACS, IOMMU."
    needs_gpu: ClassVar = True
    on_device: ClassVar = False
    metrics: ClassVar = (
        Metric(
            "no_registration", "faults", "lower",
            "Network cards cannot register memory of GPUs: load nvidia_peermem, or install the driver's open kernel modules.",
            title="no way to register GPU memory",
            formula="1 where neither a peer memory module is loaded nor DMA buffers can be used", source=_RDMA, scope="node",
            statistic="worst", limit=at_most(0, "faults", _RDMA), code=FindingCode.GPUDIRECT_MISSING,
        ),
        Metric(
            "redirecting_bridges", "bridges", "lower",
            "Bridges between a GPU and its card that send traffic to the processor: turn ACS off in the BIOS, or with setpci at boot.",
            title="bridges with ACS redirection ({})",
            formula="bridges below the common ancestor whose ACS control register has request or completion redirection", source=_NCCL,
            scope="node", statistic="worst", required=False, limit=at_most(0, "bridges", _NCCL), code=FindingCode.ACS_REDIRECTS,
        ),
        Metric(
            "translated_devices", "devices", "lower",
            "An IOMMU translates what this device reads and writes: boot with iommu=pt, or turn it off.", title="devices behind a translating IOMMU ({})",
            formula="1 where the type of the device's IOMMU group is DMA or DMA-FQ", source=_NCCL, scope="node", statistic="worst",
            required=False, headline=False, limit=at_most(0, "devices", _NCCL), code=FindingCode.IOMMU_TRANSLATES,
        ),
    )  # fmt: skip

    root: str = "/"

    def measure(self, ctx: CheckContext) -> None:
        """Read it once on each node; see the class."""
        if ctx.local_rank:
            return
        root = Path(self.root)
        gpus = {address: root / "sys/bus/pci/devices" / address for address in pci.gpus(root)}
        cards = {
            card.name: root / "sys/class/infiniband" / card.name / "device" for card in adapters(root, counters=False)
        }
        if not gpus or not cards:
            missing = "GPU" if not gpus else "RDMA adapter"
            raise Unavailable(
                f"no {missing} is in /sys: there is no way between GPUs and cards", "Is /sys of the host in the image?"
            )
        self._registration(ctx, root)
        self._bridges(ctx, root, gpus, cards)
        self._translation(ctx, {**gpus, **cards})

    def _registration(self, ctx: CheckContext, root: Path) -> None:
        loaded = [name for name in _PEER_MODULES if (root / "sys/module" / name).is_dir()]
        why_not = no_dma_buffers(
            kernel_text(root / "proc/driver/nvidia/version"),
            kernel_text(root / "proc/sys/kernel/osrelease") or kernel(),
        )
        said = [*(f"{name} is loaded" for name in loaded), *(["DMA buffers can be used"] if not why_not else [])]
        ctx.fact(
            "no_registration", ", ".join(said) or f"no peer memory module is loaded, and no DMA buffers: {why_not}"
        )
        ctx.emit("no_registration", int(not said))

    def _bridges(self, ctx: CheckContext, root: Path, gpus: Mapping[str, Path], cards: Mapping[str, Path]) -> None:
        ways = {name: pci.bridges_above(device) for name, device in cards.items()}
        for gpu, device in gpus.items():
            found = {name: pci.ways_apart(pci.bridges_above(device), way) for name, way in ways.items()}
            card = max(found, key=lambda name: found[name][0])
            common, between = found[card]
            if not common:
                ctx.unsupported(
                    f"redirecting_bridges[{gpu}]",
                    "no card is below the same bridge: their traffic crosses the processor anyway",
                )
                continue
            control = {bridge: pci.acs_control(bridge, root) for bridge in between}
            unknown = [bridge for bridge, bits in control.items() if bits is None]
            if unknown:
                ctx.unsupported(
                    f"redirecting_bridges[{gpu}]",
                    f"the configuration of bridge {unknown[0]} may not be read (user {os.geteuid()}): root only",
                )
                continue
            redirecting = [bridge for bridge, bits in control.items() if bits and bits & pci.REDIRECTS]
            ctx.emit("redirecting_bridges", len(redirecting), gpu)
            if redirecting:
                ctx.fact(f"bridges[{gpu}]", f"{', '.join(redirecting)} on the way to {card}")

    def _translation(self, ctx: CheckContext, devices: Mapping[str, Path]) -> None:
        if os.uname().machine == "aarch64":
            ctx.unsupported(
                "translated_devices", "on arm64 the IOMMU translates by design, and devices keep its answers"
            )
            return
        domains = {name: pci.iommu_domain(device) for name, device in devices.items()}
        ctx.fact("iommu", ", ".join(sorted({domain or "unknown" for domain in domains.values()})))
        for name, domain in domains.items():
            if domain:
                ctx.emit("translated_devices", int(domain.startswith("DMA")), name)
            else:
                ctx.unsupported(
                    f"translated_devices[{name}]", "this kernel does not say of which type an IOMMU group is"
                )


def no_dma_buffers(driver: str, release: str) -> str:
    """Why cards cannot take memory of GPUs as DMA buffers; empty where they can.

    Args:
        driver: text of ``/proc/driver/nvidia/version``; empty where it cannot be read.
        release: of the kernel (``5.15.0-1063-azure``).
    """
    if not driver:
        return "/proc/driver/nvidia/version cannot be read"
    if "Open Kernel Module" not in driver:
        return "the driver's kernel modules are the proprietary ones"
    version = re.match(r"(\d+)\.(\d+)", release)
    if version is None or (int(version[1]), int(version[2])) < _DMABUF_KERNEL:
        return f"kernel {release.strip()} is older than {'.'.join(map(str, _DMABUF_KERNEL))}"
    return ""
