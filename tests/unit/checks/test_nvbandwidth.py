"""nvbandwidth through a stand-in program."""

from __future__ import annotations

from typing import Any

import pytest
from support.solo_context import SoloContext
from support.stand_ins import DATA, eight_gpus, eighth_rank, tools_say

from hpcaccept import checks
from hpcaccept.checks.nvbandwidth import Nvbandwidth
from hpcaccept.errors import NotUnderstood, ToolError, UsageError
from hpcaccept.model.check import Unavailable


def says(monkeypatch: pytest.MonkeyPatch, name: str, status: int = 0, gpus: int = 8, **params: Any) -> SoloContext:
    tools_say(monkeypatch, DATA / "nvbandwidth" / f"{name}.json", status)
    return eight_gpus(Nvbandwidth(**params), gpus_asked=gpus)


@pytest.mark.parametrize("name", ["v05_healthy", "v08_healthy"])
def test_a_healthy_node(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    ctx = says(monkeypatch, name).run()
    assert len(ctx.variants("rate_bytes")) == 2 * 8 + 2 * 56
    assert ctx.value("rate_bytes", "host_to_device_memcpy_ce/cpu→gpu0") == pytest.approx(55.01e9)
    assert all(ctx.value("lowest_share", v) > 0.99 for v in ctx.variants("lowest_share"))
    assert all(ctx.value("wrong_copies", v) == 0 for v in ctx.variants("wrong_copies"))
    assert ctx.value("median_bytes", "host_to_device_memcpy_ce") == pytest.approx(55.36e9)
    assert ctx.facts["nvbandwidth_driver"] == "580.95.05"


def test_the_slow_pair_is_named_and_below_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = says(monkeypatch, "v08_slow_pair").run()
    share = ctx.value("lowest_share", "device_to_device_memcpy_read_ce/gpu3→gpu5")
    metric = Nvbandwidth.metric("lowest_share")
    assert metric is not None
    assert metric.limit is not None
    assert not metric.limit.met_by(share)


def test_waived_tests_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = says(monkeypatch, "v07_waived", gpus=1).run()
    assert set(ctx.refused) == {"device_to_device_memcpy_read_ce", "device_to_device_memcpy_write_ce"}
    assert ctx.variants("wrong_copies") == {"host_to_device_memcpy_ce", "device_to_host_memcpy_ce"}


def test_everything_waived_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, '{"nvbandwidth": {"testcases": [{"name": "x", "status": "Waived"}]}}')
    with pytest.raises(Unavailable, match="waives all tests"):
        eight_gpus(Nvbandwidth(tests=("x",))).run()


def test_a_matrix_of_n_a_only_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(
        monkeypatch,
        '{"nvbandwidth": {"testcases": [{"name": "x", "status": "Passed", "bandwidth_matrix": [["N/A"]],'
        ' "bandwidth_description": "memcpy CE GPU(row) -> GPU(column) bandwidth (GB/s)"}]}}',
    )
    ctx = eight_gpus(Nvbandwidth(tests=("x",)))
    with pytest.raises(Unavailable, match="no pair to measure"):
        ctx.run()
    assert "no such pair" in ctx.refused["x"]
    assert not ctx.samples


def test_latency_tests_are_another_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = ("device_to_device_bidirectional_memcpy_read_ce", "host_device_latency_sm", "device_local_copy")
    ctx = says(monkeypatch, "v08_bidirectional_and_latency", gpus=2, tests=tests).run()
    assert ctx.variants("latency_s") == {"host_device_latency_sm/cpu↔gpu0", "host_device_latency_sm/cpu↔gpu1"}


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("v08_cuda_error", 1, r"device_to_device_memcpy_read_ce ended as 'Running'.*CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("v08_unknown_test", 0, r"device_to_mars_memcpy ended as 'Not Found'.*says nothing of"),
        ("v08_no_device", 1, r"broke off: \[CUDA_ERROR_NO_DEVICE\]"),
        ("v08_healthy", 1, r"ended with 1 although no test says why"),
        ("v07_waived", 0, r"host_to_device_memcpy_ce speaks of 1 GPUs, 8 were asked for"),
    ],
)
def test_what_is_not_whole_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str, status: int, words: str) -> None:
    with pytest.raises(ToolError, match=words):
        says(monkeypatch, name, status).run()


def test_wrong_data_is_a_failing_count_of_the_test_it_happened_in(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = says(monkeypatch, "v08_wrong_data", 1)
    with pytest.raises(ToolError):
        ctx.run()
    assert ctx.value("wrong_copies", "device_to_device_memcpy_read_ce") == 2


def test_an_older_version_without_json_is_not_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, "nvbandwidth Version: v0.4\nRunning host_to_device_memcpy_ce.\n")
    with pytest.raises(NotUnderstood) as caught:
        eight_gpus(Nvbandwidth()).run()
    assert "0.5" in caught.value.remedy
    tools_say(monkeypatch, "ERROR: Invalid Arguments -j\n", 1)
    with pytest.raises(ToolError, match="ended with 1 and no JSON: ERROR: Invalid Arguments -j"):
        eight_gpus(Nvbandwidth()).run()


def test_other_ranks_and_nodes_without_gpus_leave_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not eighth_rank(Nvbandwidth()).run().samples
    with pytest.raises(Unavailable, match="no GPU was asked for"):
        SoloContext(Nvbandwidth()).run()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match="nvbandwidth is not installed"):
        eight_gpus(Nvbandwidth()).run()
    with pytest.raises(UsageError, match="'tests' of check 'nvbandwidth' is empty"):
        checks.build("nvbandwidth", {"tests": []})
