"""What all rentals of a run share: one look at the account, the money, the journal and the signal to stop.

The account is listed once every few seconds for all rentals together: twenty that asked for themselves would be throttled.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcaccept.app.vast import journal as journals
from hpcaccept.app.vast import session as sessions
from hpcaccept.app.vast.caps import Caps, Purse
from hpcaccept.app.vast.journal import Journal
from hpcaccept.app.vast.session import Session
from hpcaccept.errors import LaunchError
from hpcaccept.provider.vast.instances import Instance

if TYPE_CHECKING:
    from hpcaccept.app.vast.journal import Entry


@dataclass(frozen=True)
class Pace:
    """How often is looked, in seconds.

    Attributes:
        poll_s: at the account's instances.
        money_s: at charges and price increases.
        listed_s: a new instance may be missing in the list for this long.
        port_s: a running instance may lack its port for this long.
        create_s: an unanswered creation is looked for during this time.
        destroy_wait_s: between two tries to destroy.
        destroy_tries: how many.
    """

    poll_s: float = 10.0
    money_s: float = 60.0
    listed_s: float = 120.0
    port_s: float = 60.0
    create_s: float = 60.0
    destroy_wait_s: float = 10.0
    destroy_tries: int = 10


#: Of the command line.
PACE = Pace()


@dataclass
class Open:
    """A rental that goes on.

    Attributes:
        machine: of it.
        usd_per_hour: agreed.
        usd_once: of traffic.
        since: monotonic time of its creation.
    """

    machine: int
    usd_per_hour: float
    usd_once: float
    since: float

    def usd(self) -> float:
        """By our clock."""
        return self.usd_per_hour * (time.monotonic() - self.since) / 3600 + self.usd_once


@dataclass
class Fleet:
    """See above.

    Attributes:
        session: of the account.
        run: name of the run.
        caps: of this client.
        purse: of the run.
        journal: of the run.
        until: when labels expire.
        pace: of looks.
        say: prints a line; safe to call from threads.
        stop: set once everything must end, with ``why``.
        why: code of the reason.
    """

    session: Session
    run: str
    caps: Caps
    purse: Purse
    journal: Journal
    until: dt.datetime
    pace: Pace
    say: Callable[[str], None]
    stop: threading.Event = field(default_factory=threading.Event)
    why: str = ""
    began: dt.datetime = field(default_factory=sessions.now)
    _open: dict[int, Open] = field(default_factory=dict)
    _known: set[int] = field(default_factory=set)
    _refused: dict[int, str] = field(default_factory=dict)
    _listed: dict[int, Instance] = field(default_factory=dict)
    _listed_at: float = float("-inf")
    _whole_from: float = float("-inf")
    _fault: LaunchError | None = None
    _money_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, entry: Entry) -> None:
        """Into the journal, before the request that it announces."""
        self.journal.write(entry, sessions.now())

    def end(self, why: str) -> None:
        """Everything must end; the first reason holds."""
        with self._lock:
            self.why = self.why or why
        self.stop.set()

    def opened(self, machine: int, usd_per_hour: float, usd_once: float) -> None:
        """A creation is about to be sent."""
        with self._lock:
            self._open[machine] = Open(machine, usd_per_hour, usd_once, time.monotonic())
            self._money_at = self._money_at or time.monotonic()

    def rented(self, machine: int, instance: int) -> None:
        """It was answered."""
        with self._lock:
            self._known.add(instance)
        self.purse.rented(machine, instance)

    def closed(self, machine: int) -> float:
        """It is over; gives what is counted for it, in USD."""
        with self._lock:
            over = self._open.pop(machine, None)
        return self.purse.give_back(machine, over.usd() if over else 0.0)

    def open_machines(self) -> list[int]:
        """Machines whose rental goes on; without a lock, because a signal's handler asks."""
        return sorted(self._open.copy())

    def refused_increase(self, instance: int) -> str:
        """Why a price increase of an instance could not be rejected; empty where there is none."""
        with self._lock:
            return self._refused.get(instance, "")

    def look(self, instance: int) -> Instance | None:
        """An instance as the account listed it last, without waiting; None where a complete list does not have it.

        Raises:
            LaunchError: the account could not be listed at the last try.
        """
        if self._fault:
            raise self._fault
        return self._listed.get(instance)

    def watch(self, over: threading.Event) -> None:
        """Look at the account until it is over: at instances, price increases and charges, each when it is time. Runs in a thread of its own.

        Raises:
            RunError: a rejection cannot be written into the journal.
        """
        while not over.wait(min(self.pace.poll_s, self.pace.money_s) / 4):
            with self._lock:
                known, rented = set(self._known), bool(self._open)
                money = rented and time.monotonic() - self._money_at >= self.pace.money_s
                if money:
                    self._money_at = time.monotonic()
            if known and rented and time.monotonic() - self._listed_at >= self.pace.poll_s:
                self._list()
            if money:
                self._reject_increases(known)
                self.read_charges()

    def listed_after(self, moment: float) -> bool:
        """Whether the last whole list was begun after a monotonic time: only then does it say anything of what was made before."""
        return self._whole_from > moment

    def _list(self) -> None:
        began = time.monotonic()
        try:
            self._listed = {each.id: each for each in self.session.instances()}
            self._whole_from, self._fault = began, None
        except LaunchError as fault:
            self._fault = fault
        self._listed_at = time.monotonic()

    def end_if_spent(self) -> None:
        """End the run where the money is spent, by our clock or by the account's charges."""
        with self._lock:
            clocks = {each.machine: each.usd() for each in self._open.values()}
        if clocks and self.purse.is_spent(clocks) and not self.stop.is_set():
            self.say(
                f"The run has cost {self.caps.max_usd:g} USD or more, by our clock or the account's charges: --max-usd is reached, and everything is destroyed."
            )
            self.end("money-spent")

    def _reject_increases(self, known: set[int]) -> None:
        try:
            pending = self.session.pending_increases()
        except LaunchError as fault:
            self.say(f"Price increases cannot be read: {fault.message}")
            return
        for row, instance in pending:
            if instance not in known:
                continue  # somebody else's, and theirs to answer
            try:
                self.write(journals.Rejected(instance, row))
                self.session.reject_increase(row)
                self.say(f"instance {instance}: its host asked for a higher price; rejected")
            except LaunchError as fault:
                with self._lock:
                    self._refused[instance] = fault.message

    def read_charges(self) -> None:
        """What the account says that the run's rentals cost so far."""
        with self._lock:
            known = set(self._known)
        if not known:
            return
        try:
            self.purse.charged(self.session.charged(self.began, sessions.now(), known))
        except LaunchError as fault:
            # Our own clock goes on counting, and counts more than the account does.
            self.say(f"Charges cannot be read: {fault.message}")
