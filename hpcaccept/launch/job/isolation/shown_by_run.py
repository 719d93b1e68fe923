"""What a run has already shown of a fault that only groups can tell apart: its steps, or its journal where it was an isolation itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept import checks
from hpcaccept.launch.job.isolation.read_step import read_step
from hpcaccept.model.event import Event
from hpcaccept.model.isolation import GroupTest
from hpcaccept.model.isolation_order import EndedTest
from hpcaccept.store import isolation_journal
from hpcaccept.store.journal import read

if TYPE_CHECKING:
    from hpcaccept.model.isolation_order import IsolationOrder
    from hpcaccept.model.plan import Plan, Step
    from hpcaccept.store.folder import RunFolder

#: Outcomes that call for an isolation.
BAD = frozenset({"failed", "hung", "crashed"})


@dataclass(frozen=True)
class Shown:
    """What a run has shown.

    Attributes:
        check: that is to be looked into; empty: it shows no such fault.
        tests: what it shows of that.
        slow: True where it was slow rather than broken, so that groups have to be compared.
    """

    check: str
    tests: tuple[EndedTest, ...] = ()
    slow: bool = False

    @property
    def metric(self) -> str:
        """What groups are compared by: whatever fails outright is told by that alone, in fewer tests."""
        broken = any(test.kind in BAD for test in self.tests)
        return "" if broken and not self.slow else "auto"


def shown_by_run(plan: Plan, folder: RunFolder, order: IsolationOrder) -> Shown:
    """The check that is to be looked into, and what the run shows of it.

    Args:
        plan: of the run.
        folder: of the run.
        order: whose check counts, where it names one; else the first of the suite that has failed. Where only one that divides the nodes
            itself has failed, another runs in the groups.
    """
    earlier = isolation_journal.read_order(folder)
    if earlier is not None and not earlier.after_suite:
        tests = (*earlier.before, *_of_journal(folder))
        return Shown(earlier.check or order.check, tests, slow=earlier.metric != "")
    if folder.isolation.isolation_order_file.exists():
        return shown_by_run(plan, folder.isolation, order)
    steps = folder.read_steps()
    in_groups = Shown(order.check)
    for spec in plan.suite.checks:
        kind = checks.load(spec.name)
        if order.check not in ("", spec.name) or kind.scope != "world":
            continue
        slow = _misses(plan, folder, spec.name)
        found = _of_steps(plan, folder, steps, spec.name, slow)
        if order.check or any(test.kind in BAD for test in found):
            if not kind.isolated_by:
                return Shown(spec.name, found, slow=bool(slow))
            if kind.isolated_by in {other.name for other in plan.suite.checks}:
                in_groups = Shown(kind.isolated_by, found, slow=True)
    return in_groups


def _of_journal(folder: RunFolder) -> tuple[EndedTest, ...]:
    return tuple(entry for entry in isolation_journal.read(folder)[0] if isinstance(entry, EndedTest))


def _of_steps(plan: Plan, folder: RunFolder, steps: tuple[Step, ...], check: str, slow: str) -> tuple[EndedTest, ...]:
    """Each step in which the check was to run, as the test of one group. Its numbers are not compared: no other group is as large."""
    codes = _codes(folder)
    found = []
    for step in steps:
        if check not in {spec.name for spec in step.checks} or len(step.nodes) < 2:
            continue
        test = GroupTest(f"s{step.id}", 0, step.nodes, asks=f"step {step.id} of the run")
        ended = EndedTest(test, "not_run", step=step.id, code=codes.get(step.id, 0))
        ended, _ = read_step(plan, folder, step, ended, check, "", late=False, gone=dict)
        if slow and ended.kind == "passed":
            ended = replace(ended, kind="failed", how=slow)
        found.append(ended)
    return tuple(found)


def _codes(folder: RunFolder) -> dict[str, int]:
    """Step → exit status of its launcher."""
    words = read(folder.driver_log) if folder.driver_log.exists() else ()
    return {word.step: word.returncode for word in words if isinstance(word, Event) and word.kind == "step_ended"}


def _misses(plan: Plan, folder: RunFolder, check: str) -> str:
    """Why a rate of all ranks together is too low (a limit, a baseline, the floor); empty when it is not."""
    metrics = checks.load(check).metrics
    if not any(metric.is_rate and metric.scope == "world" for metric in metrics):
        return ""
    from hpcaccept.judge.questions.baseline import judge_against_baseline
    from hpcaccept.judge.questions.floor import judge_against_floor
    from hpcaccept.judge.statistics.aggregate import values_of
    from hpcaccept.judge.verdict_text import verdict_of
    from hpcaccept.launch.job.known import known_baselines
    from hpcaccept.model.verdict import CODE, Outcome
    from hpcaccept.model.verdict_table import VerdictTable
    from hpcaccept.store.gather import gather

    catalogue = checks.catalogue(spec.name for spec in plan.suite.checks)
    evidence = gather(folder, catalogue)
    values = [v for v in values_of(evidence.samples, catalogue) if v.check == check and v.metric.scope == "world"]
    known = known_baselines(folder, evidence)
    answers = [
        *judge_against_floor(evidence, values, known),
        *judge_against_baseline(evidence, values, known)[0],
    ]
    table = VerdictTable(evidence.samples.subjects, tuple(answers))
    for answer in table.answers:
        for row in (answer.outcome == CODE[Outcome.FAIL]).nonzero()[0].tolist():
            return f"{answer.key}: {verdict_of(table, answer, row).reason}"
    return ""
