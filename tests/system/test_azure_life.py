"""The whole life of a cluster: up, hosts, keys, health, a suite by MPI, nccl, an eviction, a report to Azure, down. Azure is a server here, nodes are real sshds."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.azure_fixtures import CPU_SIZE, Said, config_text
from support.azure_nodes import Vms, azure_vms
from support.ssh_hosts import why_not
from support.stand_ins import DATA
from support.submission import noise

from hpcaccept.cli import main

if TYPE_CHECKING:
    from support.arm_server import ArmServer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]


def booted(vms: Vms, public: str) -> None:
    """Every VM lets the key in and says that cloud-init is done."""
    for index in range(3):
        vms.start(index, public)
        program = vms.home(index) / "cloud-init"
        program.write_text('#!/bin/sh\necho \'{"status": "done", "errors": []}\'\n')
        program.chmod(0o755)


#: Of the suite fabric, what three nodes on one machine can do in seconds.
SMALL = [
    "--skip", "ddp_train", "--set", "pairs.size_bytes=65536", "--set", "allreduce.sizes_bytes=[65536]",
    "--set", "collectives.sizes_bytes=[65536]", "--start-timeout", "60",
]  # fmt: skip


def left_by_the_scripts(vms: Vms, index: int) -> None:
    """What the scripts of a healthy node without a GPU leave; the log is a recorded one of AzNHC."""
    written = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    (vms.log(index) / "aznhc-health.log").write_bytes((DATA / "aznhc/recorded/healthy.log").read_bytes())
    (vms.log(index) / "aznhc-health.log.status").write_text(f"{written} passed\n")


@pytest.mark.mpi
def test_from_up_to_down(logged_in: ArmServer, tmp_path: Path, said: Said) -> None:
    azure = logged_in
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    Path("c.toml").write_text(
        config_text(CPU_SIZE, 3, f'ssh_public_key = "{tmp_path}/key.pub"', "[spot]\nenabled = true\n")
    )
    Path("s.toml").write_text(noise(0.1))
    (tmp_path / "vms/shared").mkdir(parents=True)
    with azure_vms(tmp_path / "vms", azure, 3) as vms:
        booted(vms, Path("key.pub").read_text().strip())
        assert main(["azure", "up", "c.toml", "--max-hours", "2", "--yes"]) == 0
        assert "3 of 3 nodes are ready" in said()
        assert main(["azure", "keys", "c.toml"]) == 0
        for index in range(3):
            left_by_the_scripts(vms, index)
        assert main(["azure", "health", "c.toml"]) == 0
        assert "3 nodes: 3 PASS" in said()
        there = ["--python", sys.executable, "--shared", str(vms.folder / "shared")]
        assert main(["azure", "submit", "c.toml", "--suite", "s.toml", *there]) == 0
        assert "ACCEPTED: 3 of 3 nodes" in said()
        # fabric, on nodes without a GPU: whether their rates can be judged against each other depends on how busy this machine is.
        assert main(["azure", "nccl", "c.toml", *there, "--", *SMALL]) in (0, 3)
        assert "FAIL" not in said()
        run = max(Path("t1/runs").glob("*-fabric-*"))
        outcomes = {each["name"]: each["outcome"] for each in json.loads((run / "report.json").read_text())["checks"]}
        assert (outcomes["allreduce"], outcomes["collectives"]) == ("PASS", "PASS")
        # Azure takes one VM back: what is left is told, and a suite over fewer nodes than were asked for does not start.
        assert main(["azure", "simulate-eviction", "c.toml", vms.name(2), "--yes"]) == 0
        vms.kill(2)
        assert main(["azure", "hosts", "c.toml"]) == 3
        assert f"{vms.name(2)} is gone" in said()
        assert main(["azure", "submit", "c.toml", "--suite", "s.toml", *there]) == 3
        # up again asks Azure for a new one.
        assert main(["azure", "up", "c.toml", "--max-hours", "2", "--no-wait", "--yes"]) == 0
        (scale_set,) = azure.of_type("Microsoft.Compute/virtualMachineScaleSets")
        assert len(scale_set["_vms"]) == 3
        azure.insights = [[("AcknowledgedUnhealthy", False)], [("NodeRemovedFromService", True)]]
        about = ["--category", "HpcGenericFailure", "--description", "slow"]
        assert main(["azure", "report-host", "c.toml", vms.name(0), *about, "--send", "--yes"]) == 0
        (body,) = azure.impacts.values()
        assert body["properties"]["additionalProperties"]["PhysicalHostName"] == "BN-vm-000000"
        assert main(["azure", "down", "c.toml", "--yes"]) == 0
        assert azure.billed() == []
        said()
        assert main(["azure", "status"]) == 0
        assert "There is no cluster of hpcaccept" in said()
