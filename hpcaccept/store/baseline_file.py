"""How is a baseline kept? ``<device-model>.h5``, format 1: one table, its provenance, and a checksum.

::

    /            attributes: format "hpcaccept-baseline", version 1, model, checksum (SHA-256 of model and the texts below)
    /provenance  JSON of Provenance
    /entries     JSON, one string per metric; and the same numbers as /columns/… for other tools
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

import h5py
import numpy as np

from hpcaccept.errors import StoreError
from hpcaccept.model.baseline import Baseline, BaselineEntry, Provenance
from hpcaccept.serial import dumps, from_plain
from hpcaccept.store.run_file import DAMAGE, open_h5, write_h5

if TYPE_CHECKING:
    from pathlib import Path

FORMAT, VERSION = "hpcaccept-baseline", 1


def file_name(model: str) -> str:
    """``nvidia-h100-80gb-hbm3.h5`` for ``NVIDIA H100 80GB HBM3``."""
    return re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-") + ".h5"


def write_baseline(folder: Path, baseline: Baseline) -> Path:
    """Write a baseline whole; gives its path.

    Raises:
        OSError: no space or no permission; an earlier file is untouched.
    """
    file = folder / file_name(baseline.model)
    provenance = dumps(baseline.provenance)
    entries = [dumps(baseline.entries[key]) for key in sorted(baseline.entries)]

    def fill(h5: h5py.File) -> None:
        checksum = _checksum(baseline.model, provenance, entries)
        h5.attrs.update({"format": FORMAT, "version": VERSION, "model": baseline.model, "checksum": checksum})
        h5["provenance"] = provenance
        h5.create_dataset("entries", data=np.array(entries, dtype=object), dtype=h5py.string_dtype())
        rows = [baseline.entries[key] for key in sorted(baseline.entries)]
        for column in ("center", "spread", "lower", "upper"):
            values = [getattr(row, column) for row in rows]
            h5[f"columns/{column}"] = np.array([np.nan if v is None else v for v in values], np.float64)

    write_h5(file, fill)
    return file


def read_baseline(file: Path) -> Baseline:
    """What ``write_baseline`` wrote.

    Raises:
        StoreError: absent, damaged, foreign, or without provenance.
    """
    with open_h5(file, FORMAT, VERSION) as h5:
        try:
            provenance, entries = h5["provenance"].asstr()[()], list(h5["entries"].asstr()[:])
            model = str(h5.attrs["model"])
            if h5.attrs["checksum"] != _checksum(model, provenance, entries):
                raise StoreError(f"{file} is damaged: its checksum does not fit.", "Restore it or learn it again.")
            rows = [from_plain(json.loads(text), BaselineEntry) for text in entries]
            return Baseline(
                model=model,
                provenance=from_plain(json.loads(provenance), Provenance),
                entries={row.key: row for row in rows},
            )
        except DAMAGE as fault:
            raise StoreError(f"{file} is damaged: {fault}.", "Restore it or learn it again.") from None


def find_baseline(folders: tuple[Path, ...], model: str) -> tuple[Path, Baseline] | None:
    """The baseline of a device model: the first folder that has one wins."""
    for folder in folders:
        file = folder / file_name(model)
        if model and file.exists():
            found = read_baseline(file)
            # Two models can share a file name ("H100 80GB", "H100-80GB"): unlike things are not compared.
            if found.model == model:
                return file, found
    return None


def _checksum(model: str, provenance: str, entries: list[str]) -> str:
    return hashlib.sha256("\n".join((model, provenance, *entries)).encode()).hexdigest()
