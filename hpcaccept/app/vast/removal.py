"""Ends rentals for certain: each is destroyed and then looked for in the account's whole list; only what is missing there is gone.

A 404 to a destruction may mean that the key is bad, and an empty page that the answer was cut: neither is believed. What has not a label of
hpcaccept is never asked to end.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError
from hpcaccept.provider.vast.instances import Instance

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from hpcaccept.app.vast.session import Session

#: As often as the official self-test.
TRIES = 10
WAIT_S = 10.0


@dataclass(frozen=True)
class Ours:
    """One instance that hpcaccept rented.

    Attributes:
        instance: as it was listed.
        run: by its label.
        machine: by its label.
        until: by its label.
    """

    instance: Instance
    run: str
    machine: int
    until: dt.datetime

    def expired(self, now: dt.datetime) -> bool:
        """True from its time on."""
        return self.until <= now


def ours(session: Session, run: str = "") -> tuple[Ours, ...]:
    """Every instance with a label of hpcaccept.

    Args:
        session: of the account.
        run: only of this run; empty: of all.

    Raises:
        LaunchError: the list is not complete.
    """
    found = []
    for each in session.instances():
        mark = each.mark
        if mark and (not run or mark.run == run):
            found.append(Ours(each, mark.run, mark.machine, mark.until))
    return tuple(found)


@dataclass(frozen=True)
class Removed:
    """What became of a removal.

    Attributes:
        gone: instances that were there and are in no list now.
        left: those that are there, or of which it is not known.
        why: of what is left: the last error.
    """

    gone: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    why: str = ""


def remove(
    session: Session,
    wanted: Callable[[Ours], bool],
    *,
    known: Collection[int] = (),
    tries: int = 0,
    wait_s: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Removed:
    """Destroy what is wanted of our instances, until a whole list shows none of it.

    Args:
        session: of the account.
        wanted: tells by label which of ours.
        known: instances of ours by id, which a list may not show yet; their creation was answered.
        tries: how often; 0: ``TRIES``.
        wait_s: between two of them; None: ``WAIT_S``.
        sleep: waits for seconds.
    """
    gone: set[int] = set()
    left: set[int] = set(known)
    why = ""
    for number in range(tries or TRIES):
        if number > 1:
            sleep(WAIT_S if wait_s is None else wait_s)
        try:
            there = {each.instance.id for each in ours(session) if wanted(each)}
            there |= {identity for identity in known if identity not in there and _is_there(session, identity, wanted)}
            gone |= left - there
            left = there
            if not there:
                return Removed(tuple(sorted(gone)))
            why = "it is still in the account's list"
            for identity in sorted(there):
                session.destroy(identity)
        except LaunchError as fault:
            why = fault.message
    return Removed(tuple(sorted(gone - left)), tuple(sorted(left)), why)


def _is_there(session: Session, identity: int, wanted: Callable[[Ours], bool]) -> bool:
    """Whether an instance that a list does not show yet is there, and is ours by its label: an id alone is no reason to end anything."""
    found = session.instance(identity)
    mark = found.mark if found else None
    return bool(found and mark and wanted(Ours(found, mark.run, mark.machine, mark.until)))
