"""Adds a judged run to the history, and reads from it: the past of a run's subjects, trends, whereabouts."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept import checks
from hpcaccept.errors import RunError, UsageError
from hpcaccept.judge.identities import identities
from hpcaccept.judge.statistics.history_rule import ENOUGH_TO_SHIFT
from hpcaccept.judge.statistics.peer_rule import cut
from hpcaccept.judge.statistics.trend_rule import DECLINE, STEADY, STEP, trend
from hpcaccept.judge.subject_columns import SubjectColumns, subject_columns
from hpcaccept.model.history import (
    ABSENT,
    DISTURBED,
    FAILED,
    PASSED,
    UNJUDGED,
    WARNED,
    Past,
    PastRun,
    PastSubject,
    RunToRemember,
    SubjectStory,
    SubjectTrend,
    environment_digest,
    environment_of,
    subject_id,
)
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.record_table import IS_CONTENDED, IS_DISTURBED
from hpcaccept.model.verdict import OUTCOMES, Outcome
from hpcaccept.store import history_accepted, history_file
from hpcaccept.store.history_accepted import Acceptance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.metric import Metric
    from hpcaccept.model.table import MeasuredSubject
    from hpcaccept.report.judged import Judged
    from hpcaccept.store.history_file import KeptRun, Whereabouts

_CODE_OF = {Outcome.PASS: PASSED, Outcome.WARN: WARNED, Outcome.FAIL: FAILED}
#: Code of the history by code of a verdict table.
_CODES = np.array([_CODE_OF.get(outcome, UNJUDGED) for outcome in OUTCOMES], np.uint8)
#: Stated chance that any series of a healthy fleet has a trend.
_FALSE_TRENDS = 0.01
_TREND_WORDS = {STEP: "step", DECLINE: "decline"}
#: What makes a subject accepted, as exit code 0 does a run.
ACCEPTED = (PASSED,)


def remember(judged: Judged, folder: Path) -> None:
    """Put a judged run into the history; again and again changes nothing but what was judged anew.

    Raises:
        RunError: another process writes for half a minute, a segment is damaged, or the folder takes no writing.
    """
    run = to_remember(judged)
    try:
        history_file.append(folder, [run])
    except OSError as fault:
        raise RunError(
            f"Cannot remember {run.run.run_id} in {folder}: {fault.strerror or fault}.",
            "Choose a writable place with --history, then type: hpcaccept history add " + run.run.run_id,
        ) from fault


def last_accepted(folder: Path) -> dict[str, str]:
    """Node → when the last run that accepted it was planned (UTC, ISO 8601); nodes that never were are absent.

    Raises: StoreError: a segment is damaged, foreign or of another version.
    """
    where = history_file.read_whereabouts(folder)
    nodes = {place.node for place in where.places}
    accepted = _last_rows(where, np.isin(where.standing, ACCEPTED))
    return {subject: where.runs[row].run.at for subject, row in accepted if subject in nodes}


# --- a run as columns --------------------------------------------------------------------------------------------------


def to_remember(judged: Judged) -> RunToRemember:
    """A judged run as the history keeps it."""
    evidence, plan = judged.evidence, judged.evidence.plan
    columns = subject_columns(evidence)
    # Of partners the node keeps its median: they change from run to run, no rule asks for their past, and they are as many as the nodes, so
    # that a table of them would grow with the square of the fleet.
    kept = [column for column in judged.values if column.metric.cells != "partner"]
    keys = tuple(dict.fromkeys(column.key for column in kept))
    row = {key: i for i, key in enumerate(keys)}
    values = np.full((len(keys), len(columns.places)), np.nan)
    outcomes = np.full(values.shape, ABSENT, np.uint8)
    launches = np.zeros(values.shape, np.uint8)
    for column in kept:
        at = columns.of[column.subject]
        free = at >= 0
        free[free] &= np.isnan(values[row[column.key], at[free]])
        values[row[column.key], at[free]] = column.value[free]
        launches[row[column.key], at[free]] = np.minimum(column.launches[free], np.iinfo(np.uint8).max)
        outcomes[row[column.key], at[free]] = UNJUDGED
    for answer in judged.judgement.table.answers:
        if answer.key in row and answer.subject.size and answer.subject.max() < len(columns.of):
            at = columns.of[answer.subject]
            mine = outcomes[row[answer.key]]
            mine[at[at >= 0]] = np.maximum(mine[at[at >= 0]], _CODES[answer.outcome[at >= 0]])
    _mark_disturbed(judged.evidence, kept, columns, row, outcomes)
    standing = _standing(judged, columns)
    if _cut_short(evidence):
        # Nobody confirmed it: no failure of the unit, and no normal value either.
        outcomes[outcomes == FAILED], standing[standing == FAILED] = DISTURBED, UNJUDGED
    facts = environment_of(identities(evidence))
    return RunToRemember(
        run=PastRun(plan.run_id, plan.created_at, environment_digest(facts), plan.suite.name),
        facts=facts,
        revisions=evidence.record_table.revisions(),
        subjects=tuple(columns.places),
        places=tuple(columns.places.values()),
        standing=standing,
        keys=keys,
        values=values,
        outcomes=np.where(np.isnan(values), ABSENT, outcomes).astype(np.uint8),
        launches=launches,
    )


def _cut_short(evidence: Evidence) -> bool:
    """True where the job did not end by itself: cancelled, out of time, preempted, its driver gone."""
    last = evidence.last_word
    return last is None or bool(last.detail)


def _mark_disturbed(
    evidence: Evidence,
    kept: Sequence[Values],
    columns: SubjectColumns,
    row: Mapping[str, int],
    outcomes: npt.NDArray[np.uint8],
) -> None:
    """What somebody else was using says nothing of its speed, however fast it was: the device, or the processors during one check."""
    records, subjects = evidence.record_table, evidence.samples.subjects
    busy = {records.places[place] for place in records.place[(records.flags & IS_DISTURBED) > 0].tolist()}
    shared: dict[str, set[tuple[str, str]]] = {}
    for number in np.flatnonzero((records.flags & IS_CONTENDED) > 0).tolist():
        node, device = records.places[records.place[number]]
        shared.setdefault(records.checks[records.check[number]], set()).update([(node, device), (node, "")])
    for check in {column.check for column in kept}:
        where = busy | shared.get(check, set())
        some = (
            [number for number, subject in enumerate(subjects) if (subject.node, subject.device) in where]
            if where
            else []
        )
        for column in kept:
            if some and column.check == check and column.metric.is_rate:
                outcomes[row[column.key], columns.of[some]] = DISTURBED


def _standing(judged: Judged, columns: SubjectColumns) -> npt.NDArray[np.uint8]:
    """The worst that was said of each subject; of a node: of all that is in it. As exit codes do: FAIL, then what is lacking."""
    places = list(columns.places.values())
    number = {name: i for i, name in enumerate(columns.places)}
    said = np.zeros((len(places), DISTURBED + 1), bool)  # by code
    lacking = np.zeros(len(places), bool)
    of = np.concatenate([columns.of, _rest(judged.judgement.table.subjects[len(columns.of) :], number)])
    for answer in judged.judgement.table.answers:
        at = of[answer.subject]
        there, codes = at >= 0, _CODES[answer.outcome]
        said[at[there], codes[there]] = True
        lacking[at[there & (codes == UNJUDGED) & answer.demanded]] = True
    by_subject = {(place.node, place.device): i for i, place in enumerate(places)}
    for verdict in judged.judgement.said:
        subject = verdict.subject
        i = by_subject.get((subject.node, subject.device), number.get(subject.node, -1))
        if i >= 0:
            said[i, _CODE_OF.get(verdict.outcome, UNJUDGED)] = True
            lacking[i] |= verdict.required and not verdict.outcome.is_judged
    node = np.array([number.get(place.node, -1) for place in places], np.int64)
    inside = node >= 0
    np.logical_or.at(said, node[inside], said[inside])
    np.logical_or.at(lacking, node[inside], lacking[inside])
    worst = [said[:, FAILED], lacking, said[:, WARNED], said[:, PASSED]]
    return np.select(worst, [FAILED, UNJUDGED, WARNED, PASSED], UNJUDGED).astype(np.uint8)


def _rest(subjects: Sequence[MeasuredSubject], number: Mapping[str, int]) -> npt.NDArray[np.int64]:
    return np.array([number.get(subject_id(subject), -1) for subject in subjects], np.int64)


# --- what the history tells --------------------------------------------------------------------------------------------


def stories(folder: Path) -> list[SubjectStory]:
    """Every subject that is known, the most frequent offenders first.

    Raises: StoreError: a segment is damaged, foreign or of another version.
    """
    where = history_file.read_whereabouts(folder)
    there = where.place >= 0
    accepted = dict(_last_rows(where, np.isin(where.standing, ACCEPTED)))
    failed, warned = ((where.standing == code).sum(axis=0) for code in (FAILED, WARNED))
    found = []
    for i, subject in enumerate(where.subjects):
        rows = np.flatnonzero(there[:, i])
        numbers = where.place[rows, i].tolist()
        last = where.places[numbers[-1]]
        found.append(
            SubjectStory(
                subject=subject,
                serial=last.serial,
                model=last.model,
                places=tuple(dict.fromkeys(str(where.places[n]) for n in dict.fromkeys(numbers))),
                runs=len(rows),
                failed=int(failed[i]),
                warned=int(warned[i]),
                last_accepted=where.runs[accepted[subject]].run.at if subject in accepted else "",
            )
        )
    return sorted(found, key=lambda story: (-story.failed, -story.warned, story.subject))


def _last_rows(where: Whereabouts, mask: npt.NDArray[np.bool_]) -> Iterator[tuple[str, int]]:
    """Each subject for which the mask holds in some run, with the last such run."""
    for i in np.flatnonzero(mask.any(axis=0)).tolist():
        yield where.subjects[i], int(np.flatnonzero(mask[:, i])[-1])


def find_subjects(folder: Path, name: str) -> tuple[str, ...]:
    """Subjects by id, serial number, node, ``node/cuda:3``, or the beginning of an id: all those the name may mean.

    Raises:
        UsageError: nothing of that name is remembered.
    """
    where = history_file.read_whereabouts(folder)
    if name in where.subjects and "/" not in name:
        inside = _now_in(where, name) if name in {place.node for place in where.places} else ()
        return (name, *inside)
    found = tuple(
        subject
        for subject, place in _latest_places(where).items()
        if name in (subject, place.serial, f"{place.node}/{place.device}")
        or (len(name) > 3 and subject.startswith(name))
    )
    if not found:
        raise UsageError(
            f"Nothing is remembered of {name!r} in {folder}.", "List what is known with 'hpcaccept history subjects'."
        )
    return found


def _now_in(where: Whereabouts, node: str) -> tuple[str, ...]:
    """Subjects whose last place is a node."""
    return tuple(subject for subject, place in _latest_places(where).items() if place.node == node and subject != node)


def acceptances(folder: Path, subjects: Sequence[str], now: datetime | None = None) -> list[Acceptance]:
    """What it would be to accept what subjects reach now: of each, the runs in which it failed without a break, or, where it is repaired,
    those since its last failure.

    Raises:
        UsageError: none of them ever failed.
        StoreError: a segment is damaged, foreign or of another version.
    """
    where = history_file.read_whereabouts(folder)
    at = (now or datetime.now(timezone.utc)).isoformat(timespec="seconds")
    found = []
    for subject in subjects:
        column = where.subjects.index(subject)
        rows = np.flatnonzero(where.place[:, column] >= 0)
        failed = where.standing[rows, column] == FAILED
        if failed.any():
            # The last runs that are alike in this: all failed, or none did.
            begin = len(rows) - int(np.argmin((failed == failed[-1])[::-1])) if not failed.all() else 0
            found.append(Acceptance(subject, where.runs[int(rows[begin])].run.at, at))
    if not found:
        raise UsageError(
            f"{', '.join(subjects)} never failed: there is no loss to accept.",
            "See what is remembered with 'hpcaccept history show'.",
        )
    return found


def accept(folder: Path, found: Sequence[Acceptance]) -> None:
    """Make what failed normal.

    Raises:
        RunError: another process writes for half a minute, or the folder takes no writing.
    """
    try:
        history_accepted.accept(folder, found)
    except OSError as fault:
        raise RunError(
            f"Cannot write {folder / 'accepted.json'}: {fault.strerror or fault}.",
            "Choose a writable history with --history.",
        ) from fault


def is_metric(folder: Path, text: str) -> bool:
    """True for the beginning of a metric key that is remembered."""
    return bool(text) and any(key.startswith(text) for key in history_file.read_keys(folder))


def trends(
    folder: Path, subjects: Sequence[str] = (), metric: str = "", last: int = 60, *, steady: bool = True
) -> tuple[list[SubjectTrend], Counter[str]]:
    """What became of each rate of each subject, the largest losses first; failed values count, disturbed ones do not.

    What all like subjects gained or lost with a new environment is taken out first, as ``judge.questions.history`` does.

    Args:
        folder: of the history.
        subjects: subject ids; empty: all.
        metric: metric key or its beginning (a check, ``matmul.rate_flops``); empty: every rate.
        last: runs of each subject to look at.
        steady: False leaves out what is steady or has too few runs: a fleet has a million of those.

    Returns:
        The trends, and how many there are of each word, those that were left out included.

    Raises: StoreError: a segment is damaged, foreign or of another version.
    """
    where = history_file.read_whereabouts(folder)
    latest = _latest_places(where)
    revisions: dict[str, int] = {}
    for kept in where.runs:
        revisions |= kept.revisions
    metrics = {key: found for key, found in _rates(history_file.read_keys(folder)).items() if key.startswith(metric)}
    past = history_file.read_past(
        folder,
        where.subjects,
        tuple(metrics),
        last,
        kinds={subject: place.kind for subject, place in latest.items()},
        revisions=revisions,
        leave_out=(DISTURBED,),
    )
    wanted = np.array([not subjects or subject in subjects for subject in where.subjects], bool)
    groups = _like_subjects([latest[subject].kind for subject in where.subjects])
    counts: Counter[str] = Counter()
    found: list[SubjectTrend] = []
    z = cut(max(1, sum(int(np.isfinite(v).any(axis=0).sum()) for v in past.values.values())), _FALSE_TRENDS)
    for key, values in past.values.items():
        _to_one_environment(values, [run.environment for run in past.runs], groups)
        found += _trends_of(key, metrics[key], values, past, latest, wanted, steady, counts, z)
    return sorted(
        found, key=lambda row: (row.word not in _TREND_WORDS.values(), -row.size, row.subject, row.key)
    ), counts


def _like_subjects(kinds: Sequence[tuple[str, str]]) -> list[npt.NDArray[np.int64]]:
    """Columns of subjects that may be compared with each other."""
    columns: dict[tuple[str, str], list[int]] = {}
    for i, kind in enumerate(kinds):
        columns.setdefault(kind, []).append(i)
    return [np.array(some, np.int64) for some in columns.values()]


def _to_one_environment(
    values: npt.NDArray[np.float64], environments: Sequence[str], groups: Sequence[npt.NDArray[np.int64]]
) -> None:
    """Scale the values of earlier environments to the latest one, in place, where enough like subjects were in both."""
    names = np.array(environments)
    for name in dict.fromkeys(environments):
        if name == environments[-1]:
            continue
        before, now = names == name, names == environments[-1]
        for group in groups:
            old, new = values[np.ix_(before, group)], values[np.ix_(now, group)]
            both = np.isfinite(old).any(axis=0) & np.isfinite(new).any(axis=0)
            if both.sum() >= ENOUGH_TO_SHIFT:
                was = np.nanmedian(old[:, both], axis=0)
                ratio = np.nanmedian(new[:, both], axis=0)[was > 0] / was[was > 0]
                if len(ratio) >= ENOUGH_TO_SHIFT:
                    values[np.ix_(before, group)] = old * np.median(ratio)


def _trends_of(
    key: str,
    metric: Metric,
    values: npt.NDArray[np.float64],
    past: Past,
    latest: Mapping[str, PastSubject],
    wanted: npt.NDArray[np.bool_],
    steady: bool,
    counts: Counter[str],
    z: float,
) -> Iterator[SubjectTrend]:
    known = wanted & np.isfinite(values).any(axis=0)
    result = trend(values, metric.direction == "higher", z)
    few = np.isnan(result.size)
    with np.errstate(invalid="ignore"):
        moved = known & ~few & (result.code != STEADY) & (np.abs(result.size) >= (metric.past_floor or 0.0))
    counts.update({"too few runs": int((known & few).sum()), "steady": int((known & ~few & ~moved).sum())})
    counts.update(_TREND_WORDS[code] for code in result.code[moved].tolist())
    for i in np.flatnonzero(known if steady else moved).tolist():
        column = values[:, i]
        yield SubjectTrend(
            subject=past.subjects[i],
            place=latest[past.subjects[i]],
            key=key,
            si_unit=metric.unit,
            word=_TREND_WORDS[int(result.code[i])] if moved[i] else "too few runs" if few[i] else "steady",
            size=float(result.size[i]) if moved[i] else 0.0,
            since=past.runs[int(result.since[i])].at if moved[i] else "",
            values=tuple(column[np.isfinite(column)].tolist()),
        )


def _latest_places(where: Whereabouts) -> dict[str, PastSubject]:
    rows = [np.flatnonzero(where.place[:, i] >= 0)[-1] for i in range(len(where.subjects))]
    return {subject: where.places[where.place[rows[i], i]] for i, subject in enumerate(where.subjects)}


def _rates(keys: Iterable[str]) -> dict[str, Metric]:
    """Metric key → its declaration, for those that are rates; what no check declares any more has no direction."""
    found = {}
    for key in keys:
        parts = MetricKey.parse(key)
        kind = checks.find(parts.check)
        metric = kind.metric(parts.metric) if kind else None
        if metric is not None and metric.is_rate:
            found[key] = metric
    return found


def older_than(folder: Path, age: timedelta, now: datetime | None = None) -> tuple[str, tuple[KeptRun, ...]]:
    """The moment that is so long ago, and the runs that were planned before it."""
    before = ((now or datetime.now(timezone.utc)) - age).isoformat(timespec="seconds")
    return before, tuple(kept for kept in history_file.read_runs(folder) if kept.run.at < before)
