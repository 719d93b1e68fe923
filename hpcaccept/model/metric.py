"""A metric, and the limits that a value can meet or miss."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from hpcaccept.model.finding_code import FindingCode
from hpcaccept.units import show

Direction = Literal["higher", "lower", "exact"]
#: Whom a number speaks of: one GPU (or the CPU of one rank), one node, or all ranks together.
Scope = Literal["device", "node", "world"]
#: How the repeats of one subject become one number. Capability (``best``) is the best launch by the median of its blocks: a
#: launch can be slow for its whole life, a block can be fast by chance (under a CPU quota). Of counted faults the worst counts.
Statistic = Literal["best", "median", "worst"]
#: ``timed``: two measurements of one thing differ. ``counted``: they do not (cores, bytes of memory), so that no floor for noise
#: is added and a second measurement tells nothing. ``ratio``: of two timed numbers, against a limit: like these it suffers from company.
Noise = Literal["timed", "counted", "ratio"]
Cells = Literal["", "pair", "partner"]
#: What a rate is a rate of: what a comparison could see is told for each of these.
Kind = Literal["products", "memory", "links", "storage", "training", "latencies", "counts", "others"]
Origin = Literal["built-in", "floor", "request", "suite", "site", "baseline", "peers", "history"]

#: Number formats within a variant, which people write in capitals.
_FORMATS = re.compile(r"\b(?:fp|bf|tf|int)\d+")


@dataclass(frozen=True)
class Limit:
    """A closed interval that a value must lie in, with its unit and where it comes from.

    Attributes:
        lower: smallest allowed value in ``unit``, None when there is none.
        upper: largest allowed value in ``unit``, None when there is none.
        unit: the SI unit of both; a limit in another unit than its metric is refused when it is loaded.
        origin: which of the three questions (or which rule) this limit answers.
        source: a sentence that says how the limit came to be.
    """

    lower: float | None
    upper: float | None
    unit: str
    origin: Origin
    source: str = ""

    def __post_init__(self) -> None:
        if self.lower is None and self.upper is None:
            raise ValueError("a limit needs a lower or an upper bound")
        if not all(bound is None or math.isfinite(bound) for bound in (self.lower, self.upper)):
            raise ValueError(f"bounds {self.lower} and {self.upper} must be finite: nothing could miss or meet them")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"lower bound {self.lower} is above the upper bound {self.upper}")

    def met_by(self, value: float) -> bool:
        """True when the value lies inside; NaN lies nowhere."""
        above = self.lower is None or value >= self.lower
        below = self.upper is None or value <= self.upper
        return above and below and value == value


def describe(limit: Limit) -> str:
    """``at most 0 elements``, ``exactly 8 GPUs``, ``between … and …``."""
    lower, upper = limit.lower, limit.upper
    if lower is not None and upper is not None:
        if lower == upper:
            return f"exactly {show(lower, limit.unit)}"
        return f"between {show(lower, limit.unit)} and {show(upper, limit.unit)}"
    return f"at least {show(lower, limit.unit)}" if lower is not None else f"at most {show(upper or 0.0, limit.unit)}"


@dataclass(frozen=True)
class OtherPeak:
    """A rate that data sheets do not state is bounded by one that they do: images per second by the operations that an image takes.

    Attributes:
        variants: of the metric that it holds for; ``*`` stands for any text.
        key: metric key of the rate whose peak is published.
        share: smallest share of that peak that a healthy part may reach.
        param: parameter of the check that replaces the variant of ``key`` where the suite sets it; empty: none.
        operations: of one unit of the rate, in the unit of the peak: 1 for FLOP/s.
        unless: parameters of the check that change the work: where the suite sets one of them, nothing is known.
    """

    variants: str
    key: str
    share: float
    param: str = ""
    operations: float = 1.0
    unless: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """One quantity of a check.

    Attributes:
        name: short name, unique within its check (``rate_flops``).
        unit: SI unit without prefix (``FLOP/s``, ``B/s``, ``s``), ``share`` (0..1) or a counted noun.
        direction: which side is good. ``exact`` has no better side: only a built-in limit judges it.
        help: what it means, one sentence for an administrator.
        formula: how it is computed, for docs/reference/metrics.md.
        source: where formula or limit come from.
        scope: whom it speaks of.
        statistic: how repeats become one number.
        limit: a limit that needs no baseline (a wrong element is always a fault).
        peer_floor: smallest relative loss against the peers that may count as slow on a GPU; None: never judged
            against peers.
        history_floor: the same against the subject's own past runs; None: a quarter of ``peer_floor`` (``past_floor``).
        required: a measured record of the check without this metric is an ERROR.
        headline: shown on the first page of a report; the others are in report.json and run.h5.
        cells: what a variant names where each is a cell of a matrix: ``pair`` two ends (``metric_key.Pair``), ``partner`` the
            node at the other end; empty: variants are kinds of measurement.
        noise: whether two measurements of one thing differ.
        kind: what it is a rate of; None: as its unit says (``sort``).
        code: by which a value outside of its limit is called; None: ``limit-missed``.
        title: what people read instead of its key; ``{}`` stands for the variant (``{} matrix multiply``). Empty: made of the name.
        other_peaks: peaks of other rates that this one follows from; the first whose variants fit stands under it (``judge.questions.floor``).
    """

    name: str
    unit: str
    direction: Direction
    help: str
    formula: str = ""
    source: str = ""
    scope: Scope = "device"
    statistic: Statistic = "best"
    limit: Limit | None = None
    peer_floor: float | None = None
    history_floor: float | None = None
    required: bool = True
    headline: bool = True
    cells: Cells = ""
    noise: Noise = "timed"
    kind: Kind | None = None
    code: FindingCode | None = None
    title: str = ""
    other_peaks: tuple[OtherPeak, ...] = ()

    def named(self, variant: str = "") -> str:
        """In words: ``BF16 matrix multiply``, ``memory bandwidth (copy)``."""
        title = self.title or self.name.replace("_", " ")
        words = _FORMATS.sub(lambda found: found[0].upper(), variant)
        if "{}" not in title:
            return f"{title} ({words})" if words else title
        return " ".join(title.replace("{}", words).replace("()", "").split())

    @property
    def is_rate(self) -> bool:
        """True for a performance number: judged against peers and baseline rather than by a built-in limit."""
        return self.limit is None and self.direction != "exact"

    @property
    def least(self) -> float:
        """The smallest value that can be: nothing that is counted, or lasts, is less than none of it. A distance may be on either side."""
        return -math.inf if self.unit in ("K", "°C") else 0.0

    @property
    def is_speed(self) -> bool:
        """True for what falls short when somebody else uses the processors: rates and ratios of them, never counts or results."""
        return self.noise == "ratio" or (self.is_rate and self.noise == "timed")

    @property
    def sort(self) -> Kind:
        """What it is a rate of: declared, else what its unit says. Bytes per second that say no more are those of a link."""
        if self.kind is not None:
            return self.kind
        if self.noise == "counted":
            return "counts"
        by_unit: dict[str, Kind] = {"FLOP/s": "products", "B/s": "links", "s": "latencies"}
        return by_unit.get(self.unit, "others")

    @property
    def past_floor(self) -> float | None:
        """Smallest relative loss against the subject's own past runs that may count as slow; None: never judged so.

        A subject repeats itself far better than it agrees with its like: 0.05 to 0.5 % against 0.5 to 5 % (published MLPerf
        logs and fleet studies), so that a quarter of the peers' floor is still several widths.
        """
        if self.history_floor is not None or self.peer_floor is None:
            return self.history_floor
        return self.peer_floor / 4


def at_most(value: float, unit: str, source: str) -> Limit:
    """A built-in upper limit."""
    return Limit(None, value, unit, "built-in", source)


def at_least(value: float, unit: str, source: str) -> Limit:
    """A built-in lower limit."""
    return Limit(value, None, unit, "built-in", source)
