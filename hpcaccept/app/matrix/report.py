"""The forms of the report of a run, and where they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.matrix import page, views
from hpcaccept.store.replaced_files import replace_files

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.app.matrix.state import State


def rendered(state: State, folder: Path, which: str) -> str:
    """The report in a form: table, html, json, junit or markdown."""
    if which == "html":
        return page.render(state, folder / state.matrix.name / state.run)
    forms = {"json": views.as_json, "junit": views.as_junit, "markdown": views.as_markdown}
    text = forms[which](state) if which in forms else "\n".join(views.lines(state))
    return text if text.endswith("\n") else f"{text}\n"


def write_reports(state: State, folder: Path) -> Path:
    """Every form, beside the journal; gives the page.

    Raises:
        RunError: they cannot be written.
    """
    names = {"report.html": "html", "report.json": "json", "junit.xml": "junit", "report.md": "markdown"}
    place = folder / state.matrix.name / state.run
    replace_files({name: rendered(state, folder, which).encode() for name, which in names.items()}, place)
    return place / "report.html"
