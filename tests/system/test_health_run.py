"""The check ``health`` in whole runs: real ranks, real pynvml, a described driver on each node that changes under load."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from support.nvml.build import build, describe, environment, h100
from support.submission import ANY_NOISE, submit, suite_file

if TYPE_CHECKING:
    from pathlib import Path

    from system.cluster import VirtualSlurm

pytestmark = pytest.mark.mpi

#: Something that lasts stands for the load: what the GPUs do meanwhile is described.
SUITE = (
    "[checks.identity]\n[checks.os_noise]\nduration_s = {load_s}\n[checks.health]\nperiod_s = 0.05\n"
    + ANY_NOISE.format(label="os_noise")
)


def two(**changes_of_the_second: str) -> list[dict[str, str]]:
    return [h100(0), h100(1, **changes_of_the_second)]


def test_healthy_gpus_pass_in_a_run_of_virtual_nodes(tmp_path: Path) -> None:
    env = environment(build(tmp_path / "lib"), describe(tmp_path / "gpus", two()))
    words = ("--nodes", "2", "--gpus-per-node", "2", "--launcher", "local")
    done = submit(tmp_path / "runs", suite_file(tmp_path, SUITE.format(load_s=0.5)), *words, env=env).finish()
    assert done.code == 0, done.out + done.err
    passed = done.verdicts(outcome="PASS", check="health")
    assert {(v["node"], v["metric"]) for v in passed} >= {
        (node, metric)
        for node in ("node0", "node1")
        for metric in ("lost", "ecc_uncorrected", "xid_faults", "throttled_share", "pcie_lanes_lost", "nvlinks_missing")
    }
    assert not done.verdicts(outcome="FAIL")
    assert not done.verdicts(outcome="ERROR")


#: ``matmul`` needs a GPU that computes: here it only tells which rank was refused one, and why.
BESIDE_A_LOST_ONE = "[checks.identity]\n[checks.matmul]\n[checks.health]\nperiod_s = 0.05\n"


def test_beside_a_lost_gpu_every_rank_keeps_its_own(tmp_path: Path) -> None:
    gpus = [h100(n, **({"state": "lost"} if n == 2 else {})) for n in range(4)]
    env = environment(build(tmp_path / "lib"), describe(tmp_path / "gpus", gpus))
    words = ("--nodes", "1", "--gpus-per-node", "4", "--launcher", "local")
    done = submit(tmp_path / "runs", suite_file(tmp_path, BESIDE_A_LOST_ONE), *words, env=env).finish()
    assert done.code == 1, done.out + done.err
    failed = {(v["device"], v["metric"]) for v in done.verdicts(outcome="FAIL")}
    assert failed == {("", "gpu_count"), ("cuda:2", "lost")}
    of_a_gpu = {
        (record["device"], record["facts"].get("gpu_uuid", ""))
        for record in records(done.folder)
        if record["check"] == "health"
    }
    assert of_a_gpu == {(f"cuda:{n}", "" if n == 2 else gpus[n]["uuid"]) for n in range(4)}
    refused = {r["device"]: r["cause"] for r in records(done.folder) if r["check"] == "matmul"}
    assert "GPU 2 is not usable (lost), 3 usable" in refused["cuda:2"]
    assert not [device for device, cause in refused.items() if device != "cuda:2" and "no GPU for this rank" in cause]


def records(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for file in folder.glob("records/*/r*.jsonl") for line in file.read_text().splitlines()]
    return [line["data"] for line in lines if line["kind"] == "record"]


def test_without_gpus_health_is_not_run_and_says_why(tmp_path: Path) -> None:
    suite = suite_file(tmp_path, SUITE.format(load_s=0.1))
    done = submit(tmp_path / "runs", suite, "--nodes", "1", "--launcher", "local").finish()
    (verdict,) = done.verdicts(check="health")
    assert (verdict["outcome"], verdict["reason"]) == ("NOT_RUN", "no GPU was asked for")


def test_each_bad_node_is_named_by_what_happened_to_its_gpu_and_the_healthy_one_is_not(
    tmp_path: Path, plain_slurm: VirtualSlurm
) -> None:
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    for node in plain_slurm.node_names:
        describe(nodes / f"{node}.txt", two())
    env = {**plain_slurm.env, **environment(build(tmp_path / "lib"), nodes / "{node}.txt")}
    suite = suite_file(tmp_path, SUITE.format(load_s=1.0))  # of eight ranks in turn
    run = submit(tmp_path / "runs", suite, "--nodes", "4", "--gpus-per-node", "2", env=env)
    run.wait_for_record("identity")  # by then every rank has had its first look
    describe(nodes / "node1.txt", two(state="lost_later", xids="79"))
    describe(nodes / "node2.txt", two(reasons="0x48"))
    describe(nodes / "node3.txt", two(ecc_volatile="0/3", remaps="0/1/1/0"))
    done = run.finish()
    assert done.code == 1, done.out + done.err
    failed = {(v["node"], v["device"], v["metric"]) for v in done.verdicts(outcome="FAIL")}
    assert failed == {
        ("node1", "cuda:1", "lost"),
        ("node1", "cuda:1", "xid_faults"),
        ("node2", "cuda:1", "throttled_share"),
        ("node3", "cuda:1", "ecc_uncorrected"),
        ("node3", "cuda:1", "row_remaps"),
        ("node3", "cuda:1", "remap_pending"),
    }
    (lost,) = done.verdicts(outcome="FAIL", metric="lost")
    assert "GPU-00000001-aaaa-bbbb-cccc-000000000001" in lost["variant"]
    assert "00000000:19:00.0" in lost["variant"]
    assert {v["node"] for v in done.verdicts(outcome="PASS", metric="gpu_count")} == set(plain_slurm.node_names)
    assert not done.verdicts(outcome="ERROR")


def test_a_leaked_process_makes_the_run_unjudged_and_blames_no_node(tmp_path: Path) -> None:
    gpus = two(processes="4711:76000000000:python3", memory_used="76000000000")
    env = environment(build(tmp_path / "lib"), describe(tmp_path / "gpus", gpus))
    words = ("--nodes", "1", "--gpus-per-node", "2", "--launcher", "local")
    done = submit(tmp_path / "runs", suite_file(tmp_path, SUITE.format(load_s=0.2)), *words, env=env).finish()
    assert done.code == 3, done.out + done.err
    (verdict,) = done.verdicts(outcome="ERROR")
    assert (verdict["check"], verdict["device"]) == ("health", "cuda:1")
    assert "process 4711 (python3)" in verdict["reason"]
    assert not done.verdicts(outcome="FAIL")


def test_an_error_of_a_step_that_crashed_is_found_in_the_step_that_remains(tmp_path: Path) -> None:
    gpus = tmp_path / "gpus"
    env = environment(build(tmp_path / "lib"), describe(gpus, two()))
    words = ("--nodes", "2", "--gpus-per-node", "2", "--launcher", "local")
    run = submit(tmp_path / "runs", suite_file(tmp_path, SUITE.format(load_s=2.0)), *words, env=env)
    pid = run.pid(2, check="os_noise")
    describe(gpus, two(ecc_volatile="0/1"))
    os.kill(pid, signal.SIGKILL)
    done = run.finish()
    assert done.events("death")
    assert {(v["device"], v["metric"]) for v in done.verdicts(outcome="FAIL")} == {("cuda:1", "ecc_uncorrected")}
    assert {v["outcome"] for v in done.verdicts(metric="lost")} == {"PASS"}
