"""Logs of Azure's node health checks (tests/data/aznhc)."""

from __future__ import annotations

import pytest
from support.stand_ins import DATA

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.aznhc import FAULT_CODES, NOT_SET_UP, Fault, NodeRun, parse_aznhc


def text(name: str) -> str:
    return (DATA / "aznhc" / f"{name}.log").read_text("utf-8")


def recorded(name: str) -> NodeRun:
    return parse_aznhc(text(name))


def faults(run: NodeRun) -> dict[str, list[str]]:
    return {check.name.split()[0]: [f.code for f in check.faults] for check in run.checks if check.faults}


def test_the_last_run_of_a_log_counts() -> None:
    good, bad = recorded("passes_after_a_failure"), recorded("fails_after_a_pass")
    assert (good.exit_code, good.errors, good.failed, len(good.checks)) == (0, 0, None, 16)
    assert (bad.exit_code, bad.errors, bad.failed, len(bad.checks)) == (4, 4, 4, 16)


def test_who_it_is_is_read() -> None:
    run = recorded("passes_after_a_failure")
    assert run.size == "nd96isr_h100_v5"
    assert run.about["PHYSICAL HOST NAME"] == "ABC123456789"
    assert run.about["VM HOST NAME"] == "node7"


def test_each_fault_belongs_to_the_check_that_ran_and_has_its_code() -> None:
    assert faults(recorded("fails_after_a_pass")) == {
        "check_hw_ib": [""],
        "check_hw_eth": [""],
        "check_nvme_count": ["NHC2023"],
        "check_gpu_count": ["NHC2009"],
    }
    (fault,) = next(c for c in recorded("fails_after_a_pass").checks if c.name == "check_gpu_count 8").faults
    assert fault.text == "check_gpu_count: Expected to see 8 but found 0. FaultCode: NHC2009"


def test_figures_are_bytes_per_second() -> None:
    figures = recorded("passes_after_a_failure").figures
    assert figures["H2D_GPU_3"] == pytest.approx(55.3e9)
    assert figures["nccl_all_red"] == pytest.approx(470.2e9)
    assert figures["ib_write_lb_mlx5_ib0"] == pytest.approx(395.1e9 / 8)
    assert len(figures) == 8 + 8 + 1 + 1 + 1


def test_an_unsupported_size_after_an_older_pass_is_no_pass() -> None:
    run = recorded("unsupported")
    assert run.unsupported_size == "nd128isr_ndr_gb200_v6"
    assert not run.checks


def test_an_error_over_several_lines_is_one_with_the_code_of_its_end() -> None:
    run = recorded("nvlinks")
    (check,) = (c for c in run.checks if c.faults)
    assert check.faults[0].code == "NHC2016"
    assert check.faults[0].text.endswith("Link 4: Inactive Link 5: Inactive. FaultCode: NHC2016")
    (near,) = (c for c in run.checks if c.warnings)
    assert near.name == "check_gpu_bw 48 335"


def test_without_v_nothing_says_that_a_check_ran() -> None:
    run = recorded("silent_pass")
    assert (run.exit_code, run.verbose, run.checks) == (0, False, [])
    assert set(faults(recorded("silent_failures"))) == {
        "check_hw_ib",
        "check_hw_eth",
        "check_nvme_count",
        "check_gpu_count",
    }


def test_checks_without_a_kernel_log_are_skipped() -> None:
    skipped = {c.name for c in recorded("no_kernel_log").checks if c.skipped}
    assert skipped == {"check_gpu_xid", "check_ib_link_flapping"}


def test_an_xid_that_was_reported_before_is_a_fault_that_aznhc_does_not_count() -> None:
    run = recorded("xid_seen_before")
    assert faults(run) == {"check_gpu_xid": ["NHC2001"]}
    assert (run.errors, run.exit_code) == (0, 0)


def test_a_throttle_by_the_hardware_is_a_fault_a_soft_one_a_warning() -> None:
    (check,) = (c for c in recorded("throttled").checks if c.faults)
    assert "GPU 2 throttled" in check.faults[0].text
    assert "GPU 5 throttled" in check.warnings[0]


@pytest.mark.parametrize("spelling", ["FaultCode", "faultCode", "FauleCode", "Faultcode"])
def test_every_spelling_of_fault_code_is_read(spelling: str) -> None:
    log = text("fails_after_a_pass").replace("found 0. FaultCode: NHC2009", f"found 0. {spelling}: NHC2009")
    assert faults(parse_aznhc(log))["check_gpu_count"] == ["NHC2009"]


def test_a_check_that_is_not_set_up_does_not_blame_the_node() -> None:
    run = recorded("not_set_up")
    assert {f.blame(run.size) for c in run.checks for f in c.faults} == {"setup"}


def test_limits_that_a_size_can_never_meet_do_not_blame_it_and_blame_others() -> None:
    run = recorded("limits_never_met")
    found = [f for c in run.checks for f in c.faults]
    assert len(found) == 3
    assert {f.blame(run.size) for f in found} == {"limit"}
    assert {f.blame("nd96isr_h100_v5") for f in found} == {"node"}
    assert Fault("check_gpu_bw: H2D test on GPU 0 failed. Bandwidth 20 is less than 48.").blame(run.size) == "node"


def test_a_run_that_was_ended_says_so() -> None:
    assert recorded("watchdog").exit_code == 143
    assert recorded("container_not_pulled").exit_code is None
    timed_out = recorded("timed_out")
    assert "timed out" in timed_out.troubles[0]
    assert not timed_out.errors
    assert [c.name.split()[0] for c in timed_out.checks if c.skipped] == ["check_nccl_allreduce"]


def test_every_code_from_2001_to_2023_has_a_name_and_a_remedy() -> None:
    # 2006 was never given.
    assert set(FAULT_CODES) == {f"NHC{number}" for number in range(2001, 2024) if number != 2006}
    assert all(code.name and code.remedy for code in FAULT_CODES.values())
    assert NOT_SET_UP not in FAULT_CODES


@pytest.mark.parametrize("log", ["", "Azure Healthcheck log\n", "Health checks completed with exit code: 0.\n"])
def test_a_log_without_a_run_is_not_understood(log: str) -> None:
    with pytest.raises(NotUnderstood, match="no run"):
        parse_aznhc(log)
