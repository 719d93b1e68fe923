"""Judges whether a subject is slower than its peers in this run.

The rule is ``judge.statistics.peer_rule``: a subject is blamed when it is slower by more than the *floor* of its metric **and** by more
than ``z`` robust widths of its like subjects, where ``z`` follows from the number of comparisons and the stated false-alarm rate.
Launches of one run are put on one level first (``Values.level``): what slowed all of them blames nobody. Fewer than ``min_subjects``
like subjects cannot say who is slow. WARN (GPUs only): beyond the widths and half of the floor. The whole fleet judges; the
neighbours on the node explain (``judge.revise.node_level``). Before a run ends, the checks of its suspects are launched again
(hpcaccept.launch.job.retest).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from hpcaccept.judge.questions.peers_together import Comparison, told_by_the_run
from hpcaccept.judge.statistics.peer_rule import CPU_FLOOR, Peers, compare_with_peers, cut
from hpcaccept.judge.statistics.rate_shares import PEERS
from hpcaccept.judge.statistics.run_tail import Noise
from hpcaccept.judge.statistics.sensitivity import Sensitivity, by_kind, sight_of, span_of
from hpcaccept.judge.statistics.student_t import normal_tail
from hpcaccept.judge.statistics.two_groups import slower_group
from hpcaccept.judge.verdict_text import extended
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.verdict import CODE, Outcome
from hpcaccept.model.verdict_table import JudgedColumn
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.judge.statistics.grouping import Alike
    from hpcaccept.judge.statistics.peer_rule import Compared
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.metric import Metric
    from hpcaccept.model.suite import PeerRule
    from hpcaccept.model.verdict import Question

    Rows = npt.NDArray[np.intp]

#: Healthy GPUs of one model differ by some percent (power, silicon; facts in peer_rule), CPU rates of a busy machine by several times.
_MOST_ON_GPU, _MOST_ON_CPU = 2.0, 20.0
#: A GPU that is faster than its like by this, and by twice what would be blamed as a loss, is told.
_FAST = 0.10
#: So many nodes of a group are named.
_NAMED = 8
#: A floor above this finds only what loses more than half: then the question is off, and says so.
_MOST_FLOOR = 0.5
#: Of fewer nobody can say who is the odd one.
_TELLS_A_WONDER = 4


def judge_against_peers(
    evidence: Evidence, values: Sequence[Values], alike: Alike
) -> tuple[list[JudgedColumn], Sensitivity]:
    """An answer per rate and kind of subject, and what the comparison could see."""
    rule = evidence.plan.suite.peers
    rate = rule.false_alarm_rate * PEERS
    columns = [c for c in values if rule.enabled and is_compared(c) and c.metric.scope != "world"]
    groups = [(column, rows, kind) for column in columns for kind, rows in alike.groups(column.subject)]
    floors_by_key = {c.key: floors_of(c, evidence, c.metric.peer_floor or 0.0) for c in columns}
    required = {spec.name: spec.required for spec in evidence.plan.suite.checks}
    answers: list[JudgedColumn] = []
    asked: list[tuple[Values, Rows, str]] = []
    for column, rows, kind in groups:
        refused = _refused(column, rows, rule.min_subjects, floors_by_key[column.key][1])
        asked += [(column, rows, kind)] if refused is None else []
        answers += [refused] if refused is not None else []
    comparisons = [_comparison(column, rows, kind, alike, floors_by_key[column.key][1]) for column, rows, kind in asked]
    told, noise = told_by_the_run([one for one in comparisons if one is not None], len(alike.nodes), len(alike.node))
    if evidence.plan.request.device == "cpu":
        noise = Noise(())
    of_run = iter(told)
    total, sights = sum(len(rows) for _, rows, _ in asked), []
    beyond = lru_cache(noise.beyond)
    for (column, rows, _), one in zip(asked, comparisons, strict=True):
        needed, floors = required.get(column.check, True), floors_by_key[column.key]
        if one is None:
            why = "what the peers say is not a rate"
            answers.append(unanswered("peers", column, rows, Outcome.ERROR, why, required=True))
            continue
        # Each comparison has an equal share of the rate: the few nodes are not judged by the number of their GPUs.
        z = cut(len(asked) * len(rows), rate)
        run = next(of_run)
        if column.metric.noise == "timed":
            run = replace(run, heavy=beyond(normal_tail(z)))
        # A width a thousand orders above its centre is infinite: nobody can be blamed, and nobody passes.
        with np.errstate(over="ignore", invalid="ignore"):
            compared = compare_with_peers(one.value, one.higher, one.node, floors, z, peers=one.peers, run=run)
        sights.append(sight_of(column.metric, compared, floors[1]))
        answers.append(_answer(evidence, column, rows, compared, floors[1], z, alike, noise.said, required=needed))
    z = cut(total, rate)
    seen = span_of([end for sight in sights for end in sight.half])
    fewest = min((len(rows) for _, rows, _ in asked), default=0)
    sensitivity = Sensitivity(total, rate, z, seen, fewest, by_kind(sights), noise.said)
    return answers, sensitivity


def _refused(column: Values, rows: Rows, fewest: int, floor: float) -> JudgedColumn | None:
    """Why nobody is asked; None: they are."""
    if len(rows) < fewest:
        why = f"{len(rows)} like unit(s) in this run, {fewest} are needed to say who is slow"
        return unanswered("peers", column, rows, Outcome.NO_BASELINE, why, required=False)
    if floor > _MOST_FLOOR:
        why = f"the suite forgives a loss of {floor:.1%}: nothing short of a wreck could be found, so nobody was asked"
        off = unanswered("peers", column, rows, Outcome.NO_BASELINE, why, required=False)
        return replace(off, code=FindingCode.PEERS_OFF)
    return None


def _comparison(column: Values, rows: Rows, kind: str, alike: Alike, floor: float) -> Comparison | None:
    """Of like subjects; None where their middle is 0 or less, or a number so large that squares overflow."""
    value = column.level[rows]
    if not np.abs(value).max() < 1e150 or not np.median(value) > 0:
        return None
    higher, node = column.metric.direction == "higher", alike.node[column.subject[rows]]
    with np.errstate(over="ignore", invalid="ignore"):
        peers = Peers.of(value, higher)
    timed = column.metric.noise == "timed"
    one = Comparison(column.check, kind, value, higher, node, column.subject[rows], floor, timed, peers)
    return one if peers.center.min() > 0 else None


def _answer(
    evidence: Evidence,
    column: Values,
    rows: Rows,
    compared: Compared,
    floor: float,
    z: float,
    alike: Alike,
    tail: str,
    *,
    required: bool,
) -> JudgedColumn:
    """What a comparison says, with what must be confirmed, who is too fast to be true, and groups."""
    on_gpu = evidence.plan.request.device != "cpu"
    rule = f"loss > {floor:.3g} and > {z:.2f} robust sigma"
    level = replace(column, value=column.level)
    answer = answer_of("peers", level, rows, compared, f"median of {len(rows) - 1} peers", rule, required=required)
    answer = _verified(evidence, column.launches[rows], answer, _MOST_ON_GPU if on_gpu else _MOST_ON_CPU)
    if on_gpu:
        answer = _told_of_the_tail(_told_of_the_fast(answer, compared), compared, floor, tail)
    if not evidence.shared_host:
        answer = _of_two_groups(level, rows, answer, floor, alike) or answer
    return answer


def _told_of_the_tail(answer: JudgedColumn, compared: Compared, floor: float, tail: str) -> JudgedColumn:
    """The answer; who would be a FAIL if noise were normal, and is a WARN because it may not be, is told so."""
    normal = np.maximum(compared.warn_at, floor)
    between = (compared.loss > normal) & (answer.outcome == CODE[Outcome.WARN])
    sign = -1.0 if answer.metric.direction == "higher" else 1.0
    why = (
        f"the units of this run differ by {tail}, and some healthy ones are as slow"
        if tail
        else "so few comparisons cannot tell whether the noise of these units is normal"
    )
    texts = {
        row: f"beyond the limit for normal noise, {show(float(compared.center[row] * (1 + sign * normal[row])), answer.metric.unit)}, "
        f"but {why}: compare it with its own past or a baseline, or swap it with another node, before you blame it"
        for row in np.flatnonzero(between).tolist()
        if row not in answer.remarks
    }
    return replace(answer, remarks=extended(answer, texts, code=FindingCode.PEERS_TAIL)) if texts else answer


def _of_two_groups(column: Values, rows: Rows, answer: JudgedColumn, floor: float, alike: Alike) -> JudgedColumn | None:
    """Undecided and owed, for all of them, where the subjects are two groups and the slower one is not blamed whole; else None.

    Nobody can say by looking at them which group is right: a third of a new cluster may be bad, and a third may be of a better bin.
    Virtual nodes of one kernel are not asked: they share its hardware in groups.
    """
    if (answer.outcome == CODE[Outcome.ERROR]).any():
        return None  # a wonder is no group, and leaves the run unjudged by itself
    slow = slower_group(column.value[rows], column.metric.direction == "higher", floor)
    if slow is None or (answer.outcome[slow] == CODE[Outcome.FAIL]).all():
        return None
    unit = column.metric.unit
    middles = [float(np.median(column.value[rows[which]])) for which in (slow, ~slow)]
    nodes = [
        sorted({alike.nodes[n] for n in alike.node[column.subject[rows[which]]].tolist()}) for which in (slow, ~slow)
    ]
    said = " against ".join(
        f"{int(which.sum())} around {show(middle, unit)} ({_some(of)})"
        for which, middle, of in zip((slow, ~slow), middles, nodes, strict=True)
    )
    why = f"they are two groups, and the peers cannot say which is right: {said}"
    told = unanswered("peers", column, rows, Outcome.NO_BASELINE, why, required=False)
    # Whoever is of the slower group was compared with the middle of the faster one.
    center = np.where(slow, middles[1], np.nan)
    return replace(told, owed=np.ones(len(rows), bool), center=center, code=FindingCode.PEERS_TWO_GROUPS)


def _told_of_the_fast(answer: JudgedColumn, compared: Compared) -> JudgedColumn:
    """The answer; who is far faster than its like is a WARN: another part, another clock, or work that was not done."""
    gain = -compared.loss
    rows = np.flatnonzero((gain > np.maximum(2 * compared.fail_at, _FAST)) & (answer.outcome == CODE[Outcome.PASS]))
    if not len(rows):
        return answer
    outcome = answer.outcome.copy()
    outcome[rows] = CODE[Outcome.WARN]
    why = {
        row: f"{gain[row]:.0%} faster than its like, and no two parts of one model differ by that"
        for row in rows.tolist()
    }
    return replace(answer, outcome=outcome, remarks=extended(answer, why, code=FindingCode.PEERS_FAST))


def _some(nodes: Sequence[str]) -> str:
    """The first names of many."""
    rest = len(nodes) - _NAMED
    return ", ".join(nodes[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _verified(evidence: Evidence, launches: npt.NDArray[np.int32], answer: JudgedColumn, most: float) -> JudgedColumn:
    """The answer without wonders; a FAIL that another launch should have confirmed, and did not, is a WARN."""
    answer = _without_wonders(answer, most)
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
    return replace(
        answer,
        outcome=outcome,
        remarks=extended(answer, texts, dict.fromkeys(texts, remedy), FindingCode.PEERS_UNCONFIRMED),
    )


def _without_wonders(answer: JudgedColumn, most: float) -> JudgedColumn:
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
    why = {row: f"{faster[row]:.3g} times the rate of like units, which no such part reaches" for row in rows.tolist()}
    remedy = "Do not trust this number: look at the clock of the node, at its versions and at what else differs there."
    return replace(
        answer, outcome=outcome, remarks=extended(answer, why, dict.fromkeys(why, remedy), FindingCode.PEERS_WONDER)
    )


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
    on_cpu = evidence.plan.request.device == "cpu"
    return floors_by_rule(
        column.metric, evidence.plan.suite.peers, own, on_cpu=on_cpu, shared_host=evidence.shared_host
    )


def floors_by_rule(
    metric: Metric, rule: PeerRule, own: float, *, on_cpu: bool, shared_host: bool
) -> tuple[float, float]:
    """Like ``floors_of()``, before anything was measured.

    Args:
        metric: that is compared.
        rule: of the suite.
        own: floor of the metric.
        on_cpu: True where no GPUs were asked for.
        shared_host: True for virtual nodes of one kernel.
    """
    if metric.noise == "timed":
        if rule.floor is not None:
            own = rule.floor
        elif on_cpu:
            own = max(own, CPU_FLOOR)
        if on_cpu and shared_host:
            own = max(own, rule.shared_host_floor)
    return (own if on_cpu else own / 2), own


def answer_of(
    question: Literal["peers", "history"],
    column: Values,
    rows: Rows,
    compared: Compared,
    who: str,
    rule: str,
    *,
    required: bool,
) -> JudgedColumn:
    """What a comparison says of each subject: PASS inside the worrying limit, WARN inside the failing one, FAIL beyond.

    Where not even a rate of 0 could be blamed, that is no pass: the subject is undecided, NO_BASELINE without a limit. Nor is it one for who
    needs twice the time of the others and is not blamed only because they differ as much.
    """
    value, center = column.value[rows], compared.center
    higher = column.metric.direction == "higher"
    sign = -1.0 if higher else 1.0
    with np.errstate(over="ignore"):
        failing = center + sign * compared.fail_at * center
        worrying = center + sign * np.minimum(compared.warn_at, compared.fail_at) * center
    undecided = ~np.isfinite(failing) | (center <= 0) | (failing <= 0 if higher else False)
    fails, warns = (value < bound if higher else value > bound for bound in (failing, worrying))
    undecided |= ~fails & ~warns & (value < center / 2 if higher else value > center * 2)
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
        rule=rule,
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
