"""The sdist and the wheel of it: installed into an environment of their own, they run the login side from an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from hpcaccept import __version__
from hpcaccept.app.commit import WRITTEN, commit_of

ROOT = Path(__file__).parents[2]
SHARED = ("azure", "baselines", "docs", "enroot", "monitoring", "sbatch")


def said_by(*words: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None, code: int = 0) -> str:
    """What a command prints; another exit code fails the test, with its last words."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False, cwd=cwd, env=env)
    assert done.returncode == code, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@dataclass(frozen=True)
class Installed:
    """The wheel in an environment of its own, and an empty folder to call it from."""

    sdist: Path
    wheel: Path
    prefix: Path
    elsewhere: Path

    def hpcaccept(self, *words: str, code: int = 0) -> str:
        foreign = ("HPCACCEPT_", "SLURM_", "GIT_", "PYTHON")
        env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        # An mpiexec, where it is only beside the Python of the tests.
        env["PATH"] = f"{self.prefix}/bin:{env['PATH']}:{Path(sys.executable).parent}"
        env["HOME"] = str(self.elsewhere)
        return said_by(self.prefix / "bin/hpcaccept", *words, cwd=self.elsewhere, env=env, code=code)

    @property
    def package(self) -> Path:
        (found,) = self.prefix.glob("lib/python3*/site-packages/hpcaccept")
        return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    # The wheel is built from the sdist, outside any checkout.
    said_by(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", ROOT)
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    # Inside another project's repository, as environments often are.
    said_by("git", "init", "--quiet", folder)
    prefix, elsewhere = folder / "an environment", folder / "elsewhere"
    venv.create(prefix, symlinks=True)
    said_by(
        sys.executable, "-m", "pip", "--python", prefix / "bin/python", "install", "--quiet", "--no-deps", "--no-index", wheel
    )  # fmt: skip
    # What it depends on is that of this environment: nothing is downloaded. A .pth in there would not be followed.
    (site,) = prefix.glob("lib/python3*/site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    elsewhere.mkdir()
    return Installed(sdist, wheel, prefix, elsewhere)


def test_the_installed_package_is_the_one_that_runs(installed: Installed) -> None:
    said = said_by(
        installed.prefix / "bin/python", "-c", "import hpcaccept; print(hpcaccept.__file__)", cwd=installed.elsewhere
    )
    assert Path(said.strip()) == installed.package / "__init__.py"


def test_version_and_commit_survive_sdist_and_wheel(installed: Installed) -> None:
    commit = commit_of(ROOT)
    assert commit, "the commit of this checkout is not known"
    assert installed.hpcaccept("--version") == f"hpcaccept, version {__version__} (commit {commit})\n"
    with tarfile.open(installed.sdist) as sdist:
        held = [name for name in sdist.getnames() if name.endswith(WRITTEN)]
    assert held == [f"hpcaccept-{__version__}/{WRITTEN}"]
    with ZipFile(installed.wheel) as wheel:
        assert wheel.namelist().count(WRITTEN) == 1


def test_a_plan_made_by_the_wheel_names_its_commit(installed: Installed) -> None:
    shown = installed.hpcaccept("submit", "--dry-run", "--launcher", "local", "--nodes", "2", "--suite", "cpu")
    assert f'"version":"{__version__}","commit":"{commit_of(ROOT)}"' in shown
    assert f'"source":"{installed.package}/config/suites/cpu.toml"' in shown
    assert not list(installed.elsewhere.iterdir()), "a dry run writes nothing"


def test_checks_suites_and_shipped_baselines_are_found(installed: Installed) -> None:
    listed = installed.hpcaccept("checks")
    assert re.search(r"^  matmul ", listed, re.MULTILINE)
    assert re.search(r"^  standard ", listed, re.MULTILINE)
    assert "NVIDIA H100 80GB HBM3: " in installed.hpcaccept("baseline", "show")


def test_the_doctor_looks_at_this_machine(installed: Installed) -> None:
    found = json.loads(installed.hpcaccept("doctor", "--quick", "--launcher", "local", "--json"))
    assert found["version"] == __version__


def test_files_are_where_it_says(installed: Installed) -> None:
    places: dict[str, Any] = json.loads(installed.hpcaccept("files", "--json"))
    assert set(places) == {"suites", *SHARED}
    listed = dict(line.split(maxsplit=1) for line in installed.hpcaccept("files").splitlines())
    assert listed == {name: place["path"] for name, place in places.items()}
    for name, place in places.items():
        assert installed.hpcaccept("files", name) == f"{place['path']}\n"
        assert Path(place["path"]).is_relative_to(installed.package)
    assert installed.hpcaccept("files", "sbtach", code=2) == ""


@pytest.mark.parametrize("name", SHARED)
def test_every_tracked_file_of_a_folder_is_there_and_as_executable(installed: Installed, name: str) -> None:
    place = Path(installed.hpcaccept("files", name).strip())
    tracked = said_by("git", "ls-files", "-z", "--", name).split("\0")[:-1]
    assert tracked
    for file in tracked:
        ours, theirs = ROOT / file, place.parent / file
        assert theirs.read_bytes() == ours.read_bytes(), file
        assert os.access(theirs, os.X_OK) == os.access(ours, os.X_OK), file


def test_a_script_of_the_wheel_enters_the_environment_it_was_installed_in(installed: Installed) -> None:
    scripts = installed.hpcaccept("files", "sbatch").strip()
    shown = said_by(
        "bash", "-euc", 'RUNS_DIR="$1/runs" IMAGE=""; source "$2/steps.sh"; trap - EXIT; prepare; printf "%s\\n" "${enter[@]}"',
        "bash", installed.prefix, scripts,
        env={"PATH": os.environ["PATH"], "SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "name"},
    )  # fmt: skip
    assert shown.splitlines() == [f"{installed.prefix}/bin/python3", "-m", "hpcaccept"]


def test_links_of_the_documentation_lead_to_files_of_the_wheel(installed: Installed) -> None:
    share = installed.package / "_share"
    pages = sorted(share.rglob("*.md"))
    assert len(pages) > 20
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in link
    ]
    assert len(links) > 20
    assert not [f"{page.relative_to(share)}: {link}" for page, link in links if not (page.parent / link).exists()]


def test_type_information_licence_and_no_address_that_nobody_named(installed: Installed) -> None:
    assert (installed.package / "py.typed").exists()
    (about,) = installed.package.parent.glob("hpcaccept-*.dist-info")
    assert (about / "licenses/LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    metadata = (about / "METADATA").read_text(encoding="utf-8").partition("\n\n")[0]
    assert "License-Expression: Apache-2.0" in metadata
    origin = subprocess.run(
        ["git", "remote", "get-url", "origin"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    named = re.findall(r"^Project-URL: (.*)$", metadata, re.MULTILINE)
    assert len(named) == origin.stdout.startswith("http")
