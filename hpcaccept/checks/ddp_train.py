"""Trains all ranks together as one with torch's DistributedDataParallel, and finds the one that holds the others up."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.measure.device import open_device, repeatable
from hpcaccept.measure.kernels import replicas, step_times
from hpcaccept.measure.kernels import training as recipe
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, param

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from hpcaccept.measure.device import Device

    Array = npt.NDArray[np.float64]
    Tensor = Any

#: Rounding of float32 to the nearest.
_ROUNDOFF = 2.0**-24
#: Seconds per block by kind of device, for ``block_s`` = 0.
_BLOCK_S = {"cuda": 1.0, "cpu": 0.1}
#: Steps by which the length of a block is chosen.
_TRIAL_STEPS = 5


@dataclass(frozen=True)
class DdpTrain(Check):
    """A data-parallel training over all ranks: gradients really averaged, every step right, nobody holding the others up.

    How: the perceptron of ``train`` in IEEE float32; each rank has its own 256 samples of one function. Over NCCL
    (gloo on CPUs), with deterministic algorithms.

    1. Each rank computes the gradient of its own samples alone. MPI, not the backend under test, adds them up in
       float64. The gradient that DistributedDataParallel leaves after its first backward pass must be their mean, in
       every element, within the rounding of a float32 sum (``wrong_elements``). A group that does not talk, talks to
       the wrong ranks or forgets one is caught here, where a falling loss would hide it.
    2. 30 steps beside the same training in float64, whose gradients MPI averages: every loss of every rank must be that
       of the reference (``loss_error``). A collective that goes wrong later leaves all replicas equal and the loss
       falling; here it shows.
    3. ``blocks`` blocks of steps, each at least ``block_s`` long; ``samples_per_s`` is of the slowest rank. At least
       twice a second a heartbeat says which step it is, for the day one of them does not come back.
    4. The final parameters of like ranks must be equal in every bit (``replica_mismatch[peers]``); in a tie all of them
       get 1.

    **Stragglers.** In each step everybody waits for the slowest rank in the all-reduce, so steps last equally long on
    all ranks (``step_s``: p50, p99 and the worst one) and say nothing about who is slow. ``own_step_s`` is what a rank
    computes by itself, from the begin of a step until its own gradient is ready, before the all-reduce: each rank's is
    judged against those of the other ranks. Per block it is a mean, so that a rank that stands still for a part of every
    block is seen. ``straggler_share`` is that over the median of the others (the fact ``slowest`` names the largest).
    Ranks that are all slow are 1 here: ``own_step_s`` against a baseline tells.

    What it does not mean: ``samples_per_s`` of so small a model is the latency of its all-reduce and of launching, not
    a training speed. On a GPU own time is mostly the time to launch small operations: a slow host shows in it as well
    as a slow GPU, and hosts differ, hence the wide floor; ``matmul`` and ``resnet`` see smaller losses. How far healthy
    GPUs lie apart has not been tried: no GPU was at hand.

    Parameters:
        blocks: timed blocks, at least 1.
        block_s: seconds per block; 0 means 1.0 on a GPU and 0.1 on a CPU.
    """

    name: ClassVar = "ddp_train"
    revision: ClassVar = 2
    about: ClassVar = "A data-parallel training: gradients truly averaged, every loss right, stragglers named."
    # DistributedDataParallel imports torch's compiler (2 s) when the first one is made.
    needs: ClassVar = ("torch", "torch.distributed", "torch._dynamo")
    scope: ClassVar = "world"
    metrics: ClassVar = (
        Metric(
            "wrong_elements", "elements", "lower", "Elements of the averaged gradient that are not the ranks' mean.", title="distributed training, wrong gradients ({})",
            formula="count of |ddp gradient - mean| > (n + 2)·2^-24·mean of |gradient|, n ranks", statistic="worst",
            limit=at_most(0, "elements", "n additions and a division, each rounded to nearest in float32"), code=FindingCode.SUM_WRONG,
        ),
        Metric(
            "loss_error", "share", "lower", "Largest relative deviation of this rank's losses from the reference.", title="distributed training, deviation of the loss ({})",
            formula="max over 30 steps of |loss / reference - 1|; 1.8e308 when a loss is not a number", statistic="worst",
            limit=at_most(
                1e-5, "share", "float32 differs by 5e-7 over 30 steps; leaving one of 64 ranks out of one late step by 6e-4 (simulated)"
            ), code=FindingCode.TRAINING_OFF,
        ),
        Metric(
            "replica_mismatch", "replicas", "lower", "1 when this rank's parameters differ from most like ranks'.", title="distributed training, replicas that differ ({})",
            formula="128-bit digest of the final parameters differs", source="hpcaccept/measure/kernels/replicas.py",
            statistic="worst", limit=at_most(0, "replicas", "equal parameters, equal gradients, equal steps"),
            required=False, code=FindingCode.REPLICA_DIFFERS,
        ),
        Metric(
            "loss_drop", "share", "lower", "Loss after 30 steps as a share of the first one, means over ranks.", title="distributed training, remaining loss ({})",
            scope="world", formula="Σ loss[30] / Σ loss[0]", statistic="worst",
            limit=at_most(0.5, "share", "a healthy one falls below 0.1"), code=FindingCode.TRAINING_OFF,
        ),
        Metric(
            "samples_per_s", "1/s", "higher", "Samples that all ranks together train on per second.", title="distributed training rate ({})", scope="world",
            formula="256 · ranks · steps / seconds of the slowest rank, one figure per block", kind="training",
        ),
        Metric(
            "own_step_s", "s", "lower", "What this rank computes in a step before it waits for the others.", title="distributed training, own step time ({})",
            formula="begin of the step → its own gradient is ready; mean of each block", statistic="median",
            source="hpcaccept/measure/kernels/step_times.py", peer_floor=0.30, kind="training",
        ),
        Metric(
            "straggler_share", "share", "exact", "Own time of this rank, held against the other ranks'.", title="distributed training, own time against the other ranks ({})",
            formula="median block of own_step_s / median of the other ranks'", source="hpcaccept/measure/kernels/step_times.py",
        ),
        Metric(
            "step_s", "s", "exact", "Seconds of a whole step, waiting for the slowest rank included: the same on all ranks.", title="distributed training step time ({})",
            formula="p50, p99 (nearest rank) and worst of all timed steps", headline=False,
        ),
    )  # fmt: skip

    blocks: int = param(10, at_least=1, at_most=MOST_BLOCKS)
    block_s: float = param(0.0, at_least=0, at_most=HOUR_S, unit="s")

    def measure(self, ctx: CheckContext) -> None:
        """All ranks together; see the class."""
        if ctx.size == 1:
            raise Unavailable("ddp_train needs at least two ranks.", "Ask for two ranks or more.")
        device = open_device(ctx.device)
        ctx.fact("transport", device.collectives())
        with repeatable(), device.fp32_as("ieee"), ctx.process_group():
            training = Training(ctx, device)
            ctx.beat("gradient")
            mean, bound = mean_gradient(ctx, training.gradient_alone())
            ctx.emit("wrong_elements", wrong_gradients(training.first_step(), mean, bound))
            _verify(ctx, device, training)
            blocks = self._timed(ctx, device, training)
            digest = recipe.digest(training.model.parameters())
        _emit_steps(ctx, blocks)
        replicas.compare(ctx, replicas.replica(ctx, device, digest))

    def _timed(self, ctx: CheckContext, device: Device, training: Training) -> list[Steps]:
        """The blocks, equally many steps in each on all ranks."""
        trial = training.timed(_TRIAL_STEPS)
        # Rank 0 knows how long a step takes: as long as on the slowest rank.
        step_s = statistics.median(trial.whole_s)
        count = int(ctx.bcast(max(1, math.ceil((self.block_s or _BLOCK_S[device.kind]) / step_s))))
        beat = step_times.Beat(ctx.beat, total=self.blocks * count)
        return [training.timed(count, beat) for _ in range(self.blocks)]


@dataclass(frozen=True)
class Steps:
    """Some steps in a row, on this rank.

    Attributes:
        whole_s: seconds of each, from the begin of one to the begin of the next.
        own_s: seconds of each until this rank's gradient was ready.
    """

    whole_s: list[float]
    own_s: list[float]


class Training:
    """The model of this rank, plain and wrapped, while it is trained."""

    def __init__(self, ctx: CheckContext, device: Device) -> None:
        import torch

        self.model = recipe.model(torch.float32, device.name)
        self.losses: list[Tensor] = []
        self._device = device
        self._data = _samples(ctx.rank, torch.float32, device)
        self._ready: Any = None
        # Before the wrapper's own hooks: the last gradient that is ready starts the all-reduce. As it is one bucket
        # (88 KB of 1 MiB), nothing is sent before.
        for parameter in self.model.parameters():
            parameter.register_post_accumulate_grad_hook(self._gradient_is_ready)
        self._wrapped = torch.nn.parallel.DistributedDataParallel(self.model)
        self._optimizer = recipe.Momentum(self.model.parameters())

    def gradient_alone(self) -> Array:
        """Of this rank's samples only: the wrapper and its group take no part."""
        _backward(self.model, self._data)
        gradient = _gradient(self.model)
        self.model.zero_grad()
        return gradient

    def first_step(self) -> Array:
        """One step; gives the gradient that it went along, as the wrapper left it."""
        self.losses.append(_backward(self._wrapped, self._data))
        gradient = _gradient(self.model)
        self._optimizer.step()
        return gradient

    def step(self) -> None:
        """One step of all ranks; keeps its loss."""
        self.losses.append(_backward(self._wrapped, self._data))
        self._optimizer.step()

    def timed(self, count: int, on_step: Callable[[], None] = lambda: None) -> Steps:
        """So many steps of all ranks; ``on_step`` is called as each of them begins."""
        begins, readies = [], []
        for _ in range(count):
            on_step()
            begins.append(self._device.mark())
            _backward(self._wrapped, self._data)
            readies.append(self._ready)
            self._optimizer.step()
        begins.append(self._device.mark())
        between = self._device.seconds_between
        whole = [between(begin, end) for begin, end in itertools.pairwise(begins)]
        return Steps(whole, [between(begin, ready) for begin, ready in zip(begins, readies, strict=False)])

    def _gradient_is_ready(self, _: Tensor) -> None:
        self._ready = self._device.mark()


class Reference:
    """The same training in float64, its gradients averaged by MPI: nothing of the backend under test is in it."""

    def __init__(self, ctx: CheckContext, device: Device) -> None:
        import torch

        self.losses: list[Tensor] = []
        self._ctx = ctx
        self._model = recipe.model(torch.float64, device.name)
        self._data = _samples(ctx.rank, torch.float64, device)
        self._optimizer = recipe.Momentum(self._model.parameters())

    def step(self) -> None:
        """One step of all ranks; keeps its loss."""
        import torch

        self.losses.append(_backward(self._model, self._data))
        gradient = _gradient(self._model)
        self._ctx.reduce_sum(gradient)
        mean, at = torch.from_numpy(gradient / self._ctx.size), 0
        for parameter in self._model.parameters():
            parameter.grad.copy_(mean[at : at + parameter.numel()].view_as(parameter))
            at += parameter.numel()
        self._optimizer.step()


def _verify(ctx: CheckContext, device: Device, training: Training) -> None:
    """30 steps beside the reference; the first one has been made. Emits what the losses say."""
    reference = Reference(ctx, device)
    for step in range(recipe.STEPS):
        ctx.beat(f"reference, step {step} of {recipe.STEPS}")
        if step:
            training.step()
        reference.step()
    found, expected = ([recipe.as_number(float(loss)) for loss in one.losses] for one in (training, reference))
    ctx.emit("loss_error", recipe.largest_deviation(found, expected))
    curves = ctx.allgather(found)
    if ctx.rank == 0:
        first, last = (sum(curve[at] for curve in curves) for at in (0, -1))
        ctx.emit("loss_drop", recipe.as_number(last / first))


def _emit_steps(ctx: CheckContext, blocks: list[Steps]) -> None:
    """How fast all ranks were together, and who held the others up."""
    own = [statistics.fmean(block.own_s) for block in blocks]
    for repeat, mean in enumerate(own):
        ctx.emit("own_step_s", mean, repeat=repeat)
    found = step_times.distribution([s for block in blocks for s in block.whole_s])
    for variant, seconds in (("p50", found.p50_s), ("p99", found.p99_s), ("worst", found.worst_s)):
        ctx.emit("step_s", seconds, variant)
    told = ctx.allgather([ctx.node, step_times.typical(own), [sum(block.whole_s) for block in blocks]])
    typical = [own_s for _, own_s, _ in told]
    shares = step_times.straggler_shares(typical)
    ctx.emit("straggler_share", shares[ctx.rank])
    who = step_times.slowest(typical)
    ctx.fact(
        "slowest",
        f"rank {who} on {told[who][0]}: its own part of a step takes {shares[who]:.2f} times the median of the others",
    )
    if ctx.rank == 0:
        for repeat, seconds_of_ranks in enumerate(zip(*(whole for *_, whole in told), strict=True)):
            count = len(blocks[repeat].whole_s)
            ctx.emit("samples_per_s", recipe.BATCH * ctx.size * count / max(seconds_of_ranks), repeat=repeat)


def _samples(rank: int, dtype: Any, device: Device) -> tuple[Tensor, ...]:
    import torch

    return tuple(torch.from_numpy(a).to(device.name, dtype) for a in recipe.samples(rank))


def _backward(model: Any, data: tuple[Tensor, ...]) -> Tensor:
    """The loss; gradients are left in the parameters."""
    import torch

    inputs, targets = data
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    return loss.detach()


def _gradient(model: Any) -> Array:
    """All of it as float64."""
    import torch

    gradient: Array = torch.cat([p.grad.flatten() for p in model.parameters()]).double().cpu().numpy()
    return gradient


def mean_gradient(ctx: CheckContext, alone: Array) -> tuple[Array, Array]:
    """Mean over ranks and how far a float32 sum may honestly be from it, element by element; over MPI."""
    total, magnitude = alone.copy(), abs(alone)
    ctx.reduce_sum(total)
    ctx.reduce_sum(magnitude)
    return total / ctx.size, (ctx.size + 2) * _ROUNDOFF * magnitude / ctx.size


def wrong_gradients(found: Array, mean: Array, bound: Array) -> int:
    """Elements outside their bound; NaN is outside."""
    return int((~(abs(found - mean) <= bound)).sum())
