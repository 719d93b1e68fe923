"""The samples of a run for judging, as columns: 16,384 nodes must fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class MeasuredSubject:
    """One measured device of one node.

    Attributes:
        node: name of the node.
        device: ``cuda:3`` or ``cpu``; with several CPU ranks per node ``cpu:1``.
        device_id: GPU UUID, or empty.
        model: name the driver gives the GPU or model name of the CPU: only like subjects are peers.
        setting: what else must be alike for numbers to be compared (threads, in turn or not).
    """

    node: str
    device: str
    device_id: str = ""
    model: str = ""
    setting: str = ""


@dataclass(frozen=True)
class SampleTable:
    """All samples of a run, one row each.

    Attributes:
        keys: metric keys (``matmul.rate_flops[fp32]``).
        subjects: measured devices.
        key: int32[n], index into keys.
        subject: int32[n], index into subjects; -1 for numbers that speak of all nodes together.
        launch: int32[n], number of the step it was measured in: a retest is another launch.
        repeat: int32[n], block within the launch.
        value: float64[n], SI units.
    """

    keys: tuple[str, ...]
    subjects: tuple[MeasuredSubject, ...]
    key: npt.NDArray[np.int32]
    subject: npt.NDArray[np.int32]
    launch: npt.NDArray[np.int32]
    repeat: npt.NDArray[np.int32]
    value: npt.NDArray[np.float64]

    @cached_property
    def node_numbers(self) -> npt.NDArray[np.intp]:
        """int[subjects], the same number for subjects of one node."""
        number = {node: i for i, node in enumerate(dict.fromkeys(subject.node for subject in self.subjects))}
        return np.array([number[subject.node] for subject in self.subjects], np.intp)

    def __len__(self) -> int:
        return len(self.value)
