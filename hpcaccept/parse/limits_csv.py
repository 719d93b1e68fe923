"""A table of limits: CSV with our own columns in, rows in SI out.

Columns: ``key,unit`` and at least one of ``center,lower,upper``; also ``subjects,gpus,revision,source``. An empty cell is a blank.
The unit may have a prefix (``GB/s``, ``TFLOP/s``, ``Gb/s``): it is converted; one that is not known refuses the row.
"""

from __future__ import annotations

import csv
import io
import math

from hpcaccept.errors import NotUnderstood, nearest
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.parse.imported_limits import Imported, Row
from hpcaccept.units import to_si

_NUMBERS = ("center", "lower", "upper")
_COUNTS = ("subjects", "gpus", "revision")
COLUMNS = ("key", "unit", *_NUMBERS, *_COUNTS, "source")


def parse_limits_csv(text: str) -> Imported:
    """The rows of a table, and those that cannot be taken, with the reason.

    Raises:
        NotUnderstood: no header with ``key`` and ``unit``, or a column that is not known.
    """
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    header = [name.strip() for name in reader.fieldnames or []]
    if "key" not in header or "unit" not in header:
        raise NotUnderstood(f"Found the columns {', '.join(header) or 'none'}, expected at least key and unit.")
    for name in header:
        if name not in COLUMNS:
            raise NotUnderstood(f"Column {name!r} is not known. {nearest(name, COLUMNS)}")
    rows: list[Row] = []
    unmapped: list[tuple[str, str]] = []
    for number, cells in enumerate(reader, 2):
        table = {str(k).strip(): (v or "").strip() for k, v in cells.items() if isinstance(v, str) or v is None}
        try:
            rows.append(_row(table))
        except ValueError as fault:
            unmapped.append((f"line {number}: {table.get('key', '')}", str(fault)))
    return Imported(unmapped=tuple(unmapped), rows=tuple(rows))


def _row(cells: dict[str, str]) -> Row:
    """One row in SI. Raises ValueError with the reason where it cannot be taken."""
    key = cells["key"]
    MetricKey.parse(key)
    numbers = {name: _number(name, cells.get(name, ""), cells["unit"]) for name in _NUMBERS}
    if all(number is None for number in numbers.values()):
        raise ValueError("neither centre nor limit")
    subjects, gpus, revision = (_count(name, cells.get(name, "")) for name in _COUNTS)
    unit = to_si(0.0, cells["unit"])[1]
    center, lower, upper = (numbers[name] for name in _NUMBERS)
    if center is not None and lower is not None and lower < center / 2:
        raise ValueError("its limit is less than half of its centre: nothing but a wreck would miss it")
    return Row(key, unit, center, lower, upper, subjects, gpus, revision, cells.get("source", ""))


def _number(name: str, text: str, unit: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}, expected a number") from None
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} is {text}, expected a number above 0")
    return to_si(value, unit)[0]


def _count(name: str, text: str) -> int:
    if text and not text.isdigit():
        raise ValueError(f"{name} is {text!r}, expected a whole number")
    return int(text or 0)
