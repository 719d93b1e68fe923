"""A table in our own columns, with units as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.imported_limits import Row
from hpcaccept.parse.limits_csv import parse_limits_csv

HEAD = "key,unit,center,lower,subjects,gpus,source\n"


def test_a_row_is_turned_into_si() -> None:
    found = parse_limits_csv(HEAD + "transfers.rate_bytes[h2d],GB/s,55.4,48,8,,ours\n")
    assert found.rows == (Row("transfers.rate_bytes[h2d]", "B/s", 55.4e9, 48e9, None, 8, 0, 0, "ours"),)
    assert found.unmapped == ()


@pytest.mark.parametrize(
    ("unit", "value", "si"),
    [("Gb/s", 400, 50e9), ("GiB/s", 1, 2**30), ("TFLOP/s", 2, 2e12), ("B/s", 7, 7.0), ("MB/s", 3, 3e6)],
)
def test_bits_bytes_and_binary_prefixes_are_kept_apart(unit: str, value: float, si: float) -> None:
    (row,) = parse_limits_csv(f"key,unit,lower\na.b,{unit},{value}\n").rows
    assert row.lower == si


def test_times_are_seconds_and_counts_stay() -> None:
    rows = parse_limits_csv("unit,key,upper\nus,a.latency_s[8B],2.5\n1/s,a.b,3\n").rows
    assert [row.unit for row in rows] == ["s", "1/s"]
    assert [row.upper for row in rows] == pytest.approx([2.5e-6, 3.0])


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("transfers,GB/s,1,1,,,", "expected check.metric"),
        ("a.b,GByte,1,1,,,", "found the unit 'GByte'"),
        ("a.b,gb/s,1,1,,,", "found the unit 'gb/s'"),
        ("a.b,GB/s,fast,1,,,", "center is 'fast'"),
        ("a.b,GB/s,,-3,,,", "above 0"),
        ("a.b,GB/s,,inf,,,", "above 0"),
        ("a.b,GB/s,,,,,", "neither centre nor limit"),
        ("a.b,GB/s,,3,many,,", "subjects is 'many'"),
        ("a.b,GB/s,10,4,,,", "less than half of its centre"),
    ],
)
def test_a_row_that_cannot_be_taken_is_listed_with_its_line(row: str, why: str) -> None:
    found = parse_limits_csv(f"{HEAD}{row}\n")
    assert found.rows == ()
    ((where, reason),) = found.unmapped
    assert where.startswith("line 2:")
    assert why in reason


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "Found the columns none"), ("a,b\n1,2\n", "expected at least key and unit"), ("key,unit,lowr\n", "lower")],
)
def test_another_table_is_not_understood(text: str, why: str) -> None:
    with pytest.raises(NotUnderstood, match=why):
        parse_limits_csv(text)


CELLS = st.sampled_from(["a.b", "a.b[x]", "GB/s", "us", "10", "6", "1e-3", "0", "-1", "nan", "inf", "", "x"])
#: What the reader of such tables does not take for the end of a row or a cell.
WORDS = st.text(
    st.characters(codec="ascii", categories=["L", "N", "S"], exclude_characters='"'), min_size=1, max_size=20
)


@given(st.lists(st.tuples(WORDS | CELLS, *[CELLS] * 6).map(",".join) | WORDS, max_size=4))
@example(["a.b,GB/s,10,6,8,8,x"])
@example(["a.b,GB/s,-10,-6,,,", "a.b,GB/s,0,0,,,", "a.b,GB/s,nan,1,,,"])
def test_any_row_is_understood_or_listed(rows: list[str]) -> None:
    found = parse_limits_csv(HEAD + "\n".join(rows))
    assert len(found.rows) + len(found.unmapped) == len(rows)
    for row in found.rows:
        assert all(bound is None or 0 < bound < math.inf for bound in (row.center, row.lower, row.upper))


def test_a_good_row_is_understood_whatever_stands_around_it() -> None:
    found = parse_limits_csv(HEAD + "x\na.b,GB/s,10,6,8,8,x\na.b,GB/s,10,-6,8,8,x\n")
    assert [row.lower for row in found.rows] == [6e9]
    assert [where for where, _ in found.unmapped] == ["line 2: x", "line 4: a.b"]
