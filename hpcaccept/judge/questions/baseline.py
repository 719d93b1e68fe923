"""Is a subject slower than what its device model is known to reach?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.baseline.match import GPUS_FACT, KEY_FACTS, fitting_entry
from hpcaccept.judge.identities import identities
from hpcaccept.judge.questions.limits import held_against
from hpcaccept.judge.questions.peers import is_compared, unanswered
from hpcaccept.judge.statistics.sensitivity import Sensitivity, span_of
from hpcaccept.model.metric import Limit
from hpcaccept.model.verdict import CODE, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.baseline import Baseline, BaselineEntry
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict_table import JudgedColumn

    Kind = tuple[str, str, tuple[str, ...]]


def judge_against_baseline(
    evidence: Evidence, values: Sequence[Values], baselines: Mapping[str, Baseline]
) -> tuple[list[JudgedColumn], Sensitivity]:
    """An answer per rate and kind of subject: PASS or FAIL (of a draft WARN) with a fitting baseline, NO_BASELINE with the reason otherwise.

    A kind is what decides which entry fits: device model, setting, and the facts of ``fitting.KEY_FACTS``.
    """
    demanded = evidence.plan.suite.baseline == "required"
    required = {spec.name: spec.required and demanded for spec in evidence.plan.suite.checks}
    revisions = evidence.record_table.revisions()
    asked = {GPUS_FACT: str(evidence.plan.request.gpus_per_node)}
    kinds, kind = kinds_of(evidence, bool(baselines))
    answers: list[JudgedColumn] = []
    losses: list[float] = []
    comparisons = 0
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
                {name: text for name, text in zip(KEY_FACTS, facts, strict=False) if text} | asked,
                drafts=not demanded,
            )
            if entry is None or entry.lower is entry.upper is None:
                why = why if entry is None else "the baseline has no limit for it"
                unknown = model not in baselines
                said = f"no baseline of {model or 'this device'}" if unknown else why
                answers.append(
                    unanswered(
                        "baseline", column, rows, Outcome.NO_BASELINE, said, required=needed, unknown_model=unknown
                    )
                )
                continue
            answers.append(_against(column, rows, entry, why, required=needed, draft=state == "draft"))
            comparisons += len(rows)
            losses.append(_loss_to(entry))
    return answers, Sensitivity(comparisons, None, None, span_of([loss for loss in losses if np.isfinite(loss)]))


def _against(
    column: Values, rows: npt.NDArray[np.intp], entry: BaselineEntry, beside: str, *, required: bool, draft: bool
) -> JudgedColumn:
    """Nobody has vouched for a draft: who misses it is in doubt, not failed."""
    answer = held_against(
        "baseline",
        column,
        rows,
        Limit(entry.lower, entry.upper, entry.unit, "baseline", entry.source),
        required=required,
        compared="baseline",
        center=np.nan if entry.center is None else entry.center,
        detail=beside,
    )
    if not draft:
        return answer
    doubt = np.where(answer.outcome == CODE[Outcome.FAIL], CODE[Outcome.WARN], answer.outcome).astype(np.int8)
    return replace(answer, outcome=doubt)


def _loss_to(entry: BaselineEntry) -> float:
    """Relative distance of the failing limit from the centre."""
    bound = entry.lower if entry.direction == "higher" else entry.upper
    return abs(1 - bound / entry.center) if bound is not None and entry.center else np.nan


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
