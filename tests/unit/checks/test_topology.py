"""Matrices of real machines (tests/data/nvidia_topo) through a stand-in for nvidia-smi, against boards and against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.solo_context import SoloContext
from support.stand_ins import DATA, tools_say

from hpcaccept.checks import topology as module
from hpcaccept.checks.topology import Topology, blamed, own_cards
from hpcaccept.errors import NotUnderstood, ToolError
from hpcaccept.measure.gpu.boards import board_of, boards
from hpcaccept.model.check import Unavailable
from hpcaccept.parse.nvidia_topo import parse_topo

if TYPE_CHECKING:
    from pathlib import Path

MODELS = {
    "dgx_a100": "NVIDIA A100-SXM4-40GB",
    "hgx_h200": "NVIDIA H200",
    "dgx_h100_cut": "NVIDIA H100 80GB HBM3",
}


def recorded(name: str) -> str:
    return (DATA / "nvidia_topo" / f"{name}.txt").read_text("utf-8")


def torn() -> str:
    """The matrix of an H200 whose GPU2 has lost its links, in the words that a B200 printed then."""
    bad = ["NODE", "NODE", " X ", "NODE", "SYS", "SYS", "SYS", "SYS"]
    assert recorded("dgx_b200_gpu2_torn").splitlines()[2].split()[1:9] == [word.strip() for word in bad]
    lines = recorded("hgx_h200").splitlines()
    for number in range(8):
        cells = lines[1 + number].split("\t")
        cells[3] = bad[number]
        lines[1 + number] = "\t".join(cells if number != 2 else [cells[0], *bad, *cells[9:]])
    return "\n".join(lines)


def node(
    monkeypatch: pytest.MonkeyPatch, text: str, model: str, nodes: list[Any] | None = None, **params: Any
) -> SoloContext:
    tools_say(monkeypatch, text)
    monkeypatch.setattr(module, "is_virtual_machine", lambda _root: False)
    ctx = SoloContext(Topology(**params), device="cuda:0", model=model, gpus_asked=8)
    if nodes:
        ctx.allgather = lambda thing: [thing, *nodes]  # type: ignore[method-assign]
    return ctx.run()


def told(ctx: SoloContext, metric: str) -> dict[str, float]:
    return {variant: values[0] for (name, variant), values in ctx.samples.items() if name == metric}


@pytest.mark.parametrize("name", MODELS)
def test_every_recorded_machine_is_as_its_board_says(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    ctx = node(monkeypatch, recorded(name), MODELS[name])
    assert told(ctx, "missing_links") == {f"GPU{number}": 0 for number in range(8)}
    assert told(ctx, "far_cards") == {f"GPU{number}": 0 for number in range(8)}
    assert ctx.kept, "the matrix is kept"


def test_a_gpu_that_has_lost_its_links_is_named_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = node(monkeypatch, torn(), "NVIDIA H200")
    assert told(ctx, "missing_links") == {f"GPU{number}": 7 * (number == 2) for number in range(8)}
    assert ctx.facts["found[GPU2]"].startswith("NODE to GPU0, NODE to GPU1, NODE to GPU3, SYS to GPU4")
    assert ctx.facts["found[GPU2]"].endswith("expected NV18")


def test_a_pair_alone_counts_for_both_its_ends_and_fewer_links_than_the_board_has_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = (
        recorded("hgx_h200").replace("GPU0\t X \tNV18", "GPU0\t X \tNV17").replace("GPU1\tNV18\t X ", "GPU1\tNV17\t X ")
    )
    found = told(node(monkeypatch, text, "NVIDIA H200"), "missing_links")
    assert {gpu for gpu, count in found.items() if count} == {"GPU0", "GPU1"}
    assert blamed([("a", "b"), ("b", "a"), ("b", "c")], "abcd") == {"a": 0, "b": 2, "c": 0, "d": 0}


def test_of_an_unknown_model_most_pairs_say_what_is_right_and_without_nvlink_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert told(node(monkeypatch, torn(), "NVIDIA Z9"), "missing_links")["GPU2"] == 7
    ctx = node(monkeypatch, recorded("three_gpus"), "NVIDIA A100 80GB PCIe")
    assert told(ctx, "missing_links") == {}
    assert set(ctx.refused) == {"missing_links", "far_cards", "other_ways"}


def test_a_gpu_without_a_card_of_its_own_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = recorded("hgx_h200").splitlines()
    lines[1] = lines[1].replace("PXB", "NODE")
    ctx = node(monkeypatch, "\n".join(lines), "NVIDIA H200")
    assert {gpu for gpu, far in told(ctx, "far_cards").items() if far} == {"GPU0"}
    assert ctx.facts["card[GPU0]"] == "none of its own; nearest mlx5_0 (NODE)"
    assert ctx.facts["card[GPU1]"] == "mlx5_3 (PXB)"


def test_words_that_stand_together_are_two_words() -> None:
    whole = recorded("hgx_h200").replace("PXB\tNODE", "PXBNODE").replace("NIC10\tNIC11", "NIC10NIC11")
    assert parse_topo(whole) == parse_topo(recorded("hgx_h200"))


def test_a_b200_prints_as_many_links_as_its_board_has() -> None:
    words = {word for line in recorded("dgx_b200_gpu2_torn").splitlines() for word in line.split()[1:9]}
    board = board_of("NVIDIA B200")
    assert board
    assert f"NV{board.links}" in words


def test_two_gpus_below_one_switch_take_a_card_each_whoever_asks_first() -> None:
    assert own_cards({"a": ["x", "y"], "b": ["x"]}) == {"a": "y", "b": "x"}
    assert len(own_cards({"a": ["x"], "b": ["x"]})) == 1


def test_in_a_virtual_machine_and_where_cards_are_few_nothing_is_said_of_cards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ctx = node(monkeypatch, recorded("vm_h100"), "NVIDIA H100 80GB HBM3")
    assert ctx.refused["far_cards"] == "0 network cards are in the matrix, fewer than one for each of 8 GPUs"
    monkeypatch.undo()
    tools_say(monkeypatch, recorded("hgx_h200"))
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\nflags\t\t: fpu hypervisor lahf_lm\n")
    ctx = SoloContext(Topology(root=str(tmp_path)), device="cuda:0", model="NVIDIA H200").run()
    assert "hypervisor" in ctx.refused["far_cards"]


def test_a_node_that_differs_from_most_is_named_by_its_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = [module.rows(parse_topo(recorded("hgx_h200"))), []]
    assert set(
        told(node(monkeypatch, recorded("hgx_h200"), "NVIDIA H200", [usual, usual, None]), "other_ways").values()
    ) == {0.0}
    lines = recorded("hgx_h200").splitlines()
    lines[5] = lines[5].replace("PXB\tNODE", "NODE\tPXB").replace("168-223\t1", "168-223\t0")
    ctx = node(monkeypatch, "\n".join(lines), "NVIDIA H200", [usual, usual])
    assert {gpu: count for gpu, count in told(ctx, "other_ways").items() if count} == {"GPU4": 3}
    assert (
        ctx.facts["differs[GPU4]"]
        == "mlx5_6 NODE instead of PXB; mlx5_7 PXB instead of NODE; numa 0 instead of 1 (2 of 3 nodes)"
    )


def test_links_that_are_missing_are_told_once_and_two_nodes_are_no_majority(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = [module.rows(parse_topo(recorded("hgx_h200"))), []]
    ctx = node(monkeypatch, torn(), "NVIDIA H200", [usual, usual])
    assert set(told(ctx, "other_ways").values()) == {0.0}
    assert "other_ways" in node(monkeypatch, torn(), "NVIDIA H200", [usual]).refused


def test_a_card_on_another_numa_node_than_its_gpu_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number in range(12):
        folder = tmp_path / f"sys/class/infiniband/mlx5_{number}/device"
        folder.mkdir(parents=True)
        (folder / "numa_node").write_text(f"{0 if number in (0, 3, 4, 5, 9) else 1}\n")
    ctx = node(monkeypatch, recorded("hgx_h200"), "NVIDIA H200", root=str(tmp_path))
    assert ctx.facts["numa"] == "GPU5 is on NUMA node 1, its card mlx5_9 on 0"


@pytest.mark.parametrize("text", ["", "No devices were found\n", "dgx_b200_gpu2_torn", "dgx_b200_spoilt"])
def test_what_is_no_whole_matrix_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(NotUnderstood):
        node(monkeypatch, recorded(text) if text.startswith("dgx") else text, "NVIDIA B200")


def test_a_tool_that_fails_is_an_error_and_one_that_is_missing_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 9)
    with pytest.raises(ToolError, match="ended with 9: NVIDIA-SMI has failed"):
        SoloContext(Topology()).run()
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match="nvidia-smi is not installed"):
        SoloContext(Topology()).run()


def test_every_board_has_a_source_and_a_date() -> None:
    assert all(board.source.count("http") and board.date and board.models for board in boards())
    assert board_of("NVIDIA B200")
    assert board_of("NVIDIA GB200") is None
