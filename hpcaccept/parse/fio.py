"""What fio measured: text of ``fio --output-format=json`` → one ``Job`` for each job, in order.

Traps:
    * **fio exits 0 when what it read back was wrong**: the number of wrong blocks is in ``total_err`` of the job, its
      ``error`` is EILSEQ (84).
    * Warnings may stand before the JSON, on standard output.
    * ``bw`` is in KiB/s, ``bw_bytes`` in bytes/s, which the first versions (3.0, 3.1 of Ubuntu 18.04) do not have; ``runtime`` is in
      milliseconds, percentiles in nanoseconds.

Source: https://fio.readthedocs.io/en/latest/fio_doc.html#json-output, run with fio 3.1 and 3.33 (2026-11).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hpcaccept.errors import NotUnderstood

#: errno of a block whose checksum is wrong (EILSEQ), and those of a medium or device that failed (EIO, ENODATA, EREMOTEIO).
WRONG_DATA = 84
DEVICE_ERRORS = frozenset({5, 61, 121})


@dataclass(frozen=True)
class Side:
    """One direction of a job.

    Attributes:
        total_bytes: moved.
        rate_bytes: bytes per second, over the time of the job.
        iops: operations per second.
        latency_p99_s: completion latency that 99 % of operations stayed within; None where none was made.
    """

    total_bytes: int
    rate_bytes: float
    iops: float
    latency_p99_s: float | None


@dataclass(frozen=True)
class Job:
    """One job of fio.

    Attributes:
        name: as it was asked for.
        error: errno of its first error, 0 without one.
        wrong_blocks: blocks whose checksum was wrong when they were read back (with ``continue_on_error=verify``).
        read: what it read.
        write: what it wrote.
    """

    name: str
    error: int
    wrong_blocks: int
    read: Side
    write: Side


def parse_fio(text: str) -> tuple[Job, ...]:
    """The jobs in the output of ``fio --output-format=json``.

    Raises:
        NotUnderstood: no JSON, or not fio's.
    """
    begin = text.find("{\n") if not text.startswith("{") else 0
    try:
        found = json.loads(text[begin:]) if begin >= 0 else None
        if not isinstance(found, dict) or not found["jobs"]:
            raise NotUnderstood(f"fio said {text[:200]!r}, expected JSON with jobs")
        return tuple(_job(job) for job in found["jobs"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as fault:
        why = f"{type(fault).__name__}: {fault}"
        raise NotUnderstood(
            f"the output of fio has another form than that of version 3 ({why}): {text[:200]!r}"
        ) from None


def _job(job: dict[str, Any]) -> Job:
    error = int(job["error"])
    # Without continue_on_error there is no count: a job that stopped at a wrong block has met one.
    wrong = int(job.get("total_err", 0)) if error == WRONG_DATA else 0
    return Job(
        name=str(job["jobname"]),
        error=error,
        wrong_blocks=max(wrong, int(error == WRONG_DATA)),
        read=_side(job["read"]),
        write=_side(job["write"]),
    )


def _side(side: dict[str, Any]) -> Side:
    percentiles = side["clat_ns"].get("percentile", {})
    p99 = percentiles.get("99.000000")
    return Side(
        total_bytes=int(side["io_bytes"]),
        rate_bytes=float(side["bw_bytes"] if "bw_bytes" in side else side["bw"] * 1024),
        iops=float(side["iops"]),
        latency_p99_s=None if p99 is None or not int(side["io_bytes"]) else float(p99) / 1e9,
    )
