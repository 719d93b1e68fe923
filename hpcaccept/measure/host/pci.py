"""The bridges between two PCI devices, whether they turn traffic away, and whether an IOMMU translates it. Read from sysfs.

Two devices below one PCIe switch may speak to each other without the processor, unless *access control services* (ACS) of the switch's
downstream ports redirect their requests to the root. ``root`` is a folder that stands for ``/``.

Traps:
    * Whoever is not root reads 64 bytes of a device's configuration; the extended capabilities, of which ACS is one, begin at byte 256. What
      cannot be read is None, never "off".
    * ACS at the common ancestor does not matter, and that of the root port neither: traffic turns round below it.
    * In a virtual machine there are no such bridges to be seen.

Sources: PCI Express Base Specification 6.0, 7.7.11 (ACS Extended Capability: control register at offset 6; request redirect bit 2, completion
redirect bit 3) and 7.6.3 (header of extended capabilities); https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-bus-pci and
sysfs-kernel-iommu_groups (``type``); https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html (ACS, IOMMU).
"""

from __future__ import annotations

import re
from pathlib import Path

from hpcaccept.measure.host.host import kernel_text

_ROOT = Path("/")
_DEVICES = "sys/bus/pci/devices"
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
#: 3D controllers of any vendor; VGA controllers only of vendors of GPUs that compute, since every server has one for its console.
_COMPUTES, _SHOWS = "0x0302", "0x0300"
_VENDORS = ("0x10de", "0x1002")
_EXTENDED, _CONFIG_BYTES, _ACS = 0x100, 4096, 0x000D
REDIRECTS = 0b1100


def gpus(root: Path = _ROOT) -> tuple[str, ...]:
    """Addresses of the GPUs of this host, whoever may use them."""
    found = []
    for folder in sorted((root / _DEVICES).glob("*")):
        kind, vendor = kernel_text(folder / "class").strip()[:6], kernel_text(folder / "vendor").strip()
        if kind == _COMPUTES or (kind == _SHOWS and vendor in _VENDORS):
            found.append(folder.name)
    return tuple(found)


def bridges_above(device: Path) -> tuple[str, ...]:
    """Addresses of the bridges from the root port down to a device.

    Args:
        device: its folder, or a link to it, as in ``/sys/bus/pci/devices``.
    """
    parts = device.resolve().parts
    return tuple(part for part in parts[:-1] if _ADDRESS.fullmatch(part))


def ways_apart(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """How many bridges two devices have in common, and those below on both their ways: their traffic passes these twice.

    Args:
        one: as ``bridges_above`` says.
        other: of the other device.
    """
    common = 0
    for here, there in zip(one, other, strict=False):
        if here != there:
            break
        common += 1
    return common, (*one[common:], *other[common:])


def acs_control(address: str, root: Path = _ROOT) -> int | None:
    """The control register of access control services; 0 where a device has none; None where it may not be read."""
    try:
        with (root / _DEVICES / address / "config").open("rb") as file:
            config = file.read(_CONFIG_BYTES)
    except OSError:
        return None
    return None if len(config) <= _EXTENDED else parse_acs_control(config)


def parse_acs_control(config: bytes) -> int:
    """The same of a configuration space with its extended part; 0 where there is no such capability."""
    place, seen = _EXTENDED, set[int]()
    while _EXTENDED <= place <= len(config) - 8 and place not in seen:
        seen.add(place)
        header = int.from_bytes(config[place : place + 4], "little")
        if header & 0xFFFF == _ACS:
            return int.from_bytes(config[place + 6 : place + 8], "little")
        place = header >> 20 & 0xFFC
    return 0


def iommu_domain(device: Path) -> str:
    """``DMA``, ``DMA-FQ`` (translated), ``identity`` (passed through), ``none`` where no IOMMU is on; empty where the kernel does not say.

    Kernels before 5.11 do not say of which type a group is.
    """
    group = device / "iommu_group"
    if not group.exists():
        return "none" if device.exists() else ""
    return kernel_text(group / "type").strip()
