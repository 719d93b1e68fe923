"""Times matrix products, and verifies them."""

from __future__ import annotations

import contextlib
import datetime as dt
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcaccept.errors import UsageError
from hpcaccept.measure import device as devices
from hpcaccept.measure.gpu import telemetry
from hpcaccept.measure.gpu.telemetry import Seen
from hpcaccept.measure.kernels import gemm, gemm_shapes
from hpcaccept.measure.kernels.gemm import Shape
from hpcaccept.measure.slices import own_calls
from hpcaccept.measure.timing import Pace, spread, time_blocks
from hpcaccept.model.check import Check, CheckContext, Shorter, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, MOST_ROWS, WEEK_S, param

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcaccept.measure.device import Device
    from hpcaccept.measure.kernels.gemm import Format, Operands

_SEED = 20261122
_SOURCE = "https://github.com/stas00/ml-engineering/blob/master/compute/accelerator/benchmarks/mamf-finder.py"
_DRIVER_API = "https://docs.nvidia.com/deploy/nvml-api/"


@dataclass(frozen=True)
class Matmul(Check):
    """The rate of matrix products in each number format, and whether every element of them is right.

    Variants: fp64, fp32 (IEEE: TF32 is switched off), tf32, fp16, bf16, fp8 (e4m3, bf16 out), fp8_fast (the same, summed in
    the tensor cores' own accumulator: what most frameworks do, and faster on Hopper) and int8 (int32 out).
    What a device or its torch cannot do is found by trying and recorded as unsupported with the reason.

    How: for each format,

    1. one product of small whole numbers whose every partial sum is exact, compared with integer arithmetic;
    2. one product of normally distributed numbers, whose result is kept;
    3. that product again and again: until two batches in a row agree within 1 %, then ``blocks`` blocks of at least
       ``block_s``, timed by events on the GPU (their mean) or by the clock of the CPU (the median call);
       On a GPU sets of operands that the L2 cache could hold take turns, four caches' worth of them (the fact
       ``working_sets``);
    4. the last result against the kept one bit for bit, and against float64 within a derived bound (the fact
       ``sum_bound``; 0 for int8, whose sums are exact).

    The rate is 2·M·N·K FLOP per product, of the shape in the fact ``shape``. On a GPU that shape is frozen per model
    (``hpcaccept/measure/shapes.toml``; 8192 cubed, fp64 4096, for a model that is not listed), so that all nodes and all
    years measure one thing. Random operands matter: zeros draw less power and run up to 15 % faster.

    On a GPU the mean SM clock and power of the timed blocks stand beside the rate: a slow GPU with few FLOP per clock
    cycle has another trouble than one with a low clock. All GPUs of a node work at once: the ranks start together and
    do the same in the same order; ``overlap_share`` says how much of the timed blocks really lay together (while one warms
    up or verifies between two formats its neighbours go on). Ranks that measure in turn do not overlap at all.

    The narrow formats of a CPU (fp16, bf16, int8) are verified like the others, but their rate is ``small_rate_flops``,
    which nobody is judged by: n is 256, and where several virtual machines share a core their rate is 300 or 640 GFLOP/s
    for seconds, whatever the state of this machine. It says "works", not "how fast".

    With ``search`` the best shape is looked for, a grid of multiples of 1024 around the shapes that are best on known
    GPUs, and measured like any other as ``searched_flops``; a searched rate is never compared with a frozen one. The fact
    ``suite[FORMAT]`` is what to put into a suite or the site's settings so that this shape is measured from now on, under a
    label and so with baselines of its own; ``toml[FORMAT]`` is the line for the table that hpcaccept brings.

    What the rate does not mean: it is the rate of one shape through torch's BLAS on a device that does nothing else, not
    the peak of the part and not the speed of a training. ``wrong_elements`` is a lower bound when it is not 0, and 0
    does not exclude a fault that shows in fewer than one of so many products; ``burn`` does more of them.

    Parameters:
        size: n of n × n matrices, the same for all formats; 0 takes the frozen shape, or on a CPU 1024 (fp64 768, narrow
            formats 256).
        shape: M, N, K of a product of M × K and K × N, for the one format in ``dtypes``; empty takes ``size``.
        dtypes: formats to measure; empty means all that this kind of device may have.
        blocks: timed blocks, all of them kept.
        block_s: seconds per block; 0 means 1.0 on a GPU and 0.04 on a CPU.
        warm_s: longest warm-up; 0 means 5 blocks on a GPU and 2 on a CPU.
        search: look for the best shape instead of measuring the frozen one.
        search_s: seconds for that, per format; 0 means 60 on a GPU and 1 on a CPU.
    """

    name: ClassVar = "matmul"
    revision: ClassVar = 2
    about: ClassVar = "Rate of matrix products per number format, every element verified."
    needs: ClassVar = ("torch",)
    shorter: ClassVar = (
        Shorter({"dtypes": ["bf16", "fp32"]}, 0.3, "number formats other than bf16 and fp32", gpus_only=True),
    )
    metrics: ClassVar = (
        Metric(
            "rate_flops", "FLOP/s", "higher", "Rate of matrix products of the frozen shape in one number format.", title="{} matrix multiply",
            formula="2·M·N·K / seconds per product, one figure per block", source=_SOURCE, peer_floor=0.03,
            required=False,
        ),
        Metric(
            "small_rate_flops", "FLOP/s", "exact",
            "Rate of a small product in a narrow format on a CPU: shows that it works; reported only.", title="small {} matrix multiply",
            formula="2·n³ / seconds per product, one figure per block", required=False,
        ),
        Metric(
            "searched_flops", "FLOP/s", "exact", "Rate of the best shape that a search found; reported only.", title="{} matrix multiply, best shape found",
            formula="2·M·N·K / seconds per product, one figure per block", source=_SOURCE, required=False,
        ),
        Metric(
            "wrong_elements", "elements", "lower", "Elements of verified products that were wrong, at least.", title="{} matrix multiply, wrong results",
            formula="wrong in the exact product + changed from first to last timed product + wrong float64 sums",
            source="hpcaccept/measure/kernels/gemm.py", statistic="worst",
            limit=at_most(0, "elements", "a correct device makes no wrong product"), code=FindingCode.RESULT_WRONG,
        ),
        Metric(
            "spread", "share", "exact", "How far the blocks lie apart; above 5 % the rate is suspect.", title="{} matrix multiply, spread",
            formula="(max - min) / median of the blocks",
        ),
        Metric(
            "clock_hz", "Hz", "exact", "Mean SM clock of the GPU during the timed blocks.", title="GPU clock in {} matrix multiply",
            formula="mean of the driver's clock of the compute units every 0.1 s, idle samples left out", source=_DRIVER_API, required=False, headline=False,
        ),
        Metric(
            "power_w", "W", "exact", "Mean power of the GPU during the timed blocks.", title="GPU power in {} matrix multiply",
            formula="difference of the driver's energy counter / seconds, or mean of its power",
            source=_DRIVER_API, required=False, headline=False,
        ),
        Metric(
            "flop_per_cycle", "FLOP", "exact", "Operations per cycle of the SM clock: what a lowered clock leaves alone.", title="operations per GPU cycle in {} matrix multiply",
            formula="median rate_flops / clock_hz", required=False, headline=False,
        ),
        Metric(
            "overlap_share", "share", "exact", "Share of the timed blocks in which all GPUs of the node were in theirs.", title="overlap of the GPUs in {} matrix multiply",
            formula="(first end - last start of the ranks of a node) / (end - start of this rank)",
            required=False, headline=False,
        ),
    )  # fmt: skip

    size: int = param(0, at_least=0, at_most=MOST_ROWS)
    shape: tuple[int, ...] = param((), at_least=1, at_most=MOST_ROWS)
    dtypes: tuple[str, ...] = param((), one_of=tuple(gemm.FORMATS), variants=True)
    blocks: int = param(5, at_least=1, at_most=MOST_BLOCKS)
    block_s: float = param(0.0, at_least=0, at_most=HOUR_S, unit="s")
    warm_s: float = param(0.0, at_least=0, at_most=HOUR_S, unit="s")
    search: bool = False
    search_s: float = param(0.0, at_least=0, at_most=WEEK_S, unit="s")

    def __post_init__(self) -> None:
        if self.shape and (len(self.shape) != 3 or len(self.dtypes) != 1 or self.size or self.search):
            raise UsageError(
                f"matmul.shape is {list(self.shape)} with dtypes = {list(self.dtypes)}, size = {self.size}, search = {self.search}; "
                "expected three sizes M, N, K of one format, without size and search.",
                'For example: checks."matmul:bf16" = { dtypes = ["bf16"], shape = [2048, 2048, 13312] }',
            )

    def measure(self, ctx: CheckContext) -> dict[str, tuple[float, float]]:
        """Each format in turn; see the class. Gives format → begin and end of its timed blocks."""
        device = devices.open_device(ctx.device)
        ctx.fact("timer", "CUDA events" if device.kind == "cuda" else "time.perf_counter")
        windows: dict[str, tuple[float, float]] = {}
        for form in self._formats(device):
            ctx.beat(form.name)
            try:
                windows[form.name] = self._measure_format(ctx, device, form)
            except Unavailable as absent:
                ctx.unsupported(form.name, absent.cause)
        if not windows:
            raise Unavailable("None of the number formats asked for exists here.", "Choose others with 'dtypes'.")
        return windows

    def compare(self, ctx: CheckContext, kept: dict[str, tuple[float, float]] | None) -> None:
        """Say how much of the timed blocks the GPUs of a node were loaded together."""
        everyone = ctx.allgather(kept)
        mates = [everyone[rank] for rank in ctx.node_ranks if everyone[rank] is not None]
        if kept is None or len(mates) < 2 or ctx.device == "cpu":
            return
        for name, mine in kept.items():
            ctx.emit("overlap_share", overlap_share(mine, [mate[name] for mate in mates if name in mate]), name)

    def _formats(self, device: Device) -> list[Format]:
        asked = self.dtypes or tuple(name for name, form in gemm.FORMATS.items() if device.kind in form.sizes)
        return [gemm.FORMATS[name] for name in asked]

    def _measure_format(self, ctx: CheckContext, device: Device, form: Format) -> tuple[float, float]:
        """One format; gives begin and end of its timed blocks.

        Raises:
            Unavailable: this device has no such product.
        """
        refusal = gemm.refusal(form, device)
        if refusal:
            raise Unavailable(refusal)
        with device.fp32_as("tf32" if form.name == "tf32" else "ieee"):
            shape, origin, tried = self._shape(ctx, device, form)
            timed = self._verified(form, shape, device)
        variant = f"search/{form.name}" if self.search else form.name
        for repeat, rate in enumerate(timed.rates_flops):
            ctx.emit(self._rate_metric(device, form), rate, form.name, repeat)
        ctx.emit("wrong_elements", timed.wrong, variant)
        ctx.emit("spread", spread(timed.rates_flops), variant)
        ctx.fact(f"shape[{variant}]", str(shape))
        ctx.fact(f"shape_origin[{variant}]", origin)
        ctx.fact(f"sum_bound[{variant}]", f"{gemm.sum_bound(form, shape):.3g}")
        if tried:
            source = (
                f"hpcaccept matmul search, best of {tried} shapes: {statistics.median(timed.rates_flops):.4g} FLOP/s"
            )
            today = dt.datetime.now(dt.timezone.utc).date()
            ctx.fact(f"suite[{form.name}]", gemm_shapes.as_suite(form, shape))
            ctx.fact(f"toml[{form.name}]", gemm_shapes.as_toml(ctx.model, form, shape, source, today))
        if device.kind == "cuda":
            ctx.fact(f"working_sets[{variant}]", str(timed.sets))
            _emit_clock(ctx, variant, timed)
        return timed.watch.window

    def _rate_metric(self, device: Device, form: Format) -> str:
        if self.search:
            return "searched_flops"
        return "small_rate_flops" if device.kind == "cpu" and form.narrow else "rate_flops"

    def _shape(self, ctx: CheckContext, device: Device, form: Format) -> tuple[Shape, str, int]:
        """What is measured, where that comes from, and how many shapes were tried for it."""
        if self.search:
            # A product that does not exist is found here, and not called the slowest.
            _first_product(form, self.size or form.sizes[device.kind], device)
            search_s = self.search_s or (60.0 if device.kind == "cuda" else 1.0)
            tried = search(form, device, gemm_shapes.candidates(form, device, ctx.model), search_s, ctx)
            shape = max(tried, key=lambda shape: tried[shape])
            return shape, f"the best of {len(tried)} shapes", len(tried)
        if self.shape:
            return Shape(*self.shape), "parameter shape", 0
        if self.size:
            return Shape.from_size(self.size), "parameter size", 0
        return *gemm_shapes.shape_of(form, device, ctx.model), 0

    def _verified(self, form: Format, shape: Shape, device: Device) -> Timed:
        """Rates of the blocks, and how many elements were wrong.

        Raises:
            Unavailable: this device has no such product.
        """
        wrong = gemm.wrong_exact(form, _first_product(form, shape, device))
        operands = gemm.random_operands(form, shape, device.name, _SEED + 1)
        gemm.product_call(form, operands)()
        first = operands.out.clone()
        call, sets = gemm.rotated(form, operands, _rotate_bytes(device))
        watch = Watch()
        seconds = time_blocks(own_calls(device), call, self._pace(device), watching(device, watch))
        wrong += sum(int(gemm.differing(each.out, first)) for each in sets)
        wrong += gemm.wrong_sums(form, operands)
        return Timed([gemm.flops(shape) / s for s in seconds], wrong, watch, len(sets))

    def _pace(self, device: Device) -> Pace:
        block_s = self.block_s or (1.0 if device.kind == "cuda" else 0.04)
        return Pace(self.blocks, block_s, self.warm_s or block_s * (5 if device.kind == "cuda" else 2))


@dataclass
class Watch:
    """What went on while the blocks were timed.

    Attributes:
        window: when they began and ended, by a clock that all processes of a host share.
        seen: what the GPU did meanwhile; None on a CPU.
    """

    window: tuple[float, float] = (0.0, 0.0)
    seen: Seen | None = None


@contextlib.contextmanager
def watching(device: Device, watch: Watch) -> Iterator[None]:
    """Fill in ``watch`` while it is open."""
    with contextlib.ExitStack() as opened:
        if device.kind == "cuda":
            watch.seen = opened.enter_context(telemetry.sampling(device.name, period_s=0.1))
        begin = time.monotonic()
        yield
        watch.window = (begin, time.monotonic())


@dataclass(frozen=True)
class Timed:
    """The timed blocks of one format.

    Attributes:
        rates_flops: of each block.
        wrong: elements, before, while and after.
        watch: that was open meanwhile.
        sets: of operands that took turns.
    """

    rates_flops: list[float]
    wrong: int
    watch: Watch
    sets: int = 1


def _rotate_bytes(device: Device) -> int:
    """The cache that operands should not come from; a CPU's small products are compared with those of before as they are."""
    return device.cache_bytes() if device.kind == "cuda" else 0


def overlap_share(mine: tuple[float, float], everyone: list[tuple[float, float]]) -> float:
    """Share of my window in which all windows (mine is among them) are open."""
    begin, end = max(begin for begin, _ in everyone), min(end for _, end in everyone)
    return max(0.0, end - begin) / max(mine[1] - mine[0], 1e-9)


def search(
    form: Format, device: Device, candidates: list[Shape], search_s: float, ctx: CheckContext
) -> dict[Shape, float]:
    """Shape → rate, for the candidates in their order until the time is over; at least the first one.

    A quick look each (a warm call or more, then 20 ms): good enough to choose by, never to judge by. What does not fit into
    the memory is left out.
    """
    import torch

    begin, found = time.perf_counter(), dict[Shape, float]()
    for shape in candidates:
        if found and time.perf_counter() - begin > search_s:
            break
        ctx.beat(f"search {form.name} {shape}")
        try:
            operands = gemm.random_operands(form, shape, device.name, _SEED)
            call, _ = gemm.rotated(form, operands, _rotate_bytes(device))
            seconds = time_blocks(device.time_calls, call, Pace(blocks=2, block_s=0.02, warm_s=0.01))
        except torch.OutOfMemoryError:
            device.give_back()
        else:
            found[shape] = gemm.flops(shape) / min(seconds)
    if not found:
        raise Unavailable(f"None of {len(candidates)} shapes fits into the memory that is free.")
    return found


def _emit_clock(ctx: CheckContext, variant: str, timed: Timed) -> None:
    """What the GPU's driver saw while the blocks were timed; NOT_RUN with the cause for what it did not see."""
    seen = timed.watch.seen
    assert seen is not None
    per_cycle = statistics.median(timed.rates_flops) / seen.clock_busy_hz if seen.clock_busy_hz else None
    for metric, value, question in (
        ("clock_hz", seen.clock_busy_hz, "clock"),
        ("flop_per_cycle", per_cycle, "clock"),
        ("power_w", seen.power_w, "power"),
    ):
        if value is None:
            why = seen.why_not or seen.missing.get(question) or "the driver was not heard while the blocks ran"
            ctx.unsupported(metric, why)
        else:
            ctx.emit(metric, value, variant)
    if seen.busy_reasons:
        reasons = ", ".join(f"{name} {share:.0%}" for name, share in sorted(seen.busy_reasons.items()))
        ctx.fact(f"clock_reasons[{variant}]", reasons)


def _first_product(form: Format, size: int | Shape, device: Device) -> Operands:
    """The exact product, which also tells whether this device and its torch have such a product at all.

    Raises:
        Unavailable: they have not. A device that breaks down here is another matter and raises what torch raised.
    """
    operands = gemm.integer_operands(form, size, device.name, _SEED)
    gemm.spoil(operands.out)
    try:
        gemm.product_call(form, operands)()
        device.synchronize()
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        if devices.is_fault(error):
            raise
        raise Unavailable(str(error).partition("\n")[0]) from error
    return operands
