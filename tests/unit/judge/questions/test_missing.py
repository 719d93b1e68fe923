"""What was asked for and is not there: nodes, ranks, numbers. Drift between nodes. Coverage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.builders import (
    AT,
    CATALOGUE,
    every,
    evidence,
    fleet,
    judged,
    nodes,
    of,
    plan,
    rank_started,
    record,
    suite,
    where,
)

from hpcaccept.judge import Judgement, judge
from hpcaccept.model.event import Event
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.job import JobStatus
from hpcaccept.model.record import Record, UnreadableLine
from hpcaccept.model.suite import CheckSpec
from hpcaccept.model.verdict import Outcome, Subject

GOOD = {"rate_flops": 100.0, "wrong_elements": 0.0}


def three_of_four(**more: object):  # type: ignore[no-untyped-def]
    """node3 never reported."""
    return evidence([record("speed", node, GOOD) for node in nodes(3)], **more)  # type: ignore[arg-type]


# --- nodes that never reported ----------------------------------------------------------------------------------------


def test_a_node_that_never_reported_is_named() -> None:
    found = judged(three_of_four())
    (error,) = of(found.verdicts, Outcome.ERROR)
    assert error.subject.node == "node3"
    assert "never reported" in error.reason
    assert found.exit_code == 3


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (JobStatus("timeout", "TIMEOUT"), "the job reached its time limit"),
        (
            JobStatus("node_fail", "NODE_FAIL, NodeDown"),
            "a node failed, and the scheduler does not say which (NODE_FAIL, NodeDown)",
        ),
        (None, "no rank of it left a record"),
    ],
)
def test_why_a_node_is_silent_is_told_as_far_as_it_is_known(job: JobStatus | None, words: str) -> None:
    (error,) = of(judged(three_of_four(job=job)).verdicts, Outcome.ERROR)
    assert words in error.reason


def test_the_drivers_last_word_says_why() -> None:
    found = three_of_four()
    last = Event("ended", AT, detail="the time limit of the job is near", remedy="hpcaccept report")
    (error,) = of(judged(replace(found, events=(last,))).verdicts, Outcome.ERROR)
    assert "the time limit of the job is near" in error.reason
    assert error.remedy == "hpcaccept report"


def test_while_the_job_goes_on_the_missing_node_is_not_blamed_for_it() -> None:
    found = replace(three_of_four(), events=())
    (error,) = of(judged(found).verdicts, Outcome.ERROR)
    assert "has not ended yet" in error.reason


def test_a_job_of_which_nothing_is_known_is_an_error_for_every_check() -> None:
    found = evidence([], plan(suite("identity", "speed")), names=(), rank_starts=(), job=JobStatus("lost", "gone"))
    judgement = judged(found)
    assert [(v.check, v.outcome) for v in judgement.verdicts] == [
        ("identity", Outcome.ERROR), ("speed", Outcome.ERROR),
    ]  # fmt: skip
    assert judgement.exit_code == 3


def test_a_job_that_has_not_started_says_so() -> None:
    found = replace(evidence([], names=(), rank_starts=()), events=())
    assert {v.reason for v in judged(found).verdicts} == {"the job has not started"}


def test_one_silent_rank_of_eight_is_told() -> None:
    the_plan = plan(suite("speed"), nodes=1, gpus_per_node=8, ranks_per_node=8)
    records = [record("speed", "node0", GOOD, rank=rank, device=f"cuda:{rank}") for rank in range(7)]
    (error,) = of(judged(evidence(records, the_plan)).verdicts, Outcome.ERROR)
    assert "1 of 8 ranks never reported" in error.reason


def test_the_node_that_was_lost_during_a_check_is_told_how_and_not_run_for_what_came_after() -> None:
    the_plan = plan(suite("identity", "speed", "fabric"))
    death = Event("death", AT, nodes=("node3",), ranks=(3,), check="speed", detail="rank 3 was lost", remedy="dmesg")
    records = [record("identity", node, {"cores": 8}) for node in nodes(4)]
    records += [
        record(check, node, GOOD if check == "speed" else {"busbw_bytes": 1.0})
        for check in ("speed", "fabric")
        for node in nodes(3)
    ]
    found = judged(evidence(records, the_plan, events=(death,)))
    mine = {
        (v.check, v.outcome): v
        for v in found.verdicts
        if v.subject.node == "node3" and not v.outcome.is_judged and v.check != "identity"
    }
    assert set(mine) == {("speed", Outcome.ERROR), ("fabric", Outcome.NOT_RUN)}
    assert "rank 3 was lost" in mine["speed", Outcome.ERROR].reason
    assert "not measured after" in mine["fabric", Outcome.NOT_RUN].reason
    assert mine["speed", Outcome.ERROR].remedy == "dmesg"


def test_a_node_that_was_left_out_is_told_so() -> None:
    excluded = Event("excluded", AT, nodes=("node3",), detail="node3 has lost ranks too often")
    found = judged(three_of_four(events=(excluded,)))
    (verdict,) = of(found.verdicts, Outcome.NOT_RUN)
    assert (verdict.subject.node, verdict.required) == ("node3", True)
    assert "too often" in verdict.reason


def test_a_lost_node_is_never_a_fail_of_the_hardware() -> None:
    death = Event("death", AT, nodes=("node3",), check="speed", detail="killed")
    assert not of(judged(three_of_four(events=(death,))).verdicts, Outcome.FAIL)


NODE3: Any = {"nodes": ("node3",)}


@pytest.mark.parametrize(
    ("events", "job", "outcome", "code"),
    [
        ((), None, Outcome.ERROR, FindingCode.NODE_SILENT),
        ((), JobStatus("running", "RUNNING"), Outcome.ERROR, FindingCode.JOB_FAILED),
        ((), JobStatus("timeout", "TIMEOUT"), Outcome.ERROR, FindingCode.JOB_TIMEOUT),
        ((), JobStatus("out_of_memory", "OUT_OF_MEMORY"), Outcome.ERROR, FindingCode.JOB_OUT_OF_MEMORY),
        ((), JobStatus("cancelled", "CANCELLED by 0"), Outcome.ERROR, FindingCode.JOB_CANCELLED),
        ((), JobStatus("failed", "FAILED"), Outcome.ERROR, FindingCode.JOB_FAILED),
        ((Event("ended", AT, detail="no time left"),), None, Outcome.ERROR, FindingCode.JOB_ENDED_EARLY),
        ((Event("death", AT, check="speed", detail="killed", **NODE3),), None, Outcome.ERROR, FindingCode.RANK_LOST),
        ((Event("death", AT, check="identity", detail="killed", **NODE3),), None, Outcome.NOT_RUN, FindingCode.AFTER_LOSS),
        ((Event("excluded", AT, detail="lost two", **NODE3),), None, Outcome.NOT_RUN, FindingCode.AFTER_LOSS),
        ((Event("death", AT, check="speed", detail="killed", nodes=("node1",)),), None, Outcome.ERROR, FindingCode.NODE_SILENT),
        # What kept everything from starting there says more than what was lost of it.
        (
            (Event("death", AT, check="speed", detail="killed", **NODE3), Event("not_entered", AT, detail="no image", **NODE3)),
            None,
            Outcome.ERROR,
            FindingCode.NODE_NOT_ENTERED,
        ),
    ],
)  # fmt: skip
def test_a_silent_node_is_told_by_what_is_known_of_it(
    events: tuple[Event, ...], job: JobStatus | None, outcome: Outcome, code: FindingCode
) -> None:
    found = three_of_four(job=job)
    kept = (*events, *(() if job or any(e.kind == "ended" for e in events) else (Event("ended", AT),)))
    (one,) = [v for v in judged(replace(found, events=kept)).said if v.subject.node == "node3" and v.check == "speed"]
    assert (one.outcome, one.code, one.required) == (outcome, code, True)
    assert one.reason.startswith(("the node never reported: ", "the node left no result: "))


def test_a_node_that_the_scheduler_lost_is_named_whatever_it_had_measured_and_no_other_run_hears_of_it() -> None:
    lost = JobStatus("node_fail", "NODE_FAIL, NodeDown", nodes=("node1", "elsewhere"))
    found = evidence([record("speed", node, GOOD) for node in nodes(4)], job=lost)
    (error,) = of(judged(found).verdicts, Outcome.ERROR)
    assert (str(error.subject), error.check, error.code) == ("node1", "nodes", FindingCode.JOB_NODE_FAIL)
    assert "the scheduler says NODE_FAIL, NodeDown" in error.reason
    assert "--exclude node1" in error.remedy


def test_nodes_that_are_not_in_the_job_are_one_error_of_the_run() -> None:
    records = [record("speed", node, GOOD) for node in nodes(3)]
    found = judged(evidence(records, names=nodes(3)))
    (error,) = of(found.verdicts, Outcome.ERROR)
    assert (error.subject, error.code) == (Subject(), FindingCode.NODE_ABSENT)
    assert error.reason == "3 of the 4 nodes that were asked for are in the job"
    assert FindingCode.NODE_ABSENT not in {v.code for v in judged(fleet([100.0] * 4)).said}


def test_before_the_job_has_started_nothing_else_is_said_of_it() -> None:
    found = evidence([], plan(suite("identity", CheckSpec("speed", required=False))), names=(), rank_starts=())
    said = judged(replace(found, events=())).said
    assert [(v.check, v.code, v.required) for v in said] == [
        ("identity", FindingCode.JOB_NOT_STARTED, True), ("speed", FindingCode.JOB_NOT_STARTED, False),
    ]  # fmt: skip
    ended = evidence([], names=(), rank_starts=(), job=JobStatus("timeout", "TIMEOUT"))
    assert {v.code for v in judged(ended).said} == {FindingCode.JOB_TIMEOUT}


@pytest.mark.parametrize(
    ("said", "outcome", "code"),
    [
        ({"outcome": "not_run"}, Outcome.NOT_RUN, FindingCode.CHECK_NOT_RUN),
        ({"outcome": "not_run", "code": "cut-short"}, Outcome.NOT_RUN, FindingCode.CUT_SHORT),
        ({"outcome": "error"}, Outcome.ERROR, FindingCode.CHECK_ERROR),
        ({"outcome": "error", "code": "of-another-version"}, Outcome.ERROR, FindingCode.CHECK_ERROR),
        ({"outcome": "error", "code": "rank-lost"}, Outcome.ERROR, FindingCode.RANK_LOST),
        ({"outcome": "error", "code": "rank-lost", "by_peer": True}, Outcome.ERROR, FindingCode.CUT_SHORT),
    ],
)
def test_what_a_rank_calls_its_finding_is_kept_where_it_is_known(
    said: dict[str, Any], outcome: Outcome, code: FindingCode
) -> None:
    records = [record("speed", node, GOOD) for node in nodes(3)] + [record("speed", "node3", cause="why", **said)]
    (one,) = [v for v in judged(evidence(records)).said if v.subject.node == "node3"]
    assert (one.outcome, one.code) == (outcome, code)
    assert one.reason == ("cut short because another rank was lost: why" if said.get("by_peer") else "why")


def test_a_record_is_told_under_its_own_check_alone() -> None:
    records = [record("identity", n, {"cores": 8, "gpu_count": 1}) for n in nodes(4)]
    records += [record("speed", n, GOOD) for n in nodes(3)] + [record("speed", "node3", cause="no torch")]
    said = judged(evidence(records, plan(suite("identity", "speed", "fabric")))).said
    assert [v.check for v in said if v.code is FindingCode.CHECK_ERROR] == ["speed"]
    assert {(v.check, v.subject.node) for v in said if v.code is FindingCode.NODE_SILENT} == {
        ("fabric", n) for n in nodes(4)
    }


def test_findings_of_a_check_stand_in_the_order_of_the_nodes_whatever_the_order_of_the_records() -> None:
    records = [record("speed", f"node{i}", outcome="not_run", cause="no time") for i in (2, 0, 3, 1)]
    assert [v.subject.node for v in judged(evidence(records)).said] == list(nodes(4))


def test_a_torn_line_is_told_by_its_number_where_there_is_one_and_not_by_pages_of_it() -> None:
    torn = (UnreadableLine("a.jsonl", "x" * 500, "node1", line=7), UnreadableLine("b.jsonl", "y"))
    one, other = of(judged(replace(fleet([100.0] * 4), unreadable=torn)).verdicts, Outcome.ERROR)
    assert one.reason == f"line 7 of a.jsonl cannot be read: {'x' * 160!r}"
    assert (one.subject, one.code) == (Subject("node1"), FindingCode.RECORD_UNREADABLE)
    assert other.reason == "a line of b.jsonl cannot be read: 'y'"


# --- records without a measurement ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "verdict", "code"), [("not_run", Outcome.NOT_RUN, 3), ("error", Outcome.ERROR, 3)])
def test_what_was_not_measured_says_its_cause(outcome: str, verdict: Outcome, code: int) -> None:
    records = [record("speed", node, GOOD) for node in nodes(3)]
    records.append(record("speed", "node3", outcome=outcome, cause="no GPU for this rank", remedy="nvidia-smi"))
    found = judged(evidence(records))
    (one,) = of(found.verdicts, verdict)
    assert (str(one.subject), one.remedy) == ("node3 cuda:0", "nvidia-smi")
    assert "no GPU for this rank" in one.reason
    assert found.exit_code == code


def test_a_victim_is_called_one() -> None:
    records = [record("speed", node, GOOD) for node in nodes(3)]
    records.append(record("speed", "node3", outcome="error", cause="ended by SIGTERM", by_peer=True, cut_short=True))
    (error,) = of(judged(evidence(records)).verdicts, Outcome.ERROR)
    assert "because another rank was lost" in error.reason


@pytest.mark.parametrize("interruption", ["deadline", "terminated"])
def test_of_ranks_that_were_late_alike_the_one_that_the_driver_names_is_told_how(interruption: str) -> None:
    words: dict[str, Any] = {"outcome": "error", "cause": "deadline: did not finish within 5 s", "cut_short": True}
    records = [record("speed", node, rank=n, interruption="deadline", **words) for n, node in enumerate(nodes(3))]
    by_peer = interruption == "terminated"
    records.append(record("speed", "node3", rank=3, interruption=interruption, by_peer=by_peer, **words))
    detail = "rank 3 on node3 stopped during speed: did not enter the collective that the others were in"
    death = Event("death", AT, step=records[0].step, nodes=("node3",), ranks=(3,), check="speed", detail=detail)
    found = judged(evidence(records, events=(death, Event("ended", AT))))
    told = {v.subject.node: (v.code, v.reason) for v in of(found.verdicts, Outcome.ERROR)}
    assert told.pop("node3") == (FindingCode.RANK_LOST, detail)
    assert {code for code, _ in told.values()} == {FindingCode.CHECK_ERROR}


def test_what_a_check_may_do_without_does_not_count() -> None:
    the_plan = plan(suite(CheckSpec("speed", required=False), "identity"), gpus_per_node=0)
    records = [record("identity", node, {"cores": 8}) for node in nodes(4)]
    found = judged(evidence(records, the_plan))
    assert where(found.verdicts, Outcome.ERROR) == set(nodes(4))
    assert found.exit_code == 0


def test_a_variant_that_a_device_cannot_do_is_shown_and_does_not_count() -> None:
    records = [record("speed", node, GOOD, unsupported={"fp8": "no such instruction"}) for node in nodes(4)]
    found = judged(evidence(records))
    assert {(v.variant, v.required) for v in of(found.verdicts, Outcome.NOT_RUN)} == {("fp8", False)}
    assert found.exit_code == 0


def test_a_measured_record_that_lacks_a_metric_is_an_error_and_never_a_pass() -> None:
    records = [record("speed", node, GOOD) for node in nodes(3)]
    records.append(record("speed", "node3", {"wrong_elements": 0}))
    found = judged(evidence(records))
    (error,) = of(found.verdicts, Outcome.ERROR)
    assert (error.subject.node, error.metric) == ("node3", "rate_flops")
    assert "absent from a record that says it was measured" in error.reason
    assert found.exit_code == 3


def test_an_empty_record_that_says_it_was_measured_is_an_error() -> None:
    found = judged(evidence([record("speed", node, {}) for node in nodes(4)]))
    assert where(found.verdicts, Outcome.ERROR) == set(nodes(4))
    assert Outcome.PASS not in {v.outcome for v in every(found)}


def test_one_gpu_of_eight_without_its_number_is_an_error_of_that_gpu() -> None:
    the_plan = plan(suite("speed"), nodes=1, gpus_per_node=8, ranks_per_node=8)
    records = [
        record("speed", "node0", GOOD if rank != 5 else {"wrong_elements": 0}, rank=rank, device=f"cuda:{rank}")
        for rank in range(8)
    ]
    errors = of(judged(evidence(records, the_plan)).verdicts, Outcome.ERROR)
    assert [str(v.subject) for v in errors] == ["node0 cuda:5"]


def test_a_torn_line_is_an_error_with_its_text() -> None:
    found = judged(replace(fleet([100.0] * 4), unreadable=(UnreadableLine("r000002.jsonl", '{"kind":"rec'),)))
    (error,) = of(found.verdicts, Outcome.ERROR)
    assert "r000002.jsonl" in error.reason
    assert '{"kind":"rec' in error.reason
    assert found.exit_code == 3


# --- drift ------------------------------------------------------------------------------------------------------------


def drifting(*facts: dict[str, str]):  # type: ignore[no-untyped-def]
    records = [record("identity", f"node{i}", {"cores": 8}, facts=mine) for i, mine in enumerate(facts)]
    found = judged(evidence(records, plan(suite("identity"), nodes=len(facts), gpus_per_node=0)))
    return [v for v in every(found) if v.metric == "drift"]


def test_the_node_that_differs_from_the_majority_is_warned_of() -> None:
    found = drifting({"driver": "580"}, {"driver": "570"}, {"driver": "580"})
    assert where(found, Outcome.WARN) == {"node1"}
    assert where(found, Outcome.PASS) == {"node0", "node2"}
    (warning,) = of(found, Outcome.WARN)
    assert "driver is '570', 2 of 3 nodes have '580'" in warning.reason


def test_a_fact_that_a_node_lacks_is_a_difference() -> None:
    (warning,) = of(drifting({"nccl": "2.30"}, {"nccl": "2.30"}, {}), Outcome.WARN)
    assert (warning.subject.node, warning.variant) == ("node2", "nccl")
    assert "absent" in warning.reason


def test_what_names_a_node_may_differ() -> None:
    assert where(drifting({"hostname": "a"}, {"hostname": "b"}), Outcome.WARN) == set()


@pytest.mark.parametrize("count", [0, 1])
def test_alone_there_is_nothing_to_differ_from(count: int) -> None:
    assert drifting(*[{"driver": "580"}] * count) == []


def test_drift_is_a_warning_and_no_fail() -> None:
    the_plan = plan(suite("identity"), nodes=3, gpus_per_node=0)
    records = [record("identity", node, {"cores": 8}, facts={"kernel": node}) for node in nodes(3)]
    assert judged(evidence(records, the_plan)).exit_code == 3


# --- coverage ---------------------------------------------------------------------------------------------------------


def test_coverage_counts_checks_on_nodes() -> None:
    cover = judged(fleet([100.0] * 4)).coverage
    assert (cover.asked, cover.judged, cover.gaps, cover.nodes_silent) == (4, 4, {}, ())


def test_a_node_that_never_reported_is_a_gap_by_name() -> None:
    cover = judged(three_of_four()).coverage
    assert (cover.asked, cover.judged) == (4, 3)
    assert cover.gaps == {"speed": ("node3",)}
    assert cover.nodes_silent == ("node3",)


def test_nodes_that_slurm_never_gave_are_a_gap_without_a_name() -> None:
    cover = judged(evidence([], names=(), rank_starts=())).coverage
    assert cover.gaps == {"speed": ("?",) * 4}
    assert (cover.asked, cover.judged) == (4, 0)


def test_what_could_not_be_judged_is_not_covered() -> None:
    # Two units cannot be compared, and there is no baseline: a number that nothing judged.
    the_plan = plan(suite("identity"), nodes=2, gpus_per_node=0)
    cover = judged(evidence([record("identity", node, {"cores": 8}) for node in nodes(2)], the_plan)).coverage
    assert cover.judged <= 2
    lonely = plan(suite("identity"), nodes=1, gpus_per_node=0)
    judgement = judged(evidence([record("identity", "node0", {"cores": 8})], lonely))
    assert (judgement.coverage.judged, judgement.exit_code) == (0, 3)


def test_a_record_of_a_node_that_was_not_asked_for_covers_nothing() -> None:
    records = [record("speed", node, GOOD) for node in (*nodes(3), "intruder")]
    cover = judged(evidence(records)).coverage
    assert cover.judged == 3
    assert cover.gaps == {"speed": ("node3",)}


def test_the_same_check_twice_is_counted_twice() -> None:
    catalogue = {**CATALOGUE, "speed:b": CATALOGUE["speed"]}
    records = [record("speed", node, GOOD) for node in nodes(4)]
    found = evidence(records, plan(suite("speed", "speed:b")), catalogue=catalogue)
    cover = judge(found, catalogue, {}, frozenset()).coverage
    assert (cover.asked, cover.judged) == (8, 4)
    assert cover.gaps == {"speed:b": nodes(4)}


def test_a_hello_alone_covers_nothing() -> None:
    cover = judged(evidence([], rank_starts=tuple(rank_started(r, n) for r, n in enumerate(nodes(4))))).coverage
    assert cover.nodes_silent == nodes(4)


# --- a number that its like have --------------------------------------------------------------------------------------


def gpus(nodes_count: int, lacking: tuple[str, int], **more: object) -> list[Record]:
    """Eight GPUs per node measure two variants; one GPU lacks the second."""
    found = []
    for node in nodes(nodes_count):
        for gpu in range(8):
            here = (node, gpu) == lacking
            numbers = {"rate_flops[fp32]": 1.0, "wrong_elements": 0} | ({} if here else {"rate_flops[bf16]": 2.0})
            extra = more if here else {}
            found.append(record("speed", node, numbers, device=f"cuda:{gpu}", rank=gpu, **extra))
    return found


def test_one_gpu_of_many_that_lacks_a_variant_which_its_like_have_is_found_and_the_run_is_not_accepted() -> None:
    the_plan = plan(suite("speed"), nodes=512, gpus_per_node=8, ranks_per_node=8)
    judgement = judged(evidence(gpus(512, ("node311", 5)), the_plan))
    (error,) = of(judgement.verdicts, Outcome.ERROR)
    assert str(error.subject) == "node311 cuda:5"
    assert error.key == "speed.rate_flops[bf16]"
    assert "4095 of 4096 like units have it" in error.reason
    assert judgement.exit_code == 3


def test_a_variant_that_a_gpu_calls_unsupported_is_not_missing() -> None:
    the_plan = plan(suite("speed"), nodes=2, gpus_per_node=8, ranks_per_node=8)
    judgement = judged(evidence(gpus(2, ("node1", 5), unsupported={"bf16": "too old"}), the_plan))
    assert of(judgement.verdicts, Outcome.ERROR) == []
    (told,) = of(judgement.verdicts, Outcome.NOT_RUN)
    assert str(told.subject) == "node1 cuda:5"


def test_a_gpu_may_call_several_variants_unsupported() -> None:
    the_plan = plan(suite("speed"), nodes=2, gpus_per_node=8, ranks_per_node=8)
    why = {"fp8": "too old", "bf16": "too old"}
    judgement = judged(evidence(gpus(2, ("node1", 5), unsupported=why), the_plan))
    assert of(judgement.verdicts, Outcome.ERROR) == []
    assert {v.variant for v in of(judgement.verdicts, Outcome.NOT_RUN)} == {"fp8", "bf16"}


def test_a_gpu_that_calls_a_whole_metric_unsupported_lacks_none_of_its_variants() -> None:
    the_plan = plan(suite("speed"), nodes=2, gpus_per_node=8, ranks_per_node=8)
    judgement = judged(evidence(gpus(2, ("node1", 5), unsupported={"rate_flops": "no such units"}), the_plan))
    assert of(judgement.verdicts, Outcome.ERROR) == []
    (error,) = of(
        judged(evidence(gpus(2, ("node1", 5), unsupported={"latency_s": "x"}), the_plan)).verdicts, Outcome.ERROR
    )
    assert str(error.subject) == "node1 cuda:5"


def test_what_one_gpu_calls_unsupported_excuses_no_other() -> None:
    the_plan = plan(suite("speed"), nodes=2, gpus_per_node=8, ranks_per_node=8)
    records = gpus(2, ("node1", 5))
    records[0] = replace(records[0], unsupported={"bf16": "too old"})
    (error,) = of(judged(evidence(records, the_plan)).verdicts, Outcome.ERROR)
    assert str(error.subject) == "node1 cuda:5"


def test_a_gpu_of_another_model_need_not_have_what_the_others_have() -> None:
    the_plan = plan(suite("speed"), nodes=2, gpus_per_node=8, ranks_per_node=8)
    judgement = judged(evidence(gpus(2, ("node1", 5), device_model="NVIDIA L40S"), the_plan))
    assert of(judgement.verdicts, Outcome.ERROR) == []


def test_a_variant_that_only_few_have_is_missing_nowhere() -> None:
    records = [
        record("speed", n, {"rate_flops": 1.0, **({"rate_flops[x]": 1.0} if n == "node0" else {})}) for n in nodes(4)
    ]
    assert of(judged(evidence(records)).verdicts, Outcome.ERROR) == []


@pytest.mark.parametrize(("having", "missed"), [(1, 0), (2, 1)])
def test_two_of_three_are_most_and_one_of_two_is_not(having: int, missed: int) -> None:
    records = [
        record("speed", n, {"rate_flops": 1.0, **({"rate_flops[x]": 1.0} if i < having else {})})
        for i, n in enumerate(nodes(having + 1))
    ]
    found = judged(evidence(records, plan(nodes=having + 1)))
    assert len([v for v in found.said if v.code is FindingCode.NUMBER_ABSENT_HERE]) == missed


def test_what_is_found_by_name_of_a_port_or_a_fault_may_differ_between_subjects() -> None:
    records = [
        record("speed", n, {"rate_flops": 1.0, **({"wrong_elements[mlx5_0]": 0} if n != "node3" else {})})
        for n in nodes(4)
    ]
    assert of(judged(evidence(records)).verdicts, Outcome.ERROR) == []


def test_of_two_nodes_that_differ_nobody_is_the_odd_one() -> None:
    records = [
        record("identity", f"node{i}", {"cores": 8, "gpu_count": 1}, facts={"driver": text, "kernel": "6.1"})
        for i, text in enumerate(["580", "570"])
    ]
    found = judged(evidence(records, plan(suite("identity"), nodes=2)))
    (warning,) = [v for v in found.verdicts if v.metric == "drift"]
    assert (str(warning.subject), warning.outcome) == ("all nodes", Outcome.WARN)
    assert "'580' on 1, '570' on 1" in warning.reason
    assert found.exit_code == 3


# --- variants that were asked for by name -----------------------------------------------------------------------------


def asked_for(*variants: str, **unsupported: str) -> Judgement:
    """Four nodes that have measured fp32, of which the first says what it cannot."""
    the_plan = plan(suite(CheckSpec("speed", variants=variants)))
    records = [
        record(
            "speed",
            node,
            {"rate_flops[fp32]": 1.0, "wrong_elements[fp32]": 0},
            unsupported=unsupported if node == "node0" else {},
        )
        for node in nodes(4)
    ]
    return judged(evidence(records, the_plan))


def test_a_number_format_that_every_rank_left_out_is_no_pass() -> None:
    found = asked_for("fp32", "fp8")
    (error,) = of(found.verdicts, Outcome.ERROR)
    assert (error.subject, error.variant) == (Subject(), "fp8")
    assert error.reason == "fp8 was asked for, and no rank has measured it or said why not"
    assert found.exit_code == 3


def test_a_number_format_that_somebody_calls_unsupported_is_told_by_that() -> None:
    assert not of(asked_for("fp32", "fp8", fp8="no such units").verdicts, Outcome.ERROR)


def test_where_nothing_was_measured_no_variant_is_missed() -> None:
    lost = evidence(
        [record("speed", node, None, cause="lost") for node in nodes(4)],
        plan(suite(CheckSpec("speed", variants=("fp8",)))),
    )
    assert not [v for v in judged(lost).verdicts if "was asked for, and" in v.reason]
