"""What all report formats show. Derived once from evidence and judgement, without any layout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.suite import PeerRule
from hpcaccept.model.verdict import CODE, OUTCOMES, SEVERITY, Outcome, Verdict, worst
from hpcaccept.report.provenance import Provenance, provenance_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from hpcaccept.judge import Judgement
    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict_table import JudgedColumn

#: Lines that a search for shapes may take of the first page.
_SHAPES_SHOWN = 16
#: From what must be looked at first to what is well.
ORDER = tuple(sorted(OUTCOMES, key=SEVERITY.__getitem__, reverse=True))
#: How bad each code of a column is.
_RANK = np.array([SEVERITY[outcome] for outcome in OUTCOMES])


@dataclass(frozen=True)
class Figure:
    """One metric over all subjects.

    Attributes:
        key: metric key.
        title: the metric in words.
        unit: SI unit.
        units: how many subjects.
        low: smallest.
        median: over subjects.
        high: largest.
        spread: largest spread of the repeats of one subject, relative.
    """

    key: str
    title: str
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
        bad: verdicts that are not PASS and not merely a missing optional baseline, as ``ranked`` orders them.
        nodes: node → worst outcome.
        counts: outcome → how many verdicts.
        notes: sentences that change how the numbers are read.
        no_baseline: device models without a fitting baseline.
        left_out: what nothing has judged, and what the suite does without: metric keys of rates, checks that are not required,
            and those that a budget has left out.
        bound: what the result is bound to.
    """

    rows: tuple[CheckRow, ...]
    bad: tuple[Verdict, ...]
    nodes: dict[str, Outcome]
    counts: dict[str, int]
    notes: tuple[str, ...]
    no_baseline: tuple[str, ...]
    left_out: tuple[str, ...]
    bound: Provenance


def summarise(evidence: Evidence, judgement: Judgement, values: list[Values]) -> Summary:
    """The first page of a run."""
    by_check: dict[str, list[Values]] = {}
    for column in values:
        by_check.setdefault(column.check, []).append(column)
    rows = tuple(_row(spec.name, judgement, by_check.get(spec.name, [])) for spec in evidence.plan.suite.checks)
    bad = [v for v in judgement.verdicts if v.required or v.outcome is Outcome.FAIL or v.question == "history"]
    bound = provenance_of(evidence)
    models = {subject.model for subject in evidence.samples.subjects if subject.model}
    lacking = any(answer.unknown_model for answer in judgement.table.answering("baseline"))
    return Summary(
        rows=rows,
        bad=tuple(ranked(bad)),
        nodes=_nodes(evidence, judgement),
        counts={outcome.value: count for outcome, count in judgement.counts().items()},
        notes=(*_notes(evidence, bound), *judgement.notes),
        no_baseline=tuple(sorted(models)) if lacking else (),
        left_out=_left_out(evidence, judgement),
        bound=bound,
    )


def _left_out(evidence: Evidence, judgement: Judgement) -> tuple[str, ...]:
    """Rates of the first page that no question has judged on any subject, then optional checks that have gaps, and what the budget has left out."""
    judged: dict[str, bool] = {}
    for answer in judgement.table.answers:
        if answer.metric.is_rate and answer.metric.headline and answer.metric.noise == "timed":
            judged[answer.key] = judged.get(answer.key, False) or any(outcome.is_judged for outcome in answer.counts)
    optional = [spec.name for spec in evidence.plan.suite.checks if not spec.required]
    # One metric has many variants (sizes, libraries): each is told once.
    bare = {str(MetricKey.parse(key).bare): key for key, spoken in judged.items() if not spoken}
    rates = tuple(bare)
    gaps = (name for name in dict.fromkeys(optional) if name in judgement.coverage.gaps)
    return (*rates, *gaps, *evidence.plan.left_out)


def ranked(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The worst first, for every format: by outcome, then by how far a value misses its limit, then by name."""
    return sorted(verdicts, key=lambda v: (ORDER.index(v.outcome), -shortfall(v), v.subject, v.key))


def shortfall(verdict: Verdict) -> float:
    """How far a value lies outside of its limit, relative to it: negative inside, infinite where nothing was measured.

    A limit of 0 has no share; there the value itself counts (3 wrong elements are 3).
    """
    value, limit = verdict.value, verdict.limit
    if value is None:
        return math.inf
    bounds = ((-1.0, limit.lower), (1.0, limit.upper)) if limit else ()
    found = max(
        (sign * (value - bound) / (abs(bound) or 1.0) for sign, bound in bounds if bound is not None), default=0.0
    )
    return math.inf if math.isnan(found) else found


def _nodes(evidence: Evidence, judgement: Judgement) -> dict[str, Outcome]:
    """The worst that counts of each node: judged, or required and not judged; NOT_RUN where nothing is."""
    number = {node: i for i, node in enumerate(evidence.nodes)}
    table = judgement.table
    # The last one is for what speaks of no node of the job.
    node = np.fromiter(
        (number.get(subject.node, len(number)) for subject in table.subjects), np.intp, len(table.subjects)
    )
    found = np.full(len(number) + 1, -1)
    for answer in table.answers:
        counts = counting(answer)
        np.maximum.at(found, node[answer.subject[counts]], _RANK[answer.outcome[counts]])
    for verdict in judgement.said:
        if verdict.required:
            at = number.get(verdict.subject.node, len(number))
            found[at] = max(found[at], SEVERITY[verdict.outcome])
    worst_of = {-1: Outcome.NOT_RUN, **{rank: outcome for outcome, rank in SEVERITY.items()}}
    return {name: worst_of[int(found[i])] for name, i in number.items()}


def counting(answer: JudgedColumn) -> npt.NDArray[np.bool_]:
    """bool[u]: what is judged counts, and what is required."""
    counts: npt.NDArray[np.bool_] = (answer.outcome <= CODE[Outcome.FAIL]) | answer.demanded
    return counts


def _row(name: str, judgement: Judgement, values: list[Values]) -> CheckRow:
    mine = [answer for answer in judgement.table.answers if answer.check == name]
    outcomes = [verdict.outcome for verdict in judgement.said if verdict.check == name and verdict.required]
    for answer in mine:
        outcomes += [OUTCOMES[code] for code in np.unique(answer.outcome[counting(answer)]).tolist()]
    against: list[Outcome] = []
    for answer in mine:
        codes = [OUTCOMES[code] for code in np.unique(answer.outcome).tolist()]
        is_baseline = answer.question == "baseline"
        against += [o for o in codes if is_baseline or o is Outcome.NO_BASELINE]
    gaps = len(judgement.coverage.gaps.get(name, ()))
    asked = judgement.coverage.nodes_asked
    figures = tuple(_figure(v) for v in values if v.metric.is_rate and v.metric.headline)
    return CheckRow(name, worst(outcomes), worst(against) if against else None, asked - gaps, asked, figures)


def _figure(values: Values) -> Figure:
    return Figure(
        key=values.key,
        title=values.metric.named(MetricKey.parse(values.key).variant),
        unit=values.metric.unit,
        units=len(values.subject),
        low=float(values.value.min()),
        median=2 * float(np.median(values.value / 2)),  # the middle of two may be the largest number there is
        high=float(values.value.max()),
        spread=float(values.spread.max()),
    )


def _notes(evidence: Evidence, bound: Provenance) -> list[str]:
    notes = []
    if evidence.in_turn:
        rank_started = next(h for h in evidence.rank_starts if h.in_turn)
        # A rank that its MPI has pinned has one core; together they have more. Older records say only the rank's.
        cores = rank_started.host_cores or rank_started.cores
        notes.append(
            f"{rank_started.ranks_on_host} ranks share {cores:g} core{'' if cores == 1 else 's'}: they measured in turn, one thread each. "
            "Collectives cannot be measured in turn: their rates here include the sharing."
        )
    if evidence.shared_host:
        floor = evidence.plan.suite.peers.shared_host_floor
        notes.append(
            f"Nodes share one kernel (virtual nodes): only losses above {floor:.0%} are blamed on one of them."
        )
    if off := _peers_off(evidence):
        notes.append(
            f"The suite switches off the comparison with peers ([peers] {off}): nobody was asked whether it is slower than its like."
        )
    notes += _how_it_ended(evidence)
    notes += [f"The job came back: {e.detail}." for e in evidence.events if e.kind == "started_again"]
    if bound.lacking:
        notes.append(f"Not recorded, so the result is not bound to it: {', '.join(bound.lacking)}.")
    if evidence.unreadable:
        notes.append(f"{len(evidence.unreadable)} line(s) of the records cannot be read.")
    return [*notes, *_found_shapes(evidence)]


def _peers_off(evidence: Evidence) -> str:
    """The setting of the suite with which no unit of this run can be told from its like; empty where they are compared."""
    rule = evidence.plan.suite.peers
    if not rule.enabled:
        return "enabled = false"
    # Of fewer than three nobody could tell, whatever the suite says. A floor that forgives everything is told of each metric.
    most = max(PeerRule.min_subjects, len({start.rank for start in evidence.rank_starts}))
    return f"min_subjects = {rule.min_subjects}" if rule.min_subjects > most else ""


def _how_it_ended(evidence: Evidence) -> list[str]:
    """Why the job ended early, and the last lines of its output where nobody else says it."""
    last, job, end = evidence.last_word, evidence.job, evidence.ended_from_outside
    if end:
        notes = [f"The job ended early: {end.sentence}.{f' {end.remedy}' if end.remedy else ''}"]
    elif last and last.detail:
        return [f"The job ended early: {last.detail}."]
    elif job and not last:
        said = job.sentence
        notes = [f"{said[0].upper()}{said[1:]}.{f' {job.remedy}' if job.remedy else ''}"]
    else:
        return []
    if job and job.last_lines:
        notes += ["The last lines of its output:", *(f"│ {line}" for line in job.last_lines)]
    return notes


def _found_shapes(evidence: Evidence) -> list[str]:
    """What a search for shapes has found, as lines for a suite; of a fleet as many as anybody reads."""
    searching = [spec.name for spec in evidence.plan.suite.checks if spec.params.get("search")]
    records = evidence.record_table.rows(evidence.record_table.of_checks(searching)) if searching else []
    found = {
        f"Best shape found for {record.device_model}, to keep it in a suite: {text}"
        for record in records
        for fact, text in record.facts.items()
        if fact.startswith("suite[")
    }
    return sorted(found)[:_SHAPES_SHOWN]
