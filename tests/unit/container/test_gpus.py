"""GPUs that were asked for reach the runtime, whichever launcher starts the ranks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import plan, step

from hpcaccept import container, launch
from hpcaccept.app.doctor.probe_nodes import probe_command
from hpcaccept.app.run import sbatch_steps
from hpcaccept.container import _defaults
from hpcaccept.model.doctor.probe import ProbeRequest
from hpcaccept.model.plan import Image
from hpcaccept.store.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hpcaccept.model.plan import Plan

#: How each runtime is told of GPUs: a word of its command. Empty by design: for Pyxis and Enroot Slurm's own ``--gpus-per-node`` chooses
#: the devices, and Enroot's hook mounts the driver where the image (or --container-env) sets NVIDIA_VISIBLE_DEVICES.
ASKED = {
    "none": "",
    "pyxis": "",
    "enroot": "",
    "docker": "--gpus=all",
    "podman": "--device=nvidia.com/gpu=all",
    "apptainer": "--nv",
}
NODES = ("node0", "node1")


def _plan(launcher: str, runtime: str, gpus: int) -> Plan:
    made = plan(nodes=2, gpus_per_node=gpus, ranks_per_node=max(1, gpus), nodelist="node[0-1]")
    return replace(made, launcher=launcher, image=Image(runtime, "" if runtime == "none" else "x.sif"))


def _step_command(launcher: str, runtime: str, gpus: int) -> Sequence[str]:
    made = replace(step(("identity",), 2, max(1, gpus)), nodes=NODES, gpus_per_node=gpus)
    return launch.load(launcher).step_command(_plan(launcher, runtime, gpus), made, RunFolder("/runs/R"))  # type: ignore[arg-type]


def test_every_runtime_says_how_it_is_told() -> None:
    missing = set(container.names()) ^ set(ASKED)
    assert not missing, (
        f"say in ASKED which word of their commands asks for GPUs (none: the reason above it): {sorted(missing)}"
    )


@pytest.mark.parametrize("runtime", container.names())
@pytest.mark.parametrize("launcher", launch.names())
def test_gpus_that_were_asked_for_reach_the_runtime(launcher: str, runtime: str) -> None:
    with_gpus, without = (_step_command(launcher, runtime, gpus) for gpus in (8, 0))
    word = ASKED.get(runtime, "")
    if word:
        assert word in with_gpus
        assert word not in without
    if launcher == "slurm":
        assert "--gpus-per-node=8" in with_gpus


@pytest.mark.parametrize("runtime", container.names())
@pytest.mark.parametrize("launcher", launch.names())
def test_every_launcher_tells_the_runtime(launcher: str, runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bool] = []

    def enter(
        image: Image, command: Sequence[str], *, step: str, names: Sequence[str] = (), gpus: bool = False
    ) -> Sequence[str]:
        heard.append(gpus)
        return command

    monkeypatch.setattr(_defaults, "enter", enter)
    monkeypatch.setattr(f"hpcaccept.container.{runtime}.enter", enter, raising=False)
    for gpus in (8, 0):
        _step_command(launcher, runtime, gpus)
    assert heard == [True, False]


@pytest.mark.parametrize("launcher", launch.names())
def test_the_look_of_the_doctor_is_entered_with_gpus_too(launcher: str) -> None:
    words = probe_command(_plan(launcher, "apptainer", 8), NODES, ProbeRequest("t", "/r", 8))
    assert "--nv" in words
    assert "hpcaccept.rank.probe" in words


def test_the_script_of_sbatch_enters_with_gpus_and_with_the_variables_of_the_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    told = sbatch_steps.ScriptInput(
        nodes="node0 node1", gres="gpu:8", mpi="MPI plugin types are...\n\tpmix", left="UNLIMITED", variables="PATH"
    )
    options: Mapping[str, str] = {"container_image": "/nowhere/x.sif", "container_runtime": "apptainer"}
    sbatch_steps.begin(str(tmp_path / "run"), told, options, {}, {})
    _, _, count, *words = (tmp_path / "run/next").read_text().split("\0")
    variables, command = words[: int(count)], words[int(count) :]
    assert "APPTAINERENV_HPCACCEPT_IMAGE=/nowhere/x.sif" in variables
    assert "--nv" in command
    assert json.loads((tmp_path / "run/plan.json").read_text())["image"]["reference"] == "/nowhere/x.sif"
