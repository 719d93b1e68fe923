"""What a program of nccl-tests measured: its JSON (``-J``, since October 2025) or its table in, one ``Row`` per size out.

Read in ``src/util.cu`` and ``src/common.cu`` of NVIDIA/nccl-tests, commit a0b82b2 (2026-07-09) and tag v2.13; run and recorded
(tests/data/nccl_tests/recorded).

Traps:
    * ``config.devices`` has one entry per *process*, that of its first GPU; each has ``ngpus`` times ``nthreads`` of them.
    * What several processes printed may carry a label: ``mpirun --tag-output``, ``srun --label``.
    * The JSON holds every environment variable (``env``), secrets included: ``redacted`` is what may be kept.
    * Builds without ``-J`` print their usage and exit with 0.
    * What does not fit into memory is measured at a smaller size (``Reducing maxBytes``).
    * ``#wrong`` is ``N/A`` where nothing was verified: in place for some operations, everywhere with ``-c 0``.
    * Bandwidths are GB/s of 10^9 bytes, times are µs.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from hpcaccept.errors import NotUnderstood

_DEVICE = re.compile(r"^#\s+Rank\s+\d+ .*?\bon\s+(?P<host>\S+) device\s+\d+ \[", re.M)
_FAILURE = re.compile(
    r"^.*(?:Test NCCL failure|Test CUDA failure|Test failure|Invalid number of GPUs|NCCL WARN|error while loading).*$",
    re.M,
)
#: ``[1,0]<stdout>:`` of Open MPI 4, ``[prterun-host-1@1,0]<stdout>: `` of 5, ``0: `` of Slurm.
_LABEL = re.compile(r"^(?:\[[^\]\s]*\d+,\d+\](?:<std\w+>)?: ?| *\d+: )", re.M)
_BOUNDS = re.compile(r"^# Out of bounds values\s*:\s*(\d+)", re.M)
_VERSION = re.compile(r"nccl-library=(\d+)|^# NCCL version (\S+)", re.M)
_REDUCED = re.compile(r"Reducing maxBytes to (\d+)")
#: What a build without -J says of it; it exits with 0 then.
_NO_JSON = re.compile(r"invalid option|unrecognized option")


@dataclass(frozen=True)
class Half:
    """One size, out of place or in place.

    Attributes:
        time_s: of one operation.
        algbw_bytes: bytes / time.
        busbw_bytes: nccl-tests' bus bandwidth.
        wrong: elements that are not what they must be; None: not verified.
    """

    time_s: float
    algbw_bytes: float
    busbw_bytes: float
    wrong: int | None


@dataclass(frozen=True)
class Row:
    """One message size.

    Attributes:
        size_bytes: the larger buffer of a rank.
        out_of_place: send and receive buffers differ.
        in_place: they are one; None where that was not measured.
    """

    size_bytes: int
    out_of_place: Half
    in_place: Half | None

    @property
    def wrong(self) -> int | None:
        """Of both, as far as verified; None where neither was."""
        counts = [half.wrong for half in (self.out_of_place, self.in_place) if half and half.wrong is not None]
        return sum(counts) if counts else None


@dataclass(frozen=True)
class Perf:
    """One program's run.

    Attributes:
        devices: how many GPUs took part.
        hosts: names of the nodes that they are in, in the order of the ranks.
        nccl: version of the library, ``2.28.3``; empty where it is not said.
        rows: by size.
        out_of_bounds: how many sizes had wrong elements, by its own count.
        errors: NCCL's last error, and lines of the text that tell of a failure.
        reduced_bytes: largest size where it was lowered for want of memory, else 0.
    """

    devices: int
    hosts: tuple[str, ...]
    nccl: str
    rows: tuple[Row, ...]
    out_of_bounds: int
    errors: tuple[str, ...]
    reduced_bytes: int


def failures(text: str) -> tuple[str, ...]:
    """Lines of its output that tell of a failure, each once."""
    return tuple(dict.fromkeys(" ".join(line.split()) for line in _FAILURE.findall(_unlabelled(text))))


def _unlabelled(text: str) -> str:
    return _LABEL.sub("", text)


def has_no_json(text: str) -> bool:
    """True when a build says that it does not know ``-J``."""
    return bool(_NO_JSON.search(text))


def redacted(document: str) -> str:
    """The JSON without the environment; what is not JSON is left out altogether."""
    try:
        found = json.loads(document)
    except json.JSONDecodeError:
        return "torn: left out, because it may hold environment variables\n"
    if isinstance(found, dict):
        found.pop("env", None)
    return json.dumps(found, indent=1)


def parse_json(document: str, text: str = "") -> Perf:
    """The file of ``-J``, and what was printed beside it.

    Raises:
        NotUnderstood: torn, of another layout, or without results.
    """
    try:
        found = json.loads(document)
    except json.JSONDecodeError as fault:
        raise NotUnderstood(f"the JSON of nccl-tests is torn: {fault.msg} in line {fault.lineno}") from None
    if not isinstance(found, dict) or not isinstance(found.get("results"), list) or not found["results"]:
        raise NotUnderstood("the JSON of nccl-tests has no results in it", "Its output is in the run folder.")
    bounds = found.get("out_of_bounds")
    if not isinstance(bounds, dict) or not isinstance(bounds.get("count"), int):
        raise NotUnderstood(
            "the JSON of nccl-tests does not say how many values were out of bounds: it did not conclude"
        )
    devices, hosts = _json_devices(found.get("config"))
    errors = found.get("errors")
    said = [str(error) for error in errors if error] if isinstance(errors, list) else []
    return Perf(
        devices=devices,
        hosts=hosts,
        nccl=_version(found.get("nccl_version")),
        rows=tuple(_json_row(row) for row in found["results"]),
        out_of_bounds=bounds["count"],
        errors=(*said, *failures(text)),
        reduced_bytes=_reduced(text),
    )


def _json_devices(config: Any) -> tuple[int, tuple[str, ...]]:
    """How many GPUs took part, and where. 0 where the file does not say."""
    processes = config.get("devices") if isinstance(config, dict) else None
    if not isinstance(processes, list):
        return 0, ()
    each = config.get("ngpus", 1), config.get("nthreads", 1)
    if not all(isinstance(number, int) and number > 0 for number in each):
        return 0, ()
    hosts = (str(process.get("hostname", "")) for process in processes if isinstance(process, dict))
    return len(processes) * each[0] * each[1], tuple(dict.fromkeys(host for host in hosts if host))


def parse_table(text: str) -> Perf:
    """The table of builds without ``-J``.

    Raises:
        NotUnderstood: no table, or no count of values out of bounds below it.
    """
    text = _unlabelled(text)
    rows = [_table_row(line) for line in text.splitlines() if _is_row(line)]
    bounds = _BOUNDS.search(text)
    if not rows or not bounds:
        raise NotUnderstood("nccl-tests printed no table that it concluded", "Its output is in the run folder.")
    version = _VERSION.search(text)
    return Perf(
        devices=len(_DEVICE.findall(text)),
        hosts=tuple(dict.fromkeys(_DEVICE.findall(text))),
        nccl=_version(int(version[1])) if version and version[1] else version[2] if version else "",
        rows=tuple(rows),
        out_of_bounds=int(bounds[1]),
        errors=failures(text),
        reduced_bytes=_reduced(text),
    )


def _reduced(text: str) -> int:
    match = _REDUCED.search(text)
    return int(match[1]) if match else 0


def _version(code: Any) -> str:
    """``22803`` → ``2.28.3`` (``NCCL_VERSION`` since 2.9)."""
    return f"{code // 10000}.{code // 100 % 100}.{code % 100}" if isinstance(code, int) and code > 10000 else ""


def _json_row(row: Any) -> Row:
    if not isinstance(row, dict) or not isinstance(row.get("size"), int):
        raise NotUnderstood(f"a result of nccl-tests is {str(row)[:200]!r}, expected an object with a size")
    where = f"the result for {row['size']} bytes"
    out = row.get("out_of_place")
    if not isinstance(out, dict):
        raise NotUnderstood(f"{where} has nothing out of place in it")
    into = row.get("in_place")
    return Row(row["size"], _json_half(out, where), _json_half(into, where) if isinstance(into, dict) else None)


def _json_half(half: dict[str, Any], where: str) -> Half:
    wrong = half.get("nwrong")
    return Half(
        time_s=_number(half.get("time", half.get("cpu_time")), where) * 1e-6,
        algbw_bytes=_number(half.get("alg_bw"), where) * 1e9,
        busbw_bytes=_number(half.get("bus_bw"), where) * 1e9,
        wrong=None if wrong is None else int(_number(wrong, where)),
    )


def _is_row(line: str) -> bool:
    words = line.split()
    return len(words) >= 11 and words[0].isdigit() and words[1].isdigit()


def _table_row(line: str) -> Row:
    """Between type and times stand operation and root, or neither (old builds): the halves are counted from the right."""
    words = line.split()
    if len(words) > 13:
        raise NotUnderstood(f"a line of nccl-tests has {len(words)} columns, expected 11 to 13: {line.strip()!r}")
    out, into = words[-8:-4], words[-4:]
    return Row(int(words[0]), _table_half(out, line), _table_half(into, line))


def _table_half(words: list[str], line: str) -> Half:
    time, algbw, busbw = (_number(word, f"the line {line.strip()!r}") for word in words[:3])
    wrong = None if words[3] == "N/A" else int(_number(words[3], f"the line {line.strip()!r}"))
    return Half(time * 1e-6, algbw * 1e9, busbw * 1e9, wrong)


def _number(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise NotUnderstood(f"{where} of nccl-tests holds {value!r}, expected a number")
    return number
