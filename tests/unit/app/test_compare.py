"""Slower in the same environment is hardware; what all lost alike with a new driver is the environment; the rest is a unit's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.finished_runs import gpu_run

from hpcaccept.app.compare import compare_runs
from hpcaccept.cli import main
from hpcaccept.model.record import CONTENDED, STOPPED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hpcaccept.model.comparison import Comparison, MetricChange

BF16 = "matmul.rate_flops[bf16]"
NEW = {"driver": "590.2"}


def noisy(count: int = 12, seed: int = 1, level: float = 7.9e14, loss: float = 0.0) -> list[float]:
    return list(level * (1 - loss) * (1 + np.random.default_rng(seed).normal(0, 0.002, count)))


def compared(
    place: Path, before: Sequence[float], now: Sequence[float], *, facts: dict[str, str] | None = None, **more: object
) -> Comparison:
    a = gpu_run(place, "runA", before)
    b = gpu_run(place, "runB", now, facts=facts, **more)  # type: ignore[arg-type]
    return compare_runs(a, b, place)


def of(found: Comparison, key: str = BF16) -> MetricChange:
    (change,) = [metric for metric in found.metrics if metric.key == key]
    return change


def test_the_same_again_is_alike(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(), noisy(seed=2))
    assert (found.cause, found.exit_code, found.environment) == ("alike", 0, {})
    assert of(found).pairs == 12
    assert 0.002 < of(found).seen < 0.05
    assert "would have been seen" in found.conclusion[-2]


def test_all_slower_in_the_same_environment_is_hardware(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(), noisy(seed=2, loss=0.08))
    assert (found.cause, found.exit_code) == ("hardware", 1)
    assert of(found).cause == "hardware"
    assert of(found).common == pytest.approx(0.08, abs=0.005)
    assert of(found).worse == ()


def test_all_slower_with_a_new_driver_is_the_environment(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(), noisy(seed=2, loss=0.08), facts=NEW)
    assert (found.cause, found.exit_code) == ("environment", 0)
    assert found.environment == {"driver": ("580.1", "590.2")}
    assert "driver 580.1 → 590.2" in found.conclusion[0]


def test_all_slower_under_another_launcher_is_the_environment(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(), noisy(seed=2, loss=0.08), launcher="local")
    assert (found.cause, found.exit_code) == ("environment", 0)
    assert found.environment == {"launcher": ("slurm", "local")}


def test_another_transport_is_another_environment(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(), noisy(seed=2, loss=0.08), moving={"transport": "NET/Socket ×4"})
    assert found.environment == {"transport[memory_bandwidth]": ("", "NET/Socket")}
    assert found.cause == "environment"


@pytest.mark.parametrize("why", ["other programs used 6.0 of 8 cores meanwhile", STOPPED])
def test_what_was_measured_in_company_is_no_hardware(tmp_path: Path, why: str) -> None:
    slow = [2.5e12 * 0.7] * 12
    assert compared(tmp_path / "alone", noisy(), noisy(), bandwidths=slow).exit_code == 1
    found = compared(tmp_path / "shared", noisy(), noisy(), bandwidths=slow, moving={CONTENDED: why})
    assert (found.cause, found.exit_code) == ("alike", 0)
    assert "others used the processors" in found.not_compared["memory_bandwidth.rate_bytes[copy]"]


def test_one_that_lost_more_than_all_with_a_new_driver_is_hardware(tmp_path: Path) -> None:
    now = noisy(seed=2, loss=0.08)
    now[5] *= 0.93
    found = compared(tmp_path, noisy(), now, facts=NEW)
    assert (found.cause, found.exit_code) == ("hardware", 1)
    (worst,) = of(found).worse
    assert (worst.subject, worst.where) == ("GPU-5", "node5 cuda:0")
    assert worst.beyond == pytest.approx(0.065, abs=0.01)
    assert of(found).cause == "environment"


def test_a_gpu_is_compared_with_itself_where_it_is_now(tmp_path: Path) -> None:
    before, gpus = noisy(), [f"GPU-{i}" for i in range(12)]
    before[3] *= 0.97  # always was a little slower
    now = list(before)
    now[3], now[4], gpus[3], gpus[4] = before[4], before[3], "GPU-4", "GPU-3"
    found = compared(tmp_path, before, now, gpus=gpus)
    assert found.cause == "alike"
    assert found.moved == {"GPU-3": ("node3 cuda:0", "node4 cuda:0"), "GPU-4": ("node4 cuda:0", "node3 cuda:0")}


def test_nodes_that_came_and_went_are_named(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(6), noisy(8))
    assert (found.nodes_gone, found.nodes_new) == ((), ("node6", "node7"))
    assert found.subjects_new == ("GPU-6", "GPU-7")
    assert of(found).pairs == 6


def test_too_few_subjects_and_a_new_driver_cannot_be_told_apart(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(2), noisy(2, loss=0.2), facts=NEW)
    assert (found.cause, found.exit_code) == ("undecided", 3)
    assert of(found).worse == ()


def test_few_subjects_in_the_same_environment_are_judged_each_by_itself(tmp_path: Path) -> None:
    now = noisy(2)
    now[1] *= 0.85
    found = compared(tmp_path, noisy(2), now)
    assert [change.subject for change in of(found).worse] == ["GPU-1"]
    assert found.exit_code == 1


def test_nothing_in_common_is_no_all_clear(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(4), noisy(4), gpus=["GPU-a", "GPU-b", "GPU-c", "GPU-d"])
    assert BF16 in found.not_compared
    assert of(found, "identity.cores").pairs == 4, "of nodes by their names"


def test_who_fails_now_and_did_not_before_is_hardware(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(), noisy(), facts=NEW, wrong="node7")
    assert found.outcomes["node7"][1] == "FAIL"
    assert found.exit_code == 1
    assert any("FAIL now, and not before: node7" in line for line in found.conclusion)


@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), new=st.booleans(), common=st.sampled_from([0.0, 0.03, 0.1]))
def test_noise_alone_blames_nobody_and_a_tenth_is_always_found(
    tmp_path_factory: pytest.TempPathFactory, seed: int, new: bool, common: float
) -> None:
    place = tmp_path_factory.mktemp("site")
    now = noisy(16, seed + 1, loss=common)
    now[seed % 16] *= 0.9
    found = compared(place, noisy(16, seed), now, facts=NEW if new else None)
    assert [change.subject for change in of(found).worse] == [f"GPU-{seed % 16}"]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    compared(tmp_path, noisy(), noisy(seed=3, loss=0.1), facts=NEW)
    assert main(["compare", "runA", "runB"]) == 0
    assert "ENVIRONMENT (exit code 0)" in capsys.readouterr().out
    assert main(["compare", "runA", "runB", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cause"], told["environment"]) == ("environment", {"driver": ["580.1", "590.2"]})
    assert main(["compare", "runA", "runX"]) == 2
