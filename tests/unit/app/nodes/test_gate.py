from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hpcaccept.app.nodes.gate import Shown, failed_nodes, gate_of, shown_since
from hpcaccept.store.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

CHECKS = ("matmul", "health")


def shown(run: str, passed: tuple[str, ...] = CHECKS, node: str = "PASS", bad: tuple[str, ...] = ()) -> Shown:
    return Shown(run, run, frozenset(passed), bad, node)


def test_the_failed_checks_passed_often_enough_open_it() -> None:
    found = gate_of([shown("1"), shown("2")], CHECKS, 2)
    assert (found.passed, found.runs) == (True, ("1", "2"))


def test_one_run_too_few_does_not() -> None:
    found = gate_of([shown("1")], CHECKS, 2)
    assert not found.passed
    assert found.why == "1 of 2 passing runs of matmul, health since the mark"


def test_a_run_that_did_not_hold_what_it_failed_says_nothing() -> None:
    assert not gate_of([shown("1"), shown("2", ("matmul",))], CHECKS, 2).passed


def test_a_failure_in_between_begins_anew() -> None:
    runs = [shown("1"), shown("2", node="FAIL", bad=("matmul: FAIL",)), shown("3")]
    found = gate_of(runs, CHECKS, 2)
    assert not found.passed
    assert "2 says FAIL (matmul: FAIL)" in found.why
    assert gate_of([*runs, shown("4")], CHECKS, 2).runs == ("3", "4")


@pytest.mark.parametrize("outcome", ["WARN", "NOT_RUN", "NO_BASELINE", "ERROR"])
def test_a_node_that_is_in_doubt_has_not_passed(outcome: str) -> None:
    assert not gate_of([shown("1"), shown("2", node=outcome)], (), 1).passed or outcome == "PASS"


# --- reports ----------------------------------------------------------------------------------------------------------


def report(runs: Path, name: str, at: str, *verdicts: tuple[str, str, str], passes: str = "listed") -> RunFolder:
    folder = RunFolder(runs / name)
    folder.path.mkdir(parents=True)
    (folder.path / "plan.json").write_text("{}")
    nodes = {node: outcome for node, _, outcome in verdicts}
    lines: list[dict[str, Any]] = [
        {
            "node": node,
            "check": check,
            "outcome": outcome,
            "required": True,
            "code": None if outcome == "PASS" else "gpu-lost",
        }
        for node, check, outcome in verdicts
    ]
    rows = [{"check": check} for check in dict.fromkeys(check for _, check, _ in verdicts)]
    document = {"created_at": at, "nodes": nodes, "verdicts": lines, "passes": passes, "checks": rows}
    folder.report_file.write_text(json.dumps(document))
    return folder


def test_only_runs_since_the_repair_that_had_the_node_count(tmp_path: Path) -> None:
    report(tmp_path, "1", "2026-11-30T10:00:00+00:00", ("n0", "matmul", "PASS"))
    report(tmp_path, "2", "2026-11-30T12:00:00+00:00", ("n0", "matmul", "PASS"))
    report(tmp_path, "3", "2026-11-30T13:00:00+00:00", ("n1", "matmul", "PASS"))
    found = shown_since(tmp_path, "n0", "2026-11-30T12:00:00+01:00")
    assert [(one.run, one.passed) for one in found] == [("2", frozenset({"matmul"}))]


def test_a_run_in_the_second_of_the_mark_counts_unless_it_is_the_one_that_failed(tmp_path: Path) -> None:
    at = "2026-11-30T12:00:00+00:00"
    report(tmp_path, "again", at, ("n0", "matmul", "PASS"))
    report(tmp_path, "failed", at, ("n0", "matmul", "FAIL"))
    assert [one.run for one in shown_since(tmp_path, "n0", at, "failed")] == ["again"]


def test_a_check_with_a_pass_and_a_fail_has_not_passed(tmp_path: Path) -> None:
    report(tmp_path, "1", "2026-11-30T12:00:00+00:00", ("n0", "matmul", "PASS"), ("n0", "matmul", "FAIL"))
    (found,) = shown_since(tmp_path, "n0", "2026-11-30T00:00:00+00:00")
    assert (found.passed, found.bad, found.node) == (frozenset(), ("matmul: FAIL",), "FAIL")


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"created_at": 1}', '{"created_at": "2026-11-30T12:00:00+00:00", "nodes": {"n0": "PASS"}}'],
)
def test_a_report_that_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    report(tmp_path, "1", "2026-11-30T12:00:00+00:00", ("n0", "matmul", "PASS")).report_file.write_text(text)
    assert shown_since(tmp_path, "n0", "2026-11-30T00:00:00+00:00") == []


def test_the_nodes_that_failed_have_their_code_and_checks(tmp_path: Path) -> None:
    folder = report(
        tmp_path,
        "1",
        "2026-11-30T12:00:00+00:00",
        ("n0", "health", "FAIL"),
        ("n1", "health", "PASS"),
        ("n2", "health", "WARN"),
    )
    assert failed_nodes(folder) == {"n0": ("gpu-lost", ("health",))}


def test_a_file_that_is_no_report_is_told(tmp_path: Path) -> None:
    folder = report(tmp_path, "1", "2026-11-30T12:00:00+00:00", ("n0", "health", "FAIL"))
    folder.report_file.write_text("{}")
    with pytest.raises(ValueError, match="not a report"):
        failed_nodes(folder)
