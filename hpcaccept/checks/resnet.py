"""Times how many images a second a device trains on and recognizes, with the two networks that everybody knows."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.measure.device import open_device, repeatable
from hpcaccept.measure.kernels import replicas, step_times
from hpcaccept.measure.kernels import training as recipe
from hpcaccept.measure.slices import own_calls
from hpcaccept.measure.timing import Pace, spread, time_blocks
from hpcaccept.model.check import Check, CheckContext, Shorter
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, OtherPeak, at_most
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, param

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.measure.device import Device

    Tensor = Any
    Module = Any

#: Kind of device → network → images in a batch, and their side in pixels. On a GPU ImageNet's size, and what 16 GB can
#: train in float32; on a CPU as little as keeps float32 and TF32 apart in ``logit_error`` (at 32 pixels they are not).
WORK = {
    "cuda": {"resnet18": (256, 224), "resnet50": (128, 224)},
    "cpu": {"resnet18": (2, 64), "resnet50": (2, 64)},
}
_MODELS = tuple(WORK["cuda"])
_MODES, _PRECISIONS, _AMP = ("train", "infer"), ("amp", "fp32"), ("auto", "bf16", "fp16")
#: Images whose logits a CPU computes in float64: enough for batch statistics, few enough for two seconds.
_REFERENCE_IMAGES = 4
_SEED = 20261122
#: Philox keys of the images' noise and of the tint that each class has.
_NOISE, _TINT = (20261125, 0), (20261125, 1)
#: Classes among the labels: few, so that a few steps can learn them.
_CLASSES = 10
_RATE = 0.01
_STEPS = 4
#: Multiply-adds of one image of 224 x 224 forward (torchvision's table of weights, "GFLOPS"); two operations each, and backward twice forward.
_MULTIPLY_ADDS = {"resnet18": 1.81e9, "resnet50": 4.09e9}
#: Of the peak that a healthy GPU reaches at least. Published trainings of ResNet-50 reach 8 to 27 % of the 16-bit peak, the MLPerf recipes most and
#: a fleet of A100 under plain PyTorch least (``baselines/sources``); ours is eager, and small networks do not fill the newest parts.
_SHARES = {"amp": ("fp16", 0.005), "fp32": ("fp32", 0.02)}
_PEAKS = tuple(
    OtherPeak(
        f"{model}/{mode}/{label}", f"matmul.rate_flops[{form}]", share, operations=2 * count * passes, unless=("batch", "pixels")
    )
    for model, count in _MULTIPLY_ADDS.items()
    for mode, passes in (("train", 3), ("infer", 1))
    for label, (form, share) in _SHARES.items()
)  # fmt: skip
#: Gradients of float16 are scaled by this, or they would vanish; the rate is divided by it, which is the same step.
_FP16_SCALE = 1024.0


@dataclass(frozen=True)
class Resnet(Check):
    """Images per second of ResNet-18 and ResNet-50, training and inference, with results that are verified.

    How: torchvision's networks with random weights, nothing is downloaded. Images (noise with a tint per class) are made
    by a fixed generator and lie on the device in channels-last layout: no disk and no decoding is in the rate, which is
    why it may be twice that of a training from files. Variants are ``resnet50/train/amp`` and so on: ``amp`` is autocast
    with bfloat16 (float16 on GPUs before Ampere; the fact ``amp``), ``fp32`` is IEEE float32 with TF32 switched off for
    products and convolutions. Training is forward, backward and a step of plain SGD with momentum; inference is forward
    with the statistics of batch normalization fixed. cuDNN chooses its algorithms by rule, not by trial: trials choose
    differently on like GPUs.

    For each network,

    1. the logits of 4 images in float32 against float64 on the CPU (``logit_error``): TF32 left on is outside;
    2. the logits of the whole batch twice with deterministic algorithms: every bit the same
       (``replica_mismatch[repeat]``), and the same on all like ranks (``[peers]``, a rank that differs from most is named);
    3. for each variant: 4 steps on one batch, in which the loss must be finite and fall (``loss_drop``); then until two
       batches of calls in a row agree within 1 %, then ``blocks`` blocks of at least ``block_s``, all of them kept.

    What it does not mean: a rate of this recipe compares with itself only, not with published figures, which use other
    layouts, graphs, compilers and data pipelines. On a CPU images are tiny: that shows that everything works, and its
    rates are reported only. That the loss falls says that gradients point the right way, not that every bit of them is
    right (``train`` says that).

    On one CPU core it takes about 15 s; on a GPU about 80 s and 12 GB by reckoning, as no GPU was at hand: its operations
    were tried with torch's stand-in for a GPU. torchvision's import takes 2 s, most of it torch's compiler, which
    ``ddp_train`` needs as well.

    Parameters:
        models: ``resnet18``, ``resnet50``.
        modes: ``train``, ``infer``.
        precisions: ``amp``, ``fp32``.
        amp: ``bf16`` or ``fp16`` for ``amp`` whatever the device is; the variant is then called so.
        batch: images in a batch; 0 takes the table: 256 and 128 on a GPU, 2 on a CPU.
        pixels: side of an image, at least 32; 0 means 224 on a GPU and 64 on a CPU.
        blocks: timed blocks; 0 means 5 on a GPU and 3 on a CPU.
        block_s: seconds per block; 0 means 1.0 on a GPU and a single call on a CPU.
    """

    name: ClassVar = "resnet"
    revision: ClassVar = 1
    about: ClassVar = "Images per second of ResNet-18 and ResNet-50, training and inference, results verified."
    needs: ClassVar = ("torch", "torchvision")
    shorter: ClassVar = (Shorter({"models": ["resnet50"], "modes": ["train"]}, 0.25, "ResNet-18, and inference"),)
    metrics: ClassVar = (
        Metric(
            "images_per_s", "1/s", "higher", "Images that are trained on, or recognized, per second.", title="ResNet images ({})",
            formula="batch / seconds per step, one figure per block", peer_floor=0.04, required=False, kind="training",
            other_peaks=_PEAKS,
        ),
        Metric(
            "small_images_per_s", "1/s", "exact", "The same of tiny images on a CPU: shows that it works; reported only.", title="ResNet small images ({})",
            formula="batch / seconds per step, one figure per block", required=False,
        ),
        Metric(
            "logit_error", "share", "lower", "How far the logits in float32 are from float64 on the CPU.", title="ResNet, deviation of the logits ({})",
            formula="‖logits - reference‖ / ‖reference‖; 1.8e308 when one is not a number", statistic="worst",
            limit=at_most(
                2e-3, "share", "IEEE float32 differs by 1e-6 … 7e-5, operands cut to TF32 by 1e-2 … 0.3 (on a CPU, 64 and 224 pixels)"
            ), code=FindingCode.TRAINING_OFF,
        ),
        Metric(
            "loss_drop", "share", "lower", "Lowest loss of the first steps as a share of the first one.", title="ResNet, remaining loss ({})",
            formula="min(loss[1..3]) / loss[0]; 1.8e308 when one is not a number", statistic="worst", required=False,
            limit=at_most(0.9, "share", "healthy ones fell to 0.59 or less, with 2 … 64 images of 64 and 224 pixels"),
            code=FindingCode.TRAINING_OFF,
        ),
        Metric(
            "replica_mismatch", "replicas", "lower", "1 when a repetition, or most like ranks, came to other logits.", title="ResNet, replicas that differ ({})",
            formula="128-bit digest of the logits of a batch differs", statistic="worst",
            source="hpcaccept/measure/kernels/replicas.py",
            limit=at_most(0, "replicas", "the same operations on the same bits give the same bits"), code=FindingCode.REPLICA_DIFFERS,
        ),
        Metric(
            "spread", "share", "exact", "How far the blocks lie apart; above 5 % the rate is suspect.", title="ResNet, spread ({})",
            formula="(max - min) / median of the blocks", headline=False,
        ),
    )  # fmt: skip

    models: tuple[str, ...] = param(_MODELS, one_of=_MODELS, not_empty=True)
    modes: tuple[str, ...] = param(_MODES, one_of=_MODES, not_empty=True)
    precisions: tuple[str, ...] = param(_PRECISIONS, one_of=_PRECISIONS, not_empty=True)
    amp: str = param("auto", one_of=_AMP)
    batch: int = param(0, at_least=0, at_most=1 << 20)
    pixels: int = param(0, also=(0,), at_least=32, at_most=1 << 14)
    blocks: int = param(0, at_least=0, at_most=MOST_BLOCKS)
    block_s: float = param(0.0, at_least=0, at_most=HOUR_S, unit="s")

    def measure(self, ctx: CheckContext) -> replicas.Replica:
        """Each network in turn; see the class. Gives what ``compare`` needs."""
        device = open_device(ctx.device)
        amp = amp_format(self.amp, device)
        ctx.fact("amp", amp)
        digests, repeated = [], True
        with device.fp32_as("ieee"):
            for name in self.models:
                ctx.beat(name)
                network = Network(name, device, *self._work(name, device))
                ctx.emit("logit_error", network.logit_error(), name)
                first, second = (network.logits_digest() for _ in range(2))
                repeated &= first == second
                digests.append(first)
                ctx.fact(f"batch[{name}]", f"{network.batch} images of {network.pixels}x{network.pixels}")
                for mode in self.modes:
                    for precision in self.precisions:
                        self._rate(ctx, device, network, mode, precision if precision == "fp32" else amp)
                del network
                device.give_back()
        ctx.emit("replica_mismatch", float(not repeated), "repeat")
        return replicas.replica(ctx, device, "-".join(digests))

    def compare(self, ctx: CheckContext, kept: replicas.Replica | None) -> None:
        """Compare the logits of all ranks."""
        replicas.compare(ctx, kept)

    def _work(self, name: str, device: Device) -> tuple[int, int]:
        batch, pixels = WORK[device.kind][name]
        return self.batch or batch, self.pixels or pixels

    def _rate(self, ctx: CheckContext, device: Device, network: Network, mode: str, form: str) -> None:
        """One variant: verified, then timed."""
        label = "fp32" if form == "fp32" else "amp" if self.amp == "auto" else form
        variant = f"{network.name}/{mode}/{label}"
        ctx.beat(variant)
        if mode == "train":
            call, drop = network.training(form)
            ctx.emit("loss_drop", drop, variant)
        else:
            call = network.inference(form)
        beat = step_times.Beat(ctx.beat, of=variant)

        def beating() -> None:
            beat()
            call()

        seconds = time_blocks(own_calls(device), beating, self._pace(device))
        rate = "images_per_s" if device.kind == "cuda" else "small_images_per_s"
        for repeat, figure in enumerate(seconds):
            ctx.emit(rate, network.batch / figure, variant, repeat)
        ctx.emit("spread", spread(seconds), variant)

    def _pace(self, device: Device) -> Pace:
        on_gpu = device.kind == "cuda"
        block_s = self.block_s or (1.0 if on_gpu else 0.0)
        return Pace(self.blocks or (5 if on_gpu else 3), block_s, 5 * block_s)


class Network:
    """One of the networks on a device, with a batch of images, always from the same initial weights.

    Attributes:
        name: ``resnet50``.
        batch: images in a batch.
        pixels: side of an image.
    """

    def __init__(self, name: str, device: Device, batch: int, pixels: int) -> None:
        import torch

        self.name, self.batch, self.pixels = name, batch, pixels
        self._device = device
        plain = initial(name)
        self._few, _ = images(_REFERENCE_IMAGES, pixels)
        self._expected = reference_logits(plain, self._few)
        self._initial = plain
        inputs, labels = images(batch, pixels)
        self._inputs = inputs.to(device.name, memory_format=torch.channels_last)
        self._labels = labels.to(device.name)

    def logit_error(self) -> float:
        """Relative distance of the logits of a few images in float32 from those in float64."""
        import torch

        few = self._few.to(self._device.name, memory_format=torch.channels_last)
        with torch.no_grad():
            found = self._fresh().eval()(few).double().cpu()
        distance = torch.linalg.vector_norm(found - self._expected) / torch.linalg.vector_norm(self._expected)
        return recipe.as_number(float(distance))

    def logits_digest(self) -> str:
        """Every bit of the logits of the batch, in float32 by deterministic algorithms."""
        import torch

        with repeatable(), torch.no_grad():
            return recipe.digest([self._fresh().eval()(self._inputs)])

    def inference(self, form: str) -> Callable[[], object]:
        """The forward pass over the batch, in ``fp32``, ``bf16`` or ``fp16``."""
        model = self._fresh().eval()

        def call() -> Tensor:
            import torch

            with torch.no_grad(), self._autocast(form):
                return model(self._inputs)

        return call

    def training(self, form: str) -> tuple[Callable[[], object], float]:
        """One step on the batch, and what is left of the loss after the first ones."""
        import torch

        model = self._fresh().train()
        scale = _FP16_SCALE if form == "fp16" else 1.0
        optimizer = recipe.Momentum(model.parameters(), _RATE / scale)

        def step() -> Tensor:
            with self._autocast(form):
                loss = torch.nn.functional.cross_entropy(model(self._inputs), self._labels)
            (loss * scale).backward()
            optimizer.step()
            return loss.detach()

        first, *others = [recipe.as_number(float(step())) for _ in range(_STEPS)]
        # A loss that is not a number is the largest there is: it must not vanish beside a smaller one.
        drop = max(others) if recipe.as_number(float("inf")) in (first, *others) else min(others) / first
        return step, drop

    def _autocast(self, form: str) -> Any:
        import torch

        types = {"bf16": torch.bfloat16, "fp16": torch.float16}
        return torch.autocast(self._device.kind, types.get(form, torch.bfloat16), enabled=form in types)

    def _fresh(self) -> Module:
        """The initial network on the device."""
        import torch

        return copy.deepcopy(self._initial).to(self._device.name, memory_format=torch.channels_last)


def amp_format(asked: str, device: Device) -> str:
    """``bf16`` or ``fp16``: GPUs before Ampere (compute capability 8.0) have no bfloat16, as they have no TF32."""
    if asked != "auto":
        return asked
    return "bf16" if device.kind == "cpu" or device.has_tf32() else "fp16"


def initial(name: str) -> Module:
    """The network on the CPU with weights from a fixed seed: the same bits wherever torch is the same."""
    import torch
    import torchvision

    torch.manual_seed(_SEED)
    return getattr(torchvision.models, name)(weights=None)


def images(batch: int, pixels: int) -> tuple[Tensor, Tensor]:
    """Noise with the tint of its class, and the classes: float32 on the CPU, the same bits on every platform."""
    import torch

    labels = torch.arange(batch) % _CLASSES
    noise = torch.from_numpy(recipe.uniform(_NOISE, batch, 3, pixels, pixels))
    tint = torch.from_numpy(recipe.uniform(_TINT, _CLASSES, 3, 1, 1))
    return (noise + tint[labels]).float(), labels


def reference_logits(model: Module, few: Tensor) -> Tensor:
    """Logits in float64 on the CPU. Fixes the statistics of batch normalization in ``model`` to those of these images.

    As initialized they are 0 and 1, with which the activations of a deep network double in every block.
    """
    import torch

    wide = copy.deepcopy(model).double()
    norms = [module for module in wide.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over all batches, of which there is one
    with torch.no_grad():
        wide.train()(few.double())
        for norm in norms:
            # float32 from here on, so that device and reference have the same numbers
            norm.running_mean.copy_(norm.running_mean.float())
            norm.running_var.copy_(norm.running_var.float())
        model.load_state_dict(
            {key: value.to(model.state_dict()[key].dtype) for key, value in wide.state_dict().items()}
        )
        logits: Tensor = wide.eval()(few.double())
    return logits
