"""Where the files that come with hpcaccept lie: inside the package where it is installed, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_IN_A_WHEEL = _PACKAGE / "_share"
#: The folder that holds ``baselines``, ``docs``, ``enroot``, ``monitoring`` and ``sbatch`` (pyproject.toml puts them into the wheel).
SHARE = _IN_A_WHEEL if _IN_A_WHEEL.is_dir() else _PACKAGE.parent
