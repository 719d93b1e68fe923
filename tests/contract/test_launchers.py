"""What every launcher promises: one test body, run against each of them for real."""

from __future__ import annotations

import json
import shlex
import time
from typing import TYPE_CHECKING

import pytest
from support.slurm_fixtures import LAUNCHERS
from support.submission import command, noise, submit, suite_file, until

from hpcaccept import launch

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.mpi


def test_every_launcher_is_under_contract() -> None:
    assert set(launch.names()) == set(LAUNCHERS)


def test_a_run_goes_from_command_to_verdict(tmp_path: Path, every_launcher_env: dict[str, str]) -> None:
    done = submit(tmp_path / "runs", suite_file(tmp_path, noise(0.1)), "-N", "4", env=every_launcher_env).finish()
    assert done.code == 0, done.out + done.err
    assert "ACCEPTED: 4 of 4 nodes" in done.out
    assert done.report["nodes"] == dict.fromkeys(["node0", "node1", "node2", "node3"], "PASS")
    assert done.report["coverage"]["judged"] == done.report["coverage"]["asked"] == 8
    assert [e["kind"] for e in done.report["events"]] == ["started", "step_started", "step_ended", "ended"]
    for name in ("plan.json", "job.json", "run.h5", "report.json", "driver.jsonl", "steps/00.json"):
        assert (done.folder / name).stat().st_size > 0


def test_a_dry_run_prints_every_command_and_leaves_nothing(tmp_path: Path, every_launcher_env: dict[str, str]) -> None:
    suite = suite_file(tmp_path, noise(0.1))
    words = ("submit", "-w", "node[0-1]", "--suite", str(suite), "--runs-dir", str(tmp_path / "runs"), "--dry-run")
    done = command(*words, env={**every_launcher_env, "HPCACCEPT_GPUS_PER_NODE": "0"})
    assert done.returncode == 0, done.stderr
    assert "hpcaccept.rank" in done.stdout
    assert not (tmp_path / "runs").exists()
    steps = [line for line in done.stdout.splitlines() if "-m hpcaccept.rank" in line]
    assert all(shlex.split(line) for line in steps)


def test_a_submission_can_be_left_asked_about_and_waited_for(
    tmp_path: Path, every_launcher_env: dict[str, str]
) -> None:
    suite = suite_file(tmp_path, noise(3.0))
    left = submit(tmp_path / "runs", suite, "-w", "node[0-1]", "--no-wait", env=every_launcher_env).finish(30)
    assert left.code == 0
    assert f"hpcaccept wait {left.folder.name}" in left.err
    runs = ("--runs-dir", str(tmp_path / "runs"))
    asked = command("status", *runs, env=every_launcher_env)
    assert "pending" in asked.stdout or "running" in asked.stdout, asked.stdout
    back = command("wait", *runs, env=every_launcher_env)
    assert back.returncode == 0, back.stdout + back.stderr
    assert "ended" in command("status", *runs, env=every_launcher_env).stdout
    again = command("report", *runs, "--format", "json", env=every_launcher_env)
    assert json.loads(again.stdout)["exit_code"] == 0


def test_a_cancelled_run_is_over_at_once_and_can_be_cancelled_twice(
    tmp_path: Path, every_launcher_env: dict[str, str]
) -> None:
    run = submit(
        tmp_path / "runs", suite_file(tmp_path, noise(60.0, deadline_s=400)), "-w", "node[0-1]", env=every_launcher_env
    )
    run.pid(0)
    runs = ("--runs-dir", str(tmp_path / "runs"))
    begin = time.monotonic()
    for _ in range(2):
        ended = command("cancel", "latest", *runs, env=every_launcher_env)
        assert ended.returncode == 0, ended.stderr
    done = run.finish(30)
    assert time.monotonic() - begin < 25
    assert done.code == 3
    until(lambda: "running" not in command("status", *runs, env=every_launcher_env).stdout, 20)
