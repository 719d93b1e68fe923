"""hpcaccept.judge.statistics.rate_shares: each question sets its cut for its share, and says nothing else of it."""

from __future__ import annotations

import re
from pathlib import Path

import hpcaccept
from hpcaccept.judge.statistics import rate_shares

PACKAGE = Path(hpcaccept.__file__).parent
PAGE = PACKAGE.parent / "docs/explanation/detection.md"
SHARES = {name: value for name, value in vars(rate_shares).items() if name.isupper()}


def test_the_page_and_the_module_say_the_sum_that_the_shares_have() -> None:
    total = f"{sum(SHARES.values()):g}"
    assert total == "1.75"
    assert f"add up to {total}" in " ".join(str(rate_shares.__doc__).split())
    assert f"sum to {total}" in " ".join(PAGE.read_text("utf-8").split())


def test_the_page_says_each_share_once() -> None:
    said = " ".join(PAGE.read_text("utf-8").split())
    assert (
        said.count(
            "a quarter of it for the own past, an eighth each for declines and offenders, and a quarter for learned baselines"
        )
        == 1
    )
    assert (SHARES["PEERS"], SHARES["OWN_PAST"], SHARES["LEARNED_BASELINE"]) == (1, 1 / 4, 1 / 4)
    assert (SHARES["SLOW_DECLINE"], SHARES["OFFENDERS"]) == (1 / 8, 1 / 8)


def test_no_rule_takes_a_share_of_the_rate_from_anywhere_else() -> None:
    """What multiplies the stated rate is one of the table."""
    found = {
        factor
        for file in (PACKAGE / "judge").rglob("*.py")
        for factor in re.findall(r"(?:false_alarm_rate|\brate) \* ([\w.]+)", file.read_text("utf-8"))
    }
    assert found == set(SHARES)
