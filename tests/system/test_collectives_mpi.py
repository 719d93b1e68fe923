"""Real ranks under a real mpiexec exchange over gloo and MPI, copy, and find what is wrong with the rank that has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.submission import Finished, submit, suite_file

DATA = Path(__file__).parents[1] / "data" / "nccl_log"
pytestmark = pytest.mark.mpi
#: Rails are held against each other's rates.
alone = pytest.mark.alone

SUITE = """
[checks.allreduce]
sizes_bytes = [4096]
block_s = 0.002
blocks = 2
[checks.collectives]
sizes_bytes = [4096, 1048576]
block_s = 0.002
blocks = 2
[checks.transfers]
size_bytes = 1048576
block_s = 0.002
required = false
[checks.peer_to_peer]
size_bytes = 1048576
block_s = 0.002
[peers]
enabled = false
"""
OPERATIONS = {"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"}
WAYS = {"h2d", "d2h", "both"}
RANKS = {("node0", "cpu:0"), ("node0", "cpu:1"), ("node1", "cpu:0"), ("node1", "cpu:1")}
#: Runs in every Python that starts with it on its path; a rank of the step is told by its launcher's variable.
HARM = """
import importlib, os
if os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK")) in {ranks}:
    module = importlib.import_module("hpcaccept.checks.{module}")
    {body}
"""
SPOILT_SHARE = """
    real = module.exchange
    def exchange(operation, team, device, length):
        work = real(operation, team, device, length)
        def call(one=work.call):
            one()
            if operation == "all_to_all" and team.group == "rail":
                work.target[length // 2] += 1
        return type(work)(call, work.refill, work.target, work.parts)
    module.exchange = exchange
"""
NO_REDUCE_SCATTER = """
    import functools
    def missing(operation):
        import torch.distributed as dist
        if operation == "reduce_scatter":
            def call(*_, **__):
                raise RuntimeError("ProcessGroupGloo does not support reduce_scatter")
            return call
        return dist.all_gather_single if hasattr(dist, "all_gather_single") else dist.all_gather_into_tensor
    importlib.import_module("hpcaccept.checks.shared.exchange")._newer = missing
"""
#: The ranks tell what NCCL would have logged on them: InfiniBand on node0, TCP and then nonsense on node1.
NCCL_LOGS = """
    real = module.report
    def report(ctx, backend, wish):
        os.environ["NCCL_DEBUG"] = "INFO"
        os.environ["NCCL_DEBUG_FILE"] = {logs!r}[ctx.rank]
        module.active_ports = lambda: ("mlx5_0/1 (InfiniBand)",)
        real(ctx, "nccl", wish)
    module.report = report
"""
FLIPPED_BIT = """
    real = module.Lane.call
    def call(lane):
        real(lane)
        lane.target[4711] ^= 1 << 40
    module.Lane.call = call
"""


def run(tmp_path: Path, suite: str, harm: str = "", nodes: int = 2, timeout_s: float = 240) -> Finished:
    """Virtual nodes with two ranks each."""
    folder = tmp_path / "harm"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(harm)
    words = ("--nodes", str(nodes), "--ranks-per-node", "2", "--launcher", "local")
    env = {"PYTHONPATH": str(folder)} if harm else {}
    return submit(tmp_path / "runs", suite_file(tmp_path, suite), *words, env=env).finish(timeout_s)


def harm(ranks: str, module: str, body: str) -> str:
    """A sitecustomize that changes a check on these ranks (``"02"``: ranks 0 and 2)."""
    return HARM.format(ranks=list(ranks), module=module, body=body.strip())


def wrong(done: Finished) -> set[tuple[str, str, str, float]]:
    return {(v["node"], v["device"], v["variant"], v["value"]) for v in done.verdicts(outcome="FAIL")}


def only(check: str) -> str:
    """The suite with this check alone."""
    params = SUITE.partition(f"[checks.{check}]")[2].partition("[checks")[0]
    return f"[checks.{check}]{params}[peers]\nenabled = false\n"


@alone
def test_healthy_ranks_exchange_rightly_in_every_way(tmp_path: Path) -> None:
    done = run(tmp_path, SUITE)
    assert done.code == 0, done.out + done.err
    verified = done.verdicts(check="collectives", metric="wrong_elements")
    assert {(v["node"], v["device"]) for v in verified} == RANKS
    assert {v["outcome"] for v in verified} == {"PASS"}
    for size in ("4KiB", "1MiB"):
        expected = {f"{op}/{team}/{size}" for op in OPERATIONS for team in ("node", "rail0", "rail1", "world")}
        assert {v["variant"] for v in verified if v["variant"].endswith(size)} == expected - {
            f"all_reduce/world/{size}"
        }
    of_nodes = done.verdicts(check="collectives", metric="node_busbw_bytes")
    crowded = "ranks outnumber cores" in str(done.verdicts(check="collectives", variant="node_busbw_bytes"))
    assert crowded or {(v["node"], v["variant"]) for v in of_nodes} == {
        (node, f"{op}/node/1MiB") for node in ("node0", "node1") for op in OPERATIONS
    }
    of_rails = done.verdicts(check="collectives", metric="busbw_bytes")
    assert {v["variant"].split("/")[1] for v in of_rails} == {"world", "rail0", "rail1"}
    assert {v["reason"] for v in done.verdicts(check="collectives", variant="fallback")} == {
        "not supported: gloo does not say what it uses, and stands in for NCCL here"
    }
    copied = done.verdicts(check="transfers", metric="wrong_elements")
    assert {(v["node"], v["device"]) for v in copied} == RANKS
    assert {v["variant"] for v in copied} == WAYS | (set() if crowded else {f"{way}/together" for way in WAYS})
    cells = done.verdicts(check="peer_to_peer", metric="wrong_elements")
    assert {(v["node"], v["device"], v["variant"]) for v in cells} == {
        (node, "", cell) for node in ("node0", "node1") for cell in ("0→1", "1→0", "0↔1")
    }


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two ranks need two cores to measure side by side")
@alone
def test_one_node_alone_has_numbers_of_its_own_and_no_world(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        only("collectives") + "[checks.transfers]\nsize_bytes = 1048576\nblock_s = 0.002\nrequired = false\n",
        nodes=1,
    )
    assert done.code == 0, done.out + done.err
    for metric, size in (("node_busbw_bytes", "1MiB"), ("node_latency_s", "4KiB")):
        found = {(v["node"], v["variant"]) for v in done.verdicts(check="collectives", metric=metric)}
        assert found == {("node0", f"{op}/node/{size}") for op in OPERATIONS}
    absent = {v["variant"]: v["reason"] for v in done.verdicts(check="collectives", outcome="NOT_RUN")}
    assert {"world", "rail"} <= set(absent)
    assert "all ranks are on one node" in absent["world"]
    copied = done.verdicts(check="transfers", metric="wrong_elements")
    assert {v["variant"] for v in copied} == WAYS | {f"{way}/together" for way in WAYS}


@alone
def test_a_spoilt_element_is_found_on_the_rank_and_in_the_collective_that_have_it(tmp_path: Path) -> None:
    done = run(tmp_path, only("collectives"), harm("2", "collectives", SPOILT_SHARE))
    assert done.code == 1, done.out + done.err
    assert wrong(done) == {("node1", "cpu:0", f"all_to_all/rail0/{size}", 1.0) for size in ("4KiB", "1MiB")}
    assert "NOT ACCEPTED: node1" in done.out


@alone
def test_a_collective_that_the_backend_lacks_is_not_run_and_says_why(tmp_path: Path) -> None:
    done = run(tmp_path, only("collectives"), harm("0123", "collectives", NO_REDUCE_SCATTER))
    assert done.code == 0, done.out + done.err
    said = {v["variant"]: v["reason"] for v in done.verdicts(check="collectives", outcome="NOT_RUN")}
    for group in ("world", "node", "rail"):
        assert "does not support reduce_scatter" in said[f"reduce_scatter/{group}"]
    measured = {v["variant"].split("/")[0] for v in done.verdicts(check="collectives", metric="wrong_elements")}
    assert measured == OPERATIONS - {"reduce_scatter"}


def test_a_bit_that_a_copy_flips_is_found_on_its_rank(tmp_path: Path) -> None:
    done = run(tmp_path, only("transfers"), harm("1", "transfers", FLIPPED_BIT))
    assert done.code == 1, done.out + done.err
    expected = {("node0", "cpu:1", "both", 2.0), *(("node0", "cpu:1", way, 1.0) for way in ("h2d", "d2h"))}
    assert {found for found in wrong(done) if "together" not in found[2]} == expected
    assert {found[:2] for found in wrong(done)} == {("node0", "cpu:1")}


def test_tcp_instead_of_rdma_fails_the_ranks_that_use_it_and_an_unknown_log_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "nonsense.log").write_text("node1:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via TELEGRAPH/0\n")
    rdma, tcp = str(DATA / "h100-2nodes-ib-2.21.log"), str(DATA / "aicr-2683-tcp-instead-of-rdma-2.27.log")
    logs = [rdma, rdma, tcp, str(tmp_path / "nonsense.log")]
    done = run(tmp_path, only("allreduce"), harm("0123", "shared.nccl_transport", NCCL_LOGS.format(logs=logs)))
    assert done.code == 1, done.out + done.err
    assert wrong(done) == {("node1", "cpu:0", "rdma", 1.0)}
    passed = done.verdicts(metric="fallback", outcome="PASS")
    assert {(v["node"], v["device"]) for v in passed} == {("node0", "cpu:0"), ("node0", "cpu:1")}
    (unknown,) = done.verdicts(outcome="ERROR")
    assert (unknown["node"], unknown["device"], unknown["metric"]) == ("node1", "cpu:1", "channels")
    (kept,) = done.folder.glob("outputs/*/allreduce.r000003.nccl.log")
    assert "TELEGRAPH" in kept.read_text()
