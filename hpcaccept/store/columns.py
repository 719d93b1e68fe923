"""Makes tables of records while they are read, one after the other, so that no more than one is held as an object."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.record_table import MEASURED, RecordTable, flags_of
from hpcaccept.model.table import MeasuredSubject, SampleTable
from hpcaccept.serial import dumps
from hpcaccept.store.sample_lists import SampleLists

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcaccept.model.metric import Metric
    from hpcaccept.model.record import Record

_SCOPES = ("device", "node", "world")
_MOST_REPEATS = 2**31
#: Of a key: a metric that the check does not declare, or a variant that could not be read back.
_FOREIGN = -1


class SampleColumns:
    """Samples of records as columns, as long as more come."""

    def __init__(self, catalogue: Mapping[str, Mapping[str, Metric]]) -> None:
        """Begin with none; every check that comes must be in the catalogue."""
        self._catalogue = catalogue
        self._ids: dict[str, dict[tuple[str, str], int]] = {}
        self._keys: list[tuple[str, str, str]] = []
        self._scopes = array("b")
        self._leasts: list[float] = []
        # What the subject of a sample follows from → its number; of each record that number, and how many samples it has.
        self._origins: dict[tuple[str, str, str, str, str], int] = {}
        self._origin, self._count = array("i"), array("i")
        self._key, self._repeat, self._value = array("i"), array("i"), array("d")

    def add(self, record: Record, samples: SampleLists) -> list[str]:
        """Take the samples of a record; gives those that are none, in words: undeclared, or a number that its metric cannot have."""
        pairs = list(zip(samples.metrics, samples.variants, strict=True))
        ids = self._ids.setdefault(record.check, {})
        try:
            keys = [ids[pair] for pair in pairs]
        except KeyError:
            self._learn(record.check, ids, pairs)
            keys = [ids[pair] for pair in pairs]
        odd: list[str] = []
        if keys and not self._all_good(keys, samples):
            good = [i for i in range(len(keys)) if self._is_good(keys[i], samples.repeats[i], samples.values[i])]
            texts = {
                f"{samples.metrics[i]}[{samples.variants[i]}] = {samples.values[i]}"
                for i in set(range(len(keys))).difference(good)
            }
            odd, keys = sorted(texts), [keys[i] for i in good]
            columns = (samples.metrics, samples.variants, samples.repeats, samples.values)
            samples = SampleLists(*([column[i] for i in good] for column in columns))  # type: ignore[arg-type]
        origin = (record.node, record.device, record.device_id, record.device_model, record.step)
        self._origin.append(self._origins.setdefault(origin, len(self._origins)))
        self._count.append(len(keys))
        self._key.extend(keys)
        self._repeat.extend(samples.repeats)
        self._value.extend(samples.values)
        return odd

    def _learn(self, check: str, ids: dict[tuple[str, str], int], pairs: Iterable[tuple[str, str]]) -> None:
        """Give keys that are new their numbers: (metric, variant) → number, of one check."""
        metrics = self._catalogue[check]
        for metric, variant in pairs:
            if (metric, variant) in ids:
                continue
            if metric not in metrics or not variant.isprintable() or "]" in variant:
                ids[metric, variant] = _FOREIGN
                continue
            ids[metric, variant] = len(self._keys)
            self._keys.append((check, metric, variant))
            self._scopes.append(_SCOPES.index(metrics[metric].scope))
            self._leasts.append(metrics[metric].least)

    def _all_good(self, keys: list[int], samples: SampleLists) -> bool:
        """Whether every sample of a record is one, seen at once."""
        repeats, values = samples.repeats, samples.values
        return (
            _FOREIGN not in keys
            and 0 <= min(repeats) <= max(repeats) < _MOST_REPEATS
            and min(values) >= max(map(self._leasts.__getitem__, set(keys)))
            and math.isfinite(sum(values))
        )

    def _is_good(self, key: int, repeat: int, value: float) -> bool:
        """The same of one."""
        in_range = 0 <= repeat < _MOST_REPEATS and math.isfinite(value)
        return key != _FOREIGN and in_range and value >= self._leasts[key]

    def table(self, settings: Mapping[str, str], scales: Mapping[str, str]) -> SampleTable:
        """All of them.

        Args:
            settings: node → what must be alike for two numbers to be compared.
            scales: step → what is added to it for what all ranks reach together.
        """
        key = np.frombuffer(self._key, np.int32)
        origins = list(self._origins)
        origin = np.repeat(np.frombuffer(self._origin, np.int32), np.frombuffer(self._count, np.int32))
        whose = origin * len(_SCOPES) + np.frombuffer(self._scopes, np.int8)[key]
        subjects: dict[MeasuredSubject, int] = {}
        subject_of = np.zeros(len(origins) * len(_SCOPES), np.int32)
        for number in _in_order(whose, len(subject_of)):
            subject = _subject(origins[number // len(_SCOPES)], _SCOPES[number % len(_SCOPES)], settings, scales)
            subject_of[number] = subjects.setdefault(subject, len(subjects))
        kept = _in_order(key, len(self._keys))
        number_of = np.zeros(len(self._keys), np.int32)
        number_of[kept] = np.arange(len(kept))
        launches = np.array([int(step) for *_, step in origins], np.int32)
        return SampleTable(
            keys=tuple(str(MetricKey.of(*self._keys[number])) for number in kept),
            subjects=tuple(subjects),
            key=number_of[key],
            subject=subject_of[whose],
            launch=launches[origin],
            repeat=np.frombuffer(self._repeat, np.int32),
            value=np.frombuffer(self._value, np.float64),
        )


def _in_order(numbers: npt.NDArray[np.int32], most: int) -> list[int]:
    """Each number that occurs, in the order of its first occurrence."""
    first = np.full(most, len(numbers))
    first[numbers[::-1]] = np.arange(len(numbers) - 1, -1, -1)  # of several, the last one written counts
    there = np.flatnonzero(first < len(numbers))
    found: list[int] = there[np.argsort(first[there])].tolist()
    return found


def _subject(
    origin: tuple[str, str, str, str, str], scope: str, settings: Mapping[str, str], scales: Mapping[str, str]
) -> MeasuredSubject:
    node, device, device_id, model, step = origin
    setting = settings.get(node, "")
    if scope == "world":
        # What all ranks reach together depends on how many they are.
        return MeasuredSubject("", "", "", model, setting and setting + scales.get(step, ""))
    return (
        MeasuredSubject(node, device, device_id, model, setting)
        if scope == "device"
        else MeasuredSubject(node, "", "", model, setting)
    )


class RecordColumns:
    """Records without their samples as a table, as long as more come."""

    def __init__(self) -> None:
        """Begin with none."""
        self._checks: dict[str, int] = {}
        self._places: dict[tuple[str, str], int] = {}
        self._check, self._place, self._revision = array("i"), array("i"), array("i")
        self._flags, self._ends, self._text = array("B"), array("q"), bytearray()

    def add(self, record: Record) -> None:
        """Take a record, which has no samples."""
        self._check.append(self._checks.setdefault(record.check, len(self._checks)))
        self._place.append(self._places.setdefault((record.node, record.device), len(self._places)))
        self._revision.append(record.revision)
        self._flags.append(flags_of(record))
        self._text += dumps(record).encode()
        self._ends.append(len(self._text))

    def last_words(self) -> RecordTable:
        """One record per device and check: the last that measured something, else the last one."""
        check, place = np.frombuffer(self._check, np.int32), np.frombuffer(self._place, np.int32)
        flags, ends = np.frombuffer(self._flags, np.uint8), np.frombuffer(self._ends, np.int64)
        rows = _last_words(place.astype(np.int64) * max(1, len(self._checks)) + check, (flags & MEASURED) > 0)
        text = bytes(self._text)
        if len(rows) < len(ends):
            begins = np.concatenate(([0], ends[:-1])).astype(np.int64)
            text = b"".join(text[begins[row] : ends[row]] for row in rows.tolist())
            ends = np.cumsum((ends - begins)[rows])
        return RecordTable(
            checks=tuple(self._checks),
            places=tuple(self._places),
            check=check[rows],
            place=place[rows],
            revision=np.frombuffer(self._revision, np.int32)[rows],
            flags=flags[rows],
            text=text,
            ends=ends,
        )


def _last_words(whose: npt.NDArray[np.int64], measured: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Row of the record that counts of each device and check, in the order in which those came first."""
    if len(np.unique(whose)) == len(whose):
        return np.arange(len(whose))
    best: dict[int, int] = {}
    for row, (who, good) in enumerate(zip(whose.tolist(), measured.tolist(), strict=True)):
        old = best.get(who)
        if old is None or good or not measured[old]:
            best[who] = row
    return np.array(list(best.values()), np.intp)
