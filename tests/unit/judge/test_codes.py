"""hpcaccept.judge.codes: what says most about a row names it. The table as a whole: tests/unit/test_codes.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.builders import CORES, RATE, WRONG

from hpcaccept.judge.codes import code_of
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.verdict import CODE, Outcome
from hpcaccept.model.verdict_table import JudgedColumn, Remark

FAIL, WARN, ERROR, GAP = Outcome.FAIL, Outcome.WARN, Outcome.ERROR, Outcome.NO_BASELINE


def row(question: str, outcome: Outcome, **more: Any) -> JudgedColumn:
    values = {
        "question": question, "key": "speed.rate_flops", "metric": RATE, "origin": "suite", "subject": np.zeros(1, np.int32),
        "outcome": np.array([CODE[outcome]], np.int8), "value": np.array([1.0]), "lower": np.array([np.nan if outcome is GAP else 2.0]),
        "upper": np.array([np.nan]), "center": np.array([np.nan]),
    }  # fmt: skip
    return JudgedColumn(**{**values, **more})


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (row("limits", FAIL), "limit-missed"),
        (row("limits", FAIL, origin="floor"), "floor-below"),
        (row("peers", FAIL), "peers-slow"),
        (row("peers", WARN), "peers-slower"),
        (row("peers", ERROR), "peers-no-rate"),
        (row("peers", GAP), "peers-apart"),
        (row("peers", GAP, said="2 like units"), "peers-few"),
        (row("peers", FAIL, metric=CORES), "peers-fewer"),
        (row("peers", GAP, metric=CORES), "peers-apart"),
        (row("baseline", FAIL), "baseline-below"),
        (row("baseline", WARN), "draft-below"),
        (row("baseline", GAP), "baseline-unfit"),
        (row("baseline", GAP, said="another setting"), "baseline-unfit"),
        (row("baseline", GAP, said="none", unknown_model=True), "baseline-none"),
        (row("history", FAIL), "past-slow"),
        (row("history", WARN), "past-slower"),
        (row("history", GAP), "past-apart"),
        # What nobody has judged and somebody should have is owed, whatever the question.
        (row("baseline", GAP, owed=np.array([True])), "unjudged-rate"),
        (row("baseline", GAP, owed=np.array([False])), "baseline-unfit"),
        # The code of a column names what is not judged in it, that of a row comes first of all.
        (row("peers", GAP, code=FindingCode.PEERS_TWO_GROUPS, owed=np.array([True])), "peers-two-groups"),
        (row("peers", FAIL, code=FindingCode.PEERS_TWO_GROUPS), "peers-slow"),
        (row("peers", FAIL, remarks={0: Remark("why", code=FindingCode.DISTURBED)}), "disturbed"),
        (row("peers", FAIL, remarks={0: Remark("why")}), "peers-slow"),
    ],
)  # fmt: skip
def test_a_row_is_named_by_what_says_most(answer: JudgedColumn, code: str) -> None:
    assert str(code_of(answer, 0)) == code


def test_a_metric_names_what_misses_its_limit_where_it_has_a_name_for_it() -> None:
    named = row("limits", FAIL, metric=WRONG)
    assert code_of(named, 0) is (WRONG.code or FindingCode.LIMIT_MISSED)


def test_a_pass_has_no_name_and_what_cannot_be_has_none_either() -> None:
    passed = row("peers", Outcome.PASS, value=np.array([3.0]), code=FindingCode.PEERS_TWO_GROUPS)
    assert code_of(passed, 0) is None
    with pytest.raises(KeyError):
        code_of(row("history", ERROR), 0)
