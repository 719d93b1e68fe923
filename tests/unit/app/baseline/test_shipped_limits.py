"""What is shipped fails no board that is published as healthy, and one that has lost 15 % wherever it has a limit."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import every, nodes, record
from support.finished_runs import finished_ranks
from support.gpu_runs import FACTS

from hpcaccept import checks
from hpcaccept.app.baseline.build_shipped import SOURCES, SPREADS, shipped_bands, sources_of
from hpcaccept.app.baseline.like_methods import ALONE, SUSTAINED, why_unlike
from hpcaccept.app.run.conclude import evidence_of, judge_run
from hpcaccept.errors import UsageError
from hpcaccept.model.baseline import peak_of
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.verdict import Outcome
from hpcaccept.parse.baseline_source import Method, Source, StatedLimit, UnusedFigure, parse_bands
from hpcaccept.store.baseline_file import SHIPPED, read_generations
from hpcaccept.store.folder import find

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SHIPPED_SOURCES = {file.stem: source for file, source in sources_of(SOURCES)}
MODELS = sorted(SHIPPED_SOURCES)
LIMITED = [name for name in MODELS if SHIPPED_SOURCES[name].limits]


def instance(key: str) -> str:
    """A metric that a pattern stands for."""
    return key.replace("*→*", "cuda:0→cuda:1").replace("*↔*", "cuda:0↔cuda:1").replace("*", "0")


def outcomes(place: Path, source: Source, values: Mapping[str, float]) -> dict[str, set[Outcome]]:
    """What the shipped baseline and the floor say of a node with these values, by metric."""
    numbers: dict[str, dict[str, float]] = defaultdict(dict)
    for key, value in values.items():
        parts = MetricKey.parse(key)
        numbers[parts.check][f"{parts.metric}[{parts.variant}]"] = value
    gpus = next((limit.gpus for limit in source.limits if limit.gpus), 8)
    facts = {**FACTS, **source.facts, "gpus_per_node": str(gpus)}
    (node,) = names = nodes(1)
    who = {"rank": 0, "device": "cuda:0", "device_model": source.model, "device_id": "GPU-0"}
    about = {"gpu_count": 1, "gpu_models": 1, "cores": 8, "memory_bytes": 1e12, "gpu_memory_bytes": 8.55e10}
    said = [record("identity", node, about, facts=facts, **who)]
    said += [record(name, node, rates, **who, revision=checks.load(name).revision) for name, rates in numbers.items()]
    tables = {"baseline": "optional", "checks": {"identity": {}, **{name: {} for name in numbers}}}
    name = f"run{len(list(place.glob('runs/*')))}"
    run = finished_ranks(place, name, tables, names, {0: said}, gpus_per_node=gpus)
    judged = judge_run(evidence_of(find(place / "runs", run.run_id)), place / "baselines")
    found: dict[str, set[Outcome]] = defaultdict(set)
    for verdict in every(judged.judgement):
        if verdict.limit and verdict.limit.origin in ("baseline", "floor"):
            found[verdict.key].add(verdict.outcome)
    return found


# --- a healthy board, and one that is not -----------------------------------------------------------------------------


def published(source: Source) -> list[dict[str, float]]:
    """Runs that give every published figure of a healthy board once: limits, and what is kept beside them."""
    figures = [(key, limit.value) for limit in source.limits for key in limit.keys]
    figures += [(key, one.value) for one in source.unused for key in one.keys]
    runs: list[dict[str, float]] = []
    for key, value in ((instance(key), value) for key, value in figures if value is not None):
        free = next((run for run in runs if key not in run), None)
        if free is None:
            runs.append(free := {})
        free[key] = value
    return runs


@pytest.mark.parametrize("name", MODELS)
def test_a_board_at_any_published_figure_passes(tmp_path: Path, name: str) -> None:
    source = SHIPPED_SOURCES[name]
    for values in published(source):
        found = outcomes(tmp_path, source, values)
        assert set().union(*found.values()) == {Outcome.PASS}, found


@pytest.mark.parametrize("name", LIMITED)
def test_a_board_at_its_figures_is_held_against_every_limit(tmp_path: Path, name: str) -> None:
    source = SHIPPED_SOURCES[name]
    values = {instance(k): limit.value or limit.lower or 0.0 for limit in source.limits for k in limit.keys}
    assert values.keys() <= outcomes(tmp_path, source, values).keys()


@pytest.mark.parametrize("name", LIMITED)
def test_a_board_that_has_lost_fifteen_percent_fails_wherever_there_is_a_limit(tmp_path: Path, name: str) -> None:
    source = SHIPPED_SOURCES[name]
    values = {instance(k): 0.85 * (limit.value or limit.lower or 0.0) for limit in source.limits for k in limit.keys}
    found = outcomes(tmp_path, source, values)
    assert {key: Outcome.FAIL in found[key] for key in values} == dict.fromkeys(values, True)


#: Lowest figures that are published of single healthy boards or nodes, under the load that ours is: model, metric, value, who says so.
HEALTHY = [
    ("nvidia-b200", "matmul.rate_flops[bf16]", 1421e12, "issue 16"),
    ("nvidia-b200", "matmul.rate_flops[bf16]", 1424.5e12, "mit-orcd, lowest GPU of ten nodes"),
    ("nvidia-b200", "matmul.rate_flops[bf16]", 1396e12, "mit-orcd, cuBLASLt for 60 s in another shape"),
    ("nvidia-b200", "matmul.rate_flops[tf32]", 720e12, "mit-orcd, cuBLASLt for 60 s in another shape"),
    ("nvidia-b200", "matmul.rate_flops[fp8]", 2524e12, "mit-orcd, cuBLASLt for 60 s"),
    ("nvidia-b200", "memory_bandwidth.rate_bytes[triad]", 7.037e12, "mghpcc, lowest of 61 runs"),
    ("nvidia-b200", "nccl_tests.busbw_bytes[all_reduce/16GiB]", 797.2e9, "mit-orcd, lowest of three nodes"),
    ("nvidia-b200", "nccl_tests.busbw_bytes[all_reduce/1GiB]", 697.1e9, "mit-orcd, lowest of three nodes"),
    ("nvidia-b300-sxm6-ac", "matmul.rate_flops[bf16]", 1495e12, "mit-orcd, lowest GPU"),
    ("nvidia-b300-sxm6-ac", "matmul.rate_flops[bf16]", 1437e12, "mit-orcd, cuBLASLt for 60 s in another shape"),
    ("nvidia-gb200", "matmul.rate_flops[bf16]", 1550e12, "gpu-fryer"),
    ("nvidia-gb300", "transfers.rate_bytes[d2h]", 193e9, "a virtual machine of Azure"),
    ("nvidia-h100-80gb-hbm3", "matmul.rate_flops[bf16]", 730e12, "gpu-fryer"),
    ("nvidia-h100-80gb-hbm3", "transfers.rate_bytes[h2d]", 51e9, "a virtual machine of Azure"),
    ("nvidia-h200", "matmul.rate_flops[bf16]", 713e12, "mghpcc"),
    ("nvidia-h200", "matmul.rate_flops[fp8]", 1300.6e12, "a virtual machine of Azure, with fast accumulation"),
    ("nvidia-rtx-pro-6000-blackwell-server-edition", "matmul.rate_flops[bf16]", 416e12, "mghpcc, lowest node"),
    ("nvidia-gb200", "memory_bandwidth.rate_bytes[copy]", 5714.94e9, "ml-engineering, lowest of four GPUs"),
    (
        "nvidia-h100-80gb-hbm3",
        "memory_bandwidth.rate_bytes[copy]",
        2474.76e9,
        "NVIDIA/nccl issue 1264, lowest of eight GPUs",
    ),
    (
        "nvidia-geforce-rtx-3090",
        "memory_bandwidth.rate_bytes[copy]",
        837.58e9,
        "NVIDIA/nccl issue 1127, lowest of eight",
    ),
    ("nvidia-h100-80gb-hbm3", "peer_to_peer.bandwidth_bytes[cuda:0→cuda:1]", 363.43e9, "ml-engineering, lowest pair"),
    ("nvidia-a100-sxm4-80gb", "memory_bandwidth.rate_bytes[copy]", 1545.5e9, "ml-engineering, lowest of eight GPUs"),
    ("nvidia-a100-sxm4-80gb", "peer_to_peer.bandwidth_bytes[cuda:0→cuda:1]", 270.84e9, "ml-engineering, lowest pair"),
    ("amd-instinct-mi300x", "matmul.rate_flops[bf16]", 581e12, "AMD's limit with random integers"),
]


@pytest.mark.parametrize(("name", "key", "value", "who"), HEALTHY)
def test_the_lowest_of_a_healthy_fleet_passes(tmp_path: Path, name: str, key: str, value: float, who: str) -> None:
    found = outcomes(tmp_path, SHIPPED_SOURCES[name], {key: value})
    assert found[key] == {Outcome.PASS}, who


# --- methods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_every_figure_has_its_method_its_source_and_its_date(name: str) -> None:
    source = SHIPPED_SOURCES[name]
    figures: list[StatedLimit | UnusedFigure] = [*source.limits, *source.unused]
    for one in figures:
        assert one.method.tool
        assert one.source
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", one.date)
        assert one.date <= source.date
    assert all("://" in limit.source for limit in source.limits)
    assert all(str(limit.method) in limit.source for limit in source.limits)


@pytest.mark.parametrize("name", LIMITED)
def test_only_figures_of_like_methods_judge_and_none_lies_above_the_peak(name: str) -> None:
    source = SHIPPED_SOURCES[name]
    (baseline,) = read_generations(SHIPPED / f"{name}.h5")
    for limit in source.limits:
        for key in limit.keys:
            assert not why_unlike(key, limit, source)
            assert limit.method.timing == "sustained" or MetricKey.parse(key).check not in SUSTAINED
            peak = peak_of(baseline, key)
            assert peak is None or max(limit.value or 0.0, limit.lower or 0.0) <= peak.ceiling, key


FIGURE = Method("gemm", "sustained", "all", "product", "8192 x 8192 x 8192", "bf16", "fp32", "random", 700)
STATED = StatedLimit(("k",), 80e12, None, 70e12, None, "FLOP/s", 1, 0, "somebody", FIGURE, "2026-11-22", "products")
SOURCE = Source("NVIDIA X", "2026-11-22", {"gpu_power_limit_w": "700"}, 0.0, {}, (), (), ())


@pytest.mark.parametrize(
    ("key", "change", "why"),
    [
        ("matmul.rate_flops[bf16]", {}, ""),
        ("matmul:small.rate_flops[bf16]", {}, ""),
        ("matmul.rate_flops[bf16]", {"timing": "burst"}, "at the power limit, the figure is burst"),
        ("matmul.rate_flops[bf16]", {"timing": "not said"}, "the figure is not said"),
        ("burn.rate_flops[bf16]", {"timing": "burst"}, "burn is measured back to back"),
        ("resnet.images_per_s", {"timing": "burst"}, "resnet is measured back to back"),
        ("matmul.rate_flops[fp16]", {}, "it is of bf16"),
        ("matmul.rate_flops[bf16]", {"accumulate": "bf16"}, "adds up in fp32, the figure in bf16"),
        ("matmul.rate_flops[fp8]", {"dtype": "fp8", "accumulate": "fast accumulation"}, "in fast accumulation"),
        ("matmul.rate_flops[fp64]", {"dtype": "fp64", "accumulate": "fp32"}, "adds up in fp64"),
        ("matmul.rate_flops[bf16]", {"operands": "constant"}, "the figure's are constant"),
        ("matmul.rate_flops[bf16]", {"operands": ""}, "the figure's are not said"),
        ("matmul.rate_flops[bf16]", {"shape": ""}, "its shape is not said"),
        ("matmul.rate_flops[bf16]", {"gpus": "one"}, f"its band is {ALONE!r}"),
        ("matmul.rate_flops[bf16]", {"power_limit_w": 500.0}, "limited to 500 W, those of the source to 700 W"),
        ("matmul.rate_flops[bf16]", {"power_limit_w": 0.0}, ""),
        (
            "memory_bandwidth.rate_bytes[copy]",
            {"operation": "triad", "timing": "burst"},
            "of copy, the figure of triad",
        ),
        ("memory_bandwidth.rate_bytes[triad]", {"operation": "triad", "timing": "burst"}, ""),
        ("transfers.rate_bytes[h2d]", {"gpus": "all"}, "one copy runs at a time"),
        ("peer_to_peer.bandwidth_bytes[*→*]", {"gpus": "not said"}, "one copy runs at a time"),
        ("nccl_tests.busbw_bytes[all_reduce/1GiB]", {"gpus": "one"}, "all GPUs take part"),
        ("nccl_tests.busbw_bytes[all_reduce/1GiB]", {"operation": "alltoall"}, "it is of alltoall"),
        ("nccl_tests.busbw_bytes[all_reduce/1GiB]", {"operation": "all_reduce"}, ""),
        ("aznhc.rate_bytes[nccl_all_red]", {"timing": "burst"}, ""),
    ],
)
def test_a_figure_of_another_method_judges_nothing(key: str, change: dict[str, str], why: str) -> None:
    stated = replace(STATED, method=replace(FIGURE, **change))  # type: ignore[arg-type]
    found = why_unlike(key, stated, SOURCE)
    assert why in found
    assert bool(found) == bool(why)


def test_a_figure_of_one_gpu_alone_has_the_wider_band() -> None:
    alone = replace(STATED, method=replace(FIGURE, gpus="one"), band=ALONE)
    assert not why_unlike("matmul.rate_flops[bf16]", alone, SOURCE)


# --- bands ------------------------------------------------------------------------------------------------------------


def test_every_band_is_used_and_finds_a_loss_of_fifteen_percent() -> None:
    bands = shipped_bands()
    assert {limit.band for source in SHIPPED_SOURCES.values() for limit in source.limits if limit.band} == set(bands)
    assert all(band.share < 0.15 for band in bands.values())
    assert bands[ALONE].share > bands["products"].share


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("share = 0.12", "share = 12", "expected a share between 0 and 1"),
        ("share = 0.12", "part = 0.12", "there is no key 'part'"),
        ('why = "boards', 'why = ""#', "why or published is missing"),
        ("date = 2022-08-23", "day = 2022-08-23", "there is no key 'day'"),
        (", date = 2022-08-23", "", "expected date, figure, source"),
        ("date = 2022-08-23", 'date = "then"', "expected a TOML date"),
    ],
)
def test_a_band_that_follows_from_nothing_is_refused(old: str, new: str, why: str) -> None:
    text = SPREADS.read_text("utf-8")
    assert old in text
    with pytest.raises(UsageError, match=re.escape(why)):
        parse_bands(text.replace(old, new, 1), "spreads.toml")
