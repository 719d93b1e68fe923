"""The kernels that STREAM times, how their bytes are counted, and what they must write.

``x``, ``y`` and ``out`` are float64, as in STREAM: copy ``out = x``, scale ``out = 3·x``, add ``out = x + y``, triad
``out = x + 3·y``. ``x`` and ``y`` hold whole numbers of a known pattern, so that every element of ``out`` is known exactly.

STREAM counts what is read plus what is written, and not what a cache line costs that is fetched to be overwritten.
https://www.cs.virginia.edu/stream/ref.html#counting
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from hpcaccept.units import show_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    Tensor = Any

#: Kernel → arrays that one pass reads or writes.
ARRAYS = {"copy": 2, "scale": 2, "add": 3, "triad": 3}
ITEM_BYTES = 8
SOURCE = "https://www.cs.virginia.edu/stream/ref.html"
_SCALAR = 3.0
#: Length of the pattern, a prime.
_PERIOD = 65521


def kernel_call(kernel: str, x: Tensor, y: Tensor, out: Tensor) -> Callable[[], object]:
    """The call that is timed: one torch operation that reads and writes each element once."""
    import torch

    calls: dict[str, Callable[[], object]] = {
        "copy": functools.partial(out.copy_, x),
        "scale": functools.partial(torch.mul, x, _SCALAR, out=out),
        "add": functools.partial(torch.add, x, y, out=out),
        "triad": functools.partial(torch.add, x, y, alpha=_SCALAR, out=out),
    }
    return calls[kernel]


def tables(device: str) -> tuple[Tensor, Tensor]:
    """One period of x and of y: whole numbers, different at every place, none of them 0."""
    import torch

    index = torch.arange(_PERIOD, dtype=torch.int64, device=device)
    return (index + 1).to(torch.float64), (index * 7919 % _PERIOD + 1).to(torch.float64)


def expected(kernel: str, x: Tensor, y: Tensor) -> Tensor:
    """One period of what the kernel must write."""
    return {"copy": x, "scale": _SCALAR * x, "add": x + y, "triad": x + _SCALAR * y}[kernel]


def buffers(size_bytes: int, cache_bytes: int) -> str:
    """A sentence about the arrays, and whether the cache can hold them."""
    what = f"3 arrays of {show_bytes(size_bytes)}"
    if not cache_bytes:
        return f"{what}, last level cache unknown"
    enough = "at least" if size_bytes >= 4 * cache_bytes else "LESS THAN"
    return f"{what}, {enough} 4 × the last level cache of {show_bytes(cache_bytes)}"
