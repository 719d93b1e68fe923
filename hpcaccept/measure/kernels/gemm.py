"""Makes a matrix product in a given number format, and verifies its result.

A product is ``out = left · right`` through torch, left M × K, right K × N, out M × N. ``right`` is stored transposed: the
layout that cuBLAS favours, and the only one for fp8 and int8. Three kinds of verification, because each is blind somewhere:

* **exact**: small whole numbers, chosen so that every partial sum in any order is exact in every format that the
  device may use on the way. Compared with integer arithmetic (no matrix unit takes part) through checksums with random
  weights, so every element is seen. Blind to faults that only other bit patterns provoke.
* **same bits**: the product of random numbers against an earlier result of the same call. Sees the smallest flip.
  Blind to what is wrong every time.
* **sums**: the product of random numbers against float64, in signed sums over up to 128 columns. Sees every element.
  Blind to errors smaller than ``sum_bound`` (0 for int8).
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hpcaccept.measure.device import Device

    Tensor = Any

#: Rows that are widened to 64 bit at once, to keep the memory for checking small beside the matrices.
_ROWS = 1024
#: Groups of columns whose signed sums are compared with float64, and most columns in one of them.
_GROUPS = 64
_COLUMNS = 128
#: Hoeffding: a sum of q terms with random signs leaves 8·√q·(their rms) with a probability below 2·exp(-32) = 3e-14.
_SIGMAS = 8.0


class Shape(NamedTuple):
    """Of a product: out (m × n) = left (m × k) · right (k × n)."""

    m: int
    n: int
    k: int

    @classmethod
    def from_size(cls, size: Size) -> Shape:
        """A shape as it is, or the cube of a number."""
        return cls(size, size, size) if isinstance(size, int) else cls(*size)

    def __str__(self) -> str:
        return f"{self.m}x{self.n}x{self.k}"


#: Of a product: its shape, or n for n × n matrices.
Size = int | Shape


@dataclass(frozen=True)
class Format:
    """A number format for products, with what is needed to judge its results.

    Attributes:
        name: as metrics call it (``fp32``).
        operand: torch's name of the operands' type.
        output: torch's name of the result's type.
        left_max: largest whole number in the exact left operand. Of fp64 (fp32) it has more bits than fp32 (tf32)
            holds, so a product that is silently done in the narrower format is wrong.
        right_max: the same of the right operand.
        terms: most products that are not zero in one element of the exact result. ``terms · left_max · right_max`` is
            the largest possible partial sum and exact in ``output`` and in any accumulator the device may use.
        sum_roundoff: bound of one rounding while summing; doubled for units that cut off instead of rounding.
        out_roundoff: bound of the rounding of the result, several times that where parts of a sum may be kept in it.
        sizes: default n by kind of device. Tables, not timings, choose it, so that all units measure one shape; no
            entry: this kind of device cannot do it, ``why_not`` says so.
        why_not: reason for a missing entry.
        fast: True where sums may stay in the narrower accumulator of the tensor cores (cuBLASLt's fast accumulation mode).
    """

    name: str
    operand: str
    output: str
    left_max: int
    right_max: int
    terms: int
    sum_roundoff: float
    out_roundoff: float
    sizes: dict[str, int] = field(default_factory=dict)
    why_not: str = ""
    fast: bool = False

    @property
    def narrow(self) -> bool:
        """True for operands of 16 or 8 bits."""
        return self.name not in ("fp64", "fp32", "tf32")


#: Significands: fp64 53 bits, fp32 24, tf32 and fp16 11, bf16 8, fp8 e4m3 4. CPUs of before 2020 do the narrow formats
#: without vector instructions at about 1 GFLOP/s, hence n = 256. GeForce boards do fp64 at 1/64 of fp32, hence 4096.
FORMATS = {
    f.name: f
    for f in (
        Format("fp64", "float64", "float64", 1 << 25, 1 << 3, 1 << 12, 2**-53, 2**-53, {"cuda": 4096, "cpu": 768}),
        Format("fp32", "float32", "float32", 1 << 14, 2, 1 << 7, 2**-23, 2**-24, {"cuda": 8192, "cpu": 1024}),
        Format(
            "tf32", "float32", "float32", 1 << 10, 4, 1 << 10, 2**-23, 2**-24, {"cuda": 8192},
            "TF32 is a format of NVIDIA GPUs from compute capability 8.0; elsewhere torch would silently do fp32",
        ),
        Format("fp16", "float16", "float16", 1 << 4, 1, 1 << 7, 2**-23, 2**-9, {"cuda": 8192, "cpu": 256}),
        Format("bf16", "bfloat16", "bfloat16", 2, 1, 1 << 7, 2**-23, 2**-7, {"cuda": 8192, "cpu": 256}),
        # Hopper sums fp8 in 14 bits, 32 terms at a time (arXiv 2412.19437, section 3.5.2): 2**-13 / 32.
        Format(
            "fp8", "float8_e4m3fn", "bfloat16", 2, 1, 1 << 7, 2**-18, 2**-7, {"cuda": 8192},
            "CPUs have no fp8 product: torch emulates it at less than 0.1 GFLOP/s",
        ),
        # The same operands, summed in those 14 bits all the way: faster on Hopper, where exact sums leave the tensor cores now and then.
        Format(
            "fp8_fast", "float8_e4m3fn", "bfloat16", 2, 1, 1 << 7, 2**-18, 2**-7, {"cuda": 8192},
            "CPUs have no fp8 product: torch emulates it at less than 0.1 GFLOP/s", fast=True,
        ),
        Format("int8", "int8", "int32", 127, 127, 1 << 14, 0.0, 0.0, {"cuda": 8192, "cpu": 256}),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Operands:
    """Two matrices and the room for their product, allocated once.

    Attributes:
        left: m × k.
        right: k × n, a transposed view.
        out: m × n of the format's output type; written by every call.
    """

    left: Tensor
    right: Tensor
    out: Tensor

    @property
    def shape(self) -> Shape:
        """Of the product."""
        return Shape(int(self.left.shape[0]), int(self.right.shape[1]), int(self.left.shape[1]))


def flops(size: Size) -> int:
    """2·M·N·K: a multiplication and an addition for each of K terms in M·N elements."""
    return 2 * math.prod(Shape.from_size(size))


def refusal(form: Format, device: Device) -> str:
    """Why this kind of device has no such product; empty when trying will tell."""
    if device.kind not in form.sizes or (form.name == "tf32" and not device.has_tf32()):
        return form.why_not
    return ""


def random_operands(form: Format, size: Size, device: str, seed: int) -> Operands:
    """Normally distributed operands (int8: all values alike): zeros or ones would draw less power and run faster."""
    import torch

    m, n, k = Shape.from_size(size)
    torch.manual_seed(seed)
    if form.operand == "int8":
        return _operands(form, *(torch.randint(-127, 128, (rows, k), device=device) for rows in (m, n)))
    wide = torch.float64 if form.operand == "float64" else torch.float32
    left, right = (torch.randn(rows, k, dtype=wide, device=device) for rows in (m, n))
    if form.name == "tf32":
        left, right = _cut_to_tf32(left), _cut_to_tf32(right)
    return _operands(form, left, right)


def integer_operands(form: Format, size: Size, device: str, seed: int) -> Operands:
    """Whole numbers with at most ``terms`` products that are not zero per element: every partial sum is exact."""
    import torch

    m, n, k = Shape.from_size(size)
    torch.manual_seed(seed)
    left = torch.randint(-form.left_max, form.left_max + 1, (m, k), device=device)
    right = torch.randint(-form.right_max, form.right_max + 1, (n, k), device=device)
    step = -(-k // form.terms)
    row, column = torch.arange(m, device=device), torch.arange(k, device=device)
    return _operands(form, left * ((row[:, None] + column[None, :]) % step == 0), right)


def product_call(form: Format, operands: Operands) -> Callable[[], object]:
    """The call that is timed: nothing but torch's own function with its arguments bound."""
    import torch

    left, right, out = operands.left, operands.right, operands.out
    if form.operand == "int8":
        return functools.partial(torch._int_mm, left, right, out=out)
    if form.operand == "float8_e4m3fn":
        one = torch.ones((), device=left.device)
        return functools.partial(
            torch._scaled_mm, left, right, scale_a=one, scale_b=one, out_dtype=getattr(torch, form.output),
            use_fast_accum=form.fast, out=out,
        )  # fmt: skip
    return functools.partial(torch.mm, left, right, out=out)


def rotated(form: Format, operands: Operands, cache_bytes: int) -> tuple[Callable[[], object], list[Operands]]:
    """A call that makes the product of one set of operands after the other, and the sets, all with the same numbers.

    There are as many as four caches cannot hold together: made again and again from one small set, a product would be fed
    by the cache, as no program's are.

    Args:
        form: of the operands.
        operands: the first set.
        cache_bytes: of the device's last cache; 0 leaves it at one set.
    """
    size_bytes = sum(t.numel() * t.element_size() for t in (operands.left, operands.right, operands.out))
    sets = [operands] + [_copy(operands) for _ in range(math.ceil(4 * cache_bytes / size_bytes) - 1)]
    calls = [product_call(form, each) for each in sets]
    if len(calls) == 1:
        return calls[0], sets
    following = itertools.cycle(calls)
    return lambda: next(following)(), sets


def _copy(operands: Operands) -> Operands:
    """The same numbers in other memory; the layout stays."""
    return Operands(operands.left.clone(), operands.right.t().clone().t(), operands.out.clone())


def spoil(out: Tensor) -> None:
    """Overwrite a result, so that a call that writes nothing cannot pass with an older one."""
    out.fill_(math.nan if out.dtype.is_floating_point else -77)


def wrong_exact(form: Format, operands: Operands) -> int:
    """Elements of an exact product that are wrong, at least: the larger of the wrong rows, columns and non-numbers.

    Each row (column) of the result, times random weights ``w ≥ 1``, must equal the same of the operands in 64-bit
    integers: a single wrong element always shows, any pattern of them escapes with a probability below
    2 to the power of (-2 · weight bits): 2⁻¹⁸ for fp64, 2⁻⁴⁰ for the others.
    """
    import torch

    (m, n, k), device = operands.shape, operands.left.device
    largest = min(k, form.terms) * form.left_max * form.right_max
    weight_bits = min(20, 62 - math.ceil(math.log2(largest)) - math.ceil(math.log2(max(m, n))))
    across, down = (torch.randint(1, (1 << weight_bits) + 1, (length,), device=device) for length in (n, m))
    right_across = torch.cat([(rows * across).sum(1) for rows in _whole(operands.right)])
    left_down = sum(
        (rows * w[:, None]).sum(0) for rows, w in zip(_whole(operands.left), down.split(_ROWS), strict=True)
    )
    want_across = torch.cat([(rows * right_across).sum(1) for rows in _whole(operands.left)])
    want_down = sum(
        (rows * w[:, None]).sum(0) for rows, w in zip(_whole(operands.right), left_down.split(_ROWS), strict=True)
    )
    no_number, got_across, got_down = 0, [], 0
    for rows, w in zip(operands.out.split(_ROWS), down.split(_ROWS), strict=True):
        wide = rows.to(torch.float64)
        good = (wide.abs() <= largest) & (wide == wide.trunc())
        no_number += int((~good).sum())
        whole = torch.where(good, wide, 0.0).to(torch.int64)
        got_across.append((whole * across).sum(1))
        got_down = got_down + (whole * w[:, None]).sum(0)
    wrong_rows, wrong_columns = (
        got != want for got, want in ((torch.cat(got_across), want_across), (got_down, want_down))
    )
    return max(no_number, int(wrong_rows.sum()), int(wrong_columns.sum()))


def wrong_sums(form: Format, operands: Operands) -> int:
    """Signed sums over groups of columns that differ from float64 by more than ``sum_bound``: as many wrong elements.

    A NaN anywhere makes its sum wrong.
    """
    import torch

    shape = operands.shape
    groups = shape.n // _columns(shape.n)
    signs = torch.randint(0, 2, (shape.n,), device=operands.left.device).to(torch.float64) * 2 - 1

    def signed(rows: Tensor) -> Tensor:
        return (rows.to(torch.float64) * signs).reshape(len(rows), groups, -1).sum(2)

    right = torch.cat([signed(rows) for rows in operands.right.split(_ROWS)])
    bound, wrong = sum_bound(form, shape), 0
    for left, out in zip(operands.left.split(_ROWS), operands.out.split(_ROWS), strict=True):
        wrong += int((~((signed(out) - left.to(torch.float64) @ right).abs() <= bound)).sum())
    return wrong


def sum_bound(form: Format, size: Size) -> float:
    """Largest honest difference of one signed sum: 8·√q · (K·sum_roundoff + out_roundoff) · 2√K, with q columns.

    For standard normal operands the largest partial sum of an element has an rms of at most 2√K (Doob), each of its K
    additions errs by at most ``sum_roundoff`` of it, the result by ``out_roundoff``; the random signs are independent
    of these errors, so q of them add up to 8·√q times their rms at most (Hoeffding). For float64 the reference itself
    errs as much, hence twice.
    """
    _, n, k = Shape.from_size(size)
    columns = _columns(n)
    twice = 2 if form.operand == "float64" else 1
    per_element = twice * (k * form.sum_roundoff + form.out_roundoff) * 2 * math.sqrt(k)
    return _SIGMAS * math.sqrt(columns) * per_element


def _columns(n: int) -> int:
    """Columns in one signed sum: a divisor of n, small so that one wrong element stands out of the sum."""
    columns = n // math.gcd(n, _GROUPS)
    return columns if columns <= _COLUMNS else math.gcd(n, _COLUMNS)


def differing(now: Tensor, before: Tensor) -> Tensor:
    """Number of elements whose bits differ, NaN or not. A tensor: reading it would wait for the device."""
    import torch

    bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[now.element_size()]
    return (now.view(bits) != before.view(bits)).sum()


def _operands(form: Format, left: Tensor, right: Tensor) -> Operands:
    import torch

    kind = getattr(torch, form.operand)
    out = torch.empty((len(left), len(right)), dtype=getattr(torch, form.output), device=left.device)
    return Operands(left.to(kind), right.to(kind).t(), out)


def _cut_to_tf32(values: Tensor) -> Tensor:
    """Keep the 10 fraction bits that TF32 has, so that converting the operands costs no accuracy."""
    import torch

    return (values.view(torch.int32) & ~0x1FFF).view(torch.float32)


def _whole(matrix: Tensor) -> Iterator[Tensor]:
    """Its rows as 64-bit integers, some at a time."""
    import torch

    wide = torch.float64 if matrix.dtype.is_floating_point else torch.int64
    return (rows.to(wide).to(torch.int64) for rows in matrix.split(_ROWS))
