"""Results of SuperBench, judged as a run of ours: names, units and forms are those of microsoft/superbench-results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hpcaccept.cli import main
from hpcaccept.store.history_file import read_runs

if TYPE_CHECKING:
    from pathlib import Path

A100 = "NVIDIA A100-SXM4-40GB"
#: GFLOPS and GB/s: the means of 1,939 such nodes, v0.3.0/Azure-NDv4-A100/baseline.json.
MEANS = {"gemm-flops/bf16_tc_flops": 265900.55, "mem-bw/h2d_bw": 25.9247, "mem-bw/d2h_bw": 26.0322}
BUS = {"nccl-bw/allreduce_8589934592_busbw:0": 235.05}


def node(number: int, gpus: int = 8) -> dict[str, Any]:
    """A line: every GPU a little different, so that the spread of peers is none of nought."""
    line: dict[str, Any] = {"node": f"sb-{number:02}"}
    for name, mean in MEANS.items():
        for rank in range(gpus):
            line[f"{name}:{rank}"] = mean * (1 + 0.002 * ((number * 5 + rank * 3) % 7 - 3))
    return line | {name: mean * (1 + 0.002 * (number % 3 - 1)) for name, mean in BUS.items()}


def results(folder: Path, lines: list[dict[str, Any]], name: str = "results.jsonl") -> Path:
    file = folder / name
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def judged(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, dict[str, Any]]:
    code = main(["import-results", "--model", A100, "--format", "json", *map(str, args)])
    return code, json.loads(capsys.readouterr().out)


def said(report: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Node, device, outcome of everything that is a fault or an error."""
    return {
        (v["node"], v["device"], v["outcome"]) for v in report["verdicts"] if v["outcome"] in ("FAIL", "ERROR", "WARN")
    }


def test_healthy_nodes_are_accepted_by_peers_and_baselines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, report = judged(capsys, results(tmp_path, [node(n) for n in range(6)]))
    assert [v for v in report["verdicts"] if v["outcome"] in ("FAIL", "ERROR", "WARN")] == []
    assert code == report["exit_code"] == 0


def test_a_slow_gpu_among_its_peers_fails_by_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = [node(n) for n in range(6)]
    lines[3]["gemm-flops/bf16_tc_flops:5"] *= 0.7
    code, report = judged(capsys, results(tmp_path, lines))
    assert code == 1
    assert said(report) == {("sb-03", "cuda:5", "FAIL")}


def test_nodes_on_which_a_benchmark_failed_or_is_missing_are_errors_with_its_words(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = [node(n) for n in range(6)]
    lines[1]["mem-bw/return_code:2"] = 3
    lines[2] = {name: value for name, value in lines[2].items() if not name.startswith("nccl-bw")}
    del lines[4]["gemm-flops/bf16_tc_flops:7"]
    code, report = judged(capsys, results(tmp_path, lines))
    assert code == 3
    assert {place[0] for place in said(report) if place[2] == "ERROR"} == {"sb-01", "sb-02", "sb-04"}
    causes = " ".join(v["reason"] for v in report["verdicts"])
    assert "SuperBench's mem-bw failed: rank 2: return code 3" in causes
    assert "no result of SuperBench's nccl-bw of this node, of others it has" in causes
    assert "no result of SuperBench's gemm-flops of GPU 7 of this node" in causes


def test_its_own_baseline_sets_limits_and_ours_judge_no_products_of_cutlass(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    slow = [node(n) for n in range(4)]
    for line in slow:
        for rank in range(8):
            line[f"gemm-flops/bf16_tc_flops:{rank}"] *= 0.75
    file = results(tmp_path, slow)
    code, report = judged(capsys, file)
    assert not [v for v in report["verdicts"] if v["outcome"] == "FAIL"], "slower than cuBLAS is no fault of CUTLASS"
    baseline = tmp_path / "baseline.json"
    baseline.write_text(json.dumps({**MEANS, "nccl-bw/allreduce_8589934592_busbw": 235.05}))
    code, report = judged(capsys, file, "--baseline", baseline)
    assert code == 1
    failed = [v for v in report["verdicts"] if v["outcome"] == "FAIL"]
    assert {v["metric"] for v in failed} == {"rate_flops"}
    assert {v["node"] for v in failed} <= {"sb-00", "sb-01", "sb-02", "sb-03", "sb-[00-03]"}


def test_a_history_takes_the_files_in_their_order(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = [results(tmp_path, [node(n) for n in range(4)], f"week{week}.jsonl") for week in (1, 2, 3)]
    assert main(["import-results", "--model", A100, "--history", str(tmp_path / "past"), *map(str, files)]) == 0
    assert capsys.readouterr().out.count("ACCEPTED") == 3
    assert len(read_runs(tmp_path / "past")) == 3


def test_what_is_none_of_ours_is_listed_once_with_its_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = [node(n) | {"kernel-launch/event_time:0": 0.0057, "disk-benchmark/return_code": 2} for n in range(4)]
    assert main(["import-results", "--model", A100, str(results(tmp_path, lines))]) == 0
    out = capsys.readouterr().out
    assert out.count("the time of a kernel launch; no check of ours measures it") == 1
    assert "sb-00 disk-benchmark, sb-01 disk-benchmark, sb-02 disk-benchmark and 1 more: it failed there" in out
    assert "Run:" not in out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no json", "neither JSON nor JSON lines"),
        ('{"gemm-flops/bf16_tc_flops:0": 1}', "lines without a node"),
        ('{"node": "a", "kernel-launch/event_time:0": 1}', "no figure of a metric of ours"),
        ('{"node": "a", "mem-bw/h2d_bw:0": 1}\n{"node": "a", "mem-bw/h2d_bw:0": 1}', "two of one node"),
    ],
)
def test_a_file_that_is_no_run_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, why: str
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(text)
    assert main(["import-results", "--model", A100, str(file)]) == 2
    assert why in capsys.readouterr().err
    assert main(["import-results", "--model", A100, str(tmp_path / "none.jsonl")]) == 2
