"""What does the journal of an isolation answer? Its tests through the judge again, then the reports; may be repeated at any time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hpcaccept.launch.job.isolation.known_so_far import KnownSoFar, by_round
from hpcaccept.launch.job.rank_logs import lost_nodes
from hpcaccept.model.event import Event
from hpcaccept.model.isolation_order import EndedIsolation, EndedRound, EndedTest, PlannedRound
from hpcaccept.report.isolation.answer import IsolationAnswer, exit_code_of
from hpcaccept.store import isolation_journal
from hpcaccept.store.journal import read
from hpcaccept.store.replaced_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.model.isolation_order import IsolationEntry, IsolationOrder
    from hpcaccept.store.folder import RunFolder


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
        over_time.append(dict(conclude(known.belief).posterior))
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


def conclude_isolation(folder: RunFolder, order: IsolationOrder, form: str) -> int:
    """Write the reports, print one; gives the exit code.

    Args:
        folder: of the isolation.
        order: of it.
        form: ``table``, ``json``, ``html`` or ``exclude``.

    Raises:
        RunError: a report cannot be written, after it was printed.
    """
    from hpcaccept.report.isolation import as_json, page, terminal
    from hpcaccept.report.isolation.answer import excluded

    answer = answer_of(folder, order)
    if form == "table":
        terminal.show(answer)
    else:
        texts = {"json": as_json.render, "html": page.render, "exclude": lambda one: f"{excluded(one)}\n"}
        sys.stdout.write(texts[form](answer))
    try:
        replace_file(folder.isolation_report, as_json.render(answer))
        replace_file(folder.isolation_report.with_suffix(".html"), page.render(answer))
    except OSError as fault:
        error = folder.refused(fault)
        error.exit_code = exit_code_of(answer)
        raise error from fault
    return exit_code_of(answer)
