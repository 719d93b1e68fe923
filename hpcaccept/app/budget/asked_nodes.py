"""The nodes that ``--nodes all`` and ``--nodes idle`` mean: those of the partition that a job can have, or could have at once."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept import launch
from hpcaccept.app.campaign.choose import Terms, choose
from hpcaccept.config.settings import Settings
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.plan.node_names import nodes_named
from hpcaccept.report.phrases import folded

if TYPE_CHECKING:
    from hpcaccept.model.node import ClusterNow, NodeState

ALL, IDLE = "all", "idle"
#: Words of a node's state on which no job starts before somebody mends it. https://slurm.schedmd.com/sinfo.html (26.05)
_OUT = ("DOWN", "DRAIN", "FAIL", "ERROR", "INVAL", "UNKNOWN", "NOT_RESPONDING", "FUTURE", "MARK *")


@dataclass(frozen=True)
class AskedNodes:
    """What was asked for in one word, as names.

    Attributes:
        settings: with these nodes.
        left_out: node of the partition → why a job cannot have it.
    """

    settings: Settings
    left_out: dict[str, str]


def named_nodes(settings: Settings, which: str, within_s: float, launcher: str) -> AskedNodes:
    """Settings that name the nodes which a word means.

    Args:
        settings: of the run, its GPUs decided.
        which: ``all`` or ``idle``.
        within_s: seconds from now in which nobody else may need an idle node.
        launcher: that knows the nodes.

    Raises:
        UsageError: the launcher has nobody to ask, or nodes are named besides.
        LaunchError: the scheduler does not answer, or there is no such node.
    """
    option = f"--nodes {which}"
    if settings.nodelist:
        raise UsageError(f"{option} and --nodelist both name nodes.", "Leave one of them out.")
    now = launch.load(launcher).cluster_now(settings.partition)
    if now is None:
        raise UsageError(f"{option}: the launcher {launcher!r} knows of no nodes to choose from.", "Give a number.")
    exclude = frozenset(nodes_named(settings.exclude, "--exclude")) if settings.exclude else frozenset()
    names, left_out = (_all if which == ALL else _idle)(settings, now, exclude, within_s)
    if not names:
        some = "; ".join(f"{node} {why}" for node, why in list(left_out.items())[:4])
        raise LaunchError(f"{option}: a job can have no node of {now.partition}: {some}.", "See 'sinfo -N -l'.")
    mine = replace(settings, nodes=len(names), nodelist=folded(names), exclude="", partition=now.partition)
    return AskedNodes(mine, left_out)


_Found = tuple[list[str], dict[str, str]]


def _all(settings: Settings, now: ClusterNow, exclude: frozenset[str], _within_s: float) -> _Found:
    """Whatever could run a job, now or after others' jobs."""
    mine = [node for node in now.nodes if now.partition in node.partitions]
    left_out = {node.name: why for node in mine if (why := _why_not(settings, node, exclude))}
    return [node.name for node in mine if node.name not in left_out], left_out


def _why_not(settings: Settings, node: NodeState, exclude: frozenset[str]) -> str:
    """Empty for a node that could run a job."""
    if node.name in exclude:
        return "is excluded"
    if out := [flag for flag in node.flags if flag.startswith(_OUT)]:
        reason = f" ({node.out.why})" if node.out and node.out.why else ""
        return f"is {'+'.join(out).lower()}{reason}"
    has = node.count(settings.gpu_type)
    if has < settings.gpus_per_node:
        return f"has {has} of {settings.gpus_per_node} GPUs"
    return ""


def _idle(settings: Settings, now: ClusterNow, exclude: frozenset[str], within_s: float) -> _Found:
    """As a night takes them: what nobody uses, and nobody could want meanwhile."""
    at_s = time.time()
    terms = Terms(
        partition=now.partition,
        gpus=max(0, settings.gpus_per_node),
        now_s=at_s,
        until_s=at_s + within_s,
        cap=len(now.nodes),
        reservation=settings.slurm.get("reservation", ""),
        exclude=exclude,
        gpu_type=settings.gpu_type,
    )
    choice = choose(now.nodes, now.kept, {}, terms)
    return sorted(choice.nodes), {node: str(why) for node, why in choice.left_out.items()}
