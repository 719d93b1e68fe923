"""What the checks of collectives make of NCCL's log; there is no NCCL here, its log is recorded text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.solo_context import SoloContext

from hpcaccept.checks.allreduce import Allreduce
from hpcaccept.checks.shared import nccl_transport
from hpcaccept.measure.device import Cpu
from hpcaccept.measure.host import infiniband
from hpcaccept.model.metric import Limit

DATA = Path(__file__).parents[3] / "data" / "nccl_log"
TCP = (DATA / "aicr-2683-tcp-instead-of-rdma-2.27.log").read_text()
IB = (DATA / "h100-2nodes-ib-2.21.log").read_text()
PORTS = {"node0": 4, "node1": 4}


class TwoNodes(SoloContext):
    """Rank 8 of 16 on the second of two nodes."""

    ports = PORTS

    def __init__(self) -> None:
        super().__init__(Allreduce(), rank=8, size=16, node="node1")

    def allgather(self, thing: Any) -> list[Any]:
        return list(self.ports.items()) if isinstance(thing, tuple) else [thing]


@pytest.fixture
def ctx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TwoNodes:
    for name in ("NCCL_DEBUG", "NCCL_DEBUG_FILE", "NCCL_IB_DISABLE", "NCCL_NET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    monkeypatch.setenv("NCCL_DEBUG_FILE", str(tmp_path / "nccl.log"))
    monkeypatch.setattr(nccl_transport, "active_ports", lambda: ("mlx5_0/1 (InfiniBand)",))
    monkeypatch.setattr(Cpu, "collectives", lambda _self: "NCCL 2.27.5")
    return TwoNodes()


def log(tmp_path: Path, text: str) -> None:
    (tmp_path / "nccl.log").write_text(text)


def fails(ctx: SoloContext, expected: str) -> bool:
    limit = Allreduce.metric("fallback").limit  # type: ignore[union-attr]
    assert isinstance(limit, Limit)
    return not limit.met_by(ctx.value("fallback", expected))


def test_tcp_where_the_nodes_have_rdma_fails_on_that_rank(ctx: TwoNodes, tmp_path: Path) -> None:
    log(tmp_path, TCP)
    nccl_transport.report(ctx, "nccl", "")
    assert fails(ctx, "rdma")
    assert ctx.facts["fallback"].startswith("TCP (NET/Socket) instead of RDMA")
    assert "2 of 2 nodes have an active" in ctx.facts["fallback"]


def test_rdma_passes_and_says_what_is_used(ctx: TwoNodes, tmp_path: Path) -> None:
    log(tmp_path, IB)
    nccl_transport.report(ctx, "nccl", "")
    assert not fails(ctx, "rdma")
    assert ctx.facts["transport"] == "NET/IB/GDRDMA ×3, P2P ×3; network IB; NVLS"
    assert ctx.value("channels", "NET/IB/GDRDMA") == 3
    assert ctx.facts["rdma_ports"] == "mlx5_0/1 (InfiniBand)"


@pytest.mark.parametrize("text", ["", "garbage\n", "n:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via TELEGRAPH/0\n"])
def test_a_log_that_is_not_understood_is_kept_and_no_pass(ctx: TwoNodes, tmp_path: Path, text: str) -> None:
    log(tmp_path, text)
    nccl_transport.report(ctx, "nccl", "")
    assert not ctx.variants("fallback")
    assert not ctx.variants("channels"), "a required metric that is absent makes the record an ERROR"
    assert Allreduce.metric("channels").required  # type: ignore[union-attr]
    assert ctx.kept["nccl.log"] == text
    assert ctx.facts["transport"].startswith("not understood: ")
    assert f"log: {tmp_path}/nccl.log; asked for with NCCL_DEBUG=INFO" in ctx.facts["transport"]


def test_a_log_that_does_not_name_the_network_is_no_pass(ctx: TwoNodes, tmp_path: Path) -> None:
    log(tmp_path, "n:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM\n")
    nccl_transport.report(ctx, "nccl", "")
    assert not ctx.samples
    assert "cannot be said" in ctx.facts["transport"]


def test_a_log_that_was_never_written_is_no_pass(ctx: TwoNodes) -> None:
    nccl_transport.report(ctx, "nccl", "")
    assert not ctx.samples


def test_an_nccl_that_nobody_told_to_log_is_no_pass(ctx: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NCCL_DEBUG", "NCCL_DEBUG_FILE"):
        monkeypatch.delenv(name)
    nccl_transport.report(ctx, "nccl", "")
    assert not ctx.samples
    assert ctx.facts["transport"].startswith("not understood: ")


def test_a_user_who_silenced_nccl_gets_no_judgement_and_no_error(
    ctx: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCCL_DEBUG", "WARN")
    nccl_transport.report(ctx, "nccl", "rdma")
    assert not ctx.variants("fallback")
    assert "NCCL_DEBUG=WARN" in ctx.refused["fallback"]
    assert ctx.value("channels", "not logged") == 0


def test_where_nothing_is_expected_nothing_is_judged(ctx: TwoNodes, tmp_path: Path) -> None:
    log(tmp_path, TCP)
    ctx.ports = {"node0": 0, "node1": 0}
    nccl_transport.report(ctx, "nccl", "")
    assert not ctx.variants("fallback")
    assert "0 of 2 nodes" in ctx.refused["fallback"]
    assert ctx.value("channels", "NET/Socket") == 1


@pytest.mark.parametrize(
    ("wish", "ports", "environ", "expected"),
    [
        ("", PORTS, {}, "rdma"),
        ("", {"node0": 4, "node1": 0, "node2": 4}, {}, "rdma"),
        ("", {"node0": 4, "node1": 0}, {}, "any"),
        ("", {"node0": 4}, {}, "any"),
        ("", PORTS, {"NCCL_IB_DISABLE": "1"}, "any"),
        ("", PORTS, {"NCCL_IB_DISABLE": "0"}, "rdma"),
        ("", PORTS, {"NCCL_NET": "Socket"}, "any"),
        ("", PORTS, {"NCCL_NET": "IB"}, "rdma"),
        ("rdma", {"node0": 0, "node1": 0}, {"NCCL_IB_DISABLE": "1"}, "rdma"),
        ("nvls", {"node0": 0}, {}, "nvls"),
        ("any", PORTS, {}, "any"),
    ],
)
def test_what_is_expected_follows_from_the_nodes_and_from_what_was_asked(
    wish: str, ports: dict[str, int], environ: dict[str, str], expected: str
) -> None:
    found, why = nccl_transport.expectation(wish, ports, environ)
    assert found == expected
    assert why


def test_a_node_whose_ports_are_down_is_judged_by_what_the_others_have(ctx: TwoNodes, tmp_path: Path) -> None:
    log(tmp_path, TCP)
    ctx.ports = {"node0": 4, "node1": 0, "node2": 4}
    nccl_transport.report(ctx, "nccl", "")
    assert fails(ctx, "rdma")


def test_gloo_is_recorded_and_not_judged(ctx: TwoNodes) -> None:
    nccl_transport.report(ctx, "gloo", "rdma")
    assert ctx.facts["transport"] == "gloo"
    assert not ctx.variants("fallback")
    assert ctx.refused["fallback"]


def test_only_active_ports_could_carry_rdma(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, state, layer in (
        ("mlx5_0", "4: ACTIVE", "InfiniBand"),
        ("mlx5_1", "1: DOWN", "InfiniBand"),
        ("mlx5_2", "4: ACTIVE", "Ethernet"),
    ):
        folder = tmp_path / "sys/class/infiniband" / name / "ports/1"
        folder.mkdir(parents=True)
        (folder / "state").write_text(f"{state}\n")
        (folder / "link_layer").write_text(f"{layer}\n")
    adapters = infiniband.adapters(tmp_path)
    monkeypatch.setattr(infiniband, "adapters", lambda: adapters)
    assert nccl_transport.active_ports() == ("mlx5_0/1 (InfiniBand)", "mlx5_2/1 (Ethernet)")
