"""Logs of NCCL; where their shapes come from says tests/data/nccl_log/README.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcaccept.config.suites import SuiteText
from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.nccl_log import Comm, NcclLog, nothing_to_judge, parse_nccl_log, shortfall
from hpcaccept.plan.resolve import resolve_suite

DATA = Path(__file__).parents[2] / "data" / "nccl_log"
TCP = "aicr-2683-tcp-instead-of-rdma-2.27"
IB = "h100-2nodes-ib-2.21"


def log(name: str) -> NcclLog:
    return parse_nccl_log((DATA / f"{name}.log").read_text())


def one(message: str) -> str:
    return f"node0:1:2 [0] NCCL INFO {message}\n"


@pytest.mark.parametrize(
    ("name", "channels", "networks"),
    [
        (IB, {"NET/IB/GDRDMA": 3, "P2P": 3}, ("IB",)),
        (TCP, {"NET/Socket": 1, "P2P": 2}, ("Socket",)),
        ("p5-efa-2.24", {"NET/AWS Libfabric/GDRDMA": 2, "P2P": 1}, ("AWS Libfabric",)),
        ("ofi-over-tcp-2.20", {"NET/AWS Libfabric": 2}, ("AWS Libfabric",)),
        ("hpcx-sharp-2.18", {"P2P": 1, "NET/IBext/GDRDMA": 1, "COLLNET/SHARP/GDRDMA": 1}, ("IBext",)),
        ("pcie-node-shm-2.22", {"SHM": 2}, ("Socket",)),
        ("gb200-mnnvl-2.28", {"P2P": 2}, ("IB",)),
        ("only-the-network-2.28", {}, ("IB",)),
    ],
)
def test_the_transports_of_a_rank_are_counted(name: str, channels: dict[str, int], networks: tuple[str, ...]) -> None:
    assert dict(log(name).channels) == channels
    assert log(name).networks == networks


def test_ranks_nodes_and_version_are_read() -> None:
    assert log(IB).comms == (Comm(rank=0, ranks=16, nodes=2),)
    assert log(IB).version == "2.21.5+cuda12.4"


def test_two_communicators_are_two() -> None:
    text = one("comm 0x1 rank 0 nRanks 4 nNodes 2 localRanks 2") + one("comm 0x2 rank 1 nRanks 2 nNodes 1 localRanks 2")
    assert parse_nccl_log(text + one("Using network IB")).comms == (Comm(0, 4, 2), Comm(1, 2, 1))


def test_it_is_told_in_a_line() -> None:
    assert str(log(IB)) == "NET/IB/GDRDMA ×3, P2P ×3; network IB; NVLS"
    assert str(log("ofi-over-tcp-2.20")) == "NET/AWS Libfabric ×2; network AWS Libfabric and provider tcp"


def test_nvls_that_is_available_is_not_nvls_that_is_used() -> None:
    assert log(IB).nvls
    assert not log(TCP).nvls


@pytest.mark.parametrize(
    ("message", "transport"),
    [
        ("Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM/read", "P2P"),
        ("Channel 00/0 : 0[0] -> 1[1] via P2P/direct pointer", "P2P"),
        ("Channel 00/0 : 0[0] -> 3[3] via P2P/indirect/2[2]", "P2P"),
        ("Channel 03/0 : 0[d6000] -> 2[de000] via P2P/IPC comm 0x9bbf3b0 nRanks 4096", "P2P"),
        ("Channel 00 : 1[1a000] -> 2[af000] via direct shared memory", "SHM"),
        ("Channel 00/1 : 0[0] -> 4[4] via SHM/CE/direct", "SHM"),
        ("Ring 01 : 0[160] -> 1[160] [send] via NET/AWS Libfabric/0", "NET/AWS Libfabric"),
        ("Channel 00/0 : 7[7] -> 8[0] [receive] via NET/IBext_v8/1/GDRDMA", "NET/IBext_v8/GDRDMA"),
        ("Channel 07/1 : 4092[d6000] -> 0[d6000] [receive] via NET/IB/-1/Shared comm 0x9b nRanks 4096", "NET/IB"),
    ],
)  # fmt: skip
def test_channels_of_all_versions_are_read(message: str, transport: str) -> None:
    assert parse_nccl_log(one(message)).channels == ((transport, 1),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no line of NCCL"),
        ("Segmentation fault (core dumped)\n", "no line of NCCL"),
        (one("cudaDriverVersion 12040"), "none says how ranks are connected"),
        (one("comm 0x1 rank 0 nranks 8 cudaDev 0 busId 1 - Init COMPLETE"), "none says how ranks are connected"),
        (one("Channel 00/0 : 0[0] -> 1[1] via CARRIER-PIGEON/0"), "'CARRIER-PIGEON/0', which is not a known transport"),
        (one("Channel 00/0 : zero to one via P2P/CUMEM"), "unknown form: 'Channel 00/0 : zero to one"),
    ],
)
def test_what_is_not_understood_is_never_an_answer(text: str, why: str) -> None:
    with pytest.raises(NotUnderstood, match=why):
        parse_nccl_log(text)


def test_a_communicator_of_one_rank_has_no_connection() -> None:
    text = one("comm 0x1 rank 0 nranks 1 cudaDev 0 busId 1 - Init COMPLETE")
    assert str(parse_nccl_log(text)) == "one rank, no connection"


# --- what was expected ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [IB, "p5-efa-2.24", "hpcx-sharp-2.18", "gb200-mnnvl-2.28", "only-the-network-2.28"])
def test_rdma_is_rdma(name: str) -> None:
    assert shortfall(log(name), "rdma") == ""


def test_tcp_where_rdma_was_expected_is_told_with_its_reason() -> None:
    said = shortfall(log(TCP), "rdma")
    assert said.startswith("TCP (NET/Socket) instead of RDMA")
    assert "NET/IB : No device found." in said
    assert "Could not find: libnccl-net.so" in said


def test_a_network_over_tcp_under_another_name_is_no_rdma() -> None:
    assert shortfall(log("ofi-over-tcp-2.20"), "rdma") == "libfabric over tcp instead of RDMA"


def test_one_channel_over_tcp_among_many_over_rdma_is_seen() -> None:
    text = (DATA / f"{IB}.log").read_text() + one("Channel 04/0 : 0[0] -> 8[0] [send] via NET/Socket/0")
    assert "TCP" in shortfall(parse_nccl_log(text), "rdma")


def test_a_rank_without_channels_over_the_network_is_judged_by_the_network_chosen() -> None:
    text = one("Using network Socket") + one("Channel 00/0 : 1[1] -> 2[2] via P2P/CUMEM")
    assert "TCP" in shortfall(parse_nccl_log(text), "rdma")


def test_lines_about_networks_that_were_not_taken_are_no_fall_back() -> None:
    text = (DATA / f"{IB}.log").read_text() + one("NET/Socket : Using [0]eth0:192.0.2.1<0>")
    assert shortfall(parse_nccl_log(text), "rdma") == ""


def test_rdma_from_host_memory_is_no_gpudirect() -> None:
    text = (DATA / f"{IB}.log").read_text()
    assert shortfall(parse_nccl_log(text), "gdr") == ""
    text += one("Channel 09/0 : 0[0] -> 8[0] [send] via NET/IB/0")
    assert shortfall(parse_nccl_log(text), "rdma") == ""
    assert shortfall(parse_nccl_log(text), "gdr") == "NET/IB without GPUDirect RDMA"
    assert "TCP" in shortfall(log(TCP), "gdr")


def test_gdr_without_a_channel_over_the_network_is_not_gdr() -> None:
    with pytest.raises(NotUnderstood, match="names no channel over a network"):
        shortfall(log("only-the-network-2.28"), "gdr")
    within = parse_nccl_log(one("Using network IB") + one("Channel 00/0 : 1[1] -> 2[2] via P2P/CUMEM"))
    with pytest.raises(NotUnderstood, match="names no channel over a network"):
        shortfall(within, "gdr")
    assert "no channel of this rank leaves the node" in nothing_to_judge(within, "gdr")
    assert "NVLink connects the nodes" in nothing_to_judge(log("gb200-mnnvl-2.28"), "gdr")
    assert nothing_to_judge(log(IB), "gdr") == nothing_to_judge(log("only-the-network-2.28"), "gdr") == ""


@pytest.mark.parametrize(
    "network", ["Socket", "FastSocket", "FastSocket_v7", "GPUDirectTCPX_v7", "FasTrak", "GPUDirectTCPX"]
)
@pytest.mark.parametrize("wish", ["rdma", "gdr"])
def test_networks_that_are_tcp_under_other_names_are_no_rdma(network: str, wish: str) -> None:
    for text in (
        one(f"Using network {network}"),
        one(f"Channel 00/0 : 0[0] -> 8[0] [send] via NET/{network}/0/GDRDMA"),
    ):
        assert shortfall(parse_nccl_log(text), wish).startswith(f"TCP (NET/{network}) instead of RDMA")


@pytest.mark.parametrize("network", ["IB", "IBext_v8", "gIB"])
def test_networks_that_are_known_to_be_rdma_are(network: str) -> None:
    assert shortfall(parse_nccl_log(one(f"Using network {network}")), "rdma") == ""


@pytest.mark.parametrize(
    "text",
    [
        one("Using network CarrierPigeon"),
        one("Using network UCX"),
        one("Using network AWS Libfabric"),
        one("Using network IB") + one("Channel 00/0 : 0[0] -> 8[0] [send] via NET/CarrierPigeon/0"),
        one("NET/OFI Selected provider is shm, fabric is shm (found 1 nics)") + one("Using network AWS Libfabric"),
    ],
)
@pytest.mark.parametrize("wish", ["rdma", "gdr"])
def test_a_network_that_nobody_has_heard_of_is_no_pass(text: str, wish: str) -> None:
    with pytest.raises(NotUnderstood, match="it is not known whether it is RDMA"):
        shortfall(parse_nccl_log(text), wish)


def test_a_rank_without_neighbours_in_its_node_says_nothing_of_p2p() -> None:
    text = one("Channel 00/0 : 0[0] -> 1[0] [send] via NET/IB/0/GDRDMA")
    assert "stays in the node" in nothing_to_judge(parse_nccl_log(text), "p2p")


def test_host_memory_is_not_p2p() -> None:
    assert shortfall(log("pcie-node-shm-2.22"), "p2p") == "host memory (SHM) instead of P2P"
    assert shortfall(log(IB), "p2p") == ""


def test_nvls_that_was_expected_must_be_used() -> None:
    assert shortfall(log(IB), "nvls") == ""
    assert shortfall(log(TCP), "nvls") == "no NVLS communicator"


@pytest.mark.parametrize("wish", ["rdma", "gdr", "nvls", "p2p", "any"])
@pytest.mark.parametrize("check", ["allreduce", "collectives"])
def test_a_suite_may_expect_each_of_them(wish: str, check: str, tmp_path: Path) -> None:
    table = {"baseline": "optional", "checks": {check: {"expect_transport": wish}}}
    (spec,) = resolve_suite(SuiteText(tmp_path / "mine.toml", table)).checks
    assert spec.params["expect_transport"] == wish


def test_anything_will_do_where_nothing_is_expected() -> None:
    assert shortfall(log(TCP), "any") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [(one("Channel 00/0 : 1[1] -> 2[2] via P2P/CUMEM"), "rdma"), (one("Using network IB"), "p2p")],
)
def test_a_log_that_does_not_decide_it_is_not_understood(text: str, expected: str) -> None:
    with pytest.raises(NotUnderstood, match="cannot be said"):
        shortfall(parse_nccl_log(text), expected)
