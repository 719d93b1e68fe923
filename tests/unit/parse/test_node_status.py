"""Status files, node-info.log and Hyper-V's pool, whole and harmed."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse.node_status import (
    NODE_WORDS,
    TOOL_WORDS,
    NodeInfo,
    NodeStatus,
    last_status,
    parse_node_info,
)

AT = dt.datetime(2026, 11, 29, 13, 59, 20, tzinfo=dt.timezone.utc)


def test_the_last_line_counts() -> None:
    content = b"2026-11-28T13:59:20Z failed\n2026-11-29T13:59:20Z passed\n"
    assert last_status(content, TOOL_WORDS) == NodeStatus(AT, "passed")
    assert last_status(b"2026-11-29T13:59:20Z unhealthy\n", NODE_WORDS).word == "unhealthy"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"2026-11-29T13:59:20Z passed", "is torn"),
        (b"2026-11-29T13:59:20Z passed\n2026-11-29T14", "is torn"),
        (b"2026-11-29T13:59:20Z passed\n\n", "ends with ''"),
        (b"2026-11-29T13:59:20Z ok\n", "expected a time and passed or failed or unknown"),
        (b"2026-11-29T13:59:20Z healthy\n", "expected a time and passed"),
        (b"2026-11-29T13:59:20Z PASSED\n", "expected a time"),
        (b"2026-11-29T13:59:20+01:00 passed\n", "expected a time"),
        (b"passed\n", "expected a time"),
        (b" 2026-11-29T13:59:20Z passed\n", "expected a time"),
        (b"2026-11-29T13:59:20Z passed \n", "expected a time"),
        (b"2026-02-30T13:59:20Z passed\n", "which does not exist"),
        (b"\xff\xfe\n", "expected times and words"),
        (b"2026-11-29T13:59:20Z pas\0sed\n", "expected times and words"),
        (b"\0\0\n2026-11-29T13:59:20Z passed\n", "expected times and words"),
        ("2026-11-29T13:59:20Z passed\n".encode("utf-16"), "expected times and words"),
        (b"2026-11-29T13:59:20Z passed\r\n", "expected times and words"),
        (b"\n" * 10_000_000 + b"2026-11-29T13:59:20Z passed\n", "10,000,028 bytes, expected at most 1,048,576"),
    ],
)
def test_what_is_no_status_says_why(content: bytes, words: str) -> None:
    with pytest.raises(NotUnderstood, match=words):
        last_status(content, TOOL_WORDS)


@given(st.binary(max_size=60))
def test_no_bytes_become_a_pass_by_chance(content: bytes) -> None:
    try:
        status = last_status(content, TOOL_WORDS)
    except NotUnderstood:
        return
    assert content.endswith(f" {status.word}\n".encode())


def test_who_a_node_is_stands_in_one_line() -> None:
    assert parse_node_info(b"vm-0 10.0.0.4 ABC123\n") == NodeInfo("vm-0", "10.0.0.4", "ABC123")
    assert parse_node_info(b"vm-0 unknown unknown\n") == NodeInfo("vm-0", "", "")


@pytest.mark.parametrize(
    "content",
    [b"", b"vm-0 10.0.0.4 ABC", b"vm-0 10.0.0.4\n", b"vm-0 10.0.0.4 ABC\nvm-1 10.0.0.5 ABD\n", b"vm-0 x;y ABC\n"],
)
def test_anything_else_is_not_understood(content: bytes) -> None:
    with pytest.raises(NotUnderstood, match=r"node-info\.log is"):
        parse_node_info(content)
