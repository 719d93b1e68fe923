"""Fleets that nobody assumed, as whole runs: wider than their class, with heavy tails, with few digits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.big_runs import big_run, judged_run
from support.builders import where

from hpcaccept.model.event import Event
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.verdict import Outcome

if TYPE_CHECKING:
    from hpcaccept.judge import Judgement

WIDTHS = {"matmul": 0.0075, "memory_bandwidth": 0.005, "transfers": 0.005}


def run(
    nodes: int,
    gpus: int,
    family: str,
    *,
    width: float = 1.0,
    slow: dict[int, float] | None = None,
    seed: int = 1,
    digits: int = 0,
) -> Judgement:
    """A run of 30 rates; units (number → share) slower in the first of them."""
    evidence = big_run(nodes, gpus, 30, cells=False, healthy=True)
    table, dice = evidence.samples, np.random.default_rng(seed)
    value, count = table.value.copy(), nodes * gpus
    for number, key in enumerate(table.keys):
        if "rate" not in key:
            continue
        made = dice.standard_normal(count)
        if family == "t":
            made = dice.standard_t(3, count) / 3**0.5
        elif family == "skew":
            made = -np.exp(0.5 * dice.standard_normal(count)) / 0.604
        mine = 100 * (1 + width * WIDTHS[key.partition(".")[0]] * made)
        if number == 0:
            for unit, share in (slow or {}).items():
                mine[unit] *= share
        value[table.key == number] = np.round(mine, digits) if digits else mine
    object.__setattr__(table, "value", value)
    object.__setattr__(table, "launch", np.zeros(len(value), np.int32))
    object.__setattr__(evidence, "events", (*evidence.events[:1], Event("ended", "2026-11-29T00:00:00Z")))
    return judged_run(evidence).judgement


@pytest.mark.parametrize("width", [2.0, 4.0])
@pytest.mark.parametrize("nodes", [3, 4, 8])
def test_few_units_that_are_wider_than_their_class_are_not_blamed(nodes: int, width: float) -> None:
    blamed = [seed for seed in range(2) if run(nodes, 1, "normal", width=width, seed=seed).exit_code]
    assert not blamed


def test_a_slow_unit_of_three_is_found_and_the_run_is_not_accepted() -> None:
    found = run(3, 1, "normal", slow={1: 0.92})
    assert where(found.verdicts, Outcome.FAIL) == {"gpu00001"}
    assert found.exit_code == 1


@pytest.mark.parametrize("family", ["t", "skew"])
def test_where_the_tail_does_not_fit_a_healthy_unit_is_a_warning_and_the_report_says_why(family: str) -> None:
    found = run(8, 8, family)
    assert not where(found.verdicts, Outcome.FAIL)
    assert where(found.verdicts, Outcome.WARN)
    assert found.exit_code == 3
    assert found.sensitivity["peers"].tail
    assert FindingCode.PEERS_TAIL in {v.code for v in found.verdicts if v.outcome is Outcome.WARN}


@pytest.mark.parametrize("few", [False, True])
def test_a_warning_of_the_tail_says_what_was_found_by_which_limit_and_what_to_do(few: bool) -> None:
    found = run(4, 1, "normal", slow={1: 0.955}) if few else run(8, 8, "t")
    told = [v for v in found.verdicts if v.code is FindingCode.PEERS_TAIL]
    assert told
    for verdict in told:
        assert verdict.outcome is Outcome.WARN
        said, limit = verdict.reason, verdict.limit
        tail = found.sensitivity["peers"].tail
        assert bool(tail) is not few
        assert (
            f"differ by {tail}, and some healthy ones are as slow" if tail else "so few comparisons cannot tell"
        ) in said
        assert "compare it with its own past or a baseline, or swap it with another node" in said
        (normal,) = re.findall(r"beyond the limit for normal noise, ([\d.]+) ", said)
        assert limit is not None
        assert limit.lower is not None
        assert verdict.value is not None
        assert verdict.value < float(normal) * 1.001
        assert limit.lower < float(normal) * 1.001


def test_a_wreck_fails_in_such_a_fleet_too() -> None:
    found = run(8, 8, "skew", slow={9: 0.6})
    assert where(found.verdicts, Outcome.FAIL) == {"gpu00001"}
    assert found.exit_code == 1


def test_normal_noise_is_said_to_fit() -> None:
    assert run(8, 8, "normal").sensitivity["peers"].tail == ""


@pytest.mark.parametrize("nodes", [3, 8])
def test_values_of_three_digits_are_no_equal_units(nodes: int) -> None:
    doubted = [seed for seed in range(3) if run(nodes, 1, "normal", seed=seed, digits=1).exit_code]
    assert not doubted


def test_a_node_of_four_that_is_ten_times_as_fast_is_an_error_by_name() -> None:
    found = run(4, 1, "normal", slow={2: 10.0})
    assert found.exit_code == 3
    assert where(found.verdicts, Outcome.ERROR) == {"gpu00002"}


def test_of_few_healthy_units_nobody_is_undecided() -> None:
    assert sum(run(nodes, 1, "normal", width=1.5, seed=seed).exit_code for nodes in (3, 4) for seed in range(2)) == 0
