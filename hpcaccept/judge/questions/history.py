"""Judges whether a subject is slower than it used to be. Its own past runs are the best peers it has, where they were measured with the same.

The rules are ``judge.statistics.history_rule`` and ``trend_rule``. A sudden loss is a FAIL when it was seen twice: in another launch of this
run (where its peers, too, had made it a suspect) or in the run before; seen once it is a WARN. A slow decline is a WARN, and so is a subject that failed again
and again. Who got better is never blamed.

The own past, the slow decline and the repeat offenders have each a share of the false-alarm rate (``judge.statistics.rate_shares``), which all series of
the run divide among them.

A new driver moves every subject alike: that shift is taken out before anybody is blamed, and said once. So is what all virtual nodes of
one machine have in common, who share its cores with whatever else it does; a slow decline of theirs is the machine's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.identities import identities
from hpcaccept.judge.questions.offenders import offenders
from hpcaccept.judge.questions.peers import answer_of, floors_of, unanswered
from hpcaccept.judge.statistics.history_rule import (
    ENOUGH_TO_SHIFT,
    Repeats,
    compare_with_past,
    levelled,
    loss_of,
    one_offs,
)
from hpcaccept.judge.statistics.peer_rule import cut
from hpcaccept.judge.statistics.rate_shares import OFFENDERS, OWN_PAST, SLOW_DECLINE
from hpcaccept.judge.statistics.run_noise import MIN_PAST, as_of_one_launch, middle_of
from hpcaccept.judge.statistics.sensitivity import Sensitivity, Sight, by_kind, sight_of, span_of
from hpcaccept.judge.statistics.trend_rule import DECLINE, trend
from hpcaccept.judge.verdict_text import extended
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.history import FAILED, Past, environment_digest, environment_of, subject_id
from hpcaccept.model.metric import Limit
from hpcaccept.model.verdict import CODE, Outcome, Subject, Verdict
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.judge.statistics.grouping import Alike
    from hpcaccept.judge.statistics.history_rule import ComparedWithPast
    from hpcaccept.model.verdict_table import JudgedColumn

    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]
    Rows = npt.NDArray[np.intp]

T = TypeVar("T", bound=np.generic)
#: A common shift is said from here on.
_WORTH_SAYING = 0.005
#: Subjects that say how much like subjects vary from run to run.
_REFERENCES = 512


def suspected_by_past(evidence: Evidence, values: Sequence[Values], alike: Alike, past: Past) -> list[JudgedColumn]:
    """Whom one low value makes a suspect, whatever went by in other runs: WARN or FAIL, to be launched again."""
    question, asked = _question(evidence, values, alike, past)
    return [answer for column, rows, _ in asked if (answer := question.first_look(column, rows)) is not None]


def judge_against_history(
    evidence: Evidence, values: Sequence[Values], alike: Alike, past: Past
) -> tuple[list[JudgedColumn], Sensitivity, tuple[str, ...], list[Verdict]]:
    """An answer per rate and kind of subject, of the subjects with enough of a past; what it could see; what changed for all, as
    sentences, and as verdicts on the run where it is a loss.
    """
    question, asked = _question(evidence, values, alike, past)
    changes, place, rule = question.changes, question.place, evidence.plan.suite.peers
    answers: list[JudgedColumn] = []
    sights: list[Sight] = []
    shifts: dict[str, float] = {}
    together: list[Verdict] = []
    repeats = [question.repeats_of(column, rows) for column, rows, _ in asked]
    gone_by = sum(low for _, (low, _) in repeats), sum(of for _, (_, of) in repeats)
    for (column, rows, _), (known, _) in zip(asked, repeats, strict=True):
        answer, found, warnings = question.ask(column, rows, known, gone_by)
        together += warnings
        if found.shift is not None:
            shifts[column.key] = found.shift
        elif changes:
            continue
        answers.append(answer)
        floor = floors_of(column, evidence, column.metric.past_floor or 0.0)[1]
        sights.append(sight_of(column.metric, found.compared, floor))
    answers += [answer for column in values for answer in question.forgotten(column)]
    fewest = min((seen for _, _, seen in asked), default=0)
    answers += offenders(past, place, rule.false_alarm_rate * OFFENDERS, rule.false_alarm_rate)
    comparisons = sum(len(rows) for _, rows, _ in asked)
    rate = rule.false_alarm_rate * OWN_PAST
    seen = span_of([end for sight in sights for end in sight.half])
    sensitivity = Sensitivity(comparisons, rate, cut(comparisons, rate), seen, fewest, by_kind(sights))
    # Of a run that has measured nothing there is nothing to say.
    return answers, sensitivity, _notes(changes, shifts) if asked or changes is not _UNKNOWN else (), together


@dataclass(frozen=True, eq=False)
class _Question:
    """What is the same for every metric.

    Attributes:
        evidence: of the run.
        past: of its subjects.
        like: int[r], past runs that are compared with.
        changes: since them: fact → (before, now).
        place: of each subject of the run in the past.
        metrics: metrics (and kinds of subjects) that are asked about: each has an equal share of the rate.
    """

    evidence: Evidence
    past: Past
    like: npt.NDArray[np.intp]
    changes: Mapping[str, tuple[str, str]]
    place: npt.NDArray[np.intp]
    metrics: int

    def repeats_of(self, column: Values, rows: Rows) -> tuple[Repeats, tuple[int, int]]:
        """How some like subjects repeat themselves; of their past values those that were low and went by, and how many there are."""
        runs, failed, floors, z = self._before(column, rows)
        before = self._levelled(runs)
        known = Repeats.of(before, floors[1])
        higher = column.metric.direction == "higher"
        return known, one_offs(known, before, column.value[rows], higher, z, failed)

    def _levelled(self, runs: Floats) -> Floats:
        return levelled(runs) if self.changes or self.evidence.shared_host else runs

    def _before(self, column: Values, rows: Rows) -> tuple[Floats, Bools | None, tuple[float, float], float]:
        """Of some like subjects: past values, which of them failed, the floors, and the cut of one sighting."""
        mine, series = self.place[column.subject[rows]], self.metrics * len(rows)
        runs = _columns_of(_rows_of(self.past.values[column.key], self.like), mine)
        if column.key in self.past.launches and column.metric.statistic == "best":
            launches = _columns_of(_rows_of(self.past.launches[column.key], self.like), mine)
            runs = as_of_one_launch(runs, launches, column.metric.direction == "higher")
        z = cut(series, self.evidence.plan.suite.peers.false_alarm_rate * OWN_PAST)
        floors = floors_of(column, self.evidence, column.metric.past_floor or 0.0)
        return runs, _failed(self.past, column.key, self.like, mine), floors, z

    def ask(
        self, column: Values, rows: Rows, known: Repeats, gone_by: tuple[int, int]
    ) -> tuple[JudgedColumn, ComparedWithPast, list[Verdict]]:
        """The answer of some like subjects, what it follows from, and what is a WARN of the whole run."""
        evidence, rate = self.evidence, self.evidence.plan.suite.peers.false_alarm_rate
        series = self.metrics * len(rows)
        runs, failed, floors, z = self._before(column, rows)
        moved = bool(self.changes) or evidence.shared_host
        before = self._levelled(runs)
        found = compare_with_past(
            before, column.value[rows], column.metric.direction == "higher", floors, z,
            failed=failed, moved=moved, gone_by=gone_by, known=known,
        )  # fmt: skip
        needed = next((spec.required for spec in evidence.plan.suite.checks if spec.name == column.check), True)
        who = f"own median of {len(before)} earlier runs"
        rule = f"loss > {floors[1]:.3g} and beyond what chance makes of {series} series"
        answer = answer_of("history", column, rows, found.compared, who, rule, required=needed)
        answer = _seen_twice(answer, column.launches[rows], before, failed)
        if not evidence.shared_host:
            # What is new today for all subjects is no decline of any.
            level = 1 + (found.shift or 0.0)
            z = cut(series, rate * SLOW_DECLINE)
            answer = _declining(answer, before * level, self.past, self.like, floors[1], z)
        return answer, found, self._together(column, rows, runs, floors[1])

    def first_look(self, column: Values, rows: Rows) -> JudgedColumn | None:
        """Whom one sighting makes a suspect; None where nobody has lost what is worth a look."""
        runs, failed, floors, z = self._before(column, rows)
        moved = bool(self.changes) or self.evidence.shared_host
        higher = column.metric.direction == "higher"
        if not moved and not (loss_of(column.value[rows], middle_of(runs), higher) > floors[0]).any():
            return None
        found = compare_with_past(
            self._levelled(runs), column.value[rows], higher, floors, z, failed=failed, moved=moved, first_look=True
        )
        if self.changes and found.shift is None:
            return None  # too few can tell what is new from what is slow
        who = f"own median of {len(runs)} earlier runs"
        return answer_of("history", column, rows, found.compared, who, "a first look", required=False)

    def forgotten(self, column: Values) -> list[JudgedColumn]:
        """NO_BASELINE for subjects that failed in run after run, and of which no good value is left to compare with."""
        if not column.metric.is_rate or column.metric.past_floor is None or column.key not in self.past.values:
            return []
        mine = self.place[column.subject]
        waits = _waits_for_a_person(self.past, column.key)
        rows = np.flatnonzero((mine >= 0) & waits[mine])
        if not len(rows):
            return []
        why = f"it failed in its earlier runs, and fewer than {MIN_PAST} good ones are remembered from before"
        told = unanswered("history", column, rows, Outcome.NO_BASELINE, why, required=False)
        # What failed, and can no longer be asked about, is not accepted for that.
        return [replace(told, code=FindingCode.PAST_FORGOTTEN, owed=np.ones(len(rows), bool))]

    def _together(self, column: Values, rows: Rows, runs: Floats, floor: float) -> list[Verdict]:
        """A WARN of the run where something new has cost all subjects more than one of them may lose."""
        now = environment_digest(environment_of(identities(self.evidence)))
        old = np.array([self.past.runs[number].environment != now for number in self.like.tolist()], bool)
        if not self.changes or not old.any() or len(rows) < ENOUGH_TO_SHIFT:
            return []
        before = middle_of(runs[old])
        with np.errstate(divide="ignore", invalid="ignore"):
            share = column.value[rows] / before
        known = np.isfinite(share) & (before > 0)
        if known.sum() < ENOUGH_TO_SHIFT:
            return []
        shift = float(np.median(share[known])) - 1
        if (-shift if column.metric.direction == "higher" else shift) <= floor:
            return []
        return [_lost_together(column, int(known.sum()), float(np.median(before[known])), shift, floor, self.changes)]


def _question(
    evidence: Evidence, values: Sequence[Values], alike: Alike, past: Past
) -> tuple[_Question, list[tuple[Values, Rows, int]]]:
    """What is the same for every metric, and what is asked: column, rows of like subjects, and the fewest past values of any of them."""
    column_of = {name: number for number, name in enumerate(past.subjects)}
    subjects = evidence.samples.subjects
    place = np.fromiter((column_of.get(subject_id(subject), -1) for subject in subjects), np.intp, len(subjects))
    like, changes = _like_runs(evidence, past)
    asked = [
        (column, rows, seen)
        for column in values
        if column.metric.is_rate and column.metric.past_floor is not None and column.key in past.values
        for rows, seen in _with_a_past(
            column, _rows_of(past.values[column.key], like), place, alike, _waits_for_a_person(past, column.key)
        )
    ]
    return _Question(evidence, past, like, changes, place, len(asked)), asked


def _rows_of(values: npt.NDArray[T], like: npt.NDArray[np.intp]) -> npt.NDArray[T]:
    """The runs that are compared with; the table itself where those are all."""
    return values if len(like) == len(values) else values[like]


def _columns_of(table: npt.NDArray[T], mine: npt.NDArray[np.intp]) -> npt.NDArray[T]:
    """The columns of some subjects; the table itself where those are all."""
    whole = len(mine) == table.shape[1] and (mine == np.arange(len(mine))).all()
    return table if whole else table[:, mine]


def _failed(past: Past, key: str, like: npt.NDArray[np.intp], mine: npt.NDArray[np.intp]) -> Bools | None:
    """bool[r, u]: which past values failed; None where nothing is known of that."""
    said = past.outcomes.get(key)
    return None if said is None else said[np.ix_(like, mine)] == FAILED


def _waits_for_a_person(past: Past, key: str) -> Bools:
    """bool[u]: subjects that failed in run after run, and of which nothing good is left from before: what they reach now is not normal.

    However many runs pass, nobody but a person makes it so (``hpcaccept history accept``).
    """
    said, values = past.outcomes.get(key), past.values[key]
    if said is None or not len(said):
        return np.zeros(len(past.subjects), bool)
    failed = said == FAILED
    often = failed.sum(axis=0) >= MIN_PAST
    if not often.any():
        return np.zeros(len(past.subjects), bool)
    until = len(said) - np.argmax(failed[::-1], axis=0)
    good_before = (np.isfinite(values) & (np.arange(len(said))[:, None] < until)).sum(axis=0)
    return np.asarray(often & (good_before < MIN_PAST))


def _with_a_past(
    column: Values, before: Floats, place: npt.NDArray[np.intp], alike: Alike, waits: Bools
) -> list[tuple[Rows, int]]:
    """The rows of each kind of subject that have enough past values and a number to compare, and the fewest values of any."""
    mine = place[column.subject]
    count = np.isfinite(before).sum(axis=0)
    ready = (mine >= 0) & (np.abs(column.value) < 1e150) & ~waits[mine]
    ready[ready] &= count[mine[ready]] >= MIN_PAST
    kinds = [rows[ready[rows]] for _, rows in alike.groups(column.subject)]
    return [(rows, int(count[mine[rows]].min())) for rows in kinds if len(rows)]


#: Changes since the past of a run in which no node has said what its environment is: they may be any, and none is claimed.
_UNKNOWN = {"": ("", "unknown")}


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
    if not now:
        return everything, _UNKNOWN
    names = [name for name in {**before, **now} if before.get(name, "") != now.get(name, "")]
    changes = {name: (before.get(name, ""), now.get(name, "")) for name in names} if before else {}
    return everything, changes or {"": ("", "")}


def _seen_twice(
    answer: JudgedColumn, launches: npt.NDArray[np.int32], before: Floats, failed: Bools | None
) -> JudgedColumn:
    """The answer; a FAIL that was seen in one launch of one run only is a WARN."""
    fails = answer.outcome == CODE[Outcome.FAIL]
    if not fails.any():
        return answer
    last = before[-1]
    slow = (last < answer.lower) | (last > answer.upper)
    if failed is not None:
        slow |= failed[-1]
    once = fails & (launches < 2) & ~slow
    if not once.any():
        return answer
    texts = dict.fromkeys(np.flatnonzero(once).tolist(), "seen in one launch only")
    outcome = np.where(once, CODE[Outcome.WARN], answer.outcome).astype(np.int8)
    warned = replace(answer, outcome=outcome)
    return replace(warned, remarks=extended(warned, texts, code=FindingCode.PAST_UNCONFIRMED))


def _declining(
    answer: JudgedColumn, before: Floats, past: Past, like: npt.NDArray[np.intp], floor: float, z: float
) -> JudgedColumn:
    """The answer; who passes and yet loses a little with every run is a WARN that says since when."""
    higher = answer.metric.direction == "higher"
    runs = np.vstack([before, answer.value])
    first, last = middle_of(runs[: max(MIN_PAST, len(runs) // 2)]), middle_of(runs[-3:])
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = 1 - last / first if higher else last / first - 1
    worse = answer.value < answer.center if higher else answer.value > answer.center
    # Who has hardly lost anything, or is better today than ever, needs no closer look; some of the others say how much healthy subjects
    # vary.
    looked_at = (answer.outcome == CODE[Outcome.PASS]) & worse & ~(loss < floor / 2)
    if not looked_at.any():
        return answer
    suspects, typical = looked_at.copy(), np.zeros(len(loss), bool)
    typical[:: max(1, len(loss) // _REFERENCES)] = True
    looked_at |= typical
    code, size, since = np.zeros(len(loss), np.int8), np.zeros(len(loss)), np.zeros(len(loss), np.int64)
    found = trend(runs[:, looked_at], higher, z, typical[looked_at], steps=False)
    code[looked_at], size[looked_at], since[looked_at] = found.code, found.size, found.since
    slow = suspects & (code == DECLINE) & (size >= floor)
    if not slow.any():
        return answer
    dates = [past.runs[number].at[:10] for number in like.tolist()] + ["this run"]
    texts = {row: f"slow decline, {size[row]:.1%} since {dates[since[row]]}" for row in np.flatnonzero(slow).tolist()}
    outcome = np.where(slow, CODE[Outcome.WARN], answer.outcome).astype(np.int8)
    warned = replace(answer, outcome=outcome)
    return replace(warned, remarks=extended(warned, texts, code=FindingCode.PAST_DECLINE))


def _lost_together(
    column: Values, units: int, before: float, shift: float, floor: float, changes: Mapping[str, tuple[str, str]]
) -> Verdict:
    """What all units of a metric lost when something changed."""
    unit, higher, after = column.metric.unit, column.metric.direction == "higher", before * (1 + shift)
    bound = before * (1 - floor if higher else 1 + floor)
    source = f"median of {units} units before; a loss of more than {floor:.3g}"
    return Verdict(
        Subject(),
        column.check,
        Outcome.WARN,
        f"{column.metric.name} {show(after, unit)}: all {units} units together reach {shift:+.1%} of what they reached before, "
        f"{show(before, unit)}; changed since: {_told(changes)}",
        metric=column.metric.name,
        variant=column.variant,
        value=after,
        unit=unit,
        limit=Limit(bound if higher else None, None if higher else bound, unit, "history", source),
        code=FindingCode.PAST_TOGETHER,
        question="history",
    )


def _told(changes: Mapping[str, tuple[str, str]]) -> str:
    what = ", ".join(f"{name} {old or 'none'} → {new or 'none'}" for name, (old, new) in changes.items() if name)
    return what or ("not known, this run names none" if changes is _UNKNOWN else "the past runs name none")


def _notes(changes: Mapping[str, tuple[str, str]], shifts: Mapping[str, float]) -> tuple[str, ...]:
    if not changes:
        return ()
    head = f"The environment changed since the runs before ({_told(changes)})"
    if changes is _UNKNOWN:
        head = "No node of this run said in which environment it ran"
    moved = {key: shift for key, shift in shifts.items() if abs(shift) >= _WORTH_SAYING}
    if not shifts:
        return (f"{head}: too few units to tell that from a slow one, so nothing is compared with the past.",)
    if not moved:
        return (f"{head}; no metric moved by {_WORTH_SAYING:.1%} for all units.",)
    key = max(moved, key=lambda k: abs(moved[k]))
    alike = f"{len(moved)} of {len(shifts)} metrics moved equally for all units, {key} most ({moved[key]:+.1%})"
    return (f"{head}: {alike}; that is not blamed on any of them.",)
