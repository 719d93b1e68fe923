from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.distributed as dist

from hpcaccept.measure.context import MpiContext, RankPlacement
from hpcaccept.measure.ranks.process_group import (
    NoRendezvousError,
    log_nccl,
    nccl_log,
    process_group,
)
from hpcaccept.transport.network import own_addresses

if TYPE_CHECKING:
    from pathlib import Path


def alone(thing: Any) -> Any:
    return thing


def test_a_group_of_one_opens_reduces_and_closes() -> None:
    with process_group("cpu", 0, 1, alone, lambda x: [x], shared_kernel=True, timeout_s=30) as backend:
        assert backend == "gloo"
        assert os.environ["GLOO_SOCKET_IFNAME"] == "lo", "a group of some of the ranks reads it again"
        assert os.environ["NCCL_SOCKET_IFNAME"] == "lo", "all of them are on this machine"
        numbers = torch.ones(3)
        dist.all_reduce(numbers)
        assert numbers.tolist() == [1, 1, 1]
    assert not dist.is_initialized()
    assert not {"GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"} & {*os.environ}


def test_it_can_be_opened_again() -> None:
    for _ in range(2):
        with process_group("cpu", 0, 1, alone, lambda x: [x], shared_kernel=True, timeout_s=30):
            assert dist.is_initialized()
            assert dist.get_world_size() == 1
        assert not dist.is_initialized()


def test_it_is_closed_when_the_measurement_breaks() -> None:
    with pytest.raises(ZeroDivisionError), process_group("cpu", 0, 1, alone, lambda x: [x], shared_kernel=True):
        raise ZeroDivisionError
    assert not dist.is_initialized()


def test_all_ranks_hear_that_one_cannot_reach_rank_0() -> None:
    with (
        pytest.raises(NoRendezvousError, match=r"ranks \[1\] cannot reach rank 0"),
        process_group("cpu", 0, 2, alone, lambda x: [x, ""], shared_kernel=True),
    ):
        pass


def test_ranks_on_one_kernel_but_in_two_networks_do_not_meet_at_loopback() -> None:
    """Containers of one machine, nodes in namespaces: each has a loopback of its own."""
    offered: list[str] = []

    def bcast(thing: tuple[list[tuple[str, int]], bytes]) -> tuple[list[str], bytes]:
        offered.extend(address for address, _ in thing[0])
        return [], thing[1]

    with (
        pytest.raises(NoRendezvousError),
        process_group("cpu", 0, 2, bcast, lambda x: [x, "net:[another]"], shared_kernel=True, timeout_s=30),
    ):
        pass
    assert offered == own_addresses()


def test_the_user_s_interface_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    with process_group("cpu", 0, 1, alone, lambda x: [x], shared_kernel=True):
        assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"
    assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"


# --- NCCL's log -------------------------------------------------------------------------------------------------------


def test_nccl_is_told_to_log_into_a_file_of_the_rank(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    log_nccl(tmp_path, 3, environ)
    assert environ["NCCL_DEBUG"] == "INFO"
    assert {"INIT", "NET", "P2P", "SHM", "NVLS"} <= set(environ["NCCL_DEBUG_SUBSYS"].split(","))
    assert environ["NCCL_DEBUG_FILE"] == f"{tmp_path}/nccl.r000003.%h.%p.log"


def test_what_the_user_has_set_for_nccl_stays(tmp_path: Path) -> None:
    mine = {"NCCL_DEBUG": "WARN", "NCCL_DEBUG_FILE": "/tmp/mine", "NCCL_DEBUG_SUBSYS": "ALL"}
    environ = dict(mine)
    log_nccl(tmp_path, 3, environ)
    assert environ == mine


def test_the_log_is_read_from_where_nccl_writes_it(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    log_nccl(tmp_path, 0, environ)
    host = socket.gethostname().partition(".")[0]
    file = tmp_path / f"nccl.r000000.{host}.{os.getpid()}.log"
    file.write_bytes(b"h:1:2 [0] NCCL INFO Using network IB\xff\n")
    assert nccl_log(environ) == ("h:1:2 [0] NCCL INFO Using network IB\ufffd\n", str(file))


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert nccl_log({"NCCL_DEBUG_FILE": str(tmp_path / "none")})[0] == ""
    assert nccl_log({})[0] == ""


def test_every_check_s_group_lets_nccl_log_into_the_run_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("hpcaccept.measure.ranks.process_group.process_group", lambda *_, **words: asked.update(words))
    place = RankPlacement(0, 1, "node0", (0,), (0,), 1.0, 1.0, "cuda:0", 1, shared_kernel=True)
    comm: Any = None
    MpiContext(comm, place, "allreduce", (), 60.0, on_beat=print, folder=tmp_path).process_group()
    assert asked["log_folder"] == tmp_path


def test_a_group_on_a_cpu_leaves_nccl_alone(tmp_path: Path) -> None:
    with process_group("cpu", 0, 1, alone, lambda x: [x], shared_kernel=True, log_folder=tmp_path):
        assert "NCCL_DEBUG_FILE" not in os.environ
