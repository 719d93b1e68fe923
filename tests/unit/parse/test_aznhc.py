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


# --- recorded with the real NHC and the real check scripts (tests/data/aznhc/recorded) ----------------------------------


def real(name: str) -> NodeRun:
    return recorded(f"recorded/{name}")


def skipped(run: NodeRun) -> dict[str, str]:
    return {check.name.split()[0]: check.skipped for check in run.checks if check.skipped}


def test_a_real_log_with_time_stamps_is_read() -> None:
    run = real("healthy")
    assert (run.exit_code, run.verbose, run.debug, len(run.checks)) == (0, True, True, 33)
    assert not faults(run)
    assert not skipped(run)
    assert not run.troubles
    assert run.about["VM HOST NAME"] == "node7"
    assert len(run.about) == 7, "debugging lines are no meta data"


def test_the_figures_of_a_real_log_are_read() -> None:
    figures = real("healthy").figures
    assert figures["H2D_GPU_3"] == pytest.approx(55.31e9)
    assert figures["nccl_all_red"] == pytest.approx(470.2e9)
    assert figures["ib_write_lb_mlx5_ib0"] == pytest.approx(395.1e9 / 8)
    assert len(figures) == 8 + 8 + 8 * 7 + 1 + 8


def test_each_fault_of_a_real_log_belongs_to_its_check() -> None:
    run = real("failing")
    assert faults(run) == {
        "check_hw_ib": [""],
        "check_gpu_count": ["NHC2009"],
        "check_gpu_ecc": ["NHC2007"],
        "check_nccl_allreduce": ["NHC2010"],
        "check_nvlink_status": ["NHC2016"],
    }
    assert (run.exit_code, run.failed, run.errors) == (5, 5, 5)
    (links,) = next(c for c in run.checks if c.name == "check_nvlink_status").faults
    assert links.text.endswith("Link 4: Inactive Link 5: Inactive. FaultCode: NHC2016")


def test_what_bash_and_the_watchdog_say_is_no_part_of_an_error() -> None:
    run = real("first_failure")
    assert faults(run) == {"check_gpu_count": ["NHC2009"]}
    assert not run.troubles, "'Watchdog PID is' is a debugging line, no time-out"


def test_a_failure_in_the_background_is_found_though_nhc_says_success() -> None:
    run = real("ib_slow")
    assert (run.exit_code, run.failed) == (0, None)
    assert faults(run) == {"check_ib_bw_gdr": ["NHC2003"]}


def test_more_errors_than_nhc_counts_are_all_read() -> None:
    run = real("no_ib")
    assert run.failed == 8
    assert run.errors == 24


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tool_missing", {"check_hw_topology": "lstopo-no-graphics: command not found"}),
        (
            "measured_nothing",
            {"check_gpu_bw": "its tool printed no figure", "check_nccl_allreduce": "its tool printed no figure"},
        ),
    ],
)
def test_a_check_that_passed_without_looking_is_skipped(name: str, expected: dict[str, str]) -> None:
    run = real(name)
    assert run.exit_code == 0
    assert skipped(run) == expected


def test_a_real_watchdog_names_the_check_that_it_ended() -> None:
    for name, check in (("timed_out", "check_nccl_allreduce"), ("no_ib_device", "check_ib_bw_gdr")):
        run = real(name)
        assert run.exit_code == 142
        assert list(skipped(run)) == [check]
        assert not run.errors


def test_a_configuration_for_other_hosts_runs_no_check() -> None:
    run = real("no_check_for_this_host")
    assert (run.exit_code, run.verbose, run.checks) == (0, True, [])


def test_without_v_a_real_log_names_no_check_that_ran() -> None:
    run = real("silent_pass")
    assert (run.exit_code, run.verbose, run.checks) == (0, False, [])


def test_only_the_last_real_run_counts() -> None:
    assert real("unsupported").unsupported_size == "nd128isr_gb300_v6"
    assert real("container_not_pulled").exit_code is None
    assert faults(real("xid_again")) == {"check_gpu_xid": ["NHC2001"]}
    assert real("xid_again").errors == 0


def test_an_nvidia_smi_that_fails_is_read_check_by_check() -> None:
    run = real("smi_fails")
    assert faults(run)["check_nvsmi_healthmon"] == ["NHC2010"]
    assert [f.text for c in run.checks for f in c.faults if "GPU Count" in f.text] == [
        "check_gpu_bw: Failed to get GPU Count with error code 15"
    ]
    assert list(skipped(run)) == ["check_gpu_clock_throttling"]


@pytest.mark.parametrize("name", ["healthy", "failing", "smi_fails"])
def test_a_real_log_cut_anywhere_never_looks_complete(name: str) -> None:
    whole = text(f"recorded/{name}")
    begin = whole.index("VM Meta Data ------") + 20
    for at in range(begin, len(whole) - len("exit code: 0.\n"), 997):
        assert parse_aznhc(whole[:at]).exit_code is None


def test_a_line_with_a_time_stamp_is_never_the_rest_of_an_error() -> None:
    log = text("recorded/first_failure")
    error = next(line for line in log.splitlines() if "Expected to see 8 but found 7" in line)
    more = log.replace(
        error,
        f"{error}\n[1795960181] - check_ib_bw_gdr:InfiniBand Pkey info:\n[1795960181] - PKEY for mlx5_ib0: 0x8001",
    )
    assert faults(parse_aznhc(more)) == {"check_gpu_count": ["NHC2009"]}
    (fault,) = next(c for c in parse_aznhc(more).checks if c.faults).faults
    assert fault.text == "check_gpu_count: Expected to see 8 but found 7. FaultCode: NHC2009"


def test_a_check_that_missed_a_limit_no_node_of_its_size_can_meet_has_looked_at_nothing() -> None:
    run = recorded("limits_never_met")
    skipped = {check.name.split()[0]: check.skipped for check in run.checks if check.skipped}
    assert set(skipped) == {"check_gpu_bw", "check_nvlink_status"}
    assert "12 of 18 NVLinks" in skipped["check_gpu_bw"]


def test_what_stands_after_the_end_is_told() -> None:
    log = (DATA / "aznhc/recorded/healthy.log").read_text("utf-8")
    assert not parse_aznhc(log + "\n").contradictions(0)
    assert parse_aznhc(log + "x\n").contradictions(0) == ["the log goes on after its end: x"]


@pytest.mark.parametrize(
    "line",
    [
        "DEBUG:  nccl_all_red: 1.2.3 GB/s",
        "DEBUG:  H2D_GPU_0: . GB/s",
        "ERROR:  nhc:  " + "9" * 5000 + " health checks failed.",
    ],
)
def test_numbers_that_are_none_do_not_end_the_reader(line: str) -> None:
    assert parse_aznhc(f"------ VM Meta Data ------\n{line}\n").figures == {}


@pytest.mark.parametrize("sign", ["\0", "\ufffd"])
def test_what_is_no_text_proves_nothing(sign: str) -> None:
    log = (DATA / "aznhc/recorded/healthy.log").read_text("utf-8")
    with pytest.raises(NotUnderstood, match="the log of AzNHC holds"):
        parse_aznhc(log + sign)
    with pytest.raises(NotUnderstood, match="expected at most 8,388,608"):
        parse_aznhc(log + "x" * 10_000_000)
