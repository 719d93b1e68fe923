"""What is published of a GPU model? One TOML file of ``baselines/sources`` in, numbers in SI with their sources out.

::

    model = "NVIDIA H100 80GB HBM3"   # the name the driver gives it
    date = 2026-11-22                 # when the sources were read
    confidence = "A"                  # A, B or C
    name_source = "…"                 # where that name is from
    power_limit_w = 700               # of the boards that the figures are of; absent: not known
    memory_gib = 80
    peak_source = "…"                 # of all peaks
    revisions = { matmul = 2 }        # of the checks' methods that the limits were mapped to
    peak_margin = 0.25                # share by which boards go beyond them; absent: 0

    [[peaks]]                         # what the part cannot exceed
    keys = "matmul.rate_flops[bf16]"  # or a list; "*" stands for any text
    value = 989
    unit = "TFLOP/s"
    note = "…"

    [[limits]]
    keys = …
    value = 794.5                     # centre; with it a band …
    band = 0.10                       # … share beyond it that fails,
    lower = 48                        # or the failing limit itself (upper: where lower is better)
    unit = "TFLOP/s"
    subjects = 1                      # boards it is of; absent: nobody says
    gpus = 8                          # per node; absent: any number
    center = false                    # measured in another way: a limit, but no centre
    source = "…"
    why = "…"                         # how the limit follows

    [[unused]]                        # published too: figure, source, why it is not used
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from hpcaccept.config.toml import parse_toml
from hpcaccept.errors import UsageError, nearest
from hpcaccept.units import to_si

_HEAD = {
    "model", "date", "confidence", "name_source", "notes", "power_limit_w", "memory_gib", "peak_source", "peak_margin", "revisions",
    "peaks", "limits", "unused",
}  # fmt: skip
_PEAK = {"keys", "value", "unit", "note"}
_LIMIT = {"keys", "value", "band", "lower", "upper", "unit", "subjects", "gpus", "center", "source", "why"}
_UNUSED = {"figure", "source", "why"}


@dataclass(frozen=True)
class StatedPeak:
    """One nominal rate.

    Attributes:
        keys: metric keys it bounds.
        value: in ``unit``.
        unit: SI unit.
        source: who says so.
    """

    keys: tuple[str, ...]
    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class StatedLimit:
    """One published figure or limit.

    Attributes:
        keys: metric keys it judges.
        center: what a healthy board reaches, in ``unit``; None where it was measured in another way than ours, or not at all.
        lower: failing limit, or None.
        upper: failing limit, or None.
        unit: SI unit.
        subjects: boards it is of; 0: nobody says.
        gpus: GPUs per node; 0: any.
        source: who published it, and how the limit follows.
    """

    keys: tuple[str, ...]
    center: float | None
    lower: float | None
    upper: float | None
    unit: str
    subjects: int
    gpus: int
    source: str


@dataclass(frozen=True)
class Source:
    """A file of ``baselines/sources``.

    Attributes:
        model: name the driver gives it.
        date: on which its sources were read, ISO 8601.
        facts: of the boards that the figures are of (power limit, memory), as ``identity`` names them.
        peak_margin: share by which boards go beyond the nominal rates.
        revisions: check → revision of its method that the limits were mapped to.
        peaks: what the part cannot exceed.
        limits: what it is judged by.
    """

    model: str
    date: str
    facts: dict[str, str]
    peak_margin: float
    revisions: dict[str, int]
    peaks: tuple[StatedPeak, ...]
    limits: tuple[StatedLimit, ...]


def parse_source(text: str, place: str) -> Source:
    """A source file.

    Args:
        text: TOML.
        place: name of the file, for messages.

    Raises:
        UsageError: not TOML, an unknown or missing key, a unit that is none, a limit that does not follow from its figure.
    """
    table = parse_toml(text, place)
    _only(table, _HEAD, place)
    for name in ("model", "date", "confidence", "name_source"):
        if name not in table:
            raise UsageError(
                f"{place}: {name} is missing.", "Every source says what, when, and how far it can be trusted."
            )
    if not isinstance(table["date"], dt.date):
        raise UsageError(f"{place}: date is {table['date']!r}, expected a TOML date such as 2026-11-22.")
    if table.get("peaks") and "peak_source" not in table:
        raise UsageError(f"{place}: peak_source is missing.", "A number without a source is not kept.")
    for row in table.get("unused", []):
        _only(row, _UNUSED, f"{place}, unused")
        if row.keys() != _UNUSED:
            raise UsageError(f"{place}, unused {row.get('figure')!r}: expected {', '.join(sorted(_UNUSED))}.")
    facts = {"gpu_power_limit_w": table.get("power_limit_w"), "gpu_memory_gib": table.get("memory_gib")}
    return Source(
        model=str(table["model"]),
        date=table["date"].isoformat(),
        facts={name: f"{value:g}" for name, value in facts.items() if value is not None},
        peak_margin=float(table.get("peak_margin", 0.0)),
        revisions=dict(table.get("revisions", {})),
        peaks=tuple(_peak(row, table["peak_source"], place) for row in table.get("peaks", [])),
        limits=tuple(_limit(row, place) for row in table.get("limits", [])),
    )


def _peak(row: dict[str, Any], source: str, place: str) -> StatedPeak:
    keys = _keys(row, place)
    at = f"{place}, peak of {keys[0]}"
    _only(row, _PEAK, at)
    value, unit = _si(row, "value", at)
    if value is None:
        raise UsageError(f"{at}: value is missing.")
    return StatedPeak(keys, value, unit, f"{row['note']}: {source}" if row.get("note") else source)


def _limit(row: dict[str, Any], place: str) -> StatedLimit:
    keys = _keys(row, place)
    at = f"{place}, limit of {keys[0]}"
    _only(row, _LIMIT, at)
    for name in ("unit", "source", "why"):
        if not row.get(name):
            raise UsageError(f"{at}: {name} is missing.", "A number without unit, source and reason is not kept.")
    value, unit = _si(row, "value", at)
    lower, upper = _si(row, "lower", at)[0], _si(row, "upper", at)[0]
    band = row.get("band")
    if (band is None) == (lower is None and upper is None) or (band is not None and value is None):
        raise UsageError(f"{at}: expected value and band, or lower or upper.")
    why = str(row["why"])
    if band is not None and value is not None:
        if not 0 < band < 1:
            raise UsageError(f"{at}: band is {band}, expected a share between 0 and 1.")
        lower = value * (1 - band)
        why = f"{band * 100:.3g} % below {row['value']} {row['unit']}: {why}"
    if value is not None and lower is not None and lower < value / 2:
        raise UsageError(
            f"{at}: its limit is less than half of its value.", "Nothing but a wreck would miss it: see the units."
        )
    center = value if row.get("center", True) else None
    return StatedLimit(
        keys, center, lower, upper, unit, row.get("subjects", 0), row.get("gpus", 0), f"{row['source']}; {why}"
    )


def _keys(row: dict[str, Any], place: str) -> tuple[str, ...]:
    keys = row.get("keys")
    if isinstance(keys, str):
        keys = [keys]
    if not keys or not all(isinstance(key, str) for key in keys):
        raise UsageError(f"{place}: keys is {keys!r}, expected a metric key or a list of them.")
    return tuple(keys)


def _si(row: dict[str, Any], name: str, at: str) -> tuple[float | None, str]:
    try:
        value, unit = to_si(float(row.get(name, 0.0)), str(row.get("unit", "")))
    except (ValueError, TypeError) as fault:
        raise UsageError(f"{at}: {fault}.") from None
    return (value if name in row else None), unit


def _only(table: dict[str, Any], known: set[str], place: str) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{place}: there is no key {key!r}.", nearest(key, known))
