"""The gate under a real slurmd, and marks on a real slurmctld: from a node that loses a file system to one that comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults import marks
from support.slurm_fixtures import WHY_NOT
from support.submission import command, noise, suite_file, until
from system.cluster import VirtualSlurm

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slurm, pytest.mark.mpi]

#: Of the interleavings of ``python -m faults.marks``, which does two hundred.
FEW = 16


class Fleet:
    """Four nodes with the gate installed as docs/how-to/fleet.md says; each has a file system of its own at one place."""

    def __init__(self, cluster: VirtualSlurm, folder: Path) -> None:
        self.cluster, self.folder, self.runs = cluster, folder, folder / "runs"
        self.env = {**cluster.env, "HPCACCEPT_GPUS_PER_NODE": "0", "XDG_CONFIG_HOME": str(folder)}
        self.home, self.site = cluster.folder / "home", cluster.folder / "site"
        self.home.mkdir()
        self.site.mkdir()
        for node in cluster.node_names:
            self.mount(node)

    def inside(self, node: str, *words: str) -> None:
        pid = self.cluster.slurmd_pid(node)
        subprocess.run(["nsenter", "-t", str(pid), "-m", *words], check=True)

    def mount(self, node: str) -> None:
        self.inside(node, "mount", "-n", "-t", "tmpfs", "-o", "size=1m", "home", str(self.home))

    def unmount(self, node: str) -> None:
        self.inside(node, "umount", "-n", str(self.home))

    def install(self) -> None:
        (self.site / "node-check.toml").write_text(f'gpus = 0\nclock = false\n[mounts."{self.home}"]\nkind = "tmpfs"\n')
        done = self.type(
            "node-check", "install", "--yes", "--folder", str(self.site), "--config", str(self.site / "node-check.toml"),
            # /dev/shm is each node's own.
            "--state-dir", "/dev/shm/node-check", "--log", str(self.site / "log"), "--interval", "10",
            "--slurm-conf", str(self.cluster.folder / "slurm.conf"), "--prometheus", str(self.site / "health.prom"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Now type: scontrol reconfigure" in done.stdout
        self.cluster.configure("HealthCheckInterval=5")

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        return command(*words, env=self.env)

    def nodes(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.type("nodes", *words, "--runs-dir", str(self.runs))

    def ask(self, *words: str) -> str:
        done = subprocess.run(words, env={**os.environ, **self.env}, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def state(self, node: str) -> str:
        return self.ask("sinfo", "-h", "-N", "-p", "gpu", "-n", node, "-o", "%T|%E")

    def drain(self, node: str) -> str:
        return self.ask("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=bad DIMM")

    def log(self) -> str:
        file = self.site / "log"
        return file.read_text() if file.exists() else ""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if WHY_NOT:
        pytest.skip(f"no virtual Slurm: {WHY_NOT}")
    with VirtualSlurm.up(Path(f"/run/hpcaccept-test-{os.getpid()}-f")) as cluster:
        yield Fleet(cluster, tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="module")
def gated(fleet: Fleet) -> Fleet:
    fleet.install()
    return fleet


# --- marks ------------------------------------------------------------------------------------------------------------


def test_whatever_others_do_in_between_nothing_of_theirs_is_changed(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in fleet.cluster.env.items():
        monkeypatch.setenv(name, value)
    table = marks.run(fleet.cluster, range(1000, 1000 + FEW), fleet.folder / "marks")
    assert not table.bad, table.bad
    assert {one.ours for one in table.outcomes} == set(marks.OURS)
    assert any(one.result == "overtaken" for one in table.outcomes)


def test_a_node_that_failed_a_run_is_quarantined_and_comes_back_through_the_gate(fleet: Fleet) -> None:
    suite = suite_file(fleet.folder, noise(0.2))
    bad = fleet.folder / "bad.toml"
    bad.write_text(suite.read_text().replace("upper = 1.0", "upper = -1.0"))
    words = ["submit", "--nodelist", "node3", "--runs-dir", str(fleet.runs), "--baselines-dir", str(fleet.folder)]
    failed = fleet.type(*words, "--suite", str(bad), "--quarantine", "--yes")
    assert failed.returncode == 1, failed.stderr
    assert "node3: quarantine: done" in failed.stderr
    (mark,) = json.loads(fleet.nodes("list", "--json").stdout)
    assert (mark["node"], mark["code"], mark["checks"]) == ("node3", "cpu-taken", ["os_noise"])
    until(lambda: "maint" in fleet.state("node3"), 20)
    reserved = ["--slurm", f"reservation={mark['reservation']}"]
    for times in (0, 1):
        early = fleet.nodes("resume", "node3", "--yes")
        assert early.returncode == 3
        assert f"{times} of 2 passing runs" in early.stdout
        passed = fleet.type(*words, "--suite", str(suite), *reserved)
        assert passed.returncode == 0, passed.stdout + passed.stderr
    assert fleet.nodes("resume", "node3", "--yes").returncode == 0
    assert "No node carries a mark" in fleet.nodes("list").stdout


# --- the gate ---------------------------------------------------------------------------------------------------------


def test_a_prolog_keeps_jobs_off_a_node_and_the_health_check_says_why(gated: Fleet) -> None:
    assert gated.ask("srun", "-w", "node0,node1", "-N2", "hostname").split() != []
    until(lambda: gated.log().count(" epilog ") == 2, 60)
    gated.drain("node0")
    gated.unmount("node0")
    gated.unmount("node1")
    job = gated.ask("sbatch", "--parsable", "-w", "node1", "-o", "/dev/null", "--wrap", "true")
    until(lambda: "hpcaccept drain" in gated.state("node1"), 90, lambda: gated.state("node1") + gated.log())
    gated.ask("scancel", job)
    assert "run=node-check code=mount-missing: mount " in gated.state("node1")
    # Somebody else has drained this one, and it stays theirs.
    assert gated.state("node0") == "drained|bad DIMM"
    assert "mount-missing" in gated.log()
    listed = json.loads(gated.nodes("list", "--json").stdout)
    assert [(mark["node"], mark["code"], mark["run"]) for mark in listed] == [("node1", "mount-missing", "node-check")]


def test_the_health_check_drains_a_node_that_is_idle(gated: Fleet) -> None:
    gated.unmount("node2")
    until(lambda: "code=mount-missing" in gated.state("node2"), 90, lambda: gated.state("node2") + gated.log())
    gated.mount("node2")
    quarantined = gated.nodes("quarantine", "node2", "--yes")
    assert "node2: quarantine: done" in quarantined.stdout, quarantined
    assert "node2: resume: done" in quarantined.stdout
    assert gated.nodes("undo", "node2", "--yes").returncode == 0


def test_no_slurm_command_and_no_socket_is_used(fleet: Fleet) -> None:
    words = ["node-check", "--state-dir", str(fleet.folder / "state"), "--phase", "prolog", "--job", "1"]
    trace = fleet.folder / "trace"
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=execve,execveat,socket,socketpair,connect", "-o", str(trace), sys.executable, "-m", "hpcaccept", *words],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    calls = [line for line in trace.read_text().splitlines() if "(" in line]
    assert len(calls) == 1, calls
    assert "execve" in calls[0]


def test_what_is_measured_on_an_idle_node_is_kept_for_the_gate(fleet: Fleet) -> None:
    state, suite = str(fleet.folder / "deep"), suite_file(fleet.folder, noise(0.1))
    words = ["node-check", "--state-dir", state]
    measured = fleet.type(*words, "--deep", "--suite", str(suite))
    if "slurmstepd" in measured.stderr:  # of another test's cluster on this machine
        pytest.skip("another cluster's job runs on this machine, so nothing is measured")
    assert measured.returncode == 0, measured.stdout + measured.stderr
    config = fleet.folder / "deep.toml"
    config.write_text("gpus = 0\nclock = false\ndeep = true\n")
    gate = fleet.type(*words, "--config", str(config))
    assert [item["outcome"] for item in json.loads(gate.stdout)["items"] if item["part"] == "deep"] == ["PASS"]
