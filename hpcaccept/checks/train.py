"""Verifies that a training comes to the right result, and to the same bits everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.measure.device import open_device, repeatable
from hpcaccept.measure.kernels import replicas, training
from hpcaccept.model.check import Check, CheckContext
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import MOST_BLOCKS, param

if TYPE_CHECKING:
    from hpcaccept.measure.device import Device

#: Loss before each of the 30 steps, by the numpy float64 implementation in tests/unit/checks/test_train.py, which
#: shares nothing with torch. Printed with repr, so the bits are complete.
REFERENCE = (
    0.310233400200292,
    0.28495875883167426,
    0.24398668921354,
    0.19840580144043748,
    0.15633789998949305,
    0.12148955660049256,
    0.0943161476174075,
    0.07403093572174715,
    0.059894836828031525,
    0.05131899050622458,
    0.04733902317836586,
    0.04629463827147419,
    0.04611786379470627,
    0.04504023783280104,
    0.04222458612148991,
    0.037921043676178975,
    0.03309115562292608,
    0.028775059143410046,
    0.025581656274590785,
    0.023535073745604155,
    0.022259042828558232,
    0.0213001728248173,
    0.020369839658875923,
    0.019397025932838846,
    0.01843108146383353,
    0.017513748300944515,
    0.016619519753295578,
    0.015683965819794272,
    0.014670980851545092,
    0.013614967695670634,
)

_PRECISIONS = ("fp64", "fp32")


@dataclass(frozen=True)
class Train(Check):
    """A short training from a fixed seed, alone on each device: right, repeatable, and the same on every replica.

    How: a perceptron (32-128-128-8, tanh, mean square loss, SGD with momentum) takes 30 steps on 256 samples. Data and
    initial weights come from a counter-based stream that is the same on every platform. It is trained in float64 and in
    IEEE float32 with deterministic algorithms, 1 + ``repeats`` times each.

    1. ``loss_error``: the float64 losses against a curve that numpy made, shipped in this file.
    2. ``loss_error_fp32``: the float32 losses against the same curve; a TF32 left on by accident is outside its bound.
    3. ``replica_mismatch[repeat]``: 1 when a repetition gave another bit, in any loss or any final parameter.
    4. ``replica_mismatch[peers]``: 1 when this rank's bits differ from those of most ranks with the same part, software
       and threads. In a tie all of them get 1: somebody is wrong, and a third has to tell who. A rank that nobody is
       like has no such number (the fact ``replicas`` says so).

    What it does not mean: ``steps_per_s`` is mostly the cost of launching small operations, not a training speed, and
    deterministic kernels are slower than others. A fault that every replica shares is only seen by 1 and 2.

    Parameters:
        repeats: trainings after the first one, each compared with it and timed; at least 1.
    """

    name: ClassVar = "train"
    revision: ClassVar = 2
    about: ClassVar = "A short training: right against a reference curve, bit for bit the same on all replicas."
    needs: ClassVar = ("torch",)
    metrics: ClassVar = (
        Metric(
            "loss_error", "share", "lower", "Largest relative deviation of the float64 losses from the reference.", title="training, deviation of the FP64 loss",
            formula="max over steps of |loss / reference - 1|; 1.8e308 when a loss is not a number", statistic="worst",
            limit=at_most(
                1e-9, "share", "in float64 torch and numpy differ by 1e-15 over 30 steps; float32 in its place by 3e-7"
            ), code=FindingCode.TRAINING_OFF,
        ),
        Metric(
            "loss_error_fp32", "share", "lower", "Largest relative deviation of the float32 losses from the reference.", title="training, deviation of the FP32 loss",
            formula="max over steps of |loss / reference - 1|; 1.8e308 when a loss is not a number", statistic="worst",
            limit=at_most(1e-5, "share", "IEEE float32 differs by 4e-7 over 30 steps, TF32 by 3e-4"), code=FindingCode.TRAINING_OFF,
        ),
        Metric(
            "loss_drop", "share", "lower", "Last loss as a share of the first one (float64).", title="training, remaining loss",
            formula="loss[29] / loss[0]", statistic="worst",
            limit=at_most(0.5, "share", "the reference falls to 0.044"), code=FindingCode.TRAINING_OFF,
        ),
        Metric(
            "replica_mismatch", "replicas", "lower", "1 when a repetition, or most like ranks, came to other bits.", title="training, replicas that differ ({})",
            formula="128-bit digest of all losses and final parameters differs", statistic="worst",
            source="hpcaccept/measure/kernels/replicas.py",
            limit=at_most(0, "replicas", "the same operations on the same bits give the same bits"), code=FindingCode.REPLICA_DIFFERS,
        ),
        Metric(
            "steps_per_s", "1/s", "higher", "Training steps per second.", title="training steps ({})", formula="30 / seconds of one training",
            peer_floor=0.06, kind="training",
        ),
    )  # fmt: skip

    repeats: int = param(2, at_least=1, at_most=MOST_BLOCKS)

    def measure(self, ctx: CheckContext) -> replicas.Replica:
        """Train alone; see the class. Gives what ``compare`` needs."""
        device = open_device(ctx.device)
        losses: dict[str, list[float]] = {}
        digests: list[str] = []
        repeated = True
        with repeatable(), device.fp32_as("ieee"):
            for precision in _PRECISIONS:
                ctx.beat(precision)
                runs = [train_once(device, precision) for _ in range(1 + self.repeats)]
                losses[precision] = runs[0].losses
                digests.append(runs[0].digest)
                repeated &= all(run.digest == runs[0].digest for run in runs)
                for repeat, run in enumerate(runs[1:]):
                    ctx.emit("steps_per_s", training.STEPS / run.seconds, precision, repeat)
        ctx.emit("loss_error", training.largest_deviation(losses["fp64"], REFERENCE))
        ctx.emit("loss_error_fp32", training.largest_deviation(losses["fp32"], REFERENCE))
        ctx.emit("loss_drop", training.as_number(losses["fp64"][-1] / losses["fp64"][0]))
        ctx.emit("replica_mismatch", float(not repeated), "repeat")
        return replicas.replica(ctx, device, "-".join(digests))

    def compare(self, ctx: CheckContext, kept: replicas.Replica | None) -> None:
        """Compare the bits of all ranks."""
        replicas.compare(ctx, kept)


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        losses: before each step.
        digest: of the losses and the final parameters, every bit.
        seconds: of all steps.
    """

    losses: list[float]
    digest: str
    seconds: float


def train_once(device: Device, precision: str) -> Run:
    """All steps from the initial weights, in ``fp64`` or ``fp32``."""
    import torch

    dtype = {"fp64": torch.float64, "fp32": torch.float32}[precision]
    inputs, targets = (torch.from_numpy(a).to(device.name, dtype) for a in training.samples())
    model = training.model(dtype, device.name)
    optimizer = training.Momentum(model.parameters())
    losses: list[Any] = []

    def steps() -> None:
        for _ in range(training.STEPS):
            loss = torch.nn.functional.mse_loss(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())

    seconds = device.time_block(steps, 1)
    curve = torch.stack(losses)
    return Run([float(x) for x in curve], training.digest([curve, *model.parameters()]), seconds)
