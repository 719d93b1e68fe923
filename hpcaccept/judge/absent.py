"""What was asked for and is not there? A node that never reported is in the report, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.model.metric import Metric, split_key
from hpcaccept.model.verdict import Outcome, Subject, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.record import Record


def judge_absent(evidence: Evidence, catalogue: Mapping[str, Mapping[str, Metric]]) -> Iterable[Verdict]:
    """NOT_RUN and ERROR for everything that has no number."""
    yield from _torn(evidence)
    if not evidence.nodes:
        yield from _never_started(evidence)
        return
    records = _by_place(evidence.records)
    measured = _measured_metrics(evidence)
    per_node = evidence.plan.request.ranks_per_node
    for spec in evidence.plan.suite.checks:
        for node in evidence.nodes:
            mine = records.get((node, spec.name), [])
            for record in mine:
                yield from _of_record(record, spec.required)
            if len(mine) < per_node:
                yield _missing(evidence, node, spec.name, per_node - len(mine), per_node, spec.required)
            yield from _metricless(mine, catalogue.get(spec.name, {}), measured, spec.required)


def _by_place(records: Iterable[Record]) -> dict[tuple[str, str], list[Record]]:
    places: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        places.setdefault((record.node, record.check), []).append(record)
    return places


def _measured_metrics(evidence: Evidence) -> set[tuple[str, str, str]]:
    """(node, device, check.metric) that have a number; those of a node have no device, those of all ranks no node either."""
    table = evidence.samples
    pairs = set(zip(table.unit.tolist(), table.key.tolist(), strict=True))
    names = [".".join(split_key(key)[:2]) for key in table.keys]
    return {(table.units[unit].node, table.units[unit].device, names[key]) for unit, key in pairs}


def _of_record(record: Record, required: bool) -> Iterable[Verdict]:
    subject = Subject(record.node, record.device)
    if record.outcome == "not_run":
        yield Verdict(subject, record.check, Outcome.NOT_RUN, record.cause, remedy=record.remedy, required=required)
    elif record.outcome == "error":
        victim = "cut short because another rank was lost: " if record.by_peer else ""
        cause = f"{victim}{record.cause}"
        yield Verdict(subject, record.check, Outcome.ERROR, cause, remedy=record.remedy, required=required)
    for variant, why in record.unsupported.items():
        yield Verdict(
            subject, record.check, Outcome.NOT_RUN, f"not supported: {why}", metric="", variant=variant, required=False
        )


def _missing(evidence: Evidence, node: str, check: str, lost: int, asked: int, required: bool) -> Verdict:
    death = next((e for e in evidence.events if e.kind in ("death", "excluded") and node in e.nodes), None)
    here = next((e for e in evidence.events if e.kind == "death" and node in e.nodes and e.check == check), None)
    if here:
        outcome, reason, remedy = Outcome.ERROR, here.detail, here.remedy
    elif death:
        outcome, reason, remedy = Outcome.NOT_RUN, f"not measured after: {death.detail}", death.remedy
    else:
        outcome, reason, remedy = Outcome.ERROR, *_why_silent(evidence)
    who = f"{lost} of {asked} ranks" if asked > 1 else "the node"
    return Verdict(Subject(node), check, outcome, f"{who} never reported: {reason}", remedy=remedy, required=required)


def _why_silent(evidence: Evidence) -> tuple[str, str]:
    last = evidence.last_word
    if last and last.detail:
        return last.detail, last.remedy
    if evidence.job:
        return f"the job ended as {evidence.job.state} ({evidence.job.detail})", evidence.job.remedy
    if last:
        return "no rank of it left a record", "See logs/ in the run folder."
    return "the job has not ended yet", "hpcaccept wait, then hpcaccept report"


def _never_started(evidence: Evidence) -> Iterable[Verdict]:
    reason, remedy = _why_silent(evidence)
    if not evidence.job and not evidence.last_word:
        reason, remedy = "the job has not started", "hpcaccept status"
    for spec in evidence.plan.suite.checks:
        yield Verdict(Subject(), spec.name, Outcome.ERROR, reason, remedy=remedy, required=spec.required)


def _torn(evidence: Evidence) -> Iterable[Verdict]:
    for torn in evidence.torn:
        yield Verdict(
            Subject(),
            "records",
            Outcome.ERROR,
            f"a line of {torn.file} cannot be read: {torn.text[:120]!r}",
            remedy="Was the disk full, or the node lost? What was before it is kept and judged.",
        )


def _metricless(
    records: list[Record], metrics: Mapping[str, Metric], measured: set[tuple[str, str, str]], required: bool
) -> Iterable[Verdict]:
    """A measured record without a number that it should have is never a pass."""
    for record in records:
        if record.outcome != "measured":
            continue
        for metric in metrics.values():
            if not metric.required:
                continue
            places = {"device": (record.node, record.device), "node": (record.node, ""), "world": ("", "")}
            if (*places[metric.scope], f"{record.check}.{metric.name}") not in measured:
                yield Verdict(
                    Subject(record.node, record.device),
                    record.check,
                    Outcome.ERROR,
                    f"{metric.name} is absent from a record that says it was measured",
                    metric=metric.name,
                    remedy="This is a fault of the check: keep the run folder and report it.",
                    required=required,
                )
