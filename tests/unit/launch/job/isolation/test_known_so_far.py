"""What the judge is told of the test itself follows from the order and from the values that groups have shown."""

from __future__ import annotations

import pytest
from support.isolations import ended

from hpcaccept.launch.job.isolation.known_so_far import KnownSoFar, by_round, relative, settings_of
from hpcaccept.launch.job.isolation.patience import Patience
from hpcaccept.model.isolation_order import EndedTest, IsolationOrder, OutputRule

RATES = IsolationOrder(check="allreduce")
LIMITED = IsolationOrder(command=("t", "{nodes}"), rule=OutputRule("x=([0-9]+)", at_least=3))
COMPARED = IsolationOrder(command=("t", "{nodes}"), rule=OutputRule("x=([0-9]+)", lower_is_better=True))


def round_of(values: list[float], *, shared_kernel: bool = False) -> list[EndedTest]:
    return [
        ended(f"r1g{n}", f"node{2 * n} node{2 * n + 1}", value=value, shared_kernel=shared_kernel)
        for n, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("order", "values"),
    [(RATES, True), (IsolationOrder(check="allreduce", metric=""), False), (LIMITED, False), (COMPARED, True)],
)
def test_values_are_compared_where_no_limit_decides(order: IsolationOrder, values: bool) -> None:
    assert settings_of(order, (), 18).values == values


def test_of_two_groups_the_better_one_is_healthy() -> None:
    assert relative(round_of([100, 55]), higher_is_better=True) == {"r1g0": 1.0, "r1g1": 0.55}
    assert relative(round_of([1.0, 2.0]), higher_is_better=False) == {"r1g0": 1.0, "r1g1": 0.5}


def test_of_many_groups_of_a_round_the_middle_is_healthy_and_other_rounds_do_not_matter() -> None:
    loaded = [ended(f"r2g{n}", f"a{n} b{n}", value=50.0 + n) for n in range(5)]
    speeds = relative([*round_of([100, 101, 99, 102, 40]), *loaded], higher_is_better=True)
    assert speeds["r1g4"] == 0.4
    assert speeds["r2g2"] == 1.0


def test_a_group_without_another_of_its_size_tells_nothing() -> None:
    assert relative([ended("r1g1", "a b c", value=5.0), ended("r1g2", "a b", value=5.0)], higher_is_better=True) == {}


def test_the_noise_is_how_far_groups_of_a_round_lie_apart() -> None:
    few = settings_of(RATES, round_of([100, 101, 99]), 18)
    assert few.noise == 0.1  # too few to know
    apart = settings_of(RATES, round_of([100, 94, 106, 97, 103, 100, 105, 95, 10]), 18)
    assert 0.06 < apart.noise < 0.09  # and the slow one has no part in it
    assert apart.smallest_loss == pytest.approx(3 * apart.noise, abs=0.01)


def test_of_few_groups_a_round_the_better_half_of_all_rounds_says_how_noisy_healthy_ones_are() -> None:
    values = [100.0, 50, 104, 49, 96, 51, 102, 52]
    tests = [ended(f"r{1 + n // 2}g{n % 2}", "a b", value=value) for n, value in enumerate(values)]
    assert 0.03 < settings_of(RATES, tests, 4).noise < 0.08


def test_parts_of_one_machine_take_turns_on_it() -> None:
    shared = settings_of(RATES, round_of([100, 80], shared_kernel=True), 18)
    assert (shared.noise, shared.smallest_loss) == (0.1, 0.33)


def test_the_until_of_the_order_is_the_one_of_the_judge() -> None:
    assert settings_of(IsolationOrder(check="allreduce", until=0.8), (), 18).until == 0.8


def test_tests_are_taken_round_by_round() -> None:
    tests = [ended("s00", "a b"), ended("r1g1", "a b"), ended("r1g2", "c d"), ended("r2g1", "a c")]
    assert [(number, len(of_round)) for number, of_round in by_round(tests)] == [(0, 1), (1, 2), (2, 1)]


def test_whoever_is_given_all_tests_believes_the_same_as_whoever_got_them_one_round_after_the_other() -> None:
    from hpcaccept.judge.isolation import conclude

    nodes = tuple(f"node{n}" for n in range(8))
    first = [ended("r1g0", "node0 node1"), ended("r1g1", "node2 node3", "failed"), ended("r1g2", "node4 node5")]
    second = [ended("r2g0", "node0 node2", "failed"), ended("r2g1", "node1 node3")]
    together, bit_by_bit = KnownSoFar(nodes, IsolationOrder(check="allreduce", metric="")), []
    for of_round in (first, second):
        together.add(of_round)
    again = KnownSoFar(nodes, IsolationOrder(check="allreduce", metric=""))
    for _, of_round in by_round([*first, *second]):
        again.add(of_round)
        bit_by_bit.append(conclude(again.belief).posterior)
    assert conclude(together.belief).posterior == bit_by_bit[-1]
    assert max(bit_by_bit[-1], key=lambda node: bit_by_bit[-1][node]) == "node2"


def test_a_test_with_a_node_that_is_not_there_any_more_is_left_out() -> None:
    known = KnownSoFar(("node0", "node1"), IsolationOrder(check="allreduce", metric=""))
    known.add([ended("s00", "node0 node1 node9", "failed")])


def test_a_group_is_late_when_it_takes_much_longer_than_those_that_passed() -> None:
    patience = Patience(600)
    assert patience.limit_s(2) == 600
    for wall_s in (10.0, 11.0, 30.0):
        patience.learn(wall_s)
    assert patience.limit_s(2) == pytest.approx(33.1)
    assert patience.limit_s(1000) == pytest.approx(83.0)
    patience = Patience(20)
    patience.learn(18)
    assert patience.limit_s(2) == 20


def test_nobody_isolates_a_small_fleet_without_a_reason() -> None:
    assert settings_of(RATES, (), 4).bad_share == 0.125
    assert settings_of(RATES, (), 1024).bad_share == 0.01
