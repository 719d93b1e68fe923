"""How each runtime enters an image: what stands on its command line, and what it says when it cannot."""

from __future__ import annotations

import inspect
import os
import resource
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import DATA

from hpcaccept import container, launch
from hpcaccept.container import _defaults
from hpcaccept.errors import UsageError
from hpcaccept.model.plan import Image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

IMAGE = Image(
    "docker",
    "team/hpcaccept:1",
    ("/runs:/runs",),
    digest="sha256:" + "0" * 64,
    env={"NCCL_DEBUG": "INFO"},
    name="hpcaccept-RUN",
)
FILE = replace(IMAGE, runtime="enroot", reference="/shared/x.sqsh")
COMMAND = ("mpiexec", "-n", "2", "python3")
apptainer, docker, enroot, none, podman, pyxis = (
    container.load(name) for name in ("apptainer", "docker", "enroot", "none", "podman", "pyxis")
)


def _between(command: Sequence[str], first: str) -> list[str]:
    """What stands before the image."""
    assert tuple(command[-len(COMMAND) :]) == COMMAND
    assert command[-len(COMMAND) - 1] == first
    return list(command[: -len(COMMAND) - 1])


def test_docker_runs_as_the_user_with_the_hosts_network_and_removes_what_it_leaves() -> None:
    flags = _between(docker.enter(IMAGE, COMMAND, step="01", names=("OMPI_X",), gpus=True), "team/hpcaccept:1")
    assert flags[:3] == ["docker", "run", "--init"]
    assert f"--user={os.getuid()}:{os.getgid()}" in flags
    assert {"--rm", "--network=host", "--ipc=host", "--ulimit=memlock=-1", "--gpus=all"} <= set(flags)
    assert {"--read-only", "--tmpfs=/tmp", "--entrypoint="} <= set(flags)
    assert "--mount=type=bind,source=/runs,target=/runs" in flags
    assert "--name=hpcaccept-RUN-01" in flags
    assert list(docker.after_step(IMAGE, "01")) == ["docker", "rm", "--force", "hpcaccept-RUN-01"]


@pytest.mark.parametrize("runtime", [docker, podman, enroot], ids=["docker", "podman", "enroot"])
def test_values_of_variables_stand_on_no_command_line(runtime: container.Container) -> None:
    words = runtime.enter(replace(FILE, env={"TOKEN": "s3cret"}), COMMAND, step="00", names=("OMPI_X",))
    assert not any("s3cret" in word for word in words)
    told = [word.removeprefix("--env=") for word in words]
    assert {"TOKEN", "HPCACCEPT_IMAGE", "HPCACCEPT_IMAGE_DIGEST", "OMPI_X"} <= set(told)


def test_gpus_are_asked_for_only_where_they_are_expected() -> None:
    for runtime, flag in ((docker, "--gpus=all"), (podman, "--device=nvidia.com/gpu=all")):
        assert flag in runtime.enter(IMAGE, COMMAND, step="00", gpus=True)
        assert flag not in runtime.enter(IMAGE, COMMAND, step="00")


def test_podman_asks_for_no_more_locked_memory_than_the_user_may_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    for limit, word in ((8 << 20, "8388608:8388608"), (resource.RLIM_INFINITY, "-1")):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert {f"--ulimit=memlock={word}", "--userns=keep-id"} <= set(podman.enter(IMAGE, COMMAND, step="00"))
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert "--ulimit=memlock=-1" in podman.enter(IMAGE, COMMAND, step="00")


def test_podman_names_a_digest_without_its_kind_and_kills_what_is_left_at_once() -> None:
    assert list(podman.digest_command("x")) == ["podman", "image", "inspect", "--format=sha256:{{.Id}}", "x"]
    assert {"--force", "--time=0"} <= set(podman.after_step(IMAGE, "01"))


@pytest.mark.parametrize(
    ("mount", "flag"),
    [
        ("/a:/b", "--mount=type=bind,source=/a,target=/b"),
        ("/a:/b:rw", "--mount=type=bind,source=/a,target=/b"),
        ("/a:/b:ro", "--mount=type=bind,source=/a,target=/b,readonly"),
        ("/a:/b:ro,z", "--volume=/a:/b:ro,z"),
    ],
)
def test_a_folder_that_is_not_there_is_not_made_by_the_engine(mount: str, flag: str) -> None:
    for runtime in (docker, podman):
        assert flag in runtime.enter(replace(IMAGE, mounts=(mount,)), COMMAND, step="00")


def test_what_was_asked_for_reaches_the_command_line() -> None:
    asked = replace(IMAGE, workdir="/w", writable=True, entrypoint=True)
    flags = _between(podman.enter(asked, COMMAND, step="00"), "team/hpcaccept:1")
    assert "--workdir=/w" in flags
    assert not {"--read-only", "--entrypoint="} & set(flags)
    flags = list(pyxis.srun_flags(replace(asked, reference="/x.sqsh")))
    assert {"--container-workdir=/w", "--container-writable", "--container-entrypoint"} <= set(flags)
    assert {"--container-readonly", "--no-container-entrypoint"} <= set(pyxis.srun_flags(IMAGE))


def test_enroot_starts_a_file_with_its_mounts() -> None:
    words = list(enroot.enter(FILE, COMMAND, step="00", names=("OMPI_X",)))
    assert words[:4] == ["enroot", "start", "--mount", "/runs:/runs"]
    assert _between(words, "/shared/x.sqsh")[-4:] == [
        "--env",
        "OMPI_X",
        "--env",
        "OMPI_MCA_btl_vader_single_copy_mechanism=none",
    ]
    assert list(enroot.enter(replace(FILE, writable=True), COMMAND, step="00"))[2] == "--rw"


def test_pyxis_keeps_its_container_for_the_job_and_removes_it_under_the_runs_own_name() -> None:
    assert f"--container-name={IMAGE.name}" in pyxis.srun_flags(IMAGE)
    assert list(pyxis.after_step(IMAGE, "00")) == []
    assert list(pyxis.after_job(IMAGE)) == ["enroot", "remove", "--force", "pyxis_hpcaccept-RUN"]
    assert list(pyxis.enter(IMAGE, COMMAND, step="00")) == list(COMMAND)


def test_without_an_image_nothing_is_added() -> None:
    assert list(none.enter(Image(), COMMAND, step="00")) == list(COMMAND)
    assert not none.unfit(Image())
    assert not (*none.srun_flags(Image()), *none.after_step(Image(), "00"), *none.after_job(Image()))
    assert Image().environment == {}


@pytest.mark.parametrize(
    ("runtime", "reference", "words"),
    [
        (pyxis, "images/x.sqsh", "write the path of a file as ./images/x.sqsh"),
        (enroot, "team/hpcaccept:1", "make one with enroot/import"),
        (docker, "/shared/x.sqsh", "--container-runtime enroot"),
        (docker, "/shared/x.sif", "--container-runtime apptainer"),
        (podman, "registry.example#team/x:1", "REGISTRY/PATH:TAG is expected"),
        (docker, ("team/x:1", "data:/data"), "'data:/data' begins with no path of this machine"),
        (apptainer, "registry.example#team/x:1", "write docker://registry.example/team/x:1"),
    ],
)
def test_an_image_that_a_runtime_cannot_enter_is_refused_before_the_job(
    runtime: container.Container, reference: str | tuple[str, str], words: str
) -> None:
    name, *mounts = [reference] if isinstance(reference, str) else reference
    assert words in runtime.unfit(Image("x", name, tuple(mounts)))


@pytest.mark.parametrize(
    ("runtime", "reference"),
    [
        (pyxis, "./x.sqsh"),
        (pyxis, "registry.example#team/x:1"),
        (enroot, "/shared/x.sqsh"),
        (docker, "team/x@sha256:0"),
        (apptainer, "images/x.sif"),
        (apptainer, "/shared/x.sqsh"),
        (apptainer, "/shared/sandbox"),
        (apptainer, "docker://team/x:1"),
        (apptainer, "oras://registry.example/team/x:1"),
    ],
)
def test_an_image_that_fits_is_not_refused(runtime: container.Container, reference: str) -> None:
    assert runtime.unfit(Image("x", reference)) == ""


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("docker_no_daemon", "no runtime"),
        ("docker_no_such_image", "image missing"),
        ("docker_refused", "pull refused"),
        ("docker_no_gpus", "hook failed"),
        ("docker_no_python", "python missing"),
        ("docker_no_mpiexec", "MPI missing"),
        ("docker_no_such_mount", "mount failed"),
        ("docker_not_permitted", "not permitted"),
        ("docker_no_init", "no runtime"),
        ("podman_no_python", "python missing"),
        ("podman_no_mpiexec", "MPI missing"),
        ("podman_no_folder", "does not start"),
        ("podman_no_space", "no space"),
        ("podman_refused", "pull refused"),
        ("podman_no_such_host", "registry unreachable"),
        ("podman_no_such_mount", "mount failed"),
        ("podman_no_gpus", "hook failed"),
        ("podman_no_such_image", "image missing"),
        ("podman_not_permitted", "not permitted"),
    ],
)
def test_what_an_engine_says_is_told_apart(case: str, kind: str) -> None:
    found = docker.explain((DATA / "engines" / f"{case}.err").read_text())
    assert found is not None
    assert found.kind == kind
    assert found.remedy


@pytest.mark.parametrize("name", container.names())
def test_a_full_disk_for_temporary_files_is_told_by_its_name(name: str) -> None:
    found = container.load(name).explain((DATA / "launchers" / "mpiexec5_no_space.err").read_text())
    assert found is not None
    assert found.kind == "no space"
    assert "TMPDIR" in found.remedy


@pytest.mark.parametrize("name", container.names())
def test_every_runtime_keeps_the_protocol(name: str) -> None:
    runtime = container.load(name)
    assert launch.providing(*runtime.NEEDS)
    assert runtime.explain("") is None
    assert runtime.explain("srun: error: node0: task 0: Killed\n") is None
    for word, promised in inspect.getmembers(container.Container, inspect.isfunction):
        if not word.startswith("_"):
            own = inspect.signature(getattr(runtime, word)).parameters
            assert list(own) == list(inspect.signature(promised).parameters)[1:], word


def test_what_a_runtime_does_not_say_is_the_default() -> None:
    assert none.enter is _defaults.enter
    assert enroot.after_job is _defaults.after_job
    assert enroot.enter is not _defaults.enter


def test_a_runtime_that_does_not_exist_is_refused_with_the_names_of_those_that_do() -> None:
    with pytest.raises(UsageError) as refused:
        container.load("singularity")
    assert all(name in refused.value.remedy for name in container.names())


@pytest.mark.parametrize(
    ("launcher", "reference", "here", "taken"),
    [
        ("slurm", "registry.example#team/x:1", "apptainer enroot docker", "pyxis"),
        ("slurm", "/shared/x.sqsh", "apptainer enroot", "pyxis"),
        ("slurm", "/shared/x.sif", "enroot", "apptainer"),
        ("slurm", "oras://registry.example/team/x:1", "", "apptainer"),
        ("local", "/shared/x.sqsh", "", "enroot"),
        ("local", "/shared/x.sqsh", "singularity", "apptainer"),
        ("local", "/shared/x.sif", "enroot docker", "apptainer"),
        ("local", "docker://team/x:1", "docker", "apptainer"),
        ("local", "team/x:1", "", "docker"),
        ("local", "team/x:1", "podman apptainer", "podman"),
        ("local", "team/x:1", "podman docker", "docker"),
    ],
)
def test_an_image_is_entered_by_the_usual_runtime_that_takes_it(
    launcher: str, reference: str, here: str, taken: str
) -> None:
    provides = launch.load(launcher).TRAITS.provides
    assert container.usual(provides, reference, here.split().__contains__) == taken


def test_a_runtime_of_one_new_file_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toybox.py").write_text(
        'NEEDS = ("container",)\nIMAGE_ENDINGS = (".toy",)\n\n\n'
        'def enter(image, command, *, step, names=(), gpus=False):\n    return ("toybox", image.reference, *command)\n'
    )
    monkeypatch.setattr(container, "__path__", [*container.__path__, str(tmp_path)])
    assert "toybox" in container.runtimes()
    toybox = container.load("toybox")
    assert toybox.enter(Image("toybox", "x.toy"), ["true"], step="00") == ("toybox", "x.toy", "true")
    assert toybox.unfit(Image("toybox", "x.toy")) == ""
    assert container.is_file("x.toy")
    assert container.usual({"container"}, "x.toy", lambda _: True) == "toybox"
    monkeypatch.delitem(sys.modules, "hpcaccept.container.toybox")
