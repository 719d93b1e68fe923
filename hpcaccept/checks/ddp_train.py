"""Do all ranks together train as one, with torch's DistributedDataParallel?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.measure import recipe, replicas
from hpcaccept.measure.device import open_device, repeatable
from hpcaccept.model.check import Bench, Check, Unavailable
from hpcaccept.model.metric import Metric, at_most

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from hpcaccept.measure.device import Device

    Array = npt.NDArray[np.float64]
    Tensor = Any

#: Rounding of float32 to the nearest.
_ROUNDOFF = 2.0**-24
_STEPS_PER_BLOCK = 10


@dataclass(frozen=True)
class DdpTrain(Check):
    """A data-parallel training over all ranks: gradients really averaged, replicas equal, loss falling.

    How: the perceptron of ``train`` in IEEE float32; each rank has its own 256 samples of one function. Over NCCL
    (gloo on CPUs), with deterministic algorithms.

    1. Each rank computes the gradient of its own samples alone. MPI, not the backend under test, adds them up in
       float64. The gradient that DistributedDataParallel leaves after its first backward pass must be their mean, in
       every element, within the rounding of a float32 sum (``wrong_elements``). A group that does not talk, talks to
       the wrong ranks or forgets one is caught here, where a falling loss would hide it.
    2. 30 more steps in 3 blocks; ``samples_per_s`` is of the slowest rank.
    3. The final parameters of like ranks must be equal in every bit (``replica_mismatch[peers]``); in a tie all of them
       get 1.

    What it does not mean: ``samples_per_s`` of so small a model is the latency of its all-reduce and of launching, not
    a training speed. ``loss_drop`` says that learning happens, not how well.
    """

    name: ClassVar = "ddp_train"
    revision: ClassVar = 1
    about: ClassVar = "A data-parallel training: gradients truly averaged, replicas equal in every bit, loss falling."
    # DistributedDataParallel imports torch's compiler (2 s) when the first one is made.
    needs: ClassVar = ("torch", "torch.distributed", "torch._dynamo")
    scope: ClassVar = "world"
    metrics: ClassVar = (
        Metric(
            "wrong_elements", "elements", "lower", "Elements of the averaged gradient that are not the ranks' mean.",
            formula="count of |ddp gradient - mean| > (n + 2)·2^-24·mean of |gradient|, n ranks", statistic="worst",
            limit=at_most(0, "elements", "n additions and a division, each rounded to nearest in float32"),
        ),
        Metric(
            "replica_mismatch", "replicas", "lower", "1 when this rank's parameters differ from most like ranks'.",
            formula="128-bit digest of the final parameters differs", source="hpcaccept/measure/replicas.py",
            statistic="worst", limit=at_most(0, "replicas", "equal parameters, equal gradients, equal steps"),
            required=False,
        ),
        Metric(
            "loss_drop", "share", "lower", "Last loss as a share of the first one, means over ranks.", scope="world",
            formula="Σ last / Σ first", statistic="worst", limit=at_most(0.5, "share", "a healthy one falls below 0.1"),
        ),
        Metric(
            "samples_per_s", "1/s", "higher", "Samples that all ranks together train on per second.", scope="world",
            formula="256 · ranks · steps / seconds of the slowest rank, one figure per block",
        ),
    )  # fmt: skip

    blocks: int = 3

    def measure(self, bench: Bench) -> None:
        """All ranks together; see the class."""
        if bench.size == 1:
            raise Unavailable("One rank alone has nobody to train with.", "Ask for two ranks or more.")
        device = open_device(bench.device)
        bench.fact("transport", device.collectives())
        with repeatable(), device.fp32_as("ieee"), bench.process_group():
            training = Training(bench, device)
            bench.beat("gradient")
            mean, bound = mean_gradient(bench, training.gradient_alone())
            bench.emit("wrong_elements", wrong_gradients(training.first_step(), mean, bound))
            seconds = []
            for block in range(self.blocks):
                bench.beat(f"block {block}")
                seconds.append(device.time_block(training.step, _STEPS_PER_BLOCK))
            curves = bench.allgather(training.curve())
            slowest = [max(block) for block in zip(*bench.allgather(seconds), strict=True)]
            digest = recipe.digest(training.model.parameters())
        if bench.rank == 0:
            first, last = (sum(curve[at] for curve in curves) for at in (0, -1))
            bench.emit("loss_drop", recipe.as_number(last / first))
            for repeat, block_s in enumerate(slowest):
                rate = recipe.BATCH * bench.size * _STEPS_PER_BLOCK / block_s
                bench.emit("samples_per_s", rate, repeat=repeat)
        replicas.compare(bench, replicas.replica(bench, device, digest))


class Training:
    """The model of this rank, plain and wrapped, while it is trained."""

    def __init__(self, bench: Bench, device: Device) -> None:
        import torch

        self.model = recipe.model(torch.float32, device.name)
        self._data = tuple(torch.from_numpy(a).to(device.name, torch.float32) for a in recipe.samples(bench.rank))
        self._losses: list[Tensor] = []
        self._wrapped = torch.nn.parallel.DistributedDataParallel(self.model)
        self._optimizer = recipe.Momentum(self.model.parameters())

    def gradient_alone(self) -> Array:
        """Of this rank's samples only: the wrapper and its group take no part."""
        self._backward(self.model)
        gradient = self._gradient()
        self.model.zero_grad()
        return gradient

    def first_step(self) -> Array:
        """One step; gives the gradient that it went along, as the wrapper left it."""
        self._losses.append(self._backward(self._wrapped))
        gradient = self._gradient()
        self._optimizer.step()
        return gradient

    def step(self) -> None:
        """One step of all ranks."""
        self._losses.append(self._backward(self._wrapped))
        self._optimizer.step()

    def curve(self) -> list[float]:
        """This rank's loss before each step; a diverged one is 1.8e308."""
        return [recipe.as_number(float(loss)) for loss in self._losses]

    def _backward(self, model: Any) -> Tensor:
        import torch

        inputs, targets = self._data
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        return loss.detach()

    def _gradient(self) -> Array:
        import torch

        gradient: Array = torch.cat([p.grad.flatten() for p in self.model.parameters()]).double().cpu().numpy()
        return gradient


def mean_gradient(bench: Bench, alone: Array) -> tuple[Array, Array]:
    """Mean over ranks and how far a float32 sum may honestly be from it, element by element; over MPI."""
    total, magnitude = alone.copy(), abs(alone)
    bench.reduce_sum(total)
    bench.reduce_sum(magnitude)
    return total / bench.size, (bench.size + 2) * _ROUNDOFF * magnitude / bench.size


def wrong_gradients(found: Array, mean: Array, bound: Array) -> int:
    """Elements outside their bound; NaN is outside."""
    return int((~(abs(found - mean) <= bound)).sum())
