"""The differences between two runs: nodes, environment and numbers, with what could have been seen and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``alike``: nothing beyond the noise. ``hardware``: subjects, or all of them in the same environment, became slower.
#: ``environment``: all moved alike where the environment changed. ``undecided``: too little in common to say.
Cause = Literal["alike", "hardware", "environment", "undecided"]


@dataclass(frozen=True)
class SubjectChange:
    """One subject that moved otherwise than the rest.

    Attributes:
        subject: its id.
        where: node and device in the later run.
        before: number of the earlier run, in the SI unit of the metric.
        now: of the later one.
        loss: relative; positive is worse.
        beyond: loss less what all subjects have in common.
    """

    subject: str
    where: str
    before: float
    now: float
    loss: float
    beyond: float


@dataclass(frozen=True)
class MetricChange:
    """One metric of like subjects that were measured in both runs.

    Attributes:
        key: metric key.
        si_unit: of its values.
        model: device model.
        pairs: subjects that have it in both runs.
        common: relative loss that they have in common (median); positive is worse.
        common_seen: the smallest common loss that this many pairs can tell from noise.
        sigma: robust width of what is left without it; 0 where there are too few pairs to tell.
        seen: the smallest loss of one subject, beyond the common one, that can be told from noise.
        cause: of the common loss.
        worse: subjects that lost more than that, the worst first.
        better: subjects that gained as much.
    """

    key: str
    si_unit: str
    model: str
    pairs: int
    common: float
    common_seen: float
    sigma: float
    seen: float
    cause: Cause
    worse: tuple[SubjectChange, ...] = ()
    better: tuple[SubjectChange, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """An earlier and a later run side by side.

    Attributes:
        earlier: run id.
        later: run id.
        nodes_gone: in the earlier run only.
        nodes_new: in the later run only.
        subjects_gone: ids of subjects in the earlier run only.
        subjects_new: ids of subjects in the later run only.
        moved: subject id → (where it was, where it is).
        environment: fact → (before, now), those that differ.
        outcomes: node → (before, now), the worst that was said of it, where that differs.
        metrics: those that were compared.
        not_compared: metric key → why not.
        comparisons: numbers that were compared.
        false_alarm_rate: chance of blaming anybody where nothing but noise changed.
        cause: of what became worse.
        conclusion: sentences for people.
        exit_code: 0 nothing became worse by its hardware · 1 something did · 3 nothing, or not enough, could be compared.
    """

    earlier: str
    later: str
    nodes_gone: tuple[str, ...]
    nodes_new: tuple[str, ...]
    subjects_gone: tuple[str, ...]
    subjects_new: tuple[str, ...]
    moved: dict[str, tuple[str, str]]
    environment: dict[str, tuple[str, str]]
    outcomes: dict[str, tuple[str, str]]
    metrics: tuple[MetricChange, ...]
    not_compared: dict[str, str]
    comparisons: int
    false_alarm_rate: float
    cause: Cause
    conclusion: tuple[str, ...]
    exit_code: int
