"""What was asked for and is not there: nodes, ranks, numbers. Drift between nodes. Coverage."""

from __future__ import annotations

from dataclasses import replace

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

from hpcaccept.judge import judge
from hpcaccept.model.event import Event
from hpcaccept.model.job import JobStatus
from hpcaccept.model.record import Record, UnreadableLine
from hpcaccept.model.suite import CheckSpec
from hpcaccept.model.verdict import Outcome

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
        (JobStatus("timeout", "TIMEOUT"), "ended as timeout (TIMEOUT)"),
        (JobStatus("node_fail", "NODE_FAIL, NodeDown"), "ended as node_fail"),
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


def test_a_gpu_of_another_model_need_not_have_what_the_others_have() -> None:
    the_plan = plan(suite("speed"), nodes=2, gpus_per_node=8, ranks_per_node=8)
    judgement = judged(evidence(gpus(2, ("node1", 5), device_model="NVIDIA L40S"), the_plan))
    assert of(judgement.verdicts, Outcome.ERROR) == []


def test_a_variant_that_only_few_have_is_missing_nowhere() -> None:
    records = [
        record("speed", n, {"rate_flops": 1.0, **({"rate_flops[x]": 1.0} if n == "node0" else {})}) for n in nodes(4)
    ]
    assert of(judged(evidence(records)).verdicts, Outcome.ERROR) == []


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
