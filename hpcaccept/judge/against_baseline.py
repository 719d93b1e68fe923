"""Is a unit slower than what its device model is known to reach?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.judge.against_limits import subject_of
from hpcaccept.model.metric import Limit
from hpcaccept.model.verdict import Outcome, Verdict
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcaccept.judge.values import Values
    from hpcaccept.model.baseline import Baseline, BaselineEntry
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.table import Unit


def judge_against_baseline(
    evidence: Evidence, values: list[Values], baselines: Mapping[str, Baseline]
) -> Iterable[Verdict]:
    """A verdict per unit and rate: PASS or FAIL with a fitting baseline, NO_BASELINE with the reason otherwise."""
    demanded = evidence.plan.suite.baseline == "required"
    required = {spec.name: spec.required and demanded for spec in evidence.plan.suite.checks}
    revisions = {record.check: record.revision for record in evidence.records}
    for column in values:
        if not column.metric.is_rate or (column.metric.peer_floor is None and column.metric.scope != "world"):
            continue
        for unit, value in zip(column.units, column.value.tolist(), strict=True):
            needed = required.get(column.check, demanded)
            baseline = baselines.get(unit.model)
            entry, why_not = _entry(baseline, column, unit, revisions.get(column.check, 0))
            if entry is None:
                yield _without(column, unit, value, why_not, needed)
            else:
                yield _with(column, unit, value, entry, needed)


def _entry(baseline: Baseline | None, column: Values, unit: Unit, revision: int) -> tuple[BaselineEntry | None, str]:
    """The fitting entry, or why there is none: unlike things refuse to be compared."""
    if baseline is None:
        return None, f"no baseline of {unit.model or 'this device'}"
    entry = baseline.entries.get(column.key)
    if entry is None:
        return None, f"the baseline of {baseline.model} has no {column.key}"
    if entry.unit != column.metric.unit:
        return None, f"the baseline has it in unit {entry.unit}, this run in {column.metric.unit}"
    if entry.revision != revision:
        return None, f"the baseline has revision {entry.revision} of the method, this run has {revision}"
    if baseline.provenance.setting != unit.setting:
        return None, f"the baseline was measured with {baseline.provenance.setting}, this run with {unit.setting}"
    return entry, ""


def _without(column: Values, unit: Unit, value: float, why: str, required: bool) -> Verdict:
    return Verdict(
        subject=subject_of(unit),
        check=column.check,
        outcome=Outcome.NO_BASELINE,
        reason=f"{column.metric.name} {show(value, column.metric.unit)}; {why}",
        metric=column.metric.name,
        variant=column.variant,
        value=value,
        unit=column.metric.unit,
        remedy="When these units are known to be good: hpcaccept baseline learn RUN.",
        required=required,
    )


def _with(column: Values, unit: Unit, value: float, entry: BaselineEntry, required: bool) -> Verdict:
    limit = Limit(entry.lower, entry.upper, entry.unit, "baseline", entry.source)
    met = limit.met_by(value)
    share = value / entry.center - 1 if entry.center else 0.0
    return Verdict(
        subject=subject_of(unit),
        check=column.check,
        outcome=Outcome.PASS if met else Outcome.FAIL,
        reason=f"{column.metric.name} {show(value, entry.unit)}, {share * 100:+.1f} % of the baseline {show(entry.center, entry.unit)}",
        metric=column.metric.name,
        variant=column.variant,
        value=value,
        unit=entry.unit,
        limit=limit,
        remedy="" if met else column.metric.help,
        required=required,
    )
