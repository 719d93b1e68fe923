"""The report for people at a terminal: the conclusion, what is bad and what to do, the checks, then what was not judged and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.report.views.first_page import first_page
from hpcaccept.report.views.on_paper import printed, show

if TYPE_CHECKING:
    from hpcaccept.report.judged import Judged

ABOUT = "For a terminal: the conclusion, everything that is bad with what to do about it, every check, and what was not judged."


def to_terminal(judged: Judged) -> None:
    """To standard output, as wide as it is."""
    show(first_page(judged))


def render(judged: Judged) -> str:
    """The same for a file."""
    return printed(first_page(judged))
