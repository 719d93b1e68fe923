"""What stands on the command line of Apptainer, what it is started with, and what its words mean."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import DATA

from hpcaccept import container
from hpcaccept.model.plan import Image

if TYPE_CHECKING:
    from pathlib import Path

apptainer = container.load("apptainer")
SIF = Image("apptainer", "/shared/x.sif", ("/runs:/runs", "/data:/data:ro"), env={"TOKEN": "s3cret $HOME"})
COMMAND = ("python3", "-m", "hpcaccept.rank", "/runs/R", "00")


def _flags(image: Image, *, gpus: bool = False) -> list[str]:
    words = list(apptainer.enter(image, COMMAND, step="00", gpus=gpus))
    assert words[:2] == ["sh", "-c"]
    assert tuple(words[-len(COMMAND) - 1 :]) == (image.reference, *COMMAND)
    return words[4 : -len(COMMAND) - 1]


def test_a_rank_enters_with_its_mounts_and_without_home_and_working_folder() -> None:
    assert _flags(SIF) == ["exec", "--no-mount=home,cwd", "--bind=/runs:/runs", "--bind=/data:/data:ro"]


def test_what_was_asked_for_reaches_the_command_line() -> None:
    flags = _flags(replace(SIF, workdir="/w", writable=True, entrypoint=True), gpus=True)
    assert flags[:2] == ["run", "--nv"]
    assert {"--writable-tmpfs", "--pwd=/w"} <= set(flags)


def test_values_travel_in_the_environment_and_win_over_those_of_the_image() -> None:
    assert not any("s3cret" in word for word in apptainer.enter(SIF, COMMAND, step="00"))
    found = apptainer.environment(SIF)
    assert found["APPTAINERENV_TOKEN"] == found["SINGULARITYENV_TOKEN"] == found["TOKEN"] == "s3cret $HOME"
    assert found["APPTAINERENV_HPCACCEPT_IMAGE"] == "/shared/x.sif"
    # Without it the image's shell evaluates them.
    assert found["APPTAINER_NO_EVAL"] == found["SINGULARITY_NO_EVAL"] == "1"
    assert found["OMPI_MCA_btl_vader_single_copy_mechanism"] == "none"


def _told(folder: Path, *programs: str, **env: str) -> str:
    """What a program of that name is started with, on a PATH that has no other."""
    place = folder / "bin"
    place.mkdir()
    for name in programs:
        (place / name).write_text('#!/bin/sh\necho "${0##*/} $*"\n')
        (place / name).chmod(0o755)
    command = list(apptainer.enter(SIF, ("true",), step="00"))
    done = subprocess.run(
        ["/bin/sh", *command[1:]],
        env={"PATH": str(place), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("programs", "taken"),
    [(("apptainer",), "apptainer"), (("singularity",), "singularity"), (("apptainer", "singularity"), "apptainer")],
)
def test_either_program_is_used_and_apptainer_first(tmp_path: Path, programs: tuple[str, ...], taken: str) -> None:
    assert _told(tmp_path, *programs).startswith(f"{taken} exec --no-mount=home,cwd ")


def test_the_folder_in_which_slurm_and_pmix_meet_is_mounted_where_there_is_one(tmp_path: Path) -> None:
    told = _told(tmp_path, "apptainer", PMIX_SERVER_TMPDIR="/var/spool/slurmd/a b/pmix.1.0/")
    assert told.startswith("apptainer exec --bind /var/spool/slurmd/a b/pmix.1.0/ --no-mount=home,cwd ")


def test_without_either_program_the_fault_names_them(tmp_path: Path) -> None:
    found = apptainer.explain(_told(tmp_path))
    assert found is not None
    assert found.kind == "no runtime"


RECORDED = [
    ("no_such_sif", "image missing", "every node mounts"),
    ("not_a_sif", "image missing", "apptainer pull"),
    ("torn_sif", "unpacking failed", "apptainer sif list"),
    ("no_such_host", "registry unreachable", "apptainer pull"),
    ("no_such_host_oras", "registry unreachable", "apptainer pull"),
    ("refused_port", "registry unreachable", "apptainer pull"),
    ("pull_refused", "pull refused", "registry login"),
    ("pull_refused_oras", "pull refused", "registry login"),
    ("no_such_tag", "image missing", "name and tag"),
    ("no_such_tag_oras", "image missing", "name and tag"),
    ("bad_reference", "image missing", "docker://"),
    ("no_such_mount", "mount failed", "--container-mounts"),
    ("no_python", "python missing", "HPCACCEPT_PYTHON"),
    ("no_python_path", "python missing", "HPCACCEPT_PYTHON"),
    ("no_hpcaccept", "hpcaccept missing", "pip install"),
    ("no_such_workdir", "does not start", "container_workdir"),
    ("not_permitted", "not permitted", "user.max_user_namespaces"),
    ("not_readable", "not permitted", "chmod a+r"),
    ("no_fuse", "not permitted", "/dev/fuse"),
    ("no_space", "no space", "APPTAINER_TMPDIR"),
    ("no_tmpfs_of_slurm", "MPI cannot join", "TmpFS"),
    ("no_tmpfs_of_slurm_open_mpi_5", "MPI cannot join", "TmpFS"),
    ("no_apptainer", "no runtime", "Install Apptainer"),
]


@pytest.mark.parametrize(("case", "kind", "remedy"), RECORDED)
def test_what_apptainer_says_is_told_apart(case: str, kind: str, remedy: str) -> None:
    found = apptainer.explain((DATA / "apptainer" / f"{case}.err").read_text())
    assert found is not None
    assert found.kind == kind
    assert remedy in found.remedy


def test_every_recording_is_told_apart() -> None:
    listed = {case for case, _, _ in RECORDED}
    assert listed == {file.stem for file in (DATA / "apptainer").glob("*.err")}


def test_a_fatal_line_that_is_not_known_is_passed_on() -> None:
    found = apptainer.explain("INFO:    something\nFATAL:   the moon is full\n")
    assert found is not None
    assert (found.kind, "the moon is full" in found.cause) == ("does not start", True)


def test_a_warning_is_no_fault() -> None:
    assert apptainer.explain("WARNING: Skipping mount /var/tmp [tmp]: /var/tmp doesn't exist in container\n") is None
