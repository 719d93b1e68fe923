"""Texts of stress-ng; where they come from: tests/data/stress_ng/README.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpcaccept.errors import NotUnderstood
from hpcaccept.parse import stress_ng

DATA = Path(__file__).parents[2] / "data/stress_ng"
HEALTHY = (DATA / "two_workers.yaml").read_text()


def test_a_recorded_run_is_read_with_its_rates() -> None:
    report = stress_ng.report(HEALTHY)
    (cpu,) = report.stressors
    assert report.version == "0.15.06"
    assert cpu.name == "cpu"
    assert cpu.rate == pytest.approx(_number("bogo-ops-per-second-real-time"), rel=1e-4)
    assert cpu.busy_rate == pytest.approx(_number("bogo-ops-per-second-usr-sys-time"), rel=1e-4)


def _number(key: str) -> float:
    return float(next(line.split(": ")[1] for line in HEALTHY.splitlines() if line.strip().startswith(f"{key}:")))


def test_two_stressors_and_a_later_section_are_told_apart() -> None:
    block = HEALTHY.partition("metrics:\n")[2].partition("\n\n")[0]
    text = HEALTHY.replace(
        block, f"{block}\n{block.replace('stressor: cpu', 'stressor: vm')}\n\ntimes:\n      run-time: 1.0"
    )
    assert [s.name for s in stress_ng.report(text).stressors] == ["cpu", "vm"]


def test_a_stressor_that_never_started_is_no_pass_though_stress_ng_ends_with_status_0() -> None:
    with pytest.raises(NotUnderstood, match="cpu did nothing"):
        stress_ng.report((DATA / "never_started.yaml").read_text())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\n",
        HEALTHY.partition("metrics:")[0],
        HEALTHY.partition("- stressor")[0],
        HEALTHY.replace("stress-ng-version", "version"),
        HEALTHY.replace("bogo-ops:", "rounds:"),
        HEALTHY.replace("wall-clock-time: ", "wall-clock-time: about "),
        HEALTHY.replace("wall-clock-time: ", "wall-clock-time: -"),
        HEALTHY[: HEALTHY.index("user-time")],
        HEALTHY.replace("- stressor: cpu", "name: cpu"),
        HEALTHY.replace("metrics:", "numbers:"),
        # Time on the clock and none on a processor is no load.
        re.sub(r"(user-time|system-time): [\d.]+", r"\1: 0.0", HEALTHY),
    ],
)
def test_what_is_torn_or_unknown_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstood):
        stress_ng.report(text)


def test_a_healthy_log_has_no_failures() -> None:
    assert stress_ng.failures((DATA / "ok.log").read_text()) == ()


def test_wrong_results_are_found_and_neither_the_summary_nor_corrupted_counters_count_as_such() -> None:
    found = stress_ng.failures((DATA / "failed.log").read_text())
    assert found == ("cpu: prime error detected, another number of primes than expected",) * 2
