"""Fixtures: a real Slurm without accounting, one with it, hosts with a real sshd; only where Debian's packages are and we are root."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from system.cluster import VirtualSlurm

from support import ssh_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

MISSING = [name for name in ("slurmd", "slurmctld", "munged", "srun") if not shutil.which(name)]
#: Every launcher that is under contract.
LAUNCHERS = ["local", "slurm", "hosts"]
WHY_NOT = (
    "not root" if os.geteuid() else f"no {', '.join(MISSING)}: bash tests/system/cluster/install.sh" if MISSING else ""
)


@pytest.fixture(scope="session")
def plain_slurm() -> Iterator[VirtualSlurm]:
    """Four nodes, no accounting: ``sacct`` fails."""
    if WHY_NOT:
        pytest.skip(f"no virtual Slurm: {WHY_NOT}")
    with VirtualSlurm.up(Path(f"/run/hpcaccept-test-{os.getpid()}-p")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def accounted_slurm() -> Iterator[VirtualSlurm]:
    """Four nodes with slurmdbd on MariaDB."""
    missing = [name for name in ("slurmdbd", "mariadbd") if not shutil.which(name)]
    if WHY_NOT or missing:
        pytest.skip(f"no virtual Slurm with accounting: {WHY_NOT or missing}")
    with VirtualSlurm.up(Path(f"/run/hpcaccept-test-{os.getpid()}-a"), accounting=True) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def four_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssh_hosts.Hosts]:
    """Four hosts, ``node0`` to ``node3``, reached by ssh."""
    if ssh_hosts.why_not():
        pytest.skip(f"no hosts with ssh: {ssh_hosts.why_not()}")
    with ssh_hosts.ssh_hosts(tmp_path_factory.mktemp("hosts")) as hosts:
        yield hosts


@pytest.fixture(params=["plain", "accounted"])
def slurm(request: pytest.FixtureRequest) -> VirtualSlurm:
    """Each of the two."""
    cluster: VirtualSlurm = request.getfixturevalue(f"{request.param}_slurm")
    return cluster


@pytest.fixture(params=LAUNCHERS)
def every_launcher_env(request: pytest.FixtureRequest) -> dict[str, str]:
    """What a submission to each launcher is started with."""
    return _environment(request)


@pytest.fixture(params=["local", "slurm"])
def launcher_env(request: pytest.FixtureRequest) -> dict[str, str]:
    """The same of those that do most of it differently: hosts are reached otherwise, and driven as this machine is."""
    return _environment(request)


def _environment(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "local":
        return {"HPCACCEPT_LAUNCHER": "local"}
    if request.param == "hosts":
        hosts: ssh_hosts.Hosts = request.getfixturevalue("four_hosts")
        return {**hosts.env, "HPCACCEPT_NODELIST": "node[0-3]"}
    cluster: VirtualSlurm = request.getfixturevalue("plain_slurm")
    return {**cluster.env, "HPCACCEPT_LAUNCHER": "slurm"}
