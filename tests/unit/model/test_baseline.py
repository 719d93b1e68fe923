"""hpcaccept.model.baseline: how far from the centre a written limit lies."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

import hpcaccept
from hpcaccept.model.baseline import BaselineEntry, written_loss

PACKAGE = Path(hpcaccept.__file__).parent


def entry(**more: Any) -> BaselineEntry:
    given = {
        "key": "speed.rate_flops", "revision": 1, "unit": "FLOP/s", "direction": "higher", "center": 200.0, "spread": None,
        "lower": None, "upper": None, "subjects": 4, "source": "here", **more,
    }  # fmt: skip
    return BaselineEntry(**given)


@pytest.mark.parametrize(
    ("more", "loss"),
    [
        ({"lower": 180.0}, 0.1),
        ({"lower": 200.0}, 0.0),
        ({"direction": "lower", "upper": 300.0}, 0.5),
        # Only the bound on the side that is worse is one.
        ({"lower": 150.0, "upper": 220.0}, 0.25),
        ({"direction": "lower", "lower": 150.0, "upper": 220.0}, 0.1),
        ({"direction": "lower", "center": -2.0, "upper": -1.0}, 0.5),
    ],
)
def test_a_written_loss_is_seen_from_the_centre_in_the_direction_that_is_worse(
    more: dict[str, Any], loss: float
) -> None:
    assert written_loss(entry(**more)) == pytest.approx(loss)


@pytest.mark.parametrize(
    "more", [{}, {"upper": 220.0}, {"lower": 1.0, "center": None}, {"lower": 1.0, "center": 0.0}, {"direction": "lower", "lower": 1.0}]
)  # fmt: skip
def test_without_a_limit_or_a_centre_there_is_no_loss(more: dict[str, Any]) -> None:
    assert math.isnan(written_loss(entry(**more)))


def test_nobody_else_works_out_a_written_loss() -> None:
    """``1 - bound / center`` of an entry stands in one place."""
    by_hand = re.compile(r"(?:lower|bound|limit) / (?:entry\.|old\.)?center\b")
    found = [
        str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py") if by_hand.search(file.read_text("utf-8"))
    ]
    assert found == ["model/baseline.py"]
