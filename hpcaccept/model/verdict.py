"""What is judged, and how. A PASS cannot be built without a measured value and the limit that it met."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Limit
from hpcaccept.model.metric_key import MetricKey

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What is asked of a number. ``limits`` are built-in, of the request or of the suite; they need no comparison.
Question = Literal["limits", "peers", "baseline", "history"]
QUESTIONS: tuple[Question, ...] = ("limits", "peers", "baseline", "history")


class Outcome(enum.Enum):
    """The six verdicts. ``FAIL`` is about hardware, ``ERROR`` is about us."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"
    NO_BASELINE = "NO_BASELINE"
    NOT_RUN = "NOT_RUN"
    ERROR = "ERROR"

    @property
    def is_judged(self) -> bool:
        """True when a value met a limit or missed it."""
        return self in (Outcome.PASS, Outcome.WARN, Outcome.FAIL)


#: By the codes that stand in the columns of a VerdictTable.
OUTCOMES = tuple(Outcome)
CODE = {outcome: number for number, outcome in enumerate(OUTCOMES)}
#: From best to worst: which verdict of many speaks for all of them.
SEVERITY = {
    Outcome.PASS: 0,
    Outcome.NO_BASELINE: 1,
    Outcome.NOT_RUN: 2,
    Outcome.WARN: 3,
    Outcome.ERROR: 4,
    Outcome.FAIL: 5,
}


@dataclass(frozen=True, order=True)
class Subject:
    """What a verdict speaks of: a node, one of its devices, or (both empty) all ranks together."""

    node: str = ""
    device: str = ""

    def __str__(self) -> str:
        if not self.node:
            return "all nodes"
        return f"{self.node} {self.device}".rstrip()


def device_name(device: str) -> str:
    """``GPU 3`` of ``cuda:3``; nothing where the device is the node's only CPU rank."""
    kind, _, number = device.partition(":")
    if kind == "cuda":
        return f"GPU {number}"
    return f"rank {number}" if kind == "cpu" and number else "" if device == "cpu" else device


@dataclass(frozen=True)
class Verdict:
    """The judgement of one check on one subject by one question.

    Attributes:
        subject: node and device.
        check: name of the check.
        outcome: see ``Outcome``.
        reason: one sentence with the evidence.
        metric: short metric name, empty when nothing was measured.
        variant: of the metric.
        value: the judged number in ``unit``.
        unit: SI unit of the value.
        limit: what it met or missed.
        remedy: what to do next; empty: what the code says.
        required: False when the suite does without this verdict: it is shown and does not change the exit code.
        question: that it answers; None where nothing was measured.
        code: what the finding is called; None of a PASS, and of nothing else.

    Raises:
        ValueError: PASS, WARN or FAIL without a value and a limit, a PASS whose value misses its limit, or a finding without a code.
    """

    subject: Subject
    check: str
    outcome: Outcome
    reason: str
    metric: str = ""
    variant: str = ""
    value: float | None = None
    unit: str = ""
    limit: Limit | None = None
    remedy: str = ""
    required: bool = True
    question: Question | None = None
    code: FindingCode | None = None

    def __post_init__(self) -> None:
        if self.outcome.is_judged and (self.value is None or self.limit is None):
            raise ValueError(f"{self.outcome.value} of {self.key} needs a measured value and a limit")
        if self.outcome is Outcome.PASS and self.limit and self.value is not None and not self.limit.met_by(self.value):
            raise ValueError(f"PASS of {self.key} with {self.value} outside its limit {self.limit}")
        if (self.outcome is Outcome.PASS) != (self.code is None):
            raise ValueError(
                f"{self.outcome.value} of {self.key} has the code {self.code}; every finding has one, and no PASS"
            )
        if self.code and not self.remedy:
            object.__setattr__(self, "remedy", self.code.action_for(self.subject.node))

    @property
    def key(self) -> str:
        """``matmul.rate_flops[fp32]``, or the check alone when nothing was measured."""
        return str(MetricKey.of(self.check, self.metric, self.variant)) if self.metric else self.check


def worst(outcomes: list[Outcome]) -> Outcome:
    """The verdict that speaks for all of them; NOT_RUN for an empty list, never PASS."""
    return max(outcomes, key=SEVERITY.__getitem__, default=Outcome.NOT_RUN)


def strict_exit_code(said: Iterable[tuple[Outcome, bool]]) -> int:
    """``exit_code``, with the reasons of a 3 told apart: 3 an ERROR or a WARN · 4 NOT_RUN · 5 NO_BASELINE, the worst that there is.

    Args:
        said: as of ``exit_code``.
    """
    kinds = list(said)
    code = exit_code(kinds)
    lacking = {
        outcome for outcome, required in kinds if outcome is Outcome.WARN or (required and not outcome.is_judged)
    }
    if code != 3 or lacking & {Outcome.ERROR, Outcome.WARN}:
        return code
    return 4 if Outcome.NOT_RUN in lacking else 5 if Outcome.NO_BASELINE in lacking else 3


def exit_code(said: Iterable[tuple[Outcome, bool]]) -> int:
    """0 every node is PASS · 1 at least one FAIL · 3 anything else: something required was not judged, or a WARN leaves it in doubt.

    Args:
        said: outcome and whether it is required, of every verdict (or once for all that are alike).
    """
    kinds = set(said)
    if any(outcome is Outcome.FAIL for outcome, _ in kinds):
        return 1
    # A run of which nothing was judged is not accepted, whatever was required of it.
    passed = any(outcome is Outcome.PASS for outcome, _ in kinds)
    doubt = any(outcome is Outcome.WARN or (required and not outcome.is_judged) for outcome, required in kinds)
    return 0 if passed and not doubt else 3
