"""The scripts are run as slurmd runs them; a stand-in is in the place of scontrol (tests/system/test_fleet.py has the real one)."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hpcaccept.app.node_check.install import Site, scripts, slurm_lines, units, write_scripts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Scripts of a node that is fit; scontrol says what ``node`` holds and notes its orders in ``orders``."""
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(
        f'#!/bin/bash\nif [ "$1" = -o ]; then cat {tmp_path}/node; else echo "$*" >>{tmp_path}/orders; fi\n'
    )
    scontrol.chmod(0o755)
    (tmp_path / "node").write_text("NodeName=n1 State=IDLE Partitions=gpu\n")
    (tmp_path / "node-check.toml").write_text("gpus = 0\nclock = false\n")
    made = Site(
        tmp_path,
        sys.executable,
        tmp_path / "node-check.toml",
        tmp_path / "state",
        tmp_path / "log",
        "fit",
        str(scontrol),
    )
    write_scripts(made)
    return made


def run(site: Site, name: str) -> int:
    env = {"PATH": os.environ["PATH"], "SLURMD_NODENAME": "n1", "SLURM_JOB_ID": "7"}
    return subprocess.run([site.folder / name], env=env, stdin=subprocess.DEVNULL, check=False, timeout=60).returncode


def broken(site: Site, text: str = "gpus = 8\nclock = false\n") -> Site:
    site.config.write_text(text)
    return site


def orders(site: Site) -> str:
    file = site.folder / "orders"
    return file.read_text() if file.exists() else ""


def test_a_fit_node_takes_the_job_and_the_log_says_so(site: Site) -> None:
    assert [run(site, f"{phase}-node-check") for phase in ("prolog", "epilog", "health")] == [0, 0, 0]
    assert site.log.read_text().count("n1 prolog job=7 hpcaccept FIT") == 1
    assert orders(site) == ""


@pytest.mark.parametrize("phase", ["prolog", "epilog"])
def test_a_node_that_is_not_fit_fails_the_script_which_asks_no_slurm(site: Site, phase: str) -> None:
    assert run(broken(site), f"{phase}-node-check") == 1
    assert "gpu-missing" in site.log.read_text()
    assert orders(site) == ""


def test_the_health_check_drains_with_a_reason_of_ours(site: Site) -> None:
    assert run(broken(site), "health-node-check") == 0
    assert orders(site).startswith("update NodeName=n1 State=DRAIN Reason=hpcaccept drain ")
    assert "code=gpu-missing" in orders(site)


@pytest.mark.parametrize(
    "state",
    [
        "State=IDLE+DRAIN Reason=bad DIMM [root@1]",
        "State=DOWN Reason=x [root@1]",
        "State=IDLE Reason=watch this [ann@1]",
    ],
)
def test_what_somebody_else_has_marked_is_left_alone(site: Site, state: str) -> None:
    (site.folder / "node").write_text(f"NodeName=n1 Partitions=gpu {state}\n")
    assert run(broken(site), "health-node-check") == 0
    assert orders(site) == ""


def test_slurms_own_words_for_our_refusal_get_the_reason_once(site: Site) -> None:
    run(broken(site), "prolog-node-check")
    (site.folder / "node").write_text("NodeName=n1 State=IDLE+DRAIN Reason=Prolog error [slurm@1]\n")
    run(site, "health-node-check")
    run(site, "health-node-check")
    assert orders(site).count("update NodeName=n1 Reason=hpcaccept drain") == 1


def test_a_prolog_error_that_was_not_the_gates_stays_slurms(site: Site) -> None:
    (site.folder / "node").write_text("NodeName=n1 State=IDLE+DRAIN Reason=Prolog error [slurm@1]\n")
    run(broken(site), "health-node-check")
    assert orders(site) == ""


def test_what_is_wrongly_installed_blames_no_node(site: Site) -> None:
    assert run(broken(site, "gpus ="), "prolog-node-check") == 0
    assert "not judged (2)" in site.log.read_text()


def test_a_site_may_refuse_what_could_not_be_judged(tmp_path: Path) -> None:
    assert "exit 1 ;;\nesac" in scripts(Site(tmp_path, on_unknown="unfit"))["prolog-node-check"]


def test_paths_with_blanks_stay_one_word(tmp_path: Path) -> None:
    texts = scripts(Site(tmp_path / "a b", log=tmp_path / "c d", state=tmp_path / "e; rm -rf f"))
    for text in texts.values():
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
        assert "'" in text


def test_the_lines_for_slurm_name_the_scripts(tmp_path: Path) -> None:
    lines = slurm_lines(Site(tmp_path))
    assert all(f"{tmp_path}/{name}" in lines for name in scripts(Site(tmp_path)))


def test_the_timer_starts_the_deep_measurement(tmp_path: Path) -> None:
    texts = units(Site(tmp_path), tmp_path / "runs", "quick")
    assert '"node-check" "--deep"' in texts["hpcaccept-node-check-deep.service"]
    assert "OnCalendar=hourly" in texts["hpcaccept-node-check-deep.timer"]
