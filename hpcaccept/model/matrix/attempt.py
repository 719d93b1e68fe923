"""What became of a cell. One attempt is one job; a cell that failed is tried again, and one that then passes is flaky."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

#: ``FAIL``: a test failed. ``ERROR``: it could not be tried. ``WARN``: flaky. ``NOT_RUN``: no machine, no money, not yet. ``IMPOSSIBLE``: by a rule.
CellOutcome = Literal["PASS", "WARN", "FAIL", "ERROR", "NOT_RUN", "IMPOSSIBLE"]
OUTCOMES: tuple[CellOutcome, ...] = ("PASS", "WARN", "FAIL", "ERROR", "NOT_RUN", "IMPOSSIBLE")


@dataclass(frozen=True)
class TestResult:
    """What one test of a cell said.

    Attributes:
        test: its name.
        outcome: PASS, FAIL, ERROR or NOT_RUN.
        reason: one sentence; empty for a PASS.
        seconds: it took.
        log: file in the attempt's folder.
    """

    __test__ = False  # pytest takes it for a class of tests

    test: str
    outcome: CellOutcome
    reason: str = ""
    seconds: float = 0.0
    log: str = ""


@dataclass(frozen=True)
class Attempt:
    """One job of a cell that is over.

    Attributes:
        cell: its id.
        number: of the attempt, from 1.
        outcome: of all its tests together.
        reason: one sentence; empty for a PASS.
        tests: each of them.
        facts: what was found: ``image.…``, ``driver.…``, ``machine.…``, ``content.…``.
        seconds: of the job.
        usd: that it cost.
        began_at: ISO 8601; empty where it never began.
        log: file in its folder that tells of the outcome; empty: there is none.
    """

    cell: str
    number: int
    outcome: CellOutcome
    reason: str = ""
    tests: tuple[TestResult, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    usd: float = 0.0
    began_at: str = ""
    log: str = ""


@dataclass(frozen=True)
class Begun:
    """A run of a matrix began.

    Attributes:
        run: its name.
        matrix: name of the matrix.
        digest: SHA-256 of the file.
        file: where it was.
        cells: ids that are to be run.
        choice: ``full``, ``cover`` or ``pairs``.
        version: of hpcaccept.
        commit: of hpcaccept.
        content: commit of the tests' files; empty: none.
    """

    run: str
    matrix: str
    digest: str
    file: str
    cells: tuple[str, ...]
    choice: str
    version: str
    commit: str
    content: str = ""


@dataclass(frozen=True)
class Starting:
    """A job of a cell is about to be submitted; a word finds it again."""

    cell: str
    number: int
    word: str


@dataclass(frozen=True)
class Submitted:
    """It was.

    Attributes:
        cell: its id.
        number: of the attempt.
        job: at the launcher, or of a process.
        started: of the process, seconds since the epoch.
        host: that submitted it.
    """

    cell: str
    number: int
    job: str
    started: float = 0.0
    host: str = ""


@dataclass(frozen=True)
class Unstarted:
    """A cell was not run, and will be by the next client.

    Attributes:
        cell: its id.
        code: ``no-machine``, ``queue``, ``cap-money``, ``cap-cells``, ``refused``, ``rent``, ``manual``.
        reason: one sentence.
        number: of the attempt that was taken back; 0: there was none.
    """

    cell: str
    code: str
    reason: str
    number: int = 0


@dataclass(frozen=True)
class Again:
    """Somebody asked for a cell to be run once more."""

    cell: str


@dataclass(frozen=True)
class Ended:
    """The client ended.

    Attributes:
        interrupted: by somebody.
        usd: of the run so far.
    """

    interrupted: bool
    usd: float


Entry = Begun | Starting | Submitted | Attempt | Unstarted | Again | Ended


@dataclass(frozen=True)
class Rent:
    """What is rented for a cell.

    Attributes:
        gpu_model: as the marketplace names it.
        gpus: how many.
        usd_per_hour: the most that is paid.
        image: reference.
        test_s: seconds that the tests may take.
        files: name → text of the tests' files.
        more: their files are sent as an archive instead: they are a branch's, or too long for a start command.
    """

    gpu_model: str
    gpus: int
    usd_per_hour: float
    image: str
    test_s: float
    files: dict[str, str] = field(default_factory=dict)
    more: bool = False


@dataclass(frozen=True)
class Order:
    """What the machine of a cell is handed.

    Attributes:
        cell: its id.
        number: of the attempt.
        inner: what runs inside: options of the tests, as plain values.
        command: that starts it there, the image entered.
        env: variables of it.
        limit_s: after which it is ended.
        leave: command that removes what entering has left; empty: nothing.
        gpus: whether the driver is asked.
        content: folder whose copy the tests run in; empty: none.
        runtime: of the container; empty: there is none.
        digest: of the image, where it was known before.
        rent: what is rented for it; None: nothing.
    """

    cell: str
    number: int
    inner: dict[str, Any]
    command: tuple[str, ...]
    env: dict[str, str]
    limit_s: float
    leave: tuple[str, ...] = ()
    gpus: int = 0
    content: str = ""
    runtime: str = ""
    digest: str = ""
    rent: Rent | None = None
