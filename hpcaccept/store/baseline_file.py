"""The file of a baseline: ``<device-model>.h5``, format 4, with every generation of the model, and a checksum over all of them.

::

    /                          attributes: format "hpcaccept-baseline", version 4, model, checksum
    /generations/0001          attributes: state, changed_at
    /generations/0001/head     JSON: model, state, strict, provenance, changes
    /generations/0001/entries  JSON of BaselineEntry, one string per metric, sorted by key
    /generations/0001/peaks    JSON of Peak, one string each
    /generations/0001/columns  the same numbers for other tools: key, unit, center, spread, lower, upper, center_low,
                               center_high (float64, NaN where there is none), subjects, values (int64)

The checksum is the SHA-256 of the model and of every JSON text in order. A file is written whole beside its place and renamed,
under a lock (``store.one_writer``): readers never see half of one, and writers lose nothing of each other. Nothing is ever taken
out of a file: what was learned before is a generation of its own. The same content gives the same bytes.

Format 1 (one table without a life cycle) is read as one draft. Format 2 kept the number of subjects as ``units``, and an interval
that judged nothing. Up to format 3 a learned limit was the same for any number of values: its loss is read as the floor of the entry. All are
read; the next change writes format 4.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from hpcaccept.errors import StoreError
from hpcaccept.model.baseline import Baseline, BaselineEntry, Change, Peak, Provenance, State, impossible, written_loss
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store.one_writer import locked
from hpcaccept.store.run_file import DAMAGE, in_words, open_h5, write_h5
from hpcaccept.store.shipped import SHARE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Generations = tuple[Baseline, ...]

FORMAT, VERSION = "hpcaccept-baseline", 4
#: From this format on a learned entry says from what its limit follows.
_LAWS_FROM = 4
#: Baselines that come with hpcaccept.
SHIPPED = SHARE / "baselines"
_REMEDY = "Restore it from a copy, or learn it again."
_LONGEST_NAME = 200
_NUMBERS = ("center", "spread", "lower", "upper", "center_low", "center_high")
#: Who is asked first: what somebody has vouched for, then what was learned, then what is shipped. Expired ones are asked
#: last, so that the reason of a refusal can name them.
_ORDER = {"approved": 0, "draft": 1, "shipped": 2, "expired": 3}


@dataclass(frozen=True)
class _Head:
    """A generation without its numbers."""

    generation: int
    model: str
    state: State
    strict: bool
    provenance: Provenance
    changes: tuple[Change, ...]


def file_name(model: str) -> str:
    """``nvidia-h100-80gb-hbm3.h5`` for ``NVIDIA H100 80GB HBM3``; what a driver says may be longer than a name of a file."""
    return re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:_LONGEST_NAME] + ".h5"


def write_baseline(folder: Path, baseline: Baseline) -> Path:
    """Add a baseline to the file of its model as the newest generation; gives the file.

    Raises:
        StoreError: the file that is there is damaged or of another model.
        RunError: it is locked (``change_file``).
        OSError: no space or no permission; an earlier file is untouched.
    """
    file = folder / file_name(baseline.model)
    change_file(file, baseline.model, lambda earlier: (*earlier, baseline))
    return file


def change_file(file: Path, model: str, change: Callable[[Generations], Generations]) -> Generations:
    """Read, change and write a file as one act; gives what was written.

    Args:
        file: of the model; it need not exist.
        model: device model that the file must be of.
        change: from the generations that are there (none for a new file) to those that shall be.

    Raises:
        StoreError: damaged, of another model, or the new content is impossible.
        RunError: somebody else is changing it (owner and age are in the message; a retry helps).
        OSError: no space or no permission; an earlier file is untouched.
    """
    with locked(file.with_name(f".{file.name}.lock"), f"changing {file.name}"):
        earlier = read_generations(file) if file.exists() else ()
        if earlier and earlier[0].model != model:
            raise StoreError(
                f"{file} is of {earlier[0].model!r}, expected {model!r}.",
                "Keep one of them in another --baselines-dir.",
            )
        later = change(earlier)
        write_generations(file, later)
        return later


def write_generations(file: Path, generations: Generations) -> None:
    """Write a file whole, without asking what is there: the same generations always give the same bytes.

    Raises:
        StoreError: a limit is impossible (above the physical peak, in a unit with a prefix).
        OSError: no space or no permission; an earlier file is untouched.
    """
    for one in generations:
        _must_be_possible(file, one)
    model = generations[0].model
    texts = [_texts(one, number) for number, one in enumerate(generations, 1)]

    def fill(h5: h5py.File) -> None:
        h5.attrs.update({"format": FORMAT, "version": VERSION, "model": model, "checksum": _checksum(model, texts)})
        for number, (one, (head, entries, peaks)) in enumerate(zip(generations, texts, strict=True), 1):
            group = h5.create_group(f"generations/{number:04d}", track_order=True)
            group.attrs.update({"state": one.state, "changed_at": one.changes[-1].at if one.changes else ""})
            group["head"] = head
            _write_strings(group, "entries", entries)
            _write_strings(group, "peaks", peaks)
            _write_columns(group, [one.entries[key] for key in sorted(one.entries)])

    write_h5(file, fill)


def read_generations(file: Path) -> Generations:
    """Every generation of a file, oldest first, of format 1 to 4.

    Raises:
        StoreError: absent, damaged, foreign, without provenance, or with a limit that is impossible.
    """
    with open_h5(file, FORMAT, VERSION, oldest=1, remedy=_REMEDY) as h5:
        try:
            found = _read_first_format(h5, file) if h5.attrs["version"] == 1 else _read(h5, file)
        except DAMAGE as fault:
            raise StoreError(f"{file} is damaged: {in_words(fault)}.", _REMEDY) from None
    for one in found:
        _must_be_possible(file, one)
    return found


def chained(generations: Generations, at: str = "") -> Baseline:
    """Generations in the order in which they are asked, the first with the others as its alternatives.

    Args:
        generations: of one model, oldest first.
        at: day of judging (ISO 8601); approvals that ended before it are expired. Empty: today.
    """
    day = at[:10] or datetime.now(timezone.utc).date().isoformat()
    newest_first = [_on_day(one, day) for one in reversed(generations)]
    first, *others = sorted(newest_first, key=lambda one: _ORDER[one.state])
    return replace(first, alternatives=tuple(others))


def find_baseline(folders: tuple[Path, ...], model: str, at: str = "") -> tuple[Path, Baseline] | None:
    """What is known of a device model: the first file found, and the generations of all files of the model.

    Args:
        folders: in which to look; where one state is in several of them, the first folder is asked first.
        model: name the driver gives the GPU, or the CPU's.
        at: day of judging (ISO 8601); empty: today.

    Raises:
        StoreError: a file is damaged.
    """
    files = dict.fromkeys((folder / file_name(model)).absolute() for folder in folders if model)
    read = [(file, read_generations(file)) for file in files if file.exists()]
    # Two models can share a file name ("H100 80GB", "H100-80GB"): unlike things are not compared.
    mine = [(file, found) for file, found in read if found[0].model == model]
    if not mine:
        return None
    generations = tuple(one for _, found in reversed(mine) for one in found)
    return mine[0][0], chained(generations, at)


def _on_day(baseline: Baseline, day: str) -> Baseline:
    until = baseline.changes[-1].until if baseline.changes else ""
    return replace(baseline, state="expired") if until and until < day else baseline


def _texts(baseline: Baseline, number: int) -> tuple[str, list[str], list[str]]:
    head = _Head(number, baseline.model, baseline.state, baseline.strict, baseline.provenance, baseline.changes)
    return (
        dumps(head),
        [dumps(baseline.entries[key]) for key in sorted(baseline.entries)],
        [dumps(peak) for peak in sorted(baseline.peaks, key=lambda peak: peak.key)],
    )


def _write_strings(group: h5py.Group, name: str, texts: list[str]) -> None:
    group.create_dataset(name, data=np.array(texts, dtype=object), dtype=h5py.string_dtype())


def _write_columns(group: h5py.Group, rows: list[BaselineEntry]) -> None:
    for name in ("key", "unit"):
        _write_strings(group, f"columns/{name}", [getattr(row, name) for row in rows])
    for name in _NUMBERS:
        numbers = [getattr(row, name) for row in rows]
        group[f"columns/{name}"] = np.array([np.nan if x is None else x for x in numbers], np.float64)
    for name in ("subjects", "values"):
        group[f"columns/{name}"] = np.array([getattr(row, name) for row in rows], np.int64)


def _read(h5: h5py.File, file: Path) -> Generations:
    model = str(h5.attrs["model"])
    kept = h5["generations"]
    if not isinstance(kept, h5py.Group):  # a dataset would be walked through, number by number
        raise ValueError("/generations holds numbers, expected a group")
    groups = [kept[name] for name in sorted(kept)]
    texts = [
        (str(g["head"].asstr()[()]), [str(t) for t in g["entries"].asstr()[:]], [str(t) for t in g["peaks"].asstr()[:]])
        for g in groups
    ]
    if h5.attrs["checksum"] != _checksum(model, texts):
        raise StoreError(f"{file} is damaged: its checksum does not fit.", _REMEDY)
    if not texts:
        raise StoreError(f"{file} holds no generation.", _REMEDY)
    found = tuple(_baseline(*each) for each in texts)
    return found if int(h5.attrs["version"]) >= _LAWS_FROM else tuple(_with_floors(one) for one in found)


def _baseline(head: str, entries: list[str], peaks: list[str]) -> Baseline:
    rows = [from_plain(loads(text), BaselineEntry) for text in entries]
    known = tuple(from_plain(loads(text), Peak) for text in peaks)
    kept = from_plain(loads(head), _Head)
    return Baseline(
        kept.model, kept.provenance, {row.key: row for row in rows}, kept.state,
        peaks=known, strict=kept.strict, changes=kept.changes, generation=kept.generation,
    )  # fmt: skip


def _read_first_format(h5: h5py.File, file: Path) -> Generations:
    """Format 1 knew no approval: nobody has vouched for it, so it is a draft."""
    provenance, entries = str(h5["provenance"].asstr()[()]), [str(text) for text in h5["entries"].asstr()[:]]
    model = str(h5.attrs["model"])
    if h5.attrs["checksum"] != hashlib.sha256("\n".join((model, provenance, *entries)).encode()).hexdigest():
        raise StoreError(f"{file} is damaged: its checksum does not fit.", _REMEDY)
    rows = [from_plain(loads(text), BaselineEntry) for text in entries]
    origin = from_plain(loads(provenance), Provenance)
    return (_with_floors(Baseline(model, origin, {row.key: row for row in rows}, generation=1)),)


def _with_floors(baseline: Baseline) -> Baseline:
    """What was learned here (imports and published figures name no node): its limit may grow with the number of values, and never shrinks."""
    if not baseline.provenance.nodes:
        return baseline
    floors = {key: written_loss(entry) for key, entry in baseline.entries.items() if entry.spread is not None}
    known = {key: floor for key, floor in floors.items() if not math.isnan(floor)}
    entries = {key: replace(entry, floor=known.get(key, 0.0)) for key, entry in baseline.entries.items()}
    return replace(baseline, entries=entries)


def _must_be_possible(file: Path, baseline: Baseline) -> None:
    faults = impossible(baseline)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise StoreError(
            f"{file} cannot judge: {faults[0]}{more}.", "Correct what it was made of, or learn it again from good runs."
        )


def _checksum(model: str, texts: list[tuple[str, list[str], list[str]]]) -> str:
    digest: Any = hashlib.sha256()
    for text in (model, *(t for head, entries, peaks in texts for t in (head, *entries, *peaks))):
        digest.update(text.encode() + b"\n")
    return str(digest.hexdigest())
