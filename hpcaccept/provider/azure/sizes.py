"""What is known of a VM size before Azure is asked: GPUs, InfiniBand, how nodes are placed next to each other.

Sources: the size pages below https://learn.microsoft.com/azure/virtual-machines/sizes/gpu-accelerated/, read in November 2026. Quota families, zones
and prices are not kept here: they change, and Azure tells them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Placement = Literal["none", "single-placement-group", "interconnect-group"]


@dataclass(frozen=True)
class Size:
    """One VM size.

    Attributes:
        name: as Azure spells it.
        gpus: per VM.
        gpu: model of its GPUs; empty without any.
        placement: what keeps VMs on one InfiniBand fabric: one placement group, or an interconnect group whose subgroups are NVLink domains.
        architecture: of its processors.
        domain_nodes: VMs of one NVLink domain; 0 where a domain is one VM.
        nic_bytes: bytes/s of its InfiniBand ports together, in one direction; 0 without any, and where NVLink leaves the VM too.
    """

    name: str
    gpus: int
    gpu: str = ""
    placement: Placement = "none"
    architecture: Literal["x64", "Arm64"] = "x64"
    domain_nodes: int = 0
    nic_bytes: float = 0.0


_FABRIC: Placement = "single-placement-group"
_DOMAIN: Placement = "interconnect-group"
#: 72 GPUs of a rack, four in each VM.
_NVL72 = 18

#: Eight ports of 200 and of 400 Gbit/s.
_HDR, _NDR = 8 * 200e9 / 8, 8 * 400e9 / 8

_SIZES = (
    Size("Standard_ND96asr_v4", 8, "A100", _FABRIC, nic_bytes=_HDR),
    Size("Standard_ND96amsr_A100_v4", 8, "A100", _FABRIC, nic_bytes=_HDR),
    Size("Standard_ND96isr_H100_v5", 8, "H100", _FABRIC, nic_bytes=_NDR),
    Size("Standard_ND96isr_H200_v5", 8, "H200", _FABRIC, nic_bytes=_NDR),
    Size("Standard_ND128isr_NDR_GB200_v6", 4, "GB200", _DOMAIN, "Arm64", _NVL72),
    Size("Standard_ND128isr_GB300_v6", 4, "GB300", _DOMAIN, "Arm64", _NVL72),
    Size("Standard_ND128isrG5_GB300_v6", 4, "GB300", _DOMAIN, "Arm64", _NVL72),
    Size("Standard_NC24ads_A100_v4", 1, "A100"),
    Size("Standard_NC48ads_A100_v4", 2, "A100"),
    Size("Standard_NC96ads_A100_v4", 4, "A100"),
    Size("Standard_NC40ads_H100_v5", 1, "H100 NVL"),
    Size("Standard_NC80adis_H100_v5", 2, "H100 NVL"),
    Size("Standard_D2s_v5", 0),
    Size("Standard_D2as_v5", 0),
)
_BY_NAME = {size.name.lower(): size for size in _SIZES}


def known() -> tuple[str, ...]:
    """Names of the sizes in the table."""
    return tuple(size.name for size in _SIZES)


def find(name: str) -> Size | None:
    """The size of that name, in whatever case; None for one that the table lacks."""
    return _BY_NAME.get(name.lower())
