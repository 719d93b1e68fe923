"""By how much units differ is read from the latest run of the same shape that was collected."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.finished_runs import gpu_run

from hpcaccept.app.budget.said import in_words
from hpcaccept.app.budget.spread import latest_spread
from hpcaccept.app.budget.within import fit_plan
from hpcaccept.app.run.conclude import collect

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.store.folder import RunFolder

#: Of eight GPUs: their standard deviation is 1.9 % and 3.8 %.
RATES = (7.7e14, 7.8e14, 7.85e14, 7.9e14, 7.95e14, 8.0e14, 8.05e14, 8.2e14)


@pytest.fixture
def runs(tmp_path: Path) -> list[RunFolder]:
    quiet = gpu_run(tmp_path, "run1", RATES)
    noisy = gpu_run(tmp_path, "run2", [7.95e14 + 2 * (rate - 7.95e14) for rate in RATES])
    for folder in (quiet, noisy):
        collect(folder)
    return [quiet, noisy]


def test_the_latest_run_of_the_same_shape_shows_it(runs: list[RunFolder]) -> None:
    plan = runs[0].read_plan()
    found = latest_spread(plan, runs)
    assert found.run == "run2"
    (width,) = found.widths["matmul.rate_flops"]
    (narrow,) = latest_spread(plan, runs[:1]).widths["matmul.rate_flops"]
    assert width == pytest.approx(2 * narrow, rel=0.01)
    assert 0.01 < narrow < 0.03


def test_a_run_of_another_shape_or_one_that_is_damaged_shows_nothing(runs: list[RunFolder]) -> None:
    plan = runs[0].read_plan()
    eight = replace(plan, request=replace(plan.request, gpus_per_node=8, ranks_per_node=8))
    assert latest_spread(eight, runs).run == ""
    runs[1].run_file.write_bytes(b"torn")
    assert latest_spread(plan, runs).run == "run1"
    runs[0].run_file.unlink()
    assert latest_spread(plan, runs).run == ""


def test_a_plan_says_whose_units_its_promises_are_of(runs: list[RunFolder]) -> None:
    plan = runs[0].read_plan()
    fit = fit_plan(plan, "", runs[0].path.parent)
    assert fit.spread_of == "run2"
    assert "differ as units of run2 do" in in_words(fit, explain=True)
    unknown = fit_plan(plan, "", runs[0].path.parent / "none")
    assert "differ as units of their class usually do" in in_words(unknown, explain=True)
    half = {one.candidate.check: one.candidate.sights for one in fit.choice.bought}["matmul"][0].half
    usual = {one.candidate.check: one.candidate.sights for one in unknown.choice.bought}["matmul"][0].half
    assert half[0] > usual[0]
