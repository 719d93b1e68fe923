"""What ``verify`` asks of the tester on a rented machine: a secret made for this rental, a start command, and one conversation.

Everything else (challenge, commitment, openings, transcript; the tests) belongs to whoever implements this. What comes from the machine is a claim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Claim:
    """What the offer says of the machine; the tests are held to it.

    Attributes:
        machine: id at the marketplace.
        gpu_name: model.
        num_gpus: GPUs of the offer.
        vram_mib: of each; None where it is not listed.
        numbers: every other number of the listing.
    """

    machine: int
    gpu_name: str
    num_gpus: int
    vram_mib: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Deadlines:
    """Seconds on this side's clock.

    Attributes:
        connect_s: until the tester must answer at all.
        silence_s: longest time without an answer about progress, and until its first line.
        total_s: for everything, from the first connection on.
        suite_s: of it for the suite, from its start on.
    """

    connect_s: float
    silence_s: float
    total_s: float
    suite_s: float = float("inf")


@dataclass(frozen=True)
class Judgement:
    """What came of it.

    Attributes:
        code: ``verified``, or one of ``provider.vast.failures``.
        text: what was found, in a sentence; made printable by whoever shows it.
        proved: what holds by this side's own computation, by name.
        claimed: what the machine says of itself.
        transcript: what anybody can verify again; None where there is none.
        later: gives the final judgement, without the machine: what takes long is not paid for. None: this is it.
    """

    code: str
    text: str = ""
    proved: Mapping[str, Any] = field(default_factory=dict)
    claimed: Mapping[str, Any] = field(default_factory=dict)
    transcript: Mapping[str, Any] | None = None
    later: Callable[[], Judgement] | None = None


class Tester(Protocol):
    """One kind of tester.

    Attributes:
        setup_s: longest time that it may take on a machine until it answers, beyond starting; part of the time for loading.
    """

    setup_s: float

    def new_secret(self) -> bytes:
        """What only this rental's client and what follows from it know; used for no other rental and never written down."""
        ...

    def start_command(self, secret: bytes, claim: Claim, test_s: float) -> str:
        """Shell text that starts the tester in the image; at most ``requests.MOST_ONSTART`` characters.

        The marketplace and the host can read it: it holds only what the machine must know of the secret.
        """
        ...

    def judge(
        self,
        address: str,
        port: int,
        secret: bytes,
        claim: Claim,
        deadlines: Deadlines,
        say: Callable[[str], None],
        stopped: Callable[[], bool],
    ) -> Judgement:
        """Talk to the tester until all is measured, or a deadline is over; never raises for what the machine does.

        Args:
            address: public, of the machine.
            port: outside.
            secret: of this rental.
            claim: of the offer.
            deadlines: on this side's clock.
            say: called with each new line of progress; untrusted text.
            stopped: true once the run is to end; it is asked at least every second.
        """
        ...
