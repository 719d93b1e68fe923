"""The past at a terminal: a line per number with its course, a line per subject with where it has been."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from hpcaccept.report.printable import safe
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.history import SubjectStory, SubjectTrend

_BARS = "▁▂▃▄▅▆▇█"
_STYLES = {"steady": "green", "step": "bold red", "decline": "yellow"}


def sparkline(values: Sequence[float], width: int = 32) -> str:
    """The last values as bars between the smallest and the largest of them; a single level is drawn in the middle."""
    some = [value for value in values if math.isfinite(value)][-width:]
    if not some:
        return ""
    low, high = min(some), max(some)
    # Differences of huge numbers overflow; halves do not.
    span = high / 2 - low / 2
    if span <= 0:
        return _BARS[3] * len(some)
    return "".join(_BARS[min(int((value / 2 - low / 2) / span * len(_BARS)), len(_BARS) - 1)] for value in some)


def trend_table(rows: Sequence[SubjectTrend]) -> Table:
    """One line per subject and metric: what it reached last, what became of it since when, and its course."""
    table = _table("subject", "where", "metric", "last", "runs", "what", "course")
    for row in rows:
        what = row.word if not row.size else f"{row.word}: {_change(row.size)} since {row.since[:10]}"
        table.add_row(
            Text(safe(row.subject)),
            Text(safe(str(row.place))),
            Text(safe(row.key)),
            show(row.values[-1], row.si_unit) if row.values else "",
            str(len(row.values)),
            Text(what, style=_STYLES.get(row.word, "dim")),
            sparkline(row.values),
        )
    return table


def subject_table(stories: Sequence[SubjectStory]) -> Table:
    """One line per subject: where it is, where it was before, and how it fared."""
    table = _table("subject", "serial", "where", "was before", "runs", "failed", "warned", "last accepted")
    for story in stories:
        table.add_row(
            Text(safe(story.subject)),
            Text(safe(story.serial)),
            Text(safe(story.places[-1])),
            Text(safe(", ".join(story.places[:-1]))),
            str(story.runs),
            Text(str(story.failed), style="bold red" if story.failed > 1 else ""),
            str(story.warned),
            story.last_accepted[:16].replace("T", " ") or "never",
        )
    return table


def _change(loss: float) -> str:
    return f"{'-' if loss > 0 else '+'}{abs(loss):.1%}"


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in names:
        right = name in ("runs", "failed", "warned", "last")
        table.add_column(
            name, justify="right" if right else "left", overflow="fold", no_wrap=name in ("subject", "course")
        )
    return table
