"""aznhc through a stand-in script, and from logs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from support.stand_ins import DATA, TOOLS, eight_gpus, eighth_rank, tools_say

from hpcaccept.checks.aznhc import Aznhc
from hpcaccept.errors import NotUnderstood, ToolError
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from support.solo_context import SoloContext

AZNHC = DATA / "aznhc"


def runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, status: int = 0, said: str = "", **params: Any
) -> SoloContext:
    tools_say(monkeypatch, said, status)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("STAND_IN_LOG", str(AZNHC / f"{name}.log"))
    return eight_gpus(Aznhc(**params), folder=tmp_path)


def reads(name: str, node: str = "node7", **params: Any) -> SoloContext:
    return eight_gpus(Aznhc(**{"log": str(AZNHC / f"{name}.log"), "max_age_s": 1e12, **params}), node=node)


def failing(ctx: SoloContext) -> set[str]:
    return {name for name in ctx.variants("failures") if ctx.value("failures", name)}


def test_a_node_that_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ctx = runs(monkeypatch, tmp_path, "passes_after_a_failure").run()
    assert len(ctx.variants("failures")) == 16
    assert not failing(ctx)
    assert ctx.value("rate_bytes", "nccl_all_red") == pytest.approx(470.2e9)
    assert ctx.facts["physical_host_name"] == "ABC123456789"


def test_every_failed_check_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ctx = runs(monkeypatch, tmp_path, "fails_after_a_pass", 4).run()
    assert failing(ctx) == {
        "check_hw_ib 400 mlx5_ib0:1",
        "check_hw_eth ib0",
        "check_nvme_count 8",
        "check_gpu_count 8",
    }
    assert "NHC2009 → A GPU is missing" in ctx.facts["found[check_gpu_count 8]"]


def test_an_unsupported_size_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not support the VM size 'nd128isr_ndr_gb200_v6'"):
        runs(monkeypatch, tmp_path, "unsupported").run()


def test_skipped_checks_are_not_run_and_the_others_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ctx = runs(monkeypatch, tmp_path, "no_kernel_log").run()
    assert set(ctx.refused) == {"check_gpu_xid", "check_ib_link_flapping"}
    assert len(ctx.variants("failures")) == 14


@pytest.mark.parametrize(
    ("name", "check"), [("xid_seen_before", "check_gpu_xid"), ("throttled", "check_gpu_clock_throttling")]
)
def test_what_aznhc_only_logs_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, check: str) -> None:
    assert failing(runs(monkeypatch, tmp_path, name).run()) == {check}


def test_a_check_that_is_not_set_up_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ctx = runs(monkeypatch, tmp_path, "not_set_up", 2)
    with pytest.raises(ToolError, match=r"check_hw_topology is not set up.*all_reduce_perf not found"):
        ctx.run()
    assert not failing(ctx)
    assert len(ctx.variants("failures")) == 14


def test_limits_that_the_size_can_never_meet_are_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ctx = runs(monkeypatch, tmp_path, "limits_never_met", 3).run()
    assert not failing(ctx)
    assert set(ctx.refused) == {"check_gpu_bw 48 335", "check_nvlink_status"}
    assert "12 of 18 NVLinks" in ctx.refused["check_gpu_bw 48 335"]
    assert "issues/162" in ctx.refused["check_nvlink_status"]


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("watchdog", 143, r"ended by a signal or its watchdog \(143\)"),
        ("timed_out", 1, r"Script timed out while executing"),
        ("container_not_pulled", 125, r"did not end \(exit status 125\).*It said: docker: Error response from daemon"),
        ("silent_pass", 0, r"without -v: nothing says that a check ran"),
        ("passes_after_a_failure", 1, r"the script ended with 1, the checks with 0"),
    ],
)
def test_what_is_not_whole_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, status: int, words: str
) -> None:
    ctx = runs(monkeypatch, tmp_path, name, status, "docker: Error response from daemon: manifest unknown")
    with pytest.raises(ToolError, match=words):
        ctx.run()
    assert not failing(ctx)


def test_a_check_that_was_ended_is_not_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("watchdog", "timed_out"):
        folder = tmp_path / name
        folder.mkdir()
        ctx = runs(monkeypatch, folder, name, 143)
        with pytest.raises(ToolError):
            ctx.run()
        assert not any("nccl" in variant for variant in ctx.variants("failures"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "ERROR:  nhc:  4 health checks failed.",
            "ERROR:  nhc:  5 health checks failed.",
            "counts 5 failed checks, its lines report 4",
        ),
        ("exit code: 4.", "exit code: 129.", r"ended by a signal or its watchdog \(129\)"),
    ],
)
def test_a_contradiction_is_an_error(tmp_path: Path, old: str, new: str, words: str) -> None:
    log = tmp_path / "health.log"
    log.write_text((AZNHC / "fails_after_a_pass.log").read_text("utf-8").replace(old, new))
    ctx = eight_gpus(Aznhc(log=str(log)), node="node7")
    with pytest.raises(ToolError, match=words):
        ctx.run()
    assert failing(ctx), "what failed is kept"


def test_a_failing_exit_code_that_no_check_explains_is_an_error(tmp_path: Path) -> None:
    log = tmp_path / "health.log"
    log.write_text((AZNHC / "passes_after_a_failure.log").read_text("utf-8").replace("exit code: 0.", "exit code: 2."))
    with pytest.raises(ToolError, match="exit status 2, and no check says why"):
        eight_gpus(Aznhc(log=str(log)), node="node7").run()


def test_everything_skipped_is_not_run(tmp_path: Path) -> None:
    lines = (AZNHC / "no_kernel_log.log").read_text("utf-8").splitlines(keepends=True)
    xid = next(n for n, line in enumerate(lines) if "check_gpu_xid" in line)
    log = tmp_path / "health.log"
    log.write_text("".join([*lines[:10], *lines[xid : xid + 2], "Health checks completed with exit code: 0.\n"]))
    with pytest.raises(Unavailable, match="skipped every check"):
        eight_gpus(Aznhc(log=str(log)), node="node7").run()


# --- logs -------------------------------------------------------------------------------------------------------------


def test_a_log_is_read_without_root_or_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert len(failing(reads("fails_after_a_pass").run())) == 4
    assert "aznhc.log" in reads("passes_after_a_failure").run().kept


def test_a_log_of_another_machine_is_an_error() -> None:
    with pytest.raises(ToolError, match="is of the machine 'node7', this is 'node8'"):
        reads("fails_after_a_pass", node="node8").run()


def test_an_old_log_is_not_run(tmp_path: Path) -> None:
    log = tmp_path / "health.log"
    log.write_text((AZNHC / "passes_after_a_failure.log").read_text("utf-8"))
    os.utime(log, (0, 0))
    with pytest.raises(Unavailable, match="h old, at most 24 h are allowed"):
        eight_gpus(Aznhc(log=str(log)), node="node7").run()


def test_a_log_that_is_not_there_is_not_run() -> None:
    with pytest.raises(Unavailable, match=r"/nowhere/node7\.log cannot be read: No such file"):
        reads("x", log="/nowhere/{node}.log").run()


def test_an_empty_log_is_not_understood(tmp_path: Path) -> None:
    (tmp_path / "health.log").write_text("")
    with pytest.raises(NotUnderstood):
        eight_gpus(Aznhc(log=str(tmp_path / "health.log")), node="node7").run()


# --- where it cannot run ----------------------------------------------------------------------------------------------


def test_without_the_script_or_docker_it_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match=r"run-health-checks\.sh is not installed"):
        eight_gpus(Aznhc(), folder=tmp_path).run()
    with pytest.raises(Unavailable, match="docker is not installed"):
        eight_gpus(Aznhc(script=str(TOOLS / "run-health-checks.sh")), folder=tmp_path).run()


def test_without_root_it_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ctx = runs(monkeypatch, tmp_path, "passes_after_a_failure")
    (tmp_path / "sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Unavailable, match="sudo asks for a password"):
        ctx.run()


def test_other_ranks_leave_it_alone() -> None:
    assert not eighth_rank(Aznhc()).run().samples


# --- recorded with the real NHC and the real check scripts --------------------------------------------------------------


def test_a_real_healthy_node_passes() -> None:
    ctx = reads("recorded/healthy").run()
    assert len(ctx.variants("failures")) == 33
    assert not failing(ctx)
    assert not ctx.refused


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        (
            "failing",
            {
                "check_hw_ib 400 mlx5_ib4:1",
                "check_gpu_count 8",
                "check_gpu_ecc 20000000 10000",
                "check_nccl_allreduce 460.0 1 16G $AZ_NHC_ROOT/topofiles/ndv5-topo.xml",
                "check_nvlink_status",
            },
        ),
        ("first_failure", {"check_gpu_count 8"}),
        ("ib_slow", {"check_ib_bw_gdr 380"}),
        ("xid_again", {"check_gpu_xid"}),
        ("tool_missing", {"check_gpu_clock_throttling"}),
    ],
)
def test_a_real_failure_fails_whatever_the_exit_status(name: str, failed: set[str]) -> None:
    assert failing(reads(f"recorded/{name}").run()) == failed


@pytest.mark.parametrize(
    ("name", "fault", "words"),
    [
        ("unsupported", Unavailable, "does not support the VM size 'nd128isr_gb300_v6'"),
        ("no_check_for_this_host", ToolError, "its configuration has no check for this host"),
        ("silent_pass", ToolError, "without -v"),
        ("timed_out", ToolError, "timed out while executing"),
        ("no_ib_device", ToolError, "timed out while executing"),
        ("container_not_pulled", ToolError, "did not end"),
        ("smi_fails", ToolError, "is not set up: collect_ecc_data"),
    ],
)
def test_a_real_run_that_proves_nothing_never_passes(name: str, fault: type[Exception], words: str) -> None:
    with pytest.raises(fault, match=words):
        reads(f"recorded/{name}").run()


def test_real_checks_that_did_not_look_are_not_run() -> None:
    assert set(reads("recorded/tool_missing").run().refused) == {"check_hw_topology"}
    refused = reads("recorded/measured_nothing").run().refused
    assert {name.split()[0] for name in refused} == {"check_gpu_bw", "check_nccl_allreduce"}
