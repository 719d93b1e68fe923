"""The library of lies: every known silent pass and false blame of the field, in the order of tests/data/lies/README.md.

Outputs of tools go through the real check (a stand-in program prints them), its record through the real judge. What is
shown elsewhere stands in ``ELSEWHERE``, and a test sees to it that each row is shown somewhere.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import (
    AT,
    H100,
    any_code,
    baseline,
    entry,
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
from support.stand_ins import DATA, eight_gpus, tools_say

from hpcaccept import checks
from hpcaccept.checks.aznhc import Aznhc
from hpcaccept.checks.dcgm_diag import DcgmDiag
from hpcaccept.checks.gpu_burn import GpuBurn
from hpcaccept.checks.nccl_tests import NcclTests
from hpcaccept.checks.nvbandwidth import Nvbandwidth
from hpcaccept.config.suites import read_suite
from hpcaccept.container import pyxis
from hpcaccept.errors import HpcacceptError, UsageError
from hpcaccept.judge import Judgement, judge
from hpcaccept.launch.job.failure import Loss, next_steps
from hpcaccept.model.check import Unavailable
from hpcaccept.model.event import Event
from hpcaccept.model.metric import Limit
from hpcaccept.model.plan import Step
from hpcaccept.model.suite import CheckSpec, Suite
from hpcaccept.model.verdict import Outcome, Subject, Verdict, exit_code
from hpcaccept.plan.resolve import resolve_suite

if TYPE_CHECKING:
    from hpcaccept.model.check import Check

LIES = DATA / "lies"
UNIT = Path(__file__).parent

#: Row (or false blame) → tests in other files that show it, or a part of it.
ELSEWHERE = {
    "row 3": (
        "test_lies_gpu.py::test_two_reasons_at_once_on_every_gpu_fail_every_gpu",
        "test_lies_gpu.py::test_a_uniformly_slow_node_is_not_accepted_for_looking_like_itself",
    ),
    "row 5": (
        "test_lies_gpu.py::test_an_xid_from_before_the_run_fails_although_no_driver_tells_it_twice",
        "test_lies_gpu.py::test_throttling_is_judged_and_not_only_told",
    ),
    "row 6": ("test_lies_gpu.py::test_seven_of_eight_gpus_fail_the_node_and_the_eighth_passes_nothing",),
    "row 12": (
        "checks/test_allreduce.py::test_summing_again_what_was_summed_is_not_taken_for_a_wrong_sum",
        "checks/test_train.py::test_a_healthy_training_meets_every_limit",
    ),
    "row 14": ("checks/test_memory_pattern.py::test_a_bit_that_flips_after_writing_fails_each_pattern_and_is_named",),
    "leaked process": ("test_lies_gpu.py::test_a_leaked_process_is_nobodys_hardware_fault_and_no_pass",),
    "TCP instead of RDMA": (
        "checks/shared/test_nccl_transport.py::test_tcp_where_the_nodes_have_rdma_fails_on_that_rank",
        "parse/test_nccl_log.py::test_one_channel_over_tcp_among_many_over_rdma_is_seen",
    ),
    "NIC heartbeat": ("checks/test_ib_links.py::test_traffic_or_its_absence_is_not_looked_at",),
}


def of_node(check: Check, ctx: Any, **suite_says: Any) -> Judgement:
    """The judgement of one node with eight GPUs of which the first rank measured this check."""
    cause, remedy, outcome = "", "", "measured"
    try:
        ctx.run()
    except Unavailable as why:
        cause, remedy, outcome = why.cause, why.remedy, "not_run"
    except HpcacceptError as why:
        cause, remedy, outcome = why.message, why.remedy, "error"
    numbers = {f"{name}[{variant}]" if variant else name: values for (name, variant), values in ctx.samples.items()}
    said = record(
        check.name,
        "node0",
        numbers,
        outcome=outcome,
        cause=cause,
        remedy=remedy,
        unsupported=ctx.refused,
        facts=ctx.facts,
    )
    catalogue = checks.catalogue([check.name])
    the_plan = plan(suite(check.name, **suite_says), nodes=1, gpus_per_node=0)
    return judge(evidence([said], the_plan, names=("node0",), catalogue=catalogue), catalogue, {}, frozenset())


def failed(found: Judgement) -> set[str]:
    """Variants that failed, after the name of their metric."""
    return {f"{v.metric} {v.variant}" for v in of(found.verdicts, Outcome.FAIL)}


def no_pass_and_no_blame(found: Judgement) -> None:
    assert not of(found.verdicts, Outcome.FAIL)
    assert found.exit_code == 3


def through(
    monkeypatch: pytest.MonkeyPatch, check: Check, out: Path | str, status: int = 0, err: str = "", **ctx: Any
) -> Judgement:
    tools_say(monkeypatch, out, status, err)
    return of_node(check, eight_gpus(check, **ctx))


def aznhc(monkeypatch: pytest.MonkeyPatch, folder: Path, log: Path, status: int = 0) -> Judgement:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("STAND_IN_LOG", str(log))
    return through(monkeypatch, Aznhc(), "", status, folder=folder)


# --- honest outputs pass, so that the others fail for their lies ------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "out"),
    [
        (GpuBurn(), "gpu_burn/healthy.txt"),
        (DcgmDiag(level=2), "dcgm/v4_r2_healthy.json"),
        (DcgmDiag(level=2), "dcgm/v3_r2_healthy.json"),
        (Nvbandwidth(), "nvbandwidth/v08_healthy.json"),
        (NcclTests(ops=("all_reduce",)), "nccl_tests/table_2_18.txt"),
    ],
)
def test_an_honest_output_is_accepted(monkeypatch: pytest.MonkeyPatch, check: Check, out: str) -> None:
    found = through(monkeypatch, check, DATA / out)
    assert {v.outcome for v in found.verdicts} <= {Outcome.PASS, Outcome.NO_BASELINE}
    # One node has no peers, and its rates no baseline here: read rightly, and not accepted for that.
    owed = [answer for answer in found.table.answers if answer.owed is not None]
    assert found.exit_code == (3 if owed else 0)


def test_an_honest_log_is_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert aznhc(monkeypatch, tmp_path, DATA / "aznhc/passes_after_a_failure.log").exit_code == 0


# --- 1: gpu-burn ends with 0 although it says FAULTY; an error at the start prints OK ---------------------------------


def test_row_1_faulty_with_exit_status_0_fails_the_gpus_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = through(monkeypatch, GpuBurn(), DATA / "gpu_burn/faulty.txt")
    assert failed(found) == {"errors gpu1", "errors gpu4"}
    assert found.exit_code == 1


def test_row_1_an_ok_for_a_test_that_never_began_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    err = (DATA / "gpu_burn/init_error_ok.err").read_text("utf-8")
    found = through(monkeypatch, GpuBurn(), DATA / "gpu_burn/init_error_ok.txt", 0, err)
    no_pass_and_no_blame(found)
    assert not of(found.verdicts, Outcome.PASS)


# --- 2: 0 GFLOP/s called healthy --------------------------------------------------------------------------------------


def test_row_2_all_seem_healthy_at_0_is_not_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pass_and_no_blame(through(monkeypatch, GpuBurn(), LIES / "gpu_fryer_all_zero.txt"))


def test_row_2_a_rate_of_0_everywhere_is_no_pass() -> None:
    found = judged(fleet([0.0] * 8))
    assert "speed.rate_flops" not in {v.key for v in of(found.verdicts, Outcome.PASS)}
    assert found.exit_code == 3


def test_row_2_a_rate_of_0_among_others_fails() -> None:
    assert where(judged(fleet([100.0, 100.0, 0.0, 100.0, 100.0])).verdicts, Outcome.FAIL) == {"node2"}


def test_row_2_a_rate_of_0_misses_every_baseline() -> None:
    found = judged(fleet([0.0]), {H100: baseline(entry(center=100.0, lower=90.0))})
    assert where(found.verdicts, Outcome.FAIL) == {"node0"}


# --- 4: error paths counted as "above the limit" ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "status"),
    [
        (DATA / "nccl_tests/nccl_failure.txt", 3),
        ("The bandwidth was excellent.\n", 0),
        (DATA / "nccl_tests/usage.txt", 0),
    ],
)
def test_row_4_a_test_that_broke_off_or_is_not_understood_is_above_no_limit(
    monkeypatch: pytest.MonkeyPatch, out: Path | str, status: int
) -> None:
    found = through(monkeypatch, NcclTests(ops=("all_reduce",)), out, status)
    no_pass_and_no_blame(found)
    assert not of(found.verdicts, Outcome.PASS)


def test_row_4_a_record_without_its_number_is_no_pass() -> None:
    found = judged(evidence([record("speed", node, {"wrong_elements": 0}) for node in nodes(4)]))
    assert {v.metric for v in of(found.verdicts, Outcome.ERROR)} == {"rate_flops"}
    assert found.exit_code == 3


# --- 5: AzNHC ---------------------------------------------------------------------------------------------------------


def test_row_5_a_size_that_it_does_not_support_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = aznhc(monkeypatch, tmp_path, DATA / "aznhc/unsupported.log", 0)
    no_pass_and_no_blame(found)
    assert "does not support the VM size" in of(found.verdicts, Outcome.NOT_RUN)[0].reason


def test_row_5_an_xid_that_was_seen_before_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert failed(aznhc(monkeypatch, tmp_path, DATA / "aznhc/xid_seen_before.log")) == {"failures check_gpu_xid"}


def test_row_5_what_needs_a_kernel_log_is_not_run_without_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = aznhc(monkeypatch, tmp_path, DATA / "aznhc/no_kernel_log.log")
    assert {"check_gpu_xid", "check_ib_link_flapping"} == {v.variant for v in of(found.verdicts, Outcome.NOT_RUN)}
    assert not {v.variant for v in of(found.verdicts, Outcome.PASS)} & {"check_gpu_xid", "check_ib_link_flapping"}


def test_row_5_throttling_by_the_hardware_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = aznhc(monkeypatch, tmp_path, DATA / "aznhc/throttled.log")
    assert failed(found) == {"failures check_gpu_clock_throttling"}


def test_row_5_an_infiniband_port_that_is_printed_and_not_counted_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = aznhc(monkeypatch, tmp_path, DATA / "aznhc/recorded/ib_slow.log", 0)
    assert failed(found) == {"failures check_ib_bw_gdr 380"}


@pytest.mark.parametrize("name", ["measured_nothing", "tool_missing"])
def test_row_5_a_check_that_looked_at_nothing_is_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    found = aznhc(monkeypatch, tmp_path, DATA / f"aznhc/recorded/{name}.log", 0)
    away = {v.variant for v in of(found.verdicts, Outcome.NOT_RUN)}
    assert away
    assert not {v.variant for v in of(found.verdicts, Outcome.PASS)} & away


# --- 6: 7 of 8 GPUs, errors and empty statuses count as good ----------------------------------------------------------


def test_row_6_seven_of_eight_gpus_fail_by_the_request() -> None:
    eight = plan(suite("identity"), nodes=1, gpus_per_node=8)
    found = judged(evidence([record("identity", "node0", {"gpu_count": 7, "cores": 96})], eight, names=("node0",)))
    assert where(found.verdicts, Outcome.FAIL) == {"node0"}


def test_row_6_an_unsupported_platform_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pass_and_no_blame(through(monkeypatch, DcgmDiag(), LIES / "soperator_unsupported_platform.txt", 0))


def test_row_6_an_error_with_exit_status_0_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    found = through(monkeypatch, DcgmDiag(), DATA / "dcgm/v4_already_running.json", 0)
    no_pass_and_no_blame(found)
    assert "already running" in of(found.verdicts, Outcome.ERROR)[0].reason


def test_row_6_an_empty_status_is_not_good(monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = (DATA / "dcgm/v4_r2_healthy.json").read_text("utf-8")
    no_pass_and_no_blame(through(monkeypatch, DcgmDiag(level=2), healthy.replace('"Pass"', '""', 1)))


# --- 7: low bandwidth is advice; a skip and a dry run count as a pass -------------------------------------------------


def test_row_7_low_bandwidth_fails_and_the_exit_code_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = through(monkeypatch, Nvbandwidth(), DATA / "nvbandwidth/v08_slow_pair.json")
    assert failed(found) == {"lowest_share device_to_device_memcpy_read_ce/gpu3→gpu5"}
    assert found.exit_code == 1


def test_row_7_a_fail_counts_even_where_the_check_is_not_required() -> None:
    fast, slow = {"rate_flops": 100.0}, {"rate_flops": 50.0}
    records = [record("speed", node, slow if node == "node3" else fast) for node in nodes(6)]
    found = judged(evidence(records, plan(suite(CheckSpec("speed", required=False)), nodes=6)))
    assert where(found.verdicts, Outcome.FAIL) == {"node3"}
    assert found.exit_code == 1


def test_row_7_a_skip_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    found = through(monkeypatch, DcgmDiag(), DATA / "dcgm/v4_all_skipped.json")
    no_pass_and_no_blame(found)
    assert not of(found.verdicts, Outcome.PASS)


def test_row_7_a_run_that_was_not_run_is_no_pass() -> None:
    assert exit_code([]) == 3


# --- 8: low bandwidth not acted upon, the odd node untested, one failure ends the run ---------------------------------


def test_row_8_the_slow_node_is_named_and_listed_as_failed() -> None:
    found = judged(fleet([100.0, 100.0, 100.0, 60.0, 100.0]))
    (fail,) = of(found.verdicts, Outcome.FAIL)
    assert (fail.subject.node, bool(fail.remedy)) == ("node3", True)


def test_row_8_the_odd_node_that_nobody_paired_is_named() -> None:
    four = [record("speed", node, {"rate_flops": 100.0, "wrong_elements": 0}) for node in nodes(4)]
    found = judged(evidence(four, plan(nodes=5)))
    assert where(found.verdicts, Outcome.ERROR) == {"node4"}
    assert found.coverage.gaps == {"speed": ("node4",)}
    assert found.exit_code == 3


def test_row_8_after_a_failure_everything_else_is_still_run() -> None:
    names = ("dcgm_diag", "nccl_tests", "burn")
    step = Step("00", nodes(4), 1, 8, tuple(CheckSpec(name) for name in names), 300.0)
    following = next_steps(step, Loss((3,), ("node3",), "dcgm_diag", "killed"), {"node3": 1})
    assert [[spec.name for spec in s.checks] for s in following] == [["dcgm_diag"], ["nccl_tests", "burn"]]
    assert following[1].nodes == nodes(4)


# --- 9: a pattern that matches none of 32 metrics ---------------------------------------------------------------------


def test_row_9_a_limit_of_a_metric_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match=r"flops_fp16(?s:.*)rate_flops"):
        resolve_suite(read_suite(str(LIES / "superbench_rule.toml")))


def test_row_9_a_limit_that_matches_nothing_that_was_measured_is_an_error() -> None:
    unmatched = suite(limits={"speed.rate_flops[fp9]": Limit(1.0, None, "FLOP/s", "suite")})
    found = judged(fleet([100.0] * 4, plan(unmatched)))
    assert [v.reason for v in of(found.verdicts, Outcome.ERROR)] == [
        "the limit speed.rate_flops[fp9] of test.toml matches nothing that was measured"
    ]
    assert found.exit_code == 3


# --- 10: level 3 fails, node healthy; an allocation error beside a Pass -----------------------------------------------


def test_row_10_a_success_after_an_abort_is_not_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pass_and_no_blame(through(monkeypatch, DcgmDiag(level=3), LIES / "autopilot_success.txt", 0))


def test_row_10_a_failed_level_fails_whatever_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    for status in (0, 205):
        found = through(monkeypatch, DcgmDiag(level=3), DATA / "dcgm/v4_r2_faulty_memory.json", status)
        assert failed(found) == {"failures memory/gpu3"}


def test_row_10_an_allocation_error_yet_pass_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    found = through(monkeypatch, DcgmDiag(level=2), DATA / "dcgm/v4_r2_allocation_error_yet_pass.json", 0)
    no_pass_and_no_blame(found)
    assert "memory/gpu5" not in {v.variant for v in of(found.verdicts, Outcome.PASS)}


# --- 11: a status that was expanded before the check ran --------------------------------------------------------------


def test_row_11_a_line_that_says_passed_is_no_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_pass_and_no_blame(aznhc(monkeypatch, tmp_path, LIES / "vmss_status.txt", 0))


def test_row_11_the_log_counts_and_not_the_exit_status_of_a_script(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = aznhc(monkeypatch, tmp_path, LIES / "vmss_aznhc_behind_it.log", 0)
    assert failed(found) == {"failures check_gpu_count 8"}
    assert any("the script ended with 0, the checks with 1" in v.reason for v in of(found.verdicts, Outcome.ERROR))


# --- 12: no GPU, exit status 0 ----------------------------------------------------------------------------------------


def test_row_12_no_gpu_is_no_pass() -> None:
    eight = plan(suite("identity", "speed"), nodes=1, gpus_per_node=8)
    counted = record("identity", "node0", {"gpu_count": 0, "cores": 96})
    nothing = record("speed", "node0", outcome="not_run", cause="no GPU for this rank: 0 usable, 8 were asked for")
    found = judged(evidence([counted, nothing], eight, names=("node0",)))
    assert {v.metric for v in of(found.verdicts, Outcome.FAIL)} == {"gpu_count"}
    assert {v.check for v in of(found.verdicts, Outcome.NOT_RUN)} == {"speed"}
    assert found.exit_code == 1


def test_row_12_no_gpu_and_nobody_who_counts_is_no_pass() -> None:
    nothing = record("speed", "node0", outcome="not_run", cause="no GPU for this rank")
    no_pass_and_no_blame(judged(evidence([nothing], plan(nodes=1), names=("node0",))))


# --- 13: a file of limits that nothing reads --------------------------------------------------------------------------


def test_row_13_limits_under_a_key_that_nothing_reads_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown key 'expected'"):
        resolve_suite(read_suite(str(LIES / "limits_that_nothing_reads.toml")))


def test_row_13_a_limit_of_the_suite_is_judged_by(monkeypatch: pytest.MonkeyPatch) -> None:
    mine: Suite = resolve_suite(read_suite(str(LIES / "limits_that_are_read.toml")))
    tools_say(monkeypatch, DATA / "nvbandwidth/v08_healthy.json")
    check = Nvbandwidth()
    found = of_node(check, eight_gpus(check), limits=mine.limits)
    slow = [v for v in of(found.verdicts, Outcome.FAIL) if v.metric == "rate_bytes"]
    assert len(slow) == 2 * 8 + 2 * 56, "276 and 55 GB/s are below 300"
    assert {v.limit.source for v in slow if v.limit} == {"contract, page 3"}


# --- 14: a time-out writes neither, MB are compared with GB -----------------------------------------------------------


def test_row_14_a_tool_that_hangs_is_an_error_with_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dcgmi").write_text("#!/bin/sh\necho '{'\nexec sleep 600\n")
    (tmp_path / "dcgmi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    check = DcgmDiag(timeout_s=0.3)
    found = of_node(check, eight_gpus(check))
    no_pass_and_no_blame(found)
    assert "dcgmi did not end within 0.3 s" in of(found.verdicts, Outcome.ERROR)[0].reason


def test_row_14_a_node_that_said_nothing_until_the_time_was_over_is_named() -> None:
    found = judged(
        evidence(
            [record("speed", node, {"rate_flops": 1.0, "wrong_elements": 0}) for node in nodes(3)],
            events=(Event("ended", AT, detail="the time limit of the job is near"),),
        )
    )
    assert where(found.verdicts, Outcome.ERROR) == {"node3"}
    assert found.exit_code == 3


def test_row_14_a_limit_in_another_unit_is_refused() -> None:
    with pytest.raises(UsageError, match="unit is 'GB', the metric is in 'B'"):
        resolve_suite(read_suite(str(LIES / "megabytes_for_gigabytes.toml")))


# --- 15: exit status 0 whatever happened ------------------------------------------------------------------------------

MET = {"value": 1.0, "limit": Limit(0.5, None, "share", "built-in")}


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.PASS, 0),
        (Outcome.WARN, 3),
        (Outcome.FAIL, 1),
        (Outcome.ERROR, 3),
        (Outcome.NOT_RUN, 3),
        (Outcome.NO_BASELINE, 3),
    ],
)
def test_row_15_the_exit_code_says_what_happened(outcome: Outcome, code: int) -> None:
    judged_by: dict[str, Any] = MET if outcome.is_judged else {}
    good = Verdict(Subject("node0"), "speed", Outcome.PASS, "good", **MET)  # type: ignore[arg-type]
    said = [good, Verdict(Subject("node1"), "speed", outcome, "said", code=any_code(outcome), **judged_by)]
    assert exit_code((v.outcome, v.required) for v in said) == code


# --- false blame ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pyxis_24_unsquash_is_slow", "pyxis_53_no_space", "pyxis_122_a_few_nodes"])
def test_blame_a_container_that_does_not_start_on_a_node_is_not_its_fault(name: str) -> None:
    told = pyxis.explain((LIES / f"{name}.err").read_text("utf-8"))
    assert told is not None
    death = Event("death", AT, nodes=("node3",), ranks=(3,), check="", detail=told.cause, remedy=told.remedy)
    good = [record("speed", node, {"rate_flops": 1.0, "wrong_elements": 0}) for node in nodes(3)]
    found = judged(evidence(good, events=(death,)))
    no_pass_and_no_blame(found)
    (verdict,) = (v for v in found.verdicts if v.subject.node == "node3" and v.check == "speed")
    assert "container: " in verdict.reason
    assert verdict.remedy


def test_a_node_whose_ranks_got_fewer_cores_is_compared_with_the_others_all_the_same() -> None:
    rates = [100.0] * 7 + [3.0]
    rank_starts = tuple(
        rank_started(n, f"node{n}", size=8, **({"threads": 1, "cores": 1.0} if n == 7 else {})) for n in range(8)
    )
    found = judged(fleet(rates, rank_starts=rank_starts))
    told = {v.outcome for v in found.verdicts if v.question == "peers" and v.subject.node == "node7"}
    assert told == {Outcome.FAIL}, "what makes it slow must not choose its peers"
    assert {v.subject.node for v in of(found.verdicts, Outcome.FAIL)} == {"node7"}


def test_blame_a_log_of_the_instance_that_had_the_name_before_is_not_this_one_s(tmp_path: Path) -> None:
    log = tmp_path / "health.log"
    log.write_text((DATA / "aznhc/fails_after_a_pass.log").read_text("utf-8"))
    other = Aznhc(log=str(log))
    no_pass_and_no_blame(of_node(other, eight_gpus(other, node="node8")))
    os.utime(log, (0, 0))
    no_pass_and_no_blame(of_node(other, eight_gpus(other, node="node7")))


def test_blame_a_limit_that_the_part_can_never_meet_is_not_its_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = aznhc(monkeypatch, tmp_path, DATA / "aznhc/limits_never_met.log", 3)
    assert not failed(found)
    never = {v.variant for v in of(found.verdicts, Outcome.NOT_RUN)}
    assert never == {"check_gpu_bw 48 335", "check_nvlink_status"}
    assert not never & {v.variant for v in of(found.verdicts, Outcome.PASS)}


# --- is every row here? -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", range(1, 16))
def test_every_row_of_the_table_is_shown(row: int) -> None:
    here = [name for name in globals() if name.startswith(f"test_row_{row}_")]
    assert here or ELSEWHERE.get(f"row {row}"), f"row {row} is shown nowhere"
    table = (LIES / "README.md").read_text("utf-8")
    assert re.search(rf"^\| {row} \|", table, re.M), f"row {row} is not in the table"


@pytest.mark.parametrize("shown", [test for tests in ELSEWHERE.values() for test in tests])
def test_what_is_shown_elsewhere_is_there(shown: str) -> None:
    file, _, name = shown.partition("::")
    assert f"def {name}(" in (UNIT / file).read_text("utf-8")


def test_every_output_of_the_library_is_used() -> None:
    text = Path(__file__).read_text("utf-8")
    unused = [f.name for f in LIES.iterdir() if f.stem not in text and f.name != "README.md"]
    assert not unused
