from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from hpcaccept.measure.timing import Pace, spread, time_blocks, warm_up


@dataclass
class Script:
    """A device on which the k-th call takes ``seconds(k)``."""

    seconds: Callable[[int], float]
    calls: int = 0
    counts: list[int] = field(default_factory=list)

    def time_calls(self, call: Callable[[], object], count: int) -> list[float]:
        self.counts.append(count)
        figures = [self.seconds(self.calls + k) for k in range(count)]
        self.calls += count
        return figures


def nothing() -> None:
    return None


def test_every_block_is_kept_as_seconds_per_call() -> None:
    device = Script(lambda _: 0.010)
    figures = time_blocks(device.time_calls, nothing, Pace(blocks=3, block_s=0.1, warm_s=1.0))
    assert figures == pytest.approx([0.010] * 3)
    assert device.counts[-3:] == [10, 10, 10]


def test_slow_first_calls_are_in_no_block() -> None:
    device = Script(lambda k: 1.0 if k == 0 else 0.010)
    assert max(time_blocks(device.time_calls, nothing, Pace(5, 0.1, 10.0))) == pytest.approx(0.010)


def test_a_first_call_longer_than_the_whole_warm_up_leaves_time_to_warm_up() -> None:
    """A new peer, a library that is loaded: the second call alone would size the blocks."""
    device = Script(lambda k: (5.0, 0.2)[k] if k < 2 else 0.010)
    assert time_blocks(device.time_calls, nothing, Pace(3, 0.1, 1.0)) == pytest.approx([0.010] * 3)
    assert device.counts[-1] == 10


def test_who_watches_the_blocks_does_not_see_the_warm_up() -> None:
    device = Script(lambda _: 0.010)
    seen: list[int] = []

    @contextlib.contextmanager
    def watch() -> Iterator[None]:
        seen.append(len(device.counts))
        yield
        seen.append(len(device.counts))

    time_blocks(device.time_calls, nothing, Pace(blocks=3, block_s=0.1, warm_s=1.0), watch())
    assert seen[0] > 0
    assert seen[1] - seen[0] == 3


def test_warming_up_lasts_until_two_batches_agree() -> None:
    device = Script(lambda k: 0.010 * (1 + 0.9**k))
    assert warm_up(device.time_calls, nothing, Pace(5, 0.1, 1e9)) == pytest.approx(0.010, rel=0.05)


def test_a_device_that_never_settles_is_measured_all_the_same() -> None:
    device = Script(lambda k: 0.010 * (1 + k))
    time_blocks(device.time_calls, nothing, Pace(2, 0.1, 0.5))
    assert len(device.counts) < 20


def test_calls_that_a_neighbour_interrupted_do_not_move_the_figure() -> None:
    device = Script(lambda k: 0.5 if k % 3 == 0 else 0.010)
    assert time_blocks(device.time_calls, nothing, Pace(5, 0.1, 1.0)) == [0.010] * 5


def test_a_call_longer_than_a_block_is_a_block() -> None:
    device = Script(lambda _: 2.0)
    assert time_blocks(device.time_calls, nothing, Pace(3, 0.1, 0.2)) == [2.0] * 3


@pytest.mark.parametrize(("figures", "share"), [([2.0], 0.0), ([1.0, 1.0], 0.0), ([1.0, 2.0, 4.0], 1.5)])
def test_spread_is_a_share_of_the_median(figures: list[float], share: float) -> None:
    assert spread(figures) == share
