from __future__ import annotations

import pytest
from builders import DATA
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept import container
from hpcaccept.container import none, pyxis
from hpcaccept.errors import UsageError
from hpcaccept.model.plan import Image

PYXIS = DATA / "pyxis"


@pytest.mark.parametrize(
    ("case", "cause", "remedy"),
    [
        ("no_pyxis", "this Slurm has no Pyxis", "Install Pyxis"),
        ("registry_refuses", "the registry refused the image", "credentials"),
        ("no_such_tag", "the registry does not know the image", "Check name and tag"),
        ("registry_unreachable", "the registry cannot be reached", ".sqsh"),
        ("no_such_sqsh", "the image file does not exist", "every node mounts"),
        ("no_space", "no space where images are unpacked", "ENROOT_DATA_PATH"),
        ("something_else", "Enroot could not start the container", "logs/"),
    ],
)
def test_a_container_that_does_not_start_is_told_with_cause_and_remedy(case: str, cause: str, remedy: str) -> None:
    found = pyxis.explain((PYXIS / f"{case}.err").read_text())
    assert found is not None
    assert found.cause.startswith("container: ")
    assert cause in found.cause
    assert remedy in found.remedy


def test_the_cause_quotes_the_line_that_tells() -> None:
    found = pyxis.explain((PYXIS / "no_such_sqsh.err").read_text())
    assert found is not None
    assert "/shared/images/hpcaccept.sqsh" in found.cause


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
    assert list(none.srun_flags(Image())) == []
    assert none.explain((PYXIS / "no_space.err").read_text()) is None


def test_a_runtime_is_found_by_its_name() -> None:
    assert container.load("pyxis").srun_flags is pyxis.srun_flags
    with pytest.raises(UsageError, match=r"'pyxsi'(?s:.*)Did you mean 'pyxis'\?"):
        container.load("pyxsi")
