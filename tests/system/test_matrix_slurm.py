"""Two environments on three partitions of a real Slurm: a cell that passes, one that fails, one that cannot be, and a machine that is down."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import matrix_files, pyxis_image
from support.matrix_files import counted, hpcaccept, outcomes, report
from support.matrix_killed import killed_at
from support.pyxis_stand_in import pyxis_stand_in
from support.slurm_fixtures import WHY_NOT
from system.cluster.slurm import VirtualSlurm, find_pyxis

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slurm
PARTITIONS = {"hopper": "node0", "ampere": "node1", "volta": "node2"}

FILE = """
name = "runtimes"
reruns = 0
[images.whole]
venv = "whole"
cuda = "12.4"
[images.lacking]
venv = "lacking"
cuda = "13.0"
[machines.hopper]
partition = "hopper"
driver = "580.65.06"
usd_per_hour = 3.6
[machines.ampere]
partition = "ampere"
driver = "550.54"
[machines.volta]
partition = "volta"
driver = "580.95"
[tests.imports]
imports = ["alpha", "beta"]
versions = { alpha = ">=2.5,<3" }
limit_s = 60
[tests.count]
script = "count.py"
limit_s = 60
"""


@pytest.fixture
def site(plain_slurm: VirtualSlurm, tmp_path: Path) -> Iterator[tuple[VirtualSlurm, Path]]:
    """Three partitions, the last of which has no node that works, and the matrix of the file above."""
    for name, node in PARTITIONS.items():
        scontrol(plain_slurm, "create", f"partitionname={name}", f"nodes={node}", "state=up", "maxtime=60")
    scontrol(plain_slurm, "update", "nodename=node2", "state=down", "reason=tests")
    matrix_files.environment(tmp_path / "whole", "alpha", "beta")
    matrix_files.environment(tmp_path / "lacking", "alpha")
    matrix_files.counting_script(tmp_path)
    (tmp_path / "m.toml").write_text(FILE)
    yield plain_slurm, tmp_path
    # A test may have mended it; then Slurm refuses.
    scontrol(plain_slurm, "update", "nodename=node2", "state=down", "reason=tests")
    scontrol(plain_slurm, "update", "nodename=node2", "state=resume")
    subprocess.run(["scancel", "-u", "root"], env={**os.environ, **plain_slurm.env}, check=False, timeout=20)
    until(lambda: not jobs(plain_slurm))
    for name in PARTITIONS:
        scontrol(plain_slurm, "delete", f"partitionname={name}")
    plain_slurm.settle()


def scontrol(slurm: VirtualSlurm, *words: str) -> None:
    subprocess.run(["scontrol", *words], env={**os.environ, **slurm.env}, check=True, timeout=20, capture_output=True)


def said(slurm: VirtualSlurm, *words: str) -> list[str]:
    env = {**os.environ, **slurm.env}
    return subprocess.run(words, env=env, check=True, timeout=20, capture_output=True, text=True).stdout.split()


def jobs(slurm: VirtualSlurm) -> list[str]:
    return said(slurm, "squeue", "-h", "-o", "%A")


def until(true: object, timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.1)


def test_each_cell_gets_its_verdict_and_a_machine_that_comes_back_gets_its_cells(site: tuple[VirtualSlurm, Path]) -> None:  # fmt: skip
    slurm, folder = site
    done = hpcaccept(folder, "matrix", "run", "m.toml", env=slurm.env)
    assert done.returncode == 1, done.stdout + done.stderr
    found = report(folder, env=slurm.env)
    assert outcomes(found) == {
        "whole@hopper": "PASS",
        "whole@ampere": "PASS",
        "whole@volta": "NOT_RUN",
        "lacking@hopper": "FAIL",
        "lacking@ampere": "IMPOSSIBLE",
        "lacking@volta": "NOT_RUN",
    }
    cells = {each["id"]: each for each in found["cells"]}
    assert "import beta: ModuleNotFoundError: No module named 'beta'" in cells["lacking@hopper"]["reason"]
    assert "CUDA 13.0 needs driver 580.65.06 or newer, ampere has 550.54" in cells["lacking@ampere"]["reason"]
    assert "no machine: volta: node2 is down" in cells["whole@volta"]["reason"]
    assert cells["whole@hopper"]["facts"]["machine.host"] == "node0"
    assert cells["whole@hopper"]["usd"] > 0
    log = folder / "matrix-runs" / "runtimes" / found["run"] / cells["lacking@hopper"]["log"]
    assert "No module named 'beta'" in log.read_text()

    # The machine is mended: its cells run, and no other.
    scontrol(slurm, "update", "nodename=node2", "state=resume")
    until(lambda: said(slurm, "sinfo", "-h", "-n", "node2", "-p", "volta", "-o", "%T") == ["idle"])
    before = counted(folder)
    assert before == ["lacking@hopper", "whole@ampere", "whole@hopper"]
    done = hpcaccept(folder, "matrix", "run", "m.toml", env=slurm.env)
    assert done.returncode == 1, done.stdout + done.stderr
    assert outcomes(report(folder, env=slurm.env))["whole@volta"] == "PASS"
    assert counted(folder) == sorted([*before, "lacking@volta", "whole@volta"])
    assert jobs(slurm) == []


#: The client is killed here, one after the other in one run of three cells: on this machine the lines between are killed too (test_matrix_kills.py).
POINTS = (
    "before-sbatch", "after-sbatch", "before-submitted", "after-submitted", "before-adopt", "after-adopt", "before-attempt", "after-attempt",
)  # fmt: skip


def test_clients_killed_at_every_step_of_a_queue_run_each_cell_once(site: tuple[VirtualSlurm, Path]) -> None:
    slurm, folder = site
    words = ("matrix", "run", "m.toml", "--machine", "hopper,ampere")
    for point in POINTS:
        killed_at(folder, point, *words, env=slurm.env)
    done = hpcaccept(folder, *words, env=slurm.env)
    assert done.returncode == 1, done.stdout + done.stderr
    expected = ["lacking@hopper", "whole@ampere", "whole@hopper"]
    assert counted(folder) == expected
    found = {name: outcome for name, outcome in outcomes(report(folder, env=slurm.env)).items() if name in expected}
    assert found == {"lacking@hopper": "FAIL", "whole@ampere": "PASS", "whole@hopper": "PASS"}
    assert jobs(slurm) == []


def test_cancel_ends_what_is_queued_and_the_cell_counts_as_not_run(site: tuple[VirtualSlurm, Path]) -> None:
    slurm, folder = site
    (folder / "count.py").write_text("import time\ntime.sleep(60)\n")
    words = [sys.executable, "-m", "hpcaccept", "matrix", "run", "m.toml", "--machine", "ampere"]
    client = subprocess.Popen(words, cwd=folder, env={**os.environ, **slurm.env}, stderr=subprocess.DEVNULL)
    until(lambda: bool(jobs(slurm)))
    client.send_signal(signal.SIGKILL)
    client.wait(20)
    done = hpcaccept(folder, "matrix", "cancel", "m.toml", env=slurm.env)
    assert "1 jobs were ended" in done.stdout, done.stderr
    until(lambda: not jobs(slurm))
    assert outcomes(report(folder, env=slurm.env))["whole@ampere"] == "NOT_RUN"


CONTAINERS = """
name = "contained"
reruns = 0
[images.there]
container = "./there.sqsh"
runtime = "pyxis"
python = "{python}"
mounts = {mounts}
[images.absent]
container = "./absent.sqsh"
runtime = "pyxis"
[machines.any]
partition = "gpu"
[tests.imports]
imports = ["json"]
limit_s = 60
"""


def contained(folder: Path, env: dict[str, str]) -> None:
    """An image that is there passes, one that is not is an ERROR with its cause, and no FAIL of anybody."""
    mounts = json.dumps(pyxis_image.mounts().split(","))
    (folder / "m.toml").write_text(CONTAINERS.format(python=sys.executable, mounts=mounts))
    pyxis_image.image_of_nothing(folder / "there.sqsh")
    done = hpcaccept(folder, "matrix", "run", "m.toml", env=env)
    found = report(folder, env=env)
    assert outcomes(found) == {"there@any": "PASS", "absent@any": "ERROR"}, done.stdout + done.stderr
    cells = {each["id"]: each for each in found["cells"]}
    assert "container: " in cells["absent@any"]["reason"]
    digest = hashlib.sha256((folder / "there.sqsh").read_bytes()).hexdigest()
    assert cells["there@any"]["facts"]["image.digest"] == f"sha256:{digest}"


def test_images_are_entered_with_the_flags_of_pyxis(plain_slurm: VirtualSlurm, tmp_path: Path) -> None:
    path = f"{pyxis_stand_in(tmp_path)}:{os.environ['PATH']}"
    contained(tmp_path, {**plain_slurm.env, "PATH": path})


def test_images_are_entered_with_pyxis_itself(tmp_path: Path) -> None:
    if WHY_NOT or not find_pyxis() or not shutil.which("mksquashfs"):
        pytest.skip(
            f"no containers under Slurm: {WHY_NOT or 'no Pyxis and Enroot on this machine'} (docs/how-to/pyxis.md)"
        )
    with VirtualSlurm.up(Path(f"/run/hpcaccept-test-{os.getpid()}-mx"), pyxis=True) as cluster:
        contained(tmp_path, dict(cluster.env))
        assert not list(cluster.folder.glob("node*/enroot/data-*/*")), "a container stays on a node"
