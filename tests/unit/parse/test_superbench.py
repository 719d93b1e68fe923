"""What SuperBench measured, as metrics of ours, and what it did not."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import DATA

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.superbench import parse_results, parse_superbench

if TYPE_CHECKING:
    from hpcaccept.parse.imported_limits import Imported, Measured


def file(name: str, gpus: int = 8) -> Imported:
    return parse_superbench((DATA / "superbench" / name).read_text("utf-8"), gpus)


def by_key(found: Imported) -> dict[str, Measured]:
    return {key: one for one in found.measured for key in one.keys}


def test_a_baseline_gives_its_centres_in_si() -> None:
    found = by_key(file("baseline.json"))
    assert found["matmul.rate_flops[bf16]"].values == (2.659e14,)
    assert found["matmul.rate_flops[tf32]"].values == (1.28225e14,)
    assert found["matmul.rate_flops[fp64]"].values == (1.8947e13,), "with tensor cores, as cuBLAS"
    assert found["matmul.rate_flops[fp32]"].unit == "FLOP/s"
    assert found["transfers.rate_bytes[h2d]"].values == (25.92e9,)
    assert found["transfers.rate_bytes[d2h]"].unit == "B/s"
    assert found["nccl_tests.busbw_bytes[all_reduce/8GiB]"].values == (235e9,)
    assert found["nccl_tests.busbw_bytes[all_gather/1GiB]"].values == (220e9,)


def test_products_by_another_library_give_no_centre() -> None:
    found = by_key(file("baseline.json"))
    assert not found["matmul.rate_flops[bf16]"].alike
    assert found["transfers.rate_bytes[h2d]"].alike


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gemm-flops/fp64_flops", "without tensor cores"),
        ("gemm-flops/fp16_flops", "without tensor cores"),
        ("gemm-flops/int8_tc_iops", "whole numbers"),
        ("kernel-launch/event_time", "time of a kernel launch"),
        ("ib-loopback/ib_write_8388608_ib0_bw", "of the network cards"),
        ("nccl-bw/allreduce_8589934592_algbw", "bus bandwidth of the same size"),
        ("nccl-bw/allreduce_1024_busbw", "below 4 MiB"),
        ("nccl-bw:gdr-only/allreduce_8589934592_busbw", "not within one node"),
    ],
)
def test_what_is_no_metric_of_ours_is_listed(name: str, why: str) -> None:
    assert why in dict(file("baseline.json").unmapped)[name]


def test_every_name_is_taken_or_listed() -> None:
    names = json.loads((DATA / "superbench/baseline.json").read_text()).keys()
    found = file("baseline.json")
    said = {one.text.split()[0] for one in found.measured} | {name for name, _ in found.unmapped}
    assert said == {name for name in names if not name.endswith("return_code")}


def test_results_of_nodes_give_every_rank_that_did_not_fail() -> None:
    found = file("results.jsonl")
    assert by_key(found)["transfers.rate_bytes[h2d]"].values == (26.1e9, 26.2e9, 26.0e9)
    assert by_key(found)["matmul.rate_flops[bf16]"].values == (2.6e14, 2.64e14)
    why = dict(found.unmapped)
    assert why["sb-02 mem-bw"] == "it failed there (rank 1: return code 3)"
    assert why["sb-03 gemm-flops"] == "it failed there (return code 1)"
    assert why["mem-bw/h2d_bw"] == "None is not a rate"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        # v0.3.0/Azure-NDv4-A100/baseline.json and v0.2.1/HPE-MI100 of microsoft/superbench-results
        ("gemm-flops/BF16_TC", "matmul.rate_flops[bf16]"),
        ("gemm-flops/FP64_TC:3", "matmul.rate_flops[fp64]"),
        ("gemm-flops/TF32_TC", "matmul.rate_flops[tf32]"),
        ("gemm-flops/FP32", "matmul.rate_flops[fp32]"),
        ("gemm-flops/FP16_xDLOPS:0", "matmul.rate_flops[fp16]"),
        ("mem-bw/H2D_Mem_BW", "transfers.rate_bytes[h2d]"),
        ("mem-bw/D2H_Mem_BW:7", "transfers.rate_bytes[d2h]"),
        # docs/user-tutorial/benchmarks/micro-benchmarks.md of microsoft/superbenchmark
        ("nvbandwidth/host_to_device_memcpy_ce_cpu0_gpu5_bw", "nvbandwidth.rate_bytes[host_to_device_memcpy_ce/*]"),
        ("nvbandwidth/device_to_device_memcpy_write_ce_gpu0_gpu7_bw:0", "nvbandwidth.rate_bytes[device_to_device_memcpy_write_ce/*]"),
        ("rccl-bw/allreduce_8589934592_busbw:0", "nccl_tests.busbw_bytes[all_reduce/8GiB]"),
    ],
)  # fmt: skip
def test_names_of_every_version_are_known(name: str, key: str) -> None:
    found = parse_superbench(json.dumps({name: 20.0}), 8)
    assert key in by_key(found)
    assert by_key(found)[key].values[0] in (20e9, 20.0e9)
    assert found.unmapped == ()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gemm-flops/FP64", "without tensor cores"),
        ("gemm-flops/INT4_TC", "whole numbers"),
        ("gemm-flops/FP32_xDLOPS:0", "matrix units of AMD"),
        ("mem-bw/D2D_Mem_BW", "a copy within one GPU"),
        ("nvbandwidth/host_to_device_memcpy_ce_sum_bw", "a sum over GPUs"),
        ("nvbandwidth/all_to_host_memcpy_ce_cpu0_gpu0_bw", "a test whose cells"),
        ("disk-benchmark/nvme0n1_seq_read_read_iops", "disks"),
        ("ib-loopback/IB_write_8388608_Avg_0:0", "network cards"),
        ("bert_models/pytorch-bert-base/fp16_train_throughput", "a model by SuperBench's own recipe"),
        ("pytorch-matmul/nosharding", "a model by SuperBench's own recipe"),
        ("some-new-thing/speed", "no check of ours measures this"),
    ],
)
def test_the_reason_of_what_is_not_taken_is_the_reason(name: str, why: str) -> None:
    assert why in dict(parse_superbench(json.dumps({name: 20.0})).unmapped)[name.partition(":")[0]]


def test_what_gpus_reach_together_is_taken_for_the_number_that_it_was_measured_on() -> None:
    bus = {"nccl-bw/allreduce_8589934592_busbw:0": 235.0}
    assert by_key(parse_superbench(json.dumps(bus), 4))["nccl_tests.busbw_bytes[all_reduce/8GiB]"].gpus == 4
    assert "say it with --gpus N" in parse_superbench(json.dumps(bus)).unmapped[0][1]
    ranks = {f"gemm-flops/bf16_tc_flops:{rank}": 2.6e5 for rank in range(8)}
    found = by_key(parse_superbench(json.dumps({"node": "a", **bus, **ranks})))
    assert found["nccl_tests.busbw_bytes[all_reduce/8GiB]"].gpus == 8
    assert found["matmul.rate_flops[bf16]"].gpus == 0


@pytest.mark.parametrize(
    ("metric", "cell"),
    [
        ("host_to_device_memcpy_ce_cpu0_gpu5_bw", "cpu→gpu5"),
        ("device_to_host_memcpy_ce_cpu0_gpu3_bw", "gpu3→cpu"),
        ("device_to_device_memcpy_read_ce_gpu0_gpu7_bw", "gpu0→gpu7"),
    ],
)
def test_cells_of_nvbandwidth_have_our_names(metric: str, cell: str) -> None:
    (node,) = parse_results(json.dumps({"node": "a", f"nvbandwidth/{metric}:0": 50.0}))
    (figure,) = node.figures
    assert figure.cell == cell


def test_nodes_that_lack_a_benchmark_are_said() -> None:
    lines = [
        {"node": "a", "mem-bw/h2d_bw:0": 26.0, "kernel-launch/event_time:0": 1.0},
        {"node": "b", "mem-bw/h2d_bw:0": 26.0},
    ]
    why = dict(parse_superbench("\n".join(map(json.dumps, lines))).unmapped)
    assert why["b kernel-launch"] == "the node has no result of it, others have"


@pytest.mark.parametrize(
    "text", ["", "no json", "[1, 2]", "{}", '{"a": 1}', '{"node": "x"}\nrubbish', '"text"', "3", '[{"a/b": 1}]']
)
def test_another_file_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_superbench(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda x: st.lists(x, max_size=3), max_leaves=4
)


@given(
    st.dictionaries(st.sampled_from(["mem-bw/h2d_bw:0", "a/b", "x", "node", "mem-bw/return_code"]), JSON, max_size=4)
)
def test_any_table_is_understood_or_refused(table: dict[str, object]) -> None:
    try:
        found = parse_superbench(json.dumps(table))
    except NotUnderstood:
        return
    assert all(0 < value < math.inf for one in found.measured for value in one.values)
    good = {name for name, value in table.items() if name == "mem-bw/h2d_bw:0" and _is_rate(value)}
    failed = table.get("mem-bw/return_code", 0) not in (0, 0.0)
    assert len(found.measured) == (len(good) if not failed else 0)


def _is_rate(value: object) -> bool:
    return isinstance(value, float) and 0 < value < math.inf
