"""What the machine of a cell has reported so far: its own two lines, and one for each test from inside the image. All of it is foreign text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpcaccept.bounded import end_of, read_bytes
from hpcaccept.model.matrix.attempt import TestResult
from hpcaccept.report.printable import safe
from hpcaccept.serial import loads
from hpcaccept.store import entry_journal

if TYPE_CHECKING:
    from pathlib import Path

MACHINE, RESULTS = "machine.jsonl", "results.jsonl"
#: Of what an image says of itself.
_MOST_FACTS, _LONGEST = 20, 500
_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Began:
    """The cell's job began.

    Attributes:
        at: ISO 8601.
        facts: of the machine.
    """

    at: str
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Over:
    """It ended.

    Attributes:
        status: of the command that entered the image.
        why: it was ended; empty: by itself.
        seconds: since it began.
        usd: that it cost, where that is known; else it follows from the machine's price.
        no_machine: why there was none to rent; empty: there was.
    """

    status: int
    why: str
    seconds: float
    usd: float = 0.0
    no_machine: str = ""


@dataclass(frozen=True)
class Said:
    """Everything.

    Attributes:
        began: None: not yet.
        over: None: not yet.
        facts: of the image, as it says.
        tests: that are done.
        whole: whether the program inside came to its end.
    """

    began: Began | None
    over: Over | None
    facts: dict[str, str]
    tests: tuple[TestResult, ...]
    whole: bool


def read(folder: Path) -> Said:
    """What is there; nothing where nothing is."""
    try:
        lines, _ = entry_journal.read(folder / MACHINE, entry_journal.kinds_of((Began, Over)))
    except OSError:
        lines = []
    began = next((each for _, each in lines if isinstance(each, Began)), None)
    over = next((each for _, each in lines if isinstance(each, Over)), None)
    facts, tests, whole = results_of(_text(folder / RESULTS))
    return Said(began, over, facts, tests, whole)


def results_of(text: bytes) -> tuple[dict[str, str], tuple[TestResult, ...], bool]:
    """Facts, tests and whether the end was reached, in the lines of the program inside; what is no such line is left out."""
    facts: dict[str, str] = {}
    tests: list[TestResult] = []
    whole = False
    for line in text.split(b"\n"):
        try:
            plain = loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            continue
        if not isinstance(plain, dict):
            continue
        whole = whole or plain.get("end") is True
        if isinstance(plain.get("facts"), dict):
            pairs = list(plain["facts"].items())[:_MOST_FACTS]
            facts |= {str(k): safe(str(v))[:_LONGEST] for k, v in pairs if str(k).startswith("image.")}
        if found := _test(plain):
            tests.append(found)
    return facts, tuple(tests), whole


def _test(plain: dict[str, Any]) -> TestResult | None:
    outcome, seconds = plain.get("outcome"), plain.get("seconds", 0.0)
    if outcome not in ("PASS", "FAIL", "ERROR", "NOT_RUN") or not isinstance(seconds, (int, float)):
        return None
    log = str(plain.get("log", ""))
    return TestResult(
        safe(str(plain.get("test", "")))[:60],
        outcome,
        safe(str(plain.get("reason", "")))[:2000],
        float(seconds),
        log if "/" not in log and len(log) < 120 else "",
    )


def _text(file: Path) -> bytes:
    try:
        return read_bytes(file, most=_MOST_BYTES)
    except OSError:
        return b""


def last_words(folder: Path, *names: str) -> str:
    """The last line that says something, of the first file that has one."""
    for name in names:
        lines = [line.strip() for line in end_of(folder / name, 4096).splitlines() if line.strip()]
        if lines:
            return safe(lines[-1])[:300]
    return ""
