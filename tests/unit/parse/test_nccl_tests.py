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
        assert b.out_of_place.algbw_bytes == pytest.approx(a.out_of_place.algbw_bytes, rel=1e-2, abs=1e7)


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


RECORDED = [
    ("one_process", 8, ("gpu-node-1",)),
    ("one_process_threads", 8, ("gpu-node-1",)),
    ("eight_processes", 8, ("gpu-node-1",)),
    ("two_nodes", 16, ("gpu-node-1", "gpu-node-2")),
    ("two_nodes_two_processes", 16, ("gpu-node-1", "gpu-node-2")),
    ("split", 16, ("gpu-node-1", "gpu-node-2")),
]


@pytest.mark.parametrize(("name", "devices", "hosts"), RECORDED)
def test_its_own_writer_names_processes_and_every_one_of_their_gpus_counts(
    name: str, devices: int, hosts: tuple[str, ...]
) -> None:
    printed = text(f"recorded/{name}.txt")
    perf = parse_json(text(f"recorded/{name}.json"), printed)
    assert (perf.devices, perf.hosts, perf.nccl, perf.out_of_bounds, perf.errors) == (devices, hosts, "2.30.7", 0, ())
    assert [(row.size_bytes, row.wrong) for row in perf.rows] == [(4096, 0), (512 << 10, 0), (64 << 20, 0)]


@pytest.mark.parametrize(("name", "devices", "hosts"), RECORDED)
@pytest.mark.parametrize("label", ["", "0: ", " 0: ", "[1,0]<stdout>:", "[prterun-gpu-node-1-77@1,0]<stdout>: "])
def test_the_table_beside_it_says_the_same_under_any_label(
    name: str, devices: int, hosts: tuple[str, ...], label: str
) -> None:
    printed = text(f"recorded/{name}.txt")
    if label:
        printed = "".join(label + line.removeprefix("[1,0]<stdout>:") for line in printed.splitlines(keepends=True))
    perf, beside = parse_table(printed), parse_json(text(f"recorded/{name}.json"))
    assert (perf.devices, perf.hosts, perf.nccl) == (devices, hosts, "2.30.7")
    for row, other in zip(perf.rows, beside.rows, strict=True):
        assert row.out_of_place.time_s == pytest.approx(other.out_of_place.time_s, rel=1e-3)


def test_what_its_own_writer_says_of_wrong_elements_and_of_a_failure() -> None:
    perf = parse_json(text("recorded/wrong.json"))
    assert [row.wrong for row in perf.rows] == [48, 48, 48]
    with pytest.raises(NotUnderstood, match="no results"):
        parse_json(text("recorded/nccl_fails.json"))
    assert "unhandled system error" in failures(text("recorded/nccl_fails.txt"))[0]
    assert failures(text("recorded/too_few.err"))[0].startswith("Invalid number of GPUs: 8 requested")
