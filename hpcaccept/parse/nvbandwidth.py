"""What ``nvbandwidth -j`` measured: JSON of versions 0.5 to 0.8 in, one ``Testcase`` each out.

Read in ``json_output.cpp`` and ``nvbandwidth.cpp`` of NVIDIA/nvbandwidth, tags v0.5 to v0.8 (2026-11-22).

Traps:
    * Bidirectional tests of GPU pairs append three matrices (read 1, read 2, total) to one list of rows, and describe
      the last.
    * ``min`` in the JSON (with ``-v``) counts a missing cell as 0; so it is not used here.
    * A test that breaks off stays ``Running``; its error stands at the top, and the same name may come again as
      ``Error``.
    * Cells are texts, ``N/A`` where there is nothing to measure (a GPU with itself, no peer access).
    * Data that is wrong is one line before the JSON, printed by the GPU.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from hpcaccept.errors import NotUnderstood
from hpcaccept.model.metric_key import Pair

Status = Literal["Passed", "Waived", "Not Found", "Error", "Running"]
_STATUSES: dict[str, Status] = {
    "Passed": "Passed",
    "Waived": "Waived",
    "Not Found": "Not Found",
    "Error": "Error",
    "ERROR": "Not Found",  # what it says of a name that it does not know (v0.5 to v0.8)
    "Running": "Running",
}
_WRONG_DATA = re.compile(r"Invalid value when checking the pattern")
#: ``memcpy CE GPU(row) <- GPU(column) bandwidth (GB/s)``
_DESCRIPTION = re.compile(r"(?:(CPU|GPU)\(row\) *(<->|<-|->) *)?GPU\(column\).*\((GB/s|ns)\)")
_TO_SI = {"GB/s": ("B/s", 1e9), "ns": ("s", 1e-9)}


@dataclass(frozen=True)
class Testcase:
    """One test.

    Attributes:
        name: ``device_to_device_memcpy_read_ce``.
        status: how it ended; ``Running``: it did not.
        unit: ``B/s`` or ``s``; empty where nothing was measured.
        cells: ``gpu3→gpu5`` (whence, where to), ``cpu→gpu3``, ``gpu0↔gpu1``, ``gpu3`` → value.
        gpus: columns of the matrix.
    """

    #: Not a test of ours.
    __test__ = False

    name: str
    status: Status
    unit: str
    cells: dict[str, float]
    gpus: int


@dataclass(frozen=True)
class Bandwidths:
    """One run.

    Attributes:
        version: of nvbandwidth.
        driver: version of the GPU driver.
        testcases: in their order, one per name.
        error: what broke it off; empty otherwise.
        wrong_data: how often a GPU said that copied data was not what had been sent.
    """

    version: str
    driver: str
    testcases: tuple[Testcase, ...]
    error: str
    wrong_data: int


def parse_nvbandwidth(text: str) -> Bandwidths:
    """The standard output of ``nvbandwidth -j``.

    Raises:
        NotUnderstood: no such JSON, an unknown status, or a matrix that does not fit its description.
    """
    body = _body(text)
    cases = body.get("testcases") or []
    if not isinstance(cases, list):
        raise NotUnderstood(f"nvbandwidth's testcases are {str(cases)[:100]!r}, expected a list")
    found: dict[str, Testcase] = {}
    for entry in cases:
        case = _testcase(entry)
        if case.name in found and case.status == "Passed":
            raise NotUnderstood(f"nvbandwidth speaks twice of {case.name}")
        found[case.name] = case
    if not found and not body.get("error"):
        raise NotUnderstood("nvbandwidth's JSON has neither testcases nor an error in it")
    return Bandwidths(
        version=str(body.get("version", "")),
        driver=str(body.get("Driver Version", "")),
        testcases=tuple(found.values()),
        error=" ".join(str(body.get("error") or "").split()),
        wrong_data=len(_WRONG_DATA.findall(text)),
    )


def _body(text: str) -> dict[str, Any]:
    at = text.find("{")
    try:
        document, _ = json.JSONDecoder().raw_decode(text, at if at >= 0 else len(text))
    except json.JSONDecodeError as fault:
        raise NotUnderstood(
            f"nvbandwidth printed no JSON: {fault.msg}", "Is it at least version 0.5? (nvbandwidth -h)"
        ) from None
    body = document.get("nvbandwidth") if isinstance(document, dict) else None
    if not isinstance(body, dict):
        raise NotUnderstood("nvbandwidth's JSON has no object 'nvbandwidth' in it")
    return body


def _testcase(entry: Any) -> Testcase:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise NotUnderstood(f"a testcase of nvbandwidth is {str(entry)[:100]!r}, expected an object with a name")
    name, word = entry["name"], entry.get("status")
    if not isinstance(word, str) or word not in _STATUSES:
        raise NotUnderstood(f"the status of {name} is {word!r}, expected one of {', '.join(_STATUSES)}")
    status = _STATUSES[word]
    if status != "Passed":
        return Testcase(name, status, "", {}, 0)
    match = _DESCRIPTION.search(str(entry.get("bandwidth_description", "")))
    if not match:
        raise NotUnderstood(f"{name} describes its matrix as {entry.get('bandwidth_description')!r}")
    row_kind, arrow, unit = match.groups()
    unit, scale = _TO_SI[unit]
    rows = _rows(name, entry.get("bandwidth_matrix"), square=row_kind == "GPU")
    cells = {
        _cell(row_kind, arrow, row, column): value * scale
        for row, line in enumerate(rows)
        for column, value in enumerate(line)
        if value is not None
    }
    return Testcase(name, status, unit, cells, len(rows[0]))


def _rows(name: str, matrix: Any, square: bool) -> list[list[float | None]]:
    """The matrix; of several that stand below each other the last, which is the one that is described."""
    if not isinstance(matrix, list) or not matrix or not all(isinstance(row, list) and row for row in matrix):
        raise NotUnderstood(f"{name} passed without a matrix")
    columns = len(matrix[0])
    if any(len(row) != columns for row in matrix):
        raise NotUnderstood(f"the rows of the matrix of {name} are of different length")
    # One GPU's column for "all to one" tests: one row that is described as GPU(row).
    if square and len(matrix) > 1:
        if len(matrix) % columns:
            raise NotUnderstood(f"{name} has {len(matrix)} rows for {columns} GPUs")
        matrix = matrix[-columns:]
    return [[_number(name, cell) for cell in row] for row in matrix]


def _number(name: str, cell: Any) -> float | None:
    if cell == "N/A":
        return None
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise NotUnderstood(f"a cell of {name} is {cell!r}, expected a number or N/A")
    return value


def _cell(row_kind: str | None, arrow: str | None, row: int, column: int) -> str:
    if row_kind is None:
        return f"gpu{column}"
    here, there = ("cpu" if row_kind == "CPU" else f"gpu{row}"), f"gpu{column}"
    if arrow == "<->":
        return str(Pair(here, there, both_ways=True))
    return str(Pair(here, there) if arrow == "->" else Pair(there, here))
