"""The forms of an isolation's answer: JSON that keeps to its schema, a page and a terminal on which no text acts."""

from __future__ import annotations

import json
import re
from pathlib import Path

from support.isolations import answer, concluded, ended, suspicion
from support.schema import faults

from hpcaccept.model.isolation import Fault
from hpcaccept.report.isolation import as_json, page, terminal

SCHEMA = Path(__file__).parents[4] / "docs" / "reference" / "isolation.schema.json"
BLAMED = concluded(
    suspicion(Fault("node", ("node2",)), evidence_for=("r1g2",), instead=((Fault("link", ("node1", "node2")), 0.02),)),
    posterior={"node0": 0.001, "node1": 0.002, "node2": 0.99, "node3": 0.0},
)
HOSTILE = '<script>alert(1)</script>\x1b[31m "x" & node'
TESTS = (ended("r1g1", "node0 node1", value=4e9), ended("r1g2", "node2 node3", "failed", how=HOSTILE))


def schema_faults(text: str) -> list[str]:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    return faults(json.loads(text), schema, schema)


def test_the_json_keeps_to_its_schema() -> None:
    assert schema_faults(as_json.render(answer(BLAMED, TESTS))) == []
    assert schema_faults(as_json.render(answer(concluded(nothing_wrong=0.99), end=None))) == []


def test_the_schema_refuses_what_it_does_not_know() -> None:
    document = json.loads(as_json.render(answer(BLAMED, TESTS)))
    document["surprise"] = 1
    document["tests"][0]["outcome"] = "odd"
    assert len(schema_faults(json.dumps(document))) == 2


def test_the_page_has_a_row_per_node_the_most_probable_first_and_a_cell_per_round() -> None:
    html = page.render(answer(BLAMED, TESTS))
    rows = re.findall(r'<th scope="row">(\w+)</th><td>([^<]+)</td>', html)
    assert rows == [("node2", "99 %"), ("node1", "0.2 %"), ("node0", "0.1 %"), ("node3", "0 %")]
    assert html.count('class="failed"') == 2
    assert html.count('class="passed"') == 2
    assert "<polyline" in html
    assert "FAULT FOUND" in html


def test_no_text_of_a_node_acts_on_the_page_or_the_terminal() -> None:
    html = page.render(answer(BLAMED, TESTS))
    assert "<script" not in html
    assert "\x1b" not in html
    assert "default-src &#x27;none&#x27;" in html
    text = terminal.text_of(answer(BLAMED, TESTS))
    assert "\x1b" not in text


def test_the_terminal_tells_rounds_findings_and_what_to_type() -> None:
    text = terminal.text_of(answer(BLAMED, TESTS))
    for expected in (
        "Isolation of allreduce over 4 nodes",
        "node[2-3] failed",
        "isolated-node",
        "--exclude node2",
        "Exit code 1.",
    ):
        assert expected in text


def test_a_page_of_many_nodes_stays_readable() -> None:
    names = tuple(f"node{number}" for number in range(1024))
    html = page.render(answer(BLAMED, TESTS, nodes=names))
    assert html.count('<th scope="row">') == 400
    assert "624 more nodes in isolation-report.json" in html
