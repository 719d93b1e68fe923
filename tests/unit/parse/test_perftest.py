from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.perftest import NO_DEVICE, complaint, parse_write_bw

RECORDED = Path(__file__).parents[2] / "data/perftest"


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text()


def test_gigabits_are_powers_of_ten_and_an_unmeasured_peak_is_none() -> None:
    found = parse_write_bw(recorded("gbits_6"))
    (row,) = found.rows
    assert row.rate_bytes == pytest.approx(391.12e9 / 8)
    assert (row.size_bytes, row.iterations) == (4194304, 34976)
    assert found.settings["Device"] == "mlx5_0"
    assert found.settings["Link type"] == "IB"


@pytest.mark.parametrize("name", ["mib_4.5", "mib_new"])
def test_megabytes_are_mebibytes_whatever_the_heading_says(name: str) -> None:
    (row,) = parse_write_bw(recorded(name)).rows
    assert row.rate_bytes == pytest.approx(23598.90 * 2**20)
    # The same link in the other unit: 197.96 Gbit/s. Who takes MB for 10**6 bytes is 4.9 % off.
    assert row.rate_bytes * 8 / 1e9 == pytest.approx(197.96, abs=0.01)


def test_the_sum_of_both_directions_is_taken_for_no_rate() -> None:
    with pytest.raises(NotUnderstood, match="both directions"):
        parse_write_bw(recorded("bidirectional"))


def test_every_size_of_a_sweep_is_a_row() -> None:
    rows = parse_write_bw(recorded("all_sizes")).rows
    assert [row.size_bytes for row in rows] == [2, 4096, 8388608]


@pytest.mark.parametrize("name", ["no_device", "broken", "refused"])
def test_what_has_no_row_is_not_understood_and_no_zero(name: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_write_bw(recorded(name))


def test_an_unknown_unit_is_not_guessed() -> None:
    with pytest.raises(NotUnderstood, match="kB/fortnight"):
        parse_write_bw(recorded("gbits_6").replace("Gb/sec", "kB/fortnight"))


def test_figures_without_their_heading_have_no_unit() -> None:
    text = "\n".join(line for line in recorded("gbits_6").splitlines() if "#bytes" not in line)
    with pytest.raises(NotUnderstood, match="no heading"):
        parse_write_bw(text)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "Completion with error at client"),
        ("refused", "Couldn't connect to 10.0.0.2:18515"),
        ("no_device", "Unable to find the Infiniband/RoCE device"),
    ],
)
def test_the_complaint_is_found(name: str, said: str) -> None:
    assert said in recorded(name)
    assert complaint(recorded(name)) in recorded(name)
    assert complaint(recorded(name))


def test_only_an_absent_device_is_nobody_s_fault() -> None:
    assert NO_DEVICE.search(recorded("no_device"))
    assert not NO_DEVICE.search(recorded("broken"))
    assert not NO_DEVICE.search(recorded("refused"))


def test_nothing_said_is_no_complaint() -> None:
    assert complaint("") == complaint("----\n****\n") == ""


@given(st.text(), st.sampled_from(["", recorded("gbits_6"), recorded("broken")]), st.integers(0, 2000))
def test_text_put_in_anywhere_is_a_result_or_not_understood(text: str, around: str, at: int) -> None:
    with contextlib.suppress(NotUnderstood):
        found = parse_write_bw(around[:at] + text + around[at:])
        assert all(row.rate_bytes >= 0 for row in found.rows)
