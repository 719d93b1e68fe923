"""The records of a run: what judging counts as columns, the rest as text that is read when somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from hpcaccept.errors import StoreError
from hpcaccept.model.record import CONTENDED, CPU_QUOTA, DISTURBED, Record
from hpcaccept.serial import dumps, from_plain, loads

#: Bits of ``RecordTable.flags``.
MEASURED, UNSUPPORTED, IS_DISTURBED, IS_CONTENDED, HAS_QUOTA = 1, 2, 4, 8, 16
_FACT_BITS = {DISTURBED: IS_DISTURBED, CONTENDED: IS_CONTENDED, CPU_QUOTA: HAS_QUOTA}


@dataclass(frozen=True, eq=False)
class RecordTable(Sequence[Record]):
    """Records without their samples, in the order in which they were gathered.

    Attributes:
        checks: names.
        places: (node, device).
        check: int32[r], index into checks.
        place: int32[r], index into places.
        revision: int32[r], of the check's method.
        flags: uint8[r], bits: MEASURED, UNSUPPORTED (it says so of some variant), IS_DISTURBED, IS_CONTENDED, HAS_QUOTA.
        text: UTF-8, JSON of each record, one after the other; empty where ``made`` has them.
        ends: int64[r], where each ends in ``text``.
        made: the records themselves, where they exist already.
    """

    checks: tuple[str, ...]
    places: tuple[tuple[str, str], ...]
    check: npt.NDArray[np.int32]
    place: npt.NDArray[np.int32]
    revision: npt.NDArray[np.int32]
    flags: npt.NDArray[np.uint8]
    text: bytes = b""
    ends: npt.NDArray[np.int64] | None = None
    made: tuple[Record, ...] = ()

    def __len__(self) -> int:
        return len(self.check)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Record, ...]: ...
    def __getitem__(self, at: int | slice) -> Record | tuple[Record, ...]:
        if isinstance(at, slice):
            return tuple(self[number] for number in range(*at.indices(len(self))))
        if self.ends is None:
            return self.made[at]
        number = range(len(self))[at]
        begin = int(self.ends[number - 1]) if number else 0
        try:
            return from_plain(loads(self.text[begin : int(self.ends[number])]), Record)
        except ValueError as fault:
            raise StoreError(f"Record {number} is damaged: {fault}.", "Write it again: hpcaccept collect.") from None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence)
            and len(self) == len(other)
            and all(a == b for a, b in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]  # it may be large

    def of_checks(self, names: Iterable[str]) -> npt.NDArray[np.bool_]:
        """bool[r]: whether each record is of one of the checks."""
        wanted = set(names)
        return np.array([name in wanted for name in self.checks], bool)[self.check]

    def rows(self, chosen: npt.NDArray[np.bool_]) -> list[Record]:
        """The chosen records."""
        return [self[number] for number in np.flatnonzero(chosen).tolist()]

    def revisions(self) -> dict[str, int]:
        """Check → revision of its method, of what was measured; two of one check in one run there are not."""
        measured = (self.flags & MEASURED) > 0
        revision = np.full(len(self.checks), -1)
        revision[self.check[measured]] = self.revision[measured]
        return {name: number for name, number in zip(self.checks, revision.tolist(), strict=True) if number >= 0}

    def as_text(self) -> tuple[bytes, npt.NDArray[np.int64]]:
        """``text`` and ``ends``, also of records that exist."""
        if self.ends is not None:
            return self.text, self.ends
        texts = [dumps(record).encode() for record in self.made]
        return b"".join(texts), np.cumsum([len(text) for text in texts], dtype=np.int64)


def flags_of(record: Record) -> int:
    """The bits of a record."""
    facts = sum(bit for name, bit in _FACT_BITS.items() if name in record.facts)
    return (record.outcome == "measured") | bool(record.unsupported) << 1 | facts


def record_table(records: Sequence[Record]) -> RecordTable:
    """The columns of records, looked up once."""
    if isinstance(records, RecordTable):
        return records
    checks: dict[str, int] = {}
    places: dict[tuple[str, str], int] = {}
    rows = [
        (
            checks.setdefault(record.check, len(checks)),
            places.setdefault((record.node, record.device), len(places)),
            record.revision,
            flags_of(record),
        )
        for record in records
    ]
    columns = np.array(rows, np.int32).reshape(-1, 4).T
    return RecordTable(
        checks=tuple(checks),
        places=tuple(places),
        check=columns[0],
        place=columns[1],
        revision=columns[2],
        flags=columns[3].astype(np.uint8),
        made=tuple(records),
    )
