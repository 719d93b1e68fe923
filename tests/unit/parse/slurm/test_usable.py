from __future__ import annotations

import pytest

from hpcaccept.parse.slurm.usable import none_usable


@pytest.mark.parametrize(
    ("text", "features", "why"),
    [
        # As Slurm 22.05 prints them.
        ("node0|idle|a100,nvlink|up\n", ["a100"], ""),
        ("node0|idle|a100,nvlink|up\n", ["a100", "nvlink"], ""),
        ("node0|idle|a100,nvlink|up\n", ["h100"], "no node of it has h100"),
        ("node0|idle|a100,nvlink|inactive\n", [], "the partition is inactive"),
        ("node0|idle|a100,nvlink|drain\n", [], "the partition is drain"),
        ("node1|down|(null)|up\nnode2|idle|(null)|up\n", [], ""),
        ("node1|down|(null)|up\nnode2|drained|(null)|up\n", [], "node1 is down, node2 is drained"),
        ("node1|allocated|(null)|up\n", [], ""),
        ("node1|idle*|(null)|up\n", [], "node1 is idle*"),
        ("", [], "it has no node"),
        (
            "".join(f"n{i}|down|x|up\n" for i in range(6)),
            [],
            "n0 is down, n1 is down, n2 is down, n3 is down and 2 more",
        ),
    ],
)
def test_a_partition_without_a_node_that_could_begin_says_why(text: str, features: list[str], why: str) -> None:
    assert none_usable(text, features) == why
