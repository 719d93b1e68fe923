"""Hosts that are named, over ssh: one ``mpiexec`` of Open MPI starts all ranks. No scheduler is needed.

Open MPI starts a daemon on each host by ``ssh`` and the ranks under it, in the order of the names: each host is an application
context of its own (https://docs.open-mpi.org/en/v5.0.x/launching-apps/ssh.html), so that its ranks can be told what it is called
here, whatever it calls itself. Everything about reaching a host (user, port, key, jump host) stands in the user's ssh
configuration. Whoever has a shared runs folder, this Python and Open MPI at the same paths is fit.
"""

from __future__ import annotations

import re
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import __version__, container
from hpcaccept.errors import LaunchError, UsageError, install_hint
from hpcaccept.launch.job import this_machine
from hpcaccept.launch.job.defaults import (
    as_job,
    begun,
    behind_others,
    cluster_now,
    default_mpi,
    find_job,
    missing_words,
    outside_environment,
    seconds_left,
    withdraw,
)
from hpcaccept.launch.job.driver import driver_command
from hpcaccept.launch.job.this_machine import cancel, mpiexec, no_mpiexec, status, submit
from hpcaccept.model.job import Rendered
from hpcaccept.model.launcher import LauncherTraits
from hpcaccept.parse.ssh_errors import explain_ssh
from hpcaccept.serial import dumps
from hpcaccept.transport.process import ask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.model.plan import Plan, Step
    from hpcaccept.store.folder import RunFolder

__all__ = [
    "TRAITS",
    "as_job",
    "available",
    "begun",
    "behind_others",
    "cancel",
    "cluster_now",
    "default_gpus",
    "default_mpi",
    "everywhere",
    "find_job",
    "missing_words",
    "nodes",
    "outside_environment",
    "render",
    "seconds_left",
    "status",
    "step_command",
    "step_environment",
    "submit",
    "unreachable",
    "withdraw",
]

TRAITS = LauncherTraits(
    provides=frozenset({"mpiexec", "ssh"}),
    summary="--nodelist over ssh",
    needs_nodelist=True,
    look_at_node="ssh NAME uptime",
    try_by_hand="mpiexec --host NAME -n 1 hostname",
)

#: The command that reaches a host is Open MPI's own setting, under the names of 4.x and 5.x; ours reads the same.
_AGENTS = ("OMPI_MCA_plm_rsh_agent", "PRTE_MCA_plm_ssh_agent")
CONNECT_S = 10
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[0-9A-Fa-f:]+)?")
#: Nobody is there to type a password. Host keys are checked as the user has it.
_OPTIONS = f"-o BatchMode=yes -o ConnectTimeout={CONNECT_S}"
_OPEN_MPI = {
    # Whatever else could start daemons (a scheduler's client that happens to be installed) is not asked.
    "OMPI_MCA_plm": "rsh",
    "PRTE_MCA_plm": "ssh",
    # Only this machine needs keys to the hosts, not the hosts to each other.
    "OMPI_MCA_plm_rsh_no_tree_spawn": "1",
    "PRTE_MCA_plm_ssh_no_tree_spawn": "1",
    # ssh is to be told the name that was given, its domain included.
    "OMPI_MCA_orte_keep_fqdn_hostnames": "1",
    "PRTE_MCA_prte_keep_fqdn_hostnames": "1",
}
#: Variables that ranks are to see as they are here, as under every other launcher; Open MPI sends those that this one names.
_SENT = "OMPI_MCA_mca_base_env_list"
_OF_RANKS = ("HPCACCEPT_", "NCCL_", "UCX_", "FI_", "GLOO_", "TORCH_")
#: At once; each is a process of this machine.
_MOST_LOOKS = 64
_LOOK_S = 60.0
#: What every host needs, asked by a POSIX shell there; the last line it prints is the version of hpcaccept.
_LOOK = """\
test -r "$1/plan.json" || exit 81
command -v "$2" >/dev/null || exit 82
test -x "$3/orted" || test -x "$3/prted" || exit 83
"$2" -c 'import hpcaccept.rank; print(hpcaccept.__version__)' 2>/dev/null || exit 84"""


def available() -> str:
    """Empty when there are Open MPI and ssh."""
    if not shutil.which("ssh"):
        return "there is no ssh. Install it: apt-get install openssh-client."
    return no_mpiexec() or _no_open_mpi()


def _no_open_mpi() -> str:
    said = ask([mpiexec(), "--version"]).stdout
    if "Open MPI" in said or "OpenRTE" in said or "prte" in said.lower():
        return ""
    return f"{mpiexec()} is not Open MPI's, whose options are needed here: {said.strip()[:80]!r}."


def default_gpus(partition: str) -> int:
    """Nobody knows. Raises UsageError: what is expected of a host is never what happens to be visible."""
    raise UsageError(
        "With --launcher hosts nobody says how many GPUs a host must have.",
        "Say it with --gpus-per-node N (0: only CPUs are tested).",
    )


def nodes(plan: Plan, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Those of ``--nodelist``.

    Raises:
        LaunchError: something in it is no name: mpiexec hands each to ssh, where it could be an option.
    """
    from ClusterShell.NodeSet import NodeSet

    names = tuple(NodeSet(plan.request.nodelist))
    for name in names:
        if not _HOST.fullmatch(name):
            raise LaunchError(f"{name[:80]!r} is not a host name.", "Write it like node[01-04],node7.example.com.")
    return names


def step_command(plan: Plan, step: Step, folder: RunFolder) -> tuple[str, ...]:
    """``mpiexec --host A:8 -n 8 env HPCACCEPT_NODE=A python … : --host B:8 …``: ranks in the order of the hosts."""
    command = (plan.image.python, "-m", "hpcaccept.rank", str(folder.path), step.id)
    inside = container.load(plan.image.runtime)
    rank = inside.enter(plan.image, command, step=step.id, names=("HPCACCEPT_NODE",), gpus=bool(step.gpus_per_node))
    return _contexts({node: ("env", f"HPCACCEPT_NODE={node}", *rank) for node in step.nodes}, step.ranks_per_node)


def everywhere(plan: Plan, nodes: tuple[str, ...], command: Sequence[str]) -> tuple[str, ...]:
    """One process per host."""
    return _contexts(dict.fromkeys(nodes, tuple(command)), 1)


def _contexts(commands: Mapping[str, Sequence[str]], processes: int) -> tuple[str, ...]:
    words: list[str] = []
    for node, command in commands.items():
        words += [":"] if words else []
        words += ["--host", f"{node}:{processes}", "-n", str(processes), *command]
    return (mpiexec() or "mpiexec", *words)


def step_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """As on one machine, but that daemons are started by ssh, and that any network may be used."""
    mine = this_machine.step_environment(environ)
    for key in ("OMPI_MCA_pml", "OMPI_MCA_plm"):
        if key not in environ:
            del mine[key]
    sent = [environ[_SENT]] if environ.get(_SENT) else []
    sent += [name for name in environ if name.startswith(_OF_RANKS)]
    agents = dict.fromkeys(_AGENTS, f"{_ssh(environ)} {_OPTIONS}")
    return {**_OPEN_MPI, **mine, **agents, **({_SENT: ";".join(sent)} if sent else {})}


def _ssh(environ: Mapping[str, str]) -> str:
    """The command that reaches a host: ``ssh``, unless the user has told Open MPI another (``ssh -F FILE``)."""
    told = next((environ[name] for name in _AGENTS if environ.get(name)), "ssh")
    return told.partition(" : ")[0]


def unreachable(
    plan: Plan, nodes: Sequence[str], folder: RunFolder, environ: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Hosts on which no rank can be started now: node → cause, remedy. All are asked at once."""
    words = ["sh", "-c", _LOOK, "look", str(folder.path), plan.image.python, str(Path(mpiexec()).parent)]
    command = [*shlex.split(f"{_ssh(environ)} {_OPTIONS}"), "-n", "--"]

    def probe(node: str) -> tuple[str, str] | None:
        try:
            done = ask([*command, node, shlex.join(words)], timeout_s=_LOOK_S, env=environ)
        except LaunchError as fault:
            return f"cannot be reached: {fault.message}", _by_hand(node)
        return _verdict(node, done.returncode, done.stdout, done.stderr, words)

    with ThreadPoolExecutor(min(_MOST_LOOKS, max(1, len(nodes)))) as pool:
        found = zip(nodes, pool.map(probe, nodes), strict=True)
    return {node: fault for node, fault in found if fault}


def _verdict(node: str, code: int, stdout: str, stderr: str, words: Sequence[str]) -> tuple[str, str] | None:
    """What is the matter with a host, by what ssh said of it."""
    folder, python, mpi = words[-3:]
    lacks = {
        81: (
            f"does not see the run folder {folder}",
            "Choose a place that every host mounts at the same path: --runs-dir.",
        ),
        82: (f"has no {python}", "Install the same environment there, or on a file system that all hosts mount."),
        83: (f"has no Open MPI under {mpi}", "Install the same Open MPI at the same path there."),
        84: (f"cannot import hpcaccept with {python}", f"Install it there: {install_hint('rank')}."),
    }
    if code == 0:
        version = (stdout.split() or [""])[-1]
        if version == __version__:
            return None
        return f"has hpcaccept {version!r}, here it is {__version__!r}", "Install the same version on both."
    if code in lacks:
        return lacks[code]
    cause, remedy = explain_ssh(stderr) or (f"ssh ended with {code}: {stderr.strip()[-200:]!r}", _by_hand(node))
    return f"cannot be reached: {cause}", remedy.replace("HOST", node)


def _by_hand(node: str) -> str:
    return f"Try it by hand: ssh -o BatchMode=yes {node} true."


def render(plan: Plan, folder: RunFolder) -> Rendered:
    """The plan file, the driver, and the step it will start first."""
    step = plan.first_step(nodes(plan, {}))
    return Rendered(
        files={str(folder.plan_file): dumps(plan)},
        commands=(
            ("the driver, detached from this terminal", driver_command(folder)),
            ("its first step: all ranks of all hosts that can be reached", step_command(plan, step, folder)),
        ),
    )
