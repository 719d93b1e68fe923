"""enroot/ on nodes of the virtual Slurm instead of Enroot's own PMI hook: ranks in real containers find each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.pyxis_image import image_of_nothing, mounts
from support.submission import ROOT
from system.cluster.slurm import VirtualSlurm, find_pyxis

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slurm

# Ranks of one node exchange 8 MB: more than Open MPI 4 can between user namespaces if nobody tells it.
EXCHANGE = """
import json, os
from mpi4py import MPI
world, message = MPI.COMM_WORLD, bytearray(8_000_000)
if world.rank % 2 == 0:
    world.Send(b"x" * len(message), world.rank + 1)
else:
    world.Recv(message, world.rank - 1)
told = {
    "task": int(os.environ["SLURM_PROCID"]),
    "came": message.count(b"x"),
    "language": os.environ.get("LANG"),
    "mpi_is_in": os.environ.get("OPAL_PREFIX"),
    "left by others": os.path.exists("/dev/shm/left-by-others"),
}
for line in world.gather(told) or []:
    print(json.dumps(line))
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[VirtualSlurm]:
    """Two nodes whose /etc/enroot holds this project's files, and not 50-slurm-pmi.sh."""
    missing = [name for name in ("slurmd", "mksquashfs", "nsenter") if not shutil.which(name)]
    if os.geteuid() or missing or not find_pyxis():
        why = "not root" if os.geteuid() else f"no {', '.join(missing) or 'Pyxis and Enroot'} on this machine"
        pytest.skip(f"no containers under Slurm: {why} (docs/how-to/pyxis.md)")
    with VirtualSlurm.up(Path(f"/run/hpcaccept-test-{os.getpid()}-e"), nodes=2, pyxis=True) as cluster:
        for node in cluster.node_names:
            made = cluster.folder / node / "etc-enroot"
            shutil.copytree("/etc/enroot", made)
            shutil.copy(cluster.folder / node / "enroot.conf", made / "enroot.conf")
            (made / "hooks.d/50-slurm-pmi.sh").unlink(missing_ok=True)
            for part in ("hooks.d", "mounts.d", "environ.d"):
                shutil.copytree(ROOT / "enroot" / part, made / part, dirs_exist_ok=True)
            shutil.copy(ROOT / "enroot/enroot.conf.d/40-hpcaccept.conf", made / "enroot.conf.d")
            enter = ["nsenter", "--target", str(cluster.slurmd_pid(node)), "--mount", "--"]
            subprocess.run([*enter, "touch", "/dev/shm/left-by-others"], check=True, timeout=20)
            subprocess.run([*enter, "mount", "-n", "--bind", str(made), "/etc/enroot"], check=True, timeout=20)
        yield cluster


def srun(slurm: VirtualSlurm, *words: str, env: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """What the ranks tell, in their order."""
    ended = subprocess.run(
        ["srun", "--mpi=pmix", "--time=2", *words, sys.executable, "-c", EXCHANGE],
        env={**os.environ, **slurm.env, **(env or {})},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_under_pyxis_the_ranks_of_two_nodes_are_one_world(slurm: VirtualSlurm, tmp_path: Path) -> None:
    image = image_of_nothing(tmp_path / "nothing.sqsh")
    told = srun(
        slurm,
        "-N2",
        "-n4",
        f"--container-image={image}",
        "--no-container-mount-home",
        f"--container-mounts={mounts()}",
        env={"OPAL_PREFIX": "/opt/of-the-host/ompi"},
    )
    common = {"language": "C.UTF-8", "mpi_is_in": "", "left by others": False}
    assert told == [{"task": task, "came": 8_000_000 * (task % 2), **common} for task in range(4)]


def test_with_one_container_per_rank_they_are_one_world_too(slurm: VirtualSlurm, tmp_path: Path) -> None:
    image = image_of_nothing(tmp_path / "nothing.sqsh")
    flags = [word for mount in mounts().split(",") for word in ("--mount", mount)]
    told = srun(slurm, "-N1", "-n2", "enroot", "start", *flags, str(image))
    # They meet in the host's /dev/shm.
    common = {"language": "C.UTF-8", "mpi_is_in": None, "left by others": True}
    assert told == [{"task": task, "came": 8_000_000 * task, **common} for task in range(2)]
