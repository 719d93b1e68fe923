"""Real ranks: on six networks of their own, one link of which is slow, and in the groups of a real Slurm with leaf switches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults import network
from faults.isolation import broken_python
from support.builders import plan
from support.slurm_fixtures import WHY_NOT
from support.submission import submit, suite_file
from system.cluster import VirtualSlurm

from hpcaccept.app.isolate.leaves import leaves_of

if TYPE_CHECKING:
    from support.submission import Finished

SUITE = """
[checks.group_collectives]
size_bytes = 131072
blocks = 1
block_s = 0.01
leaves = ["node[0-2]", "node[3-5]"]
"""
_MBIT = 400


def shares(done: Finished) -> dict[str, float]:
    found = done.verdicts(check="group_collectives", metric="group_share")
    return {v["variant"].replace("/all_reduce/128KiB", ""): v["value"] for v in found}


@pytest.mark.mpi
@pytest.mark.alone
@pytest.mark.skipif(bool(network.why_not()), reason=network.why_not())
def test_a_slow_link_makes_the_groups_slow_that_it_is_in_and_the_smallest_is_named(tmp_path: Path) -> None:
    with network.network(6, _MBIT) as net:
        net.slow_link(4, 5, _MBIT // 40)
        env = broken_python(tmp_path, {"kind": "network", "prefix": net.prefix})
        words = ("--nodes", "6", "--launcher", "local")
        done = submit(tmp_path / "runs", suite_file(tmp_path, SUITE), *words, env=env).finish(300)
    slow = {variant: share for variant, share in shares(done).items() if share < 0.8}
    assert set(slow) == {"2 nodes/node4, node5", "leaves of 3 nodes/leaf 2"}, done.out + done.err
    verdicts = [v for v in done.verdicts(metric="group_share") if v["value"] < 0.8]
    # Where somebody else used this machine meanwhile nobody is blamed; else the group is, and none of its nodes.
    assert {v["code"] for v in verdicts} <= {"group-slow", "others-ran"}
    assert {v["node"] for v in verdicts} == {""}
    assert all("smallest slow groups: node[4-5]" in v["reason"] for v in verdicts if v["code"] == "group-slow")
    verified = done.verdicts(metric="wrong_elements")
    assert {v["node"] for v in verified} == {f"node{k}" for k in range(6)}
    assert {v["outcome"] for v in verified} == {"PASS"}


@pytest.mark.mpi
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_groups_are_the_leaves_of_the_real_slurm_and_an_isolation_knows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = SUITE.partition("leaves")[0]
    with VirtualSlurm.up(Path(f"/run/hpcaccept-test-{os.getpid()}-t"), leaf_nodes=2) as slurm:
        done = submit(tmp_path / "runs", suite_file(tmp_path, suite), "--nodes", "4", env=slurm.env).finish(300)
        for name, value in slurm.env.items():
            monkeypatch.setenv(name, value)
        assert leaves_of(plan()) == {f"node{k}": f"leaf{k // 2}" for k in range(4)}
    levels = {v["variant"] for v in done.verdicts(metric="busbw_bytes")}
    assert levels == {"leaves of 2 nodes/all_reduce/128KiB"}, (
        "groups of two nodes are the leaves, which are measured once"
    )
    verified = done.verdicts(metric="wrong_elements")
    assert {(v["node"], v["outcome"]) for v in verified} == {(f"node{k}", "PASS") for k in range(4)}
