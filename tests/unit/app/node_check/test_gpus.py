"""The command on described nodes: the stand-in for NVIDIA's library is loaded as the real one would be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.nvml.build import build, describe, environment, h100

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

Looked = dict[str, Any]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def look(library: Path, tmp_path: Path) -> Callable[..., Looked]:
    """The verdict on a node with these GPUs."""

    def run(gpus: list[dict[str, str]], *words: str, expected: str = "", env: dict[str, str] | None = None) -> Looked:
        node = describe(tmp_path / "node", gpus)
        config = tmp_path / "node-check.toml"
        config.write_text(f"gpus = 8\nclock = false\n{expected}")
        given = {**os.environ, **environment(library, node), **(env or {})}
        command = [
            sys.executable,
            "-m",
            "hpcaccept",
            "node-check",
            "--config",
            str(config),
            "--state-dir",
            str(tmp_path),
            *words,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=given)
        found: Looked = json.loads(done.stdout)
        # The kernel's log and the disks are those of this machine.
        found["items"] = [item for item in found["items"] if item["part"] == "gpus"]
        found["bad"] = {item["what"]: item["code"] for item in found["items"] if item["outcome"] != "PASS"}
        return found

    return run


def eight(**changes: dict[str, str]) -> list[dict[str, str]]:
    return [h100(n, **changes.get(f"gpu{n}", {})) for n in range(8)]


def test_eight_healthy_gpus_pass_one_by_one_and_are_named(look: Callable[..., Looked]) -> None:
    found = look(eight(), expected='gpu_model = "NVIDIA H100 80GB HBM3"\n')
    assert found["bad"] == {}
    assert {item["what"].partition(" ")[0] for item in found["items"]} >= {f"gpu{n}" for n in range(8)}
    assert "serial 1652324000003" in found["facts"]["gpu3"]


def test_a_lost_gpu_is_missing_and_named(look: Callable[..., Looked]) -> None:
    found = look(eight(gpu3={"state": "lost"}))
    assert found["verdict"] == "NOT_FIT"
    assert found["bad"]["gpu_count"] == "gpu-missing"
    assert "gpu-lost" in found["bad"].values()


def test_what_a_prolog_is_given_hides_no_gpu(look: Callable[..., Looked]) -> None:
    assert look(eight(), env={"CUDA_VISIBLE_DEVICES": "0"})["bad"] == {}


def test_uncorrected_errors_since_boot_fail_before_a_job_starts(look: Callable[..., Looked]) -> None:
    bad = look(eight(gpu5={"ecc_volatile": "0/2"}))["bad"]
    assert set(bad.values()) == {"ecc-uncorrected"}
    assert all(what.startswith("gpu5 ") for what in bad)


def test_a_row_that_waits_to_be_replaced_fails(look: Callable[..., Looked]) -> None:
    assert "memory-row" in look(eight(gpu1={"remaps": "0/1/1/0"}))["bad"].values()


def test_errors_during_a_job_are_named_with_what_moved(look: Callable[..., Looked]) -> None:
    assert look(eight(), "--phase", "prolog", "--job", "7")["bad"] == {}
    found = look(eight(gpu2={"ecc_volatile": "0/1"}), "--phase", "epilog", "--job", "7")
    assert "ecc-uncorrected" in found["bad"].values()
    assert found["moved"]["GPU 2 memory_errors.uncorrected"] == [0.0, 1.0]


def test_another_model_than_expected_is_found(look: Callable[..., Looked]) -> None:
    assert look(eight(), expected='gpu_model = "NVIDIA H200"\n')["bad"] == {"gpu_other_models": "gpu-models-mixed"}


def test_what_expect_proposes_is_met_by_the_node_that_it_was_made_on(library: Path, tmp_path: Path) -> None:
    env = {**os.environ, **environment(library, describe(tmp_path / "node", eight()))}
    words = [sys.executable, "-m", "hpcaccept", "node-check"]
    text = subprocess.run([*words, "expect"], capture_output=True, text=True, check=True, env=env).stdout
    assert "gpus = 8\n" in text
    assert 'gpu_model = "NVIDIA H100 80GB HBM3"' in text
    file = tmp_path / "node-check.toml"
    file.write_text(text)
    done = subprocess.run(
        [*words, "--config", str(file), "--state-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    assert [
        item for item in json.loads(done.stdout)["items"] if item["outcome"] != "PASS" and item["part"] != "kernel log"
    ] == []
