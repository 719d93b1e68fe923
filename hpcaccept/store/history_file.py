"""The files of the past, ``history/NNNNNN.h5``: segments that are written whole, format 3.

::

    history/.lock            who writes (store.one_writer)
    history/accepted.json    whose loss is normal from now on (store.history_accepted)
    history/000001.h5        the first runs that were remembered; the last segment grows until it is full
      /           attributes: format "hpcaccept-history", version 3
      /runs       str[r]          JSON of ``KeptRun``, as remembered; readers sort by time
      /subjects   str[u]          GPU UUIDs, "node/device", node names, "*" for all ranks together
      /keys       str[k]          metric keys
      /values     float32[r,k,u]  SI units, NaN where absent
      /outcomes   uint8[r,k,u]    model.history: absent, unjudged, passed, warned, failed, disturbed
      /launches   uint8[r,k,u]    in how many launches a value was measured (the best counts), 0 where nobody knows
      /standing   uint8[r,u]      the worst that was said of the subject
      /place      int32[r,u]      index into /places/…, -1 where the subject was not in the run
      /places/node, device, serial  str[p]; /places/kind  int32[p], index into /kinds
      /kinds      str[q]          JSON of (device model, setting): only like is put beside like

Why not one ``history.h5`` that grows: a writer that is killed inside HDF5 leaves a file that cannot be opened, with a year in
it. A segment is written beside its place, synced and renamed, so that a kill at any moment loses at most the run that was
being remembered, and readers need no lock. It is closed at ``MAX_CELLS`` values, which bounds what a night rewrites
whatever the size of the fleet. Within a segment a metric of some subjects over all its runs is one chunk: one GPU's year touches a few
chunks per segment, and a whole fleet's last runs are read at the speed of inflating.

float32 is exact to 6e-8, a thousandth of the width of the quietest metric; counts are exact to 16.7 million. Strings are of
fixed length, because only those can carry a checksum (Fletcher-32, on every dataset). No pickle, no object references: any
HDF5 tool reads it.

Version 1, in which ``/subjects`` was called ``/units``, and version 2, which had no ``/launches``, are read too; a segment that grows is
written in version 3.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from hpcaccept.errors import StoreError
from hpcaccept.model.history import (
    ABSENT,
    CODE_WORDS,
    FAILED,
    PASSED,
    SUSPECT,
    Past,
    PastRun,
    PastSubject,
    RunToRemember,
)
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store.history_accepted import Acceptance, read_accepted, write_accepted
from hpcaccept.store.new_file import sync_folder
from hpcaccept.store.one_writer import locked
from hpcaccept.store.run_file import DAMAGE, in_words, open_h5, write_h5

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

Bools = npt.NDArray[np.bool_]
FORMAT, VERSION = "hpcaccept-history", 3
#: Values of one segment (runs × metrics × subjects), the room for absent ones included: 32 MiB of float32.
MAX_CELLS = 8 * 1024 * 1024
#: Runs of one segment, where a site has few subjects.
MAX_RUNS = 256
#: Values of one chunk: 16 KiB.
_CHUNK_CELLS = 4096
#: Up to so many subjects are read one by one; for more, whole metrics are read.
_FEW_SUBJECTS = 24
#: How far back to look for the last runs of subjects that are seldom tested, in multiples of what is asked for.
_FURTHEST = 10


@dataclass(frozen=True)
class KeptRun:
    """A run as the history knows it.

    Attributes:
        run: its name, time, environment and suite.
        facts: of its environment.
        revisions: check → revision of its method.
    """

    run: PastRun
    facts: dict[str, str] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Track:
    """One subject over all runs that knew it, oldest first.

    Attributes:
        subject: its id.
        runs: r of them.
        places: where it was in each.
        standing: uint8[r], the worst that was said of it.
        keys: metric keys.
        values: float64[r, k], SI units; NaN where absent.
        outcomes: uint8[r, k], codes of model.history.
    """

    subject: str
    runs: tuple[KeptRun, ...]
    places: tuple[PastSubject, ...]
    standing: npt.NDArray[np.uint8]
    keys: tuple[str, ...]
    values: npt.NDArray[np.float64]
    outcomes: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Whereabouts:
    """Where every subject was in every run, and what was said of it.

    Attributes:
        runs: oldest first.
        subjects: subject ids.
        places: every place there was.
        place: int32[r, u], index into places, -1 where the subject was not in the run.
        standing: uint8[r, u], codes of model.history.
    """

    runs: tuple[KeptRun, ...]
    subjects: tuple[str, ...]
    places: tuple[PastSubject, ...]
    place: npt.NDArray[np.int32]
    standing: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Segment:
    """One file in memory; the arrays as in the file."""

    runs: tuple[KeptRun, ...]
    subjects: tuple[str, ...]
    keys: tuple[str, ...]
    places: tuple[PastSubject, ...]
    place: npt.NDArray[np.int32]
    standing: npt.NDArray[np.uint8]
    values: npt.NDArray[np.float32]
    outcomes: npt.NDArray[np.uint8]
    launches: npt.NDArray[np.uint8]


# --- writing ---------------------------------------------------------------------------------------------------------


def append(folder: Path, runs: Iterable[RunToRemember]) -> None:
    """Remember runs. A run that is there already is replaced: to remember it again changes nothing.

    Whatever happens meanwhile, each run is remembered wholly or not at all, and what was there before stays.

    Raises:
        RunError: another process writes, and did not end in half a minute.
        StoreError: a segment is damaged, foreign or of another version.
        OSError: no space or no permission.
    """
    with locked(folder / ".lock", "remembering a run"):
        _sweep(folder)
        at = {kept.run.run_id: file for file, kept in _heads(folder)}
        file, segment = _last(folder)
        grown = False
        for run in runs:
            name = run.run.run_id
            there = at.get(name, file)
            if there != file:
                _write_segment(there, _joined(_without(_read_segment(there), {name}), run))
                continue
            if segment is not None and name not in at and not _fits(segment, run):
                if grown:
                    _write_segment(file, segment)
                file, segment = _after(file), None
            segment, grown = _joined(segment and _without(segment, {name}), run), True
            at[name] = file
        if grown and segment is not None:
            _write_segment(file, segment)


def write_excerpt(
    folder: Path,
    into: Path,
    keys: Collection[str],
    last: int = 20,
    *,
    nodes: Collection[str] | None = None,
    before: str = "",
) -> None:
    """A small history of its own: what ``read_past`` would look at in a run of some metrics. Its files are for the owner alone (0600).

    Args:
        folder: of the history; no history makes none.
        into: folder of the excerpt, which need not exist.
        keys: metrics without their variants (``matmul.rate_flops``) that are kept.
        last: runs of each subject, for each kind that it was measured as.
        nodes: where the subjects were at last; None: wherever.
        before: only runs planned before this moment (UTC, ISO 8601).

    Raises:
        StoreError: a segment is damaged, foreign or of another version.
        OSError: no space or no permission.
    """
    where = read_whereabouts(folder)
    mine = _last_in(where, nodes)
    wanted = {name for name, is_mine in zip(where.subjects, mine.tolist(), strict=True) if is_mine}
    rows = _looked_at(where, mine, last, before)
    names = {kept.run.run_id for kept, is_looked_at in zip(where.runs, rows.tolist(), strict=True) if is_looked_at}
    for file in _segments(folder) if names else ():
        with _opened(file) as h5:
            here = np.array([kept.run.run_id in names for kept in _runs(h5)], bool)
        if not here.any():
            continue
        segment = _read_segment(file)
        subjects = np.array([subject in wanted for subject in segment.subjects], bool)
        some = np.array([key.partition("[")[0] in keys for key in segment.keys], bool)
        if subjects.any() and some.any():
            into.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_segment(into / file.name, _part_of(segment, here, subjects, some))
            (into / file.name).chmod(0o600)
    accepted = read_accepted(folder)
    if into.is_dir() and accepted:
        write_accepted(into, [one for one in accepted.values() if one.subject in wanted])


def _last_in(where: Whereabouts, nodes: Collection[str] | None) -> Bools:
    """bool[u]: subjects whose last place is one of these nodes."""
    if nodes is None:
        return np.ones(len(where.subjects), bool)
    named = np.array([place.node in nodes for place in where.places] + [False], bool)
    there = where.place >= 0
    latest = len(there) - 1 - np.argmax(there[::-1], axis=0) if len(there) else np.zeros(len(where.subjects), np.intp)
    return named[where.place[latest, np.arange(len(where.subjects))]] if len(there) else np.zeros(len(latest), bool)


def _looked_at(where: Whereabouts, mine: Bools, last: int, before: str) -> Bools:
    """bool[r]: runs that may be looked at of any of these subjects, whatever kind it is measured as."""
    allowed = np.array([not before or kept.run.at < before for kept in where.runs], bool)
    kinds = list(dict.fromkeys(place.kind for place in where.places))
    kind = np.array([*(kinds.index(place.kind) for place in where.places), -1], np.intp)[where.place]
    rows = np.zeros(len(where.runs), bool)
    for number in range(len(kinds)):
        seen = (kind == number) & (where.place >= 0) & allowed[:, None] & mine
        some = seen.any(axis=0)
        if some.any():
            seen = seen[:, some]
            rows |= _last_runs(seen, seen & (where.standing[:, some] != FAILED), last).any(axis=1)
    return rows


def prune(folder: Path, before: str) -> None:
    """Forget runs that were planned before a moment (UTC, ISO 8601).

    Raises: as ``append``.
    """
    with locked(folder / ".lock", "forgetting old runs"):
        _sweep(folder)
        old: dict[Path, set[str]] = {}
        for file, kept in _heads(folder):
            if kept.run.at < before:
                old.setdefault(file, set()).add(kept.run.run_id)
        for file, names in old.items():
            rest = _without(_read_segment(file), names)
            if rest is None:
                file.unlink()
            else:
                _write_segment(file, rest)


def _sweep(folder: Path) -> None:
    """Remove what a killed writer left; only the owner of the lock may know that it was killed."""
    for unreadable in folder.glob(".*.h5.*"):
        unreadable.unlink(missing_ok=True)


def _segments(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("[0-9]*.h5") if file.stem.isdigit())


def _heads(folder: Path) -> Iterator[tuple[Path, KeptRun]]:
    """Every run with its segment."""
    for file in _segments(folder):
        with _opened(file) as h5:
            for kept in _runs(h5):
                yield file, kept


def _last(folder: Path) -> tuple[Path, _Segment | None]:
    """The segment that grows; a new one where there is none."""
    files = _segments(folder)
    return (files[-1], _read_segment(files[-1])) if files else (folder / "000001.h5", None)


def _after(file: Path) -> Path:
    return file.with_name(f"{int(file.stem) + 1:06d}.h5")


def _fits(segment: _Segment, run: RunToRemember) -> bool:
    rows = len(segment.runs) + 1
    keys, subjects = len(_union(segment.keys, run.keys)), len(_union(segment.subjects, run.subjects))
    return rows <= MAX_RUNS and rows * keys * subjects <= MAX_CELLS


def _joined(old: _Segment | None, run: RunToRemember) -> _Segment:
    """The segment with one more run; its subjects and metrics are the union of both."""
    subjects = _union(old.subjects if old else (), run.subjects)
    keys = _union(old.keys if old else (), run.keys)
    places = _union(old.places if old else (), run.places)
    before = len(old.runs) if old else 0
    count = before + 1
    place = np.full((count, len(subjects)), -1, np.int32)
    standing = np.zeros((count, len(subjects)), np.uint8)
    values = np.full((count, len(keys), len(subjects)), np.nan, np.float32)
    outcomes = np.full((count, len(keys), len(subjects)), ABSENT, np.uint8)
    launches = np.zeros(outcomes.shape, np.uint8)
    if old is not None:
        k, u = len(old.keys), len(old.subjects)
        place[:before, :u], standing[:before, :u] = old.place, old.standing
        values[:before, :k, :u], outcomes[:before, :k, :u] = old.values, old.outcomes
        launches[:before, :k, :u] = old.launches
    column, row = _numbers(subjects, run.subjects), _numbers(keys, run.keys)
    place[before, column] = _numbers(places, run.places)
    standing[before, column] = run.standing
    values[before, row[:, None], column] = _single(run.values)
    outcomes[before, row[:, None], column] = run.outcomes
    if run.launches is not None:
        launches[before, row[:, None], column] = run.launches
    runs = (*(old.runs if old else ()), KeptRun(run.run, dict(run.facts), dict(run.revisions)))
    return _Segment(runs, subjects, keys, places, place, standing, values, outcomes, launches)


def _without(segment: _Segment, names: set[str]) -> _Segment | None:
    """The segment without some runs, and without subjects, metrics and places that only they had; None when nothing is left."""
    rows = np.array([kept.run.run_id not in names for kept in segment.runs])
    if rows.all():
        return segment
    if not rows.any():
        return None
    place, outcomes = segment.place[rows], segment.outcomes[rows]
    return _part_of(segment, rows, (place >= 0).any(axis=0), (outcomes != ABSENT).any(axis=(0, 2)))


def _part_of(segment: _Segment, rows: Bools, subjects: Bools, keys: Bools) -> _Segment:
    """Some runs, subjects and metrics of a segment, and the places of these alone."""
    place = segment.place[rows][:, subjects]
    used = np.unique(place[place >= 0])
    renumbered = np.full(len(segment.places) + 1, -1, np.int32)  # the last stands for -1
    renumbered[used] = np.arange(len(used), dtype=np.int32)
    return _Segment(
        runs=tuple(kept for kept, stays in zip(segment.runs, rows, strict=True) if stays),
        subjects=_picked(segment.subjects, subjects),
        keys=_picked(segment.keys, keys),
        places=tuple(segment.places[i] for i in used.tolist()),
        place=renumbered[place],
        standing=segment.standing[rows][:, subjects],
        values=segment.values[rows][:, keys][:, :, subjects],
        outcomes=segment.outcomes[rows][:, keys][:, :, subjects],
        launches=segment.launches[rows][:, keys][:, :, subjects],
    )


def _union(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[Any, ...]:
    return old if old == new else tuple(dict.fromkeys((*old, *new)))


def _numbers(all_: tuple[Any, ...], some: tuple[Any, ...]) -> npt.NDArray[np.int64]:
    if all_ == some:
        return np.arange(len(all_))
    at = {thing: i for i, thing in enumerate(all_)}
    return np.array([at[thing] for thing in some], np.int64)


def _picked(things: tuple[str, ...], mask: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(things[i] for i in np.flatnonzero(mask).tolist())


def _single(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """As float32; what is beyond it (a check may say 1.8e308) becomes its largest number, not infinity."""
    most = float(np.finfo(np.float32).max)
    return np.clip(values, -most, most).astype(np.float32)


def _write_segment(file: Path, segment: _Segment) -> None:
    kinds = tuple(dict.fromkeys(place.kind for place in segment.places))
    kind_of = {kind: i for i, kind in enumerate(kinds)}

    def fill(h5: h5py.File) -> None:
        h5.attrs.update({"format": FORMAT, "version": VERSION})
        _put(h5, "runs", _bytes(dumps(kept) for kept in segment.runs))
        _put(h5, "subjects", _bytes(segment.subjects))
        _put(h5, "keys", _bytes(segment.keys))
        _put(h5, "kinds", _bytes(json.dumps(kind) for kind in kinds))
        for name in ("node", "device", "serial"):
            _put(h5, f"places/{name}", _bytes(getattr(place, name) for place in segment.places))
        _put(h5, "places/kind", np.array([kind_of[place.kind] for place in segment.places], np.int32))
        _put(h5, "place", segment.place)
        _put(h5, "standing", segment.standing)
        _put(h5, "values", segment.values)
        _put(h5, "outcomes", segment.outcomes)
        _put(h5, "launches", segment.launches)

    write_h5(file, fill)
    sync_folder(file.parent)


def _put(h5: h5py.File, name: str, data: npt.NDArray[Any]) -> None:
    """A dataset with a checksum; numbers are deflated, names of subjects are not: they hardly shrink and are read most."""
    more: dict[str, Any] = {}
    if data.size:
        more = {"chunks": _chunks(data.shape), "fletcher32": True}
        if data.dtype.kind != "S":
            more |= {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    kind = h5py.string_dtype("utf-8", data.dtype.itemsize) if data.dtype.kind == "S" else data.dtype
    h5.create_dataset(name, data=data.astype(kind), **more)


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """All runs of as many subjects as fit, then of as many metrics as still fit."""
    if len(shape) == 1:
        return (min(shape[0], _CHUNK_CELLS),)
    runs, subjects = shape[0], shape[-1]
    wide = max(1, min(subjects, _CHUNK_CELLS // runs))
    if len(shape) == 2:
        return runs, wide
    return runs, max(1, min(shape[1], _CHUNK_CELLS // (runs * wide))), wide


def _bytes(texts: Iterable[str]) -> npt.NDArray[np.bytes_]:
    # Bytes of a log that are not UTF-8 are lone surrogates; they become "?".
    return np.array([text.encode("utf-8", "replace") for text in texts] or np.zeros(0, "S1"), dtype=np.bytes_)


# --- reading ---------------------------------------------------------------------------------------------------------


def read_runs(folder: Path) -> tuple[KeptRun, ...]:
    """Every remembered run, oldest first; none where there is no history yet.

    Raises:
        StoreError: a segment is damaged, foreign or of another version.
    """
    return tuple(sorted((kept for _, kept in _heads(folder)), key=_when))


def read_keys(folder: Path) -> tuple[str, ...]:
    """Every metric key that is remembered, in the order of the first run that had it.

    Raises:
        StoreError: a segment is damaged, foreign or of another version.
    """
    keys: dict[str, None] = {}
    for file in _segments(folder):
        with _opened(file) as h5:
            keys |= dict.fromkeys(_texts(h5, "keys"))
    return tuple(keys)


def read_past(
    folder: Path,
    subject_ids: Sequence[str],
    keys: Sequence[str],
    last: int = 20,
    *,
    kinds: Mapping[str, tuple[str, str]] | None = None,
    revisions: Mapping[str, int] | None = None,
    before: str = "",
    without: str = "",
    leave_out: tuple[int, ...] = SUSPECT,
) -> Past:
    """What these subjects reached in their last runs.

    Args:
        folder: of the history; no history is an empty past.
        subject_ids: whom to look for.
        keys: metric keys.
        last: at least so many runs of each subject, where it has them and they do not lie ten times as far back; of a subject that failed
            in some of them, also its last runs in which it did not, however far back: what failed never becomes normal by time.
        kinds: subject id → (device model, setting) that a value must have been measured with; None: whatever it was.
        revisions: check → revision that a value must have been measured by; None: whatever it was.
        before: only runs planned before this moment (UTC, ISO 8601): a run that is judged again must not see its future.
        without: a run that is left out.
        leave_out: codes of values that are NaN in the past.

    Raises:
        StoreError: a segment is damaged, foreign or of another version.
    """
    accepted = read_accepted(folder)
    parts = [_Part.open_part(file, subject_ids, kinds, before, without, accepted) for file in _segments(folder)]
    runs = [(kept, part, row) for part in parts for row, kept in enumerate(part.runs)]
    order = sorted(range(len(runs)), key=lambda i: _when(runs[i][0]))
    none = np.zeros((0, len(subject_ids)), np.bool_)
    seen = np.concatenate([none, *(part.eligible for part in parts)])[order]
    good = seen & ~np.concatenate([none, *(part.failed for part in parts)])[order]
    wanted = _last_runs(seen, good, last)
    rows = np.flatnonzero(wanted.any(axis=1)).tolist()
    chosen = [runs[order[i]] for i in rows]
    shape = (len(chosen), len(subject_ids))
    normal = np.array([code not in (ABSENT, *leave_out) for code in range(len(CODE_WORDS))])
    values = {key: np.full(shape, np.nan) for key in keys}
    outcomes = {key: np.full(shape, ABSENT, np.uint8) for key in keys}
    launches = {key: np.zeros(shape, np.uint8) for key in keys}
    for part in parts:
        mine = [(to, row) for to, (_, owner, row) in enumerate(chosen) if owner is part]
        if mine:
            _fill((values, outcomes, launches), part, np.array(mine), wanted[rows], revisions, normal)
    kept = tuple(kept for kept, _, _ in chosen)
    return Past(
        tuple(k.run for k in kept), tuple(subject_ids), values, outcomes, tuple(k.facts for k in kept), launches
    )


def read_track(folder: Path, subject: str) -> Track | None:
    """All that is remembered of one subject; None when nothing is.

    Raises:
        StoreError: a segment is damaged, foreign or of another version.
    """
    found: list[tuple[KeptRun, PastSubject, int, dict[str, tuple[float, int]]]] = []
    keys: dict[str, None] = {}
    for file in _segments(folder):
        with _opened(file) as h5:
            (at,) = np.nonzero(_subjects(h5)[:] == subject.encode())
            if not len(at):
                continue
            place, standing = h5["place"][:, at[0]], h5["standing"][:, at[0]]
            values, outcomes = h5["values"][:, :, at[0]].astype(np.float64), h5["outcomes"][:, :, at[0]]
            names = _texts(h5, "keys")
            keys |= dict.fromkeys(names)
            places = {i: _place(h5, i) for i in np.unique(place[place >= 0]).tolist()}
            for row, kept in enumerate(_runs(h5)):
                if place[row] >= 0:
                    cells = {
                        key: (float(values[row, i]), int(outcomes[row, i]))
                        for i, key in enumerate(names)
                        if outcomes[row, i] != ABSENT
                    }
                    found.append((kept, places[int(place[row])], int(standing[row]), cells))
    if not found:
        return None
    found.sort(key=lambda row: _when(row[0]))
    nothing = (np.nan, ABSENT)
    table = [[cells.get(key, nothing) for key in keys] for *_, cells in found]
    return Track(
        subject=subject,
        runs=tuple(row[0] for row in found),
        places=tuple(row[1] for row in found),
        standing=np.array([row[2] for row in found], np.uint8),
        keys=tuple(keys),
        values=np.array([[value for value, _ in row] for row in table], np.float64).reshape(len(found), len(keys)),
        outcomes=np.array([[code for _, code in row] for row in table], np.uint8).reshape(len(found), len(keys)),
    )


def read_whereabouts(folder: Path) -> Whereabouts:
    """Where every subject was and what was said of it; the measured values are not read.

    Raises:
        StoreError: a segment is damaged, foreign or of another version.
    """
    runs: list[KeptRun] = []
    subjects: dict[str, int] = {}
    places: dict[PastSubject, int] = {}
    parts = []
    for file in _segments(folder):
        with _opened(file) as h5:
            runs += _runs(h5)
            column = np.array([subjects.setdefault(name, len(subjects)) for name in _subject_ids(h5)], np.int64)
            number = np.array([places.setdefault(place, len(places)) for place in _places(h5)] + [-1], np.int32)
            parts.append((column, number[h5["place"][:]], h5["standing"][:]))
    place = np.full((len(runs), len(subjects)), -1, np.int32)
    standing = np.zeros((len(runs), len(subjects)), np.uint8)
    row = 0
    for column, where, said in parts:
        place[row : row + len(where), column], standing[row : row + len(where), column] = where, said
        row += len(where)
    order = sorted(range(len(runs)), key=lambda i: _when(runs[i]))
    return Whereabouts(tuple(runs[i] for i in order), tuple(subjects), tuple(places), place[order], standing[order])


@dataclass(frozen=True, eq=False)
class _Part:
    """What one segment may add to a past.

    Attributes:
        file: of the segment.
        runs: all of it.
        column: int64[w], index of each wanted subject in the segment; 0 where it is not there.
        eligible: bool[r, w], where a wanted subject may have comparable values.
        failed: bool[r, w], where something of it failed, and nobody has accepted that.
        accepted: bool[r, w], where what failed was accepted.
    """

    file: Path
    runs: tuple[KeptRun, ...]
    column: npt.NDArray[np.int64]
    eligible: npt.NDArray[np.bool_]
    failed: npt.NDArray[np.bool_]
    accepted: npt.NDArray[np.bool_]

    @staticmethod
    def open_part(
        file: Path,
        wanted: Sequence[str],
        kinds: Mapping[str, tuple[str, str]] | None,
        before: str,
        without: str,
        accepted: Mapping[str, Acceptance],
    ) -> _Part:
        """Read who was where, not yet what was measured."""
        with _opened(file) as h5:
            runs = tuple(_runs(h5))
            column, there = _found(_subjects(h5)[:], _bytes(wanted))
            allowed = np.array([k.run.run_id != without and (not before or k.run.at < before) for k in runs], np.bool_)
            place = h5["place"][:][:, column] if there.any() else np.full((len(runs), len(wanted)), -1)
            eligible = (place >= 0) & there & allowed[:, None]
            if kinds is not None and eligible.any():
                eligible &= _of_kind(h5, place, [kinds.get(subject) for subject in wanted])
            failed = eligible & (h5["standing"][:][:, column] == FAILED if there.any() else False)
        normal, over = _accepted_in(runs, wanted, accepted)
        return _Part(file, runs, column, eligible & ~over, failed & ~normal & ~over, normal)


def _accepted_in(
    runs: Sequence[KeptRun], wanted: Sequence[str], accepted: Mapping[str, Acceptance]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """bool[r, w] twice: where what failed was accepted, and what lies before that and is no longer compared with."""
    normal = np.zeros((len(runs), len(wanted)), np.bool_)
    over = normal.copy()
    for number, subject in enumerate(wanted) if accepted else ():
        if one := accepted.get(subject):
            normal[:, number] = [one.since <= kept.run.at < one.at for kept in runs]
            over[:, number] = [kept.run.at < one.since for kept in runs]
    return normal, over


def _found(names: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Index of each wanted name (0 where it is absent), and which are there."""
    if not len(names) or not len(wanted):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    order = np.argsort(names)
    at = order[np.minimum(np.searchsorted(names, wanted, sorter=order), len(names) - 1)]
    there = names[at] == wanted
    return np.where(there, at, 0), there


def _of_kind(h5: h5py.File, place: npt.NDArray[Any], wanted: list[tuple[str, str] | None]) -> npt.NDArray[np.bool_]:
    known = {tuple(loads(text)): i for i, text in enumerate(_texts(h5, "kinds"))}
    asked = np.array([known.get(kind, -2) if kind else -2 for kind in wanted])
    of_place = np.r_[h5["places/kind"][:], -1]
    matches: npt.NDArray[np.bool_] = of_place[place] == asked
    return matches


def _last_runs(seen: npt.NDArray[np.bool_], good: npt.NDArray[np.bool_], last: int) -> npt.NDArray[np.bool_]:
    """bool[r, w], oldest first: the runs of each subject that are looked at."""
    wanted = seen & _last_of(seen, last)
    # A row is read for all of its subjects: who is seldom tested has a few more of the others then.
    rows = np.flatnonzero(wanted.any(axis=1))[-last * _FURTHEST :]
    wanted[rows] = seen[rows]
    wanted[: rows[0] if len(rows) else 0] = False
    short = ((wanted & ~good).any(axis=0)) & ((wanted & good).sum(axis=0) < last)
    wanted[:, short] |= good[:, short] & _last_of(good[:, short], last)
    return wanted


def _last_of(there: npt.NDArray[np.bool_], last: int) -> npt.NDArray[np.bool_]:
    """Rows from which on there are no more than ``last`` of each column."""
    newest_first: npt.NDArray[np.bool_] = np.cumsum(there[::-1], axis=0) <= last
    return newest_first[::-1]


def _fill(
    tables: tuple[
        dict[str, npt.NDArray[np.float64]], dict[str, npt.NDArray[np.uint8]], dict[str, npt.NDArray[np.uint8]]
    ],
    part: _Part,
    mine: npt.NDArray[np.int64],
    looked_at: npt.NDArray[np.bool_],
    revisions: Mapping[str, int] | None,
    good: npt.NDArray[np.bool_],
) -> None:
    """Put what one segment has of the wanted subjects into their columns; of the values only the good ones."""
    values, outcomes, launches = tables
    to, row = mine[:, 0], mine[:, 1]
    eligible = part.eligible[row] & looked_at[to]
    wanted = np.flatnonzero(eligible.any(axis=0))
    column, allowed, accepted = part.column[wanted], eligible[:, wanted], part.accepted[row][:, wanted]
    with _opened(part.file) as h5:
        names = {key: i for i, key in enumerate(_texts(h5, "keys"))}
        read = _reader(h5, column)
        for key in values.keys() & names.keys():
            check = MetricKey.parse(key).check_name
            alike = np.array(
                [revisions is None or part.runs[i].revisions.get(check) == revisions.get(check) for i in row]
            )
            value, outcome, launch = read(names[key])
            comparable = allowed & alike[:, None]
            said = np.where(accepted & (outcome[row] == FAILED), PASSED, outcome[row])
            values[key][np.ix_(to, wanted)] = np.where(comparable & good[said], value[row], np.nan)
            outcomes[key][np.ix_(to, wanted)] = np.where(comparable, said, ABSENT)
            launches[key][np.ix_(to, wanted)] = np.where(comparable, launch[row], 0)


def _reader(h5: h5py.File, column: npt.NDArray[np.int64]) -> Any:
    """Metric number → (values, outcomes, launches) [r, w] of these columns: few subjects are read whole, of many one metric after another."""
    tables = [h5[name] for name in ("values", "outcomes", "launches") if name in h5]
    none = [np.zeros((len(h5["runs"]), len(column)), np.uint8)] * (3 - len(tables))
    if len(column) > _FEW_SUBJECTS:
        return lambda i: (*(table[:, i, :][:, column] for table in tables), *none)
    some = [np.stack([table[:, :, u] for u in column.tolist()], axis=2) for table in tables]
    return lambda i: (*(table[:, i] for table in some), *none)


def _read_segment(file: Path) -> _Segment:
    with _opened(file) as h5:
        return _Segment(
            runs=tuple(_runs(h5)),
            subjects=_subject_ids(h5),
            keys=_texts(h5, "keys"),
            places=_places(h5),
            place=h5["place"][:],
            standing=h5["standing"][:],
            values=h5["values"][:],
            outcomes=h5["outcomes"][:],
            launches=h5["launches"][:] if "launches" in h5 else np.zeros(h5["outcomes"].shape, np.uint8),
        )


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[h5py.File]:
    with open_h5(file, FORMAT, VERSION, oldest=1) as h5, _damage_named(file):
        _must_fit(h5)
        yield h5


def _must_fit(h5: h5py.File) -> None:
    """Raises ValueError where numbers are not as many as there are runs, metrics and subjects, or of another kind."""
    runs, keys, subjects = (len(table) for table in (h5["runs"], h5["keys"], _subjects(h5)))
    expected = {
        "place": ("i", (runs, subjects)),
        "standing": ("u", (runs, subjects)),
        "values": ("f", (runs, keys, subjects)),
        "outcomes": ("u", (runs, keys, subjects)),
    }
    if h5.attrs["version"] == VERSION:
        expected["launches"] = ("u", (runs, keys, subjects))
    for name, (kind, shape) in expected.items():
        if h5[name].shape != shape or h5[name].dtype.kind != kind:
            raise ValueError(f"/{name} has {h5[name].shape} of {h5[name].dtype}, expected {shape}")


@contextlib.contextmanager
def _damage_named(file: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as fault:
        raise StoreError(
            f"{file} is damaged: {in_words(fault)}.",
            "Move it away; what it held can be remembered again with 'hpcaccept history add RUN...'.",
        ) from None


def _texts(h5: h5py.File, name: str) -> tuple[str, ...]:
    return tuple(text.decode() for text in h5[name][:].tolist())


def _subjects(h5: h5py.File) -> h5py.Dataset:
    return h5["units" if h5.attrs["version"] == 1 else "subjects"]


def _subject_ids(h5: h5py.File) -> tuple[str, ...]:
    return tuple(text.decode() for text in _subjects(h5)[:].tolist())


def _runs(h5: h5py.File) -> list[KeptRun]:
    return [from_plain(loads(text), KeptRun) for text in _texts(h5, "runs")]


def _places(h5: h5py.File) -> tuple[PastSubject, ...]:
    columns = (_texts(h5, f"places/{name}") for name in ("node", "device", "serial"))
    kinds = [loads(text) for text in _texts(h5, "kinds")]
    return tuple(
        PastSubject(node, device, kinds[kind][0], kinds[kind][1], serial)
        for node, device, serial, kind in zip(*columns, h5["places/kind"][:].tolist(), strict=True)
    )


def _place(h5: h5py.File, number: int) -> PastSubject:
    """One place, without reading thousands of others."""
    node, device, serial = (h5[f"places/{name}"][number].decode() for name in ("node", "device", "serial"))
    model, setting = loads(h5["kinds"][h5["places/kind"][number]])
    return PastSubject(node, device, model, setting, serial)


def _when(kept: KeptRun) -> tuple[str, str]:
    return kept.run.at, kept.run.run_id
