"""The readings of a metric in a piece of a log, a CSV file or JSON lines. Text in; lines of another form are skipped."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.model.schedule.recipe import MetricRule

#: Characters of a line that are looked at: a progress bar may be one line of megabytes.
_LONGEST = 10_000


@dataclass(frozen=True)
class Reading:
    """One value.

    Attributes:
        value: may be NaN or infinite: a loss that is lost does not improve.
        step: as written; None: not written.
    """

    value: float
    step: float | None = None


def readings(lines: Iterable[str], rule: MetricRule, header: str = "") -> list[Reading]:
    """Every reading, in order.

    Args:
        lines: whole lines.
        rule: says where value and step are.
        header: first line of a CSV file; needed by no other format.
    """
    if rule.format == "csv":
        return _of_csv(lines, rule, header)
    if rule.format == "jsonl":
        return [each for line in lines if (each := _of_json(line, rule))]
    pattern = re.compile(rule.pattern)
    return [each for line in lines for part in line.split("\r") if (each := _of_text(part[:_LONGEST], pattern))]


def _of_text(line: str, pattern: re.Pattern[str]) -> Reading | None:
    found = pattern.search(line)
    if not found:
        return None
    groups = found.groupdict()
    return _reading(groups["value"], groups.get("step"))


def _of_csv(lines: Iterable[str], rule: MetricRule, header: str) -> list[Reading]:
    columns = [each.strip() for each in next(csv.reader([header]), [])]
    if rule.name not in columns:
        return []
    place = columns.index(rule.name)
    step = columns.index(rule.step) if rule.step in columns else None
    found = []
    for row in csv.reader(lines):
        if len(row) > place:
            read = _reading(row[place], row[step] if step is not None and len(row) > step else None)
            found += [read] if read else []
    return found


def _of_json(line: str, rule: MetricRule) -> Reading | None:
    try:
        plain = json.loads(line[:_LONGEST])
    except (ValueError, RecursionError):
        return None
    if not isinstance(plain, dict) or isinstance(plain.get(rule.name), (bool, type(None))):
        return None
    return _reading(plain[rule.name], plain.get(rule.step) if rule.step else None)


def _reading(value: object, step: object) -> Reading | None:
    number = _number(value)
    if number is None:
        return None
    at = _number(step) if step is not None else None
    return Reading(number, at if at is not None and math.isfinite(at) else None)


def _number(text: object) -> float | None:
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        return None
    try:
        return float(text)
    except (ValueError, OverflowError):
        return None
