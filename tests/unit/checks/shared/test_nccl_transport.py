"""What the checks of collectives make of NCCL's log; there is no NCCL here, its log is recorded text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.solo_context import SoloContext

from hpcaccept.checks.allreduce import Allreduce
from hpcaccept.checks.shared import nccl_transport
from hpcaccept.errors import ToolError
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


# --- the rate itself --------------------------------------------------------------------------------------------------

GB = 1e9


class Fabric(SoloContext):
    """Rank 0 of nodes that say what their cards carry and what their NCCL connected."""

    def __init__(self, cards: dict[str, float], crossing: tuple[str, bool] = ("", False)) -> None:
        super().__init__(Allreduce(), rank=0, size=16, node="node0")
        self.answers: list[list[Any]] = [list(cards.items()), [crossing]]

    def allgather(self, thing: Any) -> list[Any]:
        return self.answers.pop(0) if self.answers else [thing]


@pytest.fixture
def no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nccl_transport, "nccl_log", lambda _environ: ("", ""))
    monkeypatch.setattr(nccl_transport, "card_bytes", lambda: 0.0)


def rate(
    busbw: float, operation: str = "all_reduce", nodes: int = 2, each: int = 8, sharing: int = 1, size: str = "1GiB"
) -> Any:
    return nccl_transport.Rate(f"nccl/{size}", operation, nodes, each, sharing, busbw)


@pytest.mark.parametrize(
    ("operation", "nodes", "each", "cards", "busbw", "share"),
    [
        # NVIDIA's CRE validation of November 2026, GB/s, 16 GB messages, with the nominal rate of a node's cards.
        ("all_reduce", 2, 8, 400, 487.87, 0.65),
        ("all_to_all", 2, 8, 400, 79.11, 0.84),
        ("all_reduce", 4, 4, 200, 191.40, 0.77),
        ("all_to_all", 4, 4, 200, 58.15, 0.93),
        ("all_reduce", 8, 4, 400, 376.01, 0.85),
        ("all_reduce", 2, 8, 200, 337.09, 0.90),
        ("all_gather", 2, 8, 200, 189.27, 0.50),
        # Together's and AWS' own: within the cut too.
        ("all_reduce", 8, 8, 400, 386.6, 0.86),
        ("broadcast", 4, 8, 400, 390, 0.975),
    ],
)
@pytest.mark.usefixtures("no_log")
def test_published_rates_are_below_what_the_cards_carry(
    operation: str, nodes: int, each: int, cards: float, busbw: float, share: float
) -> None:
    ctx = Fabric({f"node{n}": cards * GB for n in range(nodes)})
    nccl_transport.judge_rates(ctx, "nccl", [rate(busbw * GB, operation, nodes, each)])
    assert ctx.value("cards_share", "nccl/1GiB") == pytest.approx(share, abs=0.006)


@pytest.mark.usefixtures("no_log")
def test_the_published_run_at_239_percent_is_an_error_and_no_pass() -> None:
    """GCP GB200, 2 nodes, "NVLink between nodes off": as fast as with it."""
    ctx = Fabric({"node0": 200 * GB, "node1": 200 * GB})
    with pytest.raises(
        ToolError, match=r"nccl/1GiB reached 838 GB/s, 239% of the 350 GB/s that the network cards of 2 nodes"
    ):
        nccl_transport.judge_rates(ctx, "nccl", [rate(100 * GB, each=4, size="1MiB"), rate(837.76 * GB, each=4)])
    assert ctx.value("cards_share", "nccl/1GiB") > 0


@pytest.mark.usefixtures("no_log")
def test_the_error_is_one_of_every_rank() -> None:
    ctx = Fabric({"node0": 200 * GB, "node1": 200 * GB})
    ctx.rank = 9
    ctx.answers.append(["nccl/1GiB reached too much", ""])
    with pytest.raises(ToolError, match="reached too much"):
        nccl_transport.judge_rates(ctx, "nccl", [])
    assert not ctx.samples


@pytest.mark.usefixtures("no_log")
def test_rails_share_the_cards_of_their_nodes() -> None:
    ctx = Fabric({"node0": 400 * GB, "node1": 400 * GB})
    nccl_transport.judge_rates(ctx, "nccl", [rate(45 * GB, "all_gather", each=1, sharing=8)])
    assert ctx.value("cards_share", "nccl/1GiB") == pytest.approx(0.9)


@pytest.mark.usefixtures("no_log")
def test_sums_in_the_switches_may_be_twice_the_cards() -> None:
    ctx = Fabric({f"node{n}": 400 * GB for n in range(8)}, crossing=("", True))
    nccl_transport.judge_rates(ctx, "nccl", [rate(700 * GB, nodes=8)])
    assert ctx.value("cards_share", "nccl/1GiB") == pytest.approx(700 / (2 * 400 * 63 / 64))


@pytest.mark.parametrize(
    ("cards", "crossing", "backend", "why"),
    [
        ({"node0": 400 * GB, "node1": 400 * GB}, ("NVLink connects the nodes", False), "nccl", "NVLink connects"),
        ({"node0": 400 * GB, "node1": 0.0}, ("", False), "nccl", "1 of 2 nodes have no RDMA port"),
        ({"node0": 400 * GB}, ("", False), "nccl", ""),
        ({"node0": 400 * GB, "node1": 400 * GB}, ("", False), "gloo", ""),
    ],
)
@pytest.mark.usefixtures("no_log")
def test_where_the_cards_bound_nothing_nothing_is_judged(
    cards: dict[str, float], crossing: tuple[str, bool], backend: str, why: str
) -> None:
    ctx = Fabric(cards, crossing)
    nccl_transport.judge_rates(ctx, backend, [rate(9999 * GB)])
    assert not ctx.samples
    assert why in ctx.refused.get("cards_share", "")


def test_nvlink_between_nodes_and_sharp_are_read_from_the_log() -> None:
    assert nccl_transport._crossing((DATA / "gb200-mnnvl-2.28.log").read_text())[0]
    assert nccl_transport._crossing((DATA / "hpcx-sharp-2.18.log").read_text()) == ("", True)
    assert nccl_transport._crossing(IB) == nccl_transport._crossing("") == ("", False)


@pytest.mark.parametrize(("name", "layer", "expected"), [
    ("mlx5_0", "InfiniBand", 50 * GB),
    ("rdmap16s27", "Unspecified", 0.0),
    ("mlx5_bond_0", "Ethernet", 0.0),
])  # fmt: skip
def test_only_rates_that_drivers_tell_rightly_bound_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, layer: str, expected: float
) -> None:
    folder = tmp_path / "sys/class/infiniband" / name / "ports/1"
    folder.mkdir(parents=True)
    for file, text in (("state", "4: ACTIVE"), ("link_layer", layer), ("rate", "400 Gb/sec (4X NDR)")):
        (folder / file).write_text(f"{text}\n")
    adapters = infiniband.adapters(tmp_path)
    monkeypatch.setattr(infiniband, "adapters", lambda **_: adapters)
    assert nccl_transport.card_bytes() == expected


def test_a_rank_whose_channels_stay_in_the_node_says_nothing_of_gpudirect(ctx: TwoNodes, tmp_path: Path) -> None:
    log(
        tmp_path,
        "".join(
            f"n:1:2 [0] NCCL INFO {line}\n"
            for line in ("Using network IB", "Channel 00/0 : 1[1] -> 2[2] via P2P/CUMEM")
        ),
    )
    nccl_transport.report(ctx, "nccl", "gdr")
    assert not ctx.variants("fallback")
    assert "no channel of this rank leaves the node" in ctx.refused["fallback"]
    assert ctx.value("channels", "P2P") == 1


def test_fast_socket_is_tcp_where_rdma_was_expected(ctx: TwoNodes, tmp_path: Path) -> None:
    log(tmp_path, (DATA / "gcp-fastsocket-2.20.log").read_text())
    nccl_transport.report(ctx, "nccl", "")
    assert fails(ctx, "rdma")
    assert ctx.facts["fallback"].startswith("TCP (NET/FastSocket) instead of RDMA")
