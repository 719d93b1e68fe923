"""``hpcaccept k8s``."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcaccept.bounded import read_text
from hpcaccept.cli.finite import FiniteRange
from hpcaccept.cli.options import runs_dir_option, suite_options
from hpcaccept.errors import HpcacceptError, RunError, UsageError
from hpcaccept.serial import loads

if TYPE_CHECKING:
    from hpcaccept.store.folder import RunFolder

F = TypeVar("F", bound=Callable[..., Any])
_PODS_TIMEOUT = click.option(
    "--pods-timeout",
    type=FiniteRange(min=1),
    default=1200.0,
    show_default=True,
    metavar="S",
    help="Seconds until all pods are there: scheduling, pulling the image.",
)


def _what_is_tested(command: F) -> F:
    """The options of ``submit`` that mean the same inside a pod."""
    for option in (
        click.option(
            "--start-timeout",
            "start_timeout_s",
            type=FiniteRange(min=1),
            metavar="S",
            help="Seconds for MPI to start.  [default: 300]",
        ),
        click.option(
            "--search", is_flag=True, help="Let matmul search its best shapes; the report says how to keep them."
        ),
        click.option(
            "--set", "changes", multiple=True, metavar="CHECK.PARAM=VALUE", help="Change a parameter; may be repeated."
        ),
        click.option("--skip", multiple=True, metavar="CHECK", help="Leave this check out; may be repeated."),
        click.option(
            "-s", "--suite", metavar="SUITE", help="A suite's name or .toml file.  [default: quick, cpu without GPUs]"
        ),
        click.option(
            "-g",
            "--gpus-per-node",
            type=click.IntRange(min=0),
            required=True,
            metavar="N",
            help="GPUs of every node; fewer is a FAIL, 0 tests CPUs only.",
        ),
    ):
        command = option(command)
    return command


@click.group()
def k8s() -> None:
    """Kubernetes: manifests for one node or many, and runs out of a pod's log."""


@k8s.command()
@click.option(
    "-N", "--nodes", type=int, default=1, show_default=True, metavar="N", help="How many nodes: one pod each."
)
@click.option(
    "--image", required=True, metavar="IMAGE", help="The image with hpcaccept, best as REGISTRY/PATH@sha256:…"
)
@_what_is_tested
@click.option("--pvc", metavar="NAME", help="Keep the runs on this claim; several nodes need one that all may write.")
@click.option("--log", is_flag=True, help="One node without a claim: its run comes back through its log.")
@click.option("--name", default="hpcaccept", show_default=True, metavar="NAME", help="Name of the Job and its Service.")
@click.option("-n", "--namespace", default="", metavar="NAME", help="Namespace.  [default: that of kubectl]")
@click.option(
    "--gpu-resource", default="nvidia.com/gpu", show_default=True, metavar="RES", help="What a GPU is called."
)
@click.option(
    "--rdma-resource",
    default="",
    metavar="RES",
    help="RDMA device of the site's plugin, like rdma/hca_shared_devices_a.",
)
@click.option("--cpu", default="", metavar="Q", help="CPUs to request for each pod, like 96.")
@click.option("--memory", default="", metavar="Q", help="Memory of each pod, like 512Gi.")
@click.option("--shm", default="8Gi", show_default=True, metavar="Q", help="Size of /dev/shm.")
@click.option(
    "--node-selector", multiple=True, metavar="KEY=VALUE", help="Only nodes with this label; may be repeated."
)
@click.option(
    "--toleration", multiple=True, metavar="KEY[=VALUE][:EFFECT]", help="Tolerate this taint too; may be repeated."
)
@click.option(
    "--secret", default="hpcaccept-ssh", show_default=True, metavar="NAME", help="Secret with the pods' ssh key."
)
@click.option("--service-account", default="", metavar="NAME", help="Service account; its token is not mounted.")
@click.option("--image-pull-secret", multiple=True, metavar="NAME", help="Secret for the registry; may be repeated.")
@click.option(
    "--run-as", type=int, default=10001, show_default=True, metavar="UID", help="User, known to the image; 0 is root."
)
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=86400,
    show_default=True,
    metavar="S",
    help="Seconds a finished Job is kept.",
)
@click.option("--kube-version", default="1.34", show_default=True, metavar="1.N", help="Of the cluster: 1.25 to 1.37.")
@_PODS_TIMEOUT
def render(log: bool, skip: tuple[str, ...], changes: tuple[str, ...], search: bool, **asked: Any) -> int:
    """Print the manifests of a test; nothing is sent anywhere.

    One node is a Job whose pod exits with the verdict. Several are an Indexed Job and a Service: index 0 exits with the verdict of
    the run, every other index with that of its node. Settings files of this machine are not in the pods, and play no part.

    \b
    Examples:
      hpcaccept k8s render --image REG/hpcaccept@sha256:… --gpus-per-node 8 --log | kubectl apply -f -
      hpcaccept k8s render --image REG/hpcaccept@sha256:… --gpus-per-node 8 --nodes 4 --pvc runs > test.yaml
    """
    from hpcaccept.app.kubernetes.manifest import render as text
    from hpcaccept.app.kubernetes.render_options import asked_of

    if log == bool(asked["pvc"]):
        raise UsageError("Where is the run to be kept?", "On a claim (--pvc NAME), or one node in its log (--log).")
    click.echo(text(asked_of(asked, skip, changes, suite_options(skip, changes, search), search)), nl=False)
    return 0


@k8s.command()
@runs_dir_option
def collect(**options: Any) -> int:
    """Turn the log of a pod (standard input) back into a run folder.

    \b
    Example:
      kubectl logs job/hpcaccept | hpcaccept k8s collect && hpcaccept report
    """
    from hpcaccept.app.kubernetes.log import from_log
    from hpcaccept.cli.options import paths

    with os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8", errors="replace") as lines:
        folder = from_log(lines, paths(**options)[0])
    click.echo(f"{folder.path}\nJudge it again with: hpcaccept report {folder.run_id}")
    return 0


@k8s.command(hidden=True)
@click.option("-N", "--nodes", type=int, default=1)
@click.option("--job", default="")
@click.option("--log", is_flag=True)
@_what_is_tested
@runs_dir_option
@_PODS_TIMEOUT
@click.option("--key", type=click.Path(path_type=Path))
def pod(nodes: int, job: str, log: bool, pods_timeout: float, key: Path | None, **options: Any) -> int:
    """Inside a pod of a rendered Job: test this node, or all of them together."""
    from hpcaccept import launch
    from hpcaccept.app.kubernetes import pod as pods
    from hpcaccept.cli.options import paths

    if nodes == 1:
        folder, code = _test(
            {**options, "nodelist": os.environ.get("NODE_NAME"), "launcher": launch.providing("one machine")[0]}
        )
        if log and not _to_log(folder):
            code = code or 3
        return code
    me = pods.pod_of(os.environ, job, nodes, paths(runs_dir=options["runs_dir"])[0])
    with (
        tempfile.TemporaryDirectory(prefix="hpcaccept-pod-") as place,
        pods.open_door(me, Path(place), key or pods.KEY),
    ):
        if me.index:
            code, why = pods.await_verdict(me, pods_timeout)
            click.echo(f"{me.node}: exit code {code}\n{why}")
            return code
        with pods.alive(me):
            return _test_all(me, Path(place), options, pods_timeout)


def _test_all(me: Any, place: Path, options: dict[str, Any], pods_timeout: float) -> int:
    """Index 0: wait for the others, test all nodes, tell each its verdict; gives that of the run."""
    from hpcaccept import launch
    from hpcaccept.app.kubernetes import pod as pods

    names, report, why = (
        {index: me.host(index) for index in range(me.nodes)},
        {},
        "index 0 was ended before it could judge",
    )
    try:
        names = pods.gather(me, pods_timeout)
        for index, name in names.items():
            if name == me.host(index):
                label = f"batch.kubernetes.io/job-completion-index={index},app.kubernetes.io/instance={me.job}"
                click.echo(f"Index {index} did not come within {pods_timeout:g} s: kubectl describe pod -l {label}")
        os.environ.update(pods.door_to(me, place, names))
        folder, code = _test({**options, "nodelist": ",".join(names.values()), "launcher": launch.providing("ssh")[0]})
        report = loads(read_text(folder.report_file))
    except (HpcacceptError, OSError, ValueError) as fault:
        why = f"the run could not be made: {fault}"
        raise
    finally:
        pods.tell(me, names, report, why)
    for index, name in names.items():
        click.echo(f"index {index}  {name}  exit code {pods.code_of(report, name) if index else code}")
    return code


def _test(asked: dict[str, Any]) -> tuple[RunFolder, int]:
    """What ``submit`` does; gives the run beside its exit code."""
    from hpcaccept.app.run.submit import plan_run, start
    from hpcaccept.cli.watching import wait_and_conclude
    from hpcaccept.config.settings import load_settings
    from hpcaccept.report.formats import DEFAULT

    changes = suite_options(asked.pop("skip"), asked.pop("changes"), asked.pop("search"))
    layered = load_settings(asked, suite_options=changes)
    plan, folder = plan_run(layered.settings, layered.overrides)
    job = start(plan, folder, layered.settings)
    return folder, wait_and_conclude(folder, job, layered.settings, DEFAULT)


def _to_log(folder: RunFolder) -> bool:
    """The run, and after it what is the matter: Kubernetes shows the end of a log as the reason of a failure.

    False when it is too large: its records go with the pod, so that nothing could be shown of a pass.
    """
    from hpcaccept.app.kubernetes.log import to_log
    from hpcaccept.app.kubernetes.pod import rank_logs_of
    from hpcaccept.report.printable import safe

    fits = True
    try:
        for line in to_log(folder):
            click.echo(line)
    except RunError as fault:
        fits = False
        click.echo(str(fault))
    words = rank_logs_of(loads(read_text(folder.report_file)))
    click.echo("\n".join(safe(line) for line in words.splitlines()) or "nothing is wrong")
    return fits
