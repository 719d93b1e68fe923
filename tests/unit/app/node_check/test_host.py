from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.hyperv import HOST

from hpcaccept.app.node_check import host
from hpcaccept.app.node_check.look import Asked
from hpcaccept.model.node_check import Expected

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.node_check import Item

GIB = 1 << 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for file, text in {
        "proc/meminfo": f"MemTotal:       {100 * GIB // 1024} kB\nMemAvailable:   {90 * GIB // 1024} kB\n",
        "sys/devices/system/cpu/online": "0-95\n",
        "sys/class/nvme/nvme0/state": "live\n",
        "proc/mdstat": "Personalities : [raid1]\nmd0 : active raid1 sdb1[1] sda1[0]\n      1046528 blocks super 1.2 [2/2] [UU]\n\nunused devices: <none>\n",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    return tmp_path


def bad(root: Path, **expected: object) -> dict[str, Item]:
    found = host.look(Asked(Expected(**{"clock": False, **expected}), "node0", root)).items  # type: ignore[arg-type]
    return {item.what: item for item in found if item.outcome != "PASS"}


def test_a_node_that_has_what_is_expected_passes_with_values(root: Path) -> None:
    asked = Asked(Expected(cores=96, memory_bytes=100 * GIB, memory_available_share=0.8, clock=False), "node0", root)
    items = host.look(asked).items
    assert {item.what for item in items} == {
        "cores", "memory_bytes", "memory_available_share", "raid_disks_missing[md0]", "nvme_dead[nvme0]"
    }  # fmt: skip
    assert all(item.outcome == "PASS" and item.value is not None for item in items)


def test_the_machine_below_a_vm_is_a_fact_before_anybody_reboots_it(root: Path) -> None:
    asked = Asked(Expected(clock=False), "node0", root)
    assert "physical_host" not in host.look(asked).facts
    pool = root / "var/lib/hyperv/.kvp_pool_3"
    pool.parent.mkdir(parents=True)
    pool.write_bytes(HOST)
    assert host.look(asked).facts["physical_host"] == "BN9300-1"


def test_processors_that_are_off_are_found(root: Path) -> None:
    assert bad(root, cores=97)["cores"].value == 96


def test_a_lost_module_is_found_and_what_kernels_keep_for_themselves_is_not(root: Path) -> None:
    assert bad(root, memory_bytes=101 * GIB) == {}
    assert bad(root, memory_bytes=112 * GIB)["memory_bytes"].code == "peers-fewer"


def test_memory_that_a_job_has_left_behind_is_found(root: Path) -> None:
    assert bad(root, memory_available_share=0.95)["memory_available_share"].code == "memory-held"


def test_a_raid_without_one_of_its_disks_is_found(root: Path) -> None:
    file = root / "proc/mdstat"
    file.write_text(file.read_text().replace("[2/2] [UU]", "[2/1] [U_]"))
    found = bad(root)["raid_disks_missing[md0]"]
    assert (found.code, found.value) == ("disk-failed", 1)


@pytest.mark.parametrize(("state", "count"), [("dead", 1), ("resetting", 0), ("connecting", 0)])
def test_an_nvme_controller_that_was_given_up_is_found(root: Path, state: str, count: int) -> None:
    (root / "sys/class/nvme/nvme0/state").write_text(f"{state}\n")
    assert len(bad(root)) == count


def test_a_clock_that_nothing_holds_is_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for state, status, error_s, code in (
        (5, 0x40, 16.0, "clock-off"),
        (0, 0x40, 0.1, "clock-off"),
        (0, 0, 3.0, "clock-off"),
        (0, 0, 0.1, ""),
    ):
        monkeypatch.setattr(host, "clock_state", lambda answer=(state, status, error_s): answer)
        found = bad(root, clock=True)
        assert {item.code for item in found.values()} == ({code} if code else set())


def test_the_kernel_that_runs_here_tells_its_clock() -> None:
    state, status, error_s = host.clock_state()
    assert 0 <= state <= 5
    assert status >= 0
    assert error_s >= 0
