"""Whom NCCL's RAS service misses, from answers that others have published (tests/data/nccl_ras/README.md)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import DATA

from hpcaccept.parse.nccl_ras import Suspect, suspects_of

ANSWERS = DATA / "nccl_ras"
STOPPED = 3487984, "172.16.64.213"


@pytest.mark.parametrize(
    ("file", "suspects"),
    [
        ("ok", ()),
        ("ahead", ()),  # those that are named are ahead, those that are behind are not named
        ("unresponsive", (Suspect(*STOPPED, "unresponsive"),)),
        ("dead", (Suspect(*STOPPED, "dead"),)),
        ("opening", (Suspect(60004, "10.4.109.13", "unresponsive"),)),
        ("behind", tuple(Suspect(483072 + n, "172.16.64.210", "behind") for n in (0, 2, 3, 4, 5, 7))),
    ],
)
def test_the_processes_that_an_answer_speaks_ill_of(file: str, suspects: tuple[Suspect, ...]) -> None:
    assert suspects_of((ANSWERS / f"{file}.txt").read_text("utf-8")) == suspects


@settings(max_examples=100)
@given(data=st.data())
def test_an_answer_that_is_cut_anywhere_names_nobody_new(data: st.DataObject) -> None:
    text = (
        (ANSWERS / data.draw(st.sampled_from(["ok", "unresponsive", "dead", "opening"])))
        .with_suffix(".txt")
        .read_text()
    )
    at = data.draw(st.integers(0, len(text)))
    assert {s.pid for s in suspects_of(text[:at])} <= {s.pid for s in suspects_of(text)}
