"""Nights on a real Slurm: idle nodes in turn, users first, and nothing twice when a night is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.submission import ROOT, command, noise, suite_file, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from system.cluster import VirtualSlurm

pytestmark = [pytest.mark.slurm, pytest.mark.mpi]


class Site:
    """A runs folder of its own, and what is typed there."""

    def __init__(self, folder: Path, cluster: VirtualSlurm) -> None:
        self.folder, self.runs = folder, folder / "runs"
        self.env = {**cluster.env, "HPCACCEPT_GPUS_PER_NODE": "0", "XDG_CONFIG_HOME": str(folder)}
        self.suite = suite_file(folder, noise(0.1))

    def words(self, *options: str) -> list[str]:
        return [
            "nightly", "run", "--suite", str(self.suite), "--runs-dir", str(self.runs),
            "--baselines-dir", str(self.folder / "baselines"), "--max-share", "0.5", *options,
        ]  # fmt: skip

    def night(self, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
        return command(*self.words(*options), env={**self.env, **env})

    def begin(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "hpcaccept", *self.words(*options)],
            env={**os.environ, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def status(self) -> tuple[int, dict[str, Any]]:
        done = command("nightly", "status", "--json", "--runs-dir", str(self.runs), env=self.env)
        return done.returncode, json.loads(done.stdout)

    def journal(self, kind: str) -> list[dict[str, Any]]:
        file = self.runs / "nightly" / "journal.jsonl"
        words = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [word["data"] for word in words if word["kind"] == kind]

    def ask(self, *words: str) -> str:
        done = subprocess.run(words, env={**os.environ, **self.env}, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def users_job(self, *options: str) -> str:
        """A job of somebody else, once it runs."""
        job = self.ask("sbatch", "--parsable", "--output=/dev/null", "-t", "5", *options, "--wrap", "sleep 120")
        until(lambda: self.ask("squeue", "-h", "-o", "%T", "-j", job) == "RUNNING", 20)
        return job

    def jobs_of(self, run: str) -> list[str]:
        """Numbers of all jobs that were ever submitted for a run."""
        lines = self.ask("scontrol", "-o", "show", "job").splitlines()
        return [line.split()[0] for line in lines if f"Comment={run} " in line]

    def faster_sbatch(self, before: str = "", after: str = "") -> str:
        """A PATH whose sbatch does something before or after the real one: what happens at that very moment."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        real = shutil.which("sbatch")
        (folder / "sbatch").write_text(f'#!/bin/sh\n{before}\n{real} "$@"\ncode=$?\n{after}\nexit $code\n')
        (folder / "sbatch").chmod(0o755)
        return f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def site(tmp_path: Path, plain_slurm: VirtualSlurm) -> Iterator[Site]:
    found = Site(tmp_path, plain_slurm)
    until(lambda: set(found.ask("sinfo", "-h", "-p", "gpu", "-o", "%T").split()) == {"idle"}, 30)
    yield found
    if jobs := found.ask("squeue", "-h", "-o", "%A").split():
        found.ask("scancel", *jobs)


def test_idle_nodes_have_their_turn_and_a_users_node_is_left_alone(site: Site) -> None:
    users = site.users_job("-w", "node1")
    now = datetime.now().astimezone()
    window = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=2):%H:%M}"
    first = site.night("--window", window)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "2 nodes tested" in first.stdout
    second = site.night("--nodes-per-job", "1")
    assert second.returncode == 0, second.stdout + second.stderr
    assert [night["nodes"] for night in site.journal("chosen")] == [["node0", "node2"], ["node3", "node0"]]
    assert site.journal("chosen")[0]["left_out"] == {"not idle": 1, "beyond the cap": 1}
    assert [len(run["nodes"]) for run in site.journal("submitting")] == [2, 1, 1]
    assert site.ask("squeue", "-h", "-o", "%T %N", "-j", users) == "RUNNING node1"
    # Behind everybody, never again when it was preempted, and over before the window is.
    plan = json.loads((site.runs / site.journal("submitting")[0]["run"] / "plan.json").read_text())
    options = plan["request"]["slurm"]
    assert options["nice"] == "10000"
    assert 6900 <= int(options["deadline"].removeprefix("now+").removesuffix("seconds")) <= 7200
    code, status = site.status()
    assert (code, status["running"], status["open_runs"]) == (0, False, [])
    assert set(status["nodes"]) == {"node0", "node2", "node3"}
    assert site.ask("sinfo", "-h", "-N", "-p", "gpu", "-o", "%T").split() == ["idle", "mixed", "idle", "idle"]


def test_a_user_who_is_faster_has_the_nodes(site: Site) -> None:
    users = "sbatch --parsable --output=/dev/null -t 5 -N2 -w node0,node1 --exclusive --wrap 'sleep 120'"
    path = site.faster_sbatch(
        f"PATH=/usr/bin:/bin; job=$({users}); until squeue -h -o %T -j $job | grep -q RUNNING; do sleep 0.1; done"
    )
    done = site.night("--queue-timeout", "2", PATH=path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "no node tested (did not begin within 2 s: PENDING" in done.stdout
    assert "taken back" in done.stderr
    (taken,) = site.journal("withdrawn")
    assert taken["run"] == site.journal("submitting")[0]["run"]
    # The user's job runs, ours is gone.
    assert site.ask("squeue", "-h", "-o", "%T %N").splitlines() == ["RUNNING node[0-1]"]
    # These nodes were not tested: with the next chance they are still the first.
    assert site.status()[1]["nodes"] == {}


def test_a_second_night_at_the_same_time_is_refused(site: Site) -> None:
    suite_file(site.folder, noise(3.0))
    first = site.begin()
    until(lambda: site.journal("submitting"), 20)
    second = site.night()
    assert second.returncode == 3
    assert f"Another nightly run holds the lock in {site.runs}/nightly: process {first.pid} of" in second.stderr
    assert "Nothing was started" in second.stderr
    code, status = site.status()
    assert (code, status["running"]) == (0, True)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 0, out + err
    assert len(site.journal("began")) == len(site.journal("submitting")) == 1


def test_a_killed_night_is_finished_by_the_next_and_nothing_is_submitted_twice(site: Site) -> None:
    suite_file(site.folder, noise(3.0))
    first = site.begin("--max-nodes", "1")
    until(lambda: list(site.runs.glob("*/driver.jsonl")), 30)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=10)
    code, status = site.status()
    assert (code, status["running"], len(status["cut_short"])) == (3, False, 1)
    suite_file(site.folder, noise(0.1))
    second = site.night("--max-nodes", "1")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "Finished now, after the night that began it was cut short" in second.stdout
    assert "2 nodes tested" in second.stdout
    runs = [run["run"] for run in site.journal("submitting")]
    assert [run["run"] for run in site.journal("concluded")] == runs
    assert [night["nodes"] for night in site.journal("chosen")] == [["node0"], ["node1"]]
    assert [len(site.jobs_of(run)) for run in runs] == [1, 1]
    assert site.status()[0] == 0


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_while_it_submits_the_job_is_found_again_or_never_was(site: Site, moment: str) -> None:
    killed = site.night("--max-nodes", "1", PATH=site.faster_sbatch(**{moment: "kill -9 $PPID; exit 1"}))
    assert killed.returncode == -signal.SIGKILL
    (run,) = (word["run"] for word in site.journal("submitting"))
    assert not (site.runs / run / "job.json").exists()
    done = site.night("--max-nodes", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    if moment == "after":
        assert len(site.jobs_of(run)) == 1
        assert next(word["run"] for word in site.journal("concluded")) == run
    else:
        assert site.jobs_of(run) == []
        assert [word["reason"] for word in site.journal("withdrawn")] == ["was never submitted"]
    assert site.status()[0] == 0


def test_a_dry_run_writes_nothing_and_knows_of_runs_by_hand(site: Site) -> None:
    done = site.night("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "# node0: never tested" in done.stdout
    assert "#SBATCH --nodelist='node[0-1]'" in done.stdout
    assert not site.runs.exists()
    by_hand = command(
        "submit", "--suite", str(site.suite), "--runs-dir", str(site.runs), "--nodelist", "node0",
        "--baselines-dir", str(site.folder / "baselines"), env=site.env,
    )  # fmt: skip
    assert by_hand.returncode == 0, by_hand.stderr
    later = site.night("--dry-run")
    assert "#SBATCH --nodelist='node[1-2]'" in later.stdout
    assert not (site.runs / "nightly").exists()


def test_a_job_that_was_ended_from_outside_is_no_news_of_its_nodes(site: Site) -> None:
    suite_file(site.folder, noise(30.0))
    night = site.begin("--max-nodes", "1")
    until(lambda: list(site.runs.glob("*/records/*/*.jsonl")), 30)
    site.ask("scancel", *site.ask("squeue", "-h", "-o", "%A").split())
    out, err = night.communicate(timeout=60)
    assert night.returncode == 3, out + err
    assert "no node tested (ended from outside before anything was judged" in out
    assert site.journal("concluded") == []
    assert site.status()[1]["nodes"] == {}


def test_a_real_crontab_takes_the_line_and_gives_back_what_was_there(tmp_path: Path) -> None:
    """With a spool of its own: no crontab of this machine is touched."""
    if os.geteuid() or not shutil.which("crontab"):
        pytest.skip("needs root and cron: bash tests/system/cluster/install.sh")
    spool, theirs = tmp_path / "spool", tmp_path / "theirs"
    spool.mkdir(mode=0o1730)
    theirs.write_bytes(b'# of others\nMAILTO=""\n5 4 * * * date +\\%F # \xff\n')
    work = tmp_path / "a folder of 100%"
    work.mkdir()
    script = """
set -eu
mount --bind "$1" /var/spool/cron/crontabs
cd "$3"
crontab -l 2>/dev/null && exit 9
crontab "$2"
"$4" -m hpcaccept nightly install --at 03:15 -- --max-nodes 3 >"$1/../shown" 2>"$1/../said"
crontab -l >"$1/../dry"
"$4" -m hpcaccept nightly install --at 03:15 --yes -- --max-nodes 3 >/dev/null
crontab -l >"$1/../installed"
"$4" -m hpcaccept nightly uninstall
crontab -l >"$1/../left"
"""
    subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(spool), str(theirs), str(work), sys.executable],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(tmp_path)},
    )
    before = theirs.read_bytes()
    shown = (tmp_path / "shown").read_bytes().removeprefix(b"# ---- crontab\n")
    assert b"15 3 * * * cd " in shown
    assert b"100\\%" in shown
    assert shown.count(b"--max-nodes 3 >>") == 1
    assert "Nothing is written" in (tmp_path / "said").read_text()
    assert (tmp_path / "dry").read_bytes() == before
    assert (tmp_path / "installed").read_bytes() == before + shown
    assert (tmp_path / "left").read_bytes() == before
    journal = (work / "runs" / "nightly" / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["data"] for line in journal] == [{"clock": "03:15"}, {"clock": ""}]


def test_a_night_inside_its_own_maintenance_has_its_nodes_and_nobody_else_has(site: Site) -> None:
    site.ask(
        "scontrol", "create", "reservation", "reservationname=night", "starttime=now", "duration=60", "users=root",
        "flags=maint,ignore_jobs", "nodes=node2,node3",
    )  # fmt: skip
    try:
        # Slurm sets the nodes' flags when it next looks.
        until(lambda: "MAINTENANCE+RESERVED" in site.ask("scontrol", "-o", "show", "node", "node2"), 30)
        outside = site.night("--max-share", "1", "--dry-run").stdout
        assert [node for node in ("node0", "node1", "node2", "node3") if f"# {node}: never tested" in outside] == [
            "node0",
            "node1",
        ]
        inside = site.night("--max-share", "1", "--slurm", "reservation=night")
        assert inside.returncode == 0, inside.stdout + inside.stderr
    finally:
        site.ask("scontrol", "delete", "reservationname=night")
    assert [night["nodes"] for night in site.journal("chosen")] == [["node2", "node3"]]
