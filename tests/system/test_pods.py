"""Pods of one Job, each a real process of a user who is not root, with a real sshd, on a host of its own: one verdict each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import ssh_hosts
from support.submission import ROOT, command, images_of, noise, suite_file

from hpcaccept.store.folder import all_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.mpi
UID = 10001
COUNT = 3
IMAGE = 'an image of "the site", \\ and more'


@dataclass
class Job:
    """Three hosts on which pods can be started."""

    hosts: ssh_hosts.Hosts
    folder: Path

    def start(self, *indexes: int, suite: Path, timeout_s: float, one_core: int | None = None) -> None:
        """Start the pods of these indexes; one of them may be given a single core."""
        for index in indexes:
            words = [
                "k8s",
                "pod",
                "--nodes",
                str(COUNT),
                "--job",
                "test",
                "--gpus-per-node",
                "0",
                "--suite",
                str(suite),
            ]
            words += [
                "--runs-dir",
                str(self.folder / "runs"),
                "--pods-timeout",
                str(timeout_s),
                "--key",
                str(self.folder / "key"),
            ]
            confined = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if index == one_core else []
            user = [
                "setpriv",
                f"--reuid={UID}",
                f"--regid={UID}",
                "--clear-groups",
                "--inh-caps=-all",
                "--no-new-privs",
            ]
            env = {
                "HOME": "/tmp",
                "JOB_COMPLETION_INDEX": str(index),
                "JOB_UID": "uid-1",
                "NODE_NAME": f"gpu-{index}",
                "OMPI_MCA_pml": "ob1",
                "HPCACCEPT_IMAGE": IMAGE,
            }
            # The pods' user may not write where coverage is collected.
            unset = [word for name in os.environ if name.startswith("COVERAGE_") for word in ("-u", name)]
            program = ["env", *unset, sys.executable, "-m", "hpcaccept", *words]
            self.hosts.spawn(index, [*confined, *user, *program], self.setup(), {**env, "XDG_CONFIG_HOME": "/nowhere"})

    def setup(self) -> str:
        """Names of the pods and of their user; and where root's home holds this Python, others may go through it."""
        lines = [f"mount --bind {self.folder}/{name} /etc/{name}" for name in ("hosts", "passwd")]
        homes = [Path(p) for p in (sys.base_prefix, sys.prefix, str(ROOT)) if Path(p).is_relative_to("/root")]
        if homes:
            lines += ["mkdir /run/root", "mount --rbind /root /run/root", "mount -t tmpfs -o mode=755 tmpfs /root"]
            lines += [f"mkdir -p {p}; mount --bind /run/root/{p.relative_to('/root')} {p}" for p in homes]
        return "\n".join(lines)

    def finish(self, *indexes: int) -> dict[int, int]:
        """Exit code of each pod."""
        return {index: self.hosts.started[index][-1].wait(90) for index in indexes}

    def log(self, index: int) -> str:
        """What a pod has written."""
        return (self.hosts.folder / f"host{index}.log").read_text()


@pytest.fixture
def job() -> Iterator[Job]:
    """Three hosts whose names resolve, a key, and a folder that all pods may write."""
    why_not = ssh_hosts.why_not() or ("" if shutil.which("setpriv") else "no setpriv: apt-get install util-linux")
    if why_not:
        pytest.skip(f"no pods: {why_not}")
    with tempfile.TemporaryDirectory(prefix="hpcaccept-pods-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
        (folder / "key").chmod(0o444)
        (folder / "runs").mkdir()
        os.chown(folder / "runs", UID, UID)
        (folder / "passwd").write_text(f"{Path('/etc/passwd').read_text()}tester:x:{UID}:{UID}::/tmp:/bin/sh\n")
        with ssh_hosts.network(folder, COUNT) as hosts:
            names = "".join(f"{hosts.address(i)} test-{i}.test\n" for i in range(COUNT))
            (folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
            yield Job(hosts, folder)


def test_every_pod_exits_with_the_verdict_of_its_node(job: Job) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has one core: none of its nodes could have fewer")
    suite = suite_file(job.folder, noise(0.1, cores=2))
    job.start(0, 1, 2, suite=suite, timeout_s=60, one_core=1)
    codes = job.finish(0, 1, 2)
    assert codes == {0: 1, 1: 1, 2: 0}, job.log(0) + job.log(1) + job.log(2)
    (run,) = all_runs(job.folder / "runs")
    report = json.loads(run.report_file.read_text())
    assert report["nodes"] == {"gpu-0": "PASS", "gpu-1": "FAIL", "gpu-2": "PASS"}
    assert "identity: CPU threads available: 1 core" in job.log(1)
    assert job.log(2).rstrip().endswith("PASS")
    assert run.path.stat().st_uid == UID
    assert images_of(run.path) == {IMAGE}, "ranks see the environment of their pod"


def test_a_pod_that_never_comes_is_named_and_nothing_runs_for_ever(job: Job) -> None:
    suite = suite_file(job.folder, noise(0.1))
    job.start(0, 1, suite=suite, timeout_s=6)
    codes = job.finish(0, 1)
    assert codes == {0: 3, 1: 0}, job.log(0) + job.log(1)
    (run,) = all_runs(job.folder / "runs")
    report = json.loads(run.report_file.read_text())
    assert report["nodes"] == {"gpu-0": "PASS", "gpu-1": "PASS", "test-2.test": "ERROR"}
    (event,) = [e for e in report["events"] if e["kind"] == "not_entered"]
    assert "test-2.test cannot be reached" in event["detail"]
    assert "Index 2 did not come within 6 s: kubectl describe pod" in job.log(0)
    for index in (0, 1):
        listed = ["ip", "netns", "pids", f"{job.hosts.prefix}{index}"]
        assert not subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()


def test_a_pod_whose_index_0_never_comes_is_an_error_in_time(job: Job) -> None:
    job.start(1, suite=suite_file(job.folder, noise(0.1)), timeout_s=2)
    assert job.finish(1) == {1: 3}, job.log(1)
    assert "index 0 (test-0.test) never came" in job.log(1)


def test_a_pod_without_its_key_says_how_to_make_one(job: Job) -> None:
    (job.folder / "key").unlink()
    job.start(0, suite=suite_file(job.folder, noise(0.1)), timeout_s=2)
    assert job.finish(0) == {0: 3}
    assert "hpcaccept k8s render" in job.log(0)


def test_the_run_of_one_node_comes_back_out_of_its_log(tmp_path: Path) -> None:
    suite = suite_file(tmp_path, noise(0.1))
    words = ["--log", "--gpus-per-node", "0", "--suite", str(suite), "--runs-dir", str(tmp_path / "pod")]
    said = command("k8s", "pod", *words, env={"NODE_NAME": "gpu-7.example"})
    assert said.returncode == 0, said.stdout + said.stderr
    back = subprocess.run(
        [sys.executable, "-m", "hpcaccept", "k8s", "collect", "--runs-dir", str(tmp_path / "back")],
        input=said.stdout + said.stderr,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert back.returncode == 0, back.stderr
    again = command("report", "--runs-dir", str(tmp_path / "back"), "--format", "json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["nodes"] == {"gpu-7.example": "PASS"}
    assert said.stdout.rstrip().endswith("nothing is wrong")


def test_a_pod_that_sees_no_gpu_never_passes(tmp_path: Path) -> None:
    suite = suite_file(tmp_path, "[checks.identity]\n")
    words = ["--log", "--gpus-per-node", "1", "--suite", str(suite), "--runs-dir", str(tmp_path / "pod")]
    said = command("k8s", "pod", *words, env={"NODE_NAME": "gpu-7", "CUDA_VISIBLE_DEVICES": ""})
    assert said.returncode in (1, 3), said.stdout + said.stderr
    assert "gpu-7" in said.stdout.splitlines()[-1], said.stdout
