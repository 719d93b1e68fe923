"""Each judged value beside baseline, peers and own past: the comparison that managers ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.report.views.deviations import deviation_table
from hpcaccept.report.views.on_paper import printed, show

if TYPE_CHECKING:
    from hpcaccept.report.judged import Judged

ABOUT = "For a comparison with the baseline: each judged value beside baseline, peers and own past, the worst first."


def to_terminal(judged: Judged) -> None:
    """To standard output, as wide as it is."""
    show(deviation_table(judged))


def render(judged: Judged) -> str:
    """The same for a file of 120 columns."""
    return printed(deviation_table(judged), width=120)
