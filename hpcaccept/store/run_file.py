"""How is a run kept in HDF5? ``run.h5``, format 1, written whole by one writer, then renamed.

::

    /                attributes: format "hpcaccept-run", version 1, written_at
    /plan            JSON
    /evidence        JSON of everything but the samples, one dataset per kind, one string per thing
    /samples/key     int32[n]   index into /samples/keys
    /samples/unit    int32[n]   index into /samples/units
    /samples/launch  int32[n]   number of the step
    /samples/repeat  int32[n]   block within the step
    /samples/value   float64[n] SI units
    /samples/keys    str[k]     metric keys
    /samples/units   str[u]     JSON of Unit

No pickle, no object references: any HDF5 tool reads it.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import h5py
import numpy as np

from hpcaccept.errors import StoreError
from hpcaccept.model.event import Event
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.job import JobStatus
from hpcaccept.model.plan import Plan, Step
from hpcaccept.model.record import Hello, Record, Torn
from hpcaccept.model.table import SampleTable, Unit
from hpcaccept.serial import dumps, from_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FORMAT, VERSION = "hpcaccept-run", 1
#: What h5py, json and the nouns raise on content that cannot be.
DAMAGE = (KeyError, ValueError, OSError, RuntimeError, TypeError, AttributeError)
T = TypeVar("T")


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
        for name in ("steps", "hellos", "records", "events", "torn"):
            _strings(h5, f"evidence/{name}", (dumps(thing) for thing in getattr(evidence, name)))
        table = evidence.samples
        for column in ("key", "unit", "launch", "repeat", "value"):
            h5.create_dataset(f"samples/{column}", data=getattr(table, column), compression="gzip", compression_opts=1)
        _strings(h5, "samples/keys", table.keys)
        _strings(h5, "samples/units", (dumps(unit) for unit in table.units))

    write_h5(file, fill)


def read_run(file: Path) -> Evidence:
    """What ``write_run`` wrote.

    Raises:
        StoreError: absent, truncated, foreign, or of another version.
    """
    with open_h5(file, FORMAT, VERSION) as h5:
        try:
            job = h5["job"].asstr()[()]
            table = SampleTable(
                keys=tuple(h5["samples/keys"].asstr()[:]),
                units=tuple(from_plain(json.loads(text), Unit) for text in h5["samples/units"].asstr()[:]),
                key=h5["samples/key"][:],
                unit=h5["samples/unit"][:],
                launch=h5["samples/launch"][:],
                repeat=h5["samples/repeat"][:],
                value=h5["samples/value"][:],
            )
            _must_fit(table)
            return Evidence(
                plan=from_plain(json.loads(h5["plan"].asstr()[()]), Plan),
                nodes=tuple(json.loads(h5["nodes"].asstr()[()])),
                steps=_things(h5, "steps", Step),
                hellos=_things(h5, "hellos", Hello),
                records=_things(h5, "records", Record),
                samples=table,
                events=_things(h5, "events", Event),
                torn=_things(h5, "torn", Torn),
                imports_s=json.loads(h5["imports_s"].asstr()[()]),
                job=from_plain(json.loads(job), JobStatus) if job else None,
            )
        except DAMAGE as fault:
            raise StoreError(f"{file} is damaged: {fault}.", "Write it again: hpcaccept collect.") from None


def _must_fit(table: SampleTable) -> None:
    columns = (table.key, table.unit, table.launch, table.repeat)
    if any(len(column) != len(table) for column in columns):
        raise ValueError("the columns of the samples are of unlike length")
    for column, names in ((table.key, table.keys), (table.unit, table.units)):
        if len(column) and not 0 <= column.min() <= column.max() < len(names):
            raise ValueError("a sample points to no key or unit")


def _things(h5: h5py.File, name: str, kind: type[T]) -> tuple[T, ...]:
    return tuple(from_plain(json.loads(text), kind) for text in h5[f"evidence/{name}"].asstr()[:])


def _strings(h5: h5py.File, name: str, texts: Iterable[str]) -> None:
    data = np.array(list(texts), dtype=object)
    h5.create_dataset(name, data=data, dtype=h5py.string_dtype())


def write_h5(file: Path, fill: Callable[[h5py.File], None]) -> None:
    """Write an HDF5 file next to its place, sync it, rename it: readers never see half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    os.close(handle)
    try:
        with h5py.File(name, "w", track_order=True) as h5:
            fill(h5)
        with Path(name).open("rb") as written:
            os.fsync(written.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def open_h5(file: Path, expected: str, version: int) -> Any:
    """An HDF5 file for reading, after its format and version have been looked at.

    Raises:
        StoreError: absent, not HDF5, truncated, foreign, or of another version.
    """
    if not file.exists():
        raise StoreError(f"{file} does not exist.")
    try:
        h5 = h5py.File(file, "r")
    except OSError as fault:
        raise StoreError(f"{file} is not a readable HDF5 file: {fault}.") from None
    try:
        found, number = h5.attrs.get("format"), h5.attrs.get("version")
    except DAMAGE as fault:
        h5.close()
        raise StoreError(f"{file} is damaged: {fault}.") from None
    if found != expected or number != version:
        h5.close()
        raise StoreError(f"{file} is {found!r} version {number}, expected {expected!r} version {version}.")
    return h5
