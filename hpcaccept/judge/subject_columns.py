"""The column of the history that a subject of a run has, by the ids that outlive names (``model.history.subject_id``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.identities import identities
from hpcaccept.model.history import WORLD, PastSubject, subject_id

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence


@dataclass(frozen=True)
class SubjectColumns:
    """The subjects of a run by their ids.

    Attributes:
        places: subject id → where it was, in the order of the columns; silent nodes are among them.
        of: int64[n], column of each subject of the sample table; -1 where another of the same id speaks for it.
    """

    places: dict[str, PastSubject]
    of: npt.NDArray[np.int64]


def subject_columns(evidence: Evidence) -> SubjectColumns:
    """The columns of a run, its silent nodes included."""
    serials = {
        (record.node, record.device): serial
        for record in identities(evidence)
        if (serial := record.facts.get("gpu_serial", ""))
    }
    places: dict[str, PastSubject] = {}
    number: dict[str, int] = {}
    of = np.empty(len(evidence.samples.subjects), np.int64)
    for i, subject in enumerate(evidence.samples.subjects):
        name = subject_id(subject)
        place = PastSubject(
            subject.node,
            subject.device,
            subject.model,
            subject.setting,
            serials.get((subject.node, subject.device), ""),
        )
        known = places.setdefault(name, place)
        # A retest by fewer nodes is no measure of all: what all reach together depends on how many they are.
        of[i] = -1 if name == WORLD and known.kind != place.kind else number.setdefault(name, len(number))
    for node in evidence.nodes:
        places.setdefault(node, PastSubject(node))
    return SubjectColumns(places, of)
