"""hpcaccept.judge.revise.implausible: rates that cannot be are ERRORs, limits that cannot be met blame nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import H100, baseline, entry, evidence, judged, nodes, of, plan, record, suite, where

from hpcaccept.model.baseline import Baseline, Peak
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Limit
from hpcaccept.model.verdict import Outcome

if TYPE_CHECKING:
    from hpcaccept.model.record import Record

KEY = "speed.rate_flops"


def known(peak: float = 100.0) -> Baseline:
    """A limit at 50 and a peak, which a measured rate may exceed by a tenth."""
    return replace(
        baseline(entry(center=60.0, lower=50.0)), peaks=(Peak(KEY, "FLOP/s", peak, "data sheet", "2026-11-01"),)
    )


def rates(*values: float) -> list[Record]:
    return [
        record("speed", node, {"rate_flops": rate, "wrong_elements": 0})
        for node, rate in zip(nodes(len(values)), values, strict=True)
    ]


def test_only_who_is_beyond_the_peak_is_an_error_and_the_others_are_judged() -> None:
    found = judged(evidence(rates(60.0, 111.0, 40.0, 109.0), plan(nodes=4)), {H100: known()})
    errors = [v for v in of(found.verdicts, Outcome.ERROR) if v.question == "baseline"]
    assert [(v.subject.node, v.code, v.required) for v in errors] == [("node1", FindingCode.RATE_IMPOSSIBLE, True)]
    assert "111 FLOP/s is more than the part can do: 100 FLOP/s (data sheet)" in errors[0].reason
    assert "node2" in where(found.verdicts, Outcome.FAIL)
    assert {v.subject.node for v in found.passes() if v.question == "baseline"} == {"node0", "node3"}


def test_where_all_are_beyond_the_peak_nothing_is_judged_by_the_baseline() -> None:
    found = judged(evidence(rates(200.0, 200.0), plan(nodes=2)), {H100: known()})
    assert where(found.verdicts, Outcome.ERROR) == {"node0", "node1"}
    assert found.exit_code == 3
    assert not [v for v in found.passes() if v.question == "baseline"]


@pytest.mark.parametrize(
    ("limit", "outcome"), [(105.0, Outcome.FAIL), (100.0 * (1 + 0.1), Outcome.FAIL), (110.5, Outcome.ERROR)]
)
def test_a_limit_that_the_part_cannot_reach_blames_nobody(limit: float, outcome: Outcome) -> None:
    the_plan = plan(suite(limits={KEY: Limit(limit, None, "FLOP/s", "suite", "mine.toml")}), nodes=2)
    found = judged(evidence(rates(60.0, 112.0), the_plan), {H100: known()})
    (verdict,) = [v for v in found.verdicts if v.subject.node == "node0" and v.question == "limits"]
    assert verdict.outcome is outcome
    assert (verdict.code is FindingCode.LIMIT_UNREACHABLE) == (outcome is Outcome.ERROR)
    assert ("the limit is more than the part can do: 110 FLOP/s" in verdict.reason) == (outcome is Outcome.ERROR)


def test_a_device_without_a_known_peak_is_held_to_any_limit() -> None:
    the_plan = plan(suite(limits={KEY: Limit(1e30, None, "FLOP/s", "suite", "mine.toml")}), nodes=1)
    assert where(judged(evidence(rates(60.0), the_plan)).verdicts, Outcome.FAIL) == {"node0"}
