"""The cells that must be shown, and whether they are what follows from the challenge.

The client draws them after it has the roots, so that nobody could compute only those. A cell is one row over one segment: shown are the row at both
of its checkpoints, with the path to the root that was committed *then*; a root is never taken from the answer.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.proof import merkle, stream
from hpcaccept.proof.chain import advance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.proof.challenge import Challenge
    from hpcaccept.proof.stream import Bytes
    from hpcaccept.proof.verdict import Reason

#: Cells opened per GPU: a prover who skipped a tenth of them is found with a probability of 99.9 %.
DEFAULT_OPENINGS = 64
#: Openings that an auditor recomputes, and multiply-adds that they may cost: k · S · n².
MOST_OPENINGS = 1024
MOST_VERIFYING_MACS = float(1 << 40)

Cell = tuple[int, int]


class Unproven(Exception):
    """The answer does not show what was committed to, and why: the prover is refuted.

    Attributes:
        reason: which kind.
    """

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True)
class Opening:
    """One cell as the prover shows it.

    Attributes:
        segment: from 0.
        row: from 0.
        start: base64 of the row before the segment; empty for the first segment, whose rows are the verifier's own.
        start_path: base64 of the siblings of ``start``, one after the other.
        end: base64 of the row after the segment.
        end_path: of ``end``.
    """

    segment: int
    row: int
    start: str
    start_path: str
    end: str
    end_path: str


def draw(challenge: Challenge, seed: bytes, roots: Sequence[str], count: int) -> list[Cell]:
    """Different cells, uniformly from all; all of them where there are not more.

    They follow from the client's seed and the roots, so that a reader of the transcript sees that they were not picked by hand.
    """
    key = stream.key_of(seed, "openings|" + "".join(roots))
    return [divmod(cell, challenge.rows) for cell in stream.chosen(key, challenge.cells, count)]


def verify(
    challenge: Challenge, roots: Sequence[str], cells: Sequence[Cell], openings: Sequence[Opening], *, threads: int = 1
) -> None:
    """Return where every cell is right.

    Args:
        challenge: that was sent.
        roots: hexadecimal, one for each segment, that were committed to before the cells were drawn.
        cells: that were asked for.
        openings: the answer, in the same order.
        threads: as ``chain.advance``.

    Raises:
        Unproven: something is not as it was committed to, or does not follow from the challenge.
    """
    committed = check_roots(challenge, roots)
    if [(o.segment, o.row) for o in openings] != list(cells):
        raise Unproven("other-cells", "The answer shows other cells than those that were asked for.")
    shown = [_shown(challenge, committed, opening) for opening in openings]
    ends = advance(
        np.stack([start for start, _ in shown]),
        challenge.weights(),
        challenge.marks(cells),
        challenge.segment,
        threads=threads,
    )
    wrong = [
        cell for cell, end, (_, claimed) in zip(cells, ends, shown, strict=True) if not np.array_equal(end, claimed)
    ]
    if wrong:
        segment, row = wrong[0]
        raise Unproven(
            "wrong-result",
            f"{len(wrong)} of {len(cells)} opened cells are not what follows from the challenge; the first is row {row}, segment {segment}.",
        )


def check_roots(challenge: Challenge, roots: Sequence[str]) -> list[bytes]:
    """The committed roots as bytes.

    Raises:
        Unproven: another number of them than segments, or no digests.
    """
    if len(roots) != challenge.segments:
        raise Unproven("malformed", f"Found {len(roots)} roots, expected {challenge.segments}.")
    try:
        committed = [bytes.fromhex(root) for root in roots]
    except ValueError:
        committed = []
    if any(len(root) != merkle.DIGEST_BYTES for root in committed) or not committed:
        raise Unproven("malformed", "A root is not 64 hexadecimal digits.")
    return committed


def _shown(challenge: Challenge, roots: Sequence[bytes], opening: Opening) -> tuple[Bytes, Bytes]:
    """The rows at both ends, each seen to be the one that was committed to."""
    segment = opening.segment
    end = _row(challenge, opening.end)
    _check_path(challenge, roots[segment], segment + 1, opening.row, end, opening.end_path)
    if segment == 0:
        if opening.start or opening.start_path:
            raise Unproven(
                "malformed", "A cell of the first segment shows a first row, which is not the prover's to choose."
            )
        return challenge.start_rows([opening.row])[0], end
    start = _row(challenge, opening.start)
    _check_path(challenge, roots[segment - 1], segment, opening.row, start, opening.start_path)
    return start, end


def _row(challenge: Challenge, text: str) -> Bytes:
    content = unpacked(text)
    if len(content) != challenge.width:
        raise Unproven("malformed", f"A shown row has {len(content)} bytes, expected {challenge.width}.")
    return np.frombuffer(content, np.int8)


def unpacked(text: str) -> bytes:
    """Bytes of base64.

    Raises:
        Unproven: it is none.
    """
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Unproven("malformed", "A shown row or path is not base64.") from None


def _check_path(challenge: Challenge, root: bytes, checkpoint: int, row: int, content: Bytes, path: str) -> None:
    digest = merkle.leaf(checkpoint, row, content.tobytes())
    check_path(root, digest, row, challenge.rows, path, f"row {row} at checkpoint {checkpoint}")


def check_path(root: bytes, digest: bytes, index: int, size: int, path: str, what: str) -> None:
    """Return where a leaf leads to the root.

    Raises:
        Unproven: it does not.
    """
    raw = unpacked(path)
    siblings = [raw[at : at + merkle.DIGEST_BYTES] for at in range(0, len(raw), merkle.DIGEST_BYTES)]
    try:
        found = merkle.root_of(digest, index, size, siblings)
    except ValueError as fault:
        raise Unproven("malformed", f"The path of {what} is not one: {fault}.") from None
    if found != root:
        raise Unproven("not-committed", f"What is shown as {what} is not what was committed to.")
