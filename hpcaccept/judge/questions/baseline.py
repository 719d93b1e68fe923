"""Judges whether a subject is slower than what its device model is known to reach."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.baseline.conditions import conditions_of
from hpcaccept.judge.baseline.limit import limits_of, states_a_rate, useless
from hpcaccept.judge.baseline.match import KEY_FACTS, fitting_entry
from hpcaccept.judge.identities import identities
from hpcaccept.judge.questions.limits import held_against
from hpcaccept.judge.questions.peers import is_compared, unanswered
from hpcaccept.judge.statistics.aggregate import Values
from hpcaccept.judge.statistics.peer_rule import CPU_FLOOR, cut, robust
from hpcaccept.judge.statistics.rate_shares import LEARNED_BASELINE
from hpcaccept.judge.statistics.sensitivity import Sensitivity, Sight, by_kind, seen, span_of
from hpcaccept.model.baseline import BaselineEntry
from hpcaccept.model.metric import Limit
from hpcaccept.model.verdict import CODE, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hpcaccept.model.baseline import Baseline
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict_table import JudgedColumn

    Kind = tuple[str, str, tuple[str, ...]]


def judge_against_baseline(
    evidence: Evidence, values: Sequence[Values], baselines: Mapping[str, Baseline]
) -> tuple[list[JudgedColumn], Sensitivity]:
    """An answer per rate and kind of subject: PASS or FAIL (of a draft WARN) with a fitting baseline, NO_BASELINE with the reason otherwise.

    A kind is what decides which entry fits: device model, setting, and the facts of ``baseline.match.KEY_FACTS``. Learned limits lie as far out as
    the number of values of this run that are held against such limits asks for.
    """
    asked = list(_asked(evidence, values, baselines))
    learned = [one for one in asked if one.entry is not None and states_a_rate(one.entry)]
    rate = evidence.plan.suite.peers.false_alarm_rate * LEARNED_BASELINE
    answers: list[JudgedColumn] = []
    sights: list[Sight] = []
    counted = {True: 0, False: 0}
    for one in asked:
        entry = one.entry
        if entry is None:
            answers.append(one.without(one.why, unknown_model=one.unknown_model))
            continue
        column, rows = one.column, one.rows
        # As among peers each metric has an equal share of the rate, whatever the number of its subjects.
        comparisons = len(learned) * len(rows)
        lower, upper, loss = limits_of(entry, comparisons, rate, _class_floor(column, evidence))
        here = replace(entry, lower=lower, upper=upper, comparisons=comparisons, rate=rate)
        if states_a_rate(entry) and loss > entry.floor and (why := useless(here)):
            answers.append(one.without(f"{why}, among {comparisons:,} values"))
            continue
        answers.append(_against(one, here, loss))
        counted[states_a_rate(entry)] += len(rows)
        if np.isfinite(loss):
            sights.append(seen(column.metric, loss, _width(entry, column.value[rows])))
    ends = [end for sight in sights for end in sight.half]
    comparisons, unrated = counted[True] + counted[False], counted[False]
    stated, z = (rate, cut(counted[True], rate)) if counted[True] else (None, None)
    return answers, Sensitivity(comparisons, stated, z, span_of(ends), kinds=by_kind(sights), unrated=unrated)


@dataclass(frozen=True, eq=False)
class _Asked:
    """One rate of subjects of one kind.

    Attributes:
        column: the rate.
        rows: of the subjects.
        entry: that judges them; None: there is none.
        why: why not; with an entry what must be said beside it.
        needed: whether an answer is owed.
        draft: nobody has vouched for the entry.
        unknown_model: nothing is known of the device model.
    """

    column: Values
    rows: npt.NDArray[np.intp]
    entry: BaselineEntry | None
    why: str
    needed: bool
    draft: bool
    unknown_model: bool

    def without(self, why: str, *, unknown_model: bool = False) -> JudgedColumn:
        """NO_BASELINE, with the reason."""
        return unanswered(
            "baseline",
            self.column,
            self.rows,
            Outcome.NO_BASELINE,
            why,
            required=self.needed,
            unknown_model=unknown_model,
        )


def _asked(evidence: Evidence, values: Sequence[Values], baselines: Mapping[str, Baseline]) -> Iterator[_Asked]:
    """Every rate and kind of subject, with the entry that fits."""
    demanded = evidence.plan.suite.baseline == "required"
    required = {spec.name: spec.required and demanded for spec in evidence.plan.suite.checks}
    revisions = evidence.record_table.revisions()
    conditions = conditions_of(evidence)
    kinds, kind = kinds_of(evidence, bool(baselines))
    for column in values:
        if not is_compared(column) and not (column.metric.is_rate and column.metric.scope == "world"):
            continue
        needed = required.get(column.check, demanded)
        for number, rows in rows_by_kind(kind[column.subject]):
            model, setting, facts = kinds[number]
            entry, why, state = fitting_entry(
                baselines.get(model),
                column.key,
                revisions.get(column.check, 0),
                column.metric.unit,
                setting,
                {name: text for name, text in zip(KEY_FACTS, facts, strict=False) if text} | conditions,
                drafts=not demanded,
            )
            if entry is not None and entry.lower is entry.upper is None:
                entry, why = None, "the baseline has no limit for it"
            unknown = entry is None and model not in baselines
            said = f"no baseline of {model or 'this device'}" if unknown else why
            yield _Asked(column, rows, entry, said, needed, state == "draft", unknown)


def _class_floor(column: Values, evidence: Evidence) -> float:
    """What the entries of earlier files do not say: the floor of the class of the metric."""
    least = CPU_FLOOR if evidence.plan.request.device == "cpu" else 0.0
    return max(column.metric.peer_floor or CPU_FLOOR, least)


def _against(one: _Asked, entry: BaselineEntry, loss: float) -> JudgedColumn:
    """Nobody has vouched for a draft: who misses it is in doubt, not failed."""
    answer = held_against(
        "baseline",
        one.column,
        one.rows,
        Limit(entry.lower, entry.upper, entry.unit, "baseline", entry.source),
        required=one.needed,
        compared="baseline",
        center=np.nan if entry.center is None else entry.center,
        detail=one.why,
        rule=f"loss > {loss:.3g}" if states_a_rate(entry) else "",
    )
    if not one.draft:
        return answer
    doubt = np.where(answer.outcome == CODE[Outcome.FAIL], CODE[Outcome.WARN], answer.outcome).astype(np.int8)
    return replace(answer, outcome=doubt)


def _width(entry: BaselineEntry, values: npt.NDArray[np.float64]) -> float | None:
    """Relative width of healthy units: as it was learned, else that of the units here; None of one alone."""
    if entry.spread is not None and entry.center:
        return abs(entry.spread / entry.center)
    if len(values) < 2 or not np.abs(values).max() < 1e150:
        return None
    center, width = robust(values[None, :])
    return float(width[0] / center[0]) if center[0] > 0 else None


def rows_by_kind(kinds: npt.NDArray[np.int32]) -> Iterable[tuple[int, npt.NDArray[np.intp]]]:
    """Number of each kind that there is, and its rows."""
    for number in np.flatnonzero(np.bincount(kinds)).tolist():
        yield number, np.flatnonzero(kinds == number)


def kinds_of(evidence: Evidence, with_facts: bool) -> tuple[list[Kind], npt.NDArray[np.int32]]:
    """The kinds of subjects there are, and the kind of each: int32[subjects]."""
    said: dict[tuple[str, str], tuple[str, ...]] = {}
    for record in identities(evidence) if with_facts else ():
        facts = tuple(record.facts.get(name, "") for name in KEY_FACTS)
        said[(record.node, record.device)] = facts
        # A number of a node, or of all, is that of any of its devices: the first speaks for them.
        said.setdefault((record.node, ""), facts)
        said.setdefault(("", ""), facts)
    kinds: dict[Kind, int] = {}
    subjects = evidence.samples.subjects
    kind = np.empty(len(subjects), np.int32)
    for number, subject in enumerate(subjects):
        facts = said.get((subject.node, subject.device)) or said.get((subject.node, ""), ())
        kind[number] = kinds.setdefault((subject.model, subject.setting, facts), len(kinds))
    return list(kinds), kind
