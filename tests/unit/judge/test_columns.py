"""The columns of a judgement: nothing passes without a value inside its limit, whatever is read of them and in what order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import CATALOGUE, RATE, UNIQUE, every, evidence, fleet, judged, nodes, of, plan, record, suite

from hpcaccept.judge import judge
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.judge.verdict_text import ONE_BY_ONE
from hpcaccept.model.history import Past, PastRun
from hpcaccept.model.verdict import CODE, OUTCOMES, QUESTIONS, Outcome
from hpcaccept.model.verdict_table import JudgedColumn, VerdictTable
from hpcaccept.report.model import summarise

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence


def answer(outcome: Outcome, value: float, lower: float = np.nan, upper: float = np.nan, **more: Any) -> JudgedColumn:
    return JudgedColumn(
        **{
            "question": "peers", "key": "speed.rate_flops", "metric": RATE, "origin": "peers",
            "subject": np.array([0], np.int32), "outcome": np.array([CODE[outcome]], np.int8),
            "value": np.array([value]), "lower": np.array([lower]), "upper": np.array([upper]),
            "center": np.array([np.nan]), **more,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "value", "lower", "upper"),
    [
        (Outcome.PASS, 1.0, np.nan, np.nan),
        (Outcome.FAIL, 1.0, np.nan, np.nan),
        (Outcome.WARN, np.nan, 1.0, np.nan),
        (Outcome.PASS, np.nan, 1.0, np.nan),
        (Outcome.PASS, 0.9, 1.0, np.nan),
        (Outcome.PASS, 1.1, np.nan, 1.0),
    ],
)
def test_columns_that_pass_without_a_value_inside_a_limit_cannot_be_built(
    outcome: Outcome, value: float, lower: float, upper: float
) -> None:
    with pytest.raises(ValueError, match=r"speed\.rate_flops"):
        answer(outcome, value, lower, upper)


def test_columns_of_unlike_length_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="unlike length"):
        answer(Outcome.PASS, 1.0, 1.0, center=np.zeros(2))


def test_what_is_not_judged_needs_no_limit() -> None:
    assert len(answer(Outcome.NO_BASELINE, np.nan)) == len(answer(Outcome.ERROR, 1.0)) == 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40),
    st.sampled_from(["rate_flops", "latency_s"]),
)
def test_a_pass_has_a_value_inside_its_limit(values: list[float], metric: str) -> None:
    records = [record("speed", f"node{i}", {"rate_flops": 1.0, metric: value}) for i, value in enumerate(values)]
    for row in judged(evidence(records, plan(nodes=len(values)))).table.answers:
        passed = row.outcome == CODE[Outcome.PASS]
        above, below = row.value >= row.lower, row.value <= row.upper
        assert ((above | np.isnan(row.lower)) & (below | np.isnan(row.upper)))[passed].all()
        assert (~np.isnan(row.lower) | ~np.isnan(row.upper))[passed].all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(1.0, 200.0), min_size=3, max_size=40), st.sampled_from([1e3, 1e-3, 1e12]))
def test_units_a_thousand_times_as_large_change_no_verdict_of_the_peers(rates: list[float], scale: float) -> None:
    def outcomes(factor: float) -> list[int]:
        (found,) = judged(fleet([rate * factor for rate in rates])).table.answering("peers")
        near = np.abs(found.value - np.nan_to_num(np.where(np.isnan(found.lower), found.upper, found.lower)))
        assert near.shape == found.value.shape
        return [
            -1 if at <= 1e-9 * abs(v) else int(c) for at, v, c in zip(near, found.value, found.outcome, strict=True)
        ]

    for one, other in zip(outcomes(1.0), outcomes(scale), strict=True):
        assert one == other or -1 in (one, other)  # on the very bound rounding decides


def table_of(found: Evidence) -> VerdictTable:
    return judged(found).table


def test_the_flat_columns_tell_the_same_as_the_verdicts() -> None:
    runs = tuple(PastRun(f"run-{i}", f"2026-10-0{i + 1}T02:00:00+00:00", "", "test") for i in range(6))
    places = tuple(f"{node}/cuda:0" for node in nodes(5))
    past = Past(runs, places, {"speed.rate_flops": 100 + 0.01 * np.arange(30.0).reshape(6, 5)})
    judgement = judge(fleet([100.0, 100.0, 97.0, 50.0, 100.0]), CATALOGUE, {}, UNIQUE, past)
    assert (
        {answer.question for answer in judgement.table.answers}
        == set(QUESTIONS)
        == {"limits", "peers", "baseline", "history"}
    )
    table = judgement.table
    subjects, outcomes, values = (table.column(name) for name in ("subject", "outcome", "value"))
    flat = [
        (QUESTIONS[q], table.keys[k], str(table.subjects[u].node), OUTCOMES[o], float(v))
        for q, k, u, o, v in zip(table.question, table.key, subjects, outcomes, values, strict=True)
    ]
    told = [(v.question, v.key, v.subject.node, v.outcome, v.value) for v in every(judgement)]
    assert flat == told[len(judgement.said) :]
    assert len(table) == len(flat)
    assert table.counts() == judgement.counts()


def test_the_passes_and_the_rest_are_all_verdicts() -> None:
    judgement = judged(fleet([100.0, 100.0, 97.0, 50.0]))
    assert [v for v in every(judgement) if v.outcome is Outcome.PASS] == list(judgement.passes())
    assert len(judgement.verdicts) + len(list(judgement.passes())) == len(every(judgement))


def test_missing_baselines_of_thousands_are_said_once_and_still_counted() -> None:
    count = ONE_BY_ONE + 5
    found = fleet([100.0] * count)
    judgement = judged(found)
    (gap,) = of(judgement.verdicts, Outcome.NO_BASELINE)
    assert gap.reason.startswith(f"{count} of {count} units: no baseline of")
    assert judgement.counts()[Outcome.NO_BASELINE] == count
    summary = summarise(found, judgement, values_of(found.samples, CATALOGUE))
    assert summary.no_baseline


def test_whatever_fails_by_the_hundred_thousand_is_told_per_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcaccept.judge.verdict_text.TOO_MANY", 20)
    monkeypatch.setattr("hpcaccept.judge.verdict_text.ONE_BY_ONE", 10)
    records = [
        record("speed", node, {"rate_flops": 1.0, "wrong_elements": 3.0 + i}) for i, node in enumerate(nodes(30))
    ]
    found = evidence(records, plan(suite("speed"), nodes=30))
    judgement = judged(found)
    (fail,) = of(judgement.verdicts, Outcome.FAIL)
    assert fail.reason.startswith("30 of 30 units: the worst is node29 cuda:0: ")
    summary = summarise(found, judgement, values_of(found.samples, CATALOGUE))
    assert set(summary.nodes.values()) == {Outcome.FAIL}


def test_values_know_in_how_many_launches_a_subject_was_measured() -> None:
    records = [
        record("speed", node, {"rate_flops": [1.0, 2.0]}, step=step)
        for step, names in (("00", nodes(3)), ("01", nodes(2)))
        for node in names
    ]
    (column,) = values_of(evidence(records).samples, CATALOGUE)
    assert dict(zip([u.node for u in column.subjects], column.launches.tolist(), strict=True)) == {
        "node0": 2, "node1": 2, "node2": 1,
    }  # fmt: skip


def test_a_hostile_history_of_samples_is_judged_by_its_own_rows_only() -> None:
    found = fleet([100.0] * 4)
    turned = found.samples
    order = np.array([7, 2, 5, 0, 3, 6, 1, 4])
    shuffled = replace(
        turned,
        **{name: getattr(turned, name)[order] for name in ("key", "subject", "launch", "repeat", "value")},
    )
    one, other = judged(found), judged(replace(found, samples=shuffled))
    assert set(every(one)) == set(every(other))
