"""Samples as lists are what samples as objects are: the same content, the same refusals."""

from __future__ import annotations

from typing import Any

import pytest

from hpcaccept.model.record import Sample
from hpcaccept.serial import from_plain
from hpcaccept.store import sample_lists
from hpcaccept.store.sample_lists import lists_of, read_lists

GOOD = [
    {"metric": "rate_flops", "value": 1.5, "variant": "fp32", "repeat": 2},
    {"metric": "rate_flops", "value": 2.5},
    {"metric": "spread", "value": 0.0, "variant": ""},
]


@pytest.mark.parametrize("plain", [[], GOOD, [{"metric": "cores", "value": 2}]])
def test_lists_are_what_objects_would_be(plain: list[dict[str, Any]]) -> None:
    samples = from_plain(plain, tuple[Sample, ...])
    assert read_lists(plain).as_samples() == samples
    assert lists_of(samples).as_samples() == samples


@pytest.mark.parametrize(
    "bad",
    [
        {"metric": "a"},
        {"value": 1.0},
        {"metric": "a", "value": "1"},
        {"metric": "a", "value": True},
        {"metric": 1, "value": 1.0},
        {"metric": "a", "value": 1.0, "variant": None},
        {"metric": "a", "value": 1.0, "repeat": 0.5},
        {"metric": "a", "value": 1.0, "place": "b"},
        "a",
        ["metric", "value"],
        None,
    ],
)
def test_what_is_no_sample_is_refused_in_the_same_words(bad: Any) -> None:
    with pytest.raises(ValueError, match=r".") as as_objects:
        from_plain([*GOOD, bad], tuple[Sample, ...])
    with pytest.raises(ValueError, match=r".") as as_lists:
        read_lists([*GOOD, bad])
    assert str(as_lists.value) == str(as_objects.value)


def test_no_object_is_made_of_a_sample_that_is_as_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten million would take gigabytes."""

    def made(*_: object) -> None:
        raise AssertionError("a sample became an object")

    monkeypatch.setattr(sample_lists, "from_plain", made)
    assert read_lists(GOOD).values == [1.5, 2.5, 0.0]
