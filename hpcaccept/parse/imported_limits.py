"""What files of others state about metrics of ours: the form that every import gives, in SI."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limited:
    """A failing limit that somebody has set.

    Attributes:
        keys: metric keys that it is of; ``*`` stands for any text.
        direction: ``higher`` or ``lower`` is better: which side of the limit fails.
        limit: in ``unit``.
        unit: SI unit.
        gpus: GPUs per node that it is of; 0: any.
        text: the words it was read from.
    """

    keys: tuple[str, ...]
    direction: str
    limit: float
    unit: str
    gpus: int
    text: str


@dataclass(frozen=True)
class Measured:
    """What units reached, or a centre that somebody has computed.

    Attributes:
        keys: metric keys that it is of.
        values: one for each unit, in ``unit``; a single one for a centre.
        unit: SI unit.
        alike: False where it was measured in another way than ours: good for a limit, not for a centre.
        text: the name it had.
        gpus: GPUs per node that took part together; 0: one at a time, or any number.
    """

    keys: tuple[str, ...]
    values: tuple[float, ...]
    unit: str
    alike: bool
    text: str
    gpus: int = 0


@dataclass(frozen=True)
class Row:
    """One line of a table in our own columns.

    Attributes:
        key: metric key.
        unit: SI unit.
        center: in ``unit``, or None.
        lower: failing limit, or None.
        upper: failing limit, or None.
        units: boards that it is of; 0: not said.
        gpus: GPUs per node; 0: any.
        revision: of the check's method; 0: today's.
        source: who says so.
    """

    key: str
    unit: str
    center: float | None
    lower: float | None
    upper: float | None
    subjects: int
    gpus: int
    revision: int
    source: str


@dataclass(frozen=True)
class Imported:
    """A file that was read.

    Attributes:
        limits: failing limits.
        unmapped: what it says beside that, and why it is not taken: nothing is dropped in silence.
        measured: figures from which limits follow.
        rows: complete lines of a table in our own columns.
    """

    limits: tuple[Limited, ...] = ()
    unmapped: tuple[tuple[str, str], ...] = ()
    measured: tuple[Measured, ...] = ()
    rows: tuple[Row, ...] = ()
