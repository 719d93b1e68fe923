"""Under a quota a call within a slice is fast, and between slices nothing runs: only a mean over several periods sees it."""

from __future__ import annotations

import statistics

import pytest

from hpcaccept.measure.device import Cpu
from hpcaccept.measure.host import host
from hpcaccept.measure.slices import SLICES_S, block_figure, own_calls


class Sliced:
    """A clock, and a call of which every third one waits for the next slice."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, 0

    def clock(self) -> float:
        return self.now

    def call(self) -> None:
        self.calls += 1
        self.now += 0.01 if self.calls % 3 else 0.08

    def window(self, window_s: float) -> list[float]:
        end, figures = self.now + window_s, []
        while self.now < end:
            start = self.now
            self.call()
            figures.append(self.now - start)
        return figures


@pytest.fixture(params=[True, False])
def binds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(host, "quota_binds", lambda: request.param)
    return bool(request.param)


def test_calls_of_a_rank_by_itself_are_timed_over_several_periods(binds: bool) -> None:
    sliced = Sliced()
    found = own_calls(Cpu(clock=sliced.clock), sliced.clock)(sliced.call, 4)
    assert statistics.median(found) == pytest.approx(0.0333 if binds else 0.01, rel=0.15)
    assert (sliced.now >= SLICES_S) is binds


def test_a_block_of_a_core_is_its_mean_over_several_periods(binds: bool) -> None:
    sliced = Sliced()
    assert block_figure(sliced.window, 0.05) == pytest.approx(0.0333 if binds else 0.01, rel=0.15)
    assert (sliced.now >= SLICES_S) is binds


def test_collectives_make_as_many_calls_as_were_asked_for_whatever_the_quota(binds: bool) -> None:
    """Ranks that made unlike numbers of calls would wait for each other for ever."""
    sliced = Sliced()
    assert len(Cpu(clock=sliced.clock).time_calls(sliced.call, 4)) == 4
    assert sliced.calls == 4
