"""The login side starts fast: what a command does not need is not imported, and the layers know only what is below."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ONLY_ON_NODES = {"torch", "torchvision", "mpi4py", "pynvml"}
HEAVY = {"numpy", "h5py", "pandas", "rich", "submitit", "ClusterShell", "matplotlib"}


def loaded_by(code: str) -> set[str]:
    """Top-level modules of a fresh interpreter after some code."""
    text = f"{code}\nimport sys, json\nprint('\\n' + json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["submit", "--help"], ["report", "--help"], ["nightly", "run", "--help"]]
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    found = loaded_by(f"from hpcaccept.cli import main\nmain({words!r})")
    assert not found & (HEAVY | ONLY_ON_NODES)


def test_the_version_alone_is_told_without_click_and_as_with_it() -> None:
    told = [
        subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True, cwd=ROOT).stdout
        for words in (["-m", "hpcaccept", "--version"], ["-c", "from hpcaccept.cli import main; main(['--version'])"])
    ]
    assert told[0] == told[1]
    code = "import runpy, sys, contextlib\nsys.argv[1:] = ['--version']\n"
    code += "with contextlib.suppress(SystemExit):\n    runpy.run_module('hpcaccept', run_name='__main__')"
    assert "click" not in loaded_by(code)


def test_showing_the_settings_imports_nothing_heavy() -> None:
    assert not loaded_by("from hpcaccept.cli import main\nmain(['config'])") & (HEAVY | ONLY_ON_NODES)


@pytest.mark.parametrize("words", [["checks"], ["checks", "explain", "burn"], ["runs"], ["baseline", "show"]])
def test_no_command_imports_what_only_the_nodes_have(words: list[str]) -> None:
    assert not loaded_by(f"from hpcaccept.cli import main\nmain({words!r})") & ONLY_ON_NODES


def test_every_module_of_the_login_side_leaves_torch_and_mpi_alone() -> None:
    packages = ["app", "cli", "config", "container", "judge", "launch", "model", "parse", "plan", "report", "store"]
    names = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in packages
        for file in (ROOT / "hpcaccept" / package).rglob("*.py")
    ]
    assert not loaded_by("\n".join(f"import {name}" for name in names)) & ONLY_ON_NODES


def test_a_rank_imports_torch_only_for_checks_that_need_it() -> None:
    assert not loaded_by("import hpcaccept.rank.__main__") & {"torch", "numpy", "h5py", "rich", "click", "submitit"}


def test_the_layers_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout
