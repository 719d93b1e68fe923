"""Is a subject slower than its peers in this run?

The rule is ``judge.statistics.peer_rule``: a subject is blamed when it is slower by more than the *floor* of its metric **and** by more
than ``z`` robust widths of its like subjects, where ``z`` follows from the number of comparisons and the stated false-alarm rate.
Launches of one run are put on one level first (``Values.level``): what slowed all of them blames nobody. Fewer than ``min_subjects`` like subjects cannot say who is slow. WARN (GPUs only): beyond the widths and half of the floor.
The whole fleet judges; the neighbours on the node explain (``judge.revise.node_level``). Before a run ends, the checks of its suspects
are launched again (hpcaccept.launch.job.retest).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from hpcaccept.judge.statistics.peer_rule import CPU_FLOOR, compare_with_peers, cut
from hpcaccept.judge.statistics.sensitivity import Sensitivity, span_of
from hpcaccept.judge.verdict_text import extended
from hpcaccept.model.verdict import CODE, Outcome
from hpcaccept.model.verdict_table import JudgedColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.judge.statistics.grouping import Alike
    from hpcaccept.judge.statistics.peer_rule import Compared
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict import Question

    Rows = npt.NDArray[np.intp]

#: Healthy GPUs of one model differ by some percent (power, silicon; facts in peer_rule), CPU rates of a busy machine by several times.
_MOST_ON_GPU, _MOST_ON_CPU = 2.0, 20.0
#: Of fewer nobody can say who is the odd one.
_TELLS_A_WONDER = 4


def judge_against_peers(
    evidence: Evidence, values: Sequence[Values], alike: Alike
) -> tuple[list[JudgedColumn], Sensitivity]:
    """An answer per rate and kind of subject, and what the comparison could see."""
    rule = evidence.plan.suite.peers
    columns = [c for c in values if rule.enabled and is_compared(c) and c.metric.scope != "world"]
    groups = [(column, rows) for column in columns for _, rows in alike.groups(column.subject)]
    sizes = [len(rows) for _, rows in groups if len(rows) >= rule.min_subjects]
    required = {spec.name: spec.required for spec in evidence.plan.suite.checks}
    answers: list[JudgedColumn] = []
    losses: list[float] = []
    for column, rows in groups:
        # Each comparison has an equal share of the rate: the few nodes are not judged by the number of their GPUs.
        z = cut(len(sizes) * len(rows), rule.false_alarm_rate)
        needed = required.get(column.check, True)
        if len(rows) < rule.min_subjects:
            why = f"{len(rows)} like unit(s) in this run, {rule.min_subjects} are needed to say who is slow"
            answers.append(unanswered("peers", column, rows, Outcome.NO_BASELINE, why, required=False))
            continue
        floors = floors_of(column, evidence, column.metric.peer_floor or 0.0)
        compared = _compare(column, rows, alike, floors, z)
        if compared is None:
            why = "what the peers say is no rate"
            answers.append(unanswered("peers", column, rows, Outcome.ERROR, why, required=True))
            continue
        losses.append(float(compared.fail_at.max()))
        most = _MOST_ON_CPU if evidence.plan.request.device == "cpu" else _MOST_ON_GPU
        detail = f"loss > {floors[1]:.3g} and > {z:.2f} robust sigma"
        answers.append(
            _verified(
                evidence,
                column.launches[rows],
                answer_of(
                    "peers",
                    replace(column, value=column.level),
                    rows,
                    compared,
                    f"median of {len(rows) - 1} peers",
                    detail,
                    required=needed,
                ),
                most,
            )
        )
    z = cut(sum(sizes), rule.false_alarm_rate)
    return answers, Sensitivity(sum(sizes), rule.false_alarm_rate, z, span_of(losses), min(sizes, default=0))


def _verified(evidence: Evidence, launches: npt.NDArray[np.int32], answer: JudgedColumn, most: float) -> JudgedColumn:
    """The answer without wonders; a FAIL that another launch should have confirmed, and did not, is a WARN."""
    answer = without_wonders(answer, most)
    last = evidence.last_word
    again = bool(launches.max(initial=1) > 1)
    cut_short = evidence.plan.suite.peers.retests > 0 and (last is None or bool(last.detail))
    if answer.metric.noise == "counted" or not (again or cut_short):
        return answer
    rows = np.flatnonzero((answer.outcome == CODE[Outcome.FAIL]) & (launches < 2))
    if not len(rows):
        return answer
    outcome = answer.outcome.copy()
    outcome[rows] = CODE[Outcome.WARN]
    why = "not confirmed: it was measured in one launch only, and another is needed to blame somebody"
    remedy = "Run again: the run ended before this node was measured a second time."
    texts = dict.fromkeys(rows.tolist(), why)
    return replace(answer, outcome=outcome, remarks=extended(answer, texts, dict.fromkeys(texts, remedy)))


def without_wonders(answer: JudgedColumn, most: float) -> JudgedColumn:
    """The answer; who is faster than its like by more than any two healthy parts differ has measured something else: an ERROR.

    Args:
        answer: of a comparison of rates.
        most: how many times the middle of the others a healthy subject may reach.
    """
    if answer.metric.noise == "counted" or len(answer) < _TELLS_A_WONDER:
        return answer
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        faster = answer.value / answer.center if answer.metric.direction == "higher" else answer.center / answer.value
    rows = np.flatnonzero((faster > most) & (answer.outcome == CODE[Outcome.PASS]))
    if not len(rows):
        return answer
    outcome = answer.outcome.copy()
    outcome[rows] = CODE[Outcome.ERROR]
    why = {row: f"{faster[row]:.3g} times what its like reach is no speed of a like part" for row in rows.tolist()}
    remedy = "Do not trust this number: look at the clock of the node, at its versions and at what else differs there."
    return replace(answer, outcome=outcome, remarks=extended(answer, why, dict.fromkeys(why, remedy)))


def is_compared(column: Values) -> bool:
    """True for a rate that has a floor: it can be compared with other subjects."""
    return column.metric.is_rate and column.metric.peer_floor is not None


def floors_of(column: Values, evidence: Evidence, own: float) -> tuple[float, float]:
    """Smallest relative loss that is worth a WARN, and a FAIL. CPUs have no WARN band: their noise would live in it.

    Args:
        column: the values.
        evidence: of the run: GPUs or CPUs, and whether nodes share a kernel.
        own: floor of the metric.
    """
    rule, on_cpu = evidence.plan.suite.peers, evidence.plan.request.device == "cpu"
    if column.metric.noise == "timed":
        if rule.floor is not None:
            own = rule.floor
        elif on_cpu:
            own = max(own, CPU_FLOOR)
        if on_cpu and evidence.shared_host:
            own = max(own, rule.shared_host_floor)
    return (own if on_cpu else own / 2), own


def _compare(column: Values, rows: Rows, alike: Alike, floors: tuple[float, float], z: float) -> Compared | None:
    """The comparison of like subjects; None where their middle is 0 or less, or a number so large that squares overflow."""
    value = column.level[rows]
    if not np.abs(value).max() < 1e150 or not np.median(value) > 0:
        return None
    higher, node = column.metric.direction == "higher", alike.node[column.subject[rows]]
    # A width a thousand orders above its centre is infinite: nobody can be blamed, and nobody passes.
    with np.errstate(over="ignore", invalid="ignore"):
        compared = compare_with_peers(value, higher, node, floors, z)
    return compared if compared.center.min() > 0 else None


def answer_of(
    question: Literal["peers", "history"],
    column: Values,
    rows: Rows,
    compared: Compared,
    who: str,
    detail: str,
    *,
    required: bool,
) -> JudgedColumn:
    """What a comparison says of each subject: PASS inside the worrying limit, WARN inside the failing one, FAIL beyond.

    Where not even a rate of 0 could be blamed, that is no pass: the subject is undecided, NO_BASELINE without a limit.
    """
    value, center = column.value[rows], compared.center
    higher = column.metric.direction == "higher"
    sign = -1.0 if higher else 1.0
    with np.errstate(over="ignore"):
        failing = center + sign * compared.fail_at * center
        worrying = center + sign * np.minimum(compared.warn_at, compared.fail_at) * center
    undecided = ~np.isfinite(failing) | (center <= 0) | (failing <= 0 if higher else False)
    fails, warns = (value < bound if higher else value > bound for bound in (failing, worrying))
    outcome = np.select([fails, warns], [CODE[Outcome.FAIL], CODE[Outcome.WARN]], CODE[Outcome.PASS])
    outcome = np.where(undecided, CODE[Outcome.NO_BASELINE], outcome).astype(np.int8)
    bound = np.where(outcome == CODE[Outcome.PASS], worrying, failing)
    bound[undecided] = np.nan
    none = np.broadcast_to(np.float64(np.nan), value.shape)
    return JudgedColumn(
        question=question,
        key=column.key,
        metric=column.metric,
        origin=question,
        subject=column.subject[rows],
        outcome=outcome,
        value=value,
        lower=bound if higher else none,
        upper=none if higher else bound,
        center=center,
        compared=who,
        detail=detail,
        required=required,
    )


def unanswered(
    question: Question,
    column: Values,
    rows: Rows,
    outcome: Outcome,
    said: str,
    *,
    required: bool,
    unknown_model: bool = False,
) -> JudgedColumn:
    """Measured, and nothing to compare it with."""
    value = column.value[rows]
    none = np.broadcast_to(np.float64(np.nan), value.shape)
    return JudgedColumn(
        question=question,
        key=column.key,
        metric=column.metric,
        origin="peers" if question == "peers" else "baseline",
        subject=column.subject[rows],
        outcome=np.broadcast_to(np.int8(CODE[outcome]), value.shape),
        value=value,
        lower=none,
        upper=none,
        center=none,
        said=said,
        unknown_model=unknown_model,
        required=required,
    )
