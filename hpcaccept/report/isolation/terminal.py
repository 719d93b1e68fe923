"""The answer of an isolation for people at a terminal: what was found, the tests that show it, and what to type next."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpcaccept.report.isolation.answer import (
    excluded,
    exit_code_of,
    findings,
    missable_text,
    sentence_of,
    some_names,
    time_text,
    word_of,
)
from hpcaccept.report.phrases import counted
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcaccept.report.isolation.answer import IsolationAnswer, IsolationFinding

_STYLES = {"FAULT FOUND": "bold red", "NOTHING WRONG": "bold green"}
#: Rounds that are listed, and groups of each that are named.
_ROUNDS, _GROUPS = 24, 4


def show(answer: IsolationAnswer, console: Console | None = None) -> None:
    """Print it."""
    console = console or Console(highlight=False, soft_wrap=False)
    console.print(Text(f"Isolation of {safe(answer.order.what)} over {counted(len(answer.nodes), 'node')}"))
    if answer.order.earlier:
        console.print(Text(f"It starts from what {safe(answer.order.earlier)} has shown."))
    console.print(_rounds(answer))
    for finding in findings(answer):
        for line in _lines(finding):
            console.print(line)
    word = word_of(answer)
    console.print(
        Text(f"\n{word}: ", style=_STYLES.get(word, "bold yellow")).append(safe(sentence_of(answer)), style="default")
    )
    for text in _foot(answer):
        console.print(Text(text), soft_wrap=True)


def text_of(answer: IsolationAnswer) -> str:
    """The same as plain text."""
    out = io.StringIO()
    show(answer, Console(file=out, width=120, highlight=False, no_color=True))
    return out.getvalue()


def _rounds(answer: IsolationAnswer) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("round", "groups", "passed", "not passed"):
        table.add_column(name, no_wrap=name != "not passed", overflow="fold")
    numbers = sorted({test.test.round for test in answer.tests})
    for number in numbers[:_ROUNDS]:
        tests = [test for test in answer.tests if test.test.round == number]
        bad = [test for test in tests if test.kind != "passed"]
        named = [f"{some_names(test.test.nodes)[:60]} {test.kind.replace('_', ' ')}" for test in bad[:_GROUPS]]
        more = f" and {len(bad) - _GROUPS} more" if len(bad) > _GROUPS else ""
        first = "before" if number == 0 else str(number)
        table.add_row(first, str(len(tests)), str(len(tests) - len(bad)), safe("; ".join(named) + more))
    if len(numbers) > _ROUNDS:
        table.add_row("…", "", "", f"{len(numbers) - _ROUNDS} more rounds")
    return table


def _lines(finding: IsolationFinding) -> Iterator[Text]:
    style = "bold red" if finding.blamed else "yellow"
    yield Text(f"\n{finding.code}  ", style=style).append(safe(finding.sentence), style="default")
    for line in finding.evidence:
        yield Text(f"  {safe(line)}", style="dim")
    if finding.instead:
        yield Text(f"  or else: {safe('; '.join(finding.instead))}", style="dim")
    yield Text(f"  → {safe(finding.action)}")
    if finding.next_test:
        yield Text(f"  → next: {safe(finding.next_test)}")


def _foot(answer: IsolationAnswer) -> Iterator[str]:
    if word_of(answer) != "NOTHING WRONG" and answer.measured:
        yield f"What may have been missed: {missable_text(answer.conclusion.missable)}"
    if spent := time_text(answer):
        yield spent
    if answer.unreadable:
        yield f"{counted(answer.unreadable, 'line')} of the journal cannot be read; what they said is not known."
    if names := excluded(answer):
        yield f"Leave them out: --exclude {names}"
    yield f"Report: {safe(answer.where)}/isolation-report.html, and isolation-report.json for programs"
    yield f"Exit code {exit_code_of(answer)}."
