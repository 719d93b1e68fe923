"""A ``/sys`` with RDMA adapters and network interfaces, as a host with ConnectX-7 adapters shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

COUNTERS = (
    "symbol_error",
    "link_error_recovery",
    "link_downed",
    "port_rcv_errors",
    "port_xmit_discards",
    "local_link_integrity_errors",
    "excessive_buffer_overrun_errors",
    "port_xmit_wait",
    "port_rcv_data",
)


def adapter(root: Path, name: str, **changes: str) -> Path:
    """One adapter with one port; what a test wants otherwise by file name. Gives the folder of the port."""
    folder = root / "sys/class/infiniband" / name
    port = folder / "ports/1"
    usual = {
        "fw_ver": "28.39.1002",
        "hca_type": "MT4129",
        "board_id": "MT_0000000838",
        "ports/1/state": "4: ACTIVE",
        "ports/1/phys_state": "5: LinkUp",
        "ports/1/rate": "400 Gb/sec (4X NDR)",
        "ports/1/link_layer": "InfiniBand",
        "ports/1/hw_counters/rnr_nak_retry_err": "0",
        "ports/1/hw_counters/local_ack_timeout_err": "3",
        **{f"ports/1/counters/{counter}": "0" for counter in COUNTERS},
    }
    for file, text in usual.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changes.get(path.name, text) + "\n")
    return port


def interface(root: Path, name: str, device: bool = True, state: str = "up", down: int = 1) -> Path:
    """One network interface, with hardware behind it or not."""
    folder = root / "sys/class/net" / name
    (folder / "statistics").mkdir(parents=True)
    if device:
        (folder / "device").mkdir()
    (folder / "operstate").write_text(f"{state}\n")
    (folder / "carrier_down_count").write_text(f"{down}\n")
    (folder / "statistics/rx_crc_errors").write_text("0\n")
    return folder
