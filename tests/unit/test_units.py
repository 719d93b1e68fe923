from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.units import parse_slurm_time, show, show_bytes, show_duration


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (8.1e10, "FLOP/s", "81 GFLOP/s"),
        (989.4e12, "FLOP/s", "989 TFLOP/s"),
        (999.4e9, "FLOP/s", "999 GFLOP/s"),
        (999.6e9, "FLOP/s", "1 TFLOP/s"),
        (2.5e18, "FLOP/s", "2500 PFLOP/s"),
        (3.35e12, "B/s", "3.35 TB/s"),
        (250e9, "B/s", "250 GB/s"),
        (5e6, "B/s", "5 MB/s"),
        (1500, "Hz", "1.5 kHz"),
        (1.5, "s", "1.5 s"),
        (7e-9, "s", "7 ns"),
        (0.0123, "s", "12.3 ms"),
        (4.2e-6, "s", "4.2 µs"),
        (5e-13, "s", "5e-13 s"),
        (-2e9, "B/s", "-2 GB/s"),
        (0, "FLOP/s", "0 FLOP/s"),
        (0.05, "share", "5 %"),
        (8, "GPUs", "8 GPUs"),
        (7.5, "cores", "7.5 cores"),
        (1234567, "elements", "1.23457e+06 elements"),
        (3, "", "3"),
        (math.nan, "FLOP/s", "not a number"),
    ],
)
def test_a_number_is_shown_with_the_prefix_that_keeps_it_short(value: float, unit: str, text: str) -> None:
    assert show(value, unit) == text


values = st.builds(lambda number, power: number * 10.0**power, st.floats(1, 9.99), st.integers(-9, 16))


@given(values, st.sampled_from(["FLOP/s", "B/s", "s", "Hz", "W"]))
def test_what_is_shown_is_the_value_within_half_a_percent(value: float, unit: str) -> None:
    scale = {"P": 1e15, "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9}
    number, _, rest = show(value, unit).partition(" ")
    prefix = rest.removesuffix(unit)
    assert float(number) * scale[prefix] == pytest.approx(value, rel=5.1e-3)


@given(values)
def test_a_shown_number_has_at_most_four_digits(value: float) -> None:
    assert len(re.sub(r"\D", "", show(value, "B/s").partition(" ")[0].lstrip("0."))) <= 4


@pytest.mark.parametrize(
    ("size", "text"),
    [(8, "8B"), (1000, "1000B"), (1024, "1KiB"), (4096, "4KiB"), (64 << 20, "64MiB"), (3 << 29, "1536MiB"), (0, "0B")],
)
def test_a_size_is_shown_in_the_largest_unit_that_divides_it(size: int, text: str) -> None:
    assert show_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (4.21, "4.2 s"),
        (59.9, "59.9 s"),
        (59.97, "1 min 0 s"),
        (60, "1 min 0 s"),
        (123, "2 min 3 s"),
        (3599.6, "1 h 0 min"),
        (3900, "1 h 5 min"),
        (100 * 3600, "100 h 0 min"),
    ],
)
def test_a_duration_is_shown_by_its_two_largest_parts(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90 * 60),
        ("0", 0),
        ("1:30", 90),
        ("1:30:00", 5400),
        ("00:00:01", 1),
        ("1-12", 36 * 3600),
        ("1-12:30", 36.5 * 3600),
        ("1-0:30:05", 86400 + 1805),
        (" 10 ", 600),
    ],
)
def test_every_slurm_time_format_is_read(text: str, seconds: float) -> None:
    assert parse_slurm_time(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "1:2:3:4", "1-", "1.5", "10m", "1-2-3", "INFINITE", "1 2"])
def test_another_text_is_no_slurm_time(text: str) -> None:
    with pytest.raises(ValueError, match="expected minutes"):
        parse_slurm_time(text)


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_days_hours_minutes_and_seconds_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    text = f"{days}-{hours}:{minutes:02d}:{seconds:02d}"
    assert parse_slurm_time(text) == ((days * 24 + hours) * 60 + minutes) * 60 + seconds
