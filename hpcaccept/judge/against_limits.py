"""Does a value meet the limits that need no comparison: built-in ones, those of the request, those of the suite?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.model.metric import Limit, describe, metric_key, split_key
from hpcaccept.model.verdict import Outcome, Subject, Verdict
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.judge.values import Values
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.plan import Request
    from hpcaccept.model.record import Record
    from hpcaccept.model.table import Unit


def request_limits(request: Request) -> dict[str, Limit]:
    """What the request itself demands, by metric key."""
    if not request.gpus_per_node:
        return {}
    asked = float(request.gpus_per_node)
    return {"identity.gpu_count": Limit(asked, asked, "GPUs", "request", f"--gpus-per-node {request.gpus_per_node}")}


def subject_of(unit: Unit) -> Subject:
    """Whom a value speaks of."""
    return Subject(unit.node, unit.device)


def judge_against_limits(evidence: Evidence, values: list[Values]) -> Iterable[Verdict]:
    """A verdict per value and limit; ERROR for a limit of the suite that matches nothing."""
    required = {spec.name: spec.required for spec in evidence.plan.suite.checks}
    asked = request_limits(evidence.plan.request)
    used: set[str] = set()
    places: dict[tuple[str, str], list[Record]] = {}
    for record in evidence.records:
        places.setdefault((record.node, record.check), []).append(record)
    for column in values:
        for limit in _limits_for(column, asked, evidence.plan.suite.limits, used):
            for unit, value in zip(column.units, column.value.tolist(), strict=True):
                verdict = _verdict(column, unit, value, limit, required.get(column.check, True))
                if verdict.outcome is Outcome.FAIL:
                    found = _found(verdict, places.get((unit.node, column.check), []))
                    verdict = replace(verdict, reason=f"{verdict.reason}; {found}") if found else verdict
                yield verdict
    yield from _unanswered(evidence, asked, values)
    for key in sorted(set(evidence.plan.suite.limits) - used):
        check, metric, variant = split_key(key)
        yield Verdict(
            subject=Subject(),
            check=check,
            outcome=Outcome.ERROR,
            reason=f"the limit {key} of {evidence.plan.suite.source} matches nothing that was measured",
            metric=metric,
            variant=variant,
            remedy="Correct its name in the suite, or remove it; 'hpcaccept checks explain' lists metrics and variants.",
            required=required.get(check, True),
        )


def _unanswered(evidence: Evidence, asked: dict[str, Limit], values: list[Values]) -> Iterable[Verdict]:
    """What the request demands of each node and a check should have counted there, but did not."""
    for key in sorted(asked):
        check, metric, _ = split_key(key)
        measured = {r.node for r in evidence.records if _plain(r.check) == check and r.outcome == "measured"}
        answered = {u.node for c in values if _plain(c.check) == check and c.metric.name == metric for u in c.units}
        for node in sorted(measured - answered):
            reason = f"the request demands {describe(asked[key])}, and nothing counted them here"
            yield Verdict(Subject(node), check, Outcome.ERROR, reason, metric)


def _found(verdict: Verdict, records: list[Record]) -> str:
    """What the check found beside the number: facts that carry the variant (``found[memory/gpu3]``) or the metric's name."""
    mine = [r for r in records if verdict.subject.device in ("", r.device)]
    ends = f"[{verdict.variant}]"
    said = [
        text
        for record in mine
        for name, text in record.facts.items()
        if text and (name == verdict.metric or (verdict.variant and name.endswith(ends)))
    ]
    return "; ".join(dict.fromkeys(said))


def _plain(check: str) -> str:
    """Without its label: ``identity`` for ``identity:again``."""
    return check.partition(":")[0]


def _limits_for(column: Values, asked: dict[str, Limit], suite: dict[str, Limit], used: set[str]) -> Iterable[Limit]:
    """Built-in, request and suite; in the suite the key with its variant comes before the one without."""
    check, metric, _ = split_key(column.key)
    bare = metric_key(check, metric)
    overridden = False
    for key in (column.key, bare):
        if key in suite and not overridden:
            used.add(key)
            overridden = True
            yield suite[key]
    # A label (identity:again) changes nothing about what the request demands.
    if (plain := metric_key(_plain(check), metric)) in asked:
        yield asked[plain]
    # A limit of the suite replaces the built-in one: that is what a site override is.
    if column.metric.limit and not overridden:
        yield column.metric.limit


def _verdict(column: Values, unit: Unit, value: float, limit: Limit, required: bool) -> Verdict:
    met = limit.met_by(value)
    return Verdict(
        subject=subject_of(unit),
        check=column.check,
        outcome=Outcome.PASS if met else Outcome.FAIL,
        reason=f"{column.metric.name} {show(value, column.metric.unit)}, {'within' if met else 'expected'} {describe(limit)}",
        metric=column.metric.name,
        variant=column.variant,
        value=value,
        unit=column.metric.unit,
        limit=limit,
        remedy="" if met else column.metric.help,
        required=required,
    )
