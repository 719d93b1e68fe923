"""What a check measures with, for real: the CheckContext over MPI."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.measure.ranks import mpi
from hpcaccept.model.metric import Metric
from hpcaccept.model.record import Sample

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np


@dataclass(frozen=True)
class RankPlacement:
    """Where a rank stands: among all ranks, on its node, and on its kernel (virtual nodes may share one).

    Attributes:
        rank: in the world of the step.
        size: of that world.
        node: name of the node.
        node_ranks: ranks of the same node.
        host_ranks: ranks on the same kernel.
        host_cores: processors that those ranks have together, quota included.
        cores: processors that this rank may use, quota included.
        device: ``cuda:3`` or ``cpu``.
        gpus_asked: GPUs asked for on each node.
        shared_kernel: True when all ranks of the step run on one kernel.
        slices_asked: what was asked for are slices of GPUs.
    """

    rank: int
    size: int
    node: str
    node_ranks: tuple[int, ...]
    host_ranks: tuple[int, ...]
    host_cores: float
    cores: float
    device: str
    gpus_asked: int
    shared_kernel: bool
    slices_asked: bool = False

    @property
    def local_rank(self) -> int:
        """Index within the node: also the index of the GPU."""
        return self.node_ranks.index(self.rank)

    @property
    def in_turn(self) -> bool:
        """True when ranks outnumber the cores of their kernel: side by side they would measure each other."""
        return len(self.host_ranks) > self.host_cores

    @property
    def threads(self) -> int:
        """Compute threads of this rank: its share of the cores, at least one."""
        return max(1, int(self.host_cores // len(self.host_ranks)))


@dataclass
class MpiContext:
    """``hpcaccept.model.check.CheckContext`` for one check on one rank; holds what the check emitted."""

    comm: Any  # MPI.Intracomm; importing the type would start MPI
    place: RankPlacement
    check: str
    metrics: Sequence[Metric]
    deadline_s: float
    on_beat: Callable[[str], None]
    folder: Path
    model: str = ""
    begun: Any = None
    samples: list[Sample] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    not_supported: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rank = self.place.rank
        self.size = self.place.size
        self.local_rank = self.place.local_rank
        self.node = self.place.node
        self.node_ranks = self.place.node_ranks
        self.device = self.place.device
        self.threads = self.place.threads
        self.cores = self.place.cores
        self.gpus_asked = self.place.gpus_asked
        self.slices_asked = self.place.slices_asked
        self.in_turn = self.place.in_turn

    def emit(self, metric: str, value: float, variant: str = "", repeat: int = 0) -> None:
        """Keep one sample. Raises ValueError for an undeclared metric or a number that is not finite."""
        if metric not in {m.name for m in self.metrics}:
            raise ValueError(f"check {self.check!r} emitted the undeclared metric {metric!r}")
        if not math.isfinite(value):
            raise ValueError(f"check {self.check!r} measured {metric}[{variant}] = {value}, which is not a number")
        self.samples.append(Sample(metric, float(value), variant, repeat))

    def fact(self, name: str, text: str) -> None:
        """Keep a text that is not a number."""
        self.facts[name] = str(text)

    def unsupported(self, variant: str, why: str) -> None:
        """Say that this device cannot do a variant."""
        self.not_supported[variant] = why

    def keep(self, name: str, text: str) -> None:
        """Keep the raw output of a tool as a file; a full disk costs the file, not the measurement."""
        file = self.folder / f"{self.check.replace(':', '-')}.r{self.rank:06d}.{name}"
        try:
            file.write_text(text, encoding="utf-8", errors="replace")
        except OSError as fault:
            self.fact(f"output[{name}]", f"could not be kept: {fault.strerror}")
        else:
            self.fact(f"output[{name}]", f"{self.folder.parent.name}/{self.folder.name}/{file.name}")

    def beat(self, phase: str) -> None:
        """Say where the measurement is."""
        self.on_beat(phase)

    def barrier(self) -> None:
        """Wait for all ranks."""
        mpi.barrier(self.comm)

    def allgather(self, thing: Any) -> list[Any]:
        """The thing of every rank, by rank."""
        return mpi.allgather(self.comm, thing)

    def bcast(self, thing: Any) -> Any:
        """Rank 0's thing, for everyone."""
        return mpi.bcast(self.comm, thing)

    def reduce_sum(self, buffer: np.ndarray) -> None:
        """All-reduce a numpy buffer in place with ``MPI_Allreduce`` (sum)."""
        from mpi4py import MPI

        self.comm.Allreduce(MPI.IN_PLACE, buffer, op=MPI.SUM)

    def process_group(self) -> AbstractContextManager[str]:
        """``torch.distributed`` over all ranks while it is open; gives the backend's name."""
        from hpcaccept.measure.ranks.process_group import process_group

        return process_group(
            self.device,
            self.rank,
            self.size,
            bcast=self.bcast,
            allgather=self.allgather,
            shared_kernel=self.place.shared_kernel,
            timeout_s=self.deadline_s,
            log_folder=self.folder,
        )
