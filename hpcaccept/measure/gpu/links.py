"""How two GPUs of a node are connected, so that like pairs are compared with like. The words are the driver's."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hpcaccept.measure.gpu import driver
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN = driver.UNKNOWN_LINK


def classes(devices: Sequence[str]) -> dict[tuple[int, int], str]:
    """(i, j) → kind of link, for every ordered pair of these devices; all ``UNKNOWN`` where the driver does not say.

    Pairs behind a switch are of one kind whatever lanes are up: a GPU that lost lanes must be compared with the others,
    not with itself.
    """
    pairs = [(i, j) for i in range(len(devices)) for j in range(len(devices)) if i != j]
    with contextlib.ExitStack() as stack:
        try:
            gpus = [stack.enter_context(driver.open_gpu(name)) for name in devices]
        except Unavailable:
            return dict.fromkeys(pairs, UNKNOWN)
        return {(i, j): gpus[i].connection(gpus[j]) for i, j in pairs}
