"""Numbers for monitoring: one text that both Prometheus' text format 0.0.4 and OpenMetrics 1.0 read.

The textfile collector of node_exporter reads the first (https://prometheus.io/docs/instrumenting/exposition_formats/), and takes what only the second has
(``# UNIT``, ``# EOF``: https://prometheus.io/docs/specs/om/open_metrics_spec/) for comments. So every family is a gauge: a type that only OpenMetrics knows (``info``,
``stateset``) would have the collector refuse the file. Names end in their unit, which is a base unit and in the plural. Samples carry no time, which the collector
refuses; a ``_timestamp_seconds`` beside them says how old they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from collections.abc import Mapping

    Sample = tuple[Mapping[str, str], float]

PREFIX = "hpcaccept_"
#: SI unit → its word in a name.
_WORDS = {
    "s": "seconds",
    "B": "bytes",
    "B/s": "bytes_per_second",
    "FLOP": "flop",
    "FLOP/s": "flop_per_second",
    "Hz": "hertz",
    "W": "watts",
    "J": "joules",
    "K": "kelvin",
    "°C": "celsius",
    "share": "ratio",
    "1/s": "per_second",
}


@dataclass(frozen=True)
class Family:
    """All samples of one name.

    Attributes:
        name: without ``PREFIX``; ends in the unit, where there is one.
        help: one sentence.
        samples: labels → value; a family without any is left out.
        unit: by which the name ends (``seconds``); empty: a count, a flag or a code.
    """

    name: str
    help: str
    samples: Iterable[Sample]
    unit: str = ""


def exposition(families: Iterable[Family]) -> str:
    """The whole text, ``# EOF`` at its end.

    Raises:
        ValueError: a name does not end in its unit.
    """
    return "".join(map(_family, families)) + "# EOF\n"


def unit_word(unit: str) -> str:
    """An SI unit, or what is counted (``operations/s``), as names have it (``operations_per_second``)."""
    plain = unit.replace("/s", "_per_second")
    return _WORDS.get(unit) or "".join(c if c.isascii() and c.isalnum() else "_" for c in plain).lower()


def _family(family: Family) -> str:
    name = PREFIX + family.name
    if family.unit and not name.endswith(f"_{family.unit}"):
        raise ValueError(f"{name} does not end in its unit {family.unit}")
    lines = [f"{name}{_labels(labels)} {float(value)!r}\n" for labels, value in family.samples]
    unit = f"# UNIT {name} {family.unit}\n" if family.unit else ""
    return f"# HELP {name} {family.help}\n# TYPE {name} gauge\n{unit}{''.join(lines)}" if lines else ""


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(text: str) -> str:
    """``safe`` leaves no line feed; backslash and quote are what remains to be escaped."""
    return safe(text).replace("\\", "\\\\").replace('"', '\\"')
