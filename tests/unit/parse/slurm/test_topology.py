"""Nodes and their leaves as Slurm tells them: tree recorded (tests/data/slurm/22.05/tree.txt), blocks and files in the words of its documentation."""

from __future__ import annotations

import pytest
from support.slurm_words import answers

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.slurm.topology import own_leaf, parse_topology, parse_topology_file

SIX = {f"node{number}": f"leaf{number // 2}" for number in range(6)}


def test_the_leaves_of_a_tree_are_what_the_real_slurm_prints() -> None:
    shown, tasks = answers("22.05", "tree")
    assert parse_topology(shown.out) == SIX
    told = [line.partition("=") for line in tasks.out.splitlines()]
    places = [value for name, _, value in told if name == "SLURM_TOPOLOGY_ADDR"]
    patterns = [value for name, _, value in told if name == "SLURM_TOPOLOGY_ADDR_PATTERN"]
    assert {
        place.rpartition(".")[2]: own_leaf({"SLURM_TOPOLOGY_ADDR": place, "SLURM_TOPOLOGY_ADDR_PATTERN": pattern})
        for place, pattern in zip(places, patterns, strict=True)
    } == SIX


def test_a_block_is_a_leaf_and_a_topology_conf_has_the_same_words() -> None:
    shown = (
        "BlockName=b1 BlockIndex=0 Nodes=gpu[01-02] BlockSize=2\nBlockName=b2 BlockIndex=1 Nodes=gpu03 BlockSize=2\n"
    )
    assert parse_topology(shown) == {"gpu01": "b1", "gpu02": "b1", "gpu03": "b2"}
    file = "# racks\nSwitchName=s0 Nodes=gpu[01-02]\nSwitchName=s1 Nodes=gpu03 # half\nSwitchName=top Switches=s[0-1]\n"
    assert parse_topology(file) == {"gpu01": "s0", "gpu02": "s0", "gpu03": "s1"}


def test_a_node_on_two_leaves_is_on_none_and_no_topology_is_no_leaf() -> None:
    assert parse_topology("SwitchName=rail0 Nodes=a,b\nSwitchName=rail1 Nodes=a\n") == {"b": "rail0"}
    assert parse_topology("") == {}


@pytest.mark.parametrize(
    "text", ["invalid entity:topology", "SwitchName=s0 Nodes=a[1-", "SwitchName=s0 Nodes=a[1-99999999]"]
)
def test_what_is_no_topology_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_topology(text)


def test_a_topology_yaml_gives_its_default() -> None:
    tree = {
        "switches": [
            {"switch": "top", "children": "s[1-2]"},
            {"switch": "s1", "nodes": "a[1-2]"},
            {"switch": "s2", "nodes": "a3"},
        ]
    }
    block = {"block_sizes": [2], "blocks": [{"block": "b1", "nodes": "a[1-3]"}]}
    file = [
        {"topology": "one", "block": block},
        {"topology": "two", "cluster_default": True, "tree": tree},
        {"topology": "three", "flat": True},
    ]
    assert parse_topology_file(file) == {"a1": "s1", "a2": "s1", "a3": "s2"}
    assert set(parse_topology_file(file[:1]).values()) == {"b1"}
    assert parse_topology_file(file[2:]) == {}
    odds: tuple[object, ...] = ({}, [], ["x"], "text", None)
    for odd in odds:
        with pytest.raises(NotUnderstood):
            parse_topology_file(odd)


@pytest.mark.parametrize(
    ("address", "pattern", "leaf"),
    [
        ("sh04.sh04-isw-16.sh04-16n05", "switch.switch.node", "sh04-isw-16"),
        (".ib-core.tors-r1pac16.gpu027", "switch.switch.switch.node", "tors-r1pac16"),
        ("b7.gpu3.site.org", "block.node", "b7"),
        ("localhost.localdomain", "node", ""),
        ("node1", "switch.node", ""),
        ("", "", ""),
    ],
)
def test_a_task_is_told_its_own_leaf(address: str, pattern: str, leaf: str) -> None:
    """The first two as real clusters show them in their jobs' environments."""
    assert own_leaf({"SLURM_TOPOLOGY_ADDR": address, "SLURM_TOPOLOGY_ADDR_PATTERN": pattern}) == leaf
