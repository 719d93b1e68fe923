"""Run cells: each once, as many at a time as is allowed, within the caps; go on where a killed client stopped.

A line of the journal is on the disk before anything is started. Jobs outlive the client: the next one finds each by its word, and a job that begins
twice finds its attempt claimed, so that nothing is run twice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.app.matrix import said
from hpcaccept.app.matrix.folder import CONTENT
from hpcaccept.app.matrix.here import LOG
from hpcaccept.app.matrix.on_machine import ERR, OUT, TAKEN
from hpcaccept.app.matrix.order import NO_MODULE, order_in, prepare
from hpcaccept.app.matrix.pods import by_hand
from hpcaccept.bounded import end_of
from hpcaccept.container import load as runtime_of
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.judge.cells import verdict_of_attempts, verdict_of_tests
from hpcaccept.model.job import JobRef
from hpcaccept.model.matrix.attempt import Attempt, CellOutcome, Ended, Starting, Submitted, TestResult, Unstarted
from hpcaccept.model.matrix.matrix import Cell, Where

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcaccept.app.matrix.folder import MatrixRun, Past
    from hpcaccept.app.matrix.place import Place
    from hpcaccept.app.matrix.said import Said
    from hpcaccept.model.job import JobStatus

#: Between two looks at what cells have written, and between two questions to a scheduler.
LOOK_S, ASK_S = 0.2, 2.0
#: What a job that is over may still have on its way through the file system.
SETTLE_S = 2.0


@dataclass(frozen=True)
class Limits:
    """What this client may do.

    Attributes:
        parallel: cells at the same time.
        max_cells: that it starts; None: all.
        max_usd: of the whole run, earlier clients' attempts included; None: no cap.
        queue_timeout_s: after which a cell that has not begun is taken back; 0: never.
        reruns: times that a cell that failed is tried again.
    """

    parallel: int
    max_cells: int | None = None
    max_usd: float | None = None
    queue_timeout_s: float = 0.0
    reruns: int = 1


@dataclass
class Running:
    """An attempt whose job was submitted.

    Attributes:
        cell: that is tried.
        number: of the attempt.
        folder: of it.
        word: by which its job is found.
        job: at the place.
        since: when this client began to watch it.
        asked: when its place was asked last.
        over: when its job was seen to be over without a last word; 0: not yet.
    """

    cell: Cell
    number: int
    folder: Path
    word: str
    job: JobRef
    since: float = field(default_factory=time.monotonic)
    asked: float = 0.0
    over: float = 0.0


class Client:
    """Everything that one call of ``matrix run`` has open."""

    def __init__(
        self,
        run: MatrixRun,
        cells: Sequence[Cell],
        places: Mapping[Where, Place],
        limits: Limits,
        say: Callable[[str], None],
    ) -> None:
        """Nothing is started yet.

        Args:
            run: whose journal is written.
            cells: to be run, in this order; those that are decided are left as they are.
            places: by ``MachineSpec.where``.
            limits: of this client.
            say: prints a line.
        """
        self.run, self.places, self.limits, self.say = run, places, limits, say
        self.cells = {cell.id: cell for cell in cells}
        self._running: dict[str, Running] = {}
        self._started = 0
        self._down: dict[str, str] = {}

    def work(self) -> None:
        """Until every cell is decided or cannot be started.

        Raises:
            RunError: the journal cannot be written.
            LaunchError: a place does not answer, so that it is not known what runs.
            KeyboardInterrupt: by somebody; jobs go on, and the next client finds them.
        """
        try:
            self._adopt(self.run.past())
            past = self.run.past()
            waiting = [cell for cell in self.cells.values() if self._wants(cell, past)]
            while waiting or self._running:
                waiting = self._start_some(waiting)
                waiting += self._look()
                if waiting or self._running:
                    time.sleep(LOOK_S)
        except KeyboardInterrupt:
            self.run.write(Ended(interrupted=True, usd=self.run.past().usd))
            if self._running:
                self.say(
                    f"{len(self._running)} cells go on: the same command finds them, 'hpcaccept matrix cancel' ends them."
                )
            raise
        self.run.write(Ended(interrupted=False, usd=self.run.past().usd))

    def _wants(self, cell: Cell, past: Past) -> bool:
        """Whether a cell is to be started: it was never decided, or failed and may be tried again."""
        if cell.id in self._running or cell.id in past.open:
            return False
        tries = past.attempts.get(cell.id, ())
        if not tries:
            return True
        failed = [each for each in tries if each.outcome == "FAIL"]
        return tries[-1].outcome == "FAIL" and len(failed) <= self.limits.reruns

    def _adopt(self, past: Past) -> None:
        """Watch what an earlier client started; what never came to be a job is started under the same number."""
        for name, starting in past.open.items():
            cell = self.cells.get(name)
            if cell is None:
                continue
            place, folder = self._place(cell), self.run.attempt(name, starting.number)
            if place.by_hand:
                self._by_hand(cell, starting, folder)
                continue
            known = past.jobs.get(name)
            job = JobRef("", known.job, known.started, known.host) if known else place.find(folder, starting.word)
            if job is None and not (folder / TAKEN).exists():
                self.run.write(Unstarted(name, "never", "an earlier client was killed before it was submitted"))
                continue
            if job and not known:
                self.run.write(Submitted(name, starting.number, job.id, job.started, job.host))
            self._running[name] = Running(cell, starting.number, folder, starting.word, job or JobRef("", "0"))
            self.say(f"{name}: goes on, attempt {starting.number}")

    def _by_hand(self, cell: Cell, starting: Starting, folder: Path) -> None:
        """Watch what somebody has started; what nobody has stays as it is."""
        spoken = said.read(folder)
        if spoken.facts or spoken.tests:
            self._running[cell.id] = Running(cell, starting.number, folder, starting.word, JobRef("", str(folder)))
        else:
            self.say(f"{cell.id}: waits for somebody: {by_hand(folder)}")

    def _place(self, cell: Cell) -> Place:
        return self.places[cell.machine.where]

    def _start_some(self, waiting: Sequence[Cell]) -> list[Cell]:
        """Start what the limits allow; gives what has to wait for others."""
        left: list[Cell] = []
        for cell in waiting:
            if len(self._running) >= self.limits.parallel or self._machine_is_full(cell):
                left.append(cell)
            elif why := self._cap(cell):
                if self._running and why[0] == "cap-money":
                    left.append(cell)  # what runs may cost less than was set aside
                else:
                    self._not_run(cell, *why)
            else:
                self._start(cell)
        return left

    def _machine_is_full(self, cell: Cell) -> bool:
        machine = cell.machine
        if machine.where == "here" and machine.gpus and not machine.parallel:
            # Nobody shares out the GPUs of this machine: one cell at a time has them.
            return any(each.cell.machine.where == "here" and each.cell.machine.gpus for each in self._running.values())
        there = sum(each.cell.machine.name == machine.name for each in self._running.values())
        return bool(machine.parallel) and there >= machine.parallel

    def _cap(self, cell: Cell) -> tuple[str, str] | None:
        if self.limits.max_cells is not None and self._started >= self.limits.max_cells:
            return "cap-cells", f"{self.limits.max_cells} cells were started (--max-cells)"
        if self.limits.max_usd is not None and cell.most_usd:
            aside = sum(each.cell.most_usd for each in self._running.values())
            spent = self.run.past().usd
            if spent + aside + cell.most_usd > self.limits.max_usd:
                return "cap-money", f"it may cost {cell.most_usd:.2f} USD, and {spent:.2f} of {self.limits.max_usd:g} USD are spent (--max-usd)"  # fmt: skip
        return None

    def _not_run(self, cell: Cell, code: str, why: str, number: int = 0) -> None:
        self.run.write(Unstarted(cell.id, code, why, number))
        self.say(f"{cell.id}: NOT_RUN: {why}")

    def _start(self, cell: Cell) -> None:
        place = self._place(cell)
        if cell.machine.name not in self._down:
            self._down[cell.machine.name] = place.no_machine(cell)
        if why := self._down[cell.machine.name]:
            self._not_run(cell, "no-machine", f"no machine: {why}")
            return
        past = self.run.past()
        number = past.next_number(cell.id)
        folder, word = self.run.attempt(cell.id, number), f"hpcaccept-matrix/{self.run.name}/{cell.id}/{number}"
        try:
            content = str(self.run.path / CONTENT) if past.begun.content else ""
            prepare(folder, cell, number, content, place.provides)
        except UsageError as fault:
            self._not_run(cell, "refused", f"{fault.message} {fault.remedy}".strip())
            return
        self.run.write(Starting(cell.id, number, word))
        self._started += 1
        try:
            job = place.start(cell, folder, word)
        except LaunchError as fault:
            self._not_run(cell, "refused", fault.message, number)
            return
        if place.by_hand:
            self.say(f"{cell.id}: attempt {number} waits for somebody: {by_hand(folder)}")
            return
        self.run.write(Submitted(cell.id, number, job.id, job.started, job.host))
        self._running[cell.id] = Running(cell, number, folder, word, job)
        self.say(f"{cell.id}: attempt {number} is submitted ({job.id})")

    def _look(self) -> list[Cell]:
        """See what has ended; gives the cells that are to be tried again."""
        again = []
        for name, each in list(self._running.items()):
            spoken = said.read(each.folder)
            done = spoken.over or (spoken.whole and self._place(each.cell).by_hand)
            over = "" if done else self._gone(each, spoken)
            if not (done or over):
                continue
            del self._running[name]
            if spoken.over and spoken.over.no_machine:
                self._not_run(each.cell, "no-machine", f"no machine: {spoken.over.no_machine}", each.number)
                continue
            if over.startswith(_TAKEN_BACK):
                self._not_run(each.cell, "queue", over.removeprefix(_TAKEN_BACK), each.number)
                continue
            attempt = conclude(each, spoken, over, self.run.past().begun.content)
            self.run.write(attempt)
            past = self.run.past()
            if self._wants(each.cell, past):
                self.say(f"{name}: {attempt.outcome}: {attempt.reason}; it is tried again")
                again.append(each.cell)
            else:
                outcome, reason = verdict_of_attempts(past.attempts[name])
                self.say(f"{name}: {outcome}{f': {reason}' if reason else ''}")
        return again

    def _gone(self, each: Running, spoken: Said) -> str:
        """Why an attempt without a last word is over; empty: it is not."""
        now = time.monotonic()
        if now - each.asked < ASK_S and not each.over:
            return ""
        each.asked = now
        status = self._place(each.cell).status(each.job)
        if status.over:
            each.over = each.over or now
            return self._ended(each, status) if now - each.over >= SETTLE_S else ""
        each.over = 0.0
        if spoken.began or status.state not in ("pending", "stuck"):
            return ""
        late = self.limits.queue_timeout_s and now - each.since > self.limits.queue_timeout_s
        if status.state != "stuck" and not late:
            return ""
        self._place(each.cell).cancel(each.job)
        return f"{_TAKEN_BACK}no machine: the job cannot begin ({status.detail})" if status.state == "stuck" else f"{_TAKEN_BACK}it had not begun after {self.limits.queue_timeout_s:g} s ({status.detail})"  # fmt: skip

    def _ended(self, each: Running, status: JobStatus) -> str:
        """The job is over without a last word; where another one has claimed the attempt, that is watched instead."""
        other = self._place(each.cell).find(each.folder, each.word)
        if other:
            each.job, each.over = other, 0.0
            return ""
        words = said.last_words(each.folder, LOG, ERR, OUT)
        return f"{status.sentence}{f'; its last line: {words}' if words else ''}"


#: Before the reason of an attempt that never began.
_TAKEN_BACK = "\0"


def conclude(each: Running, spoken: Said, gone: str, content: str) -> Attempt:
    """The attempt, judged."""
    names = [test.name for test in each.cell.tests]
    outcome, reason, tests = verdict_of_tests(names, spoken.tests, gone or broken(each, spoken))
    tests = tuple(replace(test, log=test.log if (each.folder / test.log).is_file() else "") for test in tests)
    facts = {**(spoken.began.facts if spoken.began else {}), **spoken.facts, **_image_facts(each)}
    if content:
        facts["content.commit"] = content
    seconds = spoken.over.seconds if spoken.over else max((sum(t.seconds for t in tests), 0.0))
    usd = (spoken.over.usd if spoken.over else 0.0) or seconds / 3600 * each.cell.machine.usd_per_hour
    began_at = spoken.began.at if spoken.began else ""
    log = log_of(each.folder, outcome, tests)
    return Attempt(each.cell.id, each.number, outcome, reason, tests, facts, seconds, usd, began_at, log)


def log_of(folder: Path, outcome: CellOutcome, tests: Sequence[TestResult]) -> str:
    """The log that tells of the outcome: of the test that speaks for the cell, else of the job."""
    named = [test.log for test in tests if test.log and test.outcome == outcome]
    there = [name for name in (ERR, LOG, OUT) if (folder / name).is_file() and (folder / name).stat().st_size]
    return next(iter([*named, *there]), "")


def broken(each: Running, spoken: Said) -> str:
    """Why a job that had its last word did not come to the end of its tests; empty: it did."""
    if spoken.whole or not spoken.over:
        return ""
    if spoken.over.why:
        return spoken.over.why
    if each.cell.image.modules and spoken.over.status == NO_MODULE:
        return f"a module is missing: {said.last_words(each.folder, ERR, OUT)}"
    runtime = order_in(each.folder).runtime
    if runtime and (fault := runtime_of(runtime).explain(end_of(each.folder / ERR, 65536))):
        return f"{fault.cause}. {fault.remedy}"
    words = said.last_words(each.folder, ERR, OUT)
    return f"the image's Python ended with {spoken.over.status} before its tests had: {words or 'it said nothing'}"


def _image_facts(each: Running) -> dict[str, str]:
    image = each.cell.image
    named = image.container or image.venv or " ".join(image.modules)
    digest = order_in(each.folder).digest
    return {**({"image.reference": named} if named else {}), **({"image.digest": digest} if digest else {})}
