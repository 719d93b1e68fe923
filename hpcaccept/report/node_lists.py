"""The nodes that are bad, good, or not judged, in the notation that ``--exclude`` and ``scontrol`` take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.errors import RunError
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.phrases import folded, is_host
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcaccept.report.model import Summary

#: Kind of list → worst verdicts of the nodes in it; every outcome is in exactly one.
KINDS: Mapping[str, frozenset[Outcome]] = {
    "bad": frozenset({Outcome.FAIL}),
    "good": frozenset({Outcome.PASS}),
    "unjudged": frozenset({Outcome.WARN, Outcome.ERROR, Outcome.NOT_RUN, Outcome.NO_BASELINE}),
}


def render_nodes(summary: Summary, kind: str) -> str:
    """One line: ``gpu[003,017-019]``; an empty one when there are none.

    Args:
        summary: of the run.
        kind: of ``KINDS``.

    Raises:
        RunError: a node has a name that would mean something else in a command line.
    """
    names = [name for name, outcome in summary.nodes.items() if outcome in KINDS[kind]]
    if odd := [name for name in names if not is_host(name)]:
        raise RunError(
            f"{safe(odd[0])!r} is not a host name, so a list with it could do something else in a command.",
            "Read the names with --format json.",
        )
    return f"{folded(names)}\n" if names else "\n"
