from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpcaccept.model.node_mark import Mark, Seen
from hpcaccept.parse.slurm.marks import gate_reason, parse_reason, parse_reservation, reason_of, reservation_of

MARK = Mark("1a2b3c4d", "gpu-007", "drain", "20261130-120000-quick-4n-ab12", "peers-slow", ("matmul",))


def test_what_is_written_is_read_back() -> None:
    assert parse_reason("gpu-007", reason_of(MARK)) == Seen("1a2b3c4d", "gpu-007", "drain", MARK.run, "peers-slow")
    name = reservation_of(MARK)
    assert parse_reservation(name) == Seen("1a2b3c4d", "gpu-007", "quarantine", "", "peers-slow", name)


@pytest.mark.parametrize("more", [" ", ", bad DIMM", ": bad DIMM", " code=peers-slow"])
def test_whoever_adds_a_word_has_made_it_theirs(more: str) -> None:
    assert (parse_reason("gpu-007", reason_of(MARK) + more) is None) == bool(more.strip())
    assert parse_reservation(reservation_of(MARK) + "_2") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hpcaccept",
        "hpcaccept drain",
        "HPCACCEPT DRAIN 1a2b3c4d run=x code=y",
        "Prolog error",
        "hpcaccept broke this node",
    ],
)
def test_other_words_are_somebody_elses(text: str) -> None:
    assert parse_reason("gpu-007", text) is None


@given(st.text(max_size=300))
@example("missing is 1 mounts: [root@now] → 'x' \\ \n")
def test_a_reason_of_the_gate_is_read_back_and_any_edit_is_seen(why: str) -> None:
    reason = gate_reason("mount-missing", why)
    found = parse_reason("n1", reason)
    assert found is not None
    assert (found.run, found.code) == ("node-check", "mount-missing")
    assert parse_reason("n1", f"{reason} and more") is None
    assert len(reason) < 200
    assert "\n" not in reason
