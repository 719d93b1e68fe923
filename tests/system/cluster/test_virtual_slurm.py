"""What the virtual cluster promises: real commands work, faults can be played, and nothing is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import ClusterError, VirtualSlurm
from .daemons import Process, send, start, with_mount
from .slurm_conf import Layout, gres_conf, slurm_conf, topology_conf
from .sockets import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT_WITH_SLURM = os.geteuid() == 0 and all(shutil.which(name) for name in ("slurmd", "slurmctld", "munged"))

on_real_slurm = [
    pytest.mark.slurm,
    pytest.mark.skipif(not ROOT_WITH_SLURM, reason="needs root and tests/system/cluster/install.sh"),
]

LAYOUT = Layout(Path("/run/x"), "login", 20000, 20001, (20002, 20003), gpus=8, memory_mib=1024, accounting=False)


def short_folder(name: str) -> Path:
    """Under /run, because munged refuses pytest's own temporary folders."""
    return Path(f"/run/hpcaccept-test-{os.getpid()}-{name}")


def test_a_topology_is_leaves_below_a_spine_and_none_is_no_file() -> None:
    layout = replace(LAYOUT, leaf_nodes=1)
    assert "TopologyPlugin=topology/tree" in slurm_conf(layout)
    assert topology_conf(layout).splitlines() == [
        "SwitchName=leaf0 Nodes=node0",
        "SwitchName=leaf1 Nodes=node1",
        "SwitchName=spine Switches=leaf[0-1]",
    ]
    assert ("TopologyPlugin" in slurm_conf(LAYOUT), topology_conf(LAYOUT)) == (False, "")


def test_a_process_with_another_start_time_is_a_stranger(tmp_path: Path) -> None:
    ours = start("sleeper", ["sleep", "60"], tmp_path / "words", {"PATH": os.defpath})
    stranger = replace(ours, start_ticks=ours.start_ticks - 1)
    assert not stranger.alive()
    send(stranger, signal.SIGKILL)
    assert ours.alive()
    send(ours, signal.SIGKILL)
    os.waitpid(ours.pid, 0)
    assert not ours.alive()


def test_a_process_that_never_was_gets_no_signal() -> None:
    send(Process("nobody", 2**22 + 1, 1), signal.SIGKILL)


def test_free_ports_differ_and_are_below_the_range_for_outgoing_connections() -> None:
    ports = free_ports(64)
    assert len(set(ports)) == 64
    assert max(ports) < 32768


def test_the_configuration_names_every_node_with_its_port_and_gpus() -> None:
    lines = slurm_conf(LAYOUT).splitlines()
    nodes = [line for line in lines if line.startswith("NodeName=")]
    assert [line.split()[0] for line in nodes] == ["NodeName=node0", "NodeName=node1"]
    assert "Port=20003" in nodes[1]
    assert nodes[1].endswith("Gres=gpu:h100:8")
    assert "AccountingStorageType=accounting_storage/none" in lines


def test_a_cluster_without_gpus_has_no_gres() -> None:
    layout = replace(LAYOUT, gpus=0)
    assert "Gres" not in slurm_conf(layout)
    assert gres_conf(layout) == ""


def test_a_strict_site_enforces_puts_jobs_out_and_has_slices_and_others_do_not() -> None:
    strict = replace(LAYOUT, strict=True, accounting=True)
    plain = slurm_conf(replace(strict, strict=False))
    for words in (
        "AccountingStorageEnforce=",
        "PreemptMode=CANCEL",
        "EnforcePartLimits=ALL",
        "AllowGroups=staff",
        "gpu:1g.10gb:28",
    ):
        assert words in slurm_conf(strict)
        assert words not in plain
    assert "File=/run/x/devices/nvidia[8-35]" in gres_conf(strict)
    assert "AccountingStorageEnforce=" not in slurm_conf(replace(strict, accounting=False))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to get as far as the folder")
@pytest.mark.parametrize(
    ("folder", "words"),
    [
        (Path("/run/" + "x" * 80), "too long"),
        (Path("/run/a b"), "only letters"),
        (Path("/run/no-such-folder/cluster"), "no folder"),
        (Path("/etc"), "not empty"),
    ],
)
def test_a_folder_that_cannot_work_is_refused_with_a_sentence(folder: Path, words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        VirtualSlurm.up(folder)


def test_no_cluster_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match='start one with "make cluster"'):
        VirtualSlurm.load(tmp_path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[VirtualSlurm]:
    with VirtualSlurm.up(short_folder("c")) as running:
        yield running


def typed(cluster: VirtualSlurm, *command: str, timeout_s: float = 60) -> str:
    """What a command prints in a login shell of this cluster."""
    environment = {**os.environ, **cluster.env}
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True, timeout=timeout_s
    ).stdout


def eventually(cluster: VirtualSlurm, expected: str, *command: str, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while (text := typed(cluster, *command).strip()) != expected:
        assert time.monotonic() < deadline, f"{command} prints {text!r}, not {expected!r}"
        time.sleep(0.1)


def leftovers(folder: Path) -> list[str]:
    """Command lines that name the folder, and processes that see its nodes' mount."""
    lines = [path.read_bytes().replace(b"\0", b" ").decode() for path in Path("/proc").glob("[0-9]*/cmdline")]
    return [line for line in lines if str(folder) in line] + [
        str(process) for process in with_mount(f"virtual-slurm:{folder}")
    ]


class TestOnRealSlurm:
    pytestmark = on_real_slurm

    def test_every_node_has_its_own_name(self, cluster: VirtualSlurm) -> None:
        assert sorted(typed(cluster, "srun", "-N4", "hostname").split()) == cluster.node_names

    def test_nodes_share_files_but_not_memory(self, cluster: VirtualSlurm, tmp_path: Path) -> None:
        typed(cluster, "srun", "-wnode0", "touch", str(tmp_path / "shared"), "/dev/shm/private-of-node0")
        assert (tmp_path / "shared").exists()
        assert not Path("/dev/shm/private-of-node0").exists()
        assert typed(cluster, "srun", "-wnode1", "ls", "/dev/shm") == ""

    def test_nodes_know_each_other_by_name(self, cluster: VirtualSlurm) -> None:
        assert "127.0.0.1" in typed(cluster, "srun", "-wnode1", "getent", "ahostsv4", "node3")

    @pytest.mark.parametrize("shape", [["-N4", "-n4"], ["-N4", "-n8", "--ntasks-per-node=2"]])
    def test_mpi_ranks_find_each_other_through_pmix(self, cluster: VirtualSlurm, shape: list[str]) -> None:
        pytest.importorskip("mpi4py")
        program = "from mpi4py import MPI; print(MPI.COMM_WORLD.allreduce(1))"
        # The first import of an MPI takes long while an image is built beside it.
        text = typed(cluster, "srun", "--mpi=pmix", *shape, sys.executable, "-c", program, timeout_s=240)
        ranks = shape[1].removeprefix("-n")
        assert text.split() == [ranks] * int(ranks)

    def test_a_job_sees_the_gpus_it_asked_for(self, cluster: VirtualSlurm) -> None:
        text = typed(cluster, "srun", "-N1", "--gpus-per-node=2", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
        assert text == "0,1\n"
        assert "Gres=gpu:h100:8" in typed(cluster, "scontrol", "show", "node", "node0")

    def test_a_batch_job_runs_and_another_can_be_cancelled(self, cluster: VirtualSlurm, tmp_path: Path) -> None:
        marker = tmp_path / "marker"
        typed(cluster, "sbatch", "--output=/dev/null", f"--wrap=touch {marker}")
        job = typed(cluster, "sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 600").strip()
        eventually(cluster, "RUNNING", "squeue", "-h", "-j", job, "-o", "%T")
        typed(cluster, "scancel", job)
        eventually(cluster, "CANCELLED", "squeue", "-h", "-t", "all", "-j", job, "-o", "%T")
        deadline = time.monotonic() + 20
        while not marker.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def test_a_job_of_the_closed_partition_waits(self, cluster: VirtualSlurm) -> None:
        job = typed(cluster, "sbatch", "--parsable", "--partition=down", "--wrap=true").strip()
        eventually(cluster, "PENDING PartitionDown", "squeue", "-h", "-j", job, "-o", "%T %r")
        typed(cluster, "scancel", job)

    def test_without_accounting_sacct_fails_as_on_such_clusters(self, cluster: VirtualSlurm) -> None:
        with pytest.raises(subprocess.CalledProcessError):
            typed(cluster, "sacct")

    def test_a_killed_slurmd_comes_back(self, cluster: VirtualSlurm) -> None:
        before = cluster.slurmd_pid("node2")
        os.kill(before, signal.SIGKILL)
        cluster.restart_slurmd("node2")
        assert cluster.slurmd_pid("node2") != before
        assert typed(cluster, "srun", "-wnode2", "hostname") == "node2\n"

    def test_a_second_program_finds_the_same_cluster(self, cluster: VirtualSlurm) -> None:
        again = VirtualSlurm.load(cluster.folder)
        assert again.env == cluster.env
        assert again.slurmd_pid("node1") == cluster.slurmd_pid("node1")
        assert again.dead() == []

    def test_two_clusters_at_once_do_not_meet(self, cluster: VirtualSlurm) -> None:
        with VirtualSlurm.up(short_folder("d"), nodes=2, gpus=0) as other:
            assert sorted(typed(other, "srun", "-N2", "hostname").split()) == ["node0", "node1"]
            assert typed(other, "sinfo", "-h", "-p", "gpu", "-o", "%D") == "2\n"
            assert typed(cluster, "sinfo", "-h", "-p", "gpu", "-o", "%D") == "4\n"

    def test_down_ends_jobs_and_their_detached_children(self, tmp_path: Path) -> None:
        folder = short_folder("e")
        with VirtualSlurm.up(folder, nodes=1) as running:
            marker = tmp_path / "pid"
            script = f"setsid sh -c 'echo $$ > {marker}.new; mv {marker}.new {marker}; exec sleep 600' & sleep 600"
            typed(running, "sbatch", "--output=/dev/null", f"--wrap={script}")
            deadline = time.monotonic() + 20
            while not marker.exists():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            detached = int(marker.read_text())
            assert detached in [process.pid for process in with_mount(f"virtual-slurm:{folder}")]
        assert leftovers(folder) == []
        assert not folder.exists()

    def test_an_up_that_fails_says_why_and_leaves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.urandom", lambda _count: b"short")  # a key that munged refuses
        folder = short_folder("f")
        with pytest.raises(ClusterError, match=r"munged ended[\s\S]*[Kk]ey"):
            VirtualSlurm.up(folder)
        assert leftovers(folder) == []
        assert not folder.exists()

    def test_with_accounting_sacct_knows_how_a_job_ended(self) -> None:
        if shutil.which("mariadbd") is None or shutil.which("slurmdbd") is None:
            pytest.skip("needs tests/system/cluster/install.sh")
        with VirtualSlurm.up(short_folder("g"), nodes=1, accounting=True) as running:
            job = typed(running, "sbatch", "--parsable", "--output=/dev/null", "--wrap=exit 3").strip()
            # slurmctld tells slurmdbd with a delay of some seconds.
            question = ["sacct", "-n", "-X", "-P", "-j", job, "-o", "state,exitcode"]
            eventually(running, "FAILED|3:0", *question)

    def test_the_state_file_is_readable_for_whoever_wants_to_know(self, cluster: VirtualSlurm) -> None:
        record = json.loads((cluster.folder / "state.json").read_text())
        assert {"munged", "slurmctld", "slurmd-node3"} <= {process["name"] for process in record["processes"]}
