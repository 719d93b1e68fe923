from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import DATA

from hpcaccept import container
from hpcaccept.container import pyxis
from hpcaccept.errors import UsageError
from hpcaccept.model.plan import Image

PYXIS = DATA / "pyxis"


@pytest.mark.parametrize(
    ("case", "kind", "remedy"),
    [
        ("no_pyxis", "no runtime", "Install Pyxis"),
        ("no_enroot_on_one_node", "no runtime", "Install the named program"),
        ("registry_basic", "pull refused", "credentials"),
        ("registry_bearer", "pull refused", "credentials"),
        ("registry_limits", "pull refused", "enroot/import"),
        ("no_such_tag", "image missing", "Check name and tag"),
        ("registry_unreachable", "registry unreachable", ".sqsh"),
        ("no_such_sqsh", "image missing", "every node mounts"),
        ("no_such_sqsh_on_one_node", "image missing", "every node mounts"),
        ("torn_sqsh", "unpacking failed", "unsquashfs -s"),
        ("no_space", "no space", "ENROOT_DATA_PATH"),
        ("no_space_on_one_node", "no space", "ENROOT_DATA_PATH"),
        ("run_folder_full_on_one_node", "no space", "runtime_path"),
        ("read_only_on_one_node", "not permitted", "ENROOT_RUNTIME_PATH"),
        ("hook_fails_on_one_node", "hook failed", "98-nvidia.sh"),
        ("no_such_mount_on_one_node", "mount failed", "--container-mounts"),
        ("no_such_workdir", "does not start", "container_workdir"),
        ("entry_point_ends", "does not start", "container_entrypoint"),
        ("no_python", "python missing", "HPCACCEPT_PYTHON"),
        ("no_hpcaccept", "hpcaccept missing", "pip install"),
        ("another_version", "another version", "same version"),
        ("pmix_variables_missing", "MPI cannot join", "enroot/hooks.d"),
        ("mpi_none", "MPI does not fit", "--mpi"),
        ("something_else", "does not start", "logs/"),
    ],
)
def test_what_keeps_ranks_out_of_a_container_is_told_apart(case: str, kind: str, remedy: str) -> None:
    found = pyxis.explain((PYXIS / f"{case}.err").read_text())
    assert found is not None
    assert (found.kind, found.cause[:11]) == (kind, "container: ")
    assert remedy in found.remedy


@pytest.mark.parametrize("case", [f.stem for f in sorted(PYXIS.glob("*.err")) if "slurmstepd" in f.read_text()])
def test_slurm_25_05_passes_words_on_under_the_time_of_day_and_they_mean_the_same(case: str) -> None:
    older = (PYXIS / f"{case}.err").read_text()
    newer = re.sub(r"slurmstepd\S*: error: ", "[2026-11-29T10:00:14.660] error: ", older)
    assert newer != older
    assert pyxis.explain(newer) == pyxis.explain(older)


def test_every_recording_is_told_apart() -> None:
    (names,) = [m for m in test_what_keeps_ranks_out_of_a_container_is_told_apart.pytestmark if m.name == "parametrize"]  # type: ignore[attr-defined]
    assert {case for case, _, _ in names.args[1]} == {file.stem for file in PYXIS.glob("*.err")}


def test_the_cause_quotes_the_line_that_tells() -> None:
    found = pyxis.explain((PYXIS / "no_such_sqsh.err").read_text())
    assert found is not None
    assert "/nowhere/hpcaccept.sqsh" in found.cause


@pytest.mark.parametrize("stderr", ["", "srun: error: node0: task 0: Killed\n", "pyxis: imported docker image: x\n"])
def test_what_is_no_fault_of_the_container_is_not_called_one(stderr: str) -> None:
    assert pyxis.explain(stderr) is None


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    found = pyxis.explain(text)
    assert found is None or (found.cause and found.remedy)


def test_the_flags_name_image_and_mounts_and_leave_the_home_outside() -> None:
    flags = list(pyxis.srun_flags(Image("pyxis", "registry.example#team/x:1", ("/data:/data:ro", "/s:/s"))))
    assert flags[0] == "--container-image=registry.example#team/x:1"
    assert "--no-container-mount-home" in flags
    assert "--container-mounts=/data:/data:ro,/s:/s" in flags


def test_without_mounts_there_is_no_flag_for_them() -> None:
    assert not any("mounts" in flag for flag in pyxis.srun_flags(Image("pyxis", "x")))


def test_without_a_container_there_are_no_flags_and_no_excuses() -> None:
    assert list(container.load("none").srun_flags(Image())) == []
    assert container.load("none").explain((PYXIS / "no_space.err").read_text()) is None


def test_a_runtime_is_found_by_its_name() -> None:
    assert container.load("pyxis").srun_flags is pyxis.srun_flags
    with pytest.raises(UsageError, match=r"'pyxsi'(?s:.*)Did you mean 'pyxis'\?"):
        container.load("pyxsi")
