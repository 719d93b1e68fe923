"""What is published of a GPU model: one TOML file of ``baselines/sources`` in, numbers in SI with their sources out.

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
    value = 730                       # published; with it a band …
    band = "products"                 # … of ``baselines/spreads.toml``: the share below it that fails,
    lower = 48                        # or somebody's own failing limit (upper: where lower is better)
    unit = "TFLOP/s"
    subjects = 8                      # boards it is of; absent: nobody says
    gpus = 8                          # per node; absent: any number
    center = false                    # another program or shape than ours: a limit, but no centre
    source = "https://…"
    date = 2026-04-08                 # of the source: measured, published, or of the revision that was read
    why = "…"                         # how the limit follows
    method = { tool = "gpu-fryer", timing = "sustained", gpus = "all", … }   # ``Method``

    [[unused]]                        # published too: figure, source, date, why it is not used, method; keys, value and unit
                                      # where it is a sustained figure of a healthy board, which no limit may fail
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from hpcaccept.config.toml import parse_toml
from hpcaccept.errors import UsageError, nearest
from hpcaccept.units import to_si

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD = {
    "model", "date", "confidence", "name_source", "notes", "power_limit_w", "memory_gib", "peak_source", "peak_margin", "revisions",
    "peaks", "limits", "unused",
}  # fmt: skip
_PEAK = {"keys", "value", "unit", "note"}
_LIMIT = {
    "keys",
    "value",
    "band",
    "lower",
    "upper",
    "unit",
    "subjects",
    "gpus",
    "center",
    "source",
    "date",
    "why",
    "method",
}
_UNUSED = {"figure", "source", "date", "why", "method"}
_FIGURE = {"keys", "value", "unit"}
_SPREAD, _HEALTHY = {"share", "why", "published"}, {"figure", "source", "date"}
#: What may be said of two fields of a method; a source that is silent says "not said".
UNSAID = "not said"
_TIMINGS, _GPUS = ("sustained", "burst", UNSAID), ("all", "one", UNSAID)


@dataclass(frozen=True)
class Method:
    """How a published figure was measured. An empty text, or 0: it does not apply, or the source does not say.

    Attributes:
        tool: program, and what of it.
        timing: ``sustained`` (back to back, long enough to reach the power limit or the steady state), ``burst`` or ``not said``.
        gpus: ``all`` of a node at once, ``one`` (or one pair) at a time, or ``not said``.
        operation: ``product``, kernel of a memory test, direction of a copy, collective.
        shape: M x N x K of a product, size of an array or a message.
        dtype: of the elements.
        accumulate: in which the products are added up.
        operands: ``random``, ``trigonometric`` or ``constant``: numbers that are all alike toggle few bits and cost little power.
        power_limit_w: of the boards.
    """

    tool: str
    timing: str
    gpus: str
    operation: str = ""
    shape: str = ""
    dtype: str = ""
    accumulate: str = ""
    operands: str = ""
    power_limit_w: float = 0.0

    def __str__(self) -> str:
        timing = "timing not said" if self.timing == UNSAID else self.timing
        gpus = {"all": "all GPUs at once", "one": "one GPU at a time"}.get(self.gpus, "how many GPUs at once not said")
        kind = f"{self.dtype} accumulated in {self.accumulate}" if self.accumulate else self.dtype
        operands = f"{self.operands} operands" if self.operands else ""
        power = f"{self.power_limit_w:g} W" if self.power_limit_w else ""
        parts = (self.tool, timing, gpus, self.operation, self.shape, kind, operands, power)
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Band:
    """By how much healthy boards lie below a published figure.

    Attributes:
        name: in ``spreads.toml``.
        share: of the figure.
        why: published spreads that it follows from.
    """

    name: str
    share: float
    why: str


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
        value: published, in ``unit``; None where only a limit is.
        center: what a healthy board reaches, in ``unit``; None where it was measured in another way than ours, or not at all.
        lower: failing limit, or None.
        upper: failing limit, or None.
        unit: SI unit.
        subjects: boards it is of; 0: nobody says.
        gpus: GPUs per node; 0: any.
        source: who published it, when, by which method, and how the limit follows.
        method: by which it was measured.
        date: of the source, ISO 8601.
        band: name of the band that it has; empty where somebody has stated the limit.
    """

    keys: tuple[str, ...]
    value: float | None
    center: float | None
    lower: float | None
    upper: float | None
    unit: str
    subjects: int
    gpus: int
    source: str
    method: Method
    date: str
    band: str


@dataclass(frozen=True)
class UnusedFigure:
    """What is published too and judges nothing.

    Attributes:
        figure: in the words of its source.
        source: who published it.
        date: of the source, ISO 8601.
        why: it is not used.
        method: by which it was measured.
        keys: metrics that a healthy board reaches it in; empty where it is another quantity than ours.
        value: of these, in ``unit``; None without keys.
        unit: SI unit.
    """

    figure: str
    source: str
    date: str
    why: str
    method: Method
    keys: tuple[str, ...]
    value: float | None
    unit: str


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
        unused: what is published too.
    """

    model: str
    date: str
    facts: dict[str, str]
    peak_margin: float
    revisions: dict[str, int]
    peaks: tuple[StatedPeak, ...]
    limits: tuple[StatedLimit, ...]
    unused: tuple[UnusedFigure, ...]


def parse_bands(text: str, place: str) -> dict[str, Band]:
    """``baselines/spreads.toml``: the bands that limits may have, each with the published spreads that it follows from.

    Args:
        text: TOML: a table per band with ``share``, ``why`` and ``published`` (figure, source, date).
        place: name of the file, for messages.

    Raises:
        UsageError: not TOML, an unknown or missing key, a share that is none, a band that follows from nothing.
    """
    bands = {}
    for name, row in parse_toml(text, place).items():
        at = f"{place}, band {name!r}"
        _only(row, _SPREAD, at)
        if not row.get("why") or not row.get("published"):
            raise UsageError(f"{at}: why or published is missing.", "A band follows from what healthy fleets show.")
        for spread in row["published"]:
            _only(spread, _HEALTHY, at)
            if spread.keys() != _HEALTHY:
                raise UsageError(f"{at}, published: expected {', '.join(sorted(_HEALTHY))}.")
            _date(spread, at)
        if not 0 < row.get("share", 0) < 1:
            raise UsageError(f"{at}: share is {row.get('share')}, expected a share between 0 and 1.")
        bands[name] = Band(name, row["share"], str(row["why"]))
    return bands


def parse_source(text: str, place: str, bands: Mapping[str, Band]) -> Source:
    """A source file.

    Args:
        text: TOML.
        place: name of the file, for messages.
        bands: by name.

    Raises:
        UsageError: not TOML, an unknown or missing key, a unit that is none, a figure without method or date, a band that is none,
            a limit that does not follow from its figure.
    """
    table = parse_toml(text, place)
    _only(table, _HEAD, place)
    for name in ("model", "date", "confidence", "name_source"):
        if name not in table:
            raise UsageError(
                f"{place}: {name} is missing.", "Every source says what, when, and how far it can be trusted."
            )
    date = _date(table, place)
    if table.get("peaks") and "peak_source" not in table:
        raise UsageError(f"{place}: peak_source is missing.", "A number without a source is not kept.")
    facts = {"gpu_power_limit_w": table.get("power_limit_w"), "gpu_memory_gib": table.get("memory_gib")}
    return Source(
        model=str(table["model"]),
        date=date,
        facts={name: f"{value:g}" for name, value in facts.items() if value is not None},
        peak_margin=float(table.get("peak_margin", 0.0)),
        revisions=dict(table.get("revisions", {})),
        peaks=tuple(_peak(row, table["peak_source"], place) for row in table.get("peaks", [])),
        limits=tuple(_limit(row, place, bands) for row in table.get("limits", [])),
        unused=tuple(_unused(row, place) for row in table.get("unused", [])),
    )


def _peak(row: dict[str, Any], source: str, place: str) -> StatedPeak:
    keys = _keys(row, place)
    at = f"{place}, peak of {keys[0]}"
    _only(row, _PEAK, at)
    value, unit = _si(row, "value", at)
    if value is None:
        raise UsageError(f"{at}: value is missing.")
    return StatedPeak(keys, value, unit, f"{row['note']}: {source}" if row.get("note") else source)


def _limit(row: dict[str, Any], place: str, bands: Mapping[str, Band]) -> StatedLimit:
    keys = _keys(row, place)
    at = f"{place}, limit of {keys[0]}"
    _only(row, _LIMIT, at)
    for name in ("unit", "source", "why"):
        if not row.get(name):
            raise UsageError(f"{at}: {name} is missing.", "A number without unit, source and reason is not kept.")
    value, unit = _si(row, "value", at)
    lower, upper = _si(row, "lower", at)[0], _si(row, "upper", at)[0]
    band = _band(row, at, bands)
    if (band is None) == (lower is None and upper is None) or (band is not None and value is None):
        raise UsageError(f"{at}: expected value and band, or lower or upper.")
    why = str(row["why"])
    if band is not None and value is not None:
        lower = value * (1 - band.share)
        why = f"{band.share * 100:.3g} % below {row['value']} {row['unit']} ({band.name}: {band.why}): {why}"
    if value is not None and lower is not None and lower < value / 2:
        raise UsageError(
            f"{at}: its limit is less than half of its value.", "Nothing but a wreck would miss it: see the units."
        )
    method, date = _method(row, at), _date(row, at)
    return StatedLimit(
        keys=keys,
        value=value,
        center=value if row.get("center", True) else None,
        lower=lower,
        upper=upper,
        unit=unit,
        subjects=row.get("subjects", 0),
        gpus=row.get("gpus", 0),
        source=f"{row['source']} ({date}: {method}); {why}",
        method=method,
        date=date,
        band=band.name if band else "",
    )


def _band(row: dict[str, Any], at: str, bands: Mapping[str, Band]) -> Band | None:
    name = row.get("band")
    if name is None:
        return None
    if not isinstance(name, str) or name not in bands:
        raise UsageError(
            f"{at}: band is {name!r}, expected one of {', '.join(bands)}.",
            "Bands stand in spreads.toml, with the published spreads that they follow from.",
        )
    return bands[name]


def _unused(row: dict[str, Any], place: str) -> UnusedFigure:
    at = f"{place}, unused {row.get('figure')!r}"
    _only(row, _UNUSED | _FIGURE, at)
    there = row.keys() & _FIGURE
    if row.keys() - _FIGURE != _UNUSED or there not in (set(), _FIGURE):
        raise UsageError(
            f"{at}: expected {', '.join(sorted(_UNUSED))}, and keys, value and unit of a figure of a metric of ours."
        )
    value, unit = _si(row, "value", at) if there else (None, "")
    words = (str(row["figure"]), str(row["source"]), _date(row, at), str(row["why"]))
    return UnusedFigure(*words, _method(row, at), _keys(row, place) if there else (), value, unit)


def _method(row: dict[str, Any], at: str) -> Method:
    table = row.get("method")
    if not isinstance(table, dict) or not {"tool", "timing", "gpus"} <= table.keys():
        raise UsageError(
            f"{at}: method is {table!r}, expected at least tool, timing and gpus.",
            "Only a figure of a known method can be held against ours.",
        )
    _only(table, {field.name for field in fields(Method)}, f"{at}, method")
    for name, words in (("timing", _TIMINGS), ("gpus", _GPUS)):
        if table[name] not in words:
            raise UsageError(f"{at}, method: {name} is {table[name]!r}, expected one of {', '.join(words)}.")
    return Method(**table)


def _date(table: dict[str, Any], at: str) -> str:
    date = table.get("date")
    if not isinstance(date, dt.date):
        raise UsageError(f"{at}: date is {date!r}, expected a TOML date such as 2026-11-22.")
    return date.isoformat()


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
