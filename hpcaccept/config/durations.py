"""A time as it is typed after an option: ``90s``, ``20m``, ``2h``."""

from __future__ import annotations

import math
import re

from hpcaccept.errors import UsageError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|)")
_FACTORS = {"s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
#: 30 days.
_LONGEST_S = 30 * 24 * 3600.0


def seconds_in(text: str, option: str) -> float:
    """``90s``, ``20m``, ``2h`` or seconds.

    Raises:
        UsageError: it is none of these.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _FACTORS[match[2]] if match else math.nan
    if not 1 <= seconds <= _LONGEST_S:
        raise UsageError(
            f"{option} is {text[:40]!r}, expected a time of at least a second.", "For example 20m, 90s or 1h."
        )
    return seconds
