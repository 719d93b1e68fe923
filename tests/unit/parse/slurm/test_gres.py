"""GPUs and slices of GPUs in the gres of a node: six and twenty-eight are no thirty-four."""

from __future__ import annotations

import pytest
from support.slurm_words import answers

from hpcaccept.parse.slurm.gres import in_words, is_mixed, mixed_gpus, parse_gpus, usual_count, which
from hpcaccept.parse.slurm.nodes import parse_nodes

SLICED = "gpu:ampere:6(S:0-1),gpu:1g.10gb:28(S:0-1)"


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("gpu:h100:8\n", 8),
        ("gpu:8\n", 8),
        ("gpu\n", 1),
        ("gpu:h100:8(S:0-1),nic:mlx5:2(S:0)\n", 8),
        ("gpu:a100:4(S:0,1)\n", 4),
        ("gpu:h100:4,gpu:a100:2\n", 6),
        ("gpu:nvidia_h100_80gb_hbm3_1g.10gb:56\n", 56),
        ("(null)\n", 0),
        ("", 0),
        ("gpu:h100:8\ngpu:h100:8\ngpu:h100:7\n", 8),
        ("(null)\n(null)\ngpu:h100:8\n", 0),
        ("shard:8,gpu:h100:4\n", 4),
    ],
)
def test_gpus_of_most_nodes_are_counted_in_their_gres(text: str, gpus: int) -> None:
    assert usual_count(text) == gpus


@pytest.mark.parametrize(
    ("line", "gpus"),
    [
        (SLICED, (("ampere", 6), ("1g.10gb", 28))),
        ("gpu:8", (("", 8),)),
        ("gpu", (("", 1),)),
        ("gpu:h100", (("h100", 1),)),
        ("gpu:h100:8(S:0-1),nic:mlx5:2(S:0),shard:h100:32", (("h100", 8),)),
        ("gpu:a100:no_consume:4", (("a100", 4),)),
        ("gpu:a100:4(IDX:0-3),gpu:a100:4(IDX:4-7)", (("a100", 8),)),
        ("(null)", ()),
        ("", ()),
    ],
)
def test_each_type_is_counted_by_itself(line: str, gpus: tuple[tuple[str, int], ...]) -> None:
    assert parse_gpus(line) == gpus


def test_of_a_type_that_is_named_there_are_as_many_as_of_that_type() -> None:
    text = f"{SLICED}\n{SLICED}\ngpu:ampere:8\n"
    assert (usual_count(text, "ampere"), usual_count(text, "1g.10gb"), usual_count(text, "h100")) == (6, 28, 0)


@pytest.mark.parametrize(
    ("line", "mixed"),
    [
        (SLICED, True),
        ("gpu:1g.5gb:14,gpu:2g.10gb:3", True),
        ("gpu:nvidia_a100_3g.20gb:2,gpu:a100:6", True),
        # Two kinds of whole GPUs add up: a run takes all of them.
        ("gpu:h100:4,gpu:a100:2", False),
        ("gpu:nvidia_h100_80gb_hbm3_1g.10gb:56", False),
        ("gpu:h100:8", False),
    ],
)
def test_slices_beside_others_must_be_told_apart(line: str, mixed: bool) -> None:
    assert is_mixed(parse_gpus(line)) is mixed
    assert mixed_gpus(f"gpu:h100:8\n{line}\n") == (parse_gpus(line) if mixed else ())


def test_slices_are_counted_in_what_a_slurm_with_slices_says() -> None:
    gres, shown = answers("22.05", "strict_slices")
    lines = [line.partition("|")[2] for line in gres.out.splitlines()]
    assert set(lines) == {"gpu:h100:8(S:0),gpu:1g.10gb:28(S:0)"}
    both = (("h100", 8), ("1g.10gb", 28))
    assert mixed_gpus("\n".join(lines)) == both
    assert {node.gpus for node in parse_nodes(shown.out)} == {both}


def test_what_there_is_is_listed_as_it_is_asked_for() -> None:
    found, remedy = which(parse_gpus(SLICED), "node7")
    assert found == "node7: ampere:6, 1g.10gb:28 to a node, slices among them, and which are meant is not said"
    assert remedy == "--gpus-per-node ampere:6 or --gpus-per-node 1g.10gb:28"
    assert in_words(()) == "none"
    assert in_words((("", 8),)) == "8"
