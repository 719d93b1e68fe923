"""A run in HDF5: ``run.h5``, version 3, written whole by one writer, then renamed.

::

    /                attributes: format "hpcaccept-run", version 3, written_at
    /plan            JSON
    /job_id          number of the job (absent in older files)
    /evidence        steps, rank_starts, events, unreadable: one JSON list each
    /records/check   int32[r]   index into /records/checks
    /records/place   int32[r]   index into /records/places
    /records/revision int32[r]  of the check's method
    /records/flags   uint8[r]   model.record_table: measured, says unsupported, disturbed
    /records/ends    int64[r]   where each record ends in /records/text
    /records/text    uint8[b]   UTF-8, JSON of the records, one after the other
    /records/checks  JSON list of names
    /records/places  JSON list of [node, device]
    /samples/key     int32[n]   index into /samples/keys
    /samples/subject int32[n]   index into /samples/subjects
    /samples/launch  int32[n]   number of the step
    /samples/repeat  int32[n]   block within the step
    /samples/value   float64[n] SI units
    /samples/keys    str[k]     metric keys
    /samples/subjects JSON list of [node, device, device_id, model, setting]

The file begins with a user block of 512 bytes: the SHA-256 of everything behind it, which every reader looks at first. One flipped bit
anywhere, in a number, a text or HDF5's own tables, and the file is refused. (Files of earlier versions have none.)

Reports read thousands of records and need what few of them say: the rest stays text. Versions 1 (a string per record, subject and
rank start) and 2 (other names of datasets) are read too. No pickle, no object references: any HDF5 tool reads it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import h5py
import numpy as np
import numpy.typing as npt

from hpcaccept.bounded import open_regular
from hpcaccept.errors import StoreError
from hpcaccept.model.event import Event
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.job import JobStatus
from hpcaccept.model.plan import Plan, Step
from hpcaccept.model.record import RankStarted, Record, UnreadableLine
from hpcaccept.model.record_table import RecordTable
from hpcaccept.model.table import MeasuredSubject, SampleTable
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store.replaced_files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

FORMAT, VERSION = "hpcaccept-run", 3
#: What h5py, numpy, json and the nouns raise on content that cannot be.
DAMAGE = (
    KeyError, IndexError, ValueError, OSError, RuntimeError, TypeError, AttributeError, ArithmeticError, AssertionError, MemoryError,
)  # fmt: skip
#: Of what was written from a run; the records are still there.
REMEDY = "Write it again from what it was made of: hpcaccept collect for a run."
#: Smallest user block of HDF5, and what it begins with; a file without one begins with HDF5's own signature.
_BLOCK, _SEAL, _SIGNATURE = 512, b"hpcaccept sha256 ", b"\x89HDF\r\n\x1a\n"
#: What a file may hold: groups and datasets, groups within groups, and bytes of one dataset when it is unpacked. Deflate makes a byte of
#: 1,032 at most (https://zlib.net/zlib_tech.html), so that a dataset which says more was not written by anybody.
_MOST_THINGS, _DEEPEST, _MOST_UNPACKED, _MOST_DEFLATED = 100_000, 4, 4 << 30, 1032
_KINDS, _MOST_AXES = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING), 3
_HEAP = b"GCOL\x01\0\0\0"
T = TypeVar("T")
_SAMPLE_COLUMNS = ("key", "subject", "launch", "repeat", "value")
#: Dataset → its name in versions 1 and 2.
_FORMER = {
    "evidence/rank_starts": "evidence/hellos",
    "evidence/unreadable": "evidence/torn",
    "samples/subject": "samples/unit",
    "samples/subjects": "samples/units",
}
#: Fields of a subject, in the order in which they are kept.
_SUBJECT = ("node", "device", "device_id", "model", "setting")


def write_run(file: Path, evidence: Evidence, now: str) -> None:
    """Write a run, replacing an earlier file whole.

    Raises:
        OSError: no space or no permission; an earlier file is untouched.
    """

    def fill(h5: h5py.File) -> None:
        h5.attrs.update({"format": FORMAT, "version": VERSION, "written_at": now})
        h5["plan"] = dumps(evidence.plan)
        h5["nodes"] = json.dumps(evidence.nodes)
        h5["imports_s"] = json.dumps(evidence.imports_s)
        h5["job"] = dumps(evidence.job) if evidence.job else ""
        h5["job_id"] = evidence.job_id
        for name in ("steps", "rank_starts", "events", "unreadable"):
            h5[f"evidence/{name}"] = f"[{','.join(dumps(thing) for thing in getattr(evidence, name))}]"
        _write_records(h5, evidence.record_table)
        table = evidence.samples
        for column in _SAMPLE_COLUMNS:
            _numbers(h5, f"samples/{column}", getattr(table, column))
        _strings(h5, "samples/keys", table.keys)
        h5["samples/subjects"] = _json([[getattr(subject, name) for name in _SUBJECT] for subject in table.subjects])

    write_h5(file, fill)


def read_run(file: Path) -> Evidence:
    """What ``write_run`` wrote.

    Raises:
        StoreError: absent, truncated, foreign, or of another version.
    """
    with open_h5(file, FORMAT, VERSION, oldest=1) as h5:
        try:
            job = h5["job"].asstr()[()]
            return Evidence(
                plan=from_plain(loads(h5["plan"].asstr()[()]), Plan),
                nodes=tuple(loads(h5["nodes"].asstr()[()])),
                steps=_things(h5, "steps", Step),
                rank_starts=_things(h5, "rank_starts", RankStarted),
                records=_records(h5),
                samples=_samples(h5),
                events=_things(h5, "events", Event),
                unreadable=_things(h5, "unreadable", UnreadableLine),
                imports_s=loads(h5["imports_s"].asstr()[()]),
                job=from_plain(loads(job), JobStatus) if job else None,
                job_id=h5["job_id"].asstr()[()] if "job_id" in h5 else "",  # files of before it was kept
            )
        except DAMAGE as fault:
            raise StoreError(f"{file} is damaged: {in_words(fault)}.", "Write it again: hpcaccept collect.") from None


def _samples(h5: h5py.File) -> SampleTable:
    columns = {name: _of(h5, f"samples/{name}")[:] for name in _SAMPLE_COLUMNS}
    table = SampleTable(keys=tuple(h5["samples/keys"].asstr()[:]), subjects=_subjects(h5), **columns)
    _must_fit(table)
    return table


def _of(h5: h5py.File, name: str) -> h5py.Dataset:
    """A dataset by the name that it has now."""
    return h5[_FORMER.get(name, name) if h5.attrs["version"] < VERSION else name]


def _must_fit(table: SampleTable) -> None:
    columns = (table.key, table.subject, table.launch, table.repeat)
    if any(len(column) != len(table) for column in columns):
        raise ValueError("the columns of the samples are of unlike length")
    for column, names in ((table.key, table.keys), (table.subject, table.subjects)):
        if len(column) and not 0 <= column.min() <= column.max() < len(names):
            raise ValueError("a sample points to no key or subject")


def _things(h5: h5py.File, name: str, kind: type[T]) -> tuple[T, ...]:
    found = _of(h5, f"evidence/{name}")
    if found.shape:  # version 1
        return _old_things(found, kind)
    return tuple(from_plain(plain, kind) for plain in loads(found.asstr()[()]))


def _old_things(found: h5py.Dataset, kind: type[T]) -> tuple[T, ...]:
    return tuple(from_plain(loads(text), kind) for text in found.asstr()[:])


def _subjects(h5: h5py.File) -> tuple[MeasuredSubject, ...]:
    kept = _of(h5, "samples/subjects")
    if kept.shape:  # version 1
        return _old_things(kept, MeasuredSubject)
    rows = loads(kept.asstr()[()])
    if not all(len(row) == len(_SUBJECT) and all(type(text) is str for text in row) for row in rows):
        raise ValueError("a subject is not five texts")
    return tuple(MeasuredSubject(*row) for row in rows)


def _write_records(h5: h5py.File, table: RecordTable) -> None:
    text, ends = table.as_text()
    for column in ("check", "place", "revision", "flags"):
        _numbers(h5, f"records/{column}", getattr(table, column))
    _numbers(h5, "records/ends", ends)
    _numbers(h5, "records/text", np.frombuffer(text, np.uint8))
    h5["records/checks"], h5["records/places"] = _json(table.checks), _json(table.places)


def _records(h5: h5py.File) -> Sequence[Record]:
    if h5.attrs["version"] == 1:
        return _old_things(h5["evidence/records"], Record)
    columns = {name: h5[f"records/{name}"][:] for name in ("check", "place", "revision", "flags", "ends")}
    text: bytes = h5["records/text"][:].tobytes()
    checks = tuple(loads(h5["records/checks"].asstr()[()]))
    places = tuple((node, device) for node, device in loads(h5["records/places"].asstr()[()]))
    ends = columns["ends"]
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("the columns of the records are of unlike length")
    if len(ends) and ((np.diff(ends, prepend=0) <= 0).any() or ends[-1] != len(text)):
        raise ValueError("the records end elsewhere than they should")
    for column, names in ((columns["check"], checks), (columns["place"], places)):
        if len(column) and not 0 <= column.min() <= column.max() < len(names):
            raise ValueError("a record points to no check or place")
    return RecordTable(checks=checks, places=places, text=text, **columns)


def _json(things: object) -> str:
    return json.dumps(things, ensure_ascii=False).encode("utf-8", "replace").decode()


def _numbers(h5: h5py.File, name: str, column: npt.NDArray[Any]) -> None:
    # With a checksum: text that is read late must not be found damaged late.
    h5.create_dataset(name, data=column, compression="gzip", compression_opts=1, fletcher32=True)


def _strings(h5: h5py.File, name: str, texts: Iterable[str]) -> None:
    data = np.array(list(texts), dtype=object)
    h5.create_dataset(name, data=data, dtype=h5py.string_dtype())


def write_h5(file: Path, fill: Callable[[h5py.File], None]) -> None:
    """Write an HDF5 file next to its place, sync it, rename it: readers never see half of it.

    So nobody needs HDF5's own locks, which some file systems do not have: without them nothing could be written there, or read.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as beside:
        with h5py.File(beside, "w", track_order=True, userblock_size=_BLOCK, locking=False) as h5:
            fill(h5)
        seal_h5(beside)


def seal_h5(file: Path) -> None:
    """Write the checksum of a file into its user block, and sync it."""
    with file.open("r+b") as written:
        seal = _seal_of(written)
        written.seek(0)
        written.write(seal)
        written.flush()
        os.fsync(written.fileno())


def _seal_of(file: BinaryIO) -> bytes:
    """The user block that belongs to the rest of a file."""
    file.seek(_BLOCK)
    digest = hashlib.sha256()
    while part := file.read(1 << 20):
        digest.update(part)
    return (_SEAL + digest.hexdigest().encode() + b"\n").ljust(_BLOCK, b"\0")


def _is_whole(file: Path) -> bool:
    """True when the bytes of a file are those that were written; of a file without a user block nobody can say."""
    with os.fdopen(open_regular(file, follow=True), "rb") as stream:
        block = stream.read(_BLOCK)
        return block.startswith(_SIGNATURE) or (block.startswith(_SEAL) and block == _seal_of(stream))


def _has_endless_heap(file: Path) -> bool:
    """True where HDF5 would look for ever: its library steps over the things of a heap of texts by their sizes, and an empty place may say 0.

    The form of a heap ("GCOL", version 1, size, things of index, count and size):
    https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html (III.E).
    """
    with (
        os.fdopen(open_regular(file, follow=True), "rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        at = content.find(_HEAP)
        while at >= 0:
            if not _steps_on(content, at):
                return True
            at = content.find(_HEAP, at + len(_HEAP))
    return False


def _steps_on(content: mmap.mmap, begin: int) -> bool:
    """False where an empty place of the heap that begins here is of no size."""
    (size,) = struct.unpack_from("<Q", content[begin + 8 : begin + 16].ljust(8, b"\0"))
    at, end = begin + 16, min(begin + size, len(content))
    while at + 16 <= end:
        index, length = struct.unpack("<H6xQ", content[at : at + 16])
        if not index and not length:
            return False
        at += 16 + length + -length % 8 if index else length
    return True


def _is_sealed(file: Path) -> bool:
    """True for a file with a checksum."""
    with file.open("rb") as stream:
        return not stream.read(_BLOCK).startswith(_SIGNATURE)


def _must_be_plain(group: Any, place: str = "", depth: int = 1) -> int:
    """How many groups and datasets there are, asked of HDF5 itself: h5py's objects would take longer to make than to read.

    Raises:
        ValueError: a link out of the file or round in it, a dataset whose numbers lie in another file or are computed from one, one of
            more bytes than its file could hold, or more things than any file has. Nothing of that is ever written.
    """
    count = 0
    for name in group:
        here = f"{place}/{name.decode('utf-8', 'replace')}"[:200]
        if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{here} is a link, expected the thing itself")
        thing = h5py.h5o.open(group, name)
        count += 1
        if isinstance(thing, h5py.h5g.GroupID) and depth < _DEEPEST:
            count += _must_be_plain(thing, here, depth + 1)
        elif isinstance(thing, h5py.h5d.DatasetID):
            _must_be_here(thing, here)
        else:
            raise ValueError(f"{here} is neither a dataset nor a group of the first {_DEEPEST} levels")
        if count > _MOST_THINGS:
            raise ValueError(f"it has more than {_MOST_THINGS:,} things")
    return count


def _must_be_here(thing: Any, place: str) -> None:
    made, kind, space = thing.get_create_plist(), thing.get_type(), thing.get_space()
    if made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count():
        raise ValueError(f"the numbers of {place} lie in another file")
    if kind.get_class() not in _KINDS or space.get_simple_extent_ndims() > _MOST_AXES:
        raise ValueError(f"{place} holds neither numbers nor texts of at most {_MOST_AXES} axes")
    unpacked, kept = kind.get_size() * space.get_simple_extent_npoints(), thing.get_storage_size()
    if unpacked > min(_MOST_UNPACKED, _MOST_DEFLATED * kept + 4096):
        raise ValueError(f"{place} says that it has {unpacked:,} bytes, and the file has {kept:,} of it")


def open_h5(file: Path, expected: str, version: int, oldest: int | None = None, remedy: str = REMEDY) -> Any:
    """An HDF5 file for reading, after its format and version have been looked at.

    Args:
        file: to open.
        expected: its format.
        version: the newest that can be read.
        oldest: that can be read; None: only the newest.
        remedy: for one that is damaged.

    Raises:
        StoreError: absent, not HDF5, truncated, foreign, or of another version.
    """
    try:
        if not _is_whole(file):
            raise StoreError(f"{file} is damaged, or is not a readable HDF5 file: its checksum does not fit.", remedy)
        if _has_endless_heap(file):
            raise StoreError(f"{file} is damaged: a heap of its texts has no end.", remedy)
        h5 = h5py.File(file, "r", locking=False)
    except FileNotFoundError:
        raise StoreError(f"{file} does not exist.") from None
    except (OSError, ValueError, RuntimeError) as fault:
        raise StoreError(f"{file} is not a readable HDF5 file: {in_words(fault)}.") from None
    try:
        found, number = _head(h5)
        if found != expected or number not in range(oldest or version, version + 1):
            raise StoreError(f"{file} is {found!r} version {number}, expected {expected!r} version {version}.")
        if number == version and not _is_sealed(file):
            raise StoreError(f"{file} is damaged: it has no checksum, which version {version} has.", remedy)
        _must_be_plain(h5.id)
    except DAMAGE as fault:
        h5.close()
        raise StoreError(f"{file} is damaged: {in_words(fault)}.", remedy) from None
    except StoreError:
        h5.close()
        raise
    return h5


def _head(h5: h5py.File) -> tuple[str | None, int | None]:
    """Format and version; both are scalars."""
    found, number = h5.attrs.get("format"), h5.attrs.get("version")
    if np.shape(found) or np.shape(number) or h5py.check_ref_dtype(np.asarray(found).dtype):
        raise ValueError("its format is not text or its version is not a number")
    return None if found is None else str(found)[:80], None if number is None else int(number)


def in_words(fault: BaseException) -> str:
    """What a library says of a file, in one short line."""
    return " ".join(str(getattr(fault, "strerror", None) or fault).split())[:300] or type(fault).__name__
