"""A ``/sys`` with PCI devices below switches: links, classes, IOMMU groups and configuration spaces (tests/data/pci)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.builders import DATA

if TYPE_CHECKING:
    from pathlib import Path

#: Where downstream ports of PLX switches have access control services, and the capability before it.
_ACS, _LAST = 0xF24, 0xB70
#: As a switch has it after power-on where the kernel has turned the IOMMU on, and as NCCL wants it.
REDIRECTS, OFF = 0x1D, 0x00


def config(acs: int | None = None) -> bytes:
    """The space of a real switch port; with ACS where the control register is given."""
    space = bytearray(4096)
    for line in (DATA / "pci/plx_8796.txt").read_text("utf-8").splitlines()[1:]:
        place, _, values = line.partition(": ")
        found = bytes.fromhex(values)
        space[int(place, 16) : int(place, 16) + len(found)] = found
    if acs is not None:
        space[_LAST + 2 : _LAST + 4] = (_ACS << 4 | 1).to_bytes(2, "little")
        space[_ACS : _ACS + 8] = bytes.fromhex("0d0001007f00") + acs.to_bytes(2, "little")
    return bytes(space)


def device(
    root: Path, *way: str, kind: str = "0x060400", vendor: str = "0x10b5", space: bytes = b"", domain: str = ""
) -> Path:
    """The last of these addresses below the others, with a link in the bus's list; its bridges must have been made before."""
    folder = root.joinpath("sys/devices/pci0000:00", *way)
    folder.mkdir(parents=True)
    for name, text in (("class", kind), ("vendor", vendor)):
        (folder / name).write_text(f"{text}\n")
    if space:
        (folder / "config").write_bytes(space)
    if domain:
        group = root / "sys/kernel/iommu_groups" / str(len(list((root / "sys/kernel/iommu_groups").glob("*"))))
        group.mkdir(parents=True)
        (group / "type").write_text(f"{domain}\n")
        (folder / "iommu_group").symlink_to(group)
    listed = root / "sys/bus/pci/devices"
    listed.mkdir(parents=True, exist_ok=True)
    (listed / way[-1]).symlink_to(folder)
    return folder


def switch(root: Path, *, acs: int | None = OFF, readable: bool = True, domain: str = "") -> None:
    """A GPU and a card below one switch: root port 00:01.0, upstream port 01, downstream ports 02:00.0 and 02:08.0."""
    top = ("0000:00:01.0", "0000:01:00.0")
    for place in (top[:1], top):
        device(root, *place, space=config())
    space = config(acs) if readable else config(acs)[:64]
    for port, end, kind, vendor in (("00.0", "03", "0x030200", "0x10de"), ("08.0", "04", "0x020700", "0x15b3")):
        device(root, *top, f"0000:02:{port}", space=space)
        device(root, *top, f"0000:02:{port}", f"0000:{end}:00.0", kind=kind, vendor=vendor, domain=domain)
    card = root / "sys/class/infiniband/mlx5_0"
    card.mkdir(parents=True)
    (card / "device").symlink_to(root.joinpath("sys/devices/pci0000:00", *top, "0000:02:08.0/0000:04:00.0"))
