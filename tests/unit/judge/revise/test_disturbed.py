"""A device that somebody else is using is not blamed for its speed, and still for wrong results."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.builders import H100, baseline, entry, evidence, judged, nodes, of, plan, record, suite, where

from hpcaccept.judge import judge
from hpcaccept.model.baseline import Peak
from hpcaccept.model.metric import Metric, at_least
from hpcaccept.model.record import COMPANY_COST, CONTENDED, CPU_QUOTA, CPU_USE, DISTURBED
from hpcaccept.model.verdict import Outcome

OTHERS = "other programs used 6.0 of 8 cores meanwhile"
QUOTA = "the CPU quota of its control group stopped it for 48 % of the time"
RATE, WRONG = "rate_flops[fp32]", "wrong_elements[fp32]"


def fleet(disturbed: str = "", wrong: float = 0.0, fact: str = DISTURBED) -> list:  # type: ignore[type-arg]
    """Eight nodes, the third at half of the others' rate."""
    found = []
    for number, node in enumerate(nodes(8)):
        slow = number == 2
        numbers = {RATE: 5e14 if slow else 1e15 + number * 1e11, WRONG: wrong if slow else 0.0}
        facts = {fact: disturbed} if slow and disturbed else {}
        found.append(record("speed", node, numbers, facts=facts))
    return found


def test_a_slow_device_that_nobody_else_uses_fails() -> None:
    assert where(judged(evidence(fleet())).verdicts, Outcome.FAIL) == {"node2"}


def test_a_slow_device_that_somebody_else_uses_is_an_error_that_says_who() -> None:
    found = judged(evidence(fleet("process 4711 (python) holds 60 GiB")))
    assert not of(found.verdicts, Outcome.FAIL)
    (error,) = of(found.verdicts, Outcome.ERROR)
    assert error.subject.node == "node2"
    assert "4711" in error.reason
    assert found.exit_code == 3


def test_wrong_results_of_a_disturbed_device_are_still_its_fault() -> None:
    found = judged(evidence(fleet("process 4711", wrong=3.0)))
    assert {v.metric for v in of(found.verdicts, Outcome.FAIL)} == {"wrong_elements"}


# --- processors that others use ---------------------------------------------------------------------------------------


def test_who_is_slow_while_others_use_the_processors_is_undecided_and_they_are_named() -> None:
    found = judged(evidence(fleet(OTHERS, fact=CONTENDED)))
    assert not of(found.verdicts, Outcome.FAIL)
    (doubt,) = [v for v in of(found.verdicts, Outcome.NO_BASELINE) if v.question == "peers"]
    assert (doubt.subject.node, doubt.limit) == ("node2", None)
    assert "undecided: other programs used 6.0 of 8 cores" in doubt.reason
    assert "--slurm exclusive=" in doubt.remedy
    assert found.exit_code == 3, "nobody has judged that rate of that node"


def test_the_report_says_on_which_nodes_others_ran() -> None:
    assert judged(evidence(fleet())).notes == ()
    (note,) = judged(evidence(fleet(OTHERS, fact=CONTENDED), names=nodes(8))).notes
    assert (
        note
        == "Other programs ran on 1 of 8 nodes while they were measured. node2: other programs used 6.0 of 8 cores meanwhile (speed)."
    )


def test_wrong_results_of_a_busy_machine_are_still_wrong() -> None:
    found = judged(evidence(fleet(OTHERS, wrong=3.0, fact=CONTENDED)))
    assert {v.metric for v in of(found.verdicts, Outcome.FAIL)} == {"wrong_elements"}


def test_a_quota_belongs_to_the_node_and_is_told_beside_the_blame() -> None:
    found = judged(evidence(fleet(QUOTA, fact=CPU_QUOTA)))
    (blame,) = of(found.verdicts, Outcome.FAIL)
    assert blame.subject.node == "node2"
    assert "stopped it for 48 % of the time" in blame.reason
    assert "cgroup.conf" in blame.remedy
    assert found.exit_code == 1


def test_facts_of_the_hour_are_no_drift_of_the_configuration() -> None:
    records = [
        record("identity", node, {"cores": 8.0}, facts={"kernel": "6.1", CPU_USE: f"others {number}"})
        for number, node in enumerate(nodes(8))
    ]
    assert not of(judged(evidence(records)).verdicts, Outcome.WARN)


# --- what else is said of it ------------------------------------------------------------------------------------------

PEAK = replace(baseline(), entries={}, peaks=(Peak("speed.*", "FLOP/s", 1.1e15, "a data sheet", "2026-11-22"),))


def test_a_coarse_floor_that_is_met_does_not_decide_what_company_left_open() -> None:
    found = judged(evidence(fleet(OTHERS, fact=CONTENDED), plan(nodes=8)), {H100: PEAK})
    assert found.exit_code == 3
    assert found.coverage.percent < 100
    assert found.coverage.gaps["speed"] == ("node2",)


def test_a_baseline_that_everybody_misses_in_company_accepts_nobody() -> None:
    known = baseline(entry(key="speed.rate_flops", lower=2e15, center=2.2e15))
    records = [record("speed", n, {"rate_flops": 1e15, WRONG: 0.0}, facts={CONTENDED: OTHERS}) for n in nodes(8)]
    assert judged(evidence(records, names=nodes(8)), {H100: replace(known, peaks=PEAK.peaks)}).exit_code == 3


def test_a_disturbed_device_is_not_blamed_by_its_floor_either() -> None:
    records = [
        record(
            "speed",
            n,
            {"rate_flops": 1e13 if n == "node2" else 1e15, WRONG: 0.0},
            facts={DISTURBED: "process 4711"} if n == "node2" else {},
        )
        for n in nodes(8)
    ]
    found = judged(evidence(records, names=nodes(8)), {H100: PEAK})
    assert not of(found.verdicts, Outcome.FAIL)
    assert found.exit_code == 3


def test_the_company_of_one_node_excuses_what_all_reach_together() -> None:
    ratio = Metric(
        "link_share",
        "share",
        "higher",
        "A share.",
        scope="world",
        noise="ratio",
        limit=at_least(0.7, "share", "ours"),
        required=False,
    )
    catalogue = {"links": {"link_share": ratio}}
    the_plan = plan(suite("links"), gpus_per_node=0)

    def code(facts: dict[str, str]) -> tuple[int, set[Outcome]]:
        records = [
            record("links", n, {"link_share": 0.5} if n == "node0" else {}, device="cpu", facts=facts) for n in nodes(4)
        ]
        found = judge(evidence(records, the_plan, catalogue=catalogue), catalogue, {}, frozenset())
        return found.exit_code, {v.outcome for v in found.verdicts if v.metric == "link_share"}

    assert code({}) == (1, {Outcome.FAIL})
    assert code({CONTENDED: OTHERS}) == (3, {Outcome.NO_BASELINE})


def test_a_quota_does_not_take_the_word_from_a_draft() -> None:
    draft = replace(baseline(entry(key="speed.rate_flops", lower=2e15, center=2.2e15)), state="draft")
    records = [record("speed", n, {"rate_flops": 1e15, WRONG: 0.0}, facts={CPU_QUOTA: QUOTA}) for n in nodes(8)]
    warned = of(judged(evidence(records, names=nodes(8)), {H100: draft}).verdicts, Outcome.WARN)
    assert {str(v.code) for v in warned} == {"draft-below"}
    assert all("for 48 % of the time" in v.reason for v in warned)


@pytest.mark.parametrize(("cost", "code"), [("0.450", 1), ("0.550", 3), ("much", 3), ("nan", 1)])
def test_who_lost_more_than_company_can_cost_is_slow_by_itself(cost: str, code: int) -> None:
    """Half of its rate is gone."""
    records = [
        replace(one, facts={CONTENDED: OTHERS, COMPANY_COST: cost}) if one.facts else one
        for one in fleet(OTHERS, fact=CONTENDED)
    ]
    found = judged(evidence(records, plan(nodes=8)))
    assert found.exit_code == code
    assert where(found.verdicts, Outcome.FAIL) == ({"node2"} if code == 1 else set())
