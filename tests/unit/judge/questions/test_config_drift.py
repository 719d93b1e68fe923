"""hpcaccept.judge.questions.config_drift: who is the odd one, and where nobody is."""

from __future__ import annotations

import pytest
from support.builders import CATALOGUE, UNIQUE, every, evidence, nodes, plan, record, suite

from hpcaccept.judge import judge
from hpcaccept.judge.questions.config_drift import judge_drift
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.record import OF_THE_HOUR
from hpcaccept.model.verdict import Outcome, Verdict


def drift(*facts: dict[str, str], check: str = "identity") -> list[Verdict]:
    catalogue = {**CATALOGUE, check: CATALOGUE["identity"]}
    records = [record(check, f"node{i}", {"cores": 8}, facts=mine) for i, mine in enumerate(facts)]
    found = evidence(records, plan(suite(check), nodes=len(facts)), catalogue=catalogue)
    return [v for v in every(judge(found, catalogue, {}, UNIQUE)) if v.metric == "drift"]


def told(verdicts: list[Verdict]) -> set[tuple[str, str, Outcome]]:
    return {(v.subject.node, v.variant, v.outcome) for v in verdicts}


@pytest.mark.parametrize("check", ["identity", "identity:again"])
def test_who_agrees_passes_and_who_differs_is_told_for_each_fact(check: str) -> None:
    usual = {"driver": "580", "kernel": "6.1"}
    found = drift(usual, {"driver": "570"}, usual, {**usual, "kernel": "6.2"}, check=check)
    assert told(found) == {
        ("node0", "", Outcome.PASS), ("node2", "", Outcome.PASS), ("node1", "driver", Outcome.WARN),
        ("node1", "kernel", Outcome.WARN), ("node3", "kernel", Outcome.WARN),
    }  # fmt: skip
    said = {(v.subject.node, v.variant): v.reason for v in found}
    assert said["node1", "driver"] == "driver is '570', 3 of 4 nodes have '580'"
    assert said["node1", "kernel"] == "kernel is 'absent', 2 of 4 nodes have '6.1'"
    assert {v.value for v in found if v.outcome is Outcome.PASS} == {0.0}
    assert {(v.value, v.code) for v in found if v.outcome is Outcome.WARN} == {(1.0, FindingCode.DRIFT)}


def test_what_most_nodes_lack_is_told_of_the_one_that_has_it() -> None:
    (warning,) = [v for v in drift({}, {}, {"hook": "x"}) if v.outcome is Outcome.WARN]
    assert warning.reason == "hook is 'x', 2 of 3 nodes have 'none'"


@pytest.mark.parametrize(
    ("drivers", "said"),
    [
        (["580", "570"], "'580' on 1, '570' on 1"),
        (["580", "570", "580", "570", "560"], "'580' on 2, '570' on 2, '560' on 1"),
        (["580", "570", "580", "570", "560", "550"], "'580' on 2, '570' on 2, '560' on 1"),
        (["580", "", "580", ""], "'580' on 2, 'none' on 2"),
    ],
)
def test_without_a_majority_nobody_is_the_odd_one(drivers: list[str], said: str) -> None:
    facts = [{"driver": text} if text else {} for text in drivers]
    found = drift(*[{"kernel": "6.1", **mine} for mine in facts])
    (warning,) = [v for v in found if v.outcome is Outcome.WARN]
    assert (warning.subject.node, warning.code) == ("", FindingCode.DRIFT_TIE)
    assert warning.reason == f"driver differs, and no text of it has the majority: {said}"
    assert {v.subject.node for v in found if v.outcome is Outcome.PASS} == set(nodes(len(drivers))), (
        "in the rest they agree"
    )


def test_more_of_one_than_of_any_other_is_enough() -> None:
    found = drift({"driver": "580"}, {"driver": "580"}, {"driver": "570"}, {"driver": "560"})
    assert told([v for v in found if v.outcome is Outcome.WARN]) == {
        ("node2", "driver", Outcome.WARN), ("node3", "driver", Outcome.WARN),
    }  # fmt: skip


def test_what_names_a_node_or_belongs_to_the_hour_is_no_drift() -> None:
    unlike = [*UNIQUE, *OF_THE_HOUR]
    found = drift(*[{name: str(i) for name in unlike} for i in range(3)])
    assert {v.outcome for v in found} == {Outcome.PASS}


def test_nodes_follow_the_subjects_of_the_run_and_all_of_them_together_come_last() -> None:
    facts = [
        {"driver": "580", "a": "x"},
        {"driver": "570", "a": "x"},
        {"driver": "580", "a": "y"},
        {"driver": "570", "a": "x"},
    ]
    records = [record("identity", f"node{i}", {"cores": 8}, facts=mine) for i, mine in enumerate(facts)]
    answers, places = judge_drift(evidence(records, plan(suite("identity"))), UNIQUE, 7)
    assert [place.node for place in places] == [*nodes(4), ""]
    assert [(answer.key, answer.subject.tolist()) for answer in answers] == [
        ("identity.drift", [7, 8, 10]), ("identity.drift[a]", [9]), ("identity.drift[driver]", [11]),
    ]  # fmt: skip
