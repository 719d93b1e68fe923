"""A wreck is found without peers, baseline or past; what is merely slow is not the floor's business."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.builders import evidence, judged_run_of, plan, record, suite
from support.gpu_runs import gpu_run

from hpcaccept.app.run.conclude import evidence_of, judge_run
from hpcaccept.judge.questions.floor import LINKS, MEMORY, PRODUCTS, share_of_peak
from hpcaccept.model.verdict import Outcome
from hpcaccept.store.baseline_file import SHIPPED, read_generations
from hpcaccept.store.folder import find

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.report.judged import Judged

RTX = "NVIDIA GeForce RTX 4090"


def run_of(place: Path, rates: tuple[float, ...], model: str = RTX, **more: object) -> Judged:
    name = gpu_run(place, "run", rates, model=model, **more)  # type: ignore[arg-type]
    return judge_run(evidence_of(find(place / "runs", name)), place / "baselines")


@pytest.mark.parametrize("count", [1, 4])
def test_a_card_at_a_hundredth_of_its_peak_fails_alone_and_among_its_like(tmp_path: Path, count: int) -> None:
    found = run_of(tmp_path, (1e12,) * count)
    assert found.judgement.exit_code == 1
    assert set(found.summary.nodes.values()) == {Outcome.FAIL}
    failed = next(v for v in found.summary.bad if v.outcome is Outcome.FAIL)
    assert failed.limit is not None
    assert failed.limit.origin == "floor"
    assert "165 TFLOP/s" in failed.limit.source


def test_a_healthy_card_alone_is_judged_by_its_floor(tmp_path: Path) -> None:
    assert run_of(tmp_path, (1.6e14,)).judgement.exit_code == 0


def test_of_the_smallest_slice_of_mig_only_its_part_is_expected(tmp_path: Path) -> None:
    a100 = "NVIDIA A100-SXM4-80GB"
    sliced = ({"mig_mode": "enabled"},)
    # 312 TFLOP/s, a seventh of the SMs, 70 % of that.
    assert run_of(tmp_path / "a", (3.1e13,), a100, facts=sliced).judgement.exit_code == 0
    assert run_of(tmp_path / "b", (3.0e13,), a100).judgement.exit_code == 1
    assert run_of(tmp_path / "c", (3.1e12,), a100, facts=sliced).judgement.exit_code == 1


def test_a_model_without_a_peak_has_no_floor() -> None:
    found = judged_run_of(evidence([record("speed", "node0", {"rate_flops": 1.0})], plan(suite(), nodes=1)))
    assert found.judgement.exit_code == 3


def test_the_shares_are_far_below_every_published_figure() -> None:
    """Of all shipped limits of parts that are healthy none lies below the floor of its metric."""
    looked = 0
    for file in sorted(SHIPPED.glob("*.h5")):
        for one in read_generations(file):
            for entry in one.entries.values():
                peak = next((p for p in one.peaks if p.key == entry.key), None)
                if peak is None or entry.lower is None:
                    continue
                looked += 1
                share = share_of_peak(entry.key.partition(".")[0], entry.unit)
                assert entry.lower > 1.5 * share * peak.value, (file.name, entry.key, entry.lower / peak.value)
    assert looked >= 30
    assert (share_of_peak("matmul", "FLOP/s"), share_of_peak("memory_bandwidth", "B/s")) == (PRODUCTS, MEMORY)
    assert share_of_peak("transfers", "B/s") == LINKS


def test_every_shipped_model_but_one_has_a_peak() -> None:
    without = [file.stem for file in SHIPPED.glob("*.h5") if not read_generations(file)[-1].peaks]
    # Nobody has published the A10G's: its two limits are NVIDIA's own.
    assert without == ["nvidia-a10g"]
