"""Starts a group of a round: a step of the job's launcher for a check, or the site's own command with the names of the nodes in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept import launch
from hpcaccept.launch.job.environment import of_ranks, on_nodes
from hpcaccept.model.isolation import GroupTest
from hpcaccept.model.plan import Step
from hpcaccept.transport.side_by_side import Launch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.model.isolation_order import IsolationOrder
    from hpcaccept.model.plan import Plan
    from hpcaccept.store.folder import RunFolder

#: What may stand in a site's command; one of the first three has to.
PLACES = ("{nodes}", "{nodelist}", "{hostfile}", "{count}", "{test}")


@dataclass(frozen=True)
class Group:
    """A test of a round, and what starts it.

    Attributes:
        test: that is run.
        step: its number, nodes in the order in which the launcher places ranks.
        launch: the command.
    """

    test: GroupTest
    step: Step
    launch: Launch


def group_of(
    plan: Plan, folder: RunFolder, order: IsolationOrder, test: GroupTest, number: int, environ: Mapping[str, str]
) -> Group:
    """The group of a test; its files are written, and nothing is started.

    Args:
        plan: of the job.
        folder: of the isolation.
        order: what is run.
        test: whose nodes are in the order of the job.
        number: of the step.
        environ: of the driver.
    """
    traits = launch.load(plan.launcher).TRAITS
    step = replace(plan.first_step(test.nodes, virtual=traits.virtual), id=f"{number:02d}")
    out, err = (folder.logs / f"step-{step.id}.{end}" for end in ("out", "err"))
    if order.check:
        step = replace(step, checks=tuple(spec for spec in step.checks if spec.name == order.check))
        folder.write_step(step)
        command = launch.load(plan.launcher).step_command(plan, step, folder)
        return Group(test, step, Launch(step.id, command, out, err, of_ranks(plan, environ)))
    place = folder.outputs(step.id)
    place.mkdir(parents=True, exist_ok=True)
    hosts = place / "hosts"
    if any("{hostfile}" in word for word in order.command):
        hosts.write_text("".join(f"{node}\n" for node in test.nodes))
    words = filled_in(order.command, test, str(hosts))
    return Group(test, step, Launch(step.id, words, out, err, on_nodes(plan, environ), place))


def filled_in(command: Sequence[str], test: GroupTest, hostfile: str) -> tuple[str, ...]:
    """The words of a command with the nodes of a test in them. No shell reads them."""
    from ClusterShell.NodeSet import NodeSet

    values = dict(zip(PLACES, (",".join(test.nodes), "", hostfile, str(len(test.nodes)), test.id), strict=True))
    if any("{nodelist}" in word for word in command):
        values["{nodelist}"] = str(NodeSet.fromlist(test.nodes))
    return tuple(_filled(word, values) for word in command)


def _filled(word: str, values: Mapping[str, str]) -> str:
    for place, value in values.items():
        word = word.replace(place, value)
    return word
