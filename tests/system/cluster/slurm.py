"""The virtual cluster itself: what is open while it is up, and how all of it is closed again."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from . import accounting, slurm_conf
from .daemons import (
    SEARCH_PATH,
    ClusterError,
    Process,
    end,
    program,
    reap,
    run,
    start,
    wait_for,
    with_mount,
    with_session,
)
from .folder import check, fill
from .slurm_conf import Layout
from .sockets import answers, free_ports, listening

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

# "$1" node, "$2" folder, "$3" mount source, then slurmd's command line. The mounts live in the node's own namespace
# and end with its last process: nothing is unmounted, because nothing is mounted outside. "-n": leave no /run/mount.
_OPEN_MPI = {
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_reachable": "weighted",
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl_tcp_if_include": "lo",
}
_NODE_SCRIPT = """
set -eu
node=$1 folder=$2 source=$3
shift 3
mount -n -t tmpfs -o mode=1777 "$source" /dev/shm
mount -n --bind "$folder/hosts" /etc/hosts
hostname "$node"
if [ -d "$folder/pyxis" ]; then
  mount -n --bind "$folder/$node/pyxis" "$folder/pyxis"
  mount -n --bind "$folder/$node/enroot.conf" /etc/enroot/enroot.conf
fi
exec "$@"
"""


#: Where Debian's packages and Pyxis' own "make install" put its plugin.
_PYXIS = (
    "/usr/local/lib/slurm/spank_pyxis.so",
    "/usr/lib/x86_64-linux-gnu/slurm-wlm/spank_pyxis.so",
    "/usr/lib/slurm/spank_pyxis.so",
)


def find_pyxis() -> str:
    """Path of Pyxis' plugin where it and Enroot are installed, else nothing."""
    found = next((path for path in _PYXIS if Path(path).exists()), "")
    return found if found and shutil.which("enroot") and Path("/etc/enroot/enroot.conf").exists() else ""


def _plugin() -> str:
    found = find_pyxis()
    if not found:
        raise ClusterError("no Pyxis and Enroot on this machine: install both, or leave them out")
    return found


class VirtualSlurm:
    """A running cluster: munged, slurmctld, one slurmd per node (and MariaDB and slurmdbd), all from one folder."""

    def __init__(self, layout: Layout, processes: dict[str, Process]) -> None:
        self._layout = layout
        self._processes = processes

    @classmethod
    def up(
        cls,
        folder: Path,
        *,
        nodes: int = 4,
        accounting: bool = False,
        gpus: int = 8,
        pyxis: bool = False,
        strict: bool = False,
        leaf_nodes: int = 0,
    ) -> VirtualSlurm:
        """Start a cluster in `folder`, which must not exist or be empty; after return every node is idle.

        Needs root and the packages of `install.sh`. The folder's path has to be short (UNIX sockets end at 107 bytes)
        and no folder above it may be writable by others, so use one under /run. If anything fails, what was started is
        ended, the folder is removed, and ClusterError holds the last words of the daemon that failed. With `pyxis` srun
        takes --container-image, where Pyxis and Enroot are installed (`find_pyxis`). `strict`, `leaf_nodes`: see `Layout`.
        """
        folder = folder.absolute()
        if nodes < 1:
            raise ClusterError(f"a cluster needs at least 1 node, not {nodes}")
        check(folder)
        ports = free_ports(nodes + 2)
        layout = Layout(
            folder=folder,
            login_name=socket.gethostname().partition(".")[0],
            controller_port=ports[0],
            database_port=ports[1],
            node_ports=tuple(ports[2:]),
            gpus=gpus,
            memory_mib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
            accounting=accounting,
            pyxis=_plugin() if pyxis else "",
            strict=strict,
            leaf_nodes=leaf_nodes,
        )
        cluster = cls(layout, {})
        try:
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
            cluster._save()  # from here on `load` and `down` work
            fill(layout, cluster.env)
            cluster._start_daemons()
        except BaseException:  # Ctrl-C too: half a cluster is worth nothing
            cluster.down()
            raise
        return cluster

    @classmethod
    def load(cls, folder: Path) -> VirtualSlurm:
        """The cluster that `up` started in `folder`, in this program or another; ClusterError if there is none."""
        state = folder.absolute() / "state.json"
        if not state.exists():
            raise ClusterError(f'no virtual Slurm in "{folder}"; start one with "make cluster"')
        record = json.loads(state.read_text())
        layout = record["layout"]
        layout["folder"] = Path(layout["folder"])
        layout["node_ports"] = tuple(layout["node_ports"])
        return cls(Layout(**layout), {entry["name"]: Process(**entry) for entry in record["processes"]})

    @property
    def folder(self) -> Path:
        """Everything this cluster wrote is below it."""
        return self._layout.folder

    @property
    def node_names(self) -> list[str]:
        """node0, node1, ..."""
        return self._layout.node_names

    @property
    def env(self) -> dict[str, str]:
        """What to add to the environment so that srun, sbatch and sinfo speak to this cluster, and Open MPI works.

        All nodes share this machine's few cores, so an MPI rank that waits has to let the others run: spinning makes
        a small Allreduce up to 400 times slower here. And all nodes have the same network address, which Open MPI 5
        takes for unreachable by default ("netlink"): without "weighted" MPI_Init works and the first message fails.
        There is no fabric either: looking for one would take every rank a tenth of a second of these cores. Messages go by
        loopback: other networks of this machine may be those of tests, and vanish while ranks connect.
        """
        return {**self._slurm_env, **_OPEN_MPI}

    @property
    def _slurm_env(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def slurmd_pid(self, node: str) -> int:
        """The pid of this node's slurmd as last started; it may have ended since."""
        return self._processes[self._slurmd_name(node)].pid

    def daemons(self, *names: str) -> list[Process]:
        """These daemons as last started; all when none is named."""
        return [process for name, process in self._processes.items() if not names or name in names]

    def restart_slurmd(self, node: str) -> None:
        """End this node's slurmd if it runs, start a new one, and return when the controller sees the node again.

        Jobs on the node go on (their slurmstepd is another process); the node's /dev/shm is a new, empty one.
        """
        end([self._processes[self._slurmd_name(node)]], grace_s=5)
        self._start_slurmd(node)
        port = self._layout.node_ports[self.node_names.index(node)]

        def back() -> bool:
            # Gone for less than SlurmdTimeout it never was "down" to the controller, so see that it listens as well.
            states = self._states([node])
            return listening(port) and len(states) == 1 and not states[0].startswith("down") and "*" not in states[0]

        self._wait(f"{node} to be back", back, 60, ["slurmctld", self._slurmd_name(node)])

    def restart_controller(self) -> None:
        """End slurmctld in an orderly way, so that it saves what it knows, start it again, and return when it answers."""
        end([self._processes["slurmctld"]], grace_s=10)
        self._start("slurmctld", [program("slurmctld"), "-D", "-f", self.env["SLURM_CONF"]])
        self._wait("slurmctld", lambda: " is UP" in self._ask("scontrol", "ping"), 20, ["slurmctld"])

    def settle(self) -> None:
        """Return when every node is idle and answers.

        A node that was down and is resumed, and every node after a restart of the controller, counts as not answering until the controller
        has asked it again; nothing is submitted to it until then.
        """
        self._wait_for_idle_nodes(60, ["slurmctld"])

    def configure(self, *lines: str) -> None:
        """Set options in slurm.conf, which every daemon of this cluster then reads."""
        file = self.folder / "slurm.conf"
        set_now = {line.partition("=")[0] for line in lines}
        kept = [line for line in file.read_text().splitlines() if line.partition("=")[0] not in set_now]
        file.write_text("".join(f"{line}\n" for line in (*kept, *lines)))
        self._ask("scontrol", "reconfigure")

    def controller_log(self) -> str:
        """All that slurmctld has logged so far."""
        return (self.folder / "log" / "slurmctld.log").read_text(errors="replace")

    def dead(self) -> list[str]:
        """The names of the daemons that should run and do not."""
        reap()
        return [name for name, process in self._processes.items() if not process.alive()]

    def down(self) -> None:
        """End every process of this cluster and remove its folder; a second call does nothing.

        Raises ClusterError, and leaves the folder, if a process cannot be ended: then a second `down` may help.
        """
        if not self.folder.exists():
            return
        self._cancel_jobs()
        # First the nodes with all that runs on them, else slurmd would still start what the controller sends.
        left = self._end_nodes()
        left += end([each for process in self._processes.values() for each in with_session(process)], grace_s=0)
        if left:
            names = ", ".join(f"{process.name} (pid {process.pid})" for process in left)
            raise ClusterError(f'could not end {names}; see "{self.folder}/log"')
        reap()
        shutil.rmtree(self.folder)

    def __enter__(self) -> VirtualSlurm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    # --- starting

    def _start_daemons(self) -> None:
        self._start_munged()
        if self._layout.accounting:
            self._start_accounting()
        self._start("slurmctld", [program("slurmctld"), "-D", "-f", self.env["SLURM_CONF"]])
        self._wait("slurmctld", lambda: " is UP" in self._ask("scontrol", "ping"), 20, ["slurmctld"])
        for node in self.node_names:
            self._start_slurmd(node)
        names = ["slurmctld", *map(self._slurmd_name, self.node_names)]
        # Hundreds of daemons on a few cores register one after another.
        self._wait_for_idle_nodes(60 + len(self.node_names), names)

    def _wait_for_idle_nodes(self, timeout_s: float, names: list[str]) -> None:
        idle = ["idle"] * len(self.node_names)
        self._wait("all nodes to be idle", lambda: self._states(self.node_names) == idle, timeout_s, names)

    def _start_munged(self) -> None:
        folder, munge_socket = self.folder / "munge", self._layout.munge_socket
        files = {"key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={folder / name}" for option, name in files.items()]
        self._start("munged", [program("munged"), "--foreground", f"--socket={munge_socket}", *options])
        self._wait("munged", lambda: answers(munge_socket), 10, ["munged"])

    def _start_accounting(self) -> None:
        database = self.folder / "database"
        mariadb_socket = accounting.socket_path(database)
        self._run("mariadb-install-db", accounting.install_command(database), accounting.INSTALL_TIMEOUT_S)
        self._start("mariadbd", accounting.mariadbd_command(database))
        self._wait("MariaDB", lambda: answers(mariadb_socket), 30, ["mariadbd"])
        self._run("mariadb", accounting.create_command(database), 30)
        self._start("slurmdbd", [program("slurmdbd"), "-D"], {"MYSQL_UNIX_PORT": str(mariadb_socket)})
        port = self._layout.database_port
        self._wait("slurmdbd", lambda: listening(port), 30, ["mariadbd", "slurmdbd"])
        for command in accounting.setup_commands(slurm_conf.CLUSTER_NAME):
            self._run("sacctmgr", command, 30)

    def _start_slurmd(self, node: str) -> None:
        slurmd = [program("slurmd"), "-D", "-N", node, "-f", self.env["SLURM_CONF"]]
        # "slave": what the machine mounts later is seen on the nodes, what a node mounts is seen by nobody else.
        namespace = [program("unshare"), "--mount", "--uts", "--propagation", "slave"]
        arguments = [node, str(self.folder), self._layout.mount_source]
        self._start(self._slurmd_name(node), [*namespace, "/bin/sh", "-c", _NODE_SCRIPT, "node", *arguments, *slurmd])

    def _start(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        started = start(name, command, self._words(name), {**self._daemon_env, **(environment or {})})
        self._processes[name] = started
        self._save()

    def _run(self, name: str, command: list[str], timeout_s: float) -> None:
        run(command, self._words(name), self._daemon_env, timeout_s)

    @property
    def _daemon_env(self) -> dict[str, str]:
        """A clean environment: what stands in the shell of who typed `up` must not reach the jobs."""
        return {"PATH": SEARCH_PATH, "LANG": "C.UTF-8", **self._slurm_env}

    def _save(self) -> None:
        record = {
            "layout": {**asdict(self._layout), "folder": str(self.folder)},
            "processes": [asdict(process) for process in self._processes.values()],
        }
        new = self.folder / "state.json.new"
        new.write_text(json.dumps(record, indent=1))
        new.replace(self.folder / "state.json")

    # --- asking and waiting

    def _states(self, nodes: list[str]) -> list[str]:
        """The nodes' states as the controller sees them, such as "idle" or, of one that does not answer, "idle*"."""
        return self._ask("sinfo", "--noheader", "--Node", "-p", "gpu", "-n", ",".join(nodes), "-o", "%T").split()

    def _wait(self, what: str, ready: Callable[[], bool], timeout_s: float, names: list[str]) -> None:
        wait_for(what, ready, timeout_s, [(self._processes[name], self._words(name)) for name in names])

    def _ask(self, *command: str) -> str:
        """What a Slurm command of this cluster prints; nothing if it fails, or takes more than 5 s."""
        try:
            answer = subprocess.run(
                command, env=self._daemon_env, capture_output=True, text=True, timeout=5, check=False
            )
        except subprocess.TimeoutExpired:
            return ""
        return answer.stdout if answer.returncode == 0 else ""

    # --- ending

    def _cancel_jobs(self) -> None:
        """Let an srun or salloc in some other shell end in an orderly way; no longer than 3 s."""
        controller = self._processes.get("slurmctld")
        if controller is None or not controller.alive() or not (jobs := self._jobs()):
            return
        self._ask("scancel", *jobs)
        deadline = time.monotonic() + 3
        while self._jobs() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _jobs(self) -> list[str]:
        return self._ask("squeue", "--noheader", "--format=%A").split()

    def _end_nodes(self) -> list[Process]:
        left: list[Process] = []
        for _ in range(5):  # a process may have forked while we looked
            if not (running := with_mount(self._layout.mount_source)):
                return []
            left = end(running, grace_s=0)
        return left

    def _words(self, name: str) -> Path:
        return self.folder / "log" / f"{name}.out"

    @staticmethod
    def _slurmd_name(node: str) -> str:
        return f"slurmd-{node}"
