"""Reports for machines and tickets, each read back by somebody else's reader; and where ``report --output`` may write."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import schema
from support.big_runs import big_run, judged_run
from support.builders import AT, H100, baseline, evidence, fleet, judged_run_of, nodes, plan, record, suite
from support.metric_files import samples_of

from hpcaccept.app.run.conclude import save_report
from hpcaccept.errors import RunError, UsageError
from hpcaccept.model.event import Event
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.job import JobStatus
from hpcaccept.model.record import UnreadableLine
from hpcaccept.model.suite import CheckSpec
from hpcaccept.model.verdict import Outcome, Subject, Verdict
from hpcaccept.report import formats
from hpcaccept.report.formats import render
from hpcaccept.report.formats.markdown import SHOWN, escape
from hpcaccept.report.node_lists import KINDS
from hpcaccept.report.phrases import fold, is_host, place_of, troubles
from hpcaccept.store.folder import RunFolder

if TYPE_CHECKING:
    from support.metric_files import Samples

    from hpcaccept.model.evidence import Evidence

HOSTILE = '<b>"\\`|\x1b[31m@all]\n'


def report(found: Evidence, form: str) -> str:
    return render(form, judged_run_of(found))


def healthy() -> Evidence:
    return fleet([100.0] * 4)


def faulty() -> Evidence:
    return fleet([100.0, 100.0, 50.0, 100.0])


def unreadable() -> Evidence:
    records = [record("speed", node, {"rate_flops": 1.0, "wrong_elements": 0}) for node in nodes(3)]
    events = (
        Event("death", AT, step="00", nodes=("node3",), ranks=(3,), check="speed", detail="lost", remedy="dmesg"),
    )
    return evidence(records, events=events, unreadable=(UnreadableLine("r000003.jsonl", '{"k'),))


def empty() -> Evidence:
    return evidence([], names=(), rank_starts=(), job=JobStatus("timeout", "TIMEOUT"))


def hostile() -> Evidence:
    names = (HOSTILE, "node1", "node2", "=cmd|calc")
    records = [record("speed", name, {"rate_flops": 100.0, "wrong_elements": float(name == HOSTILE)}) for name in names]
    return evidence(records, plan(suite("speed")), names=names, rank_starts=())


def large() -> Evidence:
    return evidence(
        [record("speed", f"node{i}", cause=f"reason {i}") for i in range(60)], plan(suite("speed", "fabric"), nodes=64)
    )


RUNS = [healthy, faulty, unreadable, empty, hostile, large]


@pytest.mark.parametrize("make", RUNS)
@pytest.mark.parametrize("form", formats.names())
def test_every_run_has_a_report_of_every_form(form: str, make: Any) -> None:
    if form.startswith("nodes-") and make is hostile:
        return  # refused: test_a_name_that_means_something_to_a_shell_is_in_no_list
    text = report(make(), form)
    assert text.endswith("\n")
    assert "\x1b" not in text
    if form in ("table", "html", "markdown"):
        word = {healthy: "ACCEPTED", faulty: "NOT ACCEPTED", hostile: "NOT ACCEPTED"}.get(make, "NOT JUDGED")
        assert word in text


def test_a_format_that_does_not_exist_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="There is no report format 'node-bad'") as refused:
        report(healthy(), "node-bad")
    assert "nodes-bad" in str(refused.value)


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", RUNS)
def test_report_json_keeps_to_its_published_schema(make: Any) -> None:
    rules = json.loads(schema.REPORT.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(rules)
    checker = jsonschema.Draft202012Validator(rules)
    document = json.loads(report(make(), "json"))
    assert [fault.message for fault in checker.iter_errors(document)] == []
    for key in document:
        assert list(checker.iter_errors({k: v for k, v in document.items() if k != key})), f"{key} is not required"
    assert list(checker.iter_errors({**document, "exit_code": 2}))


# --- JUnit ------------------------------------------------------------------------------------------------------------


def junit(found: Evidence) -> tuple[ET.Element, dict[tuple[str, str], ET.Element]]:
    root = ET.fromstring(report(found, "junit"))  # ours
    _is_junit(root)
    return root, {(case.get("classname", ""), case.get("name", "")): case for case in root.iter("testcase")}


def _is_junit(root: ET.Element) -> None:
    """The form that CI servers read (https://github.com/testmoapp/junitxml): names, counts that are right, at most one result."""
    assert root.tag == "testsuites"
    for suite_ in (root, *root):
        assert suite_ is root or suite_.tag == "testsuite"
        assert suite_.get("name")
        kinds = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
        assert {key: suite_.get(key) for key in kinds} == {
            key: str(len(list(suite_.iter(kind)))) for key, kind in kinds.items()
        }
        assert float(suite_.get("time", "nan")) >= 0
    for case in root.iter("testcase"):
        assert case.get("classname")
        assert case.get("name")
        results = [child.tag for child in case]
        assert set(results) <= {"failure", "error", "skipped", "system-out"}
        assert len([tag for tag in results if tag != "system-out"]) <= 1
        assert all(child.get("message") for child in case if child.tag != "system-out")


def test_a_failing_check_on_a_node_is_a_failure_with_the_evidence() -> None:
    root, cases = junit(faulty())
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("5", "2", "0", "0")
    failure = cases["hpcaccept.speed", "node2"].find("failure")
    assert failure is not None
    assert "50.0 % below" in failure.get("message", "")
    assert "→ Keep work off node2" in (failure.text or "")
    assert len(cases["hpcaccept.speed", "node1"].findall("failure")) == 0
    assert cases["hpcaccept.run", "accepted"].find("failure") is not None


def test_an_accepted_run_has_no_failure_and_an_optional_gap_does_not_skip_a_check() -> None:
    root, cases = junit(healthy())
    assert (root.get("failures"), root.get("errors"), root.get("skipped")) == ("0", "0", "0")
    out = cases["hpcaccept.speed", "node0"].find("system-out")
    assert out is not None
    assert "NO_BASELINE" in (out.text or "")


def test_what_was_not_judged_is_never_green() -> None:
    root, cases = junit(unreadable())
    assert cases["hpcaccept.speed", "node3"].find("error") is not None
    assert cases["hpcaccept.run", "accepted"].find("error") is not None
    root, cases = junit(empty())
    skipped = [name for (_, name), case in cases.items() if case.find("skipped") is not None]
    assert skipped == [f"node without a name {i}" for i in (1, 2, 3, 4)]
    # The run as a whole, and what all nodes together have failed to do.
    assert root.get("errors") == "2"


def test_what_was_not_run_is_skipped_with_its_reason() -> None:
    records = [record("speed", node, outcome="not_run", cause="no such GPU", remedy="ask for one") for node in nodes(4)]
    _, cases = junit(evidence(records, plan(suite(CheckSpec("speed", required=False)))))
    skipped = cases["hpcaccept.speed", "node0"].find("skipped")
    assert skipped is not None
    assert "no such GPU" in skipped.get("message", "")
    assert cases["hpcaccept.run", "accepted"].find("error") is not None


def test_a_baseline_that_is_required_and_missing_does_not_pass_in_silence() -> None:
    _, cases = junit(fleet([100.0] * 4, plan(suite(baseline="required"))))
    assert cases["hpcaccept.run", "accepted"].find("error") is not None


def test_cases_have_the_duration_of_their_check() -> None:
    root = ET.fromstring(render("junit", judged_run(big_run(4, 2, 3, healthy=True))))
    assert {case.get("time") for case in root.iter("testcase") if case.get("classname") == "hpcaccept.matmul"} == {
        "4.000"
    }


# --- Prometheus -------------------------------------------------------------------------------------------------------


def families(found: Evidence) -> Samples:
    return samples_of(report(found, "prometheus"))


def test_monitoring_gets_the_run_its_nodes_and_its_figures() -> None:
    found = families(faulty())
    assert found["hpcaccept_run_exit_code"] == [({"suite": "test"}, 1.0)]
    accepted = {labels["node"]: value for labels, value in found["hpcaccept_node_accepted"]}
    assert accepted == {"node0": 1, "node1": 1, "node2": 0, "node3": 1}
    assert sum(value for _, value in found["hpcaccept_run_nodes"]) == 4
    assert {labels["stat"]: value for labels, value in found["hpcaccept_figure_flop_per_second"]} == {
        "min": 50,
        "median": 100,
        "max": 100,
    }
    assert found["hpcaccept_run_created_timestamp_seconds"][0][1] == 1795309200


def test_nodes_without_a_name_are_counted_as_not_run() -> None:
    counts = {labels["outcome"]: value for labels, value in families(empty())["hpcaccept_run_nodes"]}
    assert counts["NOT_RUN"] == 4
    assert families(empty())["hpcaccept_run_coverage_ratio"][0][1] == 0


def test_labels_survive_whatever_a_node_is_called() -> None:
    names = {labels["node"] for labels, _ in families(hostile())["hpcaccept_node_accepted"]}
    assert '<b>"\\`|\ufffd[31m@all] ' in names


# --- Markdown ---------------------------------------------------------------------------------------------------------


def test_a_ticket_has_the_verdict_what_to_do_and_the_checks() -> None:
    text = report(faulty(), "markdown")
    assert text.startswith("## NOT ACCEPTED: 20261122-010000-test-4n-abcd\n")
    assert "- **FAIL** `node2 GPU 0` (peers-slow): rate flops: 50 FLOP/s, 50.0 % below" in text
    assert "  → Keep work off node2" in text
    assert "| speed | FAIL | 4 of 4 | NO BASELINE |" in text
    assert len(text) < 2000


def test_a_ticket_stays_short() -> None:
    text = report(large(), "markdown")
    assert f"- {60 - SHOWN} more" in text or "more kinds of findings" in text
    assert len(text) < 6000


@given(st.text())
def test_no_text_is_markup_in_a_ticket(text: str) -> None:
    escaped = escape(text)
    assert "\n" not in escaped
    for sign in "`*_[]<>|@#":
        assert not re.search(rf"(?<!\\)(\\\\)*{re.escape(sign)}", escaped.replace(f"\\{sign}", ""))


# --- lists of nodes ---------------------------------------------------------------------------------------------------


def test_nodes_are_bad_good_or_unjudged_and_nothing_else() -> None:
    rates = [
        record("speed", f"node{i}", {"rate_flops": 50.0 if i == 2 else 100.0, "wrong_elements": 0}) for i in range(5)
    ]
    found = evidence(rates, plan(nodes=6))
    assert report(found, "nodes-bad") == "node2\n"
    assert report(found, "nodes-good") == "node[0-1,3-4]\n"
    assert report(found, "nodes-unjudged") == "node5\n"
    assert report(healthy(), "nodes-bad") == "\n"
    assert frozenset.union(*KINDS.values()) == frozenset(Outcome)
    assert sum(map(len, KINDS.values())) == len(Outcome)


def test_a_name_that_means_something_to_a_shell_is_in_no_list() -> None:
    with pytest.raises(RunError, match="not a host name"):
        report(hostile(), "nodes-bad")


@pytest.mark.parametrize("name", ["@all", "a,b", "a[1-3]", "a b", "-x", "$(x)", "a;b", "", ".", "a!b", "x" * 254])
def test_what_is_no_host_is_never_folded(name: str) -> None:
    assert not is_host(name)
    assert fold([name, "n1", "n2"]) == f"n[1-2], {name}"


@pytest.mark.parametrize("name", ["n1", "gpu-a3-0", "node_7", "a.b.example.org", "1"])
def test_what_hosts_are_called_is_taken(name: str) -> None:
    assert is_host(name)


# --- CSV --------------------------------------------------------------------------------------------------------------


def test_a_spreadsheet_runs_nothing_of_a_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(report(hostile(), "csv"))))
    assert {row["node"] for row in rows} == {'<b>"\\`|\ufffd[31m@all] ', "node1", "node2", "'=cmd|calc"}


# --- words ------------------------------------------------------------------------------------------------------------


def verdict(node: str, check: str = "speed", **more: Any) -> Verdict:
    return Verdict(
        Subject(node),
        check,
        Outcome.ERROR,
        **{"reason": "it broke", "remedy": "mend it", "code": FindingCode.CHECK_ERROR, **more},
    )


def test_what_asks_for_the_same_is_one_thing_to_do() -> None:
    found = troubles([verdict("n1"), verdict("n2"), verdict("n1", "train"), verdict("n3", reason="another")])
    assert [trouble.what for trouble in found] == ["speed, train", "speed"]
    assert [trouble.where for trouble in found] == [("n1", "n2"), ("n3",)]


def test_the_worst_of_a_trouble_is_told_first() -> None:
    found = troubles(judged_run_of(fleet([100.0] * 30 + [80.0, 50.0])).summary.bad)
    assert [v.subject.node for v in found[0].verdicts] == ["node31", "node30"]
    assert found[0].reason.startswith("the worst, node31 GPU 0: rate flops: 50 FLOP/s, 50.0 % below")
    assert [reason.partition(":")[0] for reason in found[0].reasons] == ["node31 GPU 0", "node30 GPU 0"]


@pytest.mark.parametrize(
    ("below", "above", "said"),
    [
        (0, 9, "lowest"),
        (1, 8, "2nd lowest"),
        (9, 0, "highest"),
        (7, 2, "3rd highest"),
        (10, 90, "11th lowest"),
        (20, 90, "21st lowest"),
    ],
)
def test_a_place_is_told_from_its_nearer_end(below: int, above: int, said: str) -> None:
    assert place_of(below, above) == said


# --- where it goes ----------------------------------------------------------------------------------------------------


def test_a_report_is_written_whole_and_readable(tmp_path: Path) -> None:
    file = tmp_path / "it.prom"
    save_report(RunFolder(tmp_path), judged_run_of(faulty()), "prometheus", file)
    assert file.read_text("utf-8") == report(faulty(), "prometheus")
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("place", ["/dev/null", "no/such/folder/file"])
def test_what_is_no_file_is_never_replaced(place: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(place)):
        save_report(RunFolder(tmp_path), judged_run_of(healthy()), "markdown", Path(place))
    assert Path("/dev/null").is_char_device()


def test_a_known_device_has_its_baseline_in_the_ticket() -> None:
    text = render("markdown", judged_run_of(healthy(), {H100: baseline()}))
    assert "| speed | PASS | 4 of 4 | PASS |" in text
