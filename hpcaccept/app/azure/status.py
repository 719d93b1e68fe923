"""Shows which clusters of hpcaccept exist and how long each may stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.app.azure import session as sessions
from hpcaccept.errors import HpcacceptError
from hpcaccept.provider.azure import requests, tags
from hpcaccept.provider.azure.tags import Mark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcaccept.app.azure.session import Session

_SCALE_SET = "microsoft.compute/virtualmachinescalesets"


@dataclass(frozen=True)
class Standing:
    """One resource group that hpcaccept made.

    Attributes:
        group: its name.
        mark: what its tags say.
        state: of the group (``Deleting``) or of the deployment (``Running``, ``Succeeded``, ``Failed``); ``no deployment`` before there is one.
        resources: how many are in it; each may be billed.
        nodes: capacity of its scale sets.
        unread: why its state is not known; empty where it is.
    """

    group: str
    mark: Mark
    state: str
    resources: int
    nodes: int
    unread: str = ""

    @property
    def expired(self) -> bool:
        """True from the expiry on, and where the tag cannot be read."""
        return self.mark.expires is None or self.mark.expires <= sessions.now()


def standings(session: Session) -> tuple[Standing, ...]:
    """Every cluster of the subscription, whatever became of the client that made it."""
    found = []
    for group in session.every(requests.groups(session.subscription)):
        mark = tags.mark_of(group.get("tags"))
        if mark:
            try:
                found.append(_standing(session, group, mark))
            except HpcacceptError as fault:  # one that cannot be read does not hide the others
                found.append(Standing(str(group.get("name", "")), mark, "unknown", 0, 0, fault.message))
    return tuple(sorted(found, key=lambda each: each.group))


def _standing(session: Session, group: Mapping[str, Any], mark: Mark) -> Standing:
    name = str(group.get("name", ""))
    asked = requests.Group(session.subscription, name)
    state = str((group.get("properties") or {}).get("provisioningState", ""))
    if state == "Succeeded":
        deployment = session.find(asked.deployment())
        state = str(((deployment or {}).get("properties") or {}).get("provisioningState", "no deployment"))
    inside = session.every(asked.resources())
    capacities = [
        (each.get("sku") or {}).get("capacity") for each in inside if str(each.get("type", "")).lower() == _SCALE_SET
    ]
    nodes = sum(count for count in capacities if isinstance(count, int))
    return Standing(name, mark, state, len(inside), nodes)


def line_of(standing: Standing) -> str:
    """One line for people."""
    until = tags.written(standing.mark.expires) if standing.mark.expires else "no readable expiry"
    late = " EXPIRED" if standing.expired else ""
    if standing.unread:
        return (
            f"{standing.group}  {standing.mark.run}  its resources could not be listed and may be billed  until {until}{late}  "
            f"{standing.mark.owner}  {standing.unread}"
        )
    return (
        f"{standing.group}  {standing.mark.run}  {standing.state}  {standing.nodes} nodes, {standing.resources} resources  "
        f"until {until}{late}  {standing.mark.owner}"
    ).rstrip()
