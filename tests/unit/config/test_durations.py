"""A time as it is typed after an option."""

from __future__ import annotations

import pytest

from hpcaccept.config.durations import seconds_in
from hpcaccept.errors import UsageError


@pytest.mark.parametrize(("text", "seconds"), [("20m", 1200), ("90", 90), ("90 s", 90), ("1.5h", 5400)])
def test_a_time_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    assert seconds_in(text, "--budget") == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "0", "1e9", "20 minutes", "9999h"])
def test_what_is_no_time_is_refused_with_the_option(text: str) -> None:
    with pytest.raises(UsageError, match="--budget"):
        seconds_in(text, "--budget")
