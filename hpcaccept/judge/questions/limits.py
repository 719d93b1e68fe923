"""Judges values by the limits that need no comparison: built-in ones, those of the request, those of the suite."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.verdict_text import extended
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Limit, describe
from hpcaccept.model.metric_key import MetricKey, check_of
from hpcaccept.model.record_table import MEASURED
from hpcaccept.model.verdict import CODE, Outcome, Subject, Verdict
from hpcaccept.model.verdict_table import JudgedColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.plan import Request
    from hpcaccept.model.record import Record
    from hpcaccept.model.table import MeasuredSubject
    from hpcaccept.model.verdict import Question


def request_limits(request: Request) -> dict[str, Limit]:
    """What the request itself demands, by metric key."""
    if not request.gpus_per_node:
        return {}
    asked = float(request.gpus_per_node)
    return {"identity.gpu_count": Limit(asked, asked, "GPUs", "request", f"--gpus-per-node {request.gpus}")}


def judge_against_limits(evidence: Evidence, values: Sequence[Values]) -> tuple[list[JudgedColumn], list[Verdict]]:
    """An answer per metric and limit; ERROR for a limit of the suite that matches nothing."""
    required = {spec.name: spec.required for spec in evidence.plan.suite.checks}
    asked = request_limits(evidence.plan.request)
    used: set[str] = set()
    answers = [
        held_against("limits", column, slice(None), limit, required=required.get(column.check, True))
        for column in values
        for limit in _limits_for(column, asked, evidence.plan.suite.limits, used)
    ]
    said = list(_unanswered(evidence, asked, values))
    measured = {column.check for column in values}
    for key in sorted(set(evidence.plan.suite.limits) - used):
        name = MetricKey.parse(key)
        check, metric, variant = name.check_name, name.metric, name.variant
        if check in required and check not in measured:
            continue  # nobody has measured the check, which is told with its cause: nothing is known of the limit's name
        said.append(
            Verdict(
                subject=Subject(),
                check=check,
                outcome=Outcome.ERROR,
                reason=f"the limit {key} of {evidence.plan.suite.source} matches nothing that was measured",
                metric=metric,
                variant=variant,
                required=required.get(check, True),
                code=FindingCode.LIMIT_UNMATCHED,
            )
        )
    return _with_what_was_found(answers, evidence), said


def held_against(
    question: Question,
    column: Values,
    rows: npt.NDArray[np.intp] | slice,
    limit: Limit,
    *,
    required: bool,
    compared: str = "",
    center: float = np.nan,
    detail: str = "",
    rule: str = "",
) -> JudgedColumn:
    """Values of a metric against one interval: PASS inside, FAIL outside."""
    lower, upper = (np.nan if bound is None else bound for bound in (limit.lower, limit.upper))
    value = column.value[rows]
    met = ~((value < lower) | (value > upper)) & (value == value)
    return JudgedColumn(
        question=question,
        key=column.key,
        metric=column.metric,
        origin=limit.origin,
        subject=column.subject[rows],
        outcome=np.where(met, CODE[Outcome.PASS], CODE[Outcome.FAIL]).astype(np.int8),
        value=value,
        lower=np.broadcast_to(np.float64(lower), value.shape),
        upper=np.broadcast_to(np.float64(upper), value.shape),
        center=np.broadcast_to(np.float64(center), value.shape),
        compared=compared,
        detail=detail,
        rule=rule,
        source=limit.source,
        required=required,
    )


def _unanswered(evidence: Evidence, asked: dict[str, Limit], values: Sequence[Values]) -> Iterable[Verdict]:
    """What the request demands of each node and a check should have counted there, but did not."""
    for key in sorted(asked):
        name = MetricKey.parse(key)
        check, metric = name.check, name.metric
        records = evidence.record_table
        mine = records.of_checks([mine for mine in records.checks if check_of(mine) == check])
        places = np.unique(records.place[mine & ((records.flags & MEASURED) > 0)])
        measured = {records.places[place][0] for place in places.tolist()}
        answered = {u.node for c in values if c.parts.check == check and c.metric.name == metric for u in c.subjects}
        for node in sorted(measured - answered):
            reason = f"the request demands {describe(asked[key])}, and nothing counted them here"
            yield Verdict(Subject(node), check, Outcome.ERROR, reason, metric, code=FindingCode.REQUEST_UNCOUNTED)


def _with_what_was_found(answers: list[JudgedColumn], evidence: Evidence) -> list[JudgedColumn]:
    """The answers; a FAIL quotes what the check found beside the number."""
    subjects = evidence.samples.subjects
    failed = {i: np.flatnonzero(a.outcome == CODE[Outcome.FAIL]).tolist() for i, a in enumerate(answers)}
    places: dict[tuple[str, str], list[Record]] = {}
    if any(failed.values()):
        wanted = {(subjects[a.subject[row]].node, a.check) for i, a in enumerate(answers) for row in failed[i]}
        records = evidence.record_table
        nodes = {node for node, _ in wanted}
        there = np.array([node in nodes for node, _ in records.places], bool)[records.place]
        for record in records.rows(there & records.of_checks(check for _, check in wanted)):
            places.setdefault((record.node, record.check), []).append(record)
        for check in (check for node, check in wanted if not node):
            # What all ranks reach together the first of them tells.
            mine = records.of_checks([check])
            if mine.any():
                places["", check] = records.rows(mine & (records.place == records.place[mine.argmax()]))
    found = []
    for number, answer in enumerate(answers):
        texts = {row: text for row in failed[number] if (text := _found(answer, subjects[answer.subject[row]], places))}
        found.append(replace(answer, remarks=extended(answer, texts)) if texts else answer)
    return found


def _found(answer: JudgedColumn, subject: MeasuredSubject, places: dict[tuple[str, str], list[Record]]) -> str:
    """What the check found beside the number: facts that carry the variant (``found[memory/gpu3]``) or the metric's name."""
    mine = [r for r in places.get((subject.node, answer.check), []) if subject.device in ("", r.device)]
    ends = f"[{answer.variant}]"
    said = [
        text
        for record in mine
        for name, text in record.facts.items()
        if text and (name == answer.metric.name or (answer.variant and name.endswith(ends)))
    ]
    return "; ".join(dict.fromkeys(said))


def _limits_for(column: Values, asked: dict[str, Limit], suite: dict[str, Limit], used: set[str]) -> Iterable[Limit]:
    """Built-in, request and suite; in the suite the key with its variant comes before the one without."""
    bare = column.parts.bare
    overridden = False
    for key in (column.key, str(bare)):
        if key in suite and not overridden:
            used.add(key)
            overridden = True
            yield suite[key]
    # A label (identity:again) changes nothing about what the request demands.
    if (plain := str(bare.unlabelled)) in asked:
        yield asked[plain]
    # A limit of the suite replaces the built-in one: that is what a site override is.
    if column.metric.limit and not overridden:
        yield column.metric.limit
