"""The prover's side of ``hpcaccept.proof.chain``, with torch: the same bytes as numpy's, on a GPU and on a CPU.

Products of int8 go through ``torch._int_mm`` (the matrix units of a GPU) where that is seen to be exact, else through float32 in slices of 1024
products, whose sums are whole numbers up to 2^24 and so exact in any order. All else is int64 arithmetic, which wraps around alike everywhere.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import numpy.typing as npt

    Tensor = Any

#: As in ``hpcaccept.proof.chain``; a test holds both to each other.
_BYTE, MARK, _EXACT = 1, 32, 1024
#: Philox4x64-10: multipliers and Weyl constants (Random123, ``philox.h``).
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10
_LOW = 0xFFFFFFFF
#: Values of the counter that are worked on at once: a dozen int64 of each are in memory.
_AT_ONCE = 1 << 20
#: Rows that are needed so that ``torch._int_mm`` takes them on a GPU: more than 16, a multiple of 8.
_FEWEST_ROWS = 32
#: Bytes of the sums (int32) of one block of rows.
_SUM_BYTES = 1 << 30


@dataclass(frozen=True)
class Work:
    """What a challenge asks, as numbers: this layer knows no transcript.

    Attributes:
        start: key of X[0], two words of 64 bits.
        weights: key of W.
        marks: key of the marks.
        rows: of X.
        width: n.
        segments: how many.
        segment: steps of each.
    """

    start: tuple[int, int]
    weights: tuple[int, int]
    marks: tuple[int, int]
    rows: int
    width: int
    segments: int
    segment: int


class Chain:
    """A challenge's W on a device, and the steps with it."""

    def __init__(self, work: Work, device: str) -> None:
        self.work, self.device = work, device
        self.exact = exact_product(device)
        matrix = random_rows(work.weights, range(work.width), work.width, device)
        # Transposed in memory: the only layout that cuBLAS takes for int8.
        self._factors = matrix.t().contiguous().t() if self.exact else matrix.float()

    def start(self, rows: range | list[int]) -> Tensor:
        """int8[k, n]: rows of X[0]."""
        return random_rows(self.work.start, rows, self.work.width, self.device)

    def marks(self, segment: int, rows: range | list[int]) -> Tensor:
        """int8[k, 32]: keys of these rows in a segment."""
        base = segment * self.work.rows
        shifted = (
            range(base + rows.start, base + rows.stop) if isinstance(rows, range) else [base + row for row in rows]
        )
        return random_rows(self.work.marks, shifted, MARK, self.device)

    def advance(self, x: Tensor, segment: int, rows: range | list[int]) -> None:
        """Take these rows through one segment, in place."""
        import torch

        marks = self.marks(segment, rows)
        sums = torch.empty((len(x), self.work.width), dtype=torch.int32, device=self.device)
        byte = sums.view(torch.int8).view(len(x), self.work.width, 4)[:, :, _BYTE]
        for _ in range(self.work.segment):
            self.multiply(x, sums)
            x.copy_(byte)  # bits 8 to 15 of each sum: one strided copy
            x[:, :MARK].bitwise_xor_(marks)

    def multiply(self, x: Tensor, out: Tensor) -> None:
        """``out``: int32[k, n] = x · W, exact."""
        import torch

        if self.exact:
            torch._int_mm(x, self._factors, out=out)
            return
        out.copy_(_in_slices(x, self._factors))

    def checkpoints(self, block: range) -> Iterator[Tensor]:
        """int8[k, n] of a block of rows after each segment; each is overwritten by the next one."""
        x = self.start(block)
        for segment in range(self.work.segments):
            self.advance(x, segment, block)
            yield x

    def blocks(self) -> list[range]:
        """The rows in blocks whose sums fit into a GiB; none is smaller than a GPU's product takes, but a single one."""
        at_once = max(_FEWEST_ROWS, _SUM_BYTES // (4 * self.work.width))
        starts = [at for at in range(0, self.work.rows, at_once) if at == 0 or self.work.rows - at >= _FEWEST_ROWS]
        return [range(a, b) for a, b in zip(starts, [*starts[1:], self.work.rows], strict=True)]

    def rows_at(self, rows: list[int]) -> Iterator[Tensor]:
        """int8[k, n]: some rows at X[0] and after each segment, computed anew: nothing has to be kept to open a cell."""
        padded = rows + rows[:1] * max(0, _FEWEST_ROWS - len(rows))
        x = self.start(padded)
        yield x[: len(rows)]
        for segment in range(self.work.segments):
            self.advance(x, segment, padded)
            yield x[: len(rows)]

    def filled(self) -> list[tuple[range, Tensor]]:
        """X after the last segment, block by block, to stay in memory."""
        found = []
        for block in self.blocks():
            x = self.start(block)
            for segment in range(self.work.segments):
                self.advance(x, segment, block)
            found.append((block, x))
        return found


def snapshot(x: Tensor) -> Callable[[], Tensor]:
    """What ``x`` is after the work queued so far; the call copies it to the host, beside work that is queued later, and may be made in another thread."""
    import torch

    kept = x.clone()
    if kept.device.type == "cpu":
        return lambda: kept
    made = torch.cuda.Event()
    made.record(torch.cuda.current_stream(kept.device))

    def fetch() -> Tensor:
        # A stream of its own: in the device's first one the copy would wait for the next segment, and that for the copy.
        aside = torch.cuda.Stream(kept.device)
        aside.wait_event(made)
        with torch.cuda.stream(aside):
            return kept.to("cpu")

    return fetch


def sums_with(memory: list[tuple[range, Tensor]], vector: npt.NDArray[np.int8], device: str) -> npt.NDArray[np.int32]:
    """int32[rows]: the product of all of the memory, on this device, with one vector, int8[n]; reads every byte once."""
    import torch

    factors = torch.zeros((8, len(vector)), dtype=torch.int8, device=device)
    factors[0] = torch.from_numpy(vector.copy()).to(device)
    columns = factors.t()
    exact = exact_product(device)

    def column(x: Tensor) -> Tensor:
        return (torch._int_mm(x, columns) if exact else _in_slices(x, columns.float()))[:, 0]

    # The host waits for the last one only: a GPU works on while sums travel.
    found: npt.NDArray[np.int32] = torch.cat([column(x) for _, x in memory]).cpu().numpy()
    return found


@functools.cache
def exact_product(device: str) -> bool:
    """True where ``torch._int_mm`` exists and gives the right sums of the largest and smallest factors there are.

    oneDNN saturates them on processors without VNNI; GPUs before compute capability 7.5 have no such product.
    """
    import torch

    size = 64
    left = torch.full((size, size), 127, dtype=torch.int8, device=device)
    left[::2] = -128
    right = torch.full((size, size), -128, dtype=torch.int8, device=device)
    right[::3] = 127
    try:
        found = torch._int_mm(left, right.t())
    except (RuntimeError, NotImplementedError):
        return False
    return bool(torch.equal(found.long(), _in_slices(left, right.t().float()).long()))


def _in_slices(left: Tensor, right: Tensor) -> Tensor:
    """int32[k, m]: ``left`` int8, ``right`` of whole numbers in float32; every partial sum is exact in float32."""
    import torch

    out = torch.zeros((left.shape[0], right.shape[1]), dtype=torch.int32, device=left.device)
    for at in range(0, left.shape[1], _EXACT):
        out += _ieee(left[:, at : at + _EXACT].float(), right[at : at + _EXACT]).to(torch.int32)
    return out


def _ieee(left: Tensor, right: Tensor) -> Tensor:
    """In float32 proper: TF32 and bf16 would cut factors of seven bits nowhere, but torch may be set to worse."""
    from hpcaccept.measure.device import open_device

    name = str(left.device)
    with open_device(name if left.device.index is not None or name == "cpu" else f"{name}:0").fp32_as("ieee"):
        return left @ right


def random_rows(key: tuple[int, int], rows: range | list[int], width: int, device: str) -> Tensor:
    """int8[k, width]: rows of the matrix that ``hpcaccept.proof.stream.rows`` makes from this key."""
    import torch

    each = width // 32
    if isinstance(rows, range):
        return random_blocks(key, rows.start * each, len(rows) * each, device).view(len(rows), width)
    starts = torch.tensor(rows, dtype=torch.int64, device=device) * each
    counters = starts[:, None] + torch.arange(each, dtype=torch.int64, device=device)
    return _blocks_at(key, counters.view(-1)).view(len(rows), width)


def random_blocks(key: tuple[int, int], first: int, count: int, device: str) -> Tensor:
    """int8[count, 32]: blocks of a stream one after the other."""
    import torch

    out = torch.empty((count, 32), dtype=torch.int8, device=device)
    for at in range(0, count, _AT_ONCE):
        part = out[at : at + _AT_ONCE]
        part.copy_(_blocks_at(key, torch.arange(first + at, first + at + len(part), dtype=torch.int64, device=device)))
    return out


def _blocks_at(key: tuple[int, int], indices: Tensor) -> Tensor:
    """int8[k, 32]: as numpy's Philox4x64-10 counts, whose block 0 is that of counter 1."""
    import torch

    return torch.stack(_philox(indices + 1, key), dim=1).view(torch.int8)


def _philox(counter: Tensor, key: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    zero = counter * 0
    a, b, c, d = counter, zero, zero, zero
    for index in range(_ROUNDS):
        k, m = (_signed(word + index * weyl) for word, weyl in zip(key, _WEYL, strict=True))
        (high_a, low_a), (high_c, low_c) = _product(a, _MULTIPLIERS[0]), _product(c, _MULTIPLIERS[1])
        a, b, c, d = high_c ^ b ^ k, low_c, high_a ^ d ^ m, low_a
    return a, b, c, d


def _product(x: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Upper and lower 64 bits of an unsigned product, in limbs of 32 bits."""
    f0, f1 = factor & _LOW, factor >> 32
    x0, x1 = x & _LOW, (x >> 32) & _LOW
    p00, p01, p10 = x0 * f0, x1 * f0, x0 * f1
    middle = _upper(p00) + (p01 & _LOW) + (p10 & _LOW)
    return x1 * f1 + _upper(p01) + _upper(p10) + _upper(middle), x * _signed(factor)


def _upper(x: Tensor) -> Tensor:
    """Of 64 bits without a sign."""
    return (x >> 32) & _LOW


def _signed(word: int) -> int:
    """The int64 with these 64 bits."""
    word &= 0xFFFFFFFFFFFFFFFF
    return word - (1 << 64) if word >> 63 else word
