"""What is in the cluster's configuration files? Text only: nothing here reads or writes a file.

Options: https://slurm.schedmd.com/slurm.conf.html, gres.conf.html, slurmdbd.conf.html (Slurm 22.05, Debian 12).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from .accounting import DATABASE_NAME

CLUSTER_NAME = "virtual"
CPUS_PER_NODE = 8
#: Of a strict site, on every node: slices of the smallest profile.
SLICES = 28


@dataclass(frozen=True)
class Layout:
    """The cluster's size, ports and places. Ports: one for slurmctld, one for slurmdbd, one for each node.

    ``pyxis`` is the path of its plugin, empty: srun knows no containers. ``strict`` is a site that takes jobs of known accounts and QOS only,
    lets a partition take the nodes of another's jobs, and has slices of GPUs beside whole ones. ``leaf_nodes`` hang on each leaf switch
    below one spine; 0: Slurm knows no topology.
    """

    folder: Path
    login_name: str
    controller_port: int
    database_port: int
    node_ports: tuple[int, ...]
    gpus: int
    memory_mib: int
    accounting: bool
    pyxis: str = ""
    strict: bool = False
    leaf_nodes: int = 0

    @property
    def node_names(self) -> list[str]:
        """node0, node1, ..."""
        return [f"node{index}" for index in range(len(self.node_ports))]

    @property
    def munge_socket(self) -> Path:
        """Where this cluster's own munged listens."""
        return self.folder / "munge" / "socket"

    @property
    def mount_source(self) -> str:
        """The source name of the mount that every node has and no other process of the machine."""
        return f"virtual-slurm:{self.folder}"


def slurm_conf(layout: Layout) -> str:
    """The slurm.conf that every daemon and command of this cluster reads."""
    folder = layout.folder
    gres = f" Gres=gpu:h100:{layout.gpus}" if layout.gpus else ""
    gres += f",gpu:1g.10gb:{SLICES}" if layout.gpus and layout.strict else ""
    lines = [
        f"ClusterName={CLUSTER_NAME}",
        f"SlurmctldHost={layout.login_name}(127.0.0.1)",
        f"SlurmctldPort={layout.controller_port}",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        f"AuthInfo=socket={layout.munge_socket}",
        f"StateSaveLocation={folder}/controller",
        f"SlurmctldPidFile={folder}/controller/slurmctld.pid",
        f"SlurmctldLogFile={folder}/log/slurmctld.log",
        f"SlurmdSpoolDir={folder}/%n/spool",
        f"SlurmdPidFile={folder}/%n/slurmd.pid",
        f"SlurmdLogFile={folder}/log/slurmd-%n.log",
        # PMIx puts a folder there for each step; on one file system the nodes would remove each other's.
        f"TmpFS={folder}/%n/tmp",
        "MailProg=/bin/true",
        # No cgroups: CI's containers often may not write them.
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        # As on most clusters: who wants MPI has to say --mpi=pmix.
        "MpiDefault=none",
        "PropagateResourceLimits=NONE",
        "ReturnToService=2",
        "SlurmdTimeout=30",
        "SlurmctldTimeout=30",
        "MessageTimeout=10",
        "KillWait=2",
        "InactiveLimit=0",
        "MinJobAge=300",
        "SchedulerType=sched/backfill",
        # An sbatch job still waits 0 to 1 s: it may only start in slurmctld's loop, which sleeps 1 s each time
        # (22.05 src/slurmctld/job_mgr.c: job_allocate, "allocate == 0"; controller.c: _slurmctld_background).
        "SchedulerParameters=batch_sched_delay=0,bf_interval=1",
        # Cores only: memory is not shared out, so jobs fit as long as there are cores.
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        # The host may have 2 cores; believe the numbers below.
        "SlurmdParameters=config_overrides",
    ]
    if layout.accounting:
        lines += [
            "AccountingStorageType=accounting_storage/slurmdbd",
            "AccountingStorageHost=127.0.0.1",
            f"AccountingStoragePort={layout.database_port}",
            # Despite its name: with munge it is munged's socket, and AuthInfo does not count here.
            f"AccountingStoragePass={layout.munge_socket}",
            "AccountingStorageTRES=gres/gpu",
            "JobAcctGatherType=jobacct_gather/linux",
            "JobAcctGatherFrequency=1",
        ]
    else:
        lines += ["AccountingStorageType=accounting_storage/none", "JobAcctGatherType=jobacct_gather/none"]
    if layout.gpus:
        lines.append("GresTypes=gpu")
    if layout.strict:
        lines += ["PreemptType=preempt/partition_prio", "PreemptMode=CANCEL", "EnforcePartLimits=ALL"]
        lines += ["AccountingStorageEnforce=associations,limits,qos"] if layout.accounting else []
    if layout.leaf_nodes:
        lines.append("TopologyPlugin=topology/tree")
    if layout.pyxis:
        lines.append(f"PlugStackConfig={folder}/plugstack.conf")
    shape = f"CPUs={CPUS_PER_NODE} Sockets=1 CoresPerSocket={CPUS_PER_NODE} ThreadsPerCore=1"
    lines += [
        f"NodeName={name} NodeHostname={name} NodeAddr=127.0.0.1 Port={port} {shape}"
        f" RealMemory={layout.memory_mib}{gres}"
        for name, port in zip(layout.node_names, layout.node_ports, strict=True)
    ]
    lines += [
        "PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
        "PartitionName=small Nodes=ALL MaxTime=1 State=UP",
        "PartitionName=down Nodes=ALL State=DOWN",
    ]
    if layout.strict:
        lines += [
            "PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF State=UP",
            "PartitionName=others Nodes=ALL AllowAccounts=others State=UP",
            "PartitionName=staff Nodes=ALL AllowGroups=staff State=UP",
        ]
    return "\n".join(lines) + "\n"


def gres_conf(layout: Layout) -> str:
    """One dummy device file per GPU, the same on all nodes; Slurm takes the index from the file's number."""
    if not layout.gpus:
        return ""
    devices = f"{layout.folder}/devices/nvidia"
    whole = f"Name=gpu Type=h100 File={devices}[0-{layout.gpus - 1}]"
    if not layout.strict:
        return f"{whole}\n"
    cores = f"Cores=0-{CPUS_PER_NODE - 1}"
    return f"{whole} {cores}\nName=gpu Type=1g.10gb File={devices}[{layout.gpus}-{layout.gpus + SLICES - 1}] {cores}\n"


def topology_conf(layout: Layout) -> str:
    """leaf0, leaf1 …, each with the next nodes in order, and the spine above them; nothing where there is no topology."""
    if not layout.leaf_nodes:
        return ""
    names, size = layout.node_names, layout.leaf_nodes
    leaves = [names[first : first + size] for first in range(0, len(names), size)]
    lines = [f"SwitchName=leaf{number} Nodes={','.join(nodes)}" for number, nodes in enumerate(leaves)]
    return "\n".join([*lines, f"SwitchName=spine Switches=leaf[0-{len(leaves) - 1}]"]) + "\n"


def plugstack_conf(layout: Layout) -> str:
    """Pyxis, if any. Each node has a folder of its own mounted there; names of containers are those of all jobs, as by default."""
    return f"required {layout.pyxis} runtime_path={layout.folder}/pyxis\n" if layout.pyxis else ""


def enroot_conf(layout: Layout, node: str) -> str:
    """Where Enroot keeps things on a node: the nodes share this machine's file systems and must not share these."""
    place = f"{layout.folder}/{node}/enroot"
    paths = {"RUNTIME": "run", "CACHE": "cache", "DATA": "data"}
    each = "".join(f"ENROOT_{name}_PATH {place}/{folder}-$(id -u)\n" for name, folder in paths.items())
    # The others Enroot makes itself. A test's registry on the loopback interface has no certificate.
    return f"{each}ENROOT_TEMP_PATH {place}\nENROOT_ALLOW_HTTP yes\n"


def cgroup_conf() -> str:
    """slurmd loads a cgroup plugin even if nothing uses it; v1's does nothing then, "autodetect" looks for mounts."""
    return "CgroupPlugin=cgroup/v1\n"


def slurmdbd_conf(layout: Layout) -> str:
    """The accounting daemon's own file; Slurm refuses it unless its mode is 0600."""
    folder = layout.folder
    return "\n".join(
        [
            "AuthType=auth/munge",
            f"AuthInfo=socket={layout.munge_socket}",
            "DbdHost=localhost",
            "DbdAddr=127.0.0.1",
            f"DbdPort={layout.database_port}",
            "SlurmUser=root",
            f"LogFile={folder}/log/slurmdbd.log",
            f"PidFile={folder}/database/slurmdbd.pid",
            "StorageType=accounting_storage/mysql",
            "StorageHost=localhost",
            "StorageUser=root",
            f"StorageLoc={DATABASE_NAME}",
            "",
        ]
    )


def hosts(layout: Layout, machine: str) -> str:
    """/etc/hosts as the nodes see it: the machine's own, and every node's name."""
    return machine.rstrip("\n") + "\n" + "".join(f"127.0.0.1 {name}\n" for name in layout.node_names)


def env_sh(environment: dict[str, str]) -> str:
    """What a login shell sources."""
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    return (
        "# This shell's srun, sbatch and sinfo speak to the virtual Slurm, and Open MPI works on nodes that are one machine.\n"
        f"{exports}"
        "# The GPUs of this cluster are dummy files, so the cpu suite is what can run.\n"
        "export HPCACCEPT_GPUS_PER_NODE=0\n"
    )
