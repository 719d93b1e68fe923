"""Bad days, each made to happen for real. Whatever was measured before is kept and judged; nothing is waited for in vain."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import no_locks
from support.nvml.build import build, describe, environment, h100
from support.pyxis_stand_in import pyxis_stand_in
from support.site_packages import install
from support.submission import ROOT, command, noise, submit, suite_file, until

from hpcaccept.errors import install_hint

if TYPE_CHECKING:
    from system.cluster import VirtualSlurm

SHORT = noise(0.1)
pytestmark = pytest.mark.mpi


def test_a_killed_rank_costs_one_check_on_its_node(tmp_path: Path, launcher_env: dict[str, str]) -> None:
    # Four ranks measure in turn: there are six seconds to kill one, and as many again for the others afterwards.
    suite = suite_file(tmp_path, noise(1.5, "os_noise", "os_noise:later"))
    run = submit(tmp_path / "runs", suite, "--nodes", "4", env=launcher_env)
    os.kill(run.pid(2, check="os_noise"), signal.SIGKILL)
    done = run.finish()
    assert done.code == 3, done.out + done.err
    (death,) = done.events("death")
    assert death["ranks"] == [2]
    assert death["nodes"] == ["node2"]
    assert death["check"] == "os_noise"
    assert done.verdicts(outcome="ERROR", node="node2", check="os_noise")
    assert {v["node"] for v in done.verdicts(outcome="PASS", check="os_noise")} == {"node0", "node1", "node3"}
    for check in ("identity", "os_noise:later"):
        assert {v["node"] for v in done.verdicts(outcome="PASS", check=check)} >= {"node0", "node1", "node2", "node3"}
    assert not done.verdicts(outcome="FAIL")


def test_a_rank_that_hangs_is_named_by_the_deadline(tmp_path: Path, launcher_env: dict[str, str]) -> None:
    suite = suite_file(tmp_path, noise(1.0, "os_noise", "os_noise:later", deadline_s=4))
    run = submit(tmp_path / "runs", suite, "--nodes", "4", env=launcher_env)
    os.kill(run.pid(1, check="os_noise"), signal.SIGSTOP)
    done = run.finish()
    assert done.code == 3, done.out + done.err
    (death,) = done.events("death")
    assert death["nodes"] == ["node1"], death
    assert death["check"] == "os_noise"
    assert {v["node"] for v in done.verdicts(outcome="ERROR")} == {"node1"}
    assert {v["node"] for v in done.verdicts(outcome="PASS", check="os_noise:later")} >= {
        "node0",
        "node1",
        "node2",
        "node3",
    }


def test_a_node_that_never_reports_is_named(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    stopped = plain_slurm.slurmd_pid("node3")
    os.kill(stopped, signal.SIGSTOP)
    try:
        env = {**plain_slurm.env, "HPCACCEPT_START_TIMEOUT_S": "6"}
        done = submit(tmp_path / "runs", suite_file(tmp_path, SHORT), "--nodes", "4", env=env).finish()
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert done.code == 3, done.out + done.err
    silent = {v["node"] for v in done.verdicts(outcome="ERROR", check="os_noise")}
    assert "node3" in silent, done.out
    assert "node3" in done.report["coverage"]["nodes_silent"]
    assert not done.verdicts(outcome="FAIL")
    until(lambda: "idle" in _sinfo(plain_slurm), 60)


def _sinfo(slurm: VirtualSlurm) -> str:
    return _state(slurm, "node3")


def _state(slurm: VirtualSlurm, node: str) -> str:
    words = ["sinfo", "-h", "-N", "-n", node, "-p", "gpu", "-o", "%T"]
    return subprocess.run(words, env={**os.environ, **slurm.env}, capture_output=True, text=True, check=True).stdout


def test_a_job_cancelled_in_the_queue_is_not_waited_for(tmp_path: Path, slurm: VirtualSlurm) -> None:
    env = {**os.environ, **slurm.env}
    blocker = _sbatch(env, "--exclusive", "-N4", "--wrap", "sleep 60")
    try:
        run = submit(tmp_path / "runs", suite_file(tmp_path, SHORT), "--nodes", "4", env=slurm.env)
        job = until(lambda: _job_id(run.folder()), 30)
        subprocess.run(["scancel", job], env=env, check=True)
        begin = time.monotonic()
        done = run.finish(60)
        assert time.monotonic() - begin < 15
    finally:
        subprocess.run(["scancel", blocker], env=env, check=True)
    assert done.code == 3
    assert "CANCELLED" in done.out.upper()
    assert {v["outcome"] for v in done.report["verdicts"]} == {"ERROR"}


def test_a_held_job_says_how_to_release_it(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    run = submit(tmp_path / "runs", suite_file(tmp_path, SHORT), "--nodes", "1", "--slurm", "hold", env=plain_slurm.env)
    done = run.finish(60)
    assert done.code == 3
    assert "scontrol release" in done.err
    ended = command("cancel", done.folder.name, "--runs-dir", str(tmp_path / "runs"), env=plain_slurm.env)
    assert ended.returncode == 0, ended.stderr


def test_a_partition_that_is_down_is_not_waited_for(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    run = submit(
        tmp_path / "runs", suite_file(tmp_path, SHORT), "--nodes", "1", "--partition", "down", env=plain_slurm.env
    )
    done = run.finish(60)
    assert done.code == 3
    assert "partition" in (done.out + done.err).lower()
    command("cancel", done.folder.name, "--runs-dir", str(tmp_path / "runs"), env=plain_slurm.env)


def test_a_driver_that_is_killed_is_noticed_and_its_records_are_judged(tmp_path: Path, slurm: VirtualSlurm) -> None:
    run = submit(
        tmp_path / "runs",
        suite_file(tmp_path, noise(20.0, "os_noise", "os_noise:later")),
        "--nodes",
        "4",
        env=slurm.env,
    )
    run.pid(0, check="os_noise")
    job = _job_id(run.folder())
    pids = subprocess.run(
        ["pgrep", "-f", f"hpcaccept.launch.job.driver .*{run.folder().name}"],
        capture_output=True,
        text=True,
        check=True,
    )
    for pid in pids.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    begin = time.monotonic()
    done = run.finish(60)
    assert time.monotonic() - begin < 20
    assert job
    assert done.code == 3, done.out
    assert {v["node"] for v in done.verdicts(outcome="PASS", check="identity")} >= {"node0", "node1", "node2", "node3"}
    assert done.verdicts(outcome="ERROR", check="os_noise")
    assert "ended by signal 9" in done.report["job_end"]["detail"]
    assert any("Killed" in line for line in done.report["job_end"]["last_lines"])
    assert "The last lines of its output:" in done.out


def test_a_python_that_is_broken_on_the_node_is_shown_in_its_own_words(
    tmp_path: Path, plain_slurm: VirtualSlurm
) -> None:
    (tmp_path / "node" / "hpcaccept").mkdir(parents=True)
    (tmp_path / "node" / "hpcaccept" / "__init__.py").write_text(
        "raise ImportError('\\x1b[31mhalf installed\\x1b[0m')\n"
    )
    wrapper = tmp_path / "bin" / "sbatch"
    wrapper.parent.mkdir()
    wrapper.write_text(f"#!/bin/sh\nPYTHONPATH='{tmp_path}/node' exec {shutil.which('sbatch')} \"$@\"\n")
    wrapper.chmod(0o755)
    env = {**plain_slurm.env, "PATH": f"{wrapper.parent}:{os.environ['PATH']}"}
    done = submit(tmp_path / "runs", suite_file(tmp_path, SHORT), "--nodes", "1", env=env).finish()
    assert done.code == 3, done.out
    assert done.report["job_end"]["last_lines"][-1] == "ImportError: half installed"
    assert "ImportError: half installed" in done.out
    assert "exit code 1" in done.out
    assert "hpcaccept doctor" in " ".join(done.out.split())


def test_a_node_that_slurm_loses_is_named_and_nothing_was_cancelled(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    env = {**os.environ, **plain_slurm.env}
    text = noise(20.0, "os_noise", "os_noise:later")
    run = submit(tmp_path / "runs", suite_file(tmp_path, text), "--nodelist", "node[0-1]", env=plain_slurm.env)
    run.pid(1, check="os_noise")
    subprocess.run(["scontrol", "update", "nodename=node1", "state=down", "reason=test"], env=env, check=True)
    done = run.finish(60)
    assert done.code == 3, done.out
    assert (done.report["job_end"]["state"], done.report["job_end"]["nodes"]) == ("node_fail", ["node1"])
    (lost,) = done.verdicts(check="nodes")
    assert (lost["node"], lost["outcome"]) == ("node1", "ERROR")
    assert "node1 failed" in " ".join(done.out.split())
    assert "cancelled" not in done.out
    assert not done.verdicts(outcome="FAIL")
    until(lambda: "down" not in _state(plain_slurm, "node1"), 60)


#: A site's own check that waits, so that a minute of Slurm's costs no other test its processor.
PATIENCE = """
import time
from dataclasses import dataclass
from typing import ClassVar

from hpcaccept.model.check import Check
from hpcaccept.model.metric import Metric


@dataclass(frozen=True)
class Patience(Check):
    name: ClassVar = "patience"
    about: ClassVar = "Waits."
    metrics: ClassVar = (Metric("waited", "waits", "exact", "Waits that ended.", statistic="worst"),)

    def measure(self, ctx: object) -> None:
        time.sleep(90)
"""


def test_a_job_that_reaches_its_time_limit_says_so(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    install(tmp_path / "packages", "site-patience", "hpcaccept.checks", "patience", PATIENCE)
    text = noise(0.1) + '[checks.patience]\ndeadline_s = 100\n[checks."os_noise:later"]\n'
    words = ("--nodes", "2", "--time", "1", "--partition", "small")
    env = {**plain_slurm.env, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, tmp_path / "packages")))}
    done = submit(tmp_path / "runs", suite_file(tmp_path, text), *words, env=env).finish(180)
    assert done.code == 3
    assert done.verdicts(outcome="PASS", check="identity")
    assert "time limit" in done.out or "timeout" in done.out.lower(), done.out


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_under_the_run_folder_is_told_and_what_was_measured_is_kept(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        # Enough checks that the journals must grow by whole pages.
        more = [f'[checks."os_noise:{i}"]\nduration_s = 0.3\nblocks = 30\n' for i in range(12)]
        text = "[checks.identity]\n[checks.os_noise]\nduration_s = 3.0\n" + "".join(more)
        run = submit(small / "runs", suite_file(tmp_path, text), "--nodes", "2", "--launcher", "local")
        run.wait_for_record("identity")
        with (small / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(b"\0" * 4096):
                    pass
            except OSError:
                pass
        done = run.finish(90)
        assert "no space left" in (done.out + done.err), done.out + done.err
        assert done.code == 3
        (small / "filler").unlink()
        again = command("report", str(done.folder), "--format", "json", timeout_s=60)
        assert again.returncode == 3
        report = json.loads(again.stdout)
        passed = {v["node"] for v in report["verdicts"] if v["outcome"] == "PASS" and v["check"] == "identity"}
        assert passed == {"node0", "node1"}
        assert not [v for v in report["verdicts"] if v["outcome"] == "FAIL"]
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_step_that_srun_refuses_is_told_in_its_words(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    # The real srun, asked for a GPU that the job does not have.
    (tmp_path / "bin").mkdir()
    srun = tmp_path / "bin" / "srun"
    srun.write_text(
        f'#!/bin/sh\ncase "$*" in *hpcaccept.rank*) set -- --gpus-per-node=a100:1 "$@";; esac\nexec {shutil.which("srun")} "$@"\n'
    )
    srun.chmod(0o755)
    env = {**plain_slurm.env, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = submit(tmp_path / "runs", suite_file(tmp_path, SHORT), "--nodes", "2", env=env).finish()
    assert done.code == 3, done.out + done.err
    assert "srun refused the step" in done.out
    assert "Invalid generic resource (gres) specification" in " ".join(done.out.split())
    assert "--gpus-per-node [TYPE:]N" in " ".join(done.out.split())
    assert {v["outcome"] for v in done.report["verdicts"]} == {"ERROR"}


def test_a_file_system_without_locks_keeps_runs_and_history(tmp_path: Path) -> None:
    env, runs = no_locks.environment(tmp_path, 524), tmp_path / "runs"
    done = submit(runs, suite_file(tmp_path, SHORT), "--nodes", "2", "--launcher", "local", env=env).finish()
    assert done.code == 0, done.out + done.err
    assert "Exit code 0." in done.out
    assert list((runs / "history").glob("*.h5"))
    assert not list(runs.rglob("*.held"))


def test_a_torn_record_is_told_and_costs_only_itself(tmp_path: Path) -> None:
    run = submit(tmp_path / "runs", suite_file(tmp_path, SHORT), "--nodes", "3", "--launcher", "local")
    done = run.finish()
    assert done.code == 0, done.out + done.err
    journal = done.folder / "records/00/r000001.jsonl"
    raw = journal.read_bytes()
    cut = (
        raw.index(
            b'"check":"os_noise"',
            raw.index(b'"kind":"record"', raw.index(b'"kind":"check_started","data":{"check":"os_noise"')),
        )
        + 40
    )
    journal.write_bytes(raw[:cut])
    again = command("report", done.folder.name, "--runs-dir", str(tmp_path / "runs"))
    assert again.returncode == 3, again.stdout
    assert "cannot be read" in again.stdout
    assert "node1" in again.stdout
    report = json.loads((done.folder / "report.json").read_text())
    assert {v["node"] for v in report["verdicts"] if v["outcome"] == "PASS" and v["check"] == "identity"} >= {"node1"}


def test_a_container_image_on_a_slurm_without_pyxis_is_an_error_not_a_fault(
    tmp_path: Path, plain_slurm: VirtualSlurm
) -> None:
    words = ("--nodes", "2", "--container-image", "/nowhere/image.sqsh")
    done = submit(tmp_path / "runs", suite_file(tmp_path, SHORT), *words, env=plain_slurm.env).finish()
    assert done.code == 3
    assert "Nothing was submitted. pyxis: srun --help knows no --container-image" in " ".join(done.err.split())
    assert "Pyxis" in done.err
    assert not list((tmp_path / "runs").glob("*"))


def test_an_image_that_does_not_exist_is_an_error_not_the_nodes_fault(
    tmp_path: Path, plain_slurm: VirtualSlurm
) -> None:
    env = {**plain_slurm.env, "PATH": f"{pyxis_stand_in(tmp_path)}:{os.environ['PATH']}"}
    here = ("--nodes", "2", "--container-image", "/shared/absent.sqsh")
    done = submit(tmp_path / "runs", suite_file(tmp_path, SHORT), *here, env=env).finish()
    assert done.code == 3
    assert "Nothing was submitted. image: /shared/absent.sqsh: No such file or directory" in " ".join(done.err.split())
    assert not list((tmp_path / "runs").glob("*"))
    # A name of a registry, of which only the nodes can say whether there is such an image.
    words = ("--nodes", "2", "--container-image", "registry#absent")
    done = submit(tmp_path / "runs", suite_file(tmp_path, SHORT), *words, env=env).finish()
    assert done.code == 3
    assert "image" in done.out
    assert "registry#absent" in done.out
    assert {v["outcome"] for v in done.report["verdicts"]} == {"ERROR"}


def test_torch_missing_where_the_ranks_run_is_told_and_the_rest_is_measured(tmp_path: Path) -> None:
    python = _python_without(tmp_path, "torch")
    suite = suite_file(tmp_path, noise(0.1) + "[checks.matmul]\n")
    env = {"HPCACCEPT_PYTHON": str(python)}
    done = submit(tmp_path / "runs", suite, "--nodes", "2", "--launcher", "local", env=env).finish()
    assert done.code == 3, done.out + done.err
    missing = done.verdicts(check="matmul")
    assert {v["outcome"] for v in missing} == {"NOT_RUN"}
    assert all("torch" in v["reason"] and install_hint("rank") in v["remedy"] for v in missing)
    assert {v["node"] for v in done.verdicts(outcome="PASS", check="os_noise")} == {"node0", "node1"}


def _python_without(folder: Path, missing: str) -> Path:
    """A real environment with everything that this one has, but for one package."""
    place = folder / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    target = next(place.glob("lib/python3*/site-packages"))
    for entry in Path(next(p for p in sys.path if p.endswith("site-packages"))).iterdir():
        if not entry.name.startswith(missing):
            (target / entry.name).symlink_to(entry)
    return place / "bin" / "python"


@pytest.mark.parametrize(("visible", "said"), [(7, "7 GPUs"), (0, "0 GPUs")])
def test_missing_gpus_fail_the_node(tmp_path: Path, visible: int, said: str) -> None:
    library = build(tmp_path / "lib")
    env = {"HPCACCEPT_GPUS_PER_NODE": "8"}
    if visible:
        env |= environment(library, describe(tmp_path / "gpus", [h100(i) for i in range(visible)]))
    done = submit(
        tmp_path / "runs", suite_file(tmp_path, SHORT), "--nodes", "1", "--launcher", "local", env=env
    ).finish()
    assert done.code == 1, done.out + done.err
    (verdict,) = done.verdicts(metric="gpu_count")
    assert (verdict["outcome"], verdict["node"], verdict["value"]) == ("FAIL", "node0", visible)
    assert said in verdict["reason"]
    assert "NOT ACCEPTED: node0" in done.out


def test_no_gpu_where_gpus_were_asked_for_leaves_gpu_checks_not_run_and_fails(
    tmp_path: Path, plain_slurm: VirtualSlurm
) -> None:
    suite = suite_file(tmp_path, "[checks.identity]\n[checks.matmul]\n")
    words = ("--nodes", "2", "--gpus-per-node", "2")
    done = submit(tmp_path / "runs", suite, *words, env=plain_slurm.env).finish()
    assert done.code == 1, done.out + done.err
    assert {v["node"] for v in done.verdicts(outcome="FAIL", metric="gpu_count")} == {"node0", "node1"}
    assert {v["outcome"] for v in done.verdicts(check="matmul")} == {"NOT_RUN"}
    assert len(done.verdicts(check="matmul")) == 4


def test_a_limit_that_matches_nothing_leaves_the_run_unjudged(tmp_path: Path) -> None:
    text = SHORT + '[limits."os_noise.lost_share[core7]"]\nupper = 0.9\nunit = "share"\n'
    done = submit(tmp_path / "runs", suite_file(tmp_path, text), "--nodes", "1", "--launcher", "local").finish()
    assert done.code == 3
    (verdict,) = done.verdicts(outcome="ERROR")
    assert "matches nothing" in verdict["reason"]


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(tmp_path: Path, launcher_env: dict[str, str]) -> None:
    text = noise(2.0, "os_noise", "os_noise:later")
    run = submit(tmp_path / "runs", suite_file(tmp_path, text), "--nodelist", "node[0-1]", env=launcher_env)
    run.pid(0)
    run.process.send_signal(signal.SIGINT)
    done = run.finish(30)
    assert done.code == 130
    assert f"hpcaccept wait {done.folder.name}" in done.err
    back = command("wait", done.folder.name, "--runs-dir", str(tmp_path / "runs"), env=launcher_env)
    assert back.returncode == 0, back.stdout + back.stderr
    assert "ACCEPTED" in back.stdout


def test_cancel_ends_everything_a_run_has_started(tmp_path: Path, launcher_env: dict[str, str]) -> None:
    text = noise(20.0, "os_noise", "os_noise:later")
    run = submit(tmp_path / "runs", suite_file(tmp_path, text), "--nodelist", "node[0-1]", env=launcher_env)
    pids = [run.pid(0, check="os_noise"), run.pid(1, check="os_noise")]
    ended = command("cancel", run.folder().name, "--runs-dir", str(tmp_path / "runs"), env=launcher_env)
    assert ended.returncode == 0, ended.stderr
    done = run.finish(60)
    assert done.code == 3
    assert {v["node"] for v in done.verdicts(outcome="PASS", check="identity")} >= {"node0", "node1"}
    assert done.report["job_end"]["state"] == "cancelled"
    assert "The run was cut short: the job was cancelled" in " ".join(done.out.split())
    until(lambda: not any(_runs(pid) for pid in pids), 20)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _job_id(folder: Path) -> str | None:
    file = folder / "job.json"
    return str(json.loads(file.read_text())["id"]) if file.exists() else None


def _sbatch(env: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        ["sbatch", "--parsable", "-o", "/dev/null", *words], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
