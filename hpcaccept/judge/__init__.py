"""The judge: evidence in, verdicts out. Pure: no files, no clock, no device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.coverage import Coverage, coverage_of
from hpcaccept.judge.questions.baseline import judge_against_baseline
from hpcaccept.judge.questions.config_drift import judge_drift
from hpcaccept.judge.questions.floor import judge_against_floor
from hpcaccept.judge.questions.history import judge_against_history
from hpcaccept.judge.questions.limits import judge_against_limits
from hpcaccept.judge.questions.missing import judge_absent
from hpcaccept.judge.questions.peers import judge_against_peers
from hpcaccept.judge.revise.cancelled import without_blame
from hpcaccept.judge.revise.disturbed import note_of_company, without_contended, without_disturbed
from hpcaccept.judge.revise.implausible import without_impossible, without_unreachable
from hpcaccept.judge.revise.node_level import explained, neighbourhoods
from hpcaccept.judge.revise.unjudged import with_owed
from hpcaccept.judge.statistics.aggregate import Values, values_of
from hpcaccept.judge.statistics.grouping import alike_of
from hpcaccept.judge.statistics.sensitivity import Sensitivity
from hpcaccept.judge.verdict_text import passing_verdicts, readable_verdicts
from hpcaccept.model.metric import Metric
from hpcaccept.model.verdict import CODE, Outcome, Question, Verdict, exit_code, strict_exit_code
from hpcaccept.model.verdict_table import VerdictTable

if TYPE_CHECKING:
    from hpcaccept.model.baseline import Baseline
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.history import Past
    from hpcaccept.model.verdict_table import JudgedColumn

Catalogue = Mapping[str, Mapping[str, Metric]]


@dataclass(frozen=True, eq=False)
class Judgement:
    """What is said of a run.

    Attributes:
        table: every verdict on a measured value, PASS too, as columns.
        said: verdicts without a value: what is absent, NOT_RUN and ERROR.
        verdicts: everything that is not PASS, to be read. Missing baselines of more than a thousand subjects, and a node of which
            all like subjects are slow, are one verdict each; ``table`` has every subject by itself.
        coverage: what was judged of what was asked.
        sensitivity: what each comparison could see: ``peers``, ``baseline``, and ``history`` where there is one.
        notes: what changes how the numbers are read.
        exit_code: 0 every node is PASS · 1 at least one FAIL · 3 anything else.
        strict_exit_code: the same, with the reasons of a 3 told apart (3, 4, 5).
    """

    table: VerdictTable
    said: tuple[Verdict, ...]
    verdicts: tuple[Verdict, ...]
    coverage: Coverage
    sensitivity: Mapping[Question, Sensitivity]
    notes: tuple[str, ...]
    exit_code: int
    strict_exit_code: int

    def passes(self) -> Iterator[Verdict]:
        """The passing verdicts alone."""
        return passing_verdicts(self.table)

    def counts(self) -> Counter[Outcome]:
        """Outcome → number of verdicts, each by itself, PASS too."""
        return self.table.counts() + Counter(verdict.outcome for verdict in self.said)


def judge(
    evidence: Evidence,
    catalogue: Catalogue,
    baselines: Mapping[str, Baseline],
    unique_facts: frozenset[str],
    past: Past | None = None,
) -> Judgement:
    """Every question, kept apart.

    Args:
        evidence: of one run.
        catalogue: check → metric name → metric.
        baselines: device model → baseline; a model without one gives NO_BASELINE.
        unique_facts: facts that differ between healthy nodes by nature.
        past: what these subjects reached in earlier runs; None: nothing is asked of the past.
    """
    return judge_values(evidence, values_of(evidence.samples, catalogue), catalogue, baselines, unique_facts, past)


def judge_values(
    evidence: Evidence,
    values: list[Values],
    catalogue: Catalogue,
    baselines: Mapping[str, Baseline],
    unique_facts: frozenset[str],
    past: Past | None = None,
) -> Judgement:
    """``judge`` for who has the values already."""
    subjects = evidence.samples.subjects
    alike = alike_of(subjects)
    limits, said = judge_against_limits(evidence, values)
    limits = list(without_unreachable(limits, subjects, baselines))
    floors = judge_against_floor(evidence, values, baselines)
    peers, peer_sensitivity = judge_against_peers(evidence, values, alike)
    known, baseline_sensitivity = judge_against_baseline(evidence, values, baselines)
    known = list(without_impossible(known, subjects, baselines))
    sensitivity: dict[Question, Sensitivity] = {"peers": peer_sensitivity, "baseline": baseline_sensitivity}
    before: list[JudgedColumn] = []
    notes: tuple[str, ...] = ()
    together: list[Verdict] = []
    if past is not None:
        before, sensitivity["history"], notes, together = judge_against_history(evidence, values, alike, past)
    drift, nodes = judge_drift(evidence, unique_facts, len(subjects))
    said = [*judge_absent(evidence, catalogue, values, alike), *said, *together]
    found = without_disturbed([*limits, *floors, *peers, *known, *before], evidence)
    earned = (explained(answer, alike) for answer in without_contended(found, evidence))
    judged = without_blame([*earned, *drift], evidence)
    answers, unjudged = with_owed(list(judged), evidence, (*subjects, *nodes), said)
    table = VerdictTable((*subjects, *nodes), tuple(answers))
    said += unjudged
    slow_nodes = {
        number: [there.rows for there in neighbourhoods(answer, alike) if there.is_the_node]
        for number, answer in enumerate(table.answers)
    }
    return Judgement(
        table=table,
        said=tuple(said),
        verdicts=(*said, *readable_verdicts(table, slow_nodes)),
        coverage=coverage_of(evidence, table, said),
        sensitivity=sensitivity,
        notes=(*notes, *note_of_company(evidence)),
        exit_code=exit_code(_kinds(table, said)),
        strict_exit_code=strict_exit_code(_kinds(table, said)),
    )


def _kinds(table: VerdictTable, said: list[Verdict]) -> Iterator[tuple[Outcome, bool]]:
    """Outcome and whether it is required, once for all rows that are alike."""
    yield from ((verdict.outcome, verdict.required) for verdict in said)
    for answer in table.answers:
        for outcome in answer.counts:
            # What is judged counts whatever is required: only of the rest must be known whether it is.
            demanded = (True,) if outcome.is_judged else np.unique(answer.demanded[answer.outcome == CODE[outcome]])
            yield from ((outcome, bool(required)) for required in demanded)
