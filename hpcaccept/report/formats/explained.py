"""The terminal's report with the statistics behind it: false-alarm rates, and how the limit of each verdict came to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from hpcaccept.report.phrases import ASKED, place_name, sight, stated_rate
from hpcaccept.report.printable import safe
from hpcaccept.report.views.first_page import first_page
from hpcaccept.report.views.on_paper import printed, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcaccept.report.judged import Judged

ABOUT = "For questions about a verdict: the terminal's report, then the rule and the limit behind each verdict."
#: Verdicts that are explained one by one.
SHOWN = 200


def to_terminal(judged: Judged) -> None:
    """To standard output, as wide as it is."""
    show(_layout(judged))


def render(judged: Judged) -> str:
    """The same for a file."""
    return printed(_layout(judged))


def _layout(judged: Judged) -> RenderableType:
    return Group(first_page(judged), Text(""), *(Text(safe(line), overflow="fold") for line in _reasons(judged)))


def _reasons(judged: Judged) -> Iterator[str]:
    yield "Comparisons:"
    for question, sensitivity in judged.judgement.sensitivity.items():
        if sensitivity.comparisons:
            yield f"  against {ASKED.get(question, question)}: {sensitivity.comparisons:,}{stated_rate(sensitivity)}."
        if sensitivity.kinds:
            yield f"    slowdowns found half of the time (19 times of 20): {', '.join(map(sight, sensitivity.kinds))}"
    limited = [verdict for verdict in judged.summary.bad if verdict.limit]
    if limited:
        yield "Limits behind the verdicts:"
    for verdict in limited[:SHOWN]:
        limit = verdict.limit
        if limit is not None:
            yield f"  {verdict.outcome.value} {place_name(verdict.subject)}, {verdict.key}: {limit.source or limit.origin} ({limit.origin})"
    if len(limited) > SHOWN:
        yield f"  and {len(limited) - SHOWN:,} more: hpcaccept report --format json"
