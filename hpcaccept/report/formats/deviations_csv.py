"""Each judged value beside what it was compared with, as CSV with all digits in SI units."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

from hpcaccept.report.deviations import COMPARED, Deviation, deviations_of
from hpcaccept.report.printable import cell

if TYPE_CHECKING:
    from hpcaccept.report.judged import Judged

ABOUT = "For spreadsheets: each judged value with its deviation from baseline, peers and own past, and their limits."

HEADER = (
    *("node", "device", "metric", "name", "value", "unit", "verdict"),
    *(f"{question}_{part}" for question in COMPARED for part in ("deviation", "lower", "upper")),
)


def render(judged: Judged) -> str:
    """One line per subject and metric, RFC 4180 with line feeds; deviations are shares of what was compared with, empty where there is none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(map(_row, deviations_of(judged.judgement.table)))
    return out.getvalue()


def _row(one: Deviation) -> list[str | float]:
    row: list[str | float] = [*map(cell, (one.node, one.device, one.key, one.title))]
    row += [one.value, one.metric.unit, one.outcome.value]
    for question in COMPARED:
        numbers = (one.shares.get(question, math.nan), *one.limits.get(question, (math.nan, math.nan)))
        row += ["" if number != number else number for number in numbers]
    return row
