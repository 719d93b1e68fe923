"""``make accept`` mends the environment that it finds. Nothing is downloaded: pip is the one of this Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")

#: In place of python3: its venv is made without ensurepip (seconds) and borrows the pip of this Python.
PYTHON = f"""#!{sys.executable}
import pathlib, pip, subprocess, sys
if sys.argv[1:3] != ["-m", "venv"]:
    raise SystemExit(subprocess.call([{sys.executable!r}, *sys.argv[1:]]))
code = subprocess.call([{sys.executable!r}, "-m", "venv", "--without-pip", *sys.argv[3:]])
place = pathlib.Path(sys.argv[-1]).absolute()
(site,) = place.glob("lib/python3*/site-packages")
for part in pathlib.Path(pip.__file__).parents[1].glob("pip*"):
    (site / part.name).symlink_to(part)
(place / "bin/pip").write_text(f"#!{{place}}/bin/python3\\nimport pip\\n")
raise SystemExit(code)
"""


@dataclass(frozen=True)
class Checkout:
    """As much of a checkout as the rule of .venv reads."""

    folder: Path

    def make(self) -> str:
        """Let make see to .venv; gives what it said."""
        env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        words = ["make", "--no-print-directory", ".venv/stamp-pip", f"PYTHON={self.folder.parent}/python3"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=self.folder, env=env, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (self.folder / ".venv/stamp-pip").exists()
        return done.stdout

    @property
    def made_anew(self) -> bool:
        """Whether .venv was made since this was asked last."""
        mark = self.folder / ".venv/mark"
        gone = not mark.exists()
        mark.touch()
        return gone


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with a sound environment; each test leaves it sound."""
    folder = tmp_path_factory.mktemp("makefile")
    (folder / "python3").write_text(PYTHON)
    (folder / "python3").chmod(0o755)
    (folder / "checkout").mkdir()
    shutil.copy(ROOT / "Makefile", folder / "checkout")
    made = Checkout(folder / "checkout")
    assert made.make() == ""
    assert made.made_anew
    return made


def test_a_sound_environment_is_left_alone(checkout: Checkout) -> None:
    before = (checkout.folder / ".venv/stamp-pip").stat().st_mtime_ns
    assert checkout.make() == ""
    assert not checkout.made_anew
    assert (checkout.folder / ".venv/stamp-pip").stat().st_mtime_ns == before, (
        "what rests on it would be installed again"
    )


def test_the_environment_of_a_copied_checkout_is_made_anew(checkout: Checkout) -> None:
    copy = Checkout(Path(shutil.copytree(checkout.folder, checkout.folder.parent / "checkout 2", symlinks=True)))
    assert "copied from another folder: it is made anew" in copy.make()
    assert copy.made_anew
    assert copy.make() == ""
    assert checkout.make() == "", "the original is still sound"


def test_an_environment_whose_python_has_gone_is_made_anew(checkout: Checkout) -> None:
    for name in (".venv/bin/python", ".venv/bin/python3"):
        (checkout.folder / name).unlink()
        (checkout.folder / name).symlink_to("/nowhere/python3")
    assert "The Python of .venv does not run here" in checkout.make()
    assert checkout.made_anew


def test_an_environment_whose_pip_has_gone_is_made_anew(checkout: Checkout) -> None:
    for part in checkout.folder.glob(".venv/lib/python3*/site-packages/pip"):
        part.unlink()
    assert "it is made anew" in checkout.make()
    assert checkout.made_anew


def test_the_size_is_said_before_anything_is_downloaded() -> None:
    words = ["make", "--dry-run", "--what-if", "pyproject.toml", "accept"]
    shown = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    said, downloads, starts = (shown.index(x) for x in ("GB to download", "--editable '.[rank]'", "hpcaccept submit"))
    assert said < downloads < starts
