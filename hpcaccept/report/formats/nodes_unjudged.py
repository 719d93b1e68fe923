"""The nodes that could not be judged: one folded line for ``--exclude`` and ``scontrol``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.report.node_lists import render_nodes

if TYPE_CHECKING:
    from hpcaccept.report.judged import Judged

ABOUT = "For --exclude and scontrol: the nodes that could not be judged, which blames none of them, as one folded line."


def render(judged: Judged) -> str:
    """One line; an empty one when there are none."""
    return render_nodes(judged.summary, "unjudged")
