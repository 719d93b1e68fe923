from __future__ import annotations

import pytest
from ClusterShell.NodeUtils import GroupResolver, GroupSource

from hpcaccept.config.settings import Settings
from hpcaccept.errors import UsageError
from hpcaccept.plan.make import request_of
from hpcaccept.plan.node_names import handed_on, nodes_named


def test_lists_of_both_notations_name_nodes() -> None:
    assert list(nodes_named("node[01-03],login7", "--nodelist")) == ["login7", "node01", "node02", "node03"]
    assert len(nodes_named("node[0-100000/100]", "--nodelist")) == 1001
    assert not nodes_named("", "--exclude")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("node[0-9", "not a node list"),
        ("@all", "a group that ClusterShell does not know"),
        ("*", "a group that ClusterShell does not know"),
        ("@rack:7", "a group that ClusterShell does not know"),
        ("node[0-99999999999]", "names too many nodes, expected 65,533"),
        ("a[1-99999999],b", "names too many nodes, expected 65,533"),
        ("n[0-99]x[0-999]y[0-99]", "names 10,000,000 nodes, expected 65,533"),
    ],
)
def test_what_names_no_nodes_is_told_before_it_is_spelled_out(
    monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    # Groups are the site's: a ClusterShell with examples of its own knows some.
    monkeypatch.setattr("ClusterShell.NodeSet.RESOLVER_STD_GROUP", GroupResolver([]))
    with pytest.raises(UsageError, match=words):
        nodes_named(text, "--nodelist")


def test_a_group_is_handed_on_as_its_nodes_and_any_other_list_as_it_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = GroupSource("site", {"rack": "node[1-2],gpu7"})
    monkeypatch.setattr("ClusterShell.NodeSet.RESOLVER_STD_GROUP", GroupResolver(groups))
    assert handed_on("@rack", "--nodelist") == "gpu7,node[1-2]"
    assert handed_on("node[01-02],gpu7", "--nodelist") == "node[01-02],gpu7"
    assert handed_on("", "--exclude") == ""


@pytest.mark.parametrize("text", ["node[0-9", "node[0-99999999999]"])
def test_what_is_left_out_is_read_as_strictly_as_what_is_asked_for(text: str) -> None:
    with pytest.raises(UsageError, match="--exclude"):
        request_of(Settings(exclude=text), 0)
