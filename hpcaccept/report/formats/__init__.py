"""Which forms can a report take? Their names, and which module writes each; a module is imported when its form is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.judge import Judgement
    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.history import Past
    from hpcaccept.report.model import Summary

#: As ``--format`` takes them.
FORMS = (
    "table", "html", "markdown", "json", "csv", "junit", "prometheus", "nodes-bad", "nodes-good", "nodes-unjudged",
)  # fmt: skip


def render(
    form: str,
    evidence: Evidence,
    values: Sequence[Values],
    judgement: Judgement,
    summary: Summary,
    where: str,
    past: Past | None = None,
) -> str:
    """A report as text that ends in a line feed.

    Args:
        form: of ``FORMS``.
        evidence: of the run.
        values: of the run.
        judgement: of the run.
        summary: of all three.
        where: path of the run folder.
        past: earlier values of the subjects, where there are any.

    Raises:
        RunError: the form cannot hold this run (hpcaccept.report.node_lists).
        ValueError: there is no such form.
    """
    if form == "table":
        from hpcaccept.report.formats.table import plain_terminal

        return plain_terminal(evidence, judgement, summary, where)
    if form == "html":
        from hpcaccept.report.formats.html import render_html

        return render_html(evidence, values, judgement, summary, past)
    if form == "markdown":
        from hpcaccept.report.formats.markdown import render_markdown

        return render_markdown(evidence, judgement, summary)
    if form == "json":
        from hpcaccept.report.formats.json import render_json

        return render_json(evidence, judgement, summary)
    if form == "csv":
        from hpcaccept.report.formats.csv import render_csv

        return render_csv(evidence)
    if form == "junit":
        from hpcaccept.report.formats.junit import render_junit

        return render_junit(evidence, judgement, summary)
    if form == "prometheus":
        from hpcaccept.report.formats.prometheus import render_prometheus

        return render_prometheus(evidence, judgement, summary)
    if form.startswith("nodes-") and form in FORMS:
        from hpcaccept.report.node_lists import render_nodes

        return render_nodes(summary, form.removeprefix("nodes-"))
    raise ValueError(f"there is no form {form!r}")
