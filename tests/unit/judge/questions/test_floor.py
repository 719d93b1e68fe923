"""A wreck is found without peers, baseline or past; what is merely slow is not the floor's business."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import H100, UNIQUE, baseline, every, evidence, judged, judged_run_of, plan, record, suite
from support.gpu_runs import gpu_run

from hpcaccept.app.run.conclude import evidence_of, judge_run
from hpcaccept.app.run.submit import plan_run
from hpcaccept.checks.burn import Burn
from hpcaccept.checks.resnet import Resnet
from hpcaccept.config.settings import Settings
from hpcaccept.config.toml import read_toml
from hpcaccept.errors import UsageError
from hpcaccept.judge import judge
from hpcaccept.judge.questions.floor import LINKS, MEMORY, PRODUCTS, share_of_peak
from hpcaccept.model.baseline import Peak
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.suite import CheckSpec
from hpcaccept.model.verdict import Outcome
from hpcaccept.store.baseline_file import SHIPPED, file_name, read_generations
from hpcaccept.store.folder import find

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.metric import Metric
    from hpcaccept.report.judged import Judged

RTX = "NVIDIA GeForce RTX 4090"
KEY = "speed.rate_flops"


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


#: Of 165 TFLOP/s: all above the floor, no two alike, and no two groups.
TORN = (2.0e13, 4.6e13, 7.1e13, 9.9e13, 1.25e14, 1.5e14)


def test_a_floor_that_is_met_accepts_no_fleet_that_is_torn_apart(tmp_path: Path) -> None:
    found = run_of(tmp_path, TORN)
    assert {v.code for v in found.judgement.verdicts if v.question == "peers"} == {FindingCode.PEERS_APART}
    assert found.judgement.exit_code == 3
    assert found.judgement.coverage.percent < 100
    assert "matmul" in found.judgement.coverage.gaps
    assert set(found.summary.nodes.values()) == {Outcome.NO_BASELINE}


def test_another_question_than_the_floor_accepts_them(tmp_path: Path) -> None:
    limits = {"matmul.rate_flops": {"lower": 1.8e13, "unit": "FLOP/s"}}
    assert run_of(tmp_path, TORN, more={"limits": limits}).judgement.exit_code == 0


@pytest.mark.parametrize(
    ("key", "unit", "stands"),
    [(KEY, "FLOP/s", True), ("speed.*", "FLOP/s", True), (KEY, "B/s", False), ("speed.latency_s", "s", False)],
)
def test_a_floor_stands_under_rates_whose_peak_is_known_in_their_unit(key: str, unit: str, stands: bool) -> None:
    known = replace(baseline(), peaks=(Peak(key, unit, 1e3, "data sheet", "2026-11-01"),))
    records = [record("speed", "node0", {"rate_flops": 99.0, "latency_s": 9e9, "wrong_elements": 0})]
    found = judged(evidence(records, plan(suite(), nodes=1)), {H100: known})
    floors = [(v.key, v.outcome) for v in found.verdicts if v.limit and v.limit.origin == "floor"]
    assert floors == ([(KEY, Outcome.FAIL)] if stands else [])


def test_a_model_without_a_peak_has_no_floor() -> None:
    found = judged_run_of(evidence([record("speed", "node0", {"rate_flops": 1.0})], plan(suite(), nodes=1)))
    assert found.judgement.exit_code == 3


def floors(
    metric: Metric, rate: float, variant: str, params: dict[str, object] | None = None, model: str = RTX
) -> list[tuple[Outcome, str]]:
    """What the floor says of one GPU whose check has this one metric."""
    known = read_generations(SHIPPED / file_name(model))[-1]
    name = f"{metric.name}[{variant}]"
    records = [record("speed", "node0", {name: rate}, device_model=model)]
    spec = CheckSpec("speed", params=params or {})
    found = judge(evidence(records, plan(suite(spec), nodes=1), catalogue={"speed": {metric.name: metric}}), {"speed": {metric.name: metric}}, {model: known}, UNIQUE)  # fmt: skip
    return [(v.outcome, v.limit.source) for v in every(found) if v.limit and v.limit.origin == "floor"]


def metric_of(check: type[Burn] | type[Resnet], name: str) -> Metric:
    return next(metric for metric in check.metrics if metric.name == name)


@pytest.mark.parametrize(
    ("rate", "variant", "params", "outcome"),
    [
        (1.0e14, "gpu/alone", {}, Outcome.PASS),
        (1.0e12, "gpu/together", {}, Outcome.FAIL),
        (6.0e12, "gpu/alone", {"dtype": "fp32"}, Outcome.FAIL),  # a tenth of 82.6 TFLOP/s, not of 165
        (9.0e12, "gpu/alone", {"dtype": "fp32"}, Outcome.PASS),
        (1.0e12, "gpu/alone", {"dtype": ""}, Outcome.FAIL),
    ],
)
def test_a_burn_stands_on_the_peak_of_its_number_format(rate: float, variant: str, params: dict[str, object], outcome: Outcome) -> None:  # fmt: skip
    assert [found for found, _ in floors(metric_of(Burn, "rate_flops"), rate, variant, params)] == [outcome]


@pytest.mark.parametrize(
    ("variant", "params"),
    [("cpu/alone", {}), ("gpu/alone", {"dtype": "int4"})],
)
def test_what_no_peak_is_known_of_has_no_floor(variant: str, params: dict[str, object]) -> None:
    assert floors(metric_of(Burn, "rate_flops"), 1.0, variant, params) == []


def test_images_per_second_stand_on_the_operations_of_an_image() -> None:
    metric = metric_of(Resnet, "images_per_s")
    ((found, source),) = floors(metric, 2000.0, "resnet50/train/amp")
    assert found is Outcome.PASS
    assert "165 TFLOP/s by 2.45e+10 operations each" in source
    assert [outcome for outcome, _ in floors(metric, 20.0, "resnet50/train/amp")] == [Outcome.FAIL]
    assert [outcome for outcome, _ in floors(metric, 20.0, "resnet18/infer/fp32")] == [Outcome.FAIL]
    assert floors(metric, 20.0, "resnet18/infer/fp32", {"pixels": 32}) == [], "tiny images are other work"
    assert floors(metric, 20.0, "resnet18/infer/bf16") == []


def test_every_published_figure_of_resnet_is_far_above_its_floor() -> None:
    metric, looked = metric_of(Resnet, "images_per_s"), 0
    for file in sorted((SHIPPED / "sources").glob("*.toml")):
        table = read_toml(file)
        for kept in table.get("unused", []):
            figure = re.match(r"ResNet-50: (?:about )?([\d,]+) images/s", kept["figure"])
            if figure and "float32" not in kept["figure"]:
                looked += 1
                rate = (
                    float(figure[1].replace(",", "")) / 5
                )  # eager torch is slower than the recipes that are published
                found = floors(metric, rate, "resnet50/train/amp", model=table["model"])
                assert [outcome for outcome, _ in found] == [Outcome.PASS], (file.name, found)
    assert looked >= 5


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


def test_every_shipped_model_has_a_peak() -> None:
    assert all(read_generations(file)[-1].peaks for file in SHIPPED.glob("*.h5"))


# --- limits that nothing can meet -------------------------------------------------------------------------------------


def settings_with(place: Path, limit: str) -> Settings:
    file = place / "mine.toml"
    file.write_text(f'[checks.matmul]\n[limits."matmul.rate_flops[bf16]"]\nlower = {limit}\nunit = "FLOP/s"\n')
    return Settings(launcher="local", gpus_per_node=1, suite=str(file), mpi="none")


def test_a_limit_that_no_known_part_reaches_is_refused_before_a_job_exists(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mine\.toml.*matmul\.rate_flops\[bf16\].*no known GPU reaches") as refused:
        plan_run(settings_with(tmp_path, "1e30"))
    assert "without a prefix" in refused.value.remedy
    assert plan_run(settings_with(tmp_path, "7e14"))[0].suite.limits


def test_a_limit_above_the_peak_of_the_part_that_was_measured_blames_its_author(tmp_path: Path) -> None:
    tables = {"limits": {"matmul.rate_flops[bf16]": {"lower": 9e14, "unit": "FLOP/s"}}}
    name = gpu_run(tmp_path, "run", (1.6e14,) * 4, model=RTX, more=tables)
    found = judge_run(evidence_of(find(tmp_path / "runs", name)), tmp_path / "baselines")
    assert found.judgement.exit_code == 3
    told = [v for v in found.summary.bad if v.outcome is Outcome.ERROR]
    assert len(told) == 4
    assert "the limit is more than the part can do" in told[0].reason
