"""Whether the claimed memory is there. A buffer that costs seconds to make is read whole, with a vector that nobody could know before.

The buffer is X after one segment of a chain with as many rows as fit. A probe is a fresh vector v: the prover commits to X · v of all rows before a
deadline that is far shorter than making the buffer, and shows groups of them that are drawn afterwards. What is not resident must be computed again,
G · n² multiply-adds for each row. Evidence, not proof: it may be resident in another memory of the machine, or of another machine. A rate of
reading above what PCIe carries makes the memory of the GPU the likely place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.proof import merkle, stream
from hpcaccept.proof.chain import advance
from hpcaccept.proof.challenge import Challenge
from hpcaccept.proof.openings import Unproven, check_path, unpacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from hpcaccept.proof.stream import Bytes

#: Rows whose sums are one leaf: 256 bytes.
GROUP = 64
#: Checkpoint number of the leaves of a probe: no proof of speed has so many.
_CHECKPOINT = 1 << 32
_WIDTH, _STEPS = 4096, 32
#: A group costs 64 rows to recompute.
DEFAULT_GROUPS = 4


@dataclass(frozen=True)
class GroupOpening:
    """Sums of 64 rows as the prover shows them.

    Attributes:
        group: from 0.
        sums: base64 of int32, little-endian; the last group may have fewer.
        path: base64 of the siblings.
    """

    group: int
    sums: str
    path: str


def filling(nonce: bytes, size_bytes: int, *, width: int = _WIDTH, steps: int = _STEPS) -> Challenge:
    """A chain whose last X has at most so many bytes."""
    return Challenge(nonce.hex(), max(GROUP, size_bytes // width), width, steps, steps)


def probe_vector(probe: str, width: int) -> Bytes:
    """int8[n] of a probe's nonce."""
    return stream.rows(stream.key_of(bytes.fromhex(probe), "probe"), 0, 1, width).reshape(width)


def draw(challenge: Challenge, seed: bytes, root: str, count: int = DEFAULT_GROUPS) -> list[int]:
    """Different groups, drawn after the root was there."""
    return stream.chosen(stream.key_of(seed, f"groups|{root}"), groups_of(challenge), count)


def groups_of(challenge: Challenge) -> int:
    """Leaves of a probe."""
    return -(-challenge.rows // GROUP)


def leaves(sums: npt.NDArray[np.int32]) -> list[bytes]:
    """Of the sums of all rows."""
    content = memoryview(sums.astype("<i4").tobytes())
    size = 4 * GROUP
    return [
        merkle.leaf(_CHECKPOINT, group, content[at : at + size])
        for group, at in enumerate(range(0, len(content), size))
    ]


def verify(
    challenge: Challenge,
    probe: str,
    root: str,
    groups: Sequence[int],
    openings: Sequence[GroupOpening],
    *,
    threads: int = 1,
) -> None:
    """Return where every shown group was committed to and is what follows from challenge and probe.

    Raises:
        Unproven: it is not.
    """
    if [o.group for o in openings] != list(groups):
        raise Unproven("other-cells", "The answer shows other groups than those that were asked for.")
    try:
        committed = bytes.fromhex(root)
    except ValueError:
        raise Unproven("malformed", "A root is not 64 hexadecimal digits.") from None
    vector = probe_vector(probe, challenge.width).astype(np.int64)
    shown = [_shown(challenge, committed, opening) for opening in openings]
    rows = [row for group in groups for row in _rows_of(challenge, group)]
    made = advance(
        challenge.start_rows(rows),
        challenge.weights(),
        challenge.marks([(0, row) for row in rows]),
        challenge.segment,
        threads=threads,
    )
    if not np.array_equal(made.astype(np.int64) @ vector, np.concatenate(shown).astype(np.int64)):
        raise Unproven("wrong-result", "Sums over memory are not what follows from the challenge.")


def _rows_of(challenge: Challenge, group: int) -> range:
    return range(group * GROUP, min((group + 1) * GROUP, challenge.rows))


def _shown(challenge: Challenge, root: bytes, opening: GroupOpening) -> npt.NDArray[np.int32]:
    content = unpacked(opening.sums)
    expected = 4 * len(_rows_of(challenge, opening.group))
    if len(content) != expected:
        raise Unproven("malformed", f"A group has {len(content)} bytes, expected {expected}.")
    digest = merkle.leaf(_CHECKPOINT, opening.group, content)
    check_path(root, digest, opening.group, groups_of(challenge), opening.path, f"group {opening.group}")
    return np.frombuffer(content, "<i4")
