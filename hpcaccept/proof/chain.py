"""The work: X[t+1] = q(X[t] · W) on int8, with a mark of row and segment; recomputed here exactly for a few rows.

``q`` takes bits 8 to 15 of the 32-bit sum, as a signed byte. Why these:

* not the lowest byte: modulo 256 a product is linear, X[S] = X[0] · W^S, and log S multiplications would do for S steps. Cutting off the low
  byte adds a rounding error to every element of every step, which the next step spreads over the whole row (learning with rounding);
* not the highest: a sum of n products has a standard deviation of 5,461 · √n, and a fixed part of its range would collapse to few values. Modulo
  2^16 the sum wraps around several times, so that all 256 values stay equally likely.

The mark: after each step the first 32 bytes of a row are XORed with a key of (segment, row). Without it a prover that breaks the chain once could
put the same row into all places of one checkpoint, or one checkpoint in the place of another, and have every later segment right at the cost of a single
row. With it equal rows differ after one step and share nothing after two.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.errors import HpcacceptError

if TYPE_CHECKING:
    import numpy.typing as npt

    from hpcaccept.proof.stream import Bytes

    Floats = npt.NDArray[np.float32]

#: Bits of a sum that are cut off.
SHIFT = 8
#: Bytes of a row that carry its mark.
MARK = 32
#: Products that are added in float32: 1024 · 128² = 2^24, up to which every whole number has a float32 of its own.
_EXACT = 1024
#: Rows of a thread: fewer make a product wait for memory.
_FEWEST_ROWS = 16
#: Largest weight of the checksums: 512 · 128 · 251 is below 2^24.
_CHECK = 251


class Weights:
    """W, prepared for exact products with few rows: float32, in slices short enough that no sum is rounded."""

    def __init__(self, matrix: Bytes) -> None:
        """``matrix``: int8[n, n], column j holds the factors of output j."""
        self.width = len(matrix)
        self._slices: list[Floats] = [
            matrix[at : at + _EXACT].astype(np.float32) for at in range(0, self.width, _EXACT)
        ]
        self._checks = np.arange(self.width, dtype=np.int64) % _CHECK + 1
        self._sums = np.concatenate([self._checked(part) for part in self._slices])

    def product(self, left: Bytes) -> npt.NDArray[np.int32]:
        """int32[k, n] = left · W, exact.

        Raises:
            HpcacceptError: this machine's BLAS is not exact; nothing is said of the prover.
        """
        wide = left.astype(np.float32)
        out = np.zeros(left.shape, np.int32)
        for index, part in enumerate(self._slices):
            out += (wide[:, index * _EXACT : (index + 1) * _EXACT] @ part).astype(np.int32)
        if not np.array_equal(out @ self._checks, left.astype(np.int64) @ self._sums):
            raise HpcacceptError(
                "The matrix product of numpy on this machine is not exact, so nothing can be verified with it.",
                "Use numpy with OpenBLAS or MKL, as pip installs it.",
            )
        return out

    def _checked(self, part: Floats) -> npt.NDArray[np.int64]:
        """int64[rows of ``part``] = part · checks; each partial sum is exact in float32."""
        step, checks = _EXACT // 2, self._checks.astype(np.float32)
        total = np.zeros(len(part), np.int64)
        for at in range(0, self.width, step):
            total += (part[:, at : at + step] @ checks[at : at + step]).astype(np.int64)
        return total


def quantized(sums: npt.NDArray[np.int32]) -> Bytes:
    """``q``: int8 of bits 8 to 15."""
    return (sums >> SHIFT).astype(np.int8)


def advance(rows: Bytes, weights: Weights, marks: Bytes, steps: int, *, threads: int = 1) -> Bytes:
    """int8[k, n]: the rows after so many steps of one segment.

    Args:
        rows: int8[k, n].
        weights: of the challenge.
        marks: int8[k, 32], the key of each row in its segment.
        steps: at least 1.
        threads: that share the rows. More than one pays where BLAS itself has one (``OPENBLAS_NUM_THREADS=1``): its own threads wait for each
            other at every product, which costs ten times as much where anything else runs beside them.
    """
    parts = min(threads, len(rows) // _FEWEST_ROWS)
    if parts > 1:
        with ThreadPoolExecutor(parts) as pool:
            shares = zip(np.array_split(rows, parts), np.array_split(marks, parts), strict=True)
            return np.concatenate(list(pool.map(lambda share: advance(share[0], weights, share[1], steps), shares)))
    for _ in range(steps):
        rows = quantized(weights.product(rows))
        rows[:, :MARK] ^= marks
    return rows
