"""Turns settings and a suite into a plan."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import checks, container
from hpcaccept.config.private_variables import names_in
from hpcaccept.errors import UsageError
from hpcaccept.model.plan import MOST_NODES, MOST_RANKS, Image, Plan, Request
from hpcaccept.plan.node_names import handed_on, nodes_named
from hpcaccept.units import parse_slurm_time

if TYPE_CHECKING:
    from hpcaccept.config.settings import Settings
    from hpcaccept.model.suite import Suite


def request_of(settings: Settings, gpus_per_node: int) -> Request:
    """What is asked for.

    Raises:
        UsageError: a number that cannot be, or names that do not fit it.
    """
    nodes = settings.nodes
    only = nodes_named(settings.nodelist, "--nodelist") if settings.nodelist else ""
    if only:
        if settings.nodes not in (1, len(only)):
            raise UsageError(f"--nodes is {settings.nodes}, --nodelist names {len(only)} nodes.", "Leave --nodes out.")
        nodes = len(only)
    for name, value, least, most in (
        ("--nodes", nodes, 1, MOST_NODES),
        ("--ranks-per-node", settings.ranks_per_node, 0, MOST_RANKS),
        ("--gpus-per-node", gpus_per_node, -1, MOST_RANKS),
    ):
        if not least <= value <= most:
            raise UsageError(f"{name} is {_short(value)}, expected {max(0, least):,} to {most:,}.")
    ranks = settings.ranks_per_node or max(1, gpus_per_node)
    if gpus_per_node and ranks != gpus_per_node:
        raise UsageError(f"--ranks-per-node is {ranks} with {gpus_per_node} GPUs per node: each GPU needs one rank.")
    try:
        time_s = parse_slurm_time(settings.time) if settings.time else 0.0
    except ValueError as fault:
        raise UsageError(f"--time: {fault}.") from None
    return Request(
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        ranks_per_node=ranks,
        nodelist=handed_on(settings.nodelist, "--nodelist"),
        exclude=handed_on(settings.exclude, "--exclude"),
        partition=settings.partition,
        account=settings.account,
        time_s=time_s,
        slurm=settings.slurm,
        gpu_type=settings.gpu_type if gpus_per_node else "",
        mpi="pmix" if settings.mpi == "auto" else settings.mpi,
        keep_variables=names_in(settings.keep_variables),
    )


def _short(number: int) -> str:
    return f"{number:,}" if number < 10**15 else f"a number of {int(math.log10(number)) + 1} digits"


def image_of(settings: Settings, python: str, runtime: str = "pyxis") -> Image:
    """How the ranks enter an image.

    Args:
        settings: what was asked for.
        python: the interpreter of this machine, for ranks without a container.
        runtime: what enters images where the settings name nothing.

    Raises:
        UsageError: a mount of another form, or an image that the runtime cannot enter.
    """
    if not settings.container_image:
        if settings.container_mounts:
            raise UsageError("--container-mounts needs --container-image.")
        return Image(python=settings.python or python)
    runtime = runtime if settings.container_runtime == "auto" else settings.container_runtime
    mounts = tuple(part for part in settings.container_mounts.split(",") if part)
    for mount in mounts:
        if ":" not in mount:
            raise UsageError(f"--container-mounts: found {mount!r}, expected SRC:DST or SRC:DST:FLAGS.")
    # Ranks read their step from the runs folder and leave their records there, inside as outside.
    runs = str(Path(settings.runs_dir).absolute())
    image = Image(
        runtime,
        settings.container_image,
        (f"{runs}:{runs}", *mounts),
        settings.python or "python3",
        env=settings.container_env,
        workdir=settings.container_workdir,
        writable=settings.container_writable,
        entrypoint=settings.container_entrypoint,
    )
    unfit = container.load(runtime).unfit(image)
    if unfit:
        raise UsageError(f"--container-image: {unfit}.")
    return image


def make_plan(
    settings: Settings,
    suite: Suite,
    request: Request,
    image: Image,
    *,
    launcher: str,
    run_id: str,
    now: str,
    version: str,
    commit: str,
) -> Plan:
    """The plan of one run. Everything that is not in the arguments does not matter to it."""
    if image.reference:
        image = replace(image, name=f"hpcaccept-{run_id}")
    suite = _fitting(suite, request)
    return Plan(
        run_id=run_id,
        created_at=now,
        version=version,
        commit=commit,
        launcher=launcher,
        request=request,
        suite=suite,
        image=image,
        start_deadline_s=settings.start_timeout_s,
    )


def _fitting(suite: Suite, request: Request) -> Suite:
    """The suite for this request: what needs several ranks or GPUs that were not asked for is shown, and not required."""

    def can(name: str) -> bool:
        kind = checks.load(name)
        alone = request.nodes * request.ranks_per_node == 1
        return not (kind.scope == "world" and alone) and not (kind.needs_gpu and not request.gpus_per_node)

    return replace(suite, checks=tuple(replace(s, required=s.required and can(s.name)) for s in suite.checks))
