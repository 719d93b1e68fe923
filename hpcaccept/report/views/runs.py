"""The list of runs for a terminal of 80 columns: one line per run."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from hpcaccept.report.printable import safe
from hpcaccept.store.folder import short_id
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.model.run_line import RunLine

_STYLES = {"ACCEPTED": "green", "NOT ACCEPTED": "bold red", "NOT JUDGED": "magenta", "running": "cyan"}


def run_table(lines: Iterable[RunLine]) -> Table:
    """Short name, local time, suite, nodes, duration, verdict or state, and nodes that failed."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("run", "submitted", "suite"):
        table.add_column(name, no_wrap=True)
    for name in ("nodes", "took"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("bad nodes", overflow="fold")
    for line in lines:
        table.add_row(
            Text(safe(short_id(line.run))),
            _when(line.created_at),
            Text(safe(line.suite)),
            f"{line.nodes:,}" if line.nodes else "",
            show_duration(line.duration_s) if line.duration_s is not None else "",
            _result(line),
            Text(safe(line.bad_nodes)),
        )
    return table


def _result(line: RunLine) -> Text:
    """The verdict of a run that is over; else its state, which a report of half a run does not change."""
    word = line.verdict if line.over and line.verdict else line.state
    return Text(word, style=_STYLES.get(word, ""))


def _when(created_at: str) -> str:
    """``30 Nov 12:41`` in local time; the text itself where it is not a time."""
    try:
        return datetime.fromisoformat(created_at).astimezone().strftime("%d %b %H:%M")
    except ValueError:
        return safe(created_at)
