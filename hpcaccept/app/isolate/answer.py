"""The answer that the journal of an isolation gives: its tests through the judge again, then the reports. May be repeated at any time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hpcaccept.errors import UsageError
from hpcaccept.launch.job.isolation.known_so_far import KnownSoFar, by_round
from hpcaccept.launch.job.rank_logs import lost_nodes
from hpcaccept.model.event import Event
from hpcaccept.model.isolation_order import EndedIsolation, EndedRound, EndedTest, PlannedRound
from hpcaccept.report.isolation import as_json, page, terminal
from hpcaccept.report.isolation.answer import IsolationAnswer, excluded, exit_code_of
from hpcaccept.store import isolation_journal
from hpcaccept.store.journal import read
from hpcaccept.store.replaced_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hpcaccept.model.isolation_order import IsolationEntry, IsolationOrder
    from hpcaccept.store.folder import RunFolder

#: Forms of the answer: ``exclude`` (for runs ``nodes-bad``) names the blamed nodes.
FORMS = ("table", "json", "html", "exclude", "nodes-bad")


def answer_of(folder: RunFolder, order: IsolationOrder) -> IsolationAnswer:
    """The answer so far, from the journal alone.

    Args:
        folder: of the isolation.
        order: of it.

    Raises:
        StoreError: the journal cannot be opened.
    """
    from hpcaccept.judge.isolation import conclude

    entries, unreadable = isolation_journal.read(folder)
    tests = (*order.before, *(entry for entry in entries if isinstance(entry, EndedTest)))
    nodes = _nodes(folder, entries, tests)
    known, over_time = KnownSoFar(nodes, order), []
    for _, of_round in by_round(tests):
        known.add(of_round)
        over_time.append(known.posterior)
    end = next((entry for entry in reversed(entries) if isinstance(entry, EndedIsolation)), None)
    return IsolationAnswer(
        run_id=folder.run_id,
        order=order,
        nodes=nodes,
        tests=tests,
        rounds=tuple(entry for entry in entries if isinstance(entry, EndedRound)),
        conclusion=conclude(known.belief),
        over_time=tuple(over_time),
        end=end,
        unreadable=unreadable,
        where=str(folder.path),
    )


def _nodes(folder: RunFolder, entries: Iterable[IsolationEntry], tests: Iterable[EndedTest]) -> tuple[str, ...]:
    """Those of the job, as its driver names them, less those that could not be used; else those of the tests."""
    words = list(read(folder.driver_log)) if folder.driver_log.exists() else []
    started = next((word.nodes for word in words if isinstance(word, Event) and word.kind == "started"), ())
    lost = lost_nodes(folder)
    planned = (test for entry in entries if isinstance(entry, PlannedRound) for test in entry.tests)
    named = dict.fromkeys(node for test in (*(t.test for t in tests), *planned) for node in test.nodes)
    return tuple(node for node in started if node not in lost) or tuple(named)


def conclude_isolation(folder: RunFolder, order: IsolationOrder, form: str, output: Path | None = None) -> int:
    """Write the reports, print one; gives the exit code.

    Args:
        folder: of the isolation.
        order: of it.
        form: of ``FORMS``.
        output: file to write it to instead of printing it.

    Raises:
        UsageError: an isolation has no such form.
        RunError: a report cannot be written, after it was printed.
    """
    if form not in FORMS:
        raise UsageError(
            f"{folder.run_id} is an isolation, which has no report {form!r}.", f"It has {', '.join(FORMS)}."
        )
    answer = answer_of(folder, order)
    if output is not None:
        _replace(output.resolve(), text_of(answer, form), folder, answer)
    elif form == "table":
        terminal.show(answer)
    else:
        sys.stdout.write(text_of(answer, form))
    for kind, file in (("json", folder.isolation_report), ("html", folder.isolation_report.with_suffix(".html"))):
        _replace(file, text_of(answer, kind), folder, answer)
    return exit_code_of(answer)


def text_of(answer: IsolationAnswer, form: str) -> str:
    """A report as text."""
    if form == "json":
        return as_json.render(answer)
    if form == "html":
        return page.render(answer)
    return f"{excluded(answer)}\n" if form in ("exclude", "nodes-bad") else terminal.text_of(answer)


def _replace(file: Path, text: str, folder: RunFolder, answer: IsolationAnswer) -> None:
    try:
        replace_file(file, text)
    except OSError as fault:
        error = folder.refused(fault)
        error.exit_code = exit_code_of(answer)
        raise error from fault


def follow_up(folder: RunFolder, form: str) -> None:
    """Show the isolation that followed a run in its job, if one did. Its reports lie in its own folder; the exit code stays the run's."""
    order = isolation_journal.read_order(folder.isolation)
    if order is None:
        return
    answer = answer_of(folder.isolation, order)
    for kind, file in (
        ("json", folder.isolation.isolation_report),
        ("html", folder.isolation.isolation_report.with_suffix(".html")),
    ):
        _replace(file, text_of(answer, kind), folder, answer)
    if form == "table":
        sys.stdout.write("\n")
        terminal.show(answer)
