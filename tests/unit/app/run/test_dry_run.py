"""What a submission would write and run, word for word."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.golden_text import assert_golden

from hpcaccept import __version__, launch
from hpcaccept.app.run.submit import dry_run
from hpcaccept.config.settings import Settings
from hpcaccept.config.suites import SuiteText
from hpcaccept.plan.make import image_of, make_plan, request_of
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.store.folder import RunFolder

if TYPE_CHECKING:
    from hpcaccept.model.plan import Plan

SUITE = SuiteText(Path("golden.toml"), {"about": "golden", "checks": {"identity": {}, "matmul": {"deadline_s": 60}}})
CASES: dict[str, tuple[str, int, Settings]] = {
    "local": ("local", 0, Settings(nodes=4)),
    "hosts": ("hosts", 8, Settings(nodelist="gpu[01-02]")),
    "slurm_cpu": ("slurm", 0, Settings(nodes=4)),
    "slurm_gpus": ("slurm", 8, Settings(nodes=2, partition="gpu", account="ops", time="1:30:00")),
    "slurm_named": (
        "slurm",
        0,
        Settings(nodelist="node[01-03],big7", exclude="node02", slurm={"qos": "high", "hold": ""}),
    ),
    "slurm_container": (
        "slurm",
        8,
        Settings(nodes=2, container_image="/shared/a b.sqsh", container_mounts="/data:/data:ro", runs_dir="/runs"),
    ),
}


@pytest.fixture(autouse=True)
def some_srun(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """submitit renders nothing where there is no srun; its text is the same with any."""
    place = tmp_path_factory.mktemp("bin")
    (place / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(place), prepend=":")


def plan_of(launcher: str, gpus: int, settings: Settings) -> Plan:
    """A plan without anything of this machine or moment."""
    suite = resolve_suite(SUITE)
    request, image = request_of(settings, gpus), image_of(settings, "/venv/bin/python")
    more = {"run_id": "RUN", "now": "2026-11-22T00:00:00+00:00", "version": __version__, "commit": "0123456789ab"}
    return make_plan(settings, suite, request, image, launcher=launcher, **more)


@pytest.mark.parametrize("name", CASES)
def test_a_dry_run_is_what_was_accepted(name: str) -> None:
    plan = plan_of(*CASES[name])
    text = dry_run(plan, RunFolder(Path("/runs/RUN")))
    text = text.replace(sys.executable, "/venv/bin/python").replace(__version__, "VERSION")
    text = re.sub(r"\S+/mpiexec\b", "mpiexec", text)
    assert_golden(f"{name}.txt", text + "\n")


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    for launcher, gpus, settings in CASES.values():
        dry_run(plan_of(launcher, gpus, settings), RunFolder(tmp_path / "RUN"))
    assert not list(tmp_path.iterdir())


def test_a_word_with_spaces_stays_one_word_of_the_command(tmp_path: Path) -> None:
    plan = plan_of(*CASES["slurm_container"])
    step = plan.first_step(("a", "b"))
    command = launch.load("slurm").step_command(plan, step, RunFolder(tmp_path))
    assert "--container-image=/shared/a b.sqsh" in command
    assert "--gpus-per-node=8" in command
    assert "--ntasks=16" in command


def test_a_container_sees_the_runs_folder_at_its_own_path() -> None:
    plan = plan_of(*CASES["slurm_container"])
    assert plan.image.mounts == ("/runs:/runs", "/data:/data:ro")
