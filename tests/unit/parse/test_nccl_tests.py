"""nccl-tests: the JSON of today and the tables of older builds (tests/data/nccl_tests)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.stand_ins import DATA

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.nccl_tests import failures, has_no_json, parse_json, parse_table, redacted

NCCL = DATA / "nccl_tests"


def text(name: str) -> str:
    return (NCCL / name).read_text("utf-8")


def test_every_size_of_the_json_is_read_in_si_units() -> None:
    perf = parse_json(text("all_reduce.json"))
    assert (perf.devices, perf.nccl, perf.out_of_bounds, perf.errors, perf.reduced_bytes) == (8, "2.28.3", 0, (), 0)
    assert [row.size_bytes for row in perf.rows] == [4096 * 4**k for k in range(10)]
    largest = perf.rows[-1].out_of_place
    assert largest.algbw_bytes == pytest.approx((1 << 30) / largest.time_s, rel=1e-6)
    assert largest.busbw_bytes == pytest.approx(largest.algbw_bytes * 2 * 7 / 8, rel=1e-6)
    assert largest.wrong == 0


def test_json_and_table_of_one_run_agree() -> None:
    one, other = parse_json(text("all_reduce.json")), parse_table(text("table_2_18.txt"))
    assert (other.devices, other.nccl) == (8, "2.28.3")
    for a, b in zip(one.rows, other.rows, strict=True):
        assert a.size_bytes == b.size_bytes
        assert b.out_of_place.time_s == pytest.approx(a.out_of_place.time_s, rel=1e-3)
        assert b.out_of_place.busbw_bytes == pytest.approx(a.out_of_place.busbw_bytes, rel=1e-2, abs=1e7)


def test_wrong_elements_of_both_halves_count() -> None:
    wrong = {row.size_bytes: row.wrong for row in parse_json(text("all_reduce_wrong.json")).rows if row.wrong}
    assert wrong == {1 << 26: 3}


def test_what_was_not_verified_is_not_right() -> None:
    assert all(row.wrong is None for row in parse_json(text("all_reduce_unverified.json")).rows)


@pytest.mark.parametrize("name", ["table_2_13_alltoall.txt", "table_2_0_all_gather.txt", "table_2_0_all_reduce.txt"])
def test_tables_of_older_builds(name: str) -> None:
    perf = parse_table(text(name))
    assert perf.devices == 8
    assert len(perf.rows) == 10
    assert all(row.wrong == 0 for row in perf.rows)
    assert perf.rows[0].out_of_place.time_s == pytest.approx(18.05e-6)


def test_a_smaller_size_than_asked_for_is_told() -> None:
    assert (
        parse_json(
            text("all_reduce.json"), "#\n# Reducing maxBytes to 268435456 due to memory limitation\n"
        ).reduced_bytes
        == 1 << 28
    )


def test_failures_are_told_once_each() -> None:
    said = failures(text("nccl_failure.txt"))
    assert len(said) == 3
    assert "an illegal memory access was encountered" in said[0]
    assert failures(text("too_few_gpus.err")) == ("Invalid number of GPUs: 8 requested but only 7 were found.",)


def test_a_build_without_json_says_so() -> None:
    assert has_no_json(text("usage.txt"))
    assert not has_no_json(text("table_2_18.txt"))


def test_the_environment_is_never_kept() -> None:
    kept = redacted(text("all_reduce.json"))
    assert "correct horse" not in kept
    assert json.loads(kept)["results"]
    assert "correct horse" not in redacted(text("all_reduce.json")[:700])


def changed(**change: Any) -> str:
    return json.dumps(json.loads(text("all_reduce.json")) | change)


def with_half(**change: Any) -> str:
    document = json.loads(text("all_reduce.json"))
    document["results"][2]["out_of_place"] |= change
    return json.dumps(document)


@pytest.mark.parametrize(
    "document",
    [
        "",
        text("all_reduce.json")[:-400],
        text("all_reduce_broke_off.json"),
        "[]",
        changed(results=[]),
        changed(results=None),
        changed(results=["x"]),
        changed(results=[{"size": 8, "out_of_place": None}]),
        changed(out_of_bounds={"okay": "true"}),
        with_half(bus_bw="nan"),
        with_half(time=-1),
        with_half(alg_bw=None),
        with_half(nwrong="many"),
    ],
)
def test_json_of_another_kind_is_not_understood(document: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_json(document)


@pytest.mark.parametrize(
    "table",
    [
        "",
        text("usage.txt"),
        text("nccl_failure.txt"),
        text("table_2_18.txt").split("# Out of bounds")[0],
        text("table_2_18.txt").replace("18.05", " fast"),
        text("table_2_18.txt").replace("18.05", "  inf"),
        text("table_2_18.txt").replace("float", "float float"),
    ],
)
def test_a_table_of_another_kind_is_not_understood(table: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_table(table)
