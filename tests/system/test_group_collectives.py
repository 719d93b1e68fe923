"""Real ranks on six networks of their own, one link of which is slow: the groups that it is in are named, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faults import network
from faults.isolation import broken_python
from support.submission import submit, suite_file

if TYPE_CHECKING:
    from pathlib import Path

    from support.submission import Finished

SUITE = """
[checks.group_collectives]
size_bytes = 131072
blocks = 2
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
        net.slow_link(4, 5, _MBIT // 10)
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
