"""Caps: a run spends no more money and no more hours than it was given.

Before a rental its highest possible cost is set aside; what is not spent comes back. What was spent is the larger of this side's clock times the
agreed price and of the account's own charges.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Caps:
    """What a client may do.

    Attributes:
        max_usd: of the whole run, earlier clients of it included.
        max_hours: from the beginning of this client until the end of its last rental.
        max_price: USD per hour of an offer; None: any that fits ``max_usd``.
        load_s: until the container runs.
        test_s: of the tests.
        silence_s: without an answer about progress.
        at_once: rentals side by side.
    """

    max_usd: float
    max_hours: float
    max_price: float | None = None
    load_s: float = 2000.0
    test_s: float = 300.0
    silence_s: float = 120.0
    at_once: int = 20

    @property
    def rental_s(self) -> float:
        """Longest time that a rental takes, its destruction included."""
        return self.load_s + PROOF_S + self.test_s + ENDING_S


#: Seconds that challenges, memory and transfers take at most: 64 MB each way at 100 Mb/s, five seconds of claimed work, and their patience.
PROOF_S = 180.0
#: Seconds that connecting and destroying take at most.
ENDING_S = 180.0


class Purse:
    """The money of a run. Threads share it."""

    def __init__(self, max_usd: float, spent: float = 0.0) -> None:
        """Nothing is set aside yet.

        Args:
            max_usd: of the whole run.
            spent: by earlier clients of it.
        """
        self._max = max_usd
        self._before = spent
        self._closed: dict[int, float] = {}
        self._open: dict[int, float] = {}
        self._charged: dict[int, float] = {}
        self._instance_of: dict[int, int] = {}
        self._changed = threading.Condition()

    def set_aside(self, machine: int, usd: float, stopped: threading.Event) -> bool:
        """Set aside what a rental can cost; waits while others may give back enough. False: it will never fit."""
        with self._changed:
            while not stopped.is_set():
                if self._spent() + sum(self._open.values()) + usd <= self._max:
                    self._open[machine] = usd
                    return True
                if not self._open or self._spent() + usd > self._max:
                    return False
                self._changed.wait(0.2)
        return False

    def rented(self, machine: int, instance: int) -> None:
        """Charges of this instance belong to this machine."""
        with self._changed:
            self._instance_of[instance] = machine

    def give_back(self, machine: int, usd: float) -> float:
        """The rental is over and cost this much by our clock; gives what is counted, the account's charge where that is higher."""
        with self._changed:
            self._open.pop(machine, None)
            self._closed[machine] = self._closed.get(machine, 0.0) + usd
            self._changed.notify_all()
            return max(self._closed[machine], self._charge_of(machine))

    def charged(self, amounts: Mapping[int, float]) -> None:
        """What the account has been charged, by instance; a charge never goes down here."""
        with self._changed:
            for instance, usd in amounts.items():
                self._charged[instance] = max(usd, self._charged.get(instance, 0.0))
            self._changed.notify_all()

    @property
    def spent(self) -> float:
        """USD of the run so far, rentals that are open by their charges only."""
        with self._changed:
            return self._spent()

    def is_spent(self, open_usd: Mapping[int, float]) -> bool:
        """True when closed rentals, and open ones by our clock or the account's charges, have reached the cap.

        Args:
            open_usd: machine → USD by our clock.
        """
        with self._changed:
            running = sum(
                max(usd, self._charge_of(machine)) for machine, usd in open_usd.items() if machine in self._open
            )
            closed = sum(max(usd, self._charge_of(machine)) for machine, usd in self._closed.items())
            return self._before + closed + running >= self._max

    def _charge_of(self, machine: int) -> float:
        return sum(usd for instance, usd in self._charged.items() if self._instance_of.get(instance) == machine)

    def _spent(self) -> float:
        machines = {*self._closed, *self._instance_of.values()}
        return self._before + sum(max(self._closed.get(each, 0.0), self._charge_of(each)) for each in machines)
