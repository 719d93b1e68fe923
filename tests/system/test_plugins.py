"""A package of a site, installed by pip, adds a check that is listed, planned, measured and judged like any other."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.builders import DATA
from support.site_packages import install
from support.submission import ROOT, Finished, submit, suite_file

if TYPE_CHECKING:
    from pathlib import Path

SUITE = "[checks.clock_step]\nsteps = 50\n[checks.identity]\n"
pytestmark = [pytest.mark.mpi]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed tests/data/plugin_check."""
    folder = tmp_path_factory.mktemp("site") / "packages"
    words = ["--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *words, str(DATA / "plugin_check")], check=True)
    return folder


def path_of(*folders: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *folders)))}


def ask(site: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=True, env={**os.environ, **path_of(site)}
    )
    return done.stdout


def submitted(tmp_path: Path, site: Path, ranks: str = "") -> Finished:
    """A run on two virtual nodes; ``ranks``: shell lines that change the environment of a rank before its Python starts."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n{ranks}\nexec {sys.executable} "$@"\n', "utf-8")
    python.chmod(0o755)
    env = {**path_of(site), "HPCACCEPT_PYTHON": str(python)}
    return submit(
        tmp_path / "runs", suite_file(tmp_path, SUITE), "--nodes", "2", "--launcher", "local", env=env
    ).finish(120)


def test_pip_installs_it_and_hpcaccept_lists_it_with_its_origin(site: Path) -> None:
    shown = ask(site, "-m", "hpcaccept", "checks")
    assert "\n  clock_step         Smallest step of the clock" in shown
    added = shown.partition("From installed packages:")[2]
    assert [line.split() for line in added.splitlines() if line] == [
        ["clock_step", "check", "of", "site-checks", "1.2"],
        ["one_line", "report", "format", "of", "site-checks", "1.2"],
    ]
    assert "From the installed package site-checks 1.2." in ask(
        site, "-m", "hpcaccept", "checks", "explain", "clock_step"
    )


def test_it_keeps_what_every_check_promises(site: Path) -> None:
    ask(site, "-c", "from site_checks import clock_step, one_line; from hpcaccept.testing import *; "
        "assert_check_contract(clock_step); assert_format_contract(one_line)")  # fmt: skip


def test_its_check_is_measured_on_every_node_and_judged(tmp_path: Path, site: Path) -> None:
    done = submitted(tmp_path, site)
    assert done.code == 0, done.out + done.err
    assert done.report["nodes"] == {"node0": "PASS", "node1": "PASS"}
    assert done.report["coverage"]["judged"] == done.report["coverage"]["asked"] == 4
    # The report of the same run in the format that the package adds.
    again = ask(site, "-m", "hpcaccept", "report", "--runs-dir", str(tmp_path / "runs"), "--format", "one_line")
    assert again.endswith(": 0\n")


def test_where_the_image_lacks_the_package_the_record_says_so_and_the_rest_goes_on(tmp_path: Path, site: Path) -> None:
    done = submitted(tmp_path, site, f"export PYTHONPATH={ROOT}")
    assert done.code == 3, done.out + done.err
    missing = done.verdicts(check="clock_step", outcome="NOT_RUN")
    assert {v["node"] for v in missing} == {"node0", "node1"}, done.report["verdicts"]
    assert "'clock_step' comes from site-checks 1.2, which is not installed in" in str(missing)
    assert "pip install site-checks" in str(missing)
    assert not [v for v in done.report["verdicts"] if v["check"] == "identity" and v["outcome"] in ("ERROR", "NOT_RUN")]


def test_where_one_rank_lacks_it_nobody_waits_for_that_rank(tmp_path: Path, site: Path) -> None:
    done = submitted(tmp_path, site, f'[ "$OMPI_COMM_WORLD_RANK" = 1 ] && export PYTHONPATH={ROOT}')
    assert done.code == 3, done.out + done.err
    missing = {v["node"]: str(v) for v in done.verdicts(check="clock_step", outcome="NOT_RUN")}
    assert "rank 1 on node1 cannot take part: " in missing["node0"]
    assert "which is not installed in" in missing["node1"]


def test_where_it_cannot_be_imported_the_record_is_an_error_that_names_the_package(tmp_path: Path, site: Path) -> None:
    install(
        tmp_path / "broken", "site-checks", "hpcaccept.checks", "clock_step", "import no_such_driver", version="1.3"
    )
    done = submitted(tmp_path, site, f"export PYTHONPATH={ROOT}:{tmp_path / 'broken'}")
    assert done.code == 3, done.out + done.err
    broken = done.verdicts(check="clock_step", outcome="ERROR")
    assert {v["node"] for v in broken} == {"node0", "node1"}, done.report["verdicts"]
    assert "site-checks 1.3 cannot be used: ModuleNotFoundError: No module named 'no_such_driver'" in str(broken)


def test_a_package_without_a_parameter_of_the_plan_is_an_error_that_names_both_versions(
    tmp_path: Path, site: Path
) -> None:
    text = (site / "site_checks/clock_step.py").read_text("utf-8").replace("steps", "rounds")
    install(tmp_path / "older", "site-checks", "hpcaccept.checks", "clock_step", text, version="1.1")
    done = submitted(tmp_path, site, f"export PYTHONPATH={ROOT}:{tmp_path / 'older'}")
    assert done.code == 3, done.out + done.err
    told = str(done.verdicts(check="clock_step", outcome="ERROR"))
    assert "check 'clock_step' has no parameter 'steps'" in told
    assert "The plan was made with site-checks 1.2, found site-checks 1.1." in told
