"""The scripts under sbatch/ work as they are on a real Slurm, with and without a container, and leave a run folder that report reads.

What they launch, and what they ask Slurm for, is compared with submit in tests/unit/sbatch/test_sbatch_files.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.pyxis_image import image_of_nothing, mounts
from support.pyxis_stand_in import pyxis_stand_in
from support.submission import ROOT, command, noise, until
from system.cluster.slurm import VirtualSlurm, find_pyxis

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS = sorted((ROOT / "sbatch").glob("*.sbatch"))
pytestmark = pytest.mark.slurm


def _sbatch(script: Path, folder: Path, slurm: VirtualSlurm, *words: str, **more: str) -> str:
    """Submit from a folder with a suite; gives the job's number."""
    environment = {**os.environ, **slurm.env, "HPCACCEPT_GPUS_PER_NODE": "0", "PYTHON": sys.executable, **more}
    command_ = ["sbatch", "--parsable", *words, str(script)]
    done = subprocess.run(command_, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _end_of(job: str, slurm: VirtualSlurm, timeout_s: float = 120) -> str:
    def state() -> str | None:
        words = ["scontrol", "show", "job", job]
        text = subprocess.run(words, env={**os.environ, **slurm.env}, capture_output=True, text=True, check=True).stdout
        word = text.split("JobState=")[1].split()[0]
        return None if word in ("PENDING", "RUNNING", "COMPLETING") else word

    return str(until(state, timeout_s))


#: One node without a baseline has nothing else that judges its rates, and what it keeps of them is little where the other scripts run too.
ANY_BURN = "[checks.burn]\n" + "".join(
    f'[limits."burn.{name}"]\nlower = {lower}\nunit = "{unit}"\n'
    for name, lower, unit in (
        ("rate_flops", 1.0, "FLOP/s"),
        ("stress_per_s", 1.0, "1/s"),
        ("sustained_share_cpu", 0.01, "share"),
    )
)


def test_every_script_leaves_a_judged_run(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    # All at once: most of a script's time is waiting for Slurm and for imports.
    jobs: dict[Path, str] = {}
    for script in SCRIPTS:
        folder = tmp_path / script.stem
        folder.mkdir()
        (folder / "short.toml").write_text(noise(0.1) + (ANY_BURN if script.stem == "burn" else ""))
        more = {"SUITE": str(folder / "short.toml"), "DURATION": "1", "AGAIN": "0", "WINDOW": "00:00-00:00"}
        words = ["-N", "1", "--time=01:00:00"]
        if script.stem == "multi_node_ddp":
            # One as it is: a model is trained across nodes without any setting. Two ranks alone could not judge each other.
            words, more = ["-N", "3"], {}
        jobs[folder] = _sbatch(script, folder, plain_slurm, *words, **more)
    for folder, job in jobs.items():
        assert _end_of(job, plain_slurm) == "COMPLETED", _output(folder)
        assert "ACCEPTED" in _output(folder)
        report = json.loads(next(folder.glob("runs/*/report.json")).read_text())
        assert set(report["nodes"].values()) == {"PASS"}
        assert (folder / "runs/history").is_dir(), "what submit remembers is remembered"
        if folder.name == "multi_node_ddp":
            assert {row["name"]: row["outcome"] for row in report["checks"]}["ddp_train"] == "PASS"
    again = command("report", "--runs-dir", str(tmp_path / "single_node_gpu/runs"), "--format", "json")
    assert again.returncode == 0
    assert set(json.loads(again.stdout)["nodes"].values()) == {"PASS"}


def _output(folder: Path) -> str:
    return "".join(file.read_text() for file in folder.glob("hpcaccept-*.out"))


def test_a_script_goes_on_after_a_killed_rank(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    suite = tmp_path / "long.toml"
    suite.write_text(noise(2.0, "os_noise", "os_noise:later"))
    job = _sbatch(ROOT / "sbatch/multi_node_ddp.sbatch", tmp_path, plain_slurm, "-N", "3", SUITE=str(suite))

    def begun() -> int | None:
        for file in tmp_path.glob("runs/*/records/00/r000001.jsonl"):
            lines = [json.loads(x) for x in file.read_text().splitlines() if x.endswith("}")]
            if lines and lines[-1] == {"kind": "check_started", "data": {"check": "os_noise"}}:
                return int(next(x["data"]["pid"] for x in lines if x["kind"] == "rank_started"))
        return None

    os.kill(until(begun, 60), signal.SIGKILL)
    assert _end_of(job, plain_slurm) == "FAILED"
    report = json.loads(next(tmp_path.glob("runs/*/report.json")).read_text())
    assert report["exit_code"] == 3
    assert [e["nodes"] for e in report["events"] if e["kind"] == "death"] == [["node1"]]
    later = {v["node"] for v in report["verdicts"] if v["check"] == "os_noise:later" and v["outcome"] == "PASS"}
    assert later == {"node0", "node1", "node2"}


def test_a_script_in_a_container_needs_no_python_on_the_host(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    place = pyxis_stand_in(tmp_path)
    inside = place / "python3"
    inside.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    inside.chmod(0o755)
    (tmp_path / "image.sqsh").write_bytes(b"hsqs and more")
    suite = tmp_path / "short.toml"
    suite.write_text(noise(0.1))
    words = {"IMAGE": str(tmp_path / "image.sqsh"), "PYTHON": "/nowhere", "PATH": f"{place}:{os.environ['PATH']}"}
    job = _sbatch(ROOT / "sbatch/multi_node_ddp.sbatch", tmp_path, plain_slurm, SUITE=str(suite), **words)
    assert _end_of(job, plain_slurm) == "COMPLETED", _output(tmp_path)
    report = json.loads(next(tmp_path.glob("runs/*/report.json")).read_text())
    assert report["image"]["reference"].endswith("image.sqsh")
    assert report["image"]["digest"].startswith("sha256:")
    assert (report["job"], report["not_bound_to"]) == (job, [])


@pytest.fixture(scope="module")
def pyxis() -> Iterator[VirtualSlurm]:
    missing = [name for name in ("slurmd", "mksquashfs") if not shutil.which(name)]
    if os.geteuid() or missing or not find_pyxis():
        why = "not root" if os.geteuid() else f"no {', '.join(missing) or 'Pyxis and Enroot'} on this machine"
        pytest.skip(f"no containers under Slurm: {why} (docs/how-to/pyxis.md)")
    with VirtualSlurm.up(Path(f"/run/hpcaccept-test-{os.getpid()}-s"), nodes=2, pyxis=True) as cluster:
        yield cluster


def test_a_script_in_a_real_container_leaves_a_judged_run_and_nothing_on_the_nodes(
    tmp_path: Path, pyxis: VirtualSlurm
) -> None:
    (tmp_path / "short.toml").write_text(noise(0.1))
    # What lies where sbatch was typed is seen from inside, too.
    (tmp_path / "hpcaccept.toml").write_text("[checks.os_noise]\nrequired = false\n")
    image = image_of_nothing(tmp_path / "image.sqsh")
    inside = {"PYTHON": "/nowhere", "HPCACCEPT_PYTHON": sys.executable, "MOUNTS": mounts(), "IMAGE": "image.sqsh"}
    job = _sbatch(ROOT / "sbatch/multi_node_ddp.sbatch", tmp_path, pyxis, SUITE="short.toml", **inside)
    assert _end_of(job, pyxis) == "COMPLETED", _output(tmp_path)
    report = json.loads(next(tmp_path.glob("runs/*/report.json")).read_text())
    assert report["nodes"] == {"node0": "PASS", "node1": "PASS"}
    assert report["image"]["reference"] == str(image)
    plan = json.loads(next(tmp_path.glob("runs/*/plan.json")).read_text())
    assert [c.get("required", True) for c in plan["suite"]["checks"]] == [True, False]
    assert not list(pyxis.folder.glob("node*/enroot/data-*/*")), "a container stays on a node"


def test_a_script_says_in_pyxis_words_why_its_image_cannot_be_entered(tmp_path: Path, pyxis: VirtualSlurm) -> None:
    job = _sbatch(ROOT / "sbatch/single_node_gpu.sbatch", tmp_path, pyxis, IMAGE="/nowhere/image.sqsh")
    assert _end_of(job, pyxis) == "FAILED"
    assert "/nowhere/image.sqsh" in _output(tmp_path)
    assert "'hpcaccept sbatch-step' failed on node0 in /nowhere/image.sqsh" in _output(tmp_path)
    text = subprocess.run(
        ["scontrol", "show", "job", job], env={**os.environ, **pyxis.env}, capture_output=True, text=True, check=True
    ).stdout
    assert "ExitCode=3:0" in text


def test_a_script_whose_first_command_fails_in_the_image_leaves_no_image_on_the_node(
    tmp_path: Path, pyxis: VirtualSlurm
) -> None:
    image = image_of_nothing(tmp_path / "image.sqsh")
    job = _sbatch(
        ROOT / "sbatch/single_node_gpu.sbatch", tmp_path, pyxis, IMAGE=str(image), HPCACCEPT_PYTHON="/nowhere/python3"
    )
    assert _end_of(job, pyxis) == "FAILED"
    assert "'hpcaccept plan' failed on node0" in _output(tmp_path)
    assert not list(pyxis.folder.glob("node*/enroot/data-*/*")), "a container stays on a node"


def test_a_night_queues_the_next_one_once(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    now = datetime.now()  # noqa: DTZ005 (WINDOW is of this machine's clock)
    window = f"{now + timedelta(hours=3):%H:%M}-{now + timedelta(hours=4):%H:%M}"
    script = ROOT / "sbatch/nightly.sbatch"

    def queued() -> list[str]:
        words = ["squeue", "-h", "--name=of this test", "--states=PENDING", "-o", "%A %S %D %P %l %j"]
        return subprocess.run(
            words, env={**os.environ, **plain_slurm.env}, capture_output=True, text=True, check=True
        ).stdout.splitlines()

    try:
        # Neither tests anything: it is not time. The first finds the second one queued, which waits for it; that queues the next.
        words = ("-J", "of this test", "-N", "2", "--time=00:20:00")
        jobs = [_sbatch(script, tmp_path, plain_slurm, *words, WINDOW=window) for _ in range(2)]
        assert [_end_of(job, plain_slurm) for job in jobs] == ["FAILED", "FAILED"]
        [night] = queued()
        number, begin, *rest = night.split()
        assert number not in jobs
        assert begin[11:16] == window.partition("-")[0]
        assert rest == ["2", "gpu", "20:00", "of", "this", "test"]
        assert not list(tmp_path.glob("runs/*"))
    finally:
        subprocess.run(["scancel", "--name=of this test"], env={**os.environ, **plain_slurm.env}, check=True)
