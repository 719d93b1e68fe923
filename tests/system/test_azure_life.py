"""The whole life of a cluster: up, hosts, keys, a suite by MPI, an eviction, a report to Azure, down. Azure is a server here, nodes are real sshds."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.azure_fixtures import CPU_SIZE, Said, config_text
from support.azure_nodes import Vms, azure_vms
from support.many_nodes import DEAD, many_nodes
from support.ssh_hosts import why_not
from support.submission import noise

from hpcaccept.app.azure import node_health
from hpcaccept.app.azure.gather import gather
from hpcaccept.cli import main
from hpcaccept.model.verdict import Outcome

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
        there = ["--python", sys.executable, "--shared", str(vms.folder / "shared")]
        assert main(["azure", "submit", "c.toml", "--suite", "s.toml", *there]) == 0
        assert "ACCEPTED: 3 of 3 nodes" in said()
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


def test_each_of_300_nodes_is_accounted_for(tmp_path: Path) -> None:
    """Gathered and judged as ``health`` does; two are dead: an address where nobody is, and a host key that is another one."""
    with many_nodes(tmp_path, 300) as many:
        found = gather(many.names, many.health_command, config=many.config, deadline_s=300)
    assert tuple(one.node for one in found) == many.names
    assert tuple(one.node for one in found if one.why) == DEAD
    gathered = {one.node: node_health.unpack(one.output, one.why) for one in found}
    health = node_health.judge_nodes(gathered, gpus=8, now=dt.datetime.now(dt.timezone.utc))
    assert health.counts == {Outcome.PASS: 298, Outcome.ERROR: 2}
    assert tuple(row.node for row in health.rows if row.verdict.outcome is Outcome.ERROR) == DEAD
    assert all("cannot be reached" in row.verdict.reason for row in health.rows if row.node in DEAD)
