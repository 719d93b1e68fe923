"""hpcaccept.judge.revise.unjudged: what is owed, and whom it is told of. Whole runs: tests/unit/judge/test_acceptance.py."""

from __future__ import annotations

from support.builders import every, evidence, fleet, judged, nodes, of, plan, record, suite

from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.suite import CheckSpec
from hpcaccept.model.verdict import Outcome


def test_a_check_of_which_nothing_is_judged_is_owed_once_per_node_and_by_name() -> None:
    found = judged(evidence([record("fabric", n, {}) for n in nodes(2)], plan(suite("fabric"), nodes=2)))
    told = [v for v in found.said if v.code is FindingCode.UNJUDGED_CHECK]
    assert [(v.subject.node, v.check, v.outcome) for v in told] == [
        ("node0", "fabric", Outcome.NO_BASELINE), ("node1", "fabric", Outcome.NO_BASELINE),
    ]  # fmt: skip
    assert "hpcaccept checks explain fabric" in told[0].remedy
    assert found.exit_code == 3


def test_what_is_told_already_is_not_told_again() -> None:
    """Each GPU that lacks its rate is an ERROR, which speaks for the check."""
    found = judged(evidence([record("speed", n, {"spread": 0.01}) for n in nodes(2)], plan(suite("speed"), nodes=2)))
    assert {v.code for v in found.said} == {FindingCode.NUMBER_ABSENT}


def test_what_is_told_of_one_check_excuses_no_other() -> None:
    the_plan = plan(suite("speed", "fabric"), nodes=1)
    records = [record("speed", "node0", cause="no torch"), record("fabric", "node0", {})]
    told = [v for v in judged(evidence(records, the_plan)).said if v.code is FindingCode.UNJUDGED_CHECK]
    assert [v.check for v in told] == ["fabric"]


def test_a_check_that_is_not_required_owes_nothing() -> None:
    records = [record("fabric", "node0", {})]
    found = judged(evidence(records, plan(suite(CheckSpec("fabric", required=False)), nodes=1)))
    assert [v for v in found.said if v.code is FindingCode.UNJUDGED_CHECK] == []


def test_a_rate_that_nobody_judged_is_told_once_by_the_question_that_helps_first() -> None:
    found = judged(fleet([100.0, 100.0]))
    owed = [v for v in every(found) if v.code is FindingCode.UNJUDGED_RATE]
    assert {(v.subject.node, v.question) for v in owed} <= {("node0", "baseline"), ("node1", "baseline")}
    gaps = of(found.verdicts, Outcome.NO_BASELINE)
    assert {v.subject.node for v in gaps if v.required} == {"node0", "node1"}
    assert found.exit_code == 3
