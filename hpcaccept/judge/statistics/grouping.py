"""Which subjects may be compared, and which share a node. Looked up once for a run; afterwards they are numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcaccept.model.table import MeasuredSubject

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Alike:
    """The subjects of a run as numbers.

    Attributes:
        kinds: device model of each kind: only subjects of one kind are compared. Never what a fault can change: a node that has lost half
            of its cores, and so measures with half of the threads, is compared with those that have not.
        kind: int32[u], index into kinds.
        nodes: names.
        node: int[u], index into nodes.
    """

    kinds: tuple[str, ...]
    kind: npt.NDArray[np.int32]
    nodes: tuple[str, ...]
    node: npt.NDArray[np.intp]

    def groups(self, subject: npt.NDArray[np.int32]) -> Iterable[tuple[str, npt.NDArray[np.intp]]]:
        """Each kind among some subjects, and the rows that are of it."""
        kinds = self.kind[subject]
        for number in np.flatnonzero(np.bincount(kinds, minlength=len(self.kinds))).tolist():
            yield self.kinds[number], np.flatnonzero(kinds == number)


def alike_of(subjects: Sequence[MeasuredSubject]) -> Alike:
    """Look every subject up once."""
    kinds, kind = numbered([subject.model for subject in subjects])
    nodes, node = numbered([subject.node for subject in subjects])
    return Alike(tuple(kinds), kind.astype(np.int32), tuple(nodes), node)


def numbered(things: Sequence[T]) -> tuple[dict[T, int], npt.NDArray[np.intp]]:
    """Each different thing with its number, in the order of the first of them, and the number of each thing."""
    number = {thing: i for i, thing in enumerate(dict.fromkeys(things))}
    return number, np.fromiter(map(number.__getitem__, things), np.intp, len(things))
