from __future__ import annotations

import numpy as np
import pytest

from hpcaccept.proof.challenge import Challenge, sized, survival
from hpcaccept.proof.openings import DEFAULT_OPENINGS, MOST_VERIFYING_MACS, draw
from hpcaccept.proof.transcript import _MOST_MACS

NONCE = "ab" * 32


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"nonce": "ab"}, "nonce"),
        ({"nonce": "zz" * 32}, "nonce"),
        ({"width": 65}, "multiple of 32"),
        ({"width": 1 << 20}, "width"),
        ({"rows": 0}, "rows"),
        ({"rows": -1}, "rows"),
        ({"steps": 1 << 40}, "steps"),
        ({"steps": 7}, "whole ones"),
        ({"segment": 0}, "segment"),
        ({"steps": 4096, "segment": 1}, "whole ones"),
    ],
)
def test_what_no_honest_client_asks_is_no_challenge(change: dict[str, int], what: str) -> None:
    right = {"nonce": NONCE, "rows": 64, "width": 64, "steps": 16, "segment": 4}
    with pytest.raises(ValueError, match=what):
        Challenge(**{**right, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("peak_tops", [65, 130, 284, 624, 1979, 4500])
def test_it_takes_five_seconds_at_the_peak_and_can_be_verified_by_two_cores(peak_tops: float) -> None:
    made = sized(bytes.fromhex(NONCE), peak_tops * 1e12)
    assert 5.0 <= made.ops / (peak_tops * 1e12) < 12.0
    assert made.verifying_macs(DEFAULT_OPENINGS) < MOST_VERIFYING_MACS
    assert 8 * made.verifying_macs(DEFAULT_OPENINGS) < _MOST_MACS


def test_seconds_that_are_asked_for_are_got() -> None:
    assert sized(bytes.fromhex(NONCE), 1e15, seconds=20.0).ops == pytest.approx(20e15, rel=0.05)


@pytest.mark.parametrize(("count", "skipped"), [(16, 0.1), (32, 0.05), (64, 0.02), (64, 0.1)])
def test_who_skips_a_share_of_the_cells_survives_as_often_as_stated(count: int, skipped: float) -> None:
    """By simulation with the client's own draw, over bad cells in one place: a fresh seed for every round."""
    of = Challenge(NONCE, 128, 64, 64, 4)
    bad = int(skipped * of.cells)
    rounds = 4000
    seeds = np.random.default_rng(7).bytes(32 * rounds)
    kept = 0
    for index in range(rounds):
        cells = draw(of, seeds[32 * index : 32 * index + 32], ["00" * 32], count)
        kept += all(segment * of.rows + row >= bad for segment, row in cells)
    stated = survival(count, bad / of.cells)
    # Different cells are drawn: never better for the cheat than (1 - f)^k, and hardly worse. Five standard deviations.
    exact = np.prod([(of.cells - bad - i) / (of.cells - i) for i in range(count)])
    assert exact <= stated
    assert abs(kept / rounds - exact) < 5 * np.sqrt(exact * (1 - exact) / rounds)


def test_the_roots_move_the_cells() -> None:
    of = Challenge(NONCE, 4096, 64, 64, 4)
    assert draw(of, b"s" * 32, ["00" * 32], 8) != draw(of, b"s" * 32, ["01" * 32], 8)
    assert draw(of, b"s" * 32, ["00" * 32], 8) != draw(of, b"t" * 32, ["00" * 32], 8)
