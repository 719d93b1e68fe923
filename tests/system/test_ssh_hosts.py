"""Hosts over ssh on bad days: who cannot be reached, who lacks what, who dies on the way. The others are measured all the same."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.submission import images_of, noise, submit, suite_file

if TYPE_CHECKING:
    from pathlib import Path

    from support.ssh_hosts import Hosts

pytestmark = pytest.mark.mpi


def test_hosts_that_cannot_be_used_are_named_and_the_others_are_measured(tmp_path: Path, four_hosts: Hosts) -> None:
    """One has no sshd, one does not see the run folder, one does not exist."""
    runs = tmp_path / "runs"
    runs.mkdir()
    four_hosts.kill(2)
    four_hosts.kill(3)
    four_hosts.sshd(3, setup=f"mount -t tmpfs tmpfs {runs}")
    try:
        names = "node[0-3],nowhere"
        done = submit(runs, suite_file(tmp_path, noise(0.1)), "--nodelist", names, env=four_hosts.env).finish()
    finally:
        four_hosts.kill(3)
        four_hosts.sshd(2)
        four_hosts.sshd(3)
    assert done.code == 3, done.out + done.err
    bad = dict.fromkeys(("node2", "node3", "nowhere"), "ERROR")
    assert done.report["nodes"] == {"node0": "PASS", "node1": "PASS", **bad}
    told = {e["nodes"][0]: e for e in done.events("not_entered")}
    assert told.keys() == bad.keys()
    assert "nothing listens for ssh there" in told["node2"]["detail"]
    assert "does not see the run folder" in told["node3"]["detail"]
    assert "--runs-dir" in told["node3"]["remedy"]
    assert "its name cannot be resolved" in told["nowhere"]["detail"]
    assert not done.verdicts(outcome="FAIL")


def test_a_killed_rank_costs_one_check_on_its_host(tmp_path: Path, four_hosts: Hosts) -> None:
    suite = suite_file(tmp_path, noise(3.0, "os_noise", "os_noise:later"))
    run = submit(tmp_path / "runs", suite, "--nodelist", "node[0-1]", env=four_hosts.env)
    os.kill(run.pid(1, check="os_noise"), signal.SIGKILL)
    done = run.finish()
    assert done.code == 3, done.out + done.err
    (death,) = done.events("death")
    assert (death["nodes"], death["ranks"], death["check"]) == (["node1"], [1], "os_noise")
    assert {v["node"] for v in done.verdicts(outcome="PASS", check="os_noise")} == {"node0"}
    assert {v["node"] for v in done.verdicts(outcome="PASS", check="os_noise:later")} == {"node0", "node1"}
    assert not done.events("excluded")
    assert not done.verdicts(outcome="FAIL")


def test_a_host_that_dies_on_the_way_costs_one_check_and_is_left_out(tmp_path: Path, four_hosts: Hosts) -> None:
    suite = suite_file(tmp_path, noise(3.0, "os_noise", "os_noise:later"))
    run = submit(tmp_path / "runs", suite, "--nodelist", "node[0-2]", env=four_hosts.env)
    run.pid(1, check="os_noise")
    try:
        four_hosts.kill(1)
        done = run.finish()
    finally:
        four_hosts.sshd(1)
    assert done.code == 3, done.out + done.err
    (death,) = done.events("death")
    assert (death["nodes"], death["check"]) == (["node1"], "os_noise")
    assert done.verdicts(outcome="ERROR", node="node1", check="os_noise")
    (left,) = done.events("excluded")
    assert "cannot be reached" in left["detail"]
    for check in ("os_noise", "os_noise:later"):
        assert {v["node"] for v in done.verdicts(outcome="PASS", check=check)} == {"node0", "node2"}
    assert not done.verdicts(outcome="FAIL")


def test_a_host_is_called_as_it_was_named_and_nothing_asks_for_a_password(tmp_path: Path, four_hosts: Hosts) -> None:
    """Two ranks each, names with a domain and out of order; a key that is refused is told as such."""
    config = tmp_path / "ssh_config"
    config.write_text(
        f"Host gpu9.rack.example\n  HostName {four_hosts.address(0)}\n"
        f"Host gpu10.rack.example\n  HostName {four_hosts.address(3)}\n"
        f"Host locked\n  HostName {four_hosts.address(1)}\n  User nobody\nMatch all\n  Include {four_hosts.config}\n"
    )
    env = {**four_hosts.env, "OMPI_MCA_plm_rsh_agent": f"ssh -F {config}", "HPCACCEPT_IMAGE": "the; image"}
    names = "gpu10.rack.example,gpu9.rack.example,locked"
    suite = suite_file(tmp_path, noise(0.1))
    done = submit(tmp_path / "runs", suite, "--nodelist", names, "--ranks-per-node", "2", env=env).finish()
    assert done.code == 3, done.out + done.err
    nodes = done.report["nodes"]
    assert nodes == {"gpu9.rack.example": "PASS", "gpu10.rack.example": "PASS", "locked": "ERROR"}
    assert "without a password" in done.events("not_entered")[0]["detail"]
    names_inside = {
        line.partition('"hostname":"')[2].partition('"')[0]
        for file in (done.folder / "records/00").iterdir()
        for line in file.read_text().splitlines()
        if '"node":"gpu9.rack.example"' in line and '"hostname":"' in line
    }
    assert names_inside == {"inner0"}
    assert images_of(done.folder) == {"the; image"}, "ranks see the variables of whoever submits"
    assert os.uname().nodename not in nodes
