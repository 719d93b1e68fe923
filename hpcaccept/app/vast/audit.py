"""Judges a transcript again, without an account and without the machine: whether what it states follows from what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.bounded import read_bytes
from hpcaccept.errors import StoreError, UsageError
from hpcaccept.proof.judge import judge, overall
from hpcaccept.proof.transcript import MOST_BYTES, Transcript, loads, macs_of
from hpcaccept.proof.verdict import ProofVerdict
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.proof.verdict import Outcome

_EXIT = {"verified": 0, "refuted": 1, "inconclusive": 3}
_GIB = 1 << 30
#: What no transcript can show, printed with each.
LIMITS = (
    "It shows a throughput that was reached behind one address at one time: not a model, an owner, a place, exclusive use, or that no other machine did the work.",
    "Times are those of the transcript's writer; nothing in it is signed.",
)


@dataclass(frozen=True)
class Audit:
    """What became of a transcript.

    Attributes:
        transcript: as read.
        verdicts: judged here.
        macs: multiply-adds that were recomputed for that.
    """

    transcript: Transcript
    verdicts: tuple[ProofVerdict, ...]
    macs: float

    @property
    def outcome(self) -> Outcome:
        """Of the machine."""
        return overall(self.verdicts)

    @property
    def exit_code(self) -> int:
        """0 verified, 1 refuted, 3 neither."""
        return _EXIT[self.outcome]


def read_transcript(file: Path) -> Transcript:
    """A transcript from a file that may come from anybody.

    Raises:
        UsageError: the file cannot be read, or is larger than any transcript.
        StoreError: it is none, of another version, or cannot be judged.
    """
    try:
        raw = read_bytes(file, follow=True, most=MOST_BYTES)
    except OSError as fault:
        raise UsageError(f"Cannot read {file}: {fault.strerror}.") from None
    return loads(raw, str(file))


def audit(file: Path, *, threads: int = 1) -> Audit:
    """Recompute every opened cell, and hold the verdicts that stand in the file to what follows.

    Args:
        file: the transcript.
        threads: that recompute (``hpcaccept.proof.chain.advance``).

    Raises:
        UsageError: the file cannot be read.
        StoreError: it is no transcript, or its verdicts do not follow from its evidence: it was changed after it was written.
    """
    transcript = read_transcript(file)
    verdicts = judge(transcript, threads=threads)
    if transcript.verdicts and _results(transcript.verdicts) != _results(verdicts):
        found, expected = next(
            (a, b)
            for a, b in zip(_padded(transcript.verdicts, verdicts), _padded(verdicts, transcript.verdicts), strict=True)
            if a != b
        )
        raise StoreError(
            f"{file} was changed after it was written, or another hpcaccept wrote it: it says {found!r}, expected {expected!r} from its own evidence."
        )
    macs = sum(map(macs_of, transcript.proofs)) + sum(map(macs_of, transcript.memory))
    return Audit(transcript, verdicts, macs)


def render(audit: Audit) -> str:
    """For people; text of the machine is made harmless."""
    transcript = audit.transcript
    lines = [
        f"Machine {safe(transcript.machine) or 'without a name'}, {safe(transcript.created_at)}: {audit.outcome}.",
        *(f"  {safe(v.subject)}: {v.outcome}{_why(v)}. {safe(v.text)}" for v in audit.verdicts),
        *(
            f"  {'sent by' if t.direction == 'up' else 'sent to'} the machine: "
            + (
                f"{t.size_bytes / 1e6:.1f} MB in {t.seconds:.2f} s, {t.rate_bytes / 1e6:.1f} MB/s"
                if not t.failure
                else f"not measured ({t.failure})"
            )
            for t in transcript.transfers
        ),
        f"Recomputed here: {audit.macs:.2e} multiply-adds.",
        *LIMITS,
        "Claimed by the host, not measured:",
        *(f"  {safe(name)}: {safe(text)}" for name, text in transcript.claimed.items()),
    ]
    return "\n".join(lines)


def _why(verdict: ProofVerdict) -> str:
    return f" ({verdict.reason or verdict.cause})" if verdict.reason or verdict.cause else ""


def _results(verdicts: tuple[ProofVerdict, ...]) -> list[str]:
    """Words may change between versions of hpcaccept, results may not."""
    return [f"{v.subject[:60]}: {v.outcome}{_why(v)}" for v in verdicts]


def _padded(one: tuple[ProofVerdict, ...], other: tuple[ProofVerdict, ...]) -> list[str]:
    return [*_results(one), *["nothing"] * (len(other) - len(one))]
