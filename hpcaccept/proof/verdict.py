"""What is known of a machine that may lie: verified, refuted with a reason, or inconclusive with a cause that is nobody's guilt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["verified", "refuted", "inconclusive"]

#: Why a prover is refuted …
Reason = Literal[
    "other-cells",  # it answers for other cells than asked
    "malformed",  # an answer that no honest prover gives
    "not-committed",  # what it shows is not what it committed to: forged path, other root, root changed afterwards
    "wrong-result",  # committed to something that does not follow from the challenge
    "late",  # below the floor of the claimed class, on the client's clock
    "faster-than-peak",  # no part of the claimed class can do that
    "oversize",  # it sends more than it was asked for
    "memory-late",  # answers of memory come as late as if it were computed anew
    "",
]
#: … and why nothing can be said.
Cause = Literal["network", "timeout", "unsupported", ""]


@dataclass(frozen=True)
class ProofVerdict:
    """About one GPU and one question. Never "is an H100": a throughput that was reached behind an address.

    Attributes:
        subject: ``gpu 0``, ``memory of gpu 0``.
        outcome: of the three.
        reason: when refuted.
        cause: when inconclusive.
        text: a sentence.
        rate_ops: int8 operations per second on the client's clock; 0 where none was measured.
    """

    subject: str
    outcome: Outcome
    text: str
    reason: Reason = ""
    cause: Cause = ""
    rate_ops: float = 0.0

    def __post_init__(self) -> None:
        """Raise ValueError for a refutation without a reason, or an open question without a cause."""
        if (self.outcome == "refuted") != bool(self.reason) or (self.outcome == "inconclusive") != bool(self.cause):
            raise ValueError(f"found outcome {self.outcome} with reason {self.reason!r} and cause {self.cause!r}")
