"""Reads the samples of one record, where a run has ten million, as four lists and not as an object each."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from hpcaccept.model.record import Sample
from hpcaccept.serial import from_plain

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMES = {"metric", "value", "variant", "repeat"}


@dataclass(frozen=True)
class SampleLists:
    """The samples of a record, in their order; the lists are of equal length. See ``model.record.Sample``."""

    metrics: list[str] = field(default_factory=list)
    variants: list[str] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def as_samples(self) -> tuple[Sample, ...]:
        """An object each."""
        return tuple(map(Sample, self.metrics, self.values, self.variants, self.repeats))


NO_SAMPLES = SampleLists()


def lists_of(samples: Iterable[Sample]) -> SampleLists:
    """The same of samples that exist."""
    rows = [(s.metric, s.variant, s.repeat, s.value) for s in samples]
    return SampleLists(*map(list, zip(*rows, strict=True))) if rows else SampleLists()


def read_lists(plain: Any) -> SampleLists:
    """The same from JSON: what ``from_plain`` reads, and refuses, in a tenth of its time and memory.

    Raises:
        ValueError: what is no sample, and where it stands.
    """
    try:
        found = SampleLists(
            [sample["metric"] for sample in plain],
            [sample.get("variant", "") for sample in plain],
            [sample.get("repeat", 0) for sample in plain],
            [sample["value"] for sample in plain],
        )
        texts, numbers = set(map(type, found.metrics + found.variants)), set(map(type, found.values))
        fit = texts <= {str} and numbers <= {float} and set(map(type, found.repeats)) <= {int}
        if fit and set(chain.from_iterable(plain)) <= _NAMES:
            return found
    except (KeyError, TypeError, AttributeError):
        pass  # said better below
    return lists_of(from_plain(plain, tuple[Sample, ...]))
