"""Which MPI library do ranks load: the site's, or one installed beside Python?"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hpcaccept.launch import slurm
from hpcaccept.measure.ranks import mpi

ASKED = {mpi.PREFER_SITE: "1"}


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpi, "_is_mpi", lambda name: name in {"libmpi.so.40", "libmpi.so.12"})


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize(
    ("given", "library"),
    [
        ({"PMIX_RANK": "0"}, "libmpi.so.40"),
        ({"PMI_RANK": "0"}, "libmpi.so.12"),
        ({"PMIX_RANK": "0", "MPI4PY_LIBMPI": "/opt/mpi/lib/libmpi.so"}, "/opt/mpi/lib/libmpi.so"),
    ],
)
def test_the_mpi_of_the_process_manager_goes_first(given: dict[str, str], library: str) -> None:
    environ = {**ASKED, **given}
    mpi.choose_library(environ)
    assert environ["MPI4PY_LIBMPI"] == library


@pytest.mark.usefixtures("both")
def test_a_launcher_with_an_mpiexec_of_its_own_keeps_what_fits_it() -> None:
    environ = {"PMIX_RANK": "0"}
    mpi.choose_library(environ)
    assert environ == {"PMIX_RANK": "0"}


def test_without_one_of_the_site_the_wheel_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpi, "_is_mpi", lambda _name: False)
    environ = dict(ASKED)
    mpi.choose_library(environ)
    assert "MPI4PY_LIBMPI" not in environ


def test_a_file_that_is_no_mpi_is_passed_over() -> None:
    assert not mpi._is_mpi("libc.so.6")
    assert not mpi._is_mpi("libmpi-none.so.1")


def test_slurm_asks_for_it() -> None:
    assert slurm.step_environment({})[mpi.PREFER_SITE] == "1"


@pytest.mark.skipif(not mpi._is_mpi("libmpi.so.40"), reason="not run: this machine's loader finds no libmpi.so.40")
def test_what_is_chosen_is_what_mpi4py_loads() -> None:
    code = (
        "import os, mpi4py; mpi4py.rc.initialize = False\n"
        "from hpcaccept.measure.ranks import mpi; mpi.choose_library(os.environ)\n"
        "from mpi4py import MPI\n"
        "print([x.split()[-1] for x in open('/proc/self/maps') if '/libmpi.so' in x][0])"
    )
    env = {**os.environ, **ASKED, "PMIX_RANK": "0"}
    env.pop("MPI4PY_LIBMPI", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=env)
    assert not done.stdout.startswith(sys.prefix), done.stdout
