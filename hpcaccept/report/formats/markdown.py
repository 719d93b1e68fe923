"""A run in a ticket or a chat: the verdict, what to do, and one line per check; short enough to be read there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcaccept.report.phrases import EVERYBODY, conclusion, counted, fold, troubles
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from hpcaccept.report.judged import Judged
    from hpcaccept.report.phrases import Trouble

ABOUT = "For a ticket or a chat: the verdict, what to do, and one line per check."

#: Findings shown, and characters of a folded list of nodes; the rest is counted.
SHOWN, NAMES = 12, 300
#: What means something in Markdown or in the HTML that may stand in it, @names included: hosts of tickets call people by them.
#: A link needs its colon.
_SIGNS = re.compile(r"([\\`*_\[\]#|<>~@&$]|:(?=//))")


def render(judged: Judged) -> str:
    """CommonMark with a table as GitHub, GitLab and Jira's importers take it; text from elsewhere is escaped."""
    summary = judged.summary
    plan, cover = judged.evidence.plan, judged.judgement.coverage
    ended = conclusion(judged)
    per_node = f" × {counted(plan.request.gpus_per_node, 'GPU')}" if plan.request.gpus_per_node else ""
    facts = (
        f"Suite {escape(plan.suite.name)}, {counted(plan.request.nodes, 'node')}{per_node}, {escape(plan.launcher)}, "
        f"{escape(plan.created_at[:16].replace('T', ' '))} UTC. "
        f"Coverage: {cover.judged:,} of {cover.asked:,} checks on nodes judged."
    )
    lines = [
        f"## {ended.word}: {escape(plan.run_id)}",
        "",
        escape(ended.sentence),
        "",
        facts,
    ]
    if cover.nodes_silent:
        lines += ["", f"Never reported: {_names(cover.nodes_silent)}."]
    lines += ["", *(f"> {escape(note)}" for note in summary.notes)] if summary.notes else []
    found = troubles(summary.bad)
    if found:
        lines += ["", "### What to do", ""]
        lines += [line for trouble in found[:SHOWN] for line in _trouble(trouble)]
        if len(found) > SHOWN:
            lines.append(f"- {len(found) - SHOWN} more kinds of findings: report.json")
    lines += ["", "### Checks", "", "| check | verdict | nodes judged | baseline |", "|---|---|---|---|"]
    for row in summary.rows:
        baseline = _word(row.baseline.value) if row.baseline else "–"
        lines.append(
            f"| {escape(row.name)} | {_word(row.outcome.value)} | {row.judged:,} of {row.asked:,} | {baseline} |"
        )
    return "\n".join(lines) + "\n"


def _trouble(trouble: Trouble) -> list[str]:
    remedy = trouble.remedy
    where = _names(trouble.where) if trouble.where else EVERYBODY
    more = f" ({len(trouble.verdicts):,} findings)" if len(trouble.verdicts) > 1 else ""
    lines = [f"- **{_word(trouble.outcome.value)}** {where}{more} ({trouble.code}): {escape(trouble.sentence)}"]
    return [*lines, f"  → {escape(remedy)}"] if remedy else lines


def _names(names: tuple[str, ...]) -> str:
    text = fold(names)
    return code(text) if len(text) <= NAMES else f"{code(text[:NAMES])} … ({len(names):,} nodes)"


def code(text: str) -> str:
    """The text as a code span: nothing acts in it but the sign that ends it."""
    return f"`{safe(text).replace('`', chr(39))}`"


def _word(outcome: str) -> str:
    return outcome.replace("_", " ")


def escape(text: str) -> str:
    """The text as Markdown that shows it."""
    return _SIGNS.sub(r"\\\1", safe(text))
