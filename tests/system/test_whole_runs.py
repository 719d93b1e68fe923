"""Whole runs with torch: healthy nodes are accepted, a slow one is found, and what was learned judges the next run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from typing import TYPE_CHECKING

import pytest
from faults.quota import quota, why_not
from support.submission import command, noise, submit, suite_file

if TYPE_CHECKING:
    from pathlib import Path

    from system.cluster import VirtualSlurm

NODES = {"node0", "node1", "node2", "node3"}
MATMUL = '[checks.identity]\n[checks.matmul]\ndtypes = ["fp32"]\n[peers]\nretests = 1\n'
pytestmark = pytest.mark.mpi


@pytest.mark.alone
def test_the_cpu_suite_accepts_four_nodes_of_a_real_slurm(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    done = submit(tmp_path / "runs", "cpu", "--nodes", "4", env=plain_slurm.env).finish(240)
    assert done.code == 0, done.out + done.err
    assert dict(done.report["nodes"].items()) == dict.fromkeys(sorted(NODES), "PASS")
    assert done.report["coverage"]["judged"] == done.report["coverage"]["asked"] == 4 * 7
    job = json.loads((done.folder / "job.json").read_text())["id"]
    assert done.report["job"] == done.report["events"][0]["job"] == job, "as the job itself saw it"
    assert done.report["software"]["python"] == {platform.python_version(): 4}
    assert "ranks share" in done.out, "virtual nodes outnumber cores, and the report must say so"
    assert "\x1b" not in done.out


@pytest.mark.alone
def test_torch_is_imported_once_per_rank_for_a_whole_run(tmp_path: Path) -> None:
    text = '[checks.matmul]\ndtypes = ["fp32"]\n[checks.memory_bandwidth]\nsize_bytes = 8388608\n[checks.train]\n'
    done = submit(tmp_path / "runs", suite_file(tmp_path, text), "--nodes", "2", "--launcher", "local").finish(180)
    assert done.code in (0, 3), done.out
    for journal in (done.folder / "records/00").glob("*.jsonl"):
        imported = [
            json.loads(x)["data"]["module"] for x in journal.read_text().splitlines() if '"kind":"module_imported"' in x
        ]
        assert imported.count("torch") == 1
        assert "torchvision" not in imported


@pytest.mark.alone
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_node_with_a_quarter_of_its_cpu_is_found_and_no_other_is_blamed(
    tmp_path: Path, plain_slurm: VirtualSlurm
) -> None:
    with quota(plain_slurm.slurmd_pid("node2"), share=0.25):
        run = submit(tmp_path / "runs", suite_file(tmp_path, MATMUL), "--nodes", "4", env=plain_slurm.env)
        done = run.finish(300)
    assert done.code == 1, done.out + done.err
    assert {v["node"] for v in done.verdicts(outcome="FAIL")} == {"node2"}, done.out
    assert done.verdicts(outcome="FAIL", check="matmul", node="node2"), done.out
    assert "NOT ACCEPTED: node2" in done.out
    assert len(done.events("retest")) == 1, "nobody is blamed before it was slow in another launch"


@pytest.mark.alone
def test_a_learned_baseline_judges_the_next_run_and_names_what_it_left_out(tmp_path: Path) -> None:
    runs, baselines = tmp_path / "runs", tmp_path / "baselines"
    # Three units that differ by chance have nothing to teach: each is measured for longer than a passing disturbance lasts.
    long = MATMUL.replace("[checks.matmul]\n", "[checks.matmul]\nblock_s = 0.3\n")
    suite = suite_file(tmp_path, long + '[limits."identity.cores"]\nlower = 1\nunit = "cores"\n')
    first = submit(runs, suite, "--nodes", "3", "--launcher", "local").finish(180)
    assert first.code == 0, first.out
    assert {v["outcome"] for v in first.verdicts(check="matmul", metric="rate_flops")} >= {"NO_BASELINE"}
    places = ("--runs-dir", str(runs), "--baselines-dir", str(baselines))
    learned = command("baseline", "learn", first.folder.name, *places)
    assert learned.returncode == 0, learned.stderr
    assert "from 3 units" in learned.stdout
    shown = command("baseline", "show", "", "--baselines-dir", str(baselines))
    assert first.folder.name in shown.stdout
    again = submit(tmp_path / "later", suite, "--nodes", "3", "--launcher", "local").finish(180)
    against = [v for v in again.verdicts(metric="rate_flops") if v["limit"] and v["limit"]["origin"] == "baseline"]
    assert {v["outcome"] for v in against} == {"PASS"}, again.out
    assert len(against) == 3
    file = next(baselines.glob("*.h5"))
    raw = bytearray(file.read_bytes())
    at = raw.index(b'"center"') + 10
    raw[at] = ord("1") if raw[at] != ord("1") else ord("2")
    file.write_bytes(raw)
    unreadable = command("report", str(again.folder), *places)
    assert unreadable.returncode == 3
    assert "checksum" in unreadable.stderr


def test_the_report_as_json_is_all_of_standard_output(tmp_path: Path) -> None:
    text = noise(0.1)
    done = submit(
        tmp_path / "runs", suite_file(tmp_path, text), "--nodes", "3", "--launcher", "local", "--json"
    ).finish()
    assert json.loads(done.out) == done.report


def test_two_ranks_of_one_node_measure_on_their_own(tmp_path: Path) -> None:
    text = noise(0.1)
    words = ("--nodes", "1", "--ranks-per-node", "2", "--launcher", "local")
    done = submit(tmp_path / "runs", suite_file(tmp_path, text), *words).finish()
    assert done.code == 0, done.out
    assert {v["device"] for v in done.verdicts(check="os_noise")} == {"cpu:0", "cpu:1"}


def test_what_is_on_the_command_line_of_slurm_reaches_the_job(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    text = noise(0.1)
    words = ("--nodelist", "node1,node3", "--slurm", "comment=night run", "--no-wait")
    done = submit(tmp_path / "runs", suite_file(tmp_path, text), *words, env=plain_slurm.env).finish()
    job = json.loads((done.folder / "job.json").read_text())["id"]
    shown = subprocess.run(
        ["scontrol", "show", "job", job],
        env={**os.environ, **plain_slurm.env},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Comment=night run" in shown.stdout
    assert "ReqNodeList=node[1,3]" in shown.stdout
    back = command("wait", "--runs-dir", str(tmp_path / "runs"), "--format", "json", env=plain_slurm.env)
    assert set(json.loads(back.stdout)["nodes"]) == {"node1", "node3"}
