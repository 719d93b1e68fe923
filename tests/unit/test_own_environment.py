"""Environments of their own: whole, or a sentence why not."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support import azure_az, azure_sdk, other_mpis
from support.own_environment import OwnEnvironment

if TYPE_CHECKING:
    from pathlib import Path

WHY = "not installed: make it"


@pytest.fixture
def own(tmp_path: Path) -> OwnEnvironment:
    seen = tmp_path / "seen"
    seen.mkdir()
    (seen / "only_outside.py").write_text("word = 'seen'\n")
    return OwnEnvironment(tmp_path / "own", (), "make it", sees=(str(seen),))


def test_it_is_made_once_and_finds_what_lies_outside(own: OwnEnvironment) -> None:
    assert own.why_not() == WHY
    own.make()
    assert own.why_not() == ""
    done = subprocess.run([own.python, "-c", "import only_outside; print(only_outside.word)"], capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == "seen\n"
    (own.folder / "kept").touch()
    own.make()
    assert (own.folder / "kept").exists(), "what is whole is not made again"


def test_what_is_not_whole_is_made_again(own: OwnEnvironment) -> None:
    own.make()
    for other in (
        replace(own, install=("another==1",)),
        replace(own, sees=()),
        replace(own, needs=("bin/az",)),
    ):
        assert other.why_not() == WHY
    copied = replace(own, folder=own.folder.with_name("copied"))
    shutil.copytree(own.folder, copied.folder, symlinks=True)
    assert copied.why_not() == WHY, "its scripts name the folder that it was made in"
    (own.folder / "left").touch()
    own.python.unlink()
    assert own.why_not() == WHY
    own.make()
    assert own.why_not() == ""
    assert not (own.folder / "left").exists()


def test_what_pip_could_not_install_is_not_there(own: OwnEnvironment, tmp_path: Path) -> None:
    broken = replace(own, install=("--no-index", str(tmp_path / "no-such-package")))
    with pytest.raises(subprocess.CalledProcessError):
        broken.make()
    assert broken.why_not() == WHY


def test_each_says_how_it_is_made() -> None:
    environments = [azure_sdk.ENVIRONMENT, azure_az.ENVIRONMENT, *(mpi._own for mpi in other_mpis.MPIS if mpi.group)]
    assert len({each.folder for each in environments}) == len(environments)
    for each in environments:
        assert each.folder.parent.name in ("build", "mpi")
        assert each.how.startswith(("make ", "PYTHONPATH=tests python -m support."))
