"""The past at a terminal: a line per number with its course, a line per subject with where it has been."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hpcaccept.report.phrases import counted
from hpcaccept.report.printable import safe
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.history import SubjectStory, SubjectTrend

_BARS = "▁▂▃▄▅▆▇█"
#: Characters of a subject's name that a line has room for, and those of a UUID that are shown then.
_LONGEST, _UUID = 30, 12
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


def trend_table(rows: Sequence[SubjectTrend]) -> RenderableType:
    """Two lines per subject and metric: which, then what it reached last, what became of it since when, and its course."""
    lines: list[Text] = []
    for row in rows:
        what = row.word if not row.size else f"{row.word}: {_change(row.size)} since {row.since[:10]}"
        last = show(row.values[-1], row.si_unit) if row.values else "nothing"
        lines.append(Text(safe(f"{row.subject}  {row.place}  {row.key}"), overflow="fold"))
        course = Text(f"  {last}  ").append(what, style=_STYLES.get(row.word, "dim"))
        lines.append(course.append(f"  {counted(len(row.values), 'run')}  {sparkline(row.values)}"))
    return Group(*lines)


def subject_table(stories: Sequence[SubjectStory]) -> Table:
    """One line per subject: where it is, where it was before, and how it fared."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("subject", "serial", "where ← before", "runs", "fail", "warn", "accepted"):
        right = name in ("runs", "fail", "warn")
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap="where" not in name)
    for story in stories:
        table.add_row(
            Text(safe(_short(story.subject))),
            Text(safe(story.serial)),
            Text(safe(" ← ".join([story.places[-1], *filter(None, [", ".join(story.places[:-1])])]))),
            str(story.runs),
            Text(str(story.failed), style="bold red" if story.failed > 1 else ""),
            str(story.warned),
            story.last_accepted[:10] or "never",
        )
    return table


def _short(subject: str) -> str:
    """The part of a UUID by which people tell GPUs apart, and which ``history show`` takes."""
    return f"{subject[:_UUID]}…" if len(subject) > _LONGEST else subject


def _change(loss: float) -> str:
    return f"{'-' if loss > 0 else '+'}{abs(loss):.1%}"
