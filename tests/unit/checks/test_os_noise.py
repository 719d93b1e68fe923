from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from support.solo_context import SoloContext

from hpcaccept.checks.os_noise import BEAT_S, DETOUR_S, TELLING_S, OsNoise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def clock(steps_s: Iterable[float]) -> Iterator[float]:
    """Readings of a clock that goes on by these steps, then by 10 µs for ever."""
    now = 100.0
    yield now
    for step_s in steps_s:
        now += step_s
        yield now
    while True:
        now += 10e-6
        yield now


def heard(monkeypatch: pytest.MonkeyPatch, steps_s: Iterable[float], **params: float) -> SoloContext:
    readings = clock(steps_s)
    monkeypatch.setattr(time, "perf_counter", lambda: next(readings))
    return SoloContext(OsNoise(**params)).run()  # type: ignore[arg-type]


def test_a_core_of_ones_own_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = heard(monkeypatch, [], duration_s=0.1)
    assert ctx.value("lost_share") == ctx.value("longest_detour_s") == 0


def test_a_detour_is_lost_whole_and_the_longest_one_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = heard(monkeypatch, [10e-6, 0.003, 10e-6, 0.007], duration_s=0.1)
    assert ctx.value("lost_share") == pytest.approx(0.1)
    assert ctx.value("longest_detour_s") == pytest.approx(0.007)


@pytest.mark.parametrize(("step_s", "lost"), [(DETOUR_S * 0.99, False), (DETOUR_S * 1.01, True)])
def test_a_step_up_to_the_bound_is_the_loops_own(monkeypatch: pytest.MonkeyPatch, step_s: float, lost: bool) -> None:
    ctx = heard(monkeypatch, [step_s], duration_s=0.1)
    assert (ctx.value("longest_detour_s") > 0) is lost


def test_a_rank_that_never_has_its_core_misses_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = heard(monkeypatch, [0.5], duration_s=0.1)
    limit = OsNoise.metric("lost_share").limit  # type: ignore[union-attr]
    assert ctx.value("lost_share") == 1.0
    assert limit is not None
    assert not limit.met_by(ctx.value("lost_share"))


def test_every_block_is_a_sample_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = heard(monkeypatch, [0.05], duration_s=0.4, blocks=4)
    first, *others = ctx.samples["lost_share", ""]
    assert first == pytest.approx(0.5)
    assert others == [0, 0, 0]


def test_a_block_shorter_than_a_time_slice_says_nothing_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = clock([])
    monkeypatch.setattr(time, "perf_counter", lambda: next(readings))
    ctx = SoloContext(OsNoise(duration_s=TELLING_S / 2))
    ctx.check.measure(ctx)
    assert "time slice" in ctx.refused["lost_share"]
    assert ctx.variants("lost_share") == set()


def test_a_long_listening_says_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = heard(monkeypatch, [BEAT_S * 1.2], duration_s=BEAT_S * 2)
    assert ctx.beats
    assert "listening" in ctx.beats[0]
