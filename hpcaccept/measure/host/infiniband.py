"""The RDMA adapters and network interfaces of this host, their state, and what they have counted.

Read from sysfs, so no library, no permission and no subnet manager is needed. ``root`` is a folder that stands for ``/``.

Traps:
    * The classic counters of a port **saturate** (``link_downed`` at 255, ``symbol_error`` at 65535, some at 15): one that
      stands at its end can rise no more, and its difference says nothing.
    * Counters are cleared by ``perfquery -R`` and by a reloaded driver: a difference may be negative.
    * ``rate`` of a port that is down is what it once was, or a default: it means something only in state ACTIVE.
    * Traffic proves nothing about health: an idle port is a healthy port, so packets are not looked at.
      https://github.com/GoogleCloudPlatform/cluster-toolkit/pull/5917

Sources: https://www.kernel.org/doc/Documentation/ABI/stable/sysfs-class-infiniband,
https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-class-net, InfiniBand Architecture vol. 1, PortCounters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.measure.host.host import parse_cpu_list

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROOT = Path("/")

#: Where the counters of a port stop. (IBA vol. 1, PortCounters: 4, 8 and 16 bits.)
SATURATED_AT = {
    "symbol_error": 0xFFFF,
    "link_error_recovery": 0xFF,
    "link_downed": 0xFF,
    "port_rcv_errors": 0xFFFF,
    "port_rcv_remote_physical_errors": 0xFFFF,
    "port_rcv_switch_relay_errors": 0xFFFF,
    "port_xmit_discards": 0xFFFF,
    "port_xmit_constraint_errors": 0xFF,
    "port_rcv_constraint_errors": 0xFF,
    "local_link_integrity_errors": 0xF,
    "excessive_buffer_overrun_errors": 0xF,
    "VL15_dropped": 0xFFFF,
}


@dataclass(frozen=True)
class Port:
    """One port of an adapter.

    Attributes:
        name: ``mlx5_0/1``.
        state: ``ACTIVE``, ``INIT``, ``ARMED``, ``DOWN``: the logical link, which the subnet manager brings up.
        physical_state: ``LinkUp``, ``Polling``, ``Disabled`` …: the cable and the port behind it.
        rate_bits: per second; 0 where it is not said.
        rate_text: as the kernel says it (``400 Gb/sec (4X NDR)``).
        link_layer: ``InfiniBand`` or ``Ethernet`` (RoCE).
        counters: of ``counters/`` and ``hw_counters/``, those that can be read.
    """

    name: str
    state: str
    physical_state: str
    rate_bits: float
    rate_text: str
    link_layer: str
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """True when packets can pass."""
        return self.state == "ACTIVE"


@dataclass(frozen=True)
class Adapter:
    """One RDMA device.

    Attributes:
        name: ``mlx5_0``.
        model: ``MT4129``.
        board: ``MT_0000000838``: the part number's identity.
        firmware: its version.
        ports: by number.
    """

    name: str
    model: str
    board: str
    firmware: str
    ports: tuple[Port, ...]


@dataclass(frozen=True)
class Interface:
    """One network interface with hardware behind it.

    Attributes:
        name: ``eth0``.
        up: True when its link works (``operstate``).
        counters: carrier changes, and received frames that were broken.
    """

    name: str
    up: bool
    counters: dict[str, int]


#: Where an interface counts what tells of its link.
_INTERFACE_COUNTERS = ("carrier_down_count", "statistics/rx_crc_errors")


def adapters(root: Path = _ROOT, counters: bool = True) -> tuple[Adapter, ...]:
    """All RDMA devices in the order of their numbers; none where the kernel has none.

    Args:
        root: stands for ``/``.
        counters: False leaves them out: each of them is a question to the firmware, and there are a hundred to a port.
    """
    folders = sorted((root / "sys/class/infiniband").glob("*"), key=lambda folder: _natural(folder.name))
    return tuple(_adapter(folder, counters) for folder in folders)


def ports(found: Iterable[Adapter]) -> dict[str, Port]:
    """All ports of adapters, by name."""
    return {port.name: port for adapter in found for port in adapter.ports}


def interfaces(root: Path = _ROOT) -> dict[str, Interface]:
    """Network interfaces that have a device; bridges, tunnels and loopback have none."""
    found = {}
    for folder in sorted((root / "sys/class/net").glob("*"), key=lambda folder: _natural(folder.name)):
        if (folder / "device").exists():
            counters = _counters(folder / counter for counter in _INTERFACE_COUNTERS)
            found[folder.name] = Interface(folder.name, _word(folder / "operstate") == "up", counters)
    return found


def local_cpus(adapter: str, root: Path = _ROOT) -> frozenset[int]:
    """Processors of the NUMA node to which an adapter is attached; empty where the kernel does not say.

    Source: https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-bus-pci (``local_cpulist``)
    """
    return parse_cpu_list(_word(root / "sys/class/infiniband" / adapter / "device/local_cpulist"))


def numa_node(adapter: str, root: Path = _ROOT) -> int | None:
    """NUMA node to which an adapter is attached; None where the kernel does not say.

    Source: https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-bus-pci (``numa_node``)
    """
    text = _word(root / "sys/class/infiniband" / adapter / "device/numa_node")
    return int(text) if text.isdigit() else None


def gid_types(port: Path) -> dict[int, str]:
    """Index → ``IB/RoCE v1`` or ``RoCE v2``, of the addresses (GIDs) that a port has.

    The kernel has a file for each place of the table, and answers EINVAL for those without an address.

    Args:
        port: its folder, as in ``/sys/class/infiniband/mlx5_0/ports/1``.
    """
    files = sorted((port / "gid_attrs/types").glob("*"), key=lambda file: _natural(file.name))
    return {int(file.name): text for file in files if file.name.isdigit() and (text := _word(file))}


def interfaces_of(port: Path) -> tuple[str, ...]:
    """Network interfaces that a port's addresses belong to, each once."""
    files = sorted((port / "gid_attrs/ndevs").glob("*"), key=lambda file: _natural(file.name))
    return tuple(dict.fromkeys(text for file in files if (text := _word(file))))


def firmware(found: Iterable[Adapter]) -> str:
    """``MT4129 28.39.1002 (MT_0000000838) × 8``: models, firmware and boards with their counts; nothing without adapters."""
    kinds: dict[str, int] = {}
    for adapter in found:
        kind = f"{adapter.model} {adapter.firmware} ({adapter.board})"
        kinds[kind] = kinds.get(kind, 0) + 1
    return ", ".join(f"{kind} × {count}" for kind, count in sorted(kinds.items()))


def parse_rate(text: str) -> float:
    """Bits per second in ``400 Gb/sec (4X NDR)``, ``2.5 Gb/sec (1X SDR)``; 0 where there is not a number."""
    match = re.match(r"([0-9.]+)\s*Gb/sec", text.strip())
    return float(match[1]) * 1e9 if match else 0.0


def parse_state(text: str) -> str:
    """``ACTIVE`` from the kernel's ``4: ACTIVE``."""
    return text.strip().rpartition(": ")[2]


def rise(counter: str, before: int, after: int) -> tuple[int | None, str]:
    """How much a counter rose, or None and why that cannot be said.

    Args:
        counter: name of the file.
        before: at the beginning.
        after: at the end.
    """
    end = SATURATED_AT.get(counter)
    # Newer firmware counts the same names with 32 bits and more: then the end is no end.
    if end is not None and before == after == end:
        return None, f"it stands at {end}, where it can rise no more: clear it (perfquery -R)"
    if after < before:
        return None, f"it was cleared during the run ({before}, then {after})"
    return after - before, ""


def _adapter(folder: Path, counters: bool) -> Adapter:
    found = sorted((folder / "ports").glob("*"), key=lambda port: _natural(port.name))
    return Adapter(
        name=folder.name,
        model=_word(folder / "hca_type") or "unknown model",
        board=_word(folder / "board_id") or "unknown board",
        firmware=_word(folder / "fw_ver") or "unknown firmware",
        ports=tuple(_port(folder.name, port, counters) for port in found),
    )


def _port(adapter: str, folder: Path, counters: bool) -> Port:
    rate = _word(folder / "rate")
    files = [*(folder / "counters").glob("*"), *(folder / "hw_counters").glob("*")] if counters else []
    return Port(
        name=f"{adapter}/{folder.name}",
        state=parse_state(_word(folder / "state")) or "unknown",
        physical_state=parse_state(_word(folder / "phys_state")) or "unknown",
        rate_bits=parse_rate(rate),
        rate_text=rate,
        link_layer=_word(folder / "link_layer") or "unknown",
        counters=_counters(files),
    )


def _counters(files: Iterable[Path]) -> dict[str, int]:
    """Name → value; what is unreadable, or no number ("N/A (no PMA)"), is left out."""
    found = {}
    for file in files:
        text = _word(file)
        if text.isdigit():
            found[file.name] = int(text)
    return found


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """mlx5_10 comes after mlx5_9."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name))


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        # Unplugged devices and counters that firmware lacks answer EINVAL, ENODEV, EIO …
        return ""
