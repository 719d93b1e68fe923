"""What became of the machines of a run. Everything here follows from its journal, at any time, whoever died meanwhile.

::

    Pass_testresults.log    machine ids, one a line
    Error_testresults.log   MACHINE:INSTANCE CODE text, one a line; a machine stands in exactly one of both
    results.json            docs/reference/vast-results.schema.json
    report.html             one page of all machines
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept import __version__
from hpcaccept.app.vast import journal as journals
from hpcaccept.app.vast.journal import Begun, Decided, Destroyed, Ended, Left, Rejected, Rented, Renting
from hpcaccept.provider.vast import failures
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hpcaccept.app.vast.journal import Line

PASS_LOG, ERROR_LOG, RESULTS, PAGE = "Pass_testresults.log", "Error_testresults.log", "results.json", "report.html"
FORMAT = 1
#: Stands for instances whose number is not known, because the account could not be listed.
UNKNOWN = 0
_MOST_TEXT = 400


@dataclass(frozen=True)
class Results:
    """A run, as its journal tells it.

    Attributes:
        begun: the last beginning; its machines are those of all beginnings.
        since: time of the first one.
        machines: every machine that was asked for, in that order.
        usd: counted for the run.
        left: instances that could not be destroyed and were not seen to end later.
        rejected: price increases that were rejected.
        finished: whether the last client ended by itself.
        interrupted: whether it was told to.
    """

    begun: Begun
    since: dt.datetime
    machines: tuple[Decided, ...]
    usd: float
    left: tuple[int, ...]
    rejected: int
    finished: bool
    interrupted: bool

    @property
    def codes(self) -> list[str]:
        """Of all machines."""
        return [each.code for each in self.machines]

    @property
    def exit_code(self) -> int:
        """0, 1 or 3; what may still be billed is never 0."""
        code = failures.exit_code(self.codes)
        return code or (3 if self.left else 0)

    def count(self, outcome: str) -> int:
        """Machines with this outcome."""
        return sum(failures.outcome_of(code) == outcome for code in self.codes)


def of_journal(lines: Sequence[Line]) -> Results:
    """See above; a machine without a decision is in it too.

    Args:
        lines: of ``journal.read``; one of them is a beginning.
    """
    begun = [each for each in lines if isinstance(each.entry, Begun)]
    last = begun[-1].entry
    assert isinstance(last, Begun)
    machines = dict.fromkeys(
        machine for each in begun if isinstance(each.entry, Begun) for machine in each.entry.machines
    )
    decided = {each.entry.machine: each.entry for each in lines if isinstance(each.entry, Decided)}
    rented = {each.entry.machine: each.entry.instance for each in lines if isinstance(each.entry, Rented)}
    renting = {each.entry.machine for each in lines if isinstance(each.entry, Renting)}
    ends = [place for place, each in enumerate(lines) if isinstance(each.entry, Ended)]
    starts = [place for place, each in enumerate(lines) if isinstance(each.entry, Begun)]
    finished = bool(ends) and ends[-1] > starts[-1]
    end = lines[ends[-1]].entry if finished else None

    def unknown(machine: int) -> Decided:
        code = "client-died" if machine in renting else "interrupted"
        return Decided(machine, code, "no decision is in the journal", rented.get(machine, 0))

    found = tuple(decided.get(machine) or unknown(machine) for machine in machines)
    usd = sum(each.entry.usd for each in lines if isinstance(each.entry, Destroyed))
    return Results(
        last, begun[0].at, found, usd, tuple(sorted(_left(lines))),
        sum(isinstance(each.entry, Rejected) for each in lines), finished, isinstance(end, Ended) and end.interrupted,
    )  # fmt: skip


def _left(lines: Sequence[Line]) -> set[int]:
    left: set[int] = set()
    for line in lines:
        if isinstance(line.entry, Left):
            left |= set(line.entry.instances) or {UNKNOWN}
        elif isinstance(line.entry, Destroyed):
            # Machine 0 stands for all of the run.
            left = left - set(line.entry.instances) if line.entry.machine else set()
    return left


def as_plain(results: Results) -> dict[str, Any]:
    """``results.json``."""
    return {
        "format": FORMAT,
        "hpcaccept": __version__,
        "run": results.begun.run,
        "since": results.since.isoformat(),
        "conclusion": {0: "ACCEPTED", 1: "NOT ACCEPTED", 3: "NOT JUDGED"}[results.exit_code],
        "exit_code": results.exit_code,
        "finished": results.finished,
        "interrupted": results.interrupted,
        "usd": round(results.usd, 6),
        "left": [each for each in results.left if each != UNKNOWN],
        "left_unknown": UNKNOWN in results.left,
        "price_increases_rejected": results.rejected,
        "caps": {
            "max_usd": results.begun.max_usd,
            "max_hours": results.begun.max_hours,
            "max_price": results.begun.max_price,
            "load_s": results.begun.load_s,
            "test_s": results.begun.test_s,
            "silence_s": results.begun.silence_s,
            "at_once": results.begun.at_once,
        },
        "image": results.begun.image,
        "requirements": results.begun.requirements,
        "machines": [_machine(each) for each in results.machines],
    }


def _machine(decided: Decided) -> dict[str, Any]:
    failure = failures.FAILURES.get(decided.code)
    return {
        "machine": decided.machine,
        "instance": decided.instance or None,
        "outcome": failures.outcome_of(decided.code),
        "code": decided.code,
        "summary": failure.summary if failure else "",
        "remedy": failure.remedy if failure else "",
        "found": _one_line(decided.text),
        "usd": round(decided.usd, 6),
        "seconds": {name: round(value, 3) for name, value in decided.seconds.items()},
        "offer": dict(decided.offer),
        "proved": dict(decided.proved),
        "claimed_by_host": dict(decided.claimed),
    }


def pass_log(results: Results) -> str:
    """Machine ids of what is verified."""
    return "".join(f"{each.machine}\n" for each in results.machines if each.code == failures.VERIFIED)


def error_log(results: Results) -> str:
    """Every other machine, with its reason."""
    lines = []
    for each in results.machines:
        if each.code != failures.VERIFIED:
            failure = failures.FAILURES.get(each.code)
            text = _one_line(" ".join(filter(None, (failure.summary if failure else "", each.text))))
            lines.append(f"{each.machine}:{each.instance or '-'} {each.code} {text}\n")
    return "".join(lines)


def _one_line(text: str) -> str:
    return " ".join(safe(text).split())[:_MOST_TEXT]


def read(folder: Path) -> Results:
    """Of a run's folder.

    Raises:
        UsageError: it is none.
    """
    return of_journal(journals.read(folder))
