"""What a failing run must say of the machine it failed on."""

from __future__ import annotations

import importlib.metadata
import os
import platform

from hypothesis import settings

#: The real Slurm (tests/support/slurm_fixtures.py), and a real browser.
pytest_plugins = ["support.slurm_fixtures", "support.browser_fixtures"]

# A busy machine is slow, which is no fault of what is tested. CI tries the same examples each time, so that a change is not refused
# for what it has not changed; here each run tries new ones, and what it finds becomes an @example.
settings.register_profile("here", deadline=None, max_examples=60, derandomize="CI" in os.environ)
settings.load_profile("here")

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
