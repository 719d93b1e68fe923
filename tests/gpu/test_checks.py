"""Every check that needs a GPU measures on it, in one run of real ranks, and what it computes is right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.submission import submit, suite_file

from hpcaccept import checks
from hpcaccept.launch import local

if TYPE_CHECKING:
    from pathlib import Path

    from support.submission import Finished

#: So that all of them together take two minutes; of a check that is not here, the defaults.
QUICK: dict[str, dict[str, Any]] = {
    "allreduce": {"sizes_bytes": [1 << 20], "blocks": 2, "block_s": 0.05},
    "burn": {"duration_s": 6.0},
    "collectives": {"sizes_bytes": [1 << 20], "blocks": 2, "block_s": 0.05},
    "ddp_train": {"blocks": 3, "block_s": 0.2},
    "gpu_burn": {"duration_s": 5},
    "matmul": {"blocks": 3, "block_s": 0.2, "warm_s": 0.5},
    "memory_bandwidth": {"blocks": 3, "block_s": 0.1},
    "memory_pattern": {"size_bytes": 2 << 30},
    "nccl_tests": {"max_bytes": 1 << 26},
    "nvbandwidth": {"samples": 1},
    "resnet": {"models": ["resnet18"], "precisions": ["amp"], "blocks": 2, "block_s": 0.2},
}
#: They ask the GPU driver, before and after the others.
FIRST, LAST = ["identity", "requirements"], ["health"]


def _need_a_gpu() -> list[str]:
    found = [name for name in checks.names() if checks.load(name).on_device or checks.load(name).needs_gpu]
    return [*FIRST, *(name for name in found if name not in LAST), *LAST]


NAMES = _need_a_gpu()


def _suite() -> str:
    lines: list[str] = []
    for name in NAMES:
        params = {**QUICK.get(name, {}), "deadline_s": 90.0}
        lines += [f"[checks.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in params.items())]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """All checks on all GPUs of this machine."""
    import torch

    if why := local.available():
        pytest.skip(f"not run: {why}")
    place: Path = tmp_path_factory.mktemp("gpu")
    words = ("--nodes", "1", "--gpus-per-node", str(torch.cuda.device_count()), "--launcher", "local")
    return submit(place / "runs", suite_file(place, _suite()), *words).finish()


def _records(run: Finished, check: str) -> list[dict[str, Any]]:
    found = []
    for file in sorted(run.folder.glob("records/*/r*.jsonl")):
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        found += [line["data"] for line in lines if line["kind"] == "record" and line["data"]["check"] == check]
    return found


def test_each_check_of_a_gpu_is_in_the_suite() -> None:
    assert {"matmul", "memory_bandwidth", "health", "identity", "transfers"} <= set(NAMES)
    assert set(QUICK) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_check_measures_on_the_gpu_and_computes_right(run: Finished, name: str) -> None:
    records = _records(run, name)
    assert records, f"nothing was recorded: {run.out}{run.err}"
    if {record["outcome"] for record in records} == {"not_run"}:
        pytest.skip(f"not run: {records[0]['cause']}")
    assert {record["outcome"] for record in records} == {"measured"}, [record["cause"] for record in records]
    if checks.load(name).on_device:
        assert all(record["device"].startswith("cuda:") for record in records)
    for verdict in run.verdicts(check=name, outcome="FAIL"):
        assert "wrong" not in verdict["metric"], verdict["reason"]
