"""gpu_burn through a stand-in program."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.solo_context import SoloContext
from support.stand_ins import DATA, TOOLS, eight_gpus, eighth_rank, tools_say

from hpcaccept import checks
from hpcaccept.checks.gpu_burn import GpuBurn
from hpcaccept.errors import NotUnderstood, ToolError, UsageError
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

BURN = DATA / "gpu_burn"


def says(monkeypatch: pytest.MonkeyPatch, name: str, status: int = 0) -> SoloContext:
    err = BURN / f"{name}.err"
    tools_say(monkeypatch, BURN / f"{name}.txt", status, err.read_text("utf-8") if err.exists() else "")
    return eight_gpus(GpuBurn())


def test_healthy_gpus_have_no_errors_and_a_rate_each(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = says(monkeypatch, "healthy").run()
    everyone = {f"gpu{i}" for i in range(8)}
    assert ctx.variants("errors") == ctx.variants("stopped") == ctx.variants("rate_flops") == everyone
    assert all(ctx.value("errors", gpu) == ctx.value("stopped", gpu) == 0 for gpu in everyone)
    assert ctx.samples["rate_flops", "gpu7"] == [49640e9] * 9
    assert ctx.facts["gpu_burn[gpu0]"] == "says OK; 8430 products, 0 errors, 55 °C at the end"


def test_faulty_gpus_fail_although_the_exit_status_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = says(monkeypatch, "faulty").run()
    assert {gpu for gpu in ctx.variants("errors") if ctx.value("errors", gpu)} == {"gpu1", "gpu4"}


def test_faulty_without_a_count_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (BURN / "healthy.txt").read_bytes().decode().replace("GPU 6: OK", "GPU 6: FAULTY")
    tools_say(monkeypatch, text)
    ctx = eight_gpus(GpuBurn()).run()
    assert {gpu for gpu in ctx.variants("errors") if ctx.value("errors", gpu)} == {"gpu6"}


@pytest.mark.parametrize(("name", "gpu"), [("died", "gpu2"), ("stands_still", "gpu5")])
def test_a_gpu_that_stops_fails_by_name(monkeypatch: pytest.MonkeyPatch, name: str, gpu: str) -> None:
    ctx = says(monkeypatch, name).run()
    assert {g for g in ctx.variants("stopped") if ctx.value("stopped", g)} == {gpu}
    assert not any(ctx.value("errors", g) for g in ctx.variants("errors"))


def test_ok_without_a_computation_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = says(monkeypatch, "init_error_ok")
    with pytest.raises(ToolError, match=r"gpu0 computed nothing \(gpu-burn says OK\).*CUBLAS_STATUS_NOT_INITIALIZED"):
        ctx.run()
    assert not ctx.samples


def test_faulty_without_a_computation_is_an_error_and_the_others_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = says(monkeypatch, "one_never_began")
    with pytest.raises(ToolError, match=r"gpu0 computed nothing \(gpu-burn says FAULTY\)"):
        ctx.run()
    assert ctx.variants("errors") == {f"gpu{i}" for i in range(1, 8)}


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("none_alive", 123, r"ended with 123 at 0% of the time.*No clients are alive"),
        ("no_devices", 19, r"tested 0 GPUs, 8 were asked for.*No CUDA devices"),
        ("seven", 0, r"gpu-burn tested 7 GPUs, 8 were asked for"),
        ("torn", -9, r"before its verdicts"),
        ("healthy", 5, r"gpu-burn ended with 5"),
    ],
)
def test_a_run_that_is_not_whole_is_an_error(
    monkeypatch: pytest.MonkeyPatch, name: str, status: int, words: str
) -> None:
    ctx = says(monkeypatch, name, status & 255)
    with pytest.raises(ToolError, match=words):
        ctx.run()


def test_its_help_is_not_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, "GPU Burn\nUsage: gpu-burn [OPTIONS] [TIME]\n")
    with pytest.raises(NotUnderstood, match="exit status 0"):
        eight_gpus(GpuBurn()).run()


def test_without_its_kernel_file_it_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copy(TOOLS / "gpu_burn", tmp_path / "gpu_burn")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(Unavailable, match=r"has no compare\.fatbin or compare\.ptx beside it"):
        eight_gpus(GpuBurn()).run()


def test_a_path_that_it_would_take_for_an_option_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, "healthy")
    with pytest.raises(Unavailable, match=r"would take /opt/burn-head/compare\.ptx for its option -h"):
        eight_gpus(GpuBurn(kernel="/opt/burn-head/compare.ptx")).run()


def test_its_parameters_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, "healthy")
    for precision in ("float", "double", "tensor"):
        assert eight_gpus(GpuBurn(duration_s=5, precision=precision, memory="10%")).run().samples
    with pytest.raises(UsageError, match="'precision' of check 'gpu_burn' is 'half'"):
        checks.build("gpu_burn", {"precision": "half"})


def test_other_ranks_and_nodes_without_gpus_leave_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not eighth_rank(GpuBurn()).run().samples
    with pytest.raises(Unavailable, match="no GPU was asked for"):
        SoloContext(GpuBurn()).run()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match="gpu_burn is not installed"):
        eight_gpus(GpuBurn()).run()
