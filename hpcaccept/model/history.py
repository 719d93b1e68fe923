"""What is remembered of past runs: numbers of subjects by an identity that outlives names, and what they were measured with."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from hpcaccept.model.record import Record
    from hpcaccept.model.table import MeasuredSubject

#: Codes of a remembered value. What failed or was disturbed is kept and shown, but never taken for normal.
#: Of several answers about one value the highest counts: what one question could not judge, another may have passed.
ABSENT, UNJUDGED, PASSED, WARNED, FAILED, DISTURBED = range(6)
CODE_WORDS = ("absent", "unjudged", "passed", "warned", "failed", "disturbed")
#: What learning and comparing leave out.
SUSPECT = (FAILED, DISTURBED)
#: Facts of ``identity`` that make an environment: a number may change with each of them, and no GPU is to blame.
ENVIRONMENT_FACTS = (
    "driver",
    "cuda",
    "cuda_driver",
    "torch",
    "nccl",
    "mpi",
    "image",
    "image_digest",
    "kernel",
    "hpcaccept",
)
#: The subject of numbers that speak of all ranks together.
WORLD = "*"


@dataclass(frozen=True)
class PastRun:
    """One remembered run.

    Attributes:
        run_id: name of its folder.
        at: when it was planned, UTC, ISO 8601.
        environment: digest of driver, CUDA, torch, image, kernel and hpcaccept (``environment_of``).
        suite: name of its suite.
    """

    run_id: str
    at: str
    environment: str
    suite: str


@dataclass(frozen=True)
class Past:
    """What some subjects reached in earlier runs.

    Attributes:
        runs: oldest first.
        subjects: subject ids (``subject_id``), one per column.
        values: metric key → float64[r, u] in the metric's SI unit; NaN where the run has no value of the subject, none of the same
            revision, device model and setting, or one that failed or was disturbed.
        outcomes: metric key → uint8[r, u], what was said of the value then; who failed again and again is told by it.
        facts: of the environment, one mapping per run: what changed since is told by them. Empty: not known.
        launches: metric key → uint8[r, u], in how many launches of its run a value was measured; 0, or no table: nobody knows.
    """

    runs: tuple[PastRun, ...]
    subjects: tuple[str, ...]
    values: Mapping[str, npt.NDArray[np.float64]]
    outcomes: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    facts: tuple[Mapping[str, str], ...] = ()
    launches: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)


@dataclass(frozen=True)
class PastSubject:
    """Who and where a subject was in one run.

    Attributes:
        node: name of the node; empty for all ranks together.
        device: ``cuda:3``; empty for a node.
        model: name the driver gives the GPU or model name of the CPU.
        setting: what else must be alike for a comparison (threads, turns; nodes, where a number speaks of all of them).
        serial: number on the board, where the driver tells it.
    """

    node: str
    device: str = ""
    model: str = ""
    setting: str = ""
    serial: str = ""

    @property
    def kind(self) -> tuple[str, str]:
        """Only values of the same kind are put side by side."""
        return self.model, self.setting

    def __str__(self) -> str:
        return f"{self.node} {self.device}".rstrip() or "all nodes"


@dataclass(frozen=True)
class RunToRemember:
    """What one run adds to the history.

    Attributes:
        run: which one.
        facts: of its environment.
        revisions: check → revision of its method.
        subjects: subject ids; nodes of which nothing was measured are among them.
        places: of each subject.
        standing: uint8[u], the worst that was said of the subject's node (of all, for ``WORLD``): PASSED is accepted.
        keys: metric keys.
        values: float64[k, u], SI; NaN where absent.
        outcomes: uint8[k, u], codes.
        launches: uint8[k, u], in how many launches each value was measured; None: nobody knows.

    Raises:
        ValueError: shapes that do not fit, or a subject twice.
    """

    run: PastRun
    facts: Mapping[str, str]
    revisions: Mapping[str, int]
    subjects: tuple[str, ...]
    places: tuple[PastSubject, ...]
    standing: npt.NDArray[np.uint8]
    keys: tuple[str, ...]
    values: npt.NDArray[np.float64]
    outcomes: npt.NDArray[np.uint8]
    launches: npt.NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.keys), len(self.subjects))
        if self.launches is not None and self.launches.shape != shape:
            raise ValueError(f"launches {self.launches.shape}, expected {shape}")
        if self.values.shape != shape or self.outcomes.shape != shape:
            raise ValueError(f"values {self.values.shape} and outcomes {self.outcomes.shape}, expected {shape}")
        if not len(self.subjects) == len(self.places) == len(self.standing) == len(set(self.subjects)):
            raise ValueError("subjects, their places and standings are of unlike number, or a subject is there twice")


@dataclass(frozen=True)
class SubjectStory:
    """What became of one subject.

    Attributes:
        subject: its id.
        serial: number on the board, empty where it is not known.
        model: device model.
        places: where it was, in the order of time, each once: more than one says that it was moved or its node renamed.
        runs: in which it was.
        failed: in how many of those it failed.
        warned: in how many it was warned of.
        last_accepted: when the last run that accepted it was planned; empty: never.
    """

    subject: str
    serial: str
    model: str
    places: tuple[str, ...]
    runs: int
    failed: int
    warned: int
    last_accepted: str


@dataclass(frozen=True)
class SubjectTrend:
    """What became of one number of one subject.

    Attributes:
        subject: its id.
        place: where it was seen last.
        key: metric key.
        si_unit: unit of the values.
        word: ``steady``, ``step``, ``decline`` or ``too few runs``.
        size: relative loss of the recent runs against the first ones; 0 where steady.
        since: when the run was planned from which on it is so; empty where steady.
        values: oldest first, gaps left out.
    """

    subject: str
    place: PastSubject
    key: str
    si_unit: str
    word: str
    size: float
    since: str
    values: tuple[float, ...]


def subject_id(subject: MeasuredSubject) -> str:
    """Who a subject is: its GPU UUID, which survives renames and swaps of nodes; else ``node/device``, the node, or ``WORLD``."""
    if subject.device_id:
        return subject.device_id
    if not subject.node:
        return WORLD
    return f"{subject.node}/{subject.device}" if subject.device else subject.node


def environment_of(records: Iterable[Record]) -> dict[str, str]:
    """The facts that make the environment of a run; where nodes differ, what most of them say."""
    said: dict[str, Counter[str]] = {name: Counter() for name in ENVIRONMENT_FACTS}
    for record in records:
        if record.check == "identity":
            for name in ENVIRONMENT_FACTS:
                if text := record.facts.get(name):
                    said[name][text] += 1
    # Of two that are as frequent the first in the alphabet, so that the order of ranks does not matter.
    return {name: min(found, key=lambda text: (-found[text], text)) for name, found in said.items() if found}


def environment_digest(facts: Mapping[str, str]) -> str:
    """Twelve hexadecimal digits that differ where a fact differs; empty without facts."""
    if not facts:
        return ""
    text = json.dumps(dict(sorted(facts.items())), separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
