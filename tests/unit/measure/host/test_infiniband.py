from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.infiniband_tree import adapter, interface

from hpcaccept.measure.host import infiniband

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "bits"),
    [("400 Gb/sec (4X NDR)\n", 400e9), ("2.5 Gb/sec (1X SDR)", 2.5e9), ("56 Gb/sec (4X FDR)", 56e9), ("", 0), ("?", 0)],
)
def test_a_rate_is_in_bits_per_second(text: str, bits: float) -> None:
    assert infiniband.parse_rate(text) == bits


def test_ports_are_read_with_all_their_counters(tmp_path: Path) -> None:
    adapter(tmp_path, "mlx5_0", link_downed="2")
    (found,) = infiniband.adapters(tmp_path)
    (port,) = found.ports
    assert (found.model, found.firmware, found.board) == ("MT4129", "28.39.1002", "MT_0000000838")
    assert (port.name, port.state, port.physical_state, port.rate_bits) == ("mlx5_0/1", "ACTIVE", "LinkUp", 400e9)
    assert port.active
    assert port.counters["link_downed"] == 2
    assert port.counters["local_ack_timeout_err"] == 3


def test_adapters_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 0):
        adapter(tmp_path, f"mlx5_{number}")
    assert [a.name for a in infiniband.adapters(tmp_path)] == ["mlx5_0", "mlx5_9", "mlx5_10"]


@pytest.mark.parametrize("state", ["1: DOWN", "2: INIT", "3: ARMED"])
def test_only_active_is_active(tmp_path: Path, state: str) -> None:
    adapter(tmp_path, "mlx5_0", state=state)
    assert not infiniband.ports(infiniband.adapters(tmp_path))["mlx5_0/1"].active


def test_a_counter_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    port = adapter(tmp_path, "mlx5_0", symbol_error="N/A (no PMA)")
    (port / "counters/link_downed").unlink()
    (port / "counters/link_downed").mkdir()  # reading it fails, as counters that firmware lacks do
    counters = infiniband.ports(infiniband.adapters(tmp_path))["mlx5_0/1"].counters
    assert not {"symbol_error", "link_downed"} & counters.keys()
    assert counters["port_rcv_errors"] == 0


def test_a_host_without_adapters_has_none(tmp_path: Path) -> None:
    assert infiniband.adapters(tmp_path) == ()
    assert infiniband.interfaces(tmp_path) == {}
    assert infiniband.firmware([]) == ""


def test_firmware_is_counted_by_kind(tmp_path: Path) -> None:
    for number in range(3):
        adapter(tmp_path, f"mlx5_{number}", **({"fw_ver": "28.38.0001"} if number == 1 else {}))
    found = infiniband.firmware(infiniband.adapters(tmp_path))
    assert found == "MT4129 28.38.0001 (MT_0000000838) × 1, MT4129 28.39.1002 (MT_0000000838) × 2"


def test_only_interfaces_with_hardware_are_looked_at(tmp_path: Path) -> None:
    interface(tmp_path, "eth0", down=4)
    interface(tmp_path, "docker0", device=False)
    interface(tmp_path, "eth1", state="down")
    found = infiniband.interfaces(tmp_path)
    assert set(found) == {"eth0", "eth1"}
    assert found["eth0"].up
    assert not found["eth1"].up
    assert found["eth0"].counters == {"carrier_down_count": 4, "rx_crc_errors": 0}


@pytest.mark.parametrize(
    ("counter", "before", "after", "rise", "said"),
    [
        ("link_downed", 3, 5, 2, ""),
        ("link_downed", 255, 255, None, "rise no more"),
        ("link_downed", 250, 255, 5, ""),
        ("local_link_integrity_errors", 15, 15, None, "rise no more"),
        ("symbol_error", 70_000, 70_000, 0, ""),
        ("symbol_error", 9, 0, None, "cleared during the run"),
        ("out_of_sequence", 255, 255, 0, ""),
    ],
)
def test_a_counter_at_its_end_or_cleared_says_nothing(
    counter: str, before: int, after: int, rise: int | None, said: str
) -> None:
    found, why = infiniband.rise(counter, before, after)
    assert found == rise
    assert said in why


def test_this_machine_answers() -> None:
    assert isinstance(infiniband.adapters(), tuple)
    assert isinstance(infiniband.interfaces(), dict)


def test_counters_need_not_be_asked_for(tmp_path: Path) -> None:
    adapter(tmp_path, "mlx5_0")
    (port,) = infiniband.ports(infiniband.adapters(tmp_path, counters=False)).values()
    assert port.active
    assert port.counters == {}


def test_an_adapter_tells_which_processors_are_next_to_it(tmp_path: Path) -> None:
    adapter(tmp_path, "mlx5_0")
    assert infiniband.local_cpus("mlx5_0", tmp_path) == frozenset()
    device = tmp_path / "sys/class/infiniband/mlx5_0/device"
    device.mkdir()
    (device / "local_cpulist").write_text("0-1,96\n")
    assert infiniband.local_cpus("mlx5_0", tmp_path) == {0, 1, 96}
