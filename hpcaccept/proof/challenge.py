"""What one GPU has to compute, and how large it must be. A nonce and five numbers fix all of it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.proof import stream
from hpcaccept.proof.chain import MARK, Weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.proof.stream import Bytes

#: Chain lengths and sizes that a prover is asked for, and that a transcript may name.
WIDTHS = (64, 16384)
ROWS = (32, 1 << 26)
MOST_STEPS = 1 << 20
MOST_SEGMENTS = 64
#: Bytes of X that a proof of speed may have; memory challenges are larger and commit to no rows.
MOST_STATE_BYTES = 1 << 30
#: Of a proof that takes this long at the claimed peak: network jitter is small beside it.
DEFAULT_SECONDS = 5.0
#: Width of a proof of speed: 2n operations for each element.
PROOF_WIDTH = 4096
_ROWS, _SEGMENTS = 65536, 16
_SHORTEST_SEGMENT = 32


@dataclass(frozen=True)
class Challenge:
    """X[0] and W follow from the nonce; X[t+1] = q(X[t] · W), marked; a checkpoint after every segment.

    Attributes:
        nonce: 32 fresh bytes as hexadecimal digits, another one for every GPU and round.
        rows: of X. They are independent of each other.
        width: of X, n: W is n × n. A multiple of 32.
        steps: T, of the whole chain.
        segment: S, steps between two checkpoints; divides ``steps``.
    """

    nonce: str
    rows: int
    width: int
    steps: int
    segment: int

    def __post_init__(self) -> None:
        """Raise ValueError for what no honest client asks: a prover and an auditor both read it from elsewhere."""
        if len(self.nonce) != 2 * stream.NONCE_BYTES or not set(self.nonce) <= set("0123456789abcdef"):
            raise ValueError(f"found a nonce of {len(self.nonce)} characters, expected 64 hexadecimal digits")
        _within("width", self.width, *WIDTHS)
        _within("rows", self.rows, *ROWS)
        _within("segment", self.segment, 1, MOST_STEPS)
        _within("steps", self.steps, self.segment, MOST_STEPS)
        if self.width % stream.BLOCK_BYTES:
            raise ValueError(f"found width {self.width}, expected a multiple of {stream.BLOCK_BYTES}")
        if self.steps % self.segment or self.segments > MOST_SEGMENTS:
            raise ValueError(
                f"found {self.steps} steps in segments of {self.segment}, expected 1 to {MOST_SEGMENTS} whole ones"
            )

    @property
    def segments(self) -> int:
        """Checkpoints that are committed to; X[0] is none, the verifier makes it itself."""
        return self.steps // self.segment

    @property
    def cells(self) -> int:
        """Pairs of segment and row: what can be opened."""
        return self.segments * self.rows

    @property
    def ops(self) -> float:
        """Multiplications and additions of the products, 2 · rows · n² · T."""
        return 2.0 * self.rows * self.width**2 * self.steps

    def key(self, label: str) -> stream.Key:
        """Of the stream ``start``, ``weights`` or ``marks``."""
        return stream.key_of(bytes.fromhex(self.nonce), label)

    def start_rows(self, rows: Sequence[int]) -> Bytes:
        """int8[k, n]: rows of X[0]."""
        key = self.key("start")
        return np.concatenate([stream.rows(key, row, 1, self.width) for row in rows])

    def marks(self, cells: Sequence[tuple[int, int]]) -> Bytes:
        """int8[k, 32]: keys of (segment, row)."""
        key = self.key("marks")
        return np.concatenate([stream.rows(key, segment * self.rows + row, 1, MARK) for segment, row in cells])

    def weights(self) -> Weights:
        """W; made once for the nonces that are in use (268 MB of float32 a GiB of int8)."""
        return _weights(self.nonce, self.width)

    def verifying_macs(self, openings: int) -> float:
        """Multiply-adds of a verifier: k · S · n²."""
        return float(openings) * self.segment * self.width**2

    def anew(self, nonce: bytes) -> Challenge:
        """The same work from another nonce."""
        return replace(self, nonce=nonce.hex())


@functools.lru_cache(maxsize=1)
def _weights(nonce: str, width: int) -> Weights:
    return Weights(stream.rows(stream.key_of(bytes.fromhex(nonce), "weights"), 0, width, width))


def sized(
    nonce: bytes, rate_ops: float, *, seconds: float = DEFAULT_SECONDS, rows: int = _ROWS, width: int = PROOF_WIDTH
) -> Challenge:
    """A challenge of at least so many seconds at a rate, in up to 16 segments.

    Args:
        nonce: 32 fresh bytes.
        rate_ops: operations per second that the GPU may reach at most, of int8: its peak.
        seconds: at that rate.
        rows: of X.
        width: of X.
    """
    steps = max(1, round(seconds * rate_ops / (2.0 * rows * width**2)))
    segment = max(_SHORTEST_SEGMENT, -(-steps // _SEGMENTS))
    segment = min(segment, MOST_STEPS // _SEGMENTS)
    return Challenge(nonce.hex(), rows, width, segment * min(_SEGMENTS, max(1, -(-steps // segment))), segment)


def survival(openings: int, skipped: float) -> float:
    """Probability that a prover who skipped a share of the cells is not found: at most (1 - f)^k.

    What is saved is at most f and two steps of each segment (``chain``): equal rows differ after one step and share nothing after two.
    """
    return float((1.0 - skipped) ** openings)


def _within(name: str, value: int, lower: int, upper: int) -> None:
    if not lower <= value <= upper:
        raise ValueError(f"found {name} {value}, expected {lower} to {upper}")
