"""The verdicts on measured values, as columns: 16,384 nodes × 8 GPUs × 30 metrics × 4 questions must fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, Origin
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.table import MeasuredSubject
from hpcaccept.model.verdict import CODE, OUTCOMES, QUESTIONS, Outcome, Question

Floats = npt.NDArray[np.float64]


class Remark(NamedTuple):
    """What one row says for itself.

    Attributes:
        reason: one sentence with the evidence.
        remedy: what to do about it; empty: what the code says.
        code: what the finding is called; None: as its question and outcome are (``judge.codes``).
    """

    reason: str
    remedy: str = ""
    code: FindingCode | None = None


@dataclass(frozen=True, eq=False)
class JudgedColumn:
    """One question about one metric, answered for many like subjects: as columns, so that nothing is built for who passes.

    Attributes:
        question: that is answered.
        key: metric key.
        metric: its declaration.
        origin: of the limits.
        subject: int32[u], index into the subjects of the table.
        outcome: int8[u], index into ``OUTCOMES``.
        value: float64[u], in the unit of the metric.
        lower: float64[u], smallest value that meets the limit, NaN: none.
        upper: float64[u], the same on the other side.
        center: float64[u], what the value was compared with, NaN: nothing.
        compared: what the centre is (``median of 7 peers``), empty without one.
        detail: what else is to be known of the limit, in words for everybody.
        rule: the statistics by which the limit follows from ``compared``.
        source: where the limits come from, where ``compared``, ``rule`` and ``detail`` do not say it.
        said: why there is no limit, where there is none for all of these subjects.
        unknown_model: True where that is because the device model has no baseline at all.
        required: as of a verdict; what peers or past cannot decide is not required by itself.
        remarks: row → what it says for itself.
        code: what rows that are not judged are called, where question and outcome do not say it.
        owed: bool[u], rows without an answer that no other question has answered, where one should have; None: none.

    Raises:
        ValueError: as of ``Verdict``: PASS, WARN or FAIL without a value and a limit, a PASS outside its limit; or columns
            of unlike length.
    """

    question: Question
    key: str
    metric: Metric
    origin: Origin
    subject: npt.NDArray[np.int32]
    outcome: npt.NDArray[np.int8]
    value: Floats
    lower: Floats
    upper: Floats
    center: Floats
    compared: str = ""
    detail: str = ""
    rule: str = ""
    source: str = ""
    said: str = ""
    unknown_model: bool = False
    required: bool = True
    remarks: Mapping[int, Remark] = field(default_factory=dict)
    code: FindingCode | None = None
    owed: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        columns = (self.subject, self.outcome, self.value, self.lower, self.upper, self.center)
        if any(len(column) != len(self.subject) for column in columns):
            raise ValueError(f"columns of {self.key} are of unlike length")
        above = (self.value >= self.lower) | (self.lower != self.lower)
        below = (self.value <= self.upper) | (self.upper != self.upper)
        limited = (self.lower == self.lower) | (self.upper == self.upper)
        judged = self.outcome <= CODE[Outcome.FAIL]
        if (judged & ~(limited & (self.value == self.value))).any():
            raise ValueError(f"a judged row of {self.key} needs a measured value and a limit")
        if ((self.outcome == CODE[Outcome.PASS]) & ~(above & below)).any():
            raise ValueError(f"a PASS of {self.key} has a value outside its limit")

    def __len__(self) -> int:
        return len(self.subject)

    @cached_property
    def demanded(self) -> npt.NDArray[np.bool_]:
        """bool[u]: rows that leave the run unjudged where they are not judged. A comparison that cannot decide is nobody's fault, as
        long as another question has an answer.
        """
        undecided = (self.outcome == CODE[Outcome.NO_BASELINE]) & (self.question in ("peers", "history"))
        wanted = self.required & ~undecided
        return np.asarray(wanted if self.owed is None else wanted | self.owed)

    @cached_property
    def counts(self) -> Mapping[Outcome, int]:
        """Outcome → number of rows, of the outcomes that there are."""
        number = np.bincount(self.outcome, minlength=len(OUTCOMES)).tolist()
        return {OUTCOMES[code]: count for code, count in enumerate(number) if count}

    @property
    def parts(self) -> MetricKey:
        """The key taken apart."""
        return MetricKey.parse(self.key)

    @property
    def check(self) -> str:
        """Name of the check in its suite."""
        return self.parts.check_name

    @property
    def variant(self) -> str:
        """Of the metric."""
        return self.parts.variant


@dataclass(frozen=True, eq=False)
class VerdictTable:
    """Every value of a run that was asked about, by every question: what 16,384 nodes have room for.

    Attributes:
        subjects: of whom the answers speak.
        answers: by question, then by metric; a metric has several where its subjects are not all alike.
    """

    subjects: tuple[MeasuredSubject, ...]
    answers: tuple[JudgedColumn, ...]

    def __len__(self) -> int:
        return sum(map(len, self.answers))

    def answering(self, question: Question) -> tuple[JudgedColumn, ...]:
        """The answers to one question."""
        return tuple(answer for answer in self.answers if answer.question == question)

    def counts(self) -> Counter[Outcome]:
        """Outcome → number of rows."""
        found: Counter[Outcome] = Counter()
        for answer in self.answers:
            found.update(answer.counts)
        return found

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Metric keys in the order of their first answer."""
        return tuple(dict.fromkeys(answer.key for answer in self.answers))

    @cached_property
    def question(self) -> npt.NDArray[np.int8]:
        """int8[n], index into ``QUESTIONS``, one entry per row of all answers, in their order."""
        each = np.array([QUESTIONS.index(answer.question) for answer in self.answers], np.int8)
        return np.repeat(each, [len(answer) for answer in self.answers])

    @cached_property
    def key(self) -> npt.NDArray[np.int32]:
        """int32[n], index into ``keys``."""
        number = {key: i for i, key in enumerate(self.keys)}
        each = np.array([number[answer.key] for answer in self.answers], np.int32)
        return np.repeat(each, [len(answer) for answer in self.answers])

    def column(self, name: Literal["subject", "outcome", "value", "lower", "upper", "center"]) -> npt.NDArray[Any]:
        """One column of all answers, n entries, in their order."""
        parts = [getattr(answer, name) for answer in self.answers]
        return np.concatenate(parts) if parts else np.zeros(0)
