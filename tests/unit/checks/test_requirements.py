"""Through the real pynvml and a stand-in library, in a process of its own; what no GPU is needed for, here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.nvml.build import build, describe, environment, h100
from support.solo_context import SoloContext

from hpcaccept.checks.requirements import TABLE, Requirements
from hpcaccept.config.toml import read_toml

TESTS = Path(__file__).parents[2]
MEASURE = """
import json, sys
from hpcaccept.checks.requirements import Requirements
from support.solo_context import SoloContext
ctx = SoloContext(Requirements(), gpus_asked=int(sys.argv[1])).run()
assert "torch" not in sys.modules
samples = {f"{name}[{variant}]" if variant else name: values for (name, variant), values in ctx.samples.items()}
print(json.dumps({"samples": samples, "facts": ctx.facts, "refused": ctx.refused}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def measure(library: Path, tmp_path: Path) -> Any:
    def run(gpus: list[dict[str, str]], asked: int = 8, env: dict[str, str] | None = None, **system: str) -> Any:
        node = describe(tmp_path / "node", gpus, **system)
        inherited = {key: text for key, text in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        paths = {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
        command = [sys.executable, "-c", MEASURE, str(asked)]
        everything = {**inherited, **environment(library, node), **paths, **(env or {})}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=everything)
        return json.loads(done.stdout)

    return run


def eight(**changes_of_the_fourth: str) -> list[dict[str, str]]:
    return [h100(n, **(changes_of_the_fourth if n == 3 else {})) for n in range(8)]


def met(name: str, value: float) -> bool:
    metric = Requirements.metric(name)
    assert metric
    assert metric.limit
    return metric.limit.met_by(value)


def test_a_node_of_eight_idle_gpus_has_what_is_asked_of_its_gpus(measure: Any) -> None:
    said = measure(eight())
    samples = said["samples"]
    assert samples["gpu_models"] == [1]
    assert samples["cuda_version"] == [12040]
    assert samples["gpu_memory_bytes"] == [81559 << 20]
    assert [met("free_memory_share", samples[f"free_memory_share[GPU {n}]"][0]) for n in range(8)] == [True] * 8
    assert said["facts"]["gpus"] == "8 healthy of 8 visible: NVIDIA H100 80GB HBM3"
    assert said["refused"] == {}


def test_what_the_driver_reserves_is_not_in_use(measure: Any) -> None:
    """On an H200 the driver keeps 1.8 %: with it, an idle GPU would almost fail."""
    reserved = str(3 << 30)
    share = measure(eight(memory_reserved=reserved, memory_used="0"))["samples"]["free_memory_share[GPU 3]"]
    assert share == [1.0]


def test_memory_of_somebody_else_is_seen_by_the_driver_and_names_its_gpu(measure: Any) -> None:
    samples = measure(eight(memory_used=str(2 << 30)))["samples"]
    missed = [
        key for key, (value, *_) in samples.items() if key.startswith("free") and not met("free_memory_share", value)
    ]
    assert missed == ["free_memory_share[GPU 3]"]


def test_more_memory_in_use_than_there_is_is_no_answer(measure: Any) -> None:
    said = measure(eight(memory_used=str(1 << 50)))
    assert "free_memory_share[GPU 3]" not in said["samples"]
    assert "which cannot be" in said["refused"]["free_memory_share[GPU 3]"]


def test_unlike_gpus_are_two_models(measure: Any) -> None:
    samples = measure(eight(name="NVIDIA H100 PCIe"))["samples"]
    assert samples["gpu_models"] == [2]
    assert not met("gpu_models", 2)


def test_no_driver_where_gpus_were_asked_for_fails_and_says_why(measure: Any) -> None:
    said = measure(eight(), init="!driver_not_loaded")
    assert said["samples"]["gpu_models"] == [0]
    assert not met("gpu_models", 0)
    assert "kernel module is not loaded" in said["facts"]["gpus"]
    assert set(said["refused"]) == {"gpu_memory_bytes", "memory_share", "cuda_version"}


def test_a_lost_gpu_has_no_free_memory_to_pass_with(measure: Any) -> None:
    said = measure(eight(state="lost"))
    assert "free_memory_share[GPU 3]" not in said["samples"]
    assert said["refused"]["free_memory_share[GPU 3]"]


def test_a_lost_gpu_does_not_lower_what_is_asked_of_the_memory(measure: Any) -> None:
    whole, seven = measure(eight())["samples"], measure(eight()[:7])["samples"]
    assert seven["memory_share"] == pytest.approx(whole["memory_share"], rel=1e-6)


def test_a_gpu_of_which_two_instances_are_used_is_there_once(measure: Any) -> None:
    names = ["MIG-00000000-0000-0000-0000-00000000000a", "MIG-00000000-0000-0000-0000-00000000000b"]
    gpus = [h100(0, mig_mode="enabled", mig_uuids=",".join(names))]
    said = measure(gpus, asked=1, env={"CUDA_VISIBLE_DEVICES": ",".join(names)})
    assert len(said["samples"]["free_memory_share[GPU 0]"]) == 1
    assert said["facts"]["gpus"].startswith("1 healthy of 1 visible")


def test_an_old_driver_is_too_old(measure: Any) -> None:
    samples = measure(eight(), cuda_driver="11040")["samples"]
    assert samples["cuda_version"] == [11040]
    assert not met("cuda_version", 11040)
    assert met("cuda_version", 12100), "12.10 is newer than 11.8"


# --- without a GPU ----------------------------------------------------------------------------------------------------


def test_without_a_request_for_gpus_only_the_disk_is_judged() -> None:
    ctx = SoloContext(Requirements()).run()
    assert {name for name, _ in ctx.samples} == {"disk_free_bytes"}
    assert len(ctx.refused) == 6
    assert all("no GPU was asked for" in why for why in ctx.refused.values())


def test_a_disk_that_is_not_there_is_no_pass() -> None:
    ctx = SoloContext(Requirements(disk_path="/no/such/place")).run()
    assert ctx.variants("disk_free_bytes") == set()
    assert "No such file" in ctx.refused["disk_free_bytes"]


def test_the_first_rank_alone_speaks_for_the_node() -> None:
    ctx = SoloContext(Requirements(), local_rank=1, gpus_asked=8)
    ctx.run()
    assert ctx.samples == {}


def test_every_rule_has_a_source_a_date_and_a_limit_in_its_unit() -> None:
    rules = read_toml(TABLE)
    assert set(rules) == {metric.name for metric in Requirements.metrics}
    for name, rule in rules.items():
        assert rule["source"].startswith("https://")
        assert rule["date"] == "2026-11-22"
        assert {"lower", "upper"} & rule.keys()
        metric = Requirements.metric(name)
        assert metric
        assert metric.limit
        assert metric.limit.unit == metric.unit == rule["unit"]
        assert rule["source"] in metric.limit.source
