"""A matrix of two small environments: one has what the tests import, the other lacks a part of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Each test adds a line here, so that what ran twice is seen.
COUNTS = "counts"


def environment(folder: Path, *modules: str) -> Path:
    """A virtual environment with modules that do nothing, made in a tenth of a second."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in modules:
        (packages / f"{name}.py").write_text("version = 1\n")
        info = packages / f"{name}-2.5.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5.1\n")
    return folder


def counting_script(folder: Path) -> Path:
    """A script that says which cell it runs in."""
    script = folder / "count.py"
    script.write_text(
        "import os, pathlib, sys\n"
        f"with open({str(folder / COUNTS)!r}, 'a') as file:\n"
        "    file.write(pathlib.Path.cwd().parts[-3] + '\\n')\n"
    )
    return script


def counted(folder: Path) -> list[str]:
    """Cells in which the script ran, sorted; a cell that ran twice is there twice."""
    return sorted((folder / COUNTS).read_text().split()) if (folder / COUNTS).exists() else []


def hpcaccept(
    folder: Path, *words: str, env: Mapping[str, str] | None = None, timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """A command in a folder, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "hpcaccept", *words],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def report(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The latest run of ``m.toml`` as JSON."""
    found: dict[str, Any] = json.loads(hpcaccept(folder, "matrix", "report", "m.toml", "--format", "json", *words, env=env).stdout)  # fmt: skip
    return found


def outcomes(found: Mapping[str, Any]) -> dict[str, str]:
    """Cell → verdict."""
    return {each["id"]: each["outcome"] for each in found["cells"]}
