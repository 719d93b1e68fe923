"""The doctor on real paths: good ones, and ones that were broken on purpose. Nothing of its job is ever left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import DATA
from support.pyxis_image import image_of_nothing, mounts
from support.submission import command, noise, suite_file, until
from system.cluster.slurm import VirtualSlurm, find_pyxis

from hpcaccept.errors import install_hint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.ssh_hosts import Hosts

pytestmark = pytest.mark.mpi


def examine(
    *words: str, env: Mapping[str, str], timeout_s: float = 150, python: str = sys.executable
) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, findings and standard error of ``hpcaccept doctor --json``."""
    env = {"HPCACCEPT_GPUS_PER_NODE": "0", **env}
    done = command("doctor", "--json", *words, env=env, timeout_s=timeout_s, python=python)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["exit_code"] == done.returncode
    return done.returncode, said["findings"], done.stdout + done.stderr


def bad(findings: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is not well, by what was looked at."""
    return {finding["look"]: finding for finding in findings if finding["mark"] not in ("ok", "warning")}


def jobs(slurm: VirtualSlurm) -> str:
    """The doctor's jobs that wait or run."""
    words = ["squeue", "-h", "-n", "hpcaccept-doctor", "-o", "%i %T"]
    return subprocess.run(words, env={**os.environ, **slurm.env}, capture_output=True, text=True, check=True).stdout


def test_four_good_nodes_are_well_and_nothing_is_left(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    runs = tmp_path / "deep" / "runs"
    code, findings, out = examine("--nodes", "4", "--runs-dir", str(runs), env=plain_slurm.env)
    assert code == 0, out
    assert not bad(findings)
    names = ["node0", "node1", "node2", "node3"]
    for look in ("hpcaccept", "Python", "MPI", "MPI world", "PMIx", "torch", "runs seen", "clock", "memlock", "cores"):
        (finding,) = [finding for finding in findings if finding["look"] == look]
        assert finding["nodes"] == names, finding
    assert not jobs(plain_slurm)
    assert not (tmp_path / "deep").exists()


def test_the_page_of_a_good_path_fits_a_terminal(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    words = ("doctor", "--nodes", "2", "--runs-dir", str(tmp_path / "runs"), "--quick")
    env = {**plain_slurm.env, "HPCACCEPT_GPUS_PER_NODE": "0", "COLUMNS": "80"}
    done = command(*words, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[-1].startswith("Nothing is wrong")
    assert [line.split()[1] for line in lines[:4]] == ["Slurm", "partition", "nodes", "time"]


@pytest.mark.parametrize(
    ("words", "look", "said"),
    [
        (("--partition", "gpus"), "partition", "there is no 'gpus'"),
        (("--partition", "down"), "partition", "down is down"),
        (("--nodes", "9"), "nodes", "4 of 4 nodes can be used"),
        (("--gpus-per-node", "16"), "gres", "node[0-3]: 8 GPUs"),
        (("--container-image", "/nowhere/image.sqsh"), "pyxis", "srun --help knows no --container-image"),
        (("--mpi", "pmi7"), "srun --mpi", "pmix"),
    ],
)
def test_what_this_machine_sees_stops_the_job(
    tmp_path: Path, plain_slurm: VirtualSlurm, words: tuple[str, ...], look: str, said: str
) -> None:
    if look == "pyxis" and "--container-image" in _help(plain_slurm):
        pytest.skip("this Slurm has Pyxis")
    code, findings, out = examine(*words, "--runs-dir", str(tmp_path), env=plain_slurm.env)
    assert code == 3, out
    found = bad(findings)
    assert said in found[look]["found"]
    assert found[look]["remedy"]
    assert "no job is started" in found["nodes seen"]["found"]


def _help(slurm: VirtualSlurm) -> str:
    words = ["srun", "--help"]
    return subprocess.run(words, env={**os.environ, **slurm.env}, capture_output=True, text=True, check=True).stdout


def test_a_runs_folder_that_nodes_do_not_see_is_wrong(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    # Every virtual node has a /dev/shm of its own.
    runs = Path(f"/dev/shm/hpcaccept-test-{os.getpid()}/runs")
    words = ("--suite", suite_file(tmp_path, noise(0.1)), "--runs-dir", str(runs))
    code, findings, out = examine(*map(str, words), env=plain_slurm.env)
    assert code == 3, out
    assert "torch" not in {finding["look"] for finding in findings}  # nothing in this suite needs it
    assert set(bad(findings)) == {"runs seen"}
    assert "--runs-dir" in bad(findings)["runs seen"]["remedy"]
    assert not runs.parent.exists()


def test_an_mpi_that_does_not_find_its_launcher_is_wrong_and_its_words_are_kept(
    tmp_path: Path, plain_slurm: VirtualSlurm
) -> None:
    suite = str(suite_file(tmp_path, noise(0.1)))
    words = ("--nodes", "2", "--mpi", "none", "--suite", suite, "--runs-dir", str(tmp_path / "runs"))
    code, findings, out = examine(*words, env=plain_slurm.env)
    assert code == 3, out
    # Open MPI ends the process; others leave each rank in a world of its own.
    assert set(bad(findings)) <= {"MPI", "MPI world"}
    for finding in bad(findings).values():
        assert len(finding["nodes"]) == 2
        assert "--mpi TYPE" in finding["remedy"]
    if "MPI" in bad(findings):
        assert "MPI" in json.loads(out[: out.rindex("}") + 1])["stderr"]


PYXIS = """#!/usr/bin/env bash
# srun that knows Pyxis' flags; the container starts on no node but the first, for want of space, as Pyxis and Enroot say it.
case "$*" in
  *--help*) REAL "$@"; echo "      --container-image=[USER@][REGISTRY#]IMAGE[:TAG]|PATH" ;;
  *--container-image*)
    for word in "$@"; do [[ $word == --container-* || $word == --no-container-* ]] || words+=("$word"); done
    sed 's/^/1: /' SAID >&2
    REAL "${words[@]/--n*tasks=2/--ntasks=1}" --nodes=1
    exit 1 ;;
  *) exec REAL "$@" ;;
esac
"""


def test_a_container_that_does_not_start_on_one_node_is_explained_and_the_rest_is_told(
    tmp_path: Path, plain_slurm: VirtualSlurm
) -> None:
    image = tmp_path / "image.sqsh"
    (tmp_path / "root").mkdir()
    if not shutil.which("mksquashfs"):
        pytest.skip("no mksquashfs: apt-get install squashfs-tools")
    subprocess.run(["mksquashfs", str(tmp_path / "root"), str(image), "-quiet"], check=True, stdout=subprocess.DEVNULL)
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    said = DATA / "pyxis" / "no_space.err"
    srun.write_text(PYXIS.replace("REAL", str(shutil.which("srun"))).replace("SAID", str(said)))
    srun.chmod(0o755)
    env = {**plain_slurm.env, "PATH": f"{srun.parent}:{os.environ['PATH']}", "HPCACCEPT_PYTHON": sys.executable}
    suite = str(suite_file(tmp_path, noise(0.1)))
    words = ("-N2", "--suite", suite, "--container-image", str(image), "--runs-dir", str(tmp_path / "runs"))
    code, findings, out = examine(*words, env=env)
    assert code == 3, out
    assert {"pyxis", "image", "partition"} <= {finding["look"] for finding in findings if finding["mark"] == "ok"}
    job = [finding for finding in findings if finding["look"] == "job" and finding["mark"] == "wrong"]
    assert [finding["nodes"] for finding in job] == [["node1"]], out
    assert "no space where images are unpacked" in job[0]["found"]
    (cores,) = [finding for finding in findings if finding["look"] == "cores"]
    assert cores["nodes"] == ["node0"]


def test_a_node_whose_slurmd_does_not_answer_is_named(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    stopped = plain_slurm.slurmd_pid("node3")
    os.kill(stopped, signal.SIGSTOP)
    try:
        suite = str(suite_file(tmp_path, noise(0.1)))
        words = ("--nodes", "4", "--suite", suite, "--start-timeout", "4", "--runs-dir", str(tmp_path))
        code, findings, out = examine(*words, env=plain_slurm.env)
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert code == 3, out
    silent = [finding for finding in findings if finding["look"] == "job" and finding["mark"] == "wrong"]
    assert [finding["nodes"] for finding in silent] == [["node3"]], out
    (cores,) = [finding for finding in findings if finding["look"] == "cores"]
    assert cores["nodes"] == ["node0", "node1", "node2"]
    until(lambda: not jobs(plain_slurm), 30)
    until(lambda: "idle" in _state(plain_slurm, "node3"), 60)


def _state(slurm: VirtualSlurm, node: str) -> str:
    words = ["sinfo", "-h", "-N", "-n", node, "-p", "gpu", "-o", "%T"]
    return subprocess.run(words, env={**os.environ, **slurm.env}, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def pyxis() -> Iterator[VirtualSlurm]:
    """Two nodes on which srun takes ``--container-image``."""
    missing = [name for name in ("slurmd", "mksquashfs", "nsenter") if not shutil.which(name)]
    if os.geteuid() or missing or not find_pyxis():
        why = "not root" if os.geteuid() else f"no {', '.join(missing) or 'Pyxis and Enroot'} on this machine"
        pytest.skip(f"no containers under Slurm: {why} (docs/how-to/pyxis.md)")
    with VirtualSlurm.up(Path(f"/run/hpcaccept-test-{os.getpid()}-d"), nodes=2, pyxis=True) as cluster:
        yield cluster


@pytest.mark.parametrize("runtime", ["pyxis", "enroot"])
def test_inside_a_real_container_the_nodes_answer_and_nothing_of_it_stays(
    tmp_path: Path, pyxis: VirtualSlurm, runtime: str
) -> None:
    code, findings, out = examine(*_inside(tmp_path), "--container-runtime", runtime, env=_python(pyxis))
    assert code == 0, out
    (world,) = [finding for finding in findings if finding["look"] == "MPI world"]
    assert (world["found"], world["nodes"]) == ("2", ["node0", "node1"])
    assert {runtime, "image", "PMIx", "clock", "runs seen"} <= {finding["look"] for finding in findings}
    assert not list(pyxis.folder.glob("node*/enroot/data-*/*")), "a container stays on a node"


def test_a_file_that_one_node_does_not_see_is_told_of_that_node(tmp_path: Path, pyxis: VirtualSlurm) -> None:
    words = _inside(tmp_path)
    enter = ["nsenter", "--target", str(pyxis.slurmd_pid("node1")), "--mount", "--"]
    hidden = tmp_path / "image"
    subprocess.run([*enter, "mount", "-n", "-t", "tmpfs", "none", str(hidden)], check=True, timeout=20)
    try:
        code, findings, out = examine(*words, env=_python(pyxis))
    finally:
        subprocess.run([*enter, "umount", str(hidden)], check=True, timeout=20)
    assert code == 3, out
    job = [finding for finding in findings if finding["look"] == "job" and finding["mark"] == "wrong"]
    assert [finding["nodes"] for finding in job] == [["node1"]], out
    assert "the image file does not exist where the ranks start" in job[0]["found"]
    assert [finding["nodes"] for finding in findings if finding["look"] == "cores"] == [["node0"]]


def _inside(folder: Path) -> tuple[str, ...]:
    (folder / "image").mkdir()
    image = image_of_nothing(folder / "image" / "nothing.sqsh")
    suite = suite_file(folder, noise(0.1))
    return ("--nodes", "2", "--suite", str(suite), "--runs-dir", str(folder / "runs"), "--container-image", str(image),
            "--container-mounts", mounts())  # fmt: skip


def _python(slurm: VirtualSlurm) -> dict[str, str]:
    return {**slurm.env, "HPCACCEPT_PYTHON": sys.executable}


def test_ctrl_c_takes_the_job_back(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    env = {**os.environ, **plain_slurm.env, "HPCACCEPT_GPUS_PER_NODE": "0"}
    blocker = subprocess.run(
        ["sbatch", "--parsable", "-o", "/dev/null", "--exclusive", "-N4", "--wrap", "sleep 60"],
        env=env, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    try:
        words = [sys.executable, "-m", "hpcaccept", "doctor", "--nodes", "2", "--runs-dir", str(tmp_path / "runs")]
        with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            until(lambda: "PENDING" in jobs(plain_slurm), 30)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert not jobs(plain_slurm)
        assert not (tmp_path / "runs").exists()
        begin = time.monotonic()
        code, findings, out = examine("--queue-timeout", "1", "--runs-dir", str(tmp_path / "runs"), env=plain_slurm.env)
        assert time.monotonic() - begin < 30
    finally:
        subprocess.run(["scancel", blocker], env=env, check=True)
    assert code == 3, out
    assert "did not begin within 1.0 s" in bad(findings)["job"]["found"]
    assert bad(findings)["job"]["mark"] == "unknown"
    assert not jobs(plain_slurm)


def test_one_node_speaks_for_itself_inside_a_job(plain_slurm: VirtualSlurm) -> None:
    words = [
        "srun",
        "--mpi=pmix",
        "-N2",
        "-n2",
        "--label",
        sys.executable,
        "-m",
        "hpcaccept",
        "doctor",
        "--node",
        "--json",
    ]
    done = subprocess.run(
        words, env={**os.environ, **plain_slurm.env}, capture_output=True, text=True, timeout=60, check=False
    )
    found: list[dict[str, Any]] = []
    for task in (0, 1):
        text = "\n".join(x.partition(": ")[2] for x in done.stdout.splitlines() if x.lstrip().startswith(f"{task}: "))
        found += json.loads(text)["findings"]
    assert not bad(found), done.stderr
    assert done.returncode == 0, done.stderr
    worlds = [finding for finding in found if finding["look"] == "MPI world"]
    assert [world["found"] for world in worlds] == ["2", "2"]
    assert len({name for world in worlds for name in world["nodes"]}) == 2


def test_a_machine_without_slurm_is_looked_at_by_itself(tmp_path: Path) -> None:
    env = {"HPCACCEPT_LAUNCHER": "local"}
    code, findings, out = examine("--nodes", "2", "--runs-dir", str(tmp_path / "runs"), env=env)
    assert code == 0, out
    looks = [finding["look"] for finding in findings]
    assert looks[:3] == ["mpiexec", "runs folder", "image"]
    (world,) = [finding for finding in findings if finding["look"] == "MPI world"]
    assert world["found"] == "2"
    assert {"torch", "/dev/shm", "cores"} <= set(looks)


def python_alone(folder: Path) -> str:
    """This Python with its packages, in a virtual environment without the mpiexec that ``make`` may have installed beside it."""
    (folder / "alone/bin").mkdir(parents=True)
    shutil.copy(Path(sys.prefix, "pyvenv.cfg"), folder / "alone")
    (folder / "alone/lib").symlink_to(Path(sys.prefix, "lib"))
    python = folder / "alone/bin/python"
    python.symlink_to(Path(sys.executable).resolve())
    return str(python)


def test_a_machine_without_slurm_and_mpi_says_so_and_what_it_is(tmp_path: Path) -> None:
    code, findings, out = examine(
        "--runs-dir", str(tmp_path / "runs"), env={"PATH": str(tmp_path)}, python=python_alone(tmp_path)
    )
    assert code == 3, out
    # Open MPI's own singletons need its daemon on the PATH, others need nothing.
    assert {"mpiexec"} <= set(bad(findings)) <= {"mpiexec", "MPI"}
    assert install_hint("mpi") in bad(findings)["mpiexec"]["remedy"]
    (launcher,) = [finding for finding in findings if finding["look"] == "launcher"]
    assert launcher["found"] == "local, this machine alone: there is no sbatch on the PATH"
    assert {"/dev/shm", "cores"} <= {finding["look"] for finding in findings if finding["mark"] == "ok"}


def test_hosts_by_ssh_are_asked_too_and_one_that_cannot_be_reached_is_named(tmp_path: Path, four_hosts: Hosts) -> None:
    env = {**four_hosts.env, "HPCACCEPT_NODELIST": "node[0-1],node9", "HPCACCEPT_LAUNCHER": "hosts"}
    suite = str(suite_file(tmp_path, noise(0.1)))
    code, findings, out = examine("--suite", suite, "--runs-dir", str(tmp_path / "runs"), env=env)
    assert code == 3, out
    assert bad(findings)["job"]["nodes"] == ["node9"]
    worlds = [(f["mark"], f["nodes"]) for f in findings if f["look"] == "MPI world"]
    assert worlds == [("ok", ["node0", "node1"])], out
