"""Every finding has a code, every code a finding, an action and a test; what the code says is where the finding is made."""

from __future__ import annotations

import ast
import difflib
import functools
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.builders import (
    AT,
    CATALOGUE,
    RATE,
    UNIQUE,
    WRONG,
    baseline,
    entry,
    every,
    evidence,
    fleet,
    judged,
    judged_run_of,
    nodes,
    of,
    plan,
    record,
    suite,
)

from hpcaccept import checks
from hpcaccept.cli.checks import codes_page
from hpcaccept.judge import judge
from hpcaccept.judge.codes import code_of
from hpcaccept.model.event import Event
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.history import Past, PastRun, environment_digest
from hpcaccept.model.job import JobStatus, State
from hpcaccept.model.verdict import CODE, Outcome, Question, Subject, Verdict
from hpcaccept.model.verdict_table import JudgedColumn
from hpcaccept.report.phrases import troubles

if TYPE_CHECKING:
    from hpcaccept.model.metric import Metric

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "hpcaccept/model/finding_code.py"
PAGE = ROOT / "docs/reference/codes.md"
NAME = "FindingCode"


@functools.cache
def sources() -> dict[Path, ast.Module]:
    """The files that name a code or build a finding, parsed when a test asks: most workers have no use for them."""
    texts = {file: file.read_text("utf-8") for file in (ROOT / "hpcaccept").rglob("*.py") if file != TABLE}
    return {file: ast.parse(text) for file, text in texts.items() if NAME in text or "Verdict(" in text}


@functools.cache
def named() -> Counter[str]:
    """How often each code is named."""
    nodes = (node for tree in sources().values() for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return Counter(node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id == NAME)


# --- the table --------------------------------------------------------------------------------------------------------


def test_every_code_that_is_made_stands_in_the_table() -> None:
    assert set(named()) <= set(FindingCode.__members__)


def test_every_code_of_the_table_is_made_somewhere() -> None:
    assert set(FindingCode.__members__) - set(named()) == set()


@pytest.mark.parametrize("code", FindingCode, ids=str)
def test_the_test_that_makes_it_exists(code: FindingCode) -> None:
    file, _, name = code.about.test.partition("::")
    text = (ROOT / "tests" / file).read_text("utf-8")
    assert f"\ndef {name}(" in text, f"tests/{file} has no {name}: name the test that makes {code}"


@pytest.mark.parametrize("code", FindingCode, ids=str)
def test_an_entry_is_whole(code: FindingCode) -> None:
    assert str(code) == code.name.lower().replace("_", "-")
    about = code.about
    for text in (about.meaning, about.evidence, about.action, about.false_alarms):
        assert re.fullmatch(r"\S.*[.?]", text), f"{code}: {text!r} is no sentence"


def test_an_action_is_not_what_a_metric_measures() -> None:
    described = {metric.help for name in checks.built_in() for metric in checks.load(name).metrics}
    assert not [code for code in FindingCode if code.about.action in described]


def test_every_finding_is_built_with_its_code() -> None:
    built = [
        (file.name, node.lineno)
        for file, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "Verdict"
        and not any(given.arg == "code" for given in node.keywords)
    ]
    assert built == []


@pytest.mark.parametrize("name", checks.built_in())
def test_every_limit_of_a_check_says_what_missing_it_is_called(name: str) -> None:
    assert not [m.name for m in checks.load(name).metrics if m.limit and m.code in (None, FindingCode.LIMIT_MISSED)]


def test_the_page_of_codes_is_up_to_date() -> None:
    found, expected = PAGE.read_text("utf-8"), codes_page()
    difference = "".join(difflib.unified_diff(found.splitlines(True), expected.splitlines(True), "docs", "code"))
    assert not difference, f"{difference}\nAccept it: python -m hpcaccept checks codes > docs/reference/codes.md"


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if not outcome.is_judged])
def test_a_finding_without_a_code_cannot_be_built(outcome: Outcome) -> None:
    with pytest.raises(ValueError, match="every finding has one"):
        Verdict(Subject("node0"), "speed", outcome, "why")


def test_a_pass_with_a_code_cannot_be_built() -> None:
    assert WRONG.limit is not None
    with pytest.raises(ValueError, match="no PASS"):
        Verdict(Subject(), "speed", Outcome.PASS, "", value=0.0, limit=WRONG.limit, code=FindingCode.LIMIT_MISSED)


def test_what_to_do_comes_from_the_code_and_names_the_node() -> None:
    said = Verdict(Subject("gpu7"), "speed", Outcome.ERROR, "why", code=FindingCode.RANK_LOST)
    assert said.remedy == FindingCode.RANK_LOST.about.action.replace("NODE", "gpu7")
    more_special = replace(said, remedy="ulimit -l unlimited")
    assert more_special.remedy == "ulimit -l unlimited"


def coded(found: list[Verdict]) -> set[str]:
    return {str(verdict.code) for verdict in found if verdict.code}


CODES: dict[Question, dict[Outcome, str]] = {
    "limits": {Outcome.FAIL: "limit-missed", Outcome.WARN: "limit-missed"},
    "peers": {
        Outcome.FAIL: "peers-slow", Outcome.WARN: "peers-slower", Outcome.ERROR: "peers-no-rate", Outcome.NO_BASELINE: "peers-apart"
    },
    "baseline": {Outcome.FAIL: "baseline-below", Outcome.WARN: "draft-below", Outcome.NO_BASELINE: "baseline-unfit"},
    "history": {Outcome.FAIL: "past-slow", Outcome.WARN: "past-slower", Outcome.NO_BASELINE: "past-apart"},
}  # fmt: skip


def one_row(question: Question, outcome: Outcome, metric: Metric = RATE) -> JudgedColumn:
    number, none = np.array([1.0]), np.array([np.nan])
    bound = np.array([2.0]) if outcome.is_judged and outcome is not Outcome.PASS else none
    return JudgedColumn(
        question, "speed.rate_flops", metric, "peers", np.array([0], np.int32), np.array([CODE[outcome]], np.int8),
        number, bound if outcome is not Outcome.PASS else number, none, none,
    )  # fmt: skip


@pytest.mark.parametrize(("question", "outcomes"), CODES.items())
def test_every_code_of_a_question_is_that_of_its_outcome(question: Question, outcomes: dict[Outcome, str]) -> None:
    for outcome, code in outcomes.items():
        assert str(code_of(one_row(question, outcome), 0)) == code
    assert code_of(one_row(question, Outcome.PASS), 0) is None


def test_the_metric_says_what_missing_its_limit_is_called() -> None:
    metric = replace(WRONG, code=FindingCode.RESULT_WRONG)
    catalogue_of_one = one_row("limits", Outcome.FAIL, metric)
    assert code_of(catalogue_of_one, 0) is FindingCode.RESULT_WRONG
    assert code_of(one_row("peers", Outcome.FAIL, metric), 0) is FindingCode.PEERS_SLOW


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("cancelled", "job-cancelled"),
        ("timeout", "job-timeout"),
        ("node_fail", "job-node-fail"),
        ("out_of_memory", "job-out-of-memory"),
        ("failed", "job-failed"),
        ("lost", "job-failed"),
    ],
)
def test_what_ended_the_job_has_a_code_of_its_own(state: State, code: str) -> None:
    said = judged(evidence([], names=(), rank_starts=(), job=JobStatus(state, "its words"))).said
    assert coded(list(said)) == {code}
    assert all(verdict.remedy for verdict in said)


def test_who_was_measured_once_by_a_run_that_was_cut_short_is_in_doubt() -> None:
    cut_short = replace(fleet([100.0, 100.0, 50.0, 100.0]), events=(Event("ended", AT, detail="no time left"),))
    (slow,) = (v for v in every(judged(cut_short)) if v.question == "peers" and v.outcome is Outcome.WARN)
    assert (slow.subject.node, str(slow.code)) == ("node2", "peers-unconfirmed")


def test_a_unit_a_hundred_times_as_fast_as_its_like_is_no_pass() -> None:
    (wonder,) = of(every(judged(fleet([100.0, 101.0, 99.0, 1e4]))), Outcome.ERROR)
    assert (wonder.subject.node, str(wonder.code)) == ("node3", "peers-wonder")


def test_who_misses_a_draft_is_in_doubt() -> None:
    draft = replace(baseline(entry(lower=90.0)), state="draft")
    found = judged(fleet([80.0] * 4), {draft.model: draft})
    assert {str(v.code) for v in of(every(found), Outcome.WARN)} == {"draft-below"}


def test_a_loss_inside_the_failing_limit_of_the_past_is_a_warning() -> None:
    days = tuple(
        PastRun(f"run-{day}", f"2026-10-{day:02d}T02:00:00+00:00", environment_digest({}), "test")
        for day in range(1, 13)
    )
    noise = 1 + 0.0005 * np.random.default_rng(4).standard_normal((12, 8))
    noise[-2:, 7] *= 0.9915  # seen twice before: one run alone may be a bad night
    past = Past(days, tuple(f"{node}/cuda:0" for node in nodes(8)), {"speed.rate_flops": 100 * noise}, {}, ())
    said = every(judge(fleet([100.0] * 7 + [99.15]), CATALOGUE, {}, UNIQUE, past))
    (warned,) = (v for v in said if v.question == "history" and v.outcome is Outcome.WARN)
    assert (warned.subject.node, str(warned.code)) == ("node7", "past-slower")


def test_a_rank_tells_which_kind_of_error_it_was_and_strange_words_are_an_error_all_the_same() -> None:
    said = [
        record("speed", "node0", cause="no JSON", code="output-unknown"),
        record("speed", "node1", cause="it hung", code="tool-error"),
        record("speed", "node2", cause="ValueError: 7"),
        record("speed", "node3", cause="from another version", code="what-is-that"),
    ]
    found = [v for v in judged(evidence(said)).said if v.outcome is Outcome.ERROR]
    assert [str(v.code) for v in found] == ["output-unknown", "tool-error", "check-error", "check-error"]


# --- reports ----------------------------------------------------------------------------------------------------------


def test_findings_of_one_code_are_one_thing_to_do_whatever_their_nodes_are_called() -> None:
    records = [record("speed", node, samples_of(wrong=float(node in ("node1", "node2")))) for node in nodes(4)]
    run = judged_run_of(evidence(records, plan(suite("speed"))))
    (wrong,) = (t for t in troubles(run.summary.bad) if t.outcome is Outcome.FAIL)
    assert wrong.where == ("node1", "node2")
    assert wrong.code == "limit-missed"
    assert "--nodelist NODE" in wrong.remedy


def samples_of(wrong: float) -> dict[str, float]:
    return {"rate_flops": 100.0, "wrong_elements": wrong}
