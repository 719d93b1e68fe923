"""The life of one rental: rent, wait until it runs, hand it to the tester, destroy, see that it is gone. Whatever happens, the end is the same."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hpcaccept.app.vast import journal as journals
from hpcaccept.app.vast.caps import PROOF_S
from hpcaccept.app.vast.fleet import Fleet
from hpcaccept.app.vast.removal import Ours, remove
from hpcaccept.app.vast.tester import Claim, Deadlines, Judgement, Tester
from hpcaccept.errors import HpcacceptError, LaunchError, RunError
from hpcaccept.provider.vast import failures, prices, requests
from hpcaccept.provider.vast.labels import Mark
from hpcaccept.provider.vast.offers import Offer
from hpcaccept.transport import http, vast_api

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.provider.vast.instances import Instance

#: An agreed price is met to a thousandth: Vast.ai rounds.
_ROUNDING = 1.001
_CONNECT_S = 60.0


class Ends(Exception):
    """The rental cannot go on.

    Attributes:
        code: of ``provider.vast.failures``.
        text: what was found.
    """

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(code)
        self.code, self.text = code, text


@dataclass
class Rental:
    """One machine, from its offer to its end.

    Attributes:
        fleet: what all rentals share.
        offer: that is rented.
        image: reference.
        tester: talks to the machine.
        disk_gb: of the instance.
        instance: once it is known.
        seconds: of each stage.
        progress: untrusted lines.
    """

    fleet: Fleet
    offer: Offer
    image: str
    tester: Tester
    disk_gb: float = 40.0
    instance: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    progress: list[str] = field(default_factory=list)
    log: str = ""

    @property
    def machine(self) -> int:
        """Of the offer."""
        return self.offer.machine_id

    def run(self) -> tuple[Judgement, float]:
        """What became of the machine, and what it cost in USD; afterwards nothing of it is rented, or the judgement says so.

        Raises:
            RunError: the journal cannot be written; what was rented has been destroyed.
        """
        rate = prices.rate_of(self.offer, self.disk_gb, requests.LISTED_DISK_GB)
        if not self.fleet.purse.set_aside(self.machine, rate.until(self.fleet.caps.rental_s), self.fleet.stop):
            return Judgement(self.fleet.why if self.fleet.stop.is_set() else "cap-money"), 0.0
        began = time.monotonic()
        try:
            self.fleet.opened(self.machine, rate.usd_per_hour, rate.usd_once)
            judgement = self._judged(rate)
        except BaseException:
            # Whatever it is (a fault of ours too), the rental ends before it goes on.
            self._end(began)
            raise
        ended, usd = self._end(began, judgement)
        # What needs no machine comes when none is paid for any more.
        return (ended.later() if ended.later else ended), usd

    def _judged(self, rate: prices.Rate) -> Judgement:
        try:
            secret = self.tester.new_secret()
            claim = claim_of(self.offer)
            self._rent(secret, claim, rate)
            there = self._wait()
            return self._test(there, secret, claim)
        except Ends as end:
            return Judgement(end.code, end.text)
        except LaunchError as fault:
            return Judgement(code_of(fault), fault.message)

    def _rent(self, secret: bytes, claim: Claim, rate: prices.Rate) -> None:
        """Send the creation, once; where its answer is lost the label tells what it made."""
        fleet, mark = self.fleet, Mark(self.fleet.run, self.machine, self.fleet.until)
        onstart = self.tester.start_command(secret, claim, fleet.caps.test_s)
        launch = requests.Launch(self.image, onstart, self.disk_gb)
        if fleet.stop.is_set():
            raise Ends(fleet.why)
        fleet.write(journals.Renting(self.machine, self.offer.id, str(mark), rate.usd_per_hour))
        try:
            self.instance = fleet.session.create(self.offer.id, launch, str(mark))
        except vast_api.VastRefused as refused:
            raise Ends(
                "offer-gone" if "no_such_ask" in f"{refused.code} {refused.text}" else code_of(refused), refused.message
            ) from None
        except http.NoAnswer as lost:
            self.instance = self._made(mark)
            if not self.instance:
                raise Ends("create-unanswered", lost.message) from None
        fleet.write(journals.Rented(self.machine, self.instance))
        fleet.rented(self.machine, self.instance)
        fleet.say(f"machine {self.machine}: rented as instance {self.instance} for {self.offer.usd_per_hour:.4f} USD/h")

    def _made(self, mark: Mark) -> int:
        """The instance that an unanswered creation made; 0 where none comes up."""
        until = time.monotonic() + self.fleet.pace.create_s
        while True:
            try:
                for each in self.fleet.session.instances():
                    # The time in a label has no fractions of a second.
                    if each.mark and (each.mark.run, each.mark.machine) == (mark.run, mark.machine):
                        return each.id
            except LaunchError as fault:
                self.fleet.say(f"machine {self.machine}: {fault.message}")
            if time.monotonic() >= until or self.fleet.stop.wait(self.fleet.pace.poll_s):
                return 0

    def _wait(self) -> Instance:
        """Until the container runs and can be reached.

        Raises:
            Ends: it never will, or not in time.
        """
        began, ran = time.monotonic(), None
        pace = self.fleet.pace
        while True:
            there = self._look(began)
            waited = time.monotonic() - began
            if there and there.status == "running":
                ran = waited if ran is None else ran
                if there.address and there.ports and there.ports.get(f"{PORT}/tcp"):
                    self.seconds["load"] = waited
                    return there
                if waited - ran > pace.port_s:
                    raise Ends(
                        "port-not-mapped" if there.address else "no-address", f"ports: {sorted(there.ports or ())}"
                    )
            elif waited > self.fleet.caps.load_s:
                state = f"{there.status or 'created'}: {there.message}" if there else "not listed"
                raise Ends("load-timeout", f"after {waited:.0f} s it is {state}")
            if self.fleet.stop.wait(pace.poll_s):
                raise Ends(self.fleet.why)

    def _look(self, began: float) -> Instance | None:
        """The instance as it is listed; None where it is not listed yet, or the account cannot be listed for a while.

        Raises:
            Ends: it never will run, or costs more than was agreed.
        """
        try:
            there = self.fleet.look(self.instance)
        except vast_api.KeyRefused as refused:
            raise Ends("key-refused", refused.message) from None
        except LaunchError as fault:
            if time.monotonic() - began > self.fleet.caps.load_s:
                raise Ends(code_of(fault), fault.message) from None
            return None
        if there is None:
            if self.fleet.listed_after(began + self.fleet.pace.listed_s):
                raise Ends("instance-vanished")
            return None
        self._still_good(there)
        return there

    def _still_good(self, there: Instance) -> None:
        if why := self.fleet.refused_increase(self.instance):
            raise Ends("price-increase", why)
        if there.usd_per_hour is not None and there.usd_per_hour > self._agreed() * _ROUNDING:
            raise Ends("price-differs", f"{there.usd_per_hour:.4f} USD/h, expected at most {self._agreed():.4f}")
        if there.dead:
            raise Ends(failures.of_state(there.status), there.message)
        if there.broken and there.status != "running":
            raise Ends(failures.of_message(there.message), there.message)

    def _agreed(self) -> float:
        return prices.rate_of(self.offer, self.disk_gb, requests.LISTED_DISK_GB).usd_per_hour

    def _test(self, there: Instance, secret: bytes, claim: Claim) -> Judgement:
        caps, began = self.fleet.caps, time.monotonic()
        # What a tester still has to install is a part of loading: what loading has left of its time is there for it.
        connect_s = _CONNECT_S + min(self.tester.setup_s, max(0.0, caps.load_s - self.seconds.get("load", 0.0)))
        total_s = connect_s + PROOF_S + caps.test_s
        deadlines = Deadlines(connect_s, caps.silence_s, total_s, caps.test_s)
        port = (there.ports or {})[f"{PORT}/tcp"]
        lost: list[Ends] = []

        def stopped() -> bool:
            """Asked by the tester every second: looks at the instance too, so that one that died does not have to be waited for."""
            if not lost:
                try:
                    seen = self.fleet.look(self.instance)
                    if seen is None:
                        raise Ends("instance-vanished")
                    self._still_good(seen)
                except Ends as end:
                    lost.append(end)
                except LaunchError:
                    pass  # the account is silent for a while; the machine is not
            return bool(lost) or self.fleet.stop.is_set()

        found = self.tester.judge(there.address, port, secret, claim, deadlines, self._heard, stopped)
        self.seconds["tests"] = time.monotonic() - began
        if lost and failures.outcome_of(found.code) == "inconclusive":
            raise lost[0]
        if self.fleet.stop.is_set() and failures.outcome_of(found.code) == "inconclusive":
            raise Ends(self.fleet.why)
        return found

    def _heard(self, line: str) -> None:
        """A line of progress; no machine fills the memory of this side."""
        if len(self.progress) < _MOST_LINES:
            self.progress.append(http.printable(line))
            self.fleet.say(f"machine {self.machine}: {self.progress[-1]}")

    def _end(self, began: float, judgement: Judgement | None = None) -> tuple[Judgement, float]:
        """Destroy whatever carries this rental's label; what a lost answer made too."""
        fleet = self.fleet
        judgement = judgement or Judgement("tester-crashed")
        if self.instance and failures.outcome_of(judgement.code) != "verified":
            self._keep_log()
        known = (self.instance,) if self.instance else ()
        self._note(journals.Destroying(self.machine, known))

        def mine(each: Ours) -> bool:
            return each.run == fleet.run and each.machine == self.machine

        removed = remove(
            fleet.session, mine, known=known, tries=fleet.pace.destroy_tries, wait_s=fleet.pace.destroy_wait_s
        )
        usd = fleet.closed(self.machine)
        self.seconds["rented"] = time.monotonic() - began
        if removed.left or (removed.why and not self.instance):
            self._note(journals.Left(self.machine, removed.left, removed.why))
            which = ", ".join(map(str, removed.left)) or "whatever has this rental's label"
            fleet.say(f"machine {self.machine}: NOT DESTROYED: instance {which}: {removed.why}; it may be billed")
            return replace(
                judgement,
                later=None,
                code="destroy-unverified",
                text=f"instance {which}: {removed.why}; before that: {judgement.code}",
            ), usd
        self._note(journals.Destroyed(self.machine, removed.gone, self.seconds["rented"], usd))
        return judgement, usd

    def _note(self, entry: journals.Entry) -> None:
        """Into the journal, where that can be written: a full disk is no reason to leave a machine rented."""
        try:
            self.fleet.write(entry)
        except RunError as fault:
            self.fleet.say(f"machine {self.machine}: {fault.message}")

    def _keep_log(self) -> None:
        """The end of the container's log, where it can be had at once: the rental is paid for while we wait."""
        try:
            self.log = self.fleet.session.log(self.instance)
        except HpcacceptError as fault:
            self.log = f"(no log: {fault.message})\n"


#: That testers listen at inside.
PORT = requests.Launch("", "").port
_MOST_LINES = 2000


def claim_of(offer: Offer) -> Claim:
    """What a tester is held to."""
    total = offer.total_vram_mib
    return Claim(
        offer.machine_id, offer.gpu_name, offer.num_gpus, total / offer.num_gpus if total else None, dict(offer.numbers)
    )


def code_of(fault: LaunchError) -> str:
    """The code for an answer of Vast.ai that ends a rental."""
    if isinstance(fault, vast_api.QuotaSpent):
        return "quota-spent"
    if isinstance(fault, vast_api.KeyRefused):
        return "key-refused"
    if isinstance(fault, vast_api.VastRefused):
        return "create-refused"
    return "throttled" if isinstance(fault, vast_api.Throttled) else "api-silent"


def keep_evidence(rental: Rental, judgement: Judgement, folder: Path) -> None:
    """``progress.log``, ``container.log`` and ``transcript.json`` of a machine, readable by their owner alone."""
    import json

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    texts = {"progress.log": "\n".join([*rental.progress, ""]) if rental.progress else "", "container.log": rental.log}
    if judgement.transcript is not None:
        texts["transcript.json"] = json.dumps(judgement.transcript, indent=1, sort_keys=True) + "\n"
    for name, text in texts.items():
        if text:
            file = folder / name
            file.touch(0o600)
            file.write_text(text, "utf-8")
