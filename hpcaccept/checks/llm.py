"""Times how many tokens a second a GPU trains a language model on, alone and with all others, and verifies that it learns what it should."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.measure import device as devices
from hpcaccept.measure.device import open_device
from hpcaccept.measure.kernels import gemm, gpt, step_times
from hpcaccept.measure.kernels import training as recipe
from hpcaccept.measure.timing import Pace, warm_up
from hpcaccept.model.check import Check, CheckContext, Shorter, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, OtherPeak, at_most
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, MOST_ROWS, param

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.measure.device import Device

    Tensor = Any

#: By kind of device: on a GPU 336 million weights, whose products fill the tensor cores and which fit into 16 GB; on a CPU what shows that it works.
SHAPES = {
    "cuda": gpt.Shape(layers=6, width=2048, heads=16, tokens=1024, vocabulary=16384, batch=8),
    "cpu": gpt.SMALL,
}
_FORMATS = ("bf16", "fp8")
_BLOCK_S = {"cuda": 2.0, "cpu": 0.1}
_RATE = 0.01
#: Gradients of float16 are scaled by this, and the rate is divided by it.
_FP16_SCALE = 1024.0
#: Of the peak that a healthy GPU reaches at least in eager torch with so small a model. Published trainings of large models reach 38 to 55 % in 16 bits.
_SHARES = {"bf16": 0.02, "fp16": 0.02, "fp8": 0.01}
_SIZES = ("layers", "width", "heads", "tokens", "vocabulary", "batch")
_PEAKS = tuple(
    OtherPeak(form, f"matmul.rate_flops[{form}]", share, operations=SHAPES["cuda"].flops_per_token, unless=_SIZES)
    for form, share in _SHARES.items()
)


@dataclass(frozen=True)
class Llm(Check):
    """A small GPT is trained: tokens per second and GPU, share of the peak, spread of the steps, and losses against a reference.

    How: pre-norm blocks with causal attention through torch's ``scaled_dot_product_attention`` (the kernel is the one that torch chooses on the device),
    weights in float32, autocast to bfloat16 (float16 on GPUs before Ampere), plain gradient descent with momentum, eager: no compiler, no kernels of others.
    Weights and tokens follow from a counter, so that every GPU trains on the same bits. In ``fp8`` the products of the blocks are fp8 forward (e4m3) and
    backward (gradients in e5m2), scaled for each tensor and call; attention and output stay in 16 bits.

    1. A GPT of two blocks makes 12 steps, and each loss must be that of the reference, computed in float64 with attention written out (``loss_error``; it
       is in the source, so that no processor of the run has a part in it). A position that is left out of the attention, a mask or a scale that is wrong
       show themselves.
    2. Each GPU alone trains the large GPT: until its steps last equally long, then ``blocks`` blocks of at least ``block_s``. ``tokens_per_s`` is one figure per block.
    3. All ranks together, with DistributedDataParallel: first the 12 steps again, where every rank weighs its loss otherwise (0.5 and 1.5) so that only
       their true mean gives the reference's losses; then the large GPT, each rank with sequences of its own. ``together_tokens_per_s`` is per GPU, of the slowest rank.

    Operations by the convention of PaLM: 6 per weight and token and 12·layers·width·tokens for attention; ``mfu`` is their rate over the published peak of the
    number format, where one is known of the model.

    What it does not mean: rates of this recipe compare with themselves. Trainings that are published use compilers, fused kernels and larger models and reach
    two or three times the share ([figures](../explanation/llm.md)). Together, over slow links, the gradients (1.3 GB a step) decide: that is what it shows.
    On a CPU everything is tiny and reported only. On a GPU it takes about a minute and 11 GB by reckoning, as no GPU was at hand.

    Parameters:
        formats: ``bf16``, ``fp8``.
        layers: blocks of the large GPT; 0 takes the table, as the others: 6, and 2 on a CPU.
        width: 2048, and 64 on a CPU; a multiple of 16 and of ``heads``.
        heads: 16, and 4 on a CPU.
        tokens: of a sequence: 1024, and 64 on a CPU.
        vocabulary: 16384, and 256 on a CPU; a multiple of 16.
        batch: sequences of a rank: 8, and 4 on a CPU.
        blocks: timed blocks.
        block_s: seconds per block; 0 means 2.0 on a GPU and 0.1 on a CPU.
    """

    name: ClassVar = "llm"
    revision: ClassVar = 1
    about: ClassVar = "A small GPT with real attention, bf16 and fp8, alone and together: tokens/s, MFU, losses."
    # DistributedDataParallel imports torch's compiler (2 s) when the first one is made.
    needs: ClassVar = ("torch", "torch.distributed", "torch._dynamo")
    scope: ClassVar = "world"
    shorter: ClassVar = (Shorter({"formats": ["bf16"]}, 0.5, "the language model in fp8"),)
    metrics: ClassVar = (
        Metric(
            "loss_error", "share", "lower", "Largest relative deviation of the 16-bit losses from the reference.", title="language model, deviation of the 16-bit loss ({})",
            formula="max over 12 steps of |loss / reference - 1|; 1.8e308 when a loss is not a number", statistic="worst",
            limit=at_most(2e-3, "share", "bfloat16 differs by 2e-4 (CPU); one position left out of the attention by 6e-3"), code=FindingCode.TRAINING_OFF,
            required=False,
        ),
        Metric(
            "loss_error_fp8", "share", "lower", "The same of fp8.", title="language model, deviation of the fp8 loss ({})", formula="as loss_error", statistic="worst", required=False,
            limit=at_most(0.03, "share", "fp8 differs by 6e-3 (CPU); attention without its mask by 6e-2"), code=FindingCode.TRAINING_OFF,
        ),
        Metric(
            "bad_losses", "steps", "lower", "Steps of the large GPT whose loss was no finite number.", title="language model, losses that are not finite ({})", formula="count", statistic="worst",
            limit=at_most(0, "steps", "a training that diverges is none"), code=FindingCode.TRAINING_OFF,
        ),
        Metric(
            "tokens_per_s", "1/s", "higher", "Tokens per second that a GPU trains on alone.", title="language model tokens, one GPU ({})", formula="batch · tokens / seconds per step, one figure per block",
            peer_floor=0.04, required=False, kind="training", other_peaks=_PEAKS,
        ),
        Metric(
            "together_tokens_per_s", "1/s", "higher", "Tokens per second and GPU of all ranks together.", title="language model tokens per GPU, all together ({})", scope="world",
            formula="batch · tokens / seconds per step of the slowest rank, one figure per block", required=False, kind="training",
        ),
        Metric(
            "small_tokens_per_s", "1/s", "exact", "The same of a tiny model on a CPU: shows that it works; reported only.", title="small language model tokens ({})",
            formula="batch · tokens / seconds per step, one figure per block", required=False, headline=False,
        ),
        Metric(
            "rate_flops", "FLOP/s", "exact", "Operations of the model per second and GPU.", title="language model rate ({})", formula="tokens per second · (6·weights + 12·layers·width·tokens)",
            source="https://arxiv.org/abs/2204.02311 (appendix B)", required=False, headline=False,
        ),
        Metric(
            "mfu", "share", "exact", "Operations of the model as a share of the GPU's published peak (MFU).", title="language model share of the peak, MFU ({})", formula="rate_flops / peak of the number format",
            source="https://arxiv.org/abs/2204.02311 (appendix B); baselines/sources", required=False,
        ),
        Metric(
            "step_s", "s", "exact", "Seconds of a step.", title="language model step time ({})", formula="p50, p99 (nearest rank) and worst of all timed steps", headline=False,
        ),
        Metric(
            "step_spread", "share", "exact", "How far the slowest steps lie above the usual one.", title="language model spread of the steps ({})", formula="p99 / p50 - 1", headline=False,
        ),
    )  # fmt: skip

    formats: tuple[str, ...] = param(_FORMATS, one_of=_FORMATS, not_empty=True)
    layers: int = param(0, at_least=0, at_most=256)
    width: int = param(0, at_least=0, at_most=MOST_ROWS)
    heads: int = param(0, at_least=0, at_most=256)
    tokens: int = param(0, at_least=0, at_most=MOST_ROWS)
    vocabulary: int = param(0, at_least=0, at_most=MOST_ROWS)
    batch: int = param(0, at_least=0, at_most=1 << 16)
    blocks: int = param(3, at_least=1, at_most=MOST_BLOCKS)
    block_s: float = param(0.0, at_least=0, at_most=HOUR_S, unit="s")

    def measure(self, ctx: CheckContext) -> None:
        """Alone, then together; see the class."""
        device = open_device(ctx.device)
        shape = self._shape(device)
        half = "bf16" if device.kind == "cpu" or device.has_tf32() else "fp16"
        ctx.fact(
            "model", f"{shape.parameters / 1e6:.3g} million weights, {shape.step_tokens} tokens a step; 16 bits: {half}"
        )
        found = []
        with device.fp32_as("ieee"):
            for asked in self.formats:
                form = half if asked == "bf16" else asked
                try:
                    if why := gemm.refusal(gemm.FORMATS[form], device):
                        raise Unavailable(why)
                    self._alone(ctx, device, shape, form)
                    found.append(form)
                except Unavailable as absent:
                    ctx.unsupported(form, absent.cause)
                device.give_back()
            if not found:
                raise Unavailable("None of the number formats asked for exists here.", "Choose others with 'formats'.")
            if ctx.size == 1:
                ctx.unsupported(f"{half}/together", "one rank alone has nobody to train with")
                return
            with ctx.process_group():
                self._together(ctx, device, shape, half)

    def _shape(self, device: Device) -> gpt.Shape:
        usual = SHAPES[device.kind]
        shape = gpt.Shape(**{name: getattr(self, name) or getattr(usual, name) for name in _SIZES})
        multiple = gpt.FP8_MULTIPLE
        if shape.width % multiple or shape.width % shape.heads or shape.vocabulary % multiple:
            raise Unavailable(
                f"width {shape.width}, heads {shape.heads} and vocabulary {shape.vocabulary} make no model.",
                f"Choose width and vocabulary as multiples of {multiple}, and width as one of heads.",
            )
        return shape

    def _alone(self, ctx: CheckContext, device: Device, shape: gpt.Shape, form: str) -> None:
        ctx.beat(f"{form}, reference")
        _emit_error(ctx, form, form, reference_losses(device, form))
        large = Training(device, shape, form, ctx.rank)
        step_s = warm_up(
            device.time_calls, large.step, Pace(self.blocks, self._block_s(device), 5 * self._block_s(device))
        )
        beat = step_times.Beat(ctx.beat, of=form)
        blocks = [large.timed(max(1, math.ceil(self._block_s(device) / step_s)), beat) for _ in range(self.blocks)]
        rate = "tokens_per_s" if device.kind == "cuda" else "small_tokens_per_s"
        for repeat, seconds in enumerate(blocks):
            ctx.emit(rate, shape.step_tokens * len(seconds) / sum(seconds), form, repeat)
        _emit_steps(ctx, device, shape, form, form, blocks)
        ctx.emit("bad_losses", large.bad_losses(), form)

    def _together(self, ctx: CheckContext, device: Device, shape: gpt.Shape, form: str) -> None:
        variant = f"{form}/together"
        ctx.beat(f"{variant}, reference")
        _emit_error(
            ctx, form, variant, reference_losses(device, form, weight=weight_of(ctx.rank, ctx.size), together=True)
        )
        large = Training(device, shape, form, ctx.rank, together=True)
        trial = large.timed(3)[1:]
        # Rank 0 says how many: all ranks must make equally many steps.
        count = int(ctx.bcast(max(1, math.ceil(self._block_s(device) / max(trial)))))
        beat = step_times.Beat(ctx.beat, of=variant, total=self.blocks * count)
        blocks = [large.timed(count, beat) for _ in range(self.blocks)]
        _emit_steps(ctx, device, shape, form, variant, blocks)
        ctx.emit("bad_losses", large.bad_losses(), variant)
        slowest = [max(each) for each in zip(*ctx.allgather([sum(block) for block in blocks]), strict=True)]
        rate = "together_tokens_per_s" if device.kind == "cuda" else "small_tokens_per_s"
        if ctx.rank == 0:
            for repeat, seconds in enumerate(slowest):
                ctx.emit(rate, shape.step_tokens * count / seconds, variant, repeat)

    def _block_s(self, device: Device) -> float:
        return self.block_s or _BLOCK_S[device.kind]


class Training:
    """One rank's large GPT while it is trained, alone or as one of all ranks."""

    def __init__(self, device: Device, shape: gpt.Shape, form: str, rank: int, *, together: bool = False) -> None:
        import torch

        self._device, self._form = device, form
        model = gpt.model(shape, device.name, gpt.fp8_linear() if form == "fp8" else None)
        self._tokens = gpt.sequences(shape, rank, device.name)
        self._scale = _FP16_SCALE if form == "fp16" else 1.0
        self._optimizer = recipe.Momentum(model.parameters(), _RATE / self._scale)
        self._model = torch.nn.parallel.DistributedDataParallel(model) if together else model
        self._losses: list[Tensor] = []

    def step(self) -> None:
        """Forward, backward, and one step; keeps its loss on the device."""
        with autocast(self._device, self._form):
            loss = self._model(self._tokens)
        (loss * self._scale).backward()
        self._optimizer.step()
        self._losses.append(loss.detach())

    def timed(self, count: int, on_step: Callable[[], None] = lambda: None) -> list[float]:
        """Seconds of each of so many steps."""
        marks = []
        for _ in range(count):
            on_step()
            marks.append(self._device.mark())
            self.step()
        marks.append(self._device.mark())
        return [max(self._device.seconds_between(begin, end), 1e-9) for begin, end in itertools.pairwise(marks)]

    def bad_losses(self) -> int:
        """Of all steps so far."""
        import torch

        return int((~torch.isfinite(torch.stack(self._losses))).sum())


def autocast(device: Device, form: str) -> Any:
    """The number format of products; beside fp8 what is not fp8 is bfloat16."""
    import torch

    return torch.autocast(device.kind, torch.float16 if form == "fp16" else torch.bfloat16)


def weight_of(rank: int, ranks: int) -> float:
    """By which a rank multiplies its loss: no two neighbours alike, and 1 in the mean."""
    return 1.0 if ranks % 2 and rank == ranks - 1 else 1.5 - rank % 2


def reference_losses(device: Device, form: str, *, weight: float = 1.0, together: bool = False) -> list[float]:
    """Losses of the small GPT, the same tokens on all ranks.

    Args:
        device: that computes.
        form: number format.
        weight: of this rank's loss; the losses given back are without it.
        together: averages gradients over all ranks.

    Raises:
        Unavailable: the device or its torch has no such products.
    """
    import torch

    model = gpt.model(gpt.SMALL, device.name, gpt.fp8_linear() if form == "fp8" else None)
    tokens = gpt.sequences(gpt.SMALL, 0, device.name)
    scale = _FP16_SCALE if form == "fp16" else 1.0
    shown = torch.nn.parallel.DistributedDataParallel(model) if together else model

    def loss() -> Tensor:
        with autocast(device, form):
            return shown(tokens) * (weight * scale)

    try:
        losses = gpt.learn(loss, list(model.parameters()), gpt.STEPS, gpt.RATE / scale)
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        if together or devices.is_fault(error):
            raise
        raise Unavailable(str(error).partition("\n")[0]) from error
    return [each / (weight * scale) for each in losses]


def _emit_error(ctx: CheckContext, form: str, variant: str, losses: list[float]) -> None:
    metric = "loss_error_fp8" if form == "fp8" else "loss_error"
    ctx.emit(metric, recipe.largest_deviation(losses, gpt.REFERENCE), variant)


def _emit_steps(
    ctx: CheckContext, device: Device, shape: gpt.Shape, form: str, variant: str, blocks: list[list[float]]
) -> None:
    """What follows from the steps of this rank: operations, their share of the peak, and how far steps lie apart."""
    found = step_times.distribution([seconds for block in blocks for seconds in block])
    for name, seconds in (("p50", found.p50_s), ("p99", found.p99_s), ("worst", found.worst_s)):
        ctx.emit("step_s", seconds, f"{variant}/{name}")
    ctx.emit("step_spread", found.p99_s / found.p50_s - 1.0, variant)
    peak = peak_flops(ctx.model, form) if device.kind == "cuda" else 0.0
    for repeat, block in enumerate(blocks):
        flops = shape.flops_per_token * shape.step_tokens * len(block) / sum(block)
        ctx.emit("rate_flops", flops, variant, repeat)
        if peak:
            ctx.emit("mfu", flops / peak, variant, repeat)
    if not peak:
        ctx.unsupported(f"mfu[{variant}]", f"no peak of {form} is published of {ctx.model or 'this processor'}")


def peak_flops(model: str, form: str) -> float:
    """The published peak of a number format; 0: none is known."""
    from hpcaccept.model.baseline import peak_of
    from hpcaccept.store.baseline_file import SHIPPED, find_baseline

    found = find_baseline((SHIPPED,), model)
    peak = peak_of(found[1] if found else None, f"matmul.rate_flops[{form}]")
    return peak.value if peak else 0.0
