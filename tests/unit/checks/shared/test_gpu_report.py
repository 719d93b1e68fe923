"""hpcaccept.checks.shared.gpu_report without a driver: what counts as an answer, and what a mode says. On a driver: test_health.py."""

from __future__ import annotations

import pytest
from support.solo_context import SoloContext

from hpcaccept.checks.health import Health
from hpcaccept.checks.shared.gpu_report import Report
from hpcaccept.checks.shared.gpu_watch import Watch
from hpcaccept.measure.gpu.driver import Gpu, State
from hpcaccept.measure.gpu.drivers import nvidia

GPU = Gpu(0, "ok")


def report(before: State, after: State, gpu: Gpu = GPU, **more: object) -> Report:
    watch = Watch(nvidia, gpu, before=before, **more)  # type: ignore[arg-type]
    return Report(SoloContext(Health()), watch, after)


@pytest.mark.parametrize(
    "look",
    [
        State(lost=True),
        State(numbers={"memory.used": 0.0}),
        State(errors={"links": "Unknown Error"}),
        State(recovery=""),
        State(fabric=()),
    ],
)
def test_one_answer_or_error_in_either_look_is_no_silence(look: State) -> None:
    assert not report(look, State()).silent
    assert not report(State(), look).silent


def test_a_gpu_that_answered_nothing_is_silent_whatever_was_missing() -> None:
    assert report(State(missing={"links": "not supported"}), State()).silent
    assert not report(State(), State(), open_error="Unknown Error").silent


@pytest.mark.parametrize(
    ("mode", "value"),
    [
        ("enabled", 1.0),
        ("disabled", 0.0),
        ("enabled, disabled after a reset", 1.0),
        ("disabled, enabled after a reset", 0.0),
    ],
)
def test_what_a_mode_is_now_counts_and_not_what_it_will_be(mode: str, value: float) -> None:
    found = report(State(), State(), Gpu(0, "ok", ecc_mode=mode, partition_mode=mode, persistence=mode))
    found.modes()
    assert isinstance(found.ctx, SoloContext)
    modes = ("ecc_enabled", "mig_enabled", "persistence_enabled")
    assert found.ctx.samples == {(metric, ""): [value] for metric in modes}
