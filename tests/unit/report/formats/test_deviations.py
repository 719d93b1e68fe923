"""The table that compares: each value beside baseline, peers and own past, for people and as CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from support.builders import H100, baseline, entry, fleet, judged_run_of, nodes, plan, record
from support.builders import evidence as evidence_of

from hpcaccept.report.deviations import deviations_of
from hpcaccept.report.formats import render

if TYPE_CHECKING:
    from hpcaccept.report.judged import Judged


def one_slow(center: float | None = 100.0) -> Judged:
    known = {H100: baseline(entry(lower=90.0, center=center))}
    return judged_run_of(fleet([100.0, 100.0, 80.0, 101.0]), known)


def rows(judged: Judged) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render("deviations-csv", judged))))


def test_the_worst_value_comes_first_with_each_deviation_in_percent() -> None:
    text = render("deviations", one_slow())
    first = text.splitlines()[1].split()
    assert first[:3] == ["node2", "GPU", "0"]
    assert first[-6:] == ["-20.0", "%", "-20.0", "%", "–", "FAIL"]


def test_a_baseline_without_a_centre_shows_its_limit() -> None:
    assert "≥ 90 FLOP/s" in render("deviations", one_slow(None)).splitlines()[1]


def test_the_csv_has_every_digit_and_an_empty_cell_for_what_was_not_compared() -> None:
    first = rows(one_slow())[0]
    assert (first["node"], first["device"], first["metric"], first["verdict"]) == (
        "node2",
        "cuda:0",
        "speed.rate_flops",
        "FAIL",
    )
    assert float(first["baseline_deviation"]) == pytest.approx(-0.2)
    assert (float(first["baseline_lower"]), first["baseline_upper"], first["history_deviation"]) == (90.0, "", "")


def test_a_time_above_its_peers_is_the_loss() -> None:
    records = [
        record("speed", node, {"latency_s": 2.0 if node == "node3" else 1.0, "rate_flops": 100.0}) for node in nodes(4)
    ]
    found = deviations_of(judged_run_of(evidence_of(records, plan(nodes=4))).judgement.table)
    slow = next(one for one in found if one.key == "speed.latency_s")
    assert slow.node == "node3"
    assert slow.loss == pytest.approx(1.0)


def test_of_one_node_there_are_its_values_alone() -> None:
    found = deviations_of(one_slow().judgement.table, "node1")
    assert {one.node for one in found} == {"node1"}


def test_a_name_that_a_spreadsheet_would_run_is_quoted() -> None:
    names = ("=1+1", "node1", "node2")
    records = [record("speed", name, {"rate_flops": 100.0}) for name in names]
    judged = judged_run_of(evidence_of(records, plan(nodes=3), names=names))
    assert {row["node"] for row in rows(judged)} == {"'=1+1", "node1", "node2"}
