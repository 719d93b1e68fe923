"""Whom would this run blame, and is it still so in another launch?

A launch can be slow for its whole life, whatever its iterations, and a neighbour can take a core for a second. Before a run
ends, the checks in which somebody is slower than the peers are launched again on all nodes that measured them; the best
launch counts. A subject that is really slow is slow again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept import checks
from hpcaccept.model.plan import Plan, Step
from hpcaccept.model.verdict import CODE, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.model.suite import PeerRule
    from hpcaccept.model.verdict_table import JudgedColumn
    from hpcaccept.store.folder import RunFolder


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
    from hpcaccept.judge.questions.peers import judge_against_peers
    from hpcaccept.judge.statistics.aggregate import values_of
    from hpcaccept.judge.statistics.grouping import alike_of
    from hpcaccept.judge.verdict_text import verdict_of
    from hpcaccept.model.verdict_table import VerdictTable
    from hpcaccept.store.gather import gather

    catalogue = checks.catalogue(spec.name for spec in plan.suite.checks)
    evidence = gather(folder, catalogue)
    subjects = evidence.samples.subjects
    values = [column for column in values_of(evidence.samples, catalogue) if column.metric.noise == "timed"]
    table = VerdictTable(subjects, tuple(judge_against_peers(evidence, values, alike_of(subjects))[0]))
    names = checks_again(rule, table.answers, done)
    if not names:
        return None
    slow = [verdict_of(table, answer, row) for answer in table.answers for row in suspects_of(answer)]
    # A node that was lost in one of them would only be lost again.
    there = {(r.node, r.check) for r in evidence.records if r.outcome == "measured"}
    nodes = tuple(node for node in evidence.nodes if all((node, name) in there for name in names))
    if not nodes:
        return None
    again = tuple(spec for spec in plan.suite.checks if spec.name in names)
    worst = min(slow, key=lambda v: (v.outcome is not Outcome.FAIL, v.subject))
    step = Step(
        id="",
        nodes=nodes,
        ranks_per_node=last.ranks_per_node,
        gpus_per_node=last.gpus_per_node,
        checks=again,
        start_deadline_s=last.start_deadline_s,
        virtual=last.virtual,
    )
    return step, f"{', '.join(sorted(names))}: {worst.subject} {worst.reason}"


def checks_again(rule: PeerRule, answers: Iterable[JudgedColumn], done: int) -> set[str]:
    """Checks that another launch must confirm; none when nobody is suspect, or it was done often enough.

    Args:
        rule: of the suite.
        answers: of the comparison with the peers.
        done: retests so far.
    """
    if done >= rule.retests or not rule.enabled:
        return set()
    return {answer.check for answer in answers if suspects_of(answer)}


def suspects_of(answer: JudgedColumn) -> list[int]:
    """Rows of an answer that another launch must confirm: who is slow, and where the subjects differ too much to say."""
    slow = answer.outcome == CODE[Outcome.FAIL]
    slow |= answer.outcome == CODE[Outcome.WARN]
    if not answer.said:
        slow |= answer.outcome == CODE[Outcome.NO_BASELINE]
    found: list[int] = slow.nonzero()[0].tolist()
    return found
