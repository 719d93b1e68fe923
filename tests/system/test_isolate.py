"""Faults that only groups tell apart, made for real: the culprit is named, nobody else is blamed, and nothing is left running."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from faults.isolation import CASES, Case, broken_python
from support.schema import faults
from support.submission import command, submit, suite_file, until

if TYPE_CHECKING:
    from system.cluster import VirtualSlurm

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/isolation.schema.json").read_text("utf-8"))
BY_NAME = {case.name: case for case in CASES}
#: A site's own test that fails where node5 is in the group.
FAILS_ON_5 = "case ,$1, in *,node5,*) exit 1;; esac"


def script(folder: Path, text: str) -> str:
    file = folder / "test.sh"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return f"{shlex.quote(str(file))} {{nodes}}"


def isolate(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    done = command("isolate", "-l", "local", "-g", "0", "--runs-dir", str(folder / "runs"), "--json", *words)
    assert done.stdout.startswith("{"), done.stderr
    report = json.loads(done.stdout)
    assert faults(report, SCHEMA, SCHEMA) == []
    return done.returncode, report


@pytest.mark.mpi
@pytest.mark.parametrize("case", [BY_NAME[name] for name in ("nothing", "crash")], ids=lambda case: case.name)
def test_groups_of_a_slurm_job_name_who_is_bad_and_nobody_else(
    case: Case, plain_slurm: VirtualSlurm, tmp_path: Path
) -> None:
    result = case.run(tmp_path, plain_slurm)
    assert case.is_right(result), result


def test_the_answer_stays_in_the_run_folder_and_can_be_asked_for_again(tmp_path: Path) -> None:
    code, report = isolate(tmp_path, "--nodes", "8", "--command", script(tmp_path, FAILS_ON_5))
    assert (code, report["exclude"]) == (1, "node5"), report
    folder = tmp_path / "runs" / report["run"]
    assert "FAULT FOUND" in (folder / "isolation-report.html").read_text("utf-8")
    again = command("report", report["run"], "--runs-dir", str(tmp_path / "runs"), "--format", "json")
    assert (again.returncode, json.loads(again.stdout)) == (1, report)
    listed = command("runs", "--runs-dir", str(tmp_path / "runs"))
    assert "FAULT FOUND" in listed.stdout
    other = command("report", report["run"], "--runs-dir", str(tmp_path / "runs"), "--format", "junit")
    assert (other.returncode, "is an isolation" in other.stderr) == (2, True)


def test_an_isolation_whose_driver_was_killed_goes_on_in_another_job(tmp_path: Path) -> None:
    text = script(tmp_path, f"sleep 0.3; {FAILS_ON_5}")
    runs = tmp_path / "runs"
    words = ("isolate", "-l", "local", "-g", "0", "--nodes", "8", "--runs-dir", str(runs), "--command", text)
    started = command(*words, "--no-wait")
    assert started.returncode == 0, started.stderr
    (folder,) = (file.parent for file in runs.glob("*/plan.json"))
    journal = folder / "isolation.jsonl"
    until(lambda: journal.exists() and '"endedround"' in journal.read_text(), 60)
    os.kill(
        json.loads((folder / "job.json").read_text())["id"]
        and int(json.loads((folder / "job.json").read_text())["id"]),
        signal.SIGKILL,
    )
    code, report = isolate(tmp_path, "--run", "latest")
    assert (code, report["exclude"], report["earlier_run"]) == (1, "node5", folder.name), report
    ids = [test["id"] for test in report["tests"]]
    assert len(ids) == len(set(ids))
    assert report["tests"][0]["id"].startswith("r1")


def test_who_cancels_leaves_nothing_running(tmp_path: Path) -> None:
    text = script(tmp_path, "exec sleep 300")
    runs = tmp_path / "runs"
    started = command(
        "isolate", "-l", "local", "-g", "0", "--nodes", "4", "--runs-dir", str(runs), "--command", text, "--no-wait"
    )
    assert started.returncode == 0, started.stderr
    (folder,) = (file.parent for file in runs.glob("*/plan.json"))
    until(lambda: (folder / "isolation.jsonl").exists(), 60)
    assert command("cancel", "latest", "--runs-dir", str(runs)).returncode == 0
    until(lambda: not naming(str(tmp_path)), 20)
    answer = command("report", "--runs-dir", str(runs))
    assert answer.returncode == 3
    assert "NOT MEASURED" in answer.stdout


def naming(text: str) -> list[str]:
    """Processes of others with that text in their command line."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if text in line and not line.strip().startswith(f"{os.getpid()} ")]


def test_a_thousand_nodes_and_two_bad_ones(tmp_path: Path) -> None:
    text = script(tmp_path, "case ,$1, in *,node33,*|*,node700,*) exit 1;; esac")
    begun = time.monotonic()
    code, report = isolate(tmp_path, "--nodes", "1024", "--command", text)
    sys.stdout.write(f"{time.monotonic() - begun:.1f} s, {len(report['tests'])} tests\n")
    assert (code, report["exclude"]) == (1, "node[33,700]")


@pytest.mark.mpi
def test_behind_a_suite_that_fails_the_isolation_follows_in_the_same_job(tmp_path: Path) -> None:
    flips = broken_python(tmp_path, {"kind": "sum_over_ranks", "nodes": ["node2"]})
    suite = suite_file(tmp_path, '[checks.allreduce]\nsizes_bytes = [4096]\nbackends = ["device"]\n')
    runs = tmp_path / "runs"
    done = submit(runs, suite, "--nodes", "3", "--launcher", "local", "--isolate", env=flips).finish(200)
    assert done.code == 1, done.err
    assert done.events("isolation")[0]["check"] == "allreduce"
    report = json.loads((done.folder / "isolation" / "isolation-report.json").read_text("utf-8"))
    assert report["exclude"] == "node2", report
    assert report["tests"][0]["round"] == 0
    assert "FAULT FOUND: node2 is to blame" in done.out
