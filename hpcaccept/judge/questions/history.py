"""Is a subject slower than it used to be? Its own past runs are the best peers it has, where they were measured with the same.

The rules are ``judge.statistics.history_rule``. A sudden loss is a FAIL when it was seen twice: in another launch of this run (the retest of
suspects) or in the run before; seen once it is a WARN. A slow decline is a WARN, and so is a subject that failed again and again.
A new driver moves every subject alike: that shift is taken out before anybody is blamed, and said once. So is what all virtual nodes of
one machine have in common, who share its cores with whatever else it does; a slow decline of theirs is the machine's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.identities import identities
from hpcaccept.judge.questions.peers import answer_of, floors_of
from hpcaccept.judge.statistics.history_rule import DECLINE, MIN_PAST, STEADY, compare_with_past, middle_of, trend
from hpcaccept.judge.statistics.peer_rule import cut
from hpcaccept.judge.statistics.sensitivity import Sensitivity, span_of
from hpcaccept.judge.verdict_text import extended
from hpcaccept.model.history import FAILED, WARNED, environment_digest, environment_of, subject_id
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.verdict import CODE, Outcome
from hpcaccept.model.verdict_table import JudgedColumn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.judge.statistics.grouping import Alike
    from hpcaccept.judge.statistics.peer_rule import Compared
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.history import Past

    Floats = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.intp]

#: So many like subjects must have a past before a common shift can be told from a slow subject.
_ENOUGH_TO_SHIFT = 4
#: A common shift is said from here on.
_WORTH_SAYING = 0.005
#: Subjects that say how much like subjects vary from run to run.
_REFERENCES = 512
#: So many failed runs make a repeat offender.
_AGAIN = 2
_OFTEN = at_most(_AGAIN - 1, "runs", "a unit that fails again and again needs a repair, not a retest")
_FAILED_RUNS = Metric("failed_runs", "runs", "lower", "Earlier runs in which the unit failed.", limit=_OFTEN)


def judge_against_history(
    evidence: Evidence, values: Sequence[Values], alike: Alike, past: Past
) -> tuple[list[JudgedColumn], Sensitivity, tuple[str, ...]]:
    """An answer per rate and kind of subject, of the subjects with enough of a past; what it could see; what changed for all."""
    column_of = {name: number for number, name in enumerate(past.subjects)}
    subjects = evidence.samples.subjects
    place = np.fromiter((column_of.get(subject_id(subject), -1) for subject in subjects), np.intp, len(subjects))
    like, changes = _like_runs(evidence, past)
    asked = [
        (column, rows, seen)
        for column in values
        if column.metric.is_rate and column.metric.past_floor is not None and column.key in past.values
        for rows, seen in _with_a_past(column, _rows_of(past.values[column.key], like), place, alike)
    ]
    comparisons = sum(len(rows) for _, rows, _ in asked)
    rule = evidence.plan.suite.peers
    required = {spec.name: spec.required for spec in evidence.plan.suite.checks}
    answers: list[JudgedColumn] = []
    losses: list[float] = []
    shifts: dict[str, float] = {}
    for column, rows, _ in asked:
        # As among the peers: an equal share of the rate for each comparison.
        z = cut(len(asked) * len(rows), rule.false_alarm_rate)
        mine = place[column.subject[rows]]
        before = _rows_of(past.values[column.key], like)
        if len(mine) != before.shape[1] or (mine != np.arange(len(mine))).any():
            before = before[:, mine]
        floors = floors_of(column, evidence, column.metric.past_floor or 0.0)
        higher = column.metric.direction == "higher"
        compared = compare_with_past(before, column.value[rows], higher, floors, z)
        if changes or evidence.shared_host:
            compared, shift = _shifted(compared, column.value[rows], higher)
            if shift is not None:
                shifts[column.key] = shift
            elif changes:
                continue
        who = f"own median of {len(before)} earlier runs"
        detail = f"loss > {floors[1]:.3g} and > {z:.2f} robust sigma"
        needed = required.get(column.check, True)
        answer = answer_of("history", column, rows, compared, who, detail, required=needed)
        answer = _seen_twice(answer, column.launches[rows], before, past, mine)
        declines = not evidence.shared_host
        answers.append(_declining(answer, before, past, like, floors[1], higher) if declines else answer)
        losses.append(float(np.median(compared.fail_at)))
    fewest = min((seen for _, _, seen in asked), default=0)
    answers += _offenders(past, place)
    z = cut(comparisons, rule.false_alarm_rate)
    sensitivity = Sensitivity(comparisons, rule.false_alarm_rate, z, span_of(losses), fewest)
    return answers, sensitivity, _notes(changes, shifts)


def _rows_of(values: Floats, like: npt.NDArray[np.intp]) -> Floats:
    """The runs that are compared with; the table itself where those are all."""
    return values if len(like) == len(values) else values[like]


def _with_a_past(column: Values, before: Floats, place: npt.NDArray[np.intp], alike: Alike) -> list[tuple[Rows, int]]:
    """The rows of each kind of subject that have enough past values and a number to compare, and the fewest values of any."""
    mine = place[column.subject]
    count = np.isfinite(before).sum(axis=0)
    ready = (mine >= 0) & (np.abs(column.value) < 1e150)
    ready[ready] &= count[mine[ready]] >= MIN_PAST
    kinds = [rows[ready[rows]] for _, rows in alike.groups(column.subject)]
    return [(rows, int(count[mine[rows]].min())) for rows in kinds if len(rows)]


def _like_runs(evidence: Evidence, past: Past) -> tuple[npt.NDArray[np.intp], dict[str, tuple[str, str]]]:
    """Which past runs are compared with, and what changed since: fact → (before, now).

    Runs of today's environment where there are enough of them; else all, and what all subjects moved by is taken out.
    """
    now = environment_of(identities(evidence))
    digest = environment_digest(now)
    everything = np.arange(len(past.runs))
    same = np.array([number for number, run in enumerate(past.runs) if run.environment == digest], np.intp)
    if len(same) == len(past.runs):
        return everything, {}
    if len(same) >= MIN_PAST:
        return same, {}
    before: Mapping[str, str] = past.facts[-1] if past.facts else {}
    if len(same) and past.facts:
        before = next(
            facts for run, facts in zip(past.runs[::-1], past.facts[::-1], strict=True) if run.environment != digest
        )
    names = [name for name in {**before, **now} if before.get(name, "") != now.get(name, "")]
    changes = {name: (before.get(name, ""), now.get(name, "")) for name in names} if before else {}
    return everything, changes or {"": ("", "")}


def _shifted(compared: Compared, value: Floats, higher: bool) -> tuple[Compared, float | None]:
    """The comparison without what all subjects gained or lost; None where too few subjects could tell."""
    known = np.isfinite(compared.center) & (compared.center > 0)
    if known.sum() < _ENOUGH_TO_SHIFT:
        return compared, None
    shift = float(np.median(value[known] / compared.center[known])) - 1
    center = compared.center * (1 + shift)
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = 1 - value / center if higher else value / center - 1
    return replace(compared, center=center, loss=loss), shift


def _seen_twice(
    answer: JudgedColumn, launches: npt.NDArray[np.int32], before: Floats, past: Past, mine: npt.NDArray[np.intp]
) -> JudgedColumn:
    """The answer; a FAIL that was seen in one launch of one run only is a WARN."""
    failed = answer.outcome == CODE[Outcome.FAIL]
    if not failed.any():
        return answer
    last = before[-1]
    slow = (last < answer.lower) | (last > answer.upper)
    said = past.outcomes.get(answer.key)
    if said is not None:
        slow |= np.isin(said[-1, mine], (WARNED, FAILED))
    once = failed & (launches < 2) & ~slow
    if not once.any():
        return answer
    texts = dict.fromkeys(np.flatnonzero(once).tolist(), "seen in one launch only")
    outcome = np.where(once, CODE[Outcome.WARN], answer.outcome).astype(np.int8)
    warned = replace(answer, outcome=outcome)
    return replace(warned, remarks=extended(warned, texts))


def _declining(
    answer: JudgedColumn, before: Floats, past: Past, like: npt.NDArray[np.intp], floor: float, higher: bool
) -> JudgedColumn:
    """The answer; who passes and yet has lost something, or loses a little with every run, is a WARN that says since when."""
    runs = np.vstack([before, answer.value])
    first, last = middle_of(runs[: max(MIN_PAST, len(runs) // 2)]), middle_of(runs[-3:])
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = 1 - last / first if higher else last / first - 1
    # Who has hardly lost anything needs no closer look; some of the others say how much healthy subjects vary.
    looked_at = (answer.outcome == CODE[Outcome.PASS]) & ~(loss < floor / 2)
    if not looked_at.any():
        return answer
    looked_at[:: max(1, len(loss) // _REFERENCES)] = True
    code, size, since = np.zeros(len(loss), np.int8), np.zeros(len(loss)), np.zeros(len(loss), np.int64)
    found = trend(runs[:, looked_at], higher)
    code[looked_at], size[looked_at], since[looked_at] = found.code, found.size, found.since
    slow = (code != STEADY) & (size >= floor) & (answer.outcome == CODE[Outcome.PASS])
    if not slow.any():
        return answer
    dates = [past.runs[number].at[:10] for number in like.tolist()] + ["this run"]
    texts = {
        row: f"{'slow decline' if code[row] == DECLINE else 'lower'}, {size[row]:.1%} since {dates[since[row]]}"
        for row in np.flatnonzero(slow).tolist()
    }
    outcome = np.where(slow, CODE[Outcome.WARN], answer.outcome).astype(np.int8)
    warned = replace(answer, outcome=outcome)
    return replace(warned, remarks=extended(warned, texts))


def _offenders(past: Past, place: npt.NDArray[np.intp]) -> list[JudgedColumn]:
    """WARN for each subject of this run that failed in several of its last runs."""
    if not past.outcomes or not past.runs:
        return []
    failed = np.logical_or.reduce([said == FAILED for said in past.outcomes.values()])
    runs = np.where(place >= 0, failed.sum(axis=0)[place], 0)
    subjects = np.flatnonzero(runs >= _AGAIN)
    if not len(subjects):
        return []
    none = np.full(len(subjects), np.nan)
    remarks = {}
    for row, subject in enumerate(subjects.tolist()):
        last = past.runs[int(np.flatnonzero(failed[:, place[subject]])[-1])]
        reason = (
            f"failed in {runs[subject]} of its last {len(past.runs)} runs, at last in {last.run_id} ({last.at[:10]})"
        )
        remarks[row] = (reason, "A retest will not mend it: have it repaired, or ask the vendor.")
    return [
        JudgedColumn(
            question="history",
            key="history.failed_runs",
            metric=_FAILED_RUNS,
            origin="history",
            subject=subjects.astype(np.int32),
            outcome=np.full(len(subjects), CODE[Outcome.WARN], np.int8),
            value=runs[subjects].astype(np.float64),
            lower=none,
            upper=np.full(len(subjects), _OFTEN.upper),
            center=none,
            source=_OFTEN.source,
            required=False,
            remarks=remarks,
        )
    ]


def _notes(changes: Mapping[str, tuple[str, str]], shifts: Mapping[str, float]) -> tuple[str, ...]:
    if not changes:
        return ()
    what = ", ".join(f"{name} {old or 'none'} → {new or 'none'}" for name, (old, new) in changes.items() if name)
    head = f"The environment changed since the runs before ({what or 'the past runs name none'})"
    moved = {key: shift for key, shift in shifts.items() if abs(shift) >= _WORTH_SAYING}
    if not shifts:
        return (f"{head}: too few units to tell that from a slow one, so nothing is compared with the past.",)
    if not moved:
        return (f"{head}; no metric moved by {_WORTH_SAYING:.1%} for all units.",)
    key = max(moved, key=lambda k: abs(moved[k]))
    alike = f"{len(moved)} of {len(shifts)} metrics moved for all units alike, {key} most ({moved[key]:+.1%})"
    return (f"{head}: {alike}; that is not blamed on any of them.",)
