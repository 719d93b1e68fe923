from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import CATALOGUE, evidence, nodes, plan, record, suite

from hpcaccept.judge.statistics.aggregate import Values, values_of
from hpcaccept.model.metric import Metric, Statistic

if TYPE_CHECKING:
    from hpcaccept.model.record import Record

finite = st.floats(-1e12, 1e12)


def columns(records: list[Record], catalogue: dict[str, dict[str, Metric]] | None = None) -> dict[str, Values]:
    catalogue = catalogue or CATALOGUE
    table = evidence(records, plan(suite("speed")), catalogue=catalogue).samples
    return {column.key: column for column in values_of(table, catalogue)}


def one(statistic: Statistic, direction: str, blocks: list[float]) -> float:
    # A distance in kelvins may be on either side of zero; of other units what is negative is no sample.
    metric = Metric("m", "K", direction, "", statistic=statistic)  # type: ignore[arg-type]
    catalogue = {"c": {"m": metric}}
    found = columns([record("c", "node0", {"m": blocks})], catalogue)
    return float(found["c.m"].value[0])


@pytest.mark.parametrize(
    ("statistic", "direction", "number"),
    [
        ("median", "higher", 3.0),
        ("median", "lower", 3.0),
        ("worst", "higher", 1.0),
        ("worst", "lower", 9.0),
    ],
)
def test_the_repeats_of_a_subject_become_one_number_by_the_statistic_of_the_metric(
    statistic: Statistic, direction: str, number: float
) -> None:
    assert one(statistic, direction, [9.0, 1.0, 3.0]) == number


@given(st.lists(finite, min_size=1, max_size=6))
def test_the_median_is_the_median(blocks: list[float]) -> None:
    assert one("median", "higher", blocks) == pytest.approx(float(np.median(blocks)))


@given(st.lists(finite, min_size=1, max_size=6), st.sampled_from(["higher", "lower"]))
def test_best_is_never_worse_than_worst(blocks: list[float], direction: str) -> None:
    best, worst = one("best", direction, blocks), one("worst", direction, blocks)
    slack = 1e-9 * max(map(abs, blocks))  # the middle of two numbers is rounded
    assert best >= worst - slack if direction == "higher" else best <= worst + slack
    assert worst in blocks


@pytest.mark.parametrize(("direction", "number"), [("higher", 8.0), ("lower", 2.0)])
def test_of_several_launches_the_best_counts_for_what_a_device_can_do(direction: str, number: float) -> None:
    metric = Metric("m", "s", direction, "")  # type: ignore[arg-type]
    launches = [record("c", "node0", {"m": [2.0]}), record("c", "node0", {"m": [8.0]}, step="01")]
    found = columns(launches, {"c": {"m": metric}})
    assert found["c.m"].value.tolist() == [number]


def test_of_several_launches_the_worst_counts_for_a_fault() -> None:
    launches = [
        record("speed", "node0", {"rate_flops": 1.0, "wrong_elements": 3}),
        record("speed", "node0", {"rate_flops": 1.0, "wrong_elements": 0}, step="01"),
    ]
    assert columns(launches)["speed.wrong_elements"].value.tolist() == [3.0]


def test_each_subject_has_its_own_number_whatever_the_order_of_the_rows() -> None:
    records = [record("speed", node, {"rate_flops[fp32]": [10.0 + i, 20.0 + i]}) for i, node in enumerate(nodes(5))]
    forth, back = columns(records), columns(records[::-1])
    expected = {f"node{i}": 15.0 + i for i in range(5)}
    for found in (forth, back):
        column = found["speed.rate_flops[fp32]"]
        spread = dict(zip([u.node for u in column.subjects], column.spread.tolist(), strict=True))
        assert spread == pytest.approx({node: 10.0 / middle for node, middle in expected.items()})
        assert len(column.value) == 5


def test_variants_are_kept_apart() -> None:
    found = columns([record("speed", "node0", {"rate_flops[fp32]": 1.0, "rate_flops[fp64]": 2.0})])
    assert {key: column.value.tolist() for key, column in found.items()} == {
        "speed.rate_flops[fp32]": [1.0],
        "speed.rate_flops[fp64]": [2.0],
    }
    assert (found["speed.rate_flops[fp32]"].check, found["speed.rate_flops[fp32]"].variant) == ("speed", "fp32")


def test_the_spread_of_numbers_around_zero_is_not_infinite() -> None:
    found = columns([record("speed", "node0", {"rate_flops": [0.0, 0.0, 5.0]})])
    assert np.isfinite(found["speed.rate_flops"].spread).all()


def test_no_samples_are_no_values() -> None:
    assert columns([]) == {}


def test_a_number_that_is_as_large_as_numbers_get_does_no_harm() -> None:
    # loss_error says 1.8e308 when a loss is not a number.
    largest = float(np.finfo(np.float64).max)
    column = columns([record("speed", "node0", {"rate_flops": [largest, largest]})])["speed.rate_flops"]
    assert column.value[0] == largest or np.isinf(column.value[0])


# --- launches on one level --------------------------------------------------------------------------------------------


def launches(rates: dict[str, list[float | None]]) -> list[Record]:
    """Node → its rate in each launch; None where it was not measured."""
    return [
        record("speed", node, {"rate_flops": rate}, step=f"{number:02d}", device="cpu")
        for node, mine in rates.items()
        for number, rate in enumerate(mine)
        if rate is not None
    ]


def levels(rates: dict[str, list[float | None]]) -> list[float]:
    return [float(x) for x in columns(launches(rates))["speed.rate_flops"].level]


def test_a_single_launch_stays_as_it_is() -> None:
    found = columns([record("speed", node, {"rate_flops": [90.0, 100.0, 110.0]}) for node in nodes(4)])
    assert found["speed.rate_flops"].level is found["speed.rate_flops"].value


def test_what_slowed_a_launch_for_everybody_slows_nobody() -> None:
    # node0 was disturbed in the good launch, and node3 has only the slow one.
    found = levels({"node0": [80.0, 50.0], "node1": [100.0, 50.0], "node2": [100.0, 50.0], "node3": [None, 50.0]})
    assert max(found) / min(found) < 1.01


def test_who_is_slow_in_each_launch_stays_slow() -> None:
    found = levels({"node0": [95.0, 57.0, 76.0], **{f"node{i}": [100.0, 60.0, 80.0] for i in range(1, 5)}})
    assert found[0] / found[1] == pytest.approx(0.95, rel=1e-6)


def test_an_uneven_load_in_other_launches_blames_nobody_by_the_best_one() -> None:
    # Copies of four virtual nodes in three launches of a busy machine: raw, node0's best is 8 beside 20, 18 and 15.
    found = levels({"node0": [8, 4, 7], "node1": [20, 4, 4], "node2": [18, 4, 3], "node3": [15, 6, 5]})
    assert found[0] >= 0.9 * sorted(found)[1]


@given(st.lists(st.lists(st.floats(0.0, 1e300), min_size=2, max_size=3), min_size=1, max_size=5))
def test_every_level_is_a_number(rates: list[list[float]]) -> None:
    found = levels({f"node{i}": list(mine) for i, mine in enumerate(rates)})
    assert np.isfinite(found).all()


# --- launches on one level --------------------------------------------------------------------------------------------


def launched(first: list[float], again: dict[int, float]) -> Values:
    """The rate of some nodes in a launch, and of a few in another."""
    records = [record("speed", f"node{n}", {"rate_flops": rate}, step="00") for n, rate in enumerate(first)]
    records += [record("speed", f"node{n}", {"rate_flops": rate}, step="01") for n, rate in again.items()]
    return columns(records)["speed.rate_flops"]


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ([0.7, 0.7, 1.0, 1.0], dict.fromkeys(range(4), 1.0)),
        ([0.7] * 3 + [1.0] * 3, dict.fromkeys(range(6), 1.0)),
        ([0.7] * 1 + [1.0] * 7, {0: 1.0}),
        ([0.7] * 1 + [1.0] * 7, {0: 1.0, 1: 1.0, 2: 1.0}),
    ],
)
def test_who_was_disturbed_in_one_launch_only_is_level_with_the_others(
    first: list[float], again: dict[int, float]
) -> None:
    found = launched(first, again)
    assert found.level == pytest.approx(np.ones(len(first)))


def test_what_a_launch_was_for_everybody_is_taken_out() -> None:
    found = launched([1.0] * 6 + [0.5], {0: 0.8, 1: 0.8, 6: 0.4})
    assert found.level[6] / found.level[2] == pytest.approx(0.5, rel=0.01)
    assert found.level[0] / found.level[2] == pytest.approx(1.0, rel=0.01)


def test_a_metric_that_nobody_has_measured_has_no_column() -> None:
    table = evidence([record("speed", "node0", {"rate_flops": 1.0})], plan(suite("speed"))).samples
    table = replace(table, keys=("speed.latency_s", *table.keys, "speed.cores"), key=table.key + 1)
    assert [column.key for column in values_of(table, CATALOGUE)] == ["speed.rate_flops"]
