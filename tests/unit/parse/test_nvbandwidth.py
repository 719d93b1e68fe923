"""nvbandwidth -j, versions 0.5 to 0.8 (tests/data/nvbandwidth)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.stand_ins import DATA

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.nvbandwidth import Bandwidths, Testcase, parse_nvbandwidth


def recorded(name: str) -> Bandwidths:
    return parse_nvbandwidth((DATA / "nvbandwidth" / f"{name}.json").read_text("utf-8"))


def case(name: str, test: str) -> Testcase:
    (found,) = (c for c in recorded(name).testcases if c.name == test)
    return found


@pytest.mark.parametrize("name", ["v05_healthy", "v08_healthy"])
def test_every_cell_is_kept_in_bytes_per_second(name: str) -> None:
    found = recorded(name)
    assert found.version == name[:3].replace("v0", "v0.")
    assert (found.driver, found.error, found.wrong_data) == ("580.95.05", "", 0)
    assert [len(c.cells) for c in found.testcases] == [8, 8, 56, 56]
    assert {c.gpus for c in found.testcases} == {8}
    assert case(name, "host_to_device_memcpy_ce").cells["cpu→gpu3"] == pytest.approx(55.31e9)
    assert case(name, "device_to_host_memcpy_ce").cells["gpu3→cpu"] == pytest.approx(55.31e9)


def test_the_arrow_says_whence_and_where_to() -> None:
    read, write = (case("v08_slow_pair", f"device_to_device_memcpy_{way}_ce") for way in ("read", "write"))
    assert min(read.cells, key=lambda cell: read.cells[cell]) == "gpu3→gpu5", "row 3, column 5, GPU(row) -> GPU(column)"
    assert write.cells["gpu5→gpu3"] == pytest.approx(276.36e9), "row 3, column 5, GPU(row) <- GPU(column)"
    assert "gpu3→gpu3" not in read.cells


def test_of_three_matrices_below_each_other_the_total_is_taken() -> None:
    found = case("v08_bidirectional_and_latency", "device_to_device_bidirectional_memcpy_read_ce")
    assert found.cells == {"gpu0↔gpu1": pytest.approx(400.03e9), "gpu1↔gpu0": pytest.approx(400.07e9)}


def test_latencies_are_seconds_and_local_copies_have_no_row() -> None:
    latency = case("v08_bidirectional_and_latency", "host_device_latency_sm")
    assert latency.unit == "s"
    assert latency.cells == pytest.approx({"cpu↔gpu0": 712.5e-9, "cpu↔gpu1": 715.25e-9})
    assert case("v08_bidirectional_and_latency", "device_local_copy").cells["gpu1"] == pytest.approx(1490.7e9)


def test_what_was_not_measured_says_so() -> None:
    assert {c.status for c in recorded("v07_waived").testcases} == {"Passed", "Waived"}
    assert recorded("v08_unknown_test").testcases[0].status == "Not Found"
    broken = recorded("v08_cuda_error")
    assert broken.testcases[-1].status == "Running"
    assert broken.error.startswith("[CUDA_ERROR_ILLEGAL_ADDRESS]")
    assert recorded("v08_no_device").testcases == ()


def test_wrong_data_is_counted() -> None:
    assert recorded("v08_wrong_data").wrong_data == 2


def test_a_test_that_comes_again_as_an_error_is_one_error() -> None:
    text = json.dumps({"nvbandwidth": {"testcases": [{"name": "x", "status": s} for s in ("Running", "Error")]}})
    (found,) = parse_nvbandwidth(text).testcases
    assert found.status == "Error"


def test_a_dead_link_is_a_number_and_no_riddle() -> None:
    text = one(bandwidth_matrix=[["N/A", "0.00"], ["2.5", "N/A"]])
    assert parse_nvbandwidth(text).testcases[0].cells == {"gpu0→gpu1": 0.0, "gpu1→gpu0": 2.5e9}
    with pytest.raises(NotUnderstood, match=r"a cell of x is '-0[.]01'"):
        parse_nvbandwidth(one(bandwidth_matrix=[["N/A", "-0.01"], ["2.5", "N/A"]]))


def one(**change: Any) -> str:
    entry = {
        "name": "x",
        "status": "Passed",
        "bandwidth_description": "memcpy CE GPU(row) -> GPU(column) bandwidth (GB/s)",
        "bandwidth_matrix": [["N/A", "1"], ["2", "N/A"]],
    }
    return json.dumps({"nvbandwidth": {"testcases": [entry | change]}})


def test_the_example_below_is_understood_unchanged() -> None:
    assert parse_nvbandwidth(one()).testcases[0].cells == {"gpu0→gpu1": 1e9, "gpu1→gpu0": 2e9}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Running host_to_device_memcpy_ce.\n",
        "[]",
        '{"nvbandwidth": 1}',
        '{"nvbandwidth": {}}',
        '{"nvbandwidth": {"testcases": []}}',
        '{"nvbandwidth": {"testcases": ["x"]}}',
        one(status="passed"),
        one(status=""),
        one(bandwidth_description="bandwidth (GiB/s)"),
        one(bandwidth_matrix=[]),
        one(bandwidth_matrix=None),
        one(bandwidth_matrix=[["1", "2"], ["3"]]),
        one(bandwidth_matrix=[["N/A", "1"]] * 3),
        one(bandwidth_matrix=[["N/A", "nan"], ["1", "N/A"]]),
        one(bandwidth_matrix=[["N/A", "-1"], ["1", "N/A"]]),
        one(bandwidth_matrix=[["N/A", "fast"], ["1", "N/A"]]),
        one(bandwidth_matrix=[["N/A", None], ["1", "N/A"]]),
    ],
)
def test_anything_else_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_nvbandwidth(text)
