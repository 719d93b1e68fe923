"""hpcaccept.judge.verdict_text: the sentences of single rows, and of many rows together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.builders import H100, RATE, TIME

from hpcaccept.judge.verdict_text import extended, limit_of, passing_verdicts, readable_verdicts, sentence, verdict_of
from hpcaccept.model.finding_code import NODE, FindingCode
from hpcaccept.model.metric import Limit
from hpcaccept.model.table import MeasuredSubject
from hpcaccept.model.verdict import CODE, Outcome, Subject
from hpcaccept.model.verdict_table import JudgedColumn, Remark, VerdictTable

NAN = float("nan")


def column(
    outcomes: list[Outcome],
    values: list[float],
    *,
    lower: float = NAN,
    upper: float = NAN,
    center: float = NAN,
    **more: object,
) -> JudgedColumn:
    count = len(values)
    shared = {
        "question": "peers", "key": "speed.rate_flops[fp32]", "metric": RATE, "origin": "peers",
        "subject": np.arange(count, dtype=np.int32), "outcome": np.array([CODE[o] for o in outcomes], np.int8),
        "value": np.array(values), "lower": np.full(count, lower), "upper": np.full(count, upper), "center": np.full(count, center),
    }  # fmt: skip
    return JudgedColumn(**{**shared, **more})  # type: ignore[arg-type]


def table(*columns: JudgedColumn, gpus: int = 1) -> VerdictTable:
    count = max(len(one) for one in columns)
    return VerdictTable(
        tuple(MeasuredSubject(f"node{i // gpus}", f"cuda:{i % gpus}", "", H100, "") for i in range(count)), columns
    )


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (
            column([Outcome.FAIL], [80.0], lower=90.0, center=100.0, compared="median of 7 peers", rule="loss > 0.1", detail="a draft"),
            "rate flops (FP32): 80 FLOP/s, 20.0 % below the median of 7 peers (100 FLOP/s); a draft",
        ),
        (column([Outcome.PASS], [110.0], lower=90.0, center=100.0, compared="median"), "rate flops (FP32): 110 FLOP/s, 10.0 % above the median (100 FLOP/s)"),
        (column([Outcome.FAIL], [80.0], lower=90.0, source="mine.toml"), "rate flops (FP32): 80 FLOP/s, expected at least 90 FLOP/s"),
        (
            column([Outcome.PASS], [95.0], lower=90.0, compared="baseline", detail="a draft"),
            "rate flops (FP32): 95 FLOP/s, within at least 90 FLOP/s of the baseline; a draft",
        ),
        (column([Outcome.NO_BASELINE], [95.0], said="2 like units"), "rate flops (FP32): 95 FLOP/s; 2 like units"),
        (
            column([Outcome.NO_BASELINE], [95.0], center=100.0, compared="median", detail="loss > 1"),
            ("rate flops (FP32): 95 FLOP/s, median (100 FLOP/s); the like units differ too much, or are two groups, so that nobody can say who is slow: "
            "measure again on quiet nodes, with more nodes, or against a baseline"),
        ),
        (
            column([Outcome.NO_BASELINE], [95.0], center=100.0, compared="own median of 8 earlier runs", question="history"),
            ("rate flops (FP32): 95 FLOP/s, own median of 8 earlier runs (100 FLOP/s); the earlier runs differ too much, or are two groups, so that nobody can "
            "say whether this one is slow: run more often under the same conditions"),
        ),
        (column([Outcome.FAIL], [1.0], upper=0.5, center=0.0, compared="median", metric=TIME), "latency s (FP32): 1 s, 0.0 % above the median (0 s)"),
    ],
)  # fmt: skip
def test_a_row_is_said_in_one_sentence(one: JudgedColumn, said: str) -> None:
    assert sentence(one, 0) == said


def test_a_limit_says_on_which_side_it_lies_and_where_it_comes_from() -> None:
    one = column([Outcome.FAIL], [80.0], lower=90.0, center=100.0, compared="median of 7 peers", rule="loss > 0.1")
    assert limit_of(one, 0) == Limit(90.0, None, "FLOP/s", "peers", "median of 7 peers (100 FLOP/s); loss > 0.1")
    assert limit_of(replace(one, source="mine.toml"), 0) == Limit(90.0, None, "FLOP/s", "peers", "mine.toml")
    both = column([Outcome.FAIL], [80.0], lower=90.0, upper=95.0, source="mine.toml", origin="suite")
    assert limit_of(both, 0) == Limit(90.0, 95.0, "FLOP/s", "suite", "mine.toml")
    assert limit_of(column([Outcome.NO_BASELINE], [80.0], said="alone"), 0) is None


def test_an_error_keeps_the_limit_that_was_missed_and_what_is_not_judged_has_none() -> None:
    (error,) = readable_verdicts(
        table(
            column(
                [Outcome.ERROR], [80.0], lower=90.0, source="x", remarks={0: Remark("said", code=FindingCode.DISTURBED)}
            )
        ),
        {},
    )
    assert (error.limit, error.reason) == (Limit(90.0, None, "FLOP/s", "peers", "x"), "said")
    (gap,) = readable_verdicts(table(column([Outcome.NO_BASELINE], [80.0], lower=90.0, said="alone")), {})
    assert gap.limit is None


def test_a_verdict_names_metric_variant_and_subject_and_its_remedy_the_node() -> None:
    one = column(
        [Outcome.FAIL],
        [80.0],
        lower=90.0,
        source="x",
        remarks={0: Remark("why", f"test {NODE}", FindingCode.PEERS_SLOW)},
    )
    found = verdict_of(table(one), one, 0)
    assert (found.subject, found.check, found.metric, found.variant) == (
        Subject("node0", "cuda:0"),
        "speed",
        "rate_flops",
        "fp32",
    )
    assert (found.remedy, found.question, found.value, found.unit) == ("test node0", "peers", 80.0, "FLOP/s")


def test_only_passes_pass() -> None:
    one = column([Outcome.PASS, Outcome.FAIL, Outcome.PASS], [95.0, 80.0, 91.0], lower=90.0, source="x")
    assert [v.value for v in passing_verdicts(table(one))] == [95.0, 91.0]
    assert [v.value for v in readable_verdicts(table(one), {})] == [80.0]


def test_a_node_of_which_all_are_slow_is_one_verdict_in_the_words_of_the_slowest() -> None:
    one = column(
        [Outcome.FAIL] * 4 + [Outcome.PASS] * 3 + [Outcome.FAIL],
        [80, 70, 75, 85, 95, 95, 95, 60],
        lower=90.0,
        source="x",
    )
    node, gpu = readable_verdicts(table(one, gpus=4), {0: [np.arange(4)]})
    assert (node.subject, node.value) == (Subject("node0"), 70.0)
    assert node.reason.startswith("the slowest of 4, GPU 1: rate flops (FP32): 70 FLOP/s")
    assert (gpu.subject, gpu.value) == (Subject("node1", "cuda:3"), 60.0)
    times = column([Outcome.FAIL] * 2, [2.0, 3.0], upper=1.0, source="x", metric=TIME)
    (slowest,) = readable_verdicts(table(times, gpus=2), {0: [np.arange(2)]})
    assert slowest.value == 3.0
    (alone,) = readable_verdicts(table(column([Outcome.FAIL], [80.0], lower=90.0, source="x")), {0: [np.arange(1)]})
    assert alone.reason.startswith("rate flops (FP32): 80 FLOP/s")


@pytest.mark.parametrize(("gaps", "told"), [(10, 10), (11, 1)])
def test_more_gaps_than_anybody_reads_are_told_together(gaps: int, told: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcaccept.judge.verdict_text.ONE_BY_ONE", 10)
    one = column([Outcome.NO_BASELINE] * gaps, [80.0] * gaps, said="no baseline")
    found = list(readable_verdicts(table(one), {}))
    assert len(found) == told
    if told == 1:
        assert (found[0].subject, found[0].reason) == (Subject(), f"{gaps} of {gaps} units: no baseline")


@pytest.mark.parametrize(("bad", "told"), [(11, 11), (21, 1)])
def test_only_what_is_bad_by_the_many_is_told_together(bad: int, told: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcaccept.judge.verdict_text.ONE_BY_ONE", 10)
    monkeypatch.setattr("hpcaccept.judge.verdict_text.TOO_MANY", 20)
    one = column([Outcome.FAIL] * bad, [80.0 + i for i in range(bad)], lower=1e9, source="x")
    assert len(list(readable_verdicts(table(one), {}))) == told
    assert len(list(readable_verdicts(table(one), {0: [np.arange(bad)]}))) == 1


def test_what_is_added_to_a_row_keeps_what_was_said_and_takes_the_remedy_of_its_new_name() -> None:
    one = column(
        [Outcome.FAIL] * 3,
        [80.0] * 3,
        lower=90.0,
        source="x",
        remarks={0: Remark("first", "do this", FindingCode.PEERS_SLOW)},
    )
    found = extended(one, {0: "more", 1: "more"})
    assert found[0] == Remark("first; more", "do this", FindingCode.PEERS_SLOW)
    assert found[1].reason == f"{sentence(one, 1)}; more"
    assert 2 not in found
    renamed = extended(one, {0: "more"}, code=FindingCode.DISTURBED)
    assert renamed[0] == Remark("first; more", "", FindingCode.DISTURBED)
    special = extended(one, {0: "more"}, {0: "do that"}, FindingCode.DISTURBED)
    assert special[0].remedy == "do that"
    assert one.remarks == {0: Remark("first", "do this", FindingCode.PEERS_SLOW)}
