"""Runs a suite on the nodes of a cluster: ``hpcaccept submit`` over ssh, on its first node; the run then comes here.

The nodes must have hpcaccept, Open MPI and a folder that all of them see, each at the same path: what one lacks is told by name before anything runs.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import launch
from hpcaccept.app.azure.gather import gather
from hpcaccept.bounded import read_bytes
from hpcaccept.config.suites import built_in
from hpcaccept.errors import LaunchError, RunError, UsageError
from hpcaccept.provider.azure import nccl_suite as nccl_limits
from hpcaccept.store.replaced_files import replace_files
from hpcaccept.transport.ssh import follow_there

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcaccept.provider.azure.config import Cluster
    from hpcaccept.provider.azure.nodes import Node

_FETCHED = ("plan.json", "job.json", "driver.jsonl", "run.h5", "report.json", "report.html")
#: Exit codes of hpcaccept; a shell has others.
_CODES = (0, 1, 2, 3, 130)
_RUN = re.compile(r"[0-9]{8}-[0-9]{6}-[A-Za-z0-9_.-]{1,120}")
_MOST_BYTES = 1 << 30
_FETCH_S = 600.0
_SSH_FAILED = 255
#: What Azure gives ND H100 v5 and ND H200 v5 for NCCL: https://learn.microsoft.com/azure/virtual-machines/sizes/gpu-accelerated/ndh100v5-series and
#: the images' own /opt/microsoft/ndv5-topo.xml. https://github.com/Azure/azhpc-images
_NDV5 = {
    "NCCL_TOPO_FILE": "/opt/microsoft/ndv5-topo.xml",
    "NCCL_SOCKET_IFNAME": "eth0",
    "NCCL_IB_QPS_PER_CONNECTION": "4",
    "NCCL_P2P_NET_CHUNKSIZE": "524288",
    "NCCL_MIN_NCHANNELS": "32",
    "NCCL_PXN_DISABLE": "1",
    "NCCL_IGNORE_CPU_AFFINITY": "1",
    "UCX_TLS": "rc",
    "UCX_NET_DEVICES": "mlx5_ib0:1",
}
_NDV5_SIZES = ("standard_nd96isr_h100_v5", "standard_nd96isr_h200_v5")


@dataclass(frozen=True)
class There:
    """Where things are on the nodes.

    Attributes:
        python: that imports hpcaccept, on each node.
        runs_dir: folder that all nodes see.
    """

    python: str
    runs_dir: str


@dataclass(frozen=True)
class Submitted:
    """A run that has ended.

    Attributes:
        code: exit code of ``hpcaccept submit`` there.
        folder: the run, here; None where none came back.
    """

    code: int
    folder: Path | None


def nccl_environment(cluster: Cluster) -> dict[str, str]:
    """Variables that NCCL needs on the cluster's size; empty for a size without any."""
    return dict(_NDV5) if cluster.size.lower() in _NDV5_SIZES else {}


def nccl_suite(cluster: Cluster, place: Path) -> str:
    """The suite that ``nccl`` runs: ``fabric``, nccl-tests over all nodes, and the limits of the cluster's network cards where there are any, written to
    ``nccl.toml``; ``fabric`` for nodes without GPUs.

    Raises:
        RunError: the folder cannot be written.
    """
    if not cluster.gpus:
        return "fabric"
    text = built_in()["fabric"].read_text("utf-8") + nccl_limits.ALL_NODES + nccl_limits.limits(cluster)
    replace_files({"nccl.toml": text.encode()}, place)
    return str(place / "nccl.toml")


def submit(
    cluster: Cluster,
    nodes: Sequence[Node],
    config: Path,
    place: Path,
    there: There,
    suite: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    say: Callable[[str], None],
) -> Submitted:
    """Run a suite over all nodes, hand on what it prints, and fetch the run.

    Args:
        cluster: whose GPUs are asked for.
        nodes: that take part; the first one starts the run.
        config: of ssh.
        place: folder here that gets ``runs/RUN``.
        there: paths on the nodes.
        suite: name of a suite, or a TOML file here; empty for the default.
        words: more options of ``hpcaccept submit``.
        environment: variables of the ranks.
        say: is told each line.

    Raises:
        LaunchError: the first node cannot be reached, has no hpcaccept, or was lost.
        UsageError: the suite's file cannot be read.
    """
    head = nodes[0].name
    _hpcaccept_is_there(head, config, there)
    folder = f"{there.runs_dir.rstrip('/')}/azure-{os.urandom(4).hex()}"
    asked = _suite(head, config, folder, suite)
    names = ",".join(node.name for node in nodes)
    command = ["env", *(f"{key}={value}" for key, value in environment.items())]
    command += [there.python, "-m", "hpcaccept", "submit", "--launcher", launch.providing("ssh")[0]]
    command += ["--nodelist", names]
    command += ["--gpus-per-node", str(cluster.gpus), "--runs-dir", folder, *asked, *words]
    say(f"on {head}: {shlex.join(command)}")
    code = follow_there(config, head, shlex.join(command), say)
    if code == _SSH_FAILED:
        raise LaunchError(
            f"The connection to {head} was lost, or never made; the run goes on there where it had begun.",
            f"See: ssh -F {config} {head} {shlex.join([there.python, '-m', 'hpcaccept', 'runs', '--runs-dir', folder])}",
        )
    run = _fetch(head, config, folder, place)
    if code not in _CODES or (code == 1 and run is None):
        # A shell that finds no program ends with 127, a killed one with 137, a Python that breaks with 1: no verdict on anybody.
        raise LaunchError(
            f"hpcaccept submit ended on {head} with {code}"
            + ("" if run else " and left no run")
            + ": that is not a verdict on a node.",
            "See what it said above.",
        )
    return Submitted(code, run)


def _hpcaccept_is_there(head: str, config: Path, there: There) -> None:
    """Raises LaunchError for a first node that cannot be reached, or whose Python does not import hpcaccept."""
    asked = shlex.join([there.python, "-c", "import hpcaccept"])
    (found,) = gather([head], asked, config=config, deadline_s=60, most_bytes=65536)
    if found.why:
        raise LaunchError(
            f"{there.python} on {head} cannot start hpcaccept: it {found.why}.",
            "Install it there at the same path on every node (pip install '.[rank]' in a checkout), and name its Python: --python PATH",
        )


def _suite(head: str, config: Path, folder: str, suite: str) -> list[str]:
    """Options that name the suite; a file goes along."""
    if not suite.endswith(".toml"):
        return ["--suite", suite] if suite else []
    try:
        text = read_bytes(Path(suite), follow=True, most=1024 * 1024)
    except OSError as fault:
        raise UsageError(f"Cannot read the suite {suite}: {fault.strerror}.") from None
    name = f"{folder}/{re.sub(r'[^A-Za-z0-9_.-]', '_', Path(suite).name)}"
    script = f"mkdir -p {shlex.quote(folder)} && cat >{shlex.quote(name)}"
    (sent,) = gather([head], script, config=config, deadline_s=60, given=text)
    if sent.why:
        raise LaunchError(f"The suite could not be sent to {head}: it {sent.why}.")
    return ["--suite", name]


def _fetch(head: str, config: Path, folder: str, place: Path) -> Path | None:
    """The run's files, here; None where there is no run."""
    (listed,) = gather([head], f"ls -1 -- {shlex.quote(folder)}", config=config, deadline_s=60, most_bytes=65536)
    runs = [name for name in listed.output.decode("utf-8", "replace").split() if _RUN.fullmatch(name)]
    if not runs:
        return None
    files = {}
    for name in _FETCHED:
        path = shlex.quote(f"{folder}/{runs[-1]}/{name}")
        (found,) = gather([head], f"cat -- {path}", config=config, deadline_s=_FETCH_S, most_bytes=_MOST_BYTES)
        if not found.why:
            files[name] = found.output
    if "run.h5" not in files:
        raise RunError(
            f"The run {runs[-1]} could not be fetched from {head}: it has no run.h5.",
            f"It stays there: ssh -F {config} {head} ls {folder}/{runs[-1]}",
        )
    replace_files(files, place / "runs" / runs[-1])
    return place / "runs" / runs[-1]
