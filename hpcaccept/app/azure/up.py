"""Brings a cluster up. Each step looks first whether it is done, so that a killed ``up`` is simply started again.

Nothing is billed before the deployment begins. From the first request on the resource group carries name and expiry, so that ``status`` finds
it, ``down`` removes it and ``reap`` would, whatever becomes of this process.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.app.azure import lookup
from hpcaccept.app.azure import session as sessions
from hpcaccept.app.azure.key_pair import public_key_of
from hpcaccept.app.azure.render import render_cluster
from hpcaccept.app.azure.session import AzureRefused
from hpcaccept.errors import HpcacceptError, RunError
from hpcaccept.provider.azure import requests, tags
from hpcaccept.provider.azure.template import digest
from hpcaccept.store.replaced_files import replace_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hpcaccept.app.azure.session import Session
    from hpcaccept.provider.azure.config import Cluster
    from hpcaccept.provider.azure.prices import Estimate
    from hpcaccept.provider.azure.tags import Mark

#: Of a deployment: Azure gives up on an allocation within about an hour.
DEPLOY_S = 3600.0
_GOING_ON = ("Accepted", "Running")


@dataclass(frozen=True)
class Up:
    """What there is after ``up``.

    Attributes:
        nodes: names of the VMs.
        expires: from when the cluster may be deleted.
        wrong_size: VM → size that the platform gave, where it is another than asked for.
    """

    nodes: tuple[str, ...]
    expires: dt.datetime
    wrong_size: dict[str, str]


def bring_up(
    session: Session,
    cluster: Cluster,
    folder: Path,
    *,
    max_hours: float,
    confirm: Callable[[Estimate, str], bool],
    say: Callable[[str], None],
    deploy_s: float = DEPLOY_S,
) -> Up:
    """Make the cluster, or finish what an earlier call has begun.

    Args:
        session: whose subscription.
        cluster: what is wanted.
        folder: for the key, the rendered files and the host files.
        max_hours: until the expiry; a cluster that is there already keeps the one it has.
        confirm: is shown the estimate and the expiry; False ends it.
        say: is told each step.
        deploy_s: deadline of the deployment.

    Raises:
        RunError: something is missing, or Azure refuses; what was made stays, and ``down`` removes it.
    """
    there = session.mark_of_group(cluster)
    expires = _expiry(there[1] if there else None, max_hours)
    hours = (expires - sessions.now()).total_seconds() / 3600
    found = lookup.look_up(session, cluster, round(hours, 2))
    say(f"subscription {found.subscription} ({session.subscription}), {cluster.location}, {cluster.size}")
    if not confirm(found.estimate, tags.written(expires)):
        raise RunError("Nothing was made: the estimate was not confirmed.")
    key = public_key_of(cluster, folder)
    rendered = render_cluster(cluster, key, owner=cluster.owner, expires=tags.written(expires))
    mark = tags.Mark(cluster.name, cluster.owner, expires, digest(rendered.template))
    _refuse_another(there[1] if there else None, mark, cluster)
    replace_files(rendered.files, folder)
    group = requests.Group(session.subscription, cluster.resource_group)
    with _told_what_stays(say):
        session.send(group.write(cluster.location, {**cluster.tags, **tags.tags_of(mark)}), cluster)
        say(f"resource group {cluster.resource_group}, expires {tags.written(expires)}")
        _deploy(session, cluster, group, group.deploy(rendered.template, rendered.parameters), say, deploy_s)
        return _came_up(session, cluster, expires)


@contextlib.contextmanager
def _told_what_stays(say: Callable[[str], None]) -> Iterator[None]:
    """Nobody leaves with something that is billed and does not know it."""
    try:
        yield
    except (HpcacceptError, KeyboardInterrupt):
        say("What was made stays and may be billed: up again finishes it, hpcaccept azure down removes it.")
        raise


def _expiry(mark: Mark | None, max_hours: float) -> dt.datetime:
    now = sessions.now().replace(microsecond=0)
    if mark is None or mark.expires is None:
        return now + dt.timedelta(hours=max_hours)
    if mark.expires <= now:
        raise RunError(
            f"The cluster {mark.run} expired at {tags.written(mark.expires)}.", "Remove it: hpcaccept azure down CONFIG"
        )
    return mark.expires


def _refuse_another(there: Mark | None, mark: Mark, cluster: Cluster) -> None:
    if there and there.template and there.template != mark.template:
        raise RunError(
            f"The resource group {cluster.resource_group} holds {there.run} of another configuration "
            f"(template {there.template}, expected {mark.template}).",
            "Remove it first (hpcaccept azure down CONFIG), or give this one another cluster.name.",
        )


def _deploy(
    session: Session,
    cluster: Cluster,
    group: requests.Group,
    deploy: requests.Request,
    say: Callable[[str], None],
    deploy_s: float,
) -> None:
    """Deploy, or wait for the deployment that an earlier call has begun, or nothing where it has succeeded."""
    state = _deployment_state(session, group)
    if state in _GOING_ON:
        # Azure refuses a second deployment of one name while the first one runs; it is waited for, and finished where it failed.
        say("waiting for the deployment that is under way")
        state = _wait_for(session, group, deploy_s)
    if state == "Succeeded" and len(lookup.running_nodes(session, cluster)) == cluster.nodes:
        say("the deployment is there already")
        return
    say(f"deploying {cluster.nodes} nodes")
    last = ""

    def beat(now: str) -> None:
        nonlocal last
        if now != last:
            say(f"deployment: {now}")
        last = now

    try:
        session.finish(deploy, deploy_s, beat, cluster)
    except AzureRefused as fault:
        # The answer to a request that was sent again because its first answer was lost.
        if fault.code != "DeploymentActive":
            raise
        _wait_for(session, group, deploy_s)
        _succeeded(session, group, cluster)


def _succeeded(session: Session, group: requests.Group, cluster: Cluster) -> None:
    """Raises AzureRefused, with Azure's reasons, for a deployment that did not succeed."""
    properties = (session.find(group.deployment()) or {}).get("properties") or {}
    if properties.get("provisioningState") != "Succeeded":
        raise AzureRefused("The deployment failed", properties.get("error") or {}, cluster)


def _deployment_state(session: Session, group: requests.Group) -> str:
    found = session.find(group.deployment())
    return str(((found or {}).get("properties") or {}).get("provisioningState", ""))


def _wait_for(session: Session, group: requests.Group, deploy_s: float) -> str:
    """Wait until a deployment has ended; gives its state."""
    until = sessions.now() + dt.timedelta(seconds=deploy_s)
    while (state := _deployment_state(session, group)) in _GOING_ON:
        if sessions.now() > until:
            raise RunError(f"The deployment has not ended within {deploy_s:g} s.", "See: hpcaccept azure status")
        session.pause()
    return state


def _came_up(session: Session, cluster: Cluster, expires: dt.datetime) -> Up:
    """Compare what there is with what was asked for: "Succeeded" proves neither number nor size."""
    instances = lookup.running_nodes(session, cluster)
    if len(instances) != cluster.nodes:
        raise RunError(
            f"The scale set {cluster.name} has {len(instances)} VMs, expected {cluster.nodes}.",
            "Run up again; if it stays so: hpcaccept azure down CONFIG",
        )
    sizes = {str(vm.get("name")): _size_of(vm) for vm in instances}
    wrong = {name: size for name, size in sizes.items() if size.lower() != cluster.size.lower()}
    return Up(tuple(sizes), expires, wrong)


def _size_of(vm: dict[str, object]) -> str:
    """What the platform gave: an automatic migration policy may put VMs of another size into a set."""
    properties = vm.get("properties")
    profile = properties.get("hardwareProfile") if isinstance(properties, dict) else None
    if isinstance(profile, dict) and profile.get("vmSize"):
        return str(profile["vmSize"])
    sku = vm.get("sku")
    return str(sku.get("name", "")) if isinstance(sku, dict) else ""
