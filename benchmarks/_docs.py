"""How do the figures get into docs/reference/performance.md? As one table between two marks; the rest of it is prose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import _row
from benchmarks._child import ROOT
from benchmarks._row import CannotRun

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "reference" / "performance.md"
BEGIN = "<!-- measured: begin (python -m benchmarks --write-docs) -->"
END = "<!-- measured: end -->"
_HEAD = ("benchmark", "what", "ours: median (min … max)", "compared in the same run", "target", "", "others, cited")


def write(page: Path, measured: dict[str, Any]) -> None:
    """Replace what is between the marks.

    Raises:
        CannotRun: the marks are not there, or a figure was taken with --quick.
    """
    hasty = [name for name, result in measured["results"].items() if result["quick"]]
    if hasty:
        raise CannotRun(f"{', '.join(hasty)}: measured with --quick, which is too few runs to publish")
    text = page.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise CannotRun(f"{page} lacks the marks {BEGIN!r} and {END!r}")
    page.write_text(f"{before}{BEGIN}\n{render(measured)}{END}{after}", "utf-8")


def render(measured: dict[str, Any]) -> str:
    """Where it was measured, the table, and when, as Markdown."""
    machine = "; ".join(f"{name} {text}" for name, text in measured["machine"].items() if text)
    lines = [f"Measured on: {machine}.", "", _line(_HEAD), _line(["---"] * len(_HEAD))]
    for name, result in measured["results"].items():
        for table in result["rows"]:
            row = _row.from_plain(table)
            cells = (f"`{name}`", row.what, _row.ours_text(row), _row.compared_text(row), _row.target_text(row))
            lines.append(_line((*cells, _row.met_text(row), row.cited)))
    lines += ["", "When, with which hpcaccept, and how busy the machine was when it began (load, 1 minute):", ""]
    for name, result in measured["results"].items():
        lines.append(f"- `{name}`: {result['at'][:10]}, {result['hpcaccept']}, load {result['load']:.1f}")
    return "\n".join(lines) + "\n"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
