"""A campaign on a real Slurm: within its cap, in no user's way, and nothing twice when its process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.submission import command, noise, suite_file, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from system.cluster import VirtualSlurm

pytestmark = [pytest.mark.slurm, pytest.mark.mpi]
#: Seconds within which anything happens on a machine that is busy with other things.
PATIENCE_S = 120


class Site:
    """A runs folder of its own, and what is typed there."""

    def __init__(self, folder: Path, cluster: VirtualSlurm) -> None:
        self.folder, self.runs = folder, folder / "runs"
        self.env = {
            **cluster.env,
            "HPCACCEPT_GPUS_PER_NODE": "0",
            "XDG_CONFIG_HOME": str(folder),
            "HPCACCEPT_RUNS_DIR": str(self.runs),
        }

    def typed(self, *words: str) -> subprocess.CompletedProcess[str]:
        return command("campaign", *words, env=self.env)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "hpcaccept", "campaign", *words],
            env={**os.environ, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start(self, noise_s: float, *words: str) -> subprocess.Popen[str]:
        suite = suite_file(self.folder, noise(noise_s))
        options = ("--suite", str(suite), "--baselines-dir", str(self.folder / "baselines"), "--nodes-per-job", "1")
        return self.begin("start", "--name", "c", *options, *words)

    def journal(self, kind: str) -> list[dict[str, Any]]:
        file = self.runs / "campaigns" / "c" / "journal.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [line["data"] for line in lines if line["kind"] == kind]

    def ask(self, *words: str) -> str:
        env = {**os.environ, **self.env, "SLURM_TIME_FORMAT": "%s"}
        return subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout.strip()

    def users_job(self, *options: str) -> str:
        return self.ask(
            "sbatch", "--parsable", "--output=/dev/null", "-t", "5", "--exclusive", *options, "--wrap", "sleep 200"
        )

    def job(self, number: str) -> dict[str, str]:
        return self._fields(self.ask("scontrol", "-o", "show", "job", number))

    def ours(self) -> list[dict[str, str]]:
        """Every job that this campaign has had, as Slurm knows it."""
        runs = {run["run"] for run in self.journal("submitting")}
        lines = self.ask("scontrol", "-o", "show", "job").splitlines()
        return [job for job in map(self._fields, lines) if job.get("Comment") in runs]

    @staticmethod
    def _fields(line: str) -> dict[str, str]:
        return dict(word.split("=", 1) for word in line.split() if "=" in word)


@pytest.fixture
def site(tmp_path: Path, plain_slurm: VirtualSlurm) -> Iterator[Site]:
    found = Site(tmp_path, plain_slurm)
    until(lambda: set(found.ask("sinfo", "-h", "-p", "gpu", "-o", "%T").split()) == {"idle"}, PATIENCE_S)
    yield found
    if jobs := found.ask("squeue", "-h", "-o", "%A").split():
        found.ask("scancel", *jobs)
    until(lambda: set(found.ask("sinfo", "-h", "-p", "gpu", "-o", "%T").split()) == {"idle"}, PATIENCE_S)


def test_two_at_once_over_four_nodes_of_which_one_is_never_idle_and_nothing_twice_after_a_kill(site: Site) -> None:
    users = site.users_job("-w", "node1")
    until(lambda: site.job(users)["JobState"] == "RUNNING", PATIENCE_S)
    first = site.start(2.0, "--cap", "gpu=2")
    until(lambda: len(list(site.runs.glob("*/driver.jsonl"))) == 2, PATIENCE_S)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=PATIENCE_S)
    assert "Process:  none" in site.typed("status").stdout
    second = site.begin("resume")
    until(lambda: len(site.journal("concluded")) == 3, PATIENCE_S)
    # One campaign at a time, and one process at it.
    assert "is not over, and two would test the same nodes" in site.typed("start").stderr
    assert "holds the lock" in site.typed("run-once").stderr
    assert "the process that works on it ends it now" in site.typed("stop").stderr
    out, _ = second.communicate(timeout=PATIENCE_S)
    assert "Never idle (1)\n  node1: not idle: ALLOCATED" in out, out
    assert second.returncode == 3
    report = json.loads(site.typed("report", "--format", "json").stdout)
    assert {row["node"]: (row["state"], row["tries"]) for row in report["nodes"]} == {
        "node0": ("tested", 1), "node1": ("never idle", 0), "node2": ("tested", 1), "node3": ("tested", 1),
    }  # fmt: skip
    assert (report["state"], report["false_alarms"]["runs"]) == ("stopped", 3)
    jobs = site.ours()
    assert sorted(job["NodeList"] for job in jobs) == ["node0", "node2", "node3"]
    starts = [int(job["StartTime"]) for job in jobs]
    at_once = max(sum(int(job["StartTime"]) <= when < int(job["EndTime"]) for job in jobs) for when in starts)
    assert at_once <= 2
    assert site.job(users)["JobState"] == "RUNNING"


def test_a_users_job_that_arrives_has_its_node_and_no_other_test_is_ended(site: Site) -> None:
    campaign = site.start(50.0, "--nodelist", "node[0-1]", "--max-share", "0.5")
    until(lambda: len(list(site.runs.glob("*/driver.jsonl"))) == 2, PATIENCE_S)
    users = site.users_job("-w", "node0")
    until(lambda: site.job(users)["JobState"] == "RUNNING", PATIENCE_S)
    site.typed("stop")
    out, _ = campaign.communicate(timeout=PATIENCE_S)
    (yielded,) = site.journal("yielding")
    (withdrawn,) = [one for one in site.journal("withdrawn") if one.get("kind") == "room"]
    assert (yielded["job"], yielded["run"]) == (users, withdrawn["run"])
    nodes_of = {run["run"]: run["nodes"] for run in site.journal("submitting")}
    assert nodes_of[yielded["run"]] == ["node0"]
    assert "Made room for users' jobs: 1" in out, out
    (ended,) = [job for job in site.ours() if job["Comment"] == yielded["run"]]
    assert ended["JobState"] == "CANCELLED"
    assert int(ended["EndTime"]) <= int(site.job(users)["StartTime"])
    # No node was tried a second time while the user had it.
    assert sorted(node for nodes in nodes_of.values() for node in nodes) == ["node0", "node1"]
    assert site.job(users)["JobState"] == "RUNNING"
