"""A check, and what it gets to measure with."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from hpcaccept.model.metric import Metric, Scope

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    import numpy as np


class Unavailable(Exception):
    """A check cannot be measured here, and why: the record becomes NOT_RUN, never a pass."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy


@dataclass(frozen=True)
class Shorter:
    """A cheaper form of a check, for a run that must fit a budget.

    Attributes:
        params: that it sets.
        share: of the time that the check takes without them.
        unseen: what is not seen then, as the end of a sentence: ``faults that begin after a minute of load``.
        gpus_only: True where it is no cheaper without GPUs.
    """

    params: Mapping[str, Any]
    share: float
    unseen: str
    gpus_only: bool = False


class CheckContext(Protocol):
    """What a check measures with. Its numbers speak of this rank's device.

    Attributes:
        rank: MPI rank in the step.
        size: ranks in the step.
        local_rank: index within the node, and of the GPU.
        node: name of the node.
        node_ranks: ranks of this node, in order.
        device: ``cuda:3`` or ``cpu``: what torch is given.
        threads: compute threads of this rank.
        cores: processors this rank may use.
        gpus_asked: GPUs the request asked for on each node.
        slices_asked: True where these are slices of GPUs (``1g.10gb:28``).
        in_turn: True when ranks of this host measure one after another.
        model: name the driver gives the GPU, or model name of the CPU; empty in ``begin``.
        folder: in the run folder, for files that tools write; shared by all ranks of the step, so names need the rank.
        begun: what ``begin`` of this check returned.
    """

    rank: int
    size: int
    local_rank: int
    node: str
    node_ranks: tuple[int, ...]
    device: str
    threads: int
    cores: float
    gpus_asked: int
    slices_asked: bool
    in_turn: bool
    model: str
    folder: Path
    begun: Any

    def emit(self, metric: str, value: float, variant: str = "", repeat: int = 0) -> None:
        """Keep one sample. Raises ValueError for an undeclared metric or a number that is not finite."""

    def fact(self, name: str, text: str) -> None:
        """Keep a text that is not a number.

        A fact called like a metric, or ending in a variant (``found[memory/gpu3]``), is quoted by a FAIL of it.
        """

    def unsupported(self, variant: str, why: str) -> None:
        """Say that this device cannot do a variant (or an optional metric): NOT_RUN with its cause in the report."""

    def keep(self, name: str, text: str) -> None:
        """Keep the raw output of a tool as a file of the run folder; the fact ``output[name]`` says where."""

    def beat(self, phase: str) -> None:
        """Say where the measurement is, for the day it stops."""

    def barrier(self) -> None:
        """Wait for all ranks, without burning a core, at most until the deadline."""

    def allgather(self, thing: Any) -> list[Any]:
        """The thing of every rank, by rank. Small texts and numbers only."""

    def bcast(self, thing: Any) -> Any:
        """Rank 0's thing, for everyone."""

    def reduce_sum(self, buffer: np.ndarray) -> None:
        """All-reduce a numpy buffer in place with MPI itself (``MPI_Allreduce``, sum)."""

    def process_group(self) -> AbstractContextManager[str]:
        """``torch.distributed`` over all ranks while it is open; gives the backend's name (``nccl``, ``gloo``)."""


@dataclass(frozen=True)
class Check(abc.ABC):
    """One thing that can be measured or verified.

    A subclass lives in ``hpcaccept/checks/<name>.py``; its fields are its parameters, its docstring its manual.
    Heavy modules are imported inside ``measure`` only.
    """

    name: ClassVar[str]
    #: Changes when the number could change: baselines of another revision are not compared.
    revision: ClassVar[int]
    #: One sentence for ``hpcaccept checks``.
    about: ClassVar[str]
    metrics: ClassVar[Sequence[Metric]]
    #: Modules that the rank program imports before the measurement starts, so that imports are never timed.
    needs: ClassVar[tuple[str, ...]] = ()
    #: ``device``: ranks are independent and may measure in turn. ``world``: all ranks act together.
    scope: ClassVar[Scope] = "device"
    #: True when it must have a GPU where GPUs were asked for; False when it also speaks about a node without them.
    on_device: ClassVar[bool] = True
    #: True when it speaks of GPUs only: where none were asked for it is shown as not run, and is no failure.
    needs_gpu: ClassVar[bool] = False
    #: True when a program that it starts on every rank is that rank's process in the MPI of the step. Such a check has a step of its own, in which
    #: the rank leaves MPI alone: of ``ctx`` there are ``allgather``, ``bcast`` and ``barrier``, through the run folder. GPUs only, scope ``world``.
    brings_mpi: ClassVar[bool] = False
    #: Seconds that it takes at most with its default parameters on healthy nodes; None where that hangs on the device and the number of nodes.
    usual_s: ClassVar[float | None] = None
    #: Cheaper forms, the cheapest first, for runs that must fit a budget.
    shorter: ClassVar[Sequence[Shorter]] = ()

    #: Of a check that divides the nodes into groups itself: the check that the groups of an isolation run in its place.
    isolated_by: ClassVar[str] = ""

    def begin(self, ctx: CheckContext) -> Any:  # noqa: B027 (most checks judge no difference)
        """Look at the device before the first check of the step loads it: the *before* of a difference.

        Called once on every rank when the step starts, before anything is imported; no torch, no collective, no load.
        What is returned is ``ctx.begun`` in ``measure``; what is raised is raised again there.
        """

    @abc.abstractmethod
    def measure(self, ctx: CheckContext) -> Any:
        """Measure, verify, and ``emit``.

        Where ``scope`` is ``device``, ranks may measure one after another: no barrier and no collective in here.

        Returns:
            What ``compare`` of this rank is to be given: None, or plain JSON types.

        Raises:
            Unavailable: it cannot be measured here (the record says NOT_RUN and why).
        """

    def compare(self, ctx: CheckContext, kept: Any) -> None:  # noqa: B027 (most checks have nothing to compare)
        """Compare the ranks with each other and ``emit`` what comes of it.

        Called on all ranks together after every rank has measured, so collectives are welcome. ``kept`` is what this
        rank's ``measure`` returned, None for a rank that could not measure: it must still take part.
        """

    @classmethod
    def metric(cls, name: str) -> Metric | None:
        """The declared metric of that name."""
        return next((m for m in cls.metrics if m.name == name), None)
