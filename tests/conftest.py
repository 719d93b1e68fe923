"""What a failing run must say of the machine it failed on."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
import sys
from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

#: The real Slurm (tests/support/slurm_fixtures.py), a real browser, and an Azure of this machine.
pytest_plugins = ["support.slurm_fixtures", "support.browser_fixtures", "support.azure_fixtures"]

# Users have byte code; without it each of the thousands of processes that tests start compiles hpcaccept anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Ten thousand tests are objects that stay: looking through them for garbage again and again takes a tenth of the time.
gc.set_threshold(50_000, 20, 20)

# A busy machine is slow, which is no fault of what is tested. CI tries the same examples each time, so that a change is not refused
# for what it has not changed; here each run tries new ones, and what it finds becomes an @example.
for _profile, _examples in (("here", 30), ("quick", 10), ("thorough", 300)):
    settings.register_profile(_profile, deadline=None, max_examples=_examples, derandomize="CI" in os.environ)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "here"))

#: Files that take longest, the longest first: a row that begins with one of them has time for it, the other rows take the rest.
_LONGEST = (
    "test_bad_days.py",
    "test_image.py",
    "test_doctor_paths.py",
    "test_pyxis.py",
    "test_vast_machines.py",
    "test_launchers.py",
    "test_nightly.py",
    "test_vast_kills.py",
    "test_health_run.py",
    "test_sbatch_scripts.py",
    "test_deaths.py",
    "test_one_attempt.py",
)

_MATTER = ("torch", "mpi4py", "numpy", "h5py", "submitit", "click", "rich", "hypothesis")


def pytest_report_header() -> str:
    """Versions that change what is tested."""
    found = []
    for name in _MATTER:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} –")
    cores = len(os.sched_getaffinity(0))
    return f"hpcaccept on {platform.platform()}, {cores} cores: {', '.join(found)}"


def pytest_collection_finish() -> None:
    """What is there when tests begin is there to stay."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; within a file the order stays."""
    place = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(_LONGEST)))
