"""Whom this run would blame, and whether that holds in another launch.

A launch can be slow for its whole life, whatever its iterations, and a neighbour can take a core for a second. Before a run ends, the
checks in which somebody is slower than the peers or than its own past, or misses a limit, are launched again: on the suspects, and on one
good node more than there are suspects. What that launch was for everybody is seen by the good ones (``judge.statistics.aggregate``), a check that needs partners has them, and
thousands of others need not wait. A subject that is really slow is slow in each launch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept import checks
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.verdict import CODE, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.judge.statistics.grouping import Alike
    from hpcaccept.model.baseline import Baseline
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.history import Past
    from hpcaccept.model.plan import Plan, Step
    from hpcaccept.model.suite import PeerRule
    from hpcaccept.model.verdict_table import JudgedColumn
    from hpcaccept.store.folder import RunFolder

#: Good nodes beside one suspect: whoever is one of two cannot say which of them is slow.
_PARTNERS = 2
#: A limit that more than half of so many like subjects miss is not missed by accident: another launch tells nothing.
_MANY, _MOST_BY_ACCIDENT = 4, 0.5
#: What another launch of today cannot change.
_LASTING = (FindingCode.PAST_DECLINE, FindingCode.REPEAT_OFFENDER)


@dataclass(frozen=True)
class Again:
    """What is launched again.

    Attributes:
        checks: names.
        nodes: numbers of the nodes in ``Alike.nodes``; None: all that measured the checks.
    """

    checks: frozenset[str]
    nodes: frozenset[int] | None


def has_timed_rates(plan: Plan) -> bool:
    """True when anything in the plan could be suspect: else numpy need not be imported to know that nothing is."""
    kinds = (checks.load(spec.name) for spec in plan.suite.checks)
    return any(m.is_rate and m.peer_floor is not None and m.noise == "timed" for k in kinds for m in k.metrics)


def retest_of(folder: RunFolder, plan: Plan, last: Step, done: int) -> tuple[Step, str] | None:
    """The step that measures suspects again, and whom it suspects; None when nobody is, or it was done often enough.

    Args:
        folder: of the run.
        plan: of the run.
        last: step, whose shape the new one has.
        done: retests so far.
    """
    rule = plan.suite.peers
    if done >= rule.retests or not rule.enabled or not has_timed_rates(plan):
        return None
    from hpcaccept.judge.statistics.aggregate import values_of
    from hpcaccept.judge.statistics.grouping import alike_of
    from hpcaccept.judge.verdict_text import verdict_of
    from hpcaccept.launch.job.known import known_baselines, known_past
    from hpcaccept.model.verdict_table import VerdictTable
    from hpcaccept.store.gather import gather

    catalogue = checks.catalogue(spec.name for spec in plan.suite.checks)
    evidence = gather(folder, catalogue)
    subjects = evidence.samples.subjects
    alike = alike_of(subjects)
    values = [column for column in values_of(evidence.samples, catalogue) if column.metric.noise == "timed"]
    answers = answers_of(evidence, values, alike, known_baselines(folder, evidence), known_past(folder, evidence))
    table = VerdictTable(subjects, tuple(answers))
    again = measured_again(rule, table.answers, alike, done, shared_host=evidence.shared_host)
    if again is None:
        return None
    slow = [
        verdict_of(table, answer, row)
        for answer in table.answers
        for row in suspects_of(answer, shared_host=evidence.shared_host)
    ]
    # A node that was lost in one of them would only be lost again.
    there = {(r.node, r.check) for r in evidence.records if r.outcome == "measured"}
    wanted = None if again.nodes is None else {alike.nodes[number] for number in again.nodes}
    nodes = tuple(
        node
        for node in evidence.nodes
        if (wanted is None or node in wanted) and all((node, name) in there for name in again.checks)
    )
    if not nodes:
        return None
    worst = min(slow, key=lambda v: (v.outcome is not Outcome.FAIL, v.subject))
    specs = tuple(spec for spec in plan.suite.checks if spec.name in again.checks)
    step = replace(last, id="", nodes=nodes, checks=specs)
    return step, f"{', '.join(sorted(again.checks))}: {worst.subject} {worst.reason}"


def answers_of(
    evidence: Evidence, values: Sequence[Values], alike: Alike, baselines: Mapping[str, Baseline], past: Past | None
) -> list[JudgedColumn]:
    """What the questions about rates would say now; of the past, whom a first look suspects.

    Args:
        evidence: of the run so far.
        values: its timed rates.
        alike: its subjects.
        baselines: device model → baseline.
        past: of its subjects; None: nothing is asked of it.
    """
    from hpcaccept.judge.questions.baseline import judge_against_baseline
    from hpcaccept.judge.questions.floor import judge_against_floor
    from hpcaccept.judge.questions.history import suspected_by_past
    from hpcaccept.judge.questions.limits import judge_against_limits
    from hpcaccept.judge.questions.peers import judge_against_peers

    return [
        *judge_against_peers(evidence, values, alike)[0],
        *judge_against_limits(evidence, values)[0],
        *judge_against_floor(evidence, values, baselines),
        *judge_against_baseline(evidence, values, baselines)[0],
        *(suspected_by_past(evidence, values, alike, past) if past is not None else ()),
    ]


def measured_again(
    rule: PeerRule, answers: Iterable[JudgedColumn], alike: Alike, done: int, *, shared_host: bool
) -> Again | None:
    """What another launch must confirm, and on which nodes; None when nobody is suspect, or it was done often enough.

    Args:
        rule: of the suite.
        answers: of ``answers_of``.
        alike: the subjects of the run.
        done: retests so far.
        shared_host: True for virtual nodes of one kernel. How many of them measure is a condition of what each of them measures, so
            that all are launched again.
    """
    if done >= rule.retests or not rule.enabled:
        return None
    suspected = [(answer, rows) for answer in answers if (rows := suspects_of(answer, shared_host=shared_host))]
    if not suspected:
        return None
    names = frozenset(answer.check for answer, _ in suspected)
    if shared_host:
        return Again(names, None)
    suspects = {node for answer, rows in suspected for node in alike.node[answer.subject[rows]].tolist()}
    partners: set[int] = set()
    for answer, rows in suspected:
        good = sorted(set(alike.node[answer.subject].tolist()) - suspects)
        needed = max(_PARTNERS, len(set(alike.node[answer.subject[rows]].tolist())) + 1)
        needed -= len(partners.intersection(good))
        partners.update([node for node in good if node not in partners][: max(0, needed)])
    return Again(names, frozenset(suspects | partners))


def suspects_of(answer: JudgedColumn, *, shared_host: bool) -> list[int]:
    """Rows of an answer that another launch must confirm: who is slow, and where the peers differ too much to say, or are two groups.

    Virtual nodes of one kernel that differ too much do so in every launch: they take turns on it.
    """
    slow = answer.outcome == CODE[Outcome.FAIL]
    slow |= answer.outcome == CODE[Outcome.WARN]
    if answer.question != "peers":
        if answer.metric.scope == "world":
            return []  # fewer nodes are no measure of all
        many = len(answer) >= _MANY and slow.sum() > _MOST_BY_ACCIDENT * len(answer)
        rows: list[int] = [] if many else slow.nonzero()[0].tolist()
        return [row for row in rows if answer.remarks.get(row) is None or answer.remarks[row].code not in _LASTING]
    if answer.owed is not None:
        # Two groups: the slower one may have had company.
        slow |= answer.center == answer.center  # not NaN; numpy need not be imported for it
    elif not answer.said and not shared_host:
        slow |= answer.outcome == CODE[Outcome.NO_BASELINE]
    found: list[int] = slow.nonzero()[0].tolist()
    return found
