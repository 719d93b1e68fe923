from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hpcaccept.measure.host import numa

if TYPE_CHECKING:
    from pathlib import Path

GPU = "00000000:18:00.0"


def host(root: Path, numa_node: str = "1", processors: str = "4-7") -> Path:
    device = root / "sys/bus/pci/devices/0000:18:00.0"
    device.mkdir(parents=True)
    (device / "numa_node").write_text(f"{numa_node}\n")
    for node, cpus in (("node0", "0-3"), ("node1", processors)):
        folder = root / "sys/devices/system/node" / node
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(f"{cpus}\n")
    return root


@pytest.mark.parametrize(
    ("nvml", "sysfs"),
    [(GPU, "0000:18:00.0"), ("0000001F:AB:00.0", "001f:ab:00.0"), ("10000:E1:00.0", "10000:e1:00.0")],
)
def test_a_pci_address_is_written_as_sysfs_does(nvml: str, sysfs: str) -> None:
    assert numa.sysfs_name(nvml) == sysfs


def test_a_gpu_has_its_node(tmp_path: Path) -> None:
    assert numa.node_of_pci(GPU, host(tmp_path)) == 1


@pytest.mark.parametrize("text", ["-1", "", "x"])
def test_firmware_that_does_not_say_is_no_node_0(tmp_path: Path, text: str) -> None:
    assert numa.node_of_pci(GPU, host(tmp_path, text)) is None


def test_a_gpu_that_is_not_there_has_no_node(tmp_path: Path) -> None:
    root = host(tmp_path)
    assert numa.node_of_pci("00000000:99:00.0", root) is None
    assert numa.node_of_pci("nonsense", root) is None


@pytest.mark.parametrize(
    ("bus_id", "allowed", "node", "processors", "said"),
    [
        (GPU, {1, 4, 5}, "1", {4, 5}, "bound to 2 processors of NUMA node 1, where 00000000:18:00.0 is"),
        (GPU, {0, 1}, "1", set(), "none of the processors of NUMA node 1, where 00000000:18:00.0 is: its copies cross"),
        (GPU, {0, 1}, "-1", set(), "the kernel does not say"),
        (GPU, {0, 1}, "5", set(), "NUMA node 5 of 00000000:18:00.0 has no processors"),
        ("", {0, 1}, "1", set(), "no PCI address"),
    ],
)
def test_what_is_near_is_part_of_what_is_allowed(
    tmp_path: Path, bus_id: str, allowed: set[int], node: str, processors: set[int], said: str
) -> None:
    found, what = numa.near(bus_id, frozenset(allowed), host(tmp_path, node))
    assert found == processors
    assert said in what


def test_a_thread_is_bound_while_it_measures_and_put_back(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    mine = str(min(before))
    with numa.bound_near(GPU, host(tmp_path, processors=mine)) as what:
        assert os.sched_getaffinity(0) == {int(mine)}
        assert what.startswith("bound to 1 processors of NUMA node 1")
    assert os.sched_getaffinity(0) == before


def test_a_thread_is_put_back_when_the_measurement_breaks(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(ZeroDivisionError), numa.bound_near(GPU, host(tmp_path, processors=str(min(before)))):
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == before
