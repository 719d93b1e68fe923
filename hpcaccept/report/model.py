"""What do all report formats show? Derived once from evidence and judgement, without any layout."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.model.verdict import Outcome, Verdict, worst

if TYPE_CHECKING:
    from hpcaccept.judge import Judgement
    from hpcaccept.judge.values import Values
    from hpcaccept.model.evidence import Evidence


@dataclass(frozen=True)
class Figure:
    """One metric over all units.

    Attributes:
        key: metric key.
        unit: SI unit.
        units: how many units.
        low: smallest.
        median: over units.
        high: largest.
        spread: largest spread of the repeats of one unit, relative.
    """

    key: str
    unit: str
    units: int
    low: float
    median: float
    high: float
    spread: float


@dataclass(frozen=True)
class CheckRow:
    """One check on all nodes.

    Attributes:
        name: of the check.
        outcome: worst of what was judged or required.
        baseline: PASS, FAIL or NO_BASELINE against the baseline; None when the check has no rate.
        judged: nodes judged.
        asked: nodes asked for.
        figures: its rates that stand on the first page.
    """

    name: str
    outcome: Outcome
    baseline: Outcome | None
    judged: int
    asked: int
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Summary:
    """Everything on the first page.

    Attributes:
        rows: one per check, in the order of the suite.
        bad: verdicts that are not PASS and not merely a missing optional baseline, the worst first.
        nodes: node → worst outcome.
        counts: outcome → how many verdicts.
        notes: sentences that change how the numbers are read.
        no_baseline: device models without a fitting baseline.
    """

    rows: tuple[CheckRow, ...]
    bad: tuple[Verdict, ...]
    nodes: dict[str, Outcome]
    counts: dict[str, int]
    notes: tuple[str, ...]
    no_baseline: tuple[str, ...]


def summarise(evidence: Evidence, judgement: Judgement, values: list[Values]) -> Summary:
    """The first page of a run."""
    rows = tuple(
        _row(spec.name, evidence, judgement, [v for v in values if v.check == spec.name])
        for spec in evidence.plan.suite.checks
    )
    order = [Outcome.FAIL, Outcome.ERROR, Outcome.WARN, Outcome.NOT_RUN, Outcome.NO_BASELINE]
    bad = [v for v in judgement.verdicts if v.outcome is not Outcome.PASS and (v.required or v.outcome is Outcome.FAIL)]
    bad.sort(key=lambda v: (order.index(v.outcome), v.subject, v.key))
    nodes = {node: _of([v for v in judgement.verdicts if v.subject.node == node]) for node in evidence.nodes}
    models = {unit.model for unit in evidence.samples.units if unit.model}
    lacking = {v.check for v in judgement.verdicts if v.outcome is Outcome.NO_BASELINE and "baseline of" in v.reason}
    return Summary(
        rows=rows,
        bad=tuple(bad),
        nodes=nodes,
        counts=dict(Counter(v.outcome.value for v in judgement.verdicts)),
        notes=tuple(_notes(evidence)),
        no_baseline=tuple(sorted(models)) if lacking else (),
    )


def _row(name: str, evidence: Evidence, judgement: Judgement, values: list[Values]) -> CheckRow:
    mine = [v for v in judgement.verdicts if v.check == name]
    against = [
        v.outcome for v in mine if v.outcome is Outcome.NO_BASELINE or (v.limit and v.limit.origin == "baseline")
    ]
    gaps = len(judgement.coverage.gaps.get(name, ()))
    asked = judgement.coverage.nodes_asked
    figures = tuple(_figure(v) for v in values if v.metric.is_rate and v.metric.headline)
    return CheckRow(name, _of(mine), worst(against) if against else None, asked - gaps, asked, figures)


def _of(verdicts: list[Verdict]) -> Outcome:
    """The worst of what counts: judged, or required and not judged."""
    return worst([v.outcome for v in verdicts if v.outcome.is_judged or v.required])


def _figure(values: Values) -> Figure:
    return Figure(
        key=values.key,
        unit=values.metric.unit,
        units=len(values.units),
        low=float(values.value.min()),
        median=2 * float(np.median(values.value / 2)),  # the middle of two may be the largest number there is
        high=float(values.value.max()),
        spread=float(values.spread.max()),
    )


def _notes(evidence: Evidence) -> list[str]:
    notes = []
    if evidence.in_turn:
        hello = next(h for h in evidence.hellos if h.in_turn)
        notes.append(
            f"{hello.ranks_on_host} ranks share {hello.cores:g} cores: they measured in turn, one thread each. "
            "Collectives cannot be measured in turn: their rates here tell of the sharing too."
        )
    if evidence.shared_host:
        floor = evidence.plan.suite.peers.shared_host_floor
        notes.append(
            f"Nodes share one kernel (virtual nodes): only losses above {floor:.0%} are blamed on one of them."
        )
    last = evidence.last_word
    if last and last.detail:
        notes.append(f"The job ended early: {last.detail}.")
    elif evidence.job and not last:
        notes.append(f"The job ended as {evidence.job.state}: {evidence.job.detail}.")
    if evidence.torn:
        notes.append(f"{len(evidence.torn)} line(s) of the records cannot be read.")
    return notes
