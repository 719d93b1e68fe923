"""Runs a suite, or an isolation, on the nodes of a cluster: hpcaccept over ssh, on its first node; the run then comes here.

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
from hpcaccept.app.azure import remote_run
from hpcaccept.app.azure.gather import gather
from hpcaccept.bounded import read_bytes
from hpcaccept.config.suites import built_in
from hpcaccept.errors import LaunchError, RunError, UsageError
from hpcaccept.provider.azure import nccl_suite as nccl_limits
from hpcaccept.store.replaced_files import replace_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcaccept.app.azure.remote_run import Begun, Ended
    from hpcaccept.provider.azure.config import Cluster
    from hpcaccept.provider.azure.nodes import Node

_RUN_NAME = re.compile(r"[0-9]{8}-[0-9]{6}-[A-Za-z0-9_.-]{1,120}")
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
    again: str,
    say: Callable[[str], None],
) -> Ended:
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
        again: what comes back to a run whose connection was lost.
        say: is told each line.

    Raises:
        LaunchError: the first node cannot be reached, has no hpcaccept, or was lost.
        UsageError: the suite's file cannot be read.
        RunError: an earlier run has not come here yet.
    """
    head = nodes[0].name
    remote_run.must_be_free(place, again)
    remote_run.hpcaccept_is_there(head, config, there.python)
    begun = remote_run.Begun("submit", head, _new_folder(there), there.python, remote_run.now())
    more = [*_suite(head, config, begun.folder, suite), *words]
    return remote_run.start(begun, _words(begun, cluster, nodes, more), environment, config, place, again, say)


def isolate(
    cluster: Cluster,
    nodes: Sequence[Node],
    config: Path,
    place: Path,
    there: There,
    run: str,
    words: Sequence[str],
    again: str,
    say: Callable[[str], None],
) -> Ended:
    """Find out whose fault it is, over all nodes, and fetch the answer.

    Args:
        cluster: whose GPUs are asked for.
        nodes: that take part; the first one starts the run.
        config: of ssh.
        place: folder here that gets ``runs/RUN``.
        there: paths on the nodes.
        run: that it starts from, which was run on these nodes; empty: none.
        words: more options of ``hpcaccept isolate``.
        again: what comes back to a run whose connection was lost.
        say: is told each line.

    Raises:
        LaunchError: the first node cannot be reached, has no hpcaccept, or was lost.
        RunError: an earlier run has not come here yet, or the nodes have no such run.
    """
    head = nodes[0].name
    remote_run.must_be_free(place, again)
    remote_run.hpcaccept_is_there(head, config, there.python)
    folder = _folder_of(run, head, config, there) if run else _new_folder(there)
    before = remote_run.runs_in(folder, head, config) if run else ()
    begun = remote_run.Begun("isolate", head, folder, there.python, remote_run.now(), before)
    more = [*(["--run", run] if run else []), *words]
    environment = nccl_environment(cluster)
    return remote_run.start(begun, _words(begun, cluster, nodes, more), environment, config, place, again, say)


def _words(begun: Begun, cluster: Cluster, nodes: Sequence[Node], more: Sequence[str]) -> list[str]:
    """After ``hpcaccept``: its command over all nodes as hosts."""
    names = ",".join(node.name for node in nodes)
    hosts = ["--launcher", launch.providing("ssh")[0], "--nodelist", names, "--gpus-per-node", str(cluster.gpus)]
    return [begun.command, *hosts, "--runs-dir", begun.folder, *more]


def _new_folder(there: There) -> str:
    return f"{there.runs_dir.rstrip('/')}/azure-{os.urandom(4).hex()}"


def _folder_of(run: str, head: str, config: Path, there: There) -> str:
    """The folder of the nodes that a run is in."""
    if not _RUN_NAME.fullmatch(run):
        raise UsageError(f"--run: {run!r} is not the name of a run.", "Name one of the cluster's folder runs.")
    asked = f"ls -1d -- {shlex.quote(there.runs_dir.rstrip('/'))}/azure-*/{shlex.quote(run)}"
    (found,) = gather([head], asked, config=config, deadline_s=60, most_bytes=65536)
    lines = found.output.decode("utf-8", "replace").splitlines()
    if not lines:
        raise RunError(f"The nodes have no run {run} in {there.runs_dir}: on {head} ls {found.why or 'showed none'}.")
    return lines[0].rpartition("/")[0]


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
