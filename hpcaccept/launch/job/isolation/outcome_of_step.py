"""What came of a group that ran a check. Journals and the launcher's words in, an outcome with a sentence out.

A group that does not start, hangs or dies is evidence as much as one that misses a limit. What is none: that a check could not be measured
at all, as on nodes without a module that it needs.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept import checks
from hpcaccept.launch.job.failure import RankLogs, loss_of, misfit_of
from hpcaccept.model.metric import describe
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.plan import Step
from hpcaccept.parse.rank_exits import parse_deaths
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcaccept.launch.job.failure import Loss
    from hpcaccept.model.isolation_order import EndedTest
    from hpcaccept.model.metric import Limit, Metric
    from hpcaccept.model.record import Record

#: Kinds of loss of a rank that is there and does not go on.
_HANGS = frozenset({"stopped", "overdue"})
_QUOTED = 300


@dataclass(frozen=True)
class StepEnd:
    """How the step of a group has ended.

    Attributes:
        step: of the group.
        logs: what its ranks have said.
        stderr: of its launcher.
        code: exit status of its launcher.
        late: True when its time was over.
    """

    step: Step
    logs: RankLogs
    stderr: str
    code: int
    late: bool


def outcome_of_step(
    ended: EndedTest, end: StepEnd, check: str, limits: Mapping[str, Limit], gone: Mapping[str, str]
) -> EndedTest:
    """The test with what came of it.

    Args:
        ended: the test, with times.
        end: of its step.
        check: name of the check; other checks of the step are not looked at.
        limits: of the suite.
        gone: node → why it cannot be reached any more.
    """
    records = [record for record in end.logs.records if record.check == check]
    loss = loss_of(end.step, end.logs, parse_deaths(end.stderr), end.late)
    complete = {record.rank for record in records if not record.cut_short}
    if loss is None or len(complete) == end.step.ranks:
        return _of_records(ended, records, check, limits, len(end.step.nodes))
    if misfit := misfit_of(end.logs):
        return replace(ended, kind="not_run", how=misfit[0])
    if gone:
        return replace(
            ended, kind="crashed", silent=tuple(gone), how="; ".join(f"{node} {why}" for node, why in gone.items())
        )
    return _of_loss(ended, end, records, loss)


def _of_loss(ended: EndedTest, end: StepEnd, records: Sequence[Record], loss: Loss) -> EndedTest:
    """A group that has not come to its end."""
    raised = {record.rank: record.cause for record in records if record.outcome == "error" and not record.cut_short}
    if loss.kind == "failed" or (loss.kind == "died" and loss.ranks and set(loss.ranks) <= raised.keys()):
        # Who sees a connection break says so at either end of it, and behind: it names nobody.
        cause = next(iter(raised.values()), loss.how)
        return replace(ended, kind="failed", how=cause[:_QUOTED])
    whole = len(loss.nodes) == len(end.step.nodes)
    hung = end.late or loss.kind in _HANGS
    how = loss.how
    if not end.logs.spoke:
        how = _last_line(end.stderr) or ("no rank said anything in time" if end.late else how)
    return replace(ended, kind="hung" if hung else "crashed", silent=() if whole else loss.nodes, how=how[:_QUOTED])


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _of_records(
    ended: EndedTest, records: Sequence[Record], check: str, limits: Mapping[str, Limit], nodes: int
) -> EndedTest:
    """A group whose ranks all have said what they measured."""
    broken = [r for r in records if r.outcome == "error"]
    if broken:
        named = tuple(dict.fromkeys(r.node for r in broken))
        return replace(ended, kind="failed", silent=named if len(named) < nodes else (), how=broken[0].cause[:_QUOTED])
    absent = next((r for r in records if r.outcome == "not_run"), None)
    if absent or not records:
        return replace(ended, kind="not_run", how=(absent.cause if absent else "no rank measured it")[:_QUOTED])
    missed = list(_missed(records, check, limits))
    if missed:
        named = tuple(dict.fromkeys(node for node, _ in missed if node))
        return replace(ended, kind="failed", silent=named if len(named) < nodes else (), how=missed[0][1][:_QUOTED])
    return replace(ended, kind="passed")


def _missed(records: Iterable[Record], check: str, limits: Mapping[str, Limit]) -> Iterable[tuple[str, str]]:
    """Node (empty where the number is of all together) and sentence of each number outside of its limit."""
    metrics = {metric.name: metric for metric in checks.load(check).metrics}
    for record in records:
        for sample in record.samples:
            metric = metrics.get(sample.metric)
            key = MetricKey.of(check, sample.metric, sample.variant)
            limit = limits.get(str(key)) or limits.get(str(key.bare)) or (metric.limit if metric else None)
            if metric and limit and not limit.met_by(sample.value):
                node = record.node if metric.scope != "world" else ""
                where = f" on {node}" if node else ""
                yield node, f"{key} is {show(sample.value, metric.unit)}{where}, expected {describe(limit)}"


def value_of(records: Iterable[Record], check: str, asked: str) -> tuple[str, float, float] | None:
    """Key, value and relative noise of the number that groups are compared by; None: they have none.

    The value of a group is that of its worst rank, each by the median of its repeats.

    Args:
        records: of the group.
        check: name of the check.
        asked: key of the number, or ``auto``: the first rate of the check at its largest.
    """
    mine = [record for record in records if record.check == check and record.outcome == "measured"]
    found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in mine:
        for sample in record.samples:
            found[sample.metric, sample.variant][record.rank].append(sample.value)
    metric = rate_of(check, asked)
    if metric is None:
        return None
    key = MetricKey.parse(asked) if asked != "auto" else None
    medians = {
        variant: {rank: statistics.median(values) for rank, values in ranks.items()}
        for (name, variant), ranks in found.items()
        if name == metric.name and (key is None or not key.variant or key.variant == variant)
    }
    if not medians:
        return None
    worst = max if metric.direction == "lower" else min
    kind = next(iter(medians)).partition("/")[0]  # of several backends the first
    mine_only = {
        variant: worst(ranks.values()) for variant, ranks in medians.items() if variant.partition("/")[0] == kind
    }
    variant = max(mine_only, key=lambda name: mine_only[name]) if metric.cells == "" else next(iter(mine_only))
    repeats = next(iter(found[metric.name, variant].values()))
    return str(MetricKey.of(check, metric.name, variant)), mine_only[variant], _noise(repeats)


def rate_of(check: str, asked: str) -> Metric | None:
    """The metric that groups are compared by: the one that is asked for, or the first rate of the check; None: there is none."""
    metrics = checks.load(check).metrics
    if asked == "auto":
        rates = [m for m in metrics if m.is_rate and m.noise == "timed" and m.headline and m.direction == "higher"]
        return next(iter(rates), None)
    if not asked:
        return None
    name = MetricKey.parse(asked).metric
    return next((metric for metric in metrics if metric.name == name), None)


def _noise(repeats: Sequence[float]) -> float:
    """Relative standard deviation of the median of repeats, roughly; 0 where there is one."""
    middle = statistics.median(repeats)
    if len(repeats) < 2 or middle <= 0:
        return 0.0
    return float(statistics.stdev(repeats) / middle / len(repeats) ** 0.5)
