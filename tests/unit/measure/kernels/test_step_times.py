from __future__ import annotations

import itertools

import pytest

from hpcaccept.measure.kernels import step_times
from hpcaccept.measure.kernels.step_times import Beat, Distribution, distribution, slowest, straggler_shares, typical


def test_each_figure_of_a_distribution_is_one_of_the_steps() -> None:
    seconds = [float(n) for n in range(200, 0, -1)]
    assert distribution(seconds) == Distribution(p50_s=100.0, p99_s=198.0, worst_s=200.0)


def test_a_single_step_is_all_of_its_distribution() -> None:
    assert distribution([2.0]) == Distribution(2.0, 2.0, 2.0)


def test_of_few_steps_the_99th_of_100_is_the_longest() -> None:
    assert distribution([1.0, 3.0, 2.0]) == Distribution(2.0, 3.0, 3.0)


def test_no_steps_have_no_distribution() -> None:
    with pytest.raises(ValueError, match="no step"):
        distribution([])


@pytest.mark.parametrize("slow", range(8))
def test_one_slow_rank_among_eight_is_named_and_the_others_are_not(slow: int) -> None:
    own = [0.010 + 0.0001 * rank for rank in range(8)]
    own[slow] *= 1.6
    shares = straggler_shares(own)
    assert slowest(own) == slow
    assert shares[slow] > 1.5
    assert all(share < 1.1 for rank, share in enumerate(shares) if rank != slow)


def test_one_slow_rank_of_two_does_not_hide_behind_its_own_weight() -> None:
    assert straggler_shares([1.0, 2.0]) == [0.5, 2.0]


def test_ranks_that_are_slow_together_hold_nobody_up() -> None:
    assert straggler_shares([5.0] * 8) == [1.0] * 8


def test_one_rank_alone_is_held_against_nobody() -> None:
    with pytest.raises(ValueError, match=r"1 rank\(s\)"):
        straggler_shares([1.0])


def mean(block: list[float]) -> float:
    return sum(block) / len(block)


def test_a_rank_that_stands_still_in_every_block_is_slow_though_most_of_its_steps_are_not() -> None:
    """25 steps of 1 ms, then 75 ms of nothing: what a CPU quota of a quarter looks like."""
    block = [0.001] * 24 + [0.076]
    assert distribution(block * 10).p50_s == 0.001
    assert typical([mean(block)] * 10) == pytest.approx(0.004)


def test_one_interruption_in_one_block_changes_nothing() -> None:
    block = [0.001] * 25
    assert typical([mean(block)] * 9 + [mean([*block[:-1], 0.5])]) == pytest.approx(0.001)


def test_a_heartbeat_tells_the_step_twice_a_second_and_not_at_each() -> None:
    clock, said = itertools.count(0.0, 0.25), list[str]()
    beat = Beat(said.append, total=1000, clock=lambda: next(clock))
    for _ in range(8):
        beat()
    assert said == ["step 0 of 1000", "step 2 of 1000", "step 4 of 1000", "step 6 of 1000"]


def test_a_heartbeat_of_steps_that_take_seconds_comes_with_each_of_them() -> None:
    clock, said = itertools.count(0.0, 3.0), list[str]()
    beat = Beat(said.append, of="resnet50/train/fp32", clock=lambda: next(clock))
    beat()
    beat()
    assert said == ["resnet50/train/fp32, step 0", "resnet50/train/fp32, step 1"]


def test_nothing_heavy_is_needed_to_judge_steps() -> None:
    assert "torch" not in vars(step_times)
