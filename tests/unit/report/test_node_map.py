"""The map of all nodes: a square each, the worst first, names while there are few, one path per verdict while there are many."""

from __future__ import annotations

import re

from hpcaccept.model.verdict import Outcome
from hpcaccept.report.model import ORDER
from hpcaccept.report.page.node_map import NAMED, node_map


def test_the_worst_node_is_the_first_square_and_names_itself() -> None:
    drawn = str(node_map({"a": Outcome.PASS, "<b>": Outcome.FAIL, "c": Outcome.ERROR}, ORDER))
    assert re.findall(r"<title>(.*?)</title>", drawn) == ["&lt;b&gt;: FAIL", "c: ERROR", "a: PASS"]
    assert 'aria-label="Every node as a square, the worst first: 1 FAIL, 1 ERROR, 1 PASS"' in drawn


def test_every_node_of_a_large_fleet_is_drawn_in_few_bytes() -> None:
    nodes = {f"n{i}": Outcome.FAIL if i == 16_000 else Outcome.PASS for i in range(16_384)}
    drawn = str(node_map(nodes, ORDER))
    assert drawn.count("h8v8") == 16_384
    assert drawn.index("fill FAIL") < drawn.index("fill PASS")
    assert len(drawn) < 20 * len(nodes)
    assert len(nodes) > NAMED


def test_without_nodes_nothing_is_drawn() -> None:
    assert str(node_map({}, ORDER)) == ""
