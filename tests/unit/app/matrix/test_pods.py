from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import kubernetes_validate

from hpcaccept.app.matrix.session import Wish, run_matrix

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.app.matrix.state import State

FILE = """
name = "pods"
[images.torch]
container = "docker://registry.example/torch@sha256:00"
python = "{python}"
[images.venv]
python = "/usr/bin/python3"
[machines.a100]
node_selector = {{ "nvidia.com/gpu.product" = "NVIDIA-A100-SXM4-80GB" }}
pvc = "runs"
gpus = 1
namespace = "acceptance"
[tests.imports]
imports = ["json"]
"""


def run(folder: Path, lines: list[str]) -> State:
    return run_matrix(Wish(folder / "m.toml", folder / "runs"), lines.append)


def test_a_manifest_is_written_and_what_its_pod_leaves_is_judged_by_the_next_client(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(FILE.format(python=sys.executable))
    lines: list[str] = []
    first = run(tmp_path, lines)
    (file,) = tmp_path.glob("runs/pods/*/cells/torch@a100/1/job.json")
    assert f"kubectl create -f {file}" in lines[-2] + lines[-1] + lines[0] + lines[1]
    assert {each.cell.id: each.outcome for each in first.cells} == {"torch@a100": "NOT_RUN", "venv@a100": "IMPOSSIBLE"}
    assert "waits for somebody: kubectl create -f cells/torch@a100/1/job.json" in first.cells[0].reason
    assert first.cells[1].reason == "a100 takes container images only, venv has no container"

    job = json.loads(file.read_text())
    kubernetes_validate.validate(job, "1.34", strict=True)
    pod = job["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    assert pod["containers"][0]["image"] == "registry.example/torch@sha256:00"
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}

    # Nobody has submitted it: it is not written a second time under another number.
    run(tmp_path, lines)
    assert len(list(tmp_path.glob("runs/pods/*/cells/torch@a100/*"))) == 1

    # What the pod does, and what a pod that is started again does not.
    command = pod["containers"][0]["command"]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0
    assert subprocess.run(command, check=False, timeout=60, capture_output=True).returncode == 1
    done = run(tmp_path, lines)
    assert done.cells[0].outcome == "PASS"
    assert len(done.cells[0].attempts) == 1
