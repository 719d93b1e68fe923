"""Rent machines, have each tested, destroy each, and say what became of every one of them."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import queue
import secrets
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.app.vast import fleet as fleets
from hpcaccept.app.vast import journal as journals
from hpcaccept.app.vast import result_files
from hpcaccept.app.vast import results as resulting
from hpcaccept.app.vast import session as sessions
from hpcaccept.app.vast.caps import Caps, Purse
from hpcaccept.app.vast.fleet import Fleet, Pace
from hpcaccept.app.vast.journal import Begun, Decided, Destroyed, Journal, Left, Rented, Renting
from hpcaccept.app.vast.removal import ours, remove
from hpcaccept.app.vast.rental import Rental, keep_evidence
from hpcaccept.app.vast.selection import Planned
from hpcaccept.errors import RunError, UsageError
from hpcaccept.provider.vast import failures
from hpcaccept.provider.vast.labels import run_id
from hpcaccept.store.one_writer import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hpcaccept.app.vast.results import Results
    from hpcaccept.app.vast.session import Session
    from hpcaccept.app.vast.tester import Tester
    from hpcaccept.provider.vast.offers import Offer
    from hpcaccept.transport.process import Heir

RUNS = Path("vast-runs")
_LOCK = "lock"
#: Labels live this much longer than the run may: nobody reaps a rental that is just being destroyed.
_GRACE = dt.timedelta(minutes=15)
#: Codes that say nothing of the machine, so that a resumed run tries again.
AGAIN = (
    "interrupted",
    "client-died",
    "cap-money",
    "cap-hours",
    "money-spent",
    "quota-spent",
    "throttled",
    "api-silent",
    "key-refused",
    "own-fault",
)
_TICK_S = 0.1


@dataclass(frozen=True)
class Order:
    """What is to be done.

    Attributes:
        planned: every machine.
        caps: of this client.
        image: template, for the record.
        requirements: name of the set, for the record.
        folder: of the run.
        run: its name.
        disk_gb: of an instance.
        pace: of looks.
        spent: USD of earlier clients of the run.
    """

    planned: Sequence[Planned]
    caps: Caps
    image: str
    requirements: str
    folder: Path
    run: str
    disk_gb: float = 40.0
    pace: Pace = field(default_factory=lambda: fleets.PACE)
    spent: float = 0.0


def new_run() -> str:
    """A name that no other run has."""
    return run_id(sessions.now(), secrets.token_hex(4))


def check_caps(caps: Caps) -> None:
    """Raises UsageError where a single rental cannot fit."""
    if caps.max_hours * 3600 < caps.rental_s:
        raise UsageError(
            f"--max-hours {caps.max_hours:g} is {caps.max_hours * 3600:.0f} s; one rental may take {caps.rental_s:.0f} s "
            f"(load {caps.load_s:g}, tests {caps.test_s:g}, proof, connecting and destroying the rest).",
            "Raise --max-hours, or lower --load-timeout.",
        )


def verify(
    session: Session,
    order: Order,
    tester: Tester,
    say: Callable[[str], None],
    guard: Callable[[], Heir] | None = None,
) -> Results:
    """See above. After return nothing of the run is rented, or the results name what is.

    Args:
        session: of the account.
        order: what is to be done.
        tester: talks to each machine.
        say: prints a line; it is called from threads, one at a time.
        guard: starts the process that cleans up should this one be killed; None: there is none.

    Raises:
        UsageError: its folder cannot be made. Nothing was rented.
        RunError: another client works on the run, or its folder cannot be written. Nothing was rented.
        KeyboardInterrupt: the run was interrupted; everything of it was destroyed, or said not to be.
    """
    try:
        order.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise UsageError(
            f"Cannot make the run's folder {order.folder}: {fault.strerror}.", "Name another: --folder DIR."
        ) from None
    with locked(order.folder / _LOCK, "hpcaccept vast verify", wait_s=1.0):
        heir = guard() if guard else None
        results = _verified(session, order, tester, say)
        # A guard without a farewell goes on looking: after a fault of ours, and where something could not be destroyed.
        if heir and not results.left:
            heir.dismiss()
    if results.interrupted:
        raise KeyboardInterrupt
    return results


def _verified(session: Session, order: Order, tester: Tester, say: Callable[[str], None]) -> Results:
    began = time.monotonic()
    journal, lock = Journal(order.folder), threading.Lock()

    def say_alone(text: str) -> None:
        with lock, contextlib.suppress(OSError):
            say(text)

    until = sessions.now() + dt.timedelta(hours=order.caps.max_hours) + _GRACE
    fleet = Fleet(
        session, order.run, order.caps, Purse(order.caps.max_usd, order.spent), journal, until, order.pace, say_alone
    )
    fleet.write(_beginning(order))
    work = _work_of(fleet, order)
    faults: list[BaseException] = []
    count = min(order.caps.at_once, work.qsize())
    workers = [
        threading.Thread(target=_work, args=(fleet, order, tester, work, began, faults), daemon=True)
        for _ in range(count)
    ]
    with _interrupts(fleet) as interrupted:
        try:
            _until_done(fleet, workers, faults, began + order.caps.max_hours * 3600, interrupted)
        except BaseException:
            # A fault of ours: what is rented ends all the same, before anybody hears of it.
            fleet.end("own-fault")
            for worker in workers:
                worker.join()
            raise
        _sweep(fleet, any(isinstance(each.entry, Renting) for each in journals.read(order.folder)))
        fleet.read_charges()
        fleet.write(journals.Ended(fleet.purse.spent, interrupted()))
    results = resulting.read(order.folder)
    result_files.write(order.folder, results)
    for fault in faults:
        raise fault
    return results


def _work_of(fleet: Fleet, order: Order) -> queue.SimpleQueue[Planned]:
    """Machines to rent; what becomes of the others is decided already."""
    work: queue.SimpleQueue[Planned] = queue.SimpleQueue()
    for each in order.planned:
        if each.code:
            _decide(fleet, Decided(each.machine, each.code, each.text, offer=_listed(each.offer)))
        else:
            work.put(each)
    return work


def _until_done(
    fleet: Fleet,
    workers: Sequence[threading.Thread],
    faults: list[BaseException],
    deadline: float,
    interrupted: Callable[[], bool],
) -> None:
    """Run the workers; what takes time (questions to the account) has a thread of its own, so that caps are held to the tenth of a second."""
    over = threading.Event()

    def watch() -> None:
        try:
            fleet.watch(over)
        except BaseException as fault:  # noqa: BLE001 (raised by whoever started this thread)
            faults.append(fault)
            fleet.end("own-fault")

    watcher = threading.Thread(target=watch, daemon=True, name="account")
    watcher.start()
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        fleet.end_if_spent()
        if interrupted() and not fleet.stop.is_set():
            fleet.end("interrupted")
        if time.monotonic() > deadline and not fleet.stop.is_set():
            fleet.say(f"--max-hours {fleet.caps.max_hours:g} is over: everything is destroyed.")
            fleet.end("cap-hours")
        _tick(workers)
    over.set()


def _tick(workers: Sequence[threading.Thread]) -> None:
    next((each for each in workers if each.is_alive()), workers[0]).join(_TICK_S)


def _beginning(order: Order) -> Begun:
    caps = order.caps
    return Begun(
        order.run, tuple(each.machine for each in order.planned), order.image, order.requirements, caps.max_usd, caps.max_hours,
        caps.max_price, caps.load_s, caps.test_s, caps.silence_s, caps.at_once, os.getpid(),
    )  # fmt: skip


def _work(
    fleet: Fleet,
    order: Order,
    tester: Tester,
    work: queue.SimpleQueue[Planned],
    began: float,
    faults: list[BaseException],
) -> None:
    """Machines, one after the other, until none is left."""
    while True:
        try:
            planned = work.get_nowait()
        except queue.Empty:
            return
        try:
            _one(fleet, order, tester, planned, began)
        except RunError as fault:
            # The journal cannot be written: nothing more is rented.
            faults.append(fault)
            fleet.end("own-fault")
        except Exception as fault:  # noqa: BLE001 (one machine's fault of ours is not another's)
            text = f"{type(fault).__name__}: {fault}"[:300]
            with contextlib.suppress(RunError):
                _decide(fleet, Decided(planned.machine, "own-fault", text, offer=_listed(planned.offer)))


def _one(fleet: Fleet, order: Order, tester: Tester, planned: Planned, began: float) -> None:
    assert planned.offer is not None
    listed = _listed(planned.offer)
    left_s = fleet.caps.max_hours * 3600 - (time.monotonic() - began)
    if fleet.stop.is_set():
        _decide(fleet, Decided(planned.machine, fleet.why, "it was not rented", offer=listed))
        return
    if left_s < fleet.caps.rental_s:
        _decide(fleet, Decided(planned.machine, "cap-hours", f"{left_s:.0f} s are left", offer=listed))
        return
    rental = Rental(fleet, planned.offer, planned.image, tester, order.disk_gb)
    judgement, usd = rental.run()
    keep_evidence(rental, judgement, order.folder / "machines" / str(planned.machine))
    seconds = {name: float(value) for name, value in rental.seconds.items()}
    _decide(
        fleet,
        Decided(
            planned.machine, judgement.code if judgement.code in failures.FAILURES or judgement.code == failures.VERIFIED else "tester-form",
            judgement.text, rental.instance, listed, seconds, usd, dict(judgement.proved), dict(judgement.claimed),
        ),
    )  # fmt: skip


def _listed(offer: Offer | None) -> dict[str, Any]:
    """What a reader wants to know of an offer."""
    if offer is None:
        return {}
    names = ("gpu_ram", "cpu_ram", "cpu_cores_effective", "cuda_max_good", "compute_cap", "dlperf", "total_flops", "pcie_bw", "inet_down", "inet_up", "direct_port_count", "reliability")  # fmt: skip
    numbers = {name: value for name in names if (value := offer.number(name)) is not None}
    return {
        "id": offer.id,
        "gpu_name": offer.gpu_name,
        "num_gpus": offer.num_gpus,
        "dph_total": offer.usd_per_hour,
        **numbers,
    }


def _decide(fleet: Fleet, decided: Decided) -> None:
    fleet.write(decided)
    failure = failures.FAILURES.get(decided.code)
    words = failure.summary if failure else "the proof holds, and every check of the suite passed"
    fleet.say(
        f"machine {decided.machine}: {failures.outcome_of(decided.code)} [{decided.code}] {words}{f' ({decided.text})' if decided.text else ''}"
    )
    result_files.write_logs(fleet.journal.folder, resulting.read(fleet.journal.folder))


def _sweep(fleet: Fleet, rented: bool) -> None:
    """Look once more for what carries the run's label: a creation whose answer was lost may have come up late."""
    if not rented:
        return
    found = remove(
        fleet.session,
        lambda each: each.run == fleet.run,
        tries=fleet.pace.destroy_tries,
        wait_s=fleet.pace.destroy_wait_s,
    )
    if found.left or found.why:
        fleet.say(
            f"NOT DESTROYED, may be billed: instances {', '.join(map(str, found.left)) or 'not known'}: {found.why}"
        )
        fleet.write(Left(0, found.left, found.why))
    else:
        fleet.say("A whole list of the account shows nothing of this run.")
        fleet.write(Destroyed(0, found.gone, 0.0, 0.0))


@contextlib.contextmanager
def _interrupts(fleet: Fleet) -> Iterator[Callable[[], bool]]:
    """^C, SIGTERM and SIGHUP end the run in order: what is rented is destroyed first. A second ^C does not wait for that."""
    seen: list[int] = []

    def end(number: int, _: object) -> None:
        if seen and number == signal.SIGINT:
            machines = ", ".join(map(str, fleet.open_machines()))
            os.write(
                2, f"\nNot waited for: machines {machines}. hpcaccept vast reap --run {fleet.run} --yes\n".encode()
            )
            os._exit(130)
        if not seen:
            os.write(2, b"\nInterrupted: what is rented is destroyed first. Once more: not waited for.\n")
        # No lock is taken in a handler, not even an event's: the thread that it interrupts may hold it.
        seen.append(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # nohup
            signal.signal(number, end)
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def resumed(session: Session, folder: Path, say: Callable[[str], None]) -> tuple[Results, list[int], float]:
    """What a run has decided, which machines are to be tried (again), and what it has cost; what it left rented is destroyed first.

    Raises:
        UsageError: the folder is none of a run.
        RunError: another client works on it, or what it left cannot be destroyed.
    """
    with locked(folder / _LOCK, "hpcaccept vast verify --resume", wait_s=1.0):
        lines = journals.read(folder)
        results = resulting.of_journal(lines)
        run = results.begun.run
        there = ours(session, run)
        removed = remove(session, lambda each: each.run == run)
        if removed.left or removed.why:
            raise RunError(
                f"Instances {', '.join(map(str, removed.left)) or 'of unknown number'} of run {run} are left and cannot be destroyed: {removed.why}.",
                "See https://cloud.vast.ai/instances.",
            )
        more = max(unfinished_usd(lines, sessions.now(), bool(there)), _charged(session, lines))
        for each in there:
            say(f"instance {each.instance.id} of machine {each.machine} was left by an earlier client: destroyed")
        if there or more:
            ids = tuple(each.instance.id for each in there)
            Journal(folder).write(Destroyed(0, ids, 0.0, more), sessions.now())
        return results, [each.machine for each in results.machines if each.code in AGAIN], results.usd + more


def unfinished_usd(lines: Sequence[journals.Line], now: dt.datetime, there: bool) -> float:
    """USD of rentals whose end no client has counted: until a guard removed them, or until now.

    Args:
        lines: of the journal.
        now: UTC.
        there: whether some of them are still rented; where not, and no line says since when, the account's charges have to tell.
    """
    open_: dict[int, tuple[float, dt.datetime]] = {}
    usd = 0.0
    for line in lines:
        if isinstance(line.entry, Renting):
            open_[line.entry.machine] = (line.entry.usd_per_hour, line.at)
        elif isinstance(line.entry, Destroyed) and line.entry.machine:
            open_.pop(line.entry.machine, None)
        elif isinstance(line.entry, Destroyed):
            # All of the run: by a guard, which counts nothing, or by a client that went on and has counted.
            usd = 0.0 if line.entry.usd else usd + _until(line.at, open_)
            open_.clear()
    return usd + (_until(now, open_) if there else 0.0)


def _until(end: dt.datetime, open_: Mapping[int, tuple[float, dt.datetime]]) -> float:
    return sum(usd * max((end - at).total_seconds(), 0.0) / 3600 for usd, at in open_.values())


def _charged(session: Session, lines: Sequence[journals.Line]) -> float:
    """USD that the account was charged for rentals whose end no client has counted."""
    counted = {line.entry.machine for line in lines if isinstance(line.entry, Destroyed)}
    if any(isinstance(line.entry, Destroyed) and not line.entry.machine and line.entry.usd for line in lines):
        return 0.0
    uncounted = [line for line in lines if isinstance(line.entry, Rented) and line.entry.machine not in counted]
    of = [line.entry.instance for line in uncounted if isinstance(line.entry, Rented)]
    return sum(session.charged(uncounted[0].at, sessions.now(), of).values()) if of else 0.0


def most_usd(planned: Sequence[Planned]) -> float:
    """USD that renting all of them would cost at most."""
    return sum(each.usd for each in planned if not each.code)
