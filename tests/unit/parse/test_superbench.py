"""What SuperBench measured, as metrics of ours, and what it did not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import DATA

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.superbench import parse_superbench

if TYPE_CHECKING:
    from hpcaccept.parse.imported_limits import Imported, Measured


def file(name: str) -> Imported:
    return parse_superbench((DATA / "superbench" / name).read_text("utf-8"))


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
        ("gemm-flops/fp64_flops", "no number format"),
        ("gemm-flops/fp16_flops", "no number format"),
        ("gemm-flops/int8_tc_iops", "no number format"),
        ("kernel-launch/event_time", "no metric of ours"),
        ("ib-loopback/ib_write_8388608_ib0_bw", "no metric of ours"),
        ("nccl-bw/allreduce_8589934592_algbw", "no metric of ours"),
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
    assert why["sb-02 mem-bw/h2d_bw:1"] == "its benchmark failed (return_code)"
    assert why["sb-03 gemm-flops/bf16_tc_flops:0"] == "its benchmark failed (return_code)"
    assert why["sb-03 mem-bw/h2d_bw:0"] == "0 is no rate"
    assert why["sb-03 mem-bw/h2d_bw:1"] == "None is no rate"


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
    assert all(value > 0 for one in found.measured for value in one.values)
