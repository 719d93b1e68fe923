"""Prints SI numbers, and turns what people type into SI.

Inside hpcaccept every number is in plain SI units (seconds, bytes, FLOP/s); a prefix exists only on paper.
"""

from __future__ import annotations

import math
import re

#: What people write → SI unit and factor. A bit is an eighth of a byte; GB and GiB are never the same.
_WRITTEN = {"B/s": ("B/s", 1.0), "Bps": ("B/s", 1.0), "b/s": ("B/s", 1 / 8), "bit/s": ("B/s", 1 / 8), "bps": ("B/s", 1 / 8),
            "B": ("B", 1.0), "FLOP/s": ("FLOP/s", 1.0), "FLOPS": ("FLOP/s", 1.0), "OP/s": ("FLOP/s", 1.0),
            "Hz": ("Hz", 1.0), "W": ("W", 1.0)}  # fmt: skip
_SCALES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
           "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}  # fmt: skip
_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
#: Kept as they are.
_BARE = {"share", "1/s", "operations/s", "cores"}
_PREFIXES = (
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
)
#: Units that carry an SI prefix when printed. Counts and shares do not.
_PREFIXED = {"FLOP/s", "B/s", "B", "s", "Hz", "W"}
#: Slurm's formats of --time. https://slurm.schedmd.com/sbatch.html#OPT_time
_SLURM_TIME = re.compile(r"^(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})$")


def show(value: float, unit: str) -> str:
    """``show(8.1e10, "FLOP/s") == "81 GFLOP/s"``; a share (unit ``"share"``) is printed in percent."""
    if math.isnan(value):
        return "not a number"
    if unit == "share":
        return f"{value * 100:.3g} %"
    if unit == "1/s":
        return f"{_readable(value)}/s"
    if unit not in _PREFIXED:
        return f"{value:.6g} {_one(unit) if value == 1 else unit}".rstrip()
    if value == 0:
        return f"0 {unit}"
    for scale, prefix in _PREFIXES:
        if abs(value) >= scale * 0.9995:
            return (
                f"{value / scale:.3g} {prefix}{unit}"
                if abs(value / scale) < 999.5
                else f"{value / scale:.0f} {prefix}{unit}"
            )
    return f"{value:.3g} {unit}"


def _readable(value: float) -> str:
    """``1,115``, ``43.2``: four digits, or every digit before the point."""
    return f"{value:,.0f}" if abs(value) >= 999.95 else f"{value:.4g}"


def _one(noun: str) -> str:
    """``element`` of ``elements``, ``process`` of ``processes``: what there is one of."""
    if noun.endswith("sses"):
        return noun.removesuffix("es")
    return noun.removesuffix("s") if noun.endswith("s") and not noun.endswith("ss") and len(noun) > 2 else noun


def to_si(value: float, unit: str) -> tuple[float, str]:
    """``(4.8e10, "B/s")`` of ``48 GB/s``; ``(4.75e10, "B/s")`` of ``380 Gb/s``. Counts and shares stay as they are.

    Raises:
        ValueError: the unit is none that is known: nothing is guessed.
    """
    if unit in _TIMES:
        return value * _TIMES[unit], "s"
    for written, (si, factor) in _WRITTEN.items():
        scale = _SCALES.get(unit[: -len(written)]) if unit.endswith(written) else None
        if scale is not None:
            return value * scale * factor, si
    if unit in _BARE:
        return value, unit
    raise ValueError(
        f"found the unit {unit!r}, expected one like B/s, GB/s, GiB/s, Gb/s, TFLOP/s, ms or a counted noun"
    )


def show_bytes(size_bytes: int) -> str:
    """A power-of-two size as nccl-tests and administrators write it: ``64MiB``, ``4KiB``, ``8B``."""
    for scale, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size_bytes >= scale and size_bytes % scale == 0:
            return f"{size_bytes // scale}{name}"
    return f"{size_bytes}B"


def show_duration(seconds: float) -> str:
    """``"1 h 5 min"``, ``"2 min 3 s"``, ``"4.2 s"``: the two largest parts."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def parse_slurm_time(text: str) -> float:
    """Seconds in a Slurm time: ``"90"`` (minutes), ``"1:30"`` (m:s), ``"1:30:00"``, ``"1-12"`` (d-h), ``"1-0:30:00"``.

    Raises:
        ValueError: the text is none of these.
    """
    match = _SLURM_TIME.match(text.strip())
    if not match:
        raise ValueError(f"found {text!r}, expected minutes, m:ss, h:mm:ss, d-h or d-h:mm:ss")
    parts = [int(p) for p in match["rest"].split(":")]
    if match["days"] is not None:
        hours, minutes, seconds = [*parts, 0, 0][:3]
        return int(match["days"]) * 86400 + hours * 3600 + minutes * 60 + seconds
    if len(parts) == 1:
        return parts[0] * 60
    if len(parts) == 2:
        return parts[0] * 60 + parts[1]
    return parts[0] * 3600 + parts[1] * 60 + parts[2]
