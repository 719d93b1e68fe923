from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.solo_context import SoloContext

from hpcaccept.checks.dgemm import Dgemm
from hpcaccept.measure.host import cpu_packages, host
from hpcaccept.measure.host.cpu_packages import Core

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Two sockets of two cores of two hardware threads each, numbered as the kernel does: siblings are four apart.
EIGHT = range(8)
ALL_CORES = [Core(0, 0), Core(0, 1), Core(1, 2), Core(1, 3)]


def machine(root: Path) -> Path:
    for cpu in EIGHT:
        folder = root / f"sys/devices/system/cpu/cpu{cpu}"
        socket, first = cpu % 4 // 2, cpu % 4
        write(folder / "topology/physical_package_id", str(socket))
        write(folder / "topology/core_cpus_list", f"{first},{first + 4}")
        write(folder / "cache/index0/level", "1")
        write(folder / "cache/index0/size", "32K")
        write(folder / "cache/index0/shared_cpu_list", f"{first},{first + 4}")
        write(folder / "cache/index3/level", "3")
        write(folder / "cache/index3/size", "16M")
        # Each core of socket 1 has a last level cache of its own, those of socket 0 share one.
        write(folder / "cache/index3/shared_cpu_list", "0-1,4-5" if socket == 0 else f"{first},{first + 4}")
    return root


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


def node(monkeypatch: pytest.MonkeyPatch, root: Path, **place: Any) -> list[int]:
    """Processors that a rank of a node so placed would load."""
    monkeypatch.setattr(host, "affinity", lambda: frozenset(EIGHT))
    real: Callable[..., list[Core]] = cpu_packages.cores
    monkeypatch.setattr(cpu_packages, "cores", lambda allowed: real(allowed, root))
    return [core.cpu for core in cpu_packages.of_node(SoloContext(Dgemm(), **place))]


# --- which cores --------------------------------------------------------------------------------------------------------


def test_each_core_has_one_hardware_thread(tmp_path: Path) -> None:
    assert cpu_packages.cores(EIGHT, machine(tmp_path)) == ALL_CORES


def test_a_core_of_which_only_the_second_hardware_thread_is_allowed_is_used(tmp_path: Path) -> None:
    assert cpu_packages.cores({5, 6}, machine(tmp_path)) == [Core(0, 5), Core(1, 6)]


def test_without_topology_every_processor_is_a_core_of_one_socket(tmp_path: Path) -> None:
    assert cpu_packages.cores({3, 1}, tmp_path) == [Core(0, 1), Core(0, 3)]


def test_few_cores_are_taken_from_all_sockets_in_turn() -> None:
    assert cpu_packages.share(ALL_CORES, 2) == [Core(0, 0), Core(1, 2)]
    assert cpu_packages.share(ALL_CORES, 2, offset=2) == [Core(0, 1), Core(1, 3)]
    assert cpu_packages.share(ALL_CORES, 9, offset=3) == ALL_CORES


def test_one_rank_loads_all_cores_of_its_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = machine(tmp_path)
    assert node(monkeypatch, root, cores=8.0, threads=2, size=4, node_ranks=(0, 1, 2, 3)) == [0, 1, 2, 3]


def test_a_quota_of_half_the_node_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert node(monkeypatch, machine(tmp_path), cores=2.5, threads=2) == [0, 2]


def test_a_quota_of_less_than_a_core_leaves_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert node(monkeypatch, machine(tmp_path), cores=0.5, threads=1) == [0]


def test_virtual_nodes_that_measure_side_by_side_take_different_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = machine(tmp_path)
    first = node(monkeypatch, root, cores=8.0, threads=2, size=2, rank=0, node_ranks=(0,))
    monkeypatch.undo()
    second = node(monkeypatch, root, cores=8.0, threads=2, size=2, rank=1, node_ranks=(1,))
    assert sorted(first + second) == [0, 1, 2, 3]


def test_a_node_whose_turn_it_is_takes_its_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(node(monkeypatch, machine(tmp_path), cores=8.0, threads=1, size=2, node_ranks=(0, 1), in_turn=True)) == 1


def test_last_level_caches_are_added_up_once_each(tmp_path: Path) -> None:
    root = machine(tmp_path)
    assert cpu_packages.cache_bytes(0, root) == 16 << 20
    assert cpu_packages.cache_bytes(1, root) == 32 << 20
    assert cpu_packages.cache_bytes(2, root) == 0


# --- side by side -------------------------------------------------------------------------------------------------------


def mine() -> list[Core]:
    return [Core(0, cpu) for cpu in sorted(host.affinity())]


def test_every_thread_is_on_its_core_with_one_thread_of_torch_s_and_everything_is_put_back() -> None:
    before, threads = host.affinity(), torch.get_num_threads()

    def work(core: Core, wait: Callable[[], object]) -> tuple[int, set[int], int]:
        wait()
        return core.cpu, os.sched_getaffinity(0), torch.get_num_threads()

    assert cpu_packages.together(mine(), work) == [(core.cpu, {core.cpu}, 1) for core in mine()]
    assert (host.affinity(), torch.get_num_threads()) == (before, threads)


def test_nobody_waits_for_a_core_whose_work_failed_and_its_fault_is_told() -> None:
    crew = [*mine(), *mine()]
    turn = iter(range(len(crew)))
    lock = threading.Lock()

    def work(_core: Core, wait: Callable[[], object]) -> None:
        with lock:
            number = next(turn)
        if number == len(crew) - 1:
            raise RuntimeError("bad core")
        wait()

    with pytest.raises(RuntimeError, match="bad core"):
        cpu_packages.together(crew, work)


def test_a_window_has_one_call_at_least_and_what_is_between_two_calls_is_not_timed() -> None:
    calls: list[str] = []
    figures = cpu_packages.window(lambda: calls.append("call"), 0.0, lambda: calls.append("between"))
    assert calls == ["call", "between"]
    assert len(figures) == 1


def test_a_socket_has_the_sum_of_its_cores_and_its_slowest_one_is_named() -> None:
    rates = [[10.0, 11.0], [5.0, 5.0], [10.0, 9.0], [8.0, 8.0]]
    found = cpu_packages.by_socket(ALL_CORES, rates)
    assert found["socket0"].rates == [15.0, 16.0]
    assert found["socket1"].rates == [18.0, 17.0]
    assert found["socket0"].slowest == Core(0, 1)
    assert found["socket0"].slowest_share == pytest.approx(5 / 7.75)
