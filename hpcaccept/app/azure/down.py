"""Removes a cluster and nothing else: what carries its tag, verified by listing afterwards."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.app.azure import session as sessions
from hpcaccept.errors import HpcacceptError, RunError
from hpcaccept.provider.azure import requests, tags
from hpcaccept.provider.azure.tags import Mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from hpcaccept.app.azure.session import Session

#: Deleting a scale set of GPU nodes takes minutes; a block waits until it is empty.
DELETE_S = 3600.0
#: What uses the next ones goes first.
_ORDER = (
    "microsoft.insights/autoscalesettings",
    "microsoft.compute/virtualmachinescalesets",
    "microsoft.compute/virtualmachines",
    "microsoft.network/networkinterfaces",
    "microsoft.compute/disks",
    "microsoft.compute/interconnectblocks",
    "microsoft.network/interconnectgroups",
    "microsoft.network/loadbalancers",
    "microsoft.network/virtualnetworks",
    "microsoft.network/natgateways",
    "microsoft.network/publicipaddresses",
    "microsoft.network/networksecuritygroups",
)
_MADE_WITH_A_VM = ("microsoft.compute/disks", "microsoft.network/networkinterfaces")


@dataclass(frozen=True)
class Expired:
    """A resource group whose time is over.

    Attributes:
        name: of the group.
        mark: what its tags say.
    """

    name: str
    mark: Mark


def take_down(
    session: Session, group_name: str, run: str, say: Callable[[str], None], delete_s: float = DELETE_S
) -> bool:
    """Remove a cluster; after return a listing has shown that nothing of it is left.

    Args:
        session: whose subscription.
        group_name: its resource group.
        run: value of its tag.
        say: is told each step.
        delete_s: deadline.

    Returns:
        False where there was nothing.

    Raises:
        RunError: the group is not the cluster's, or something is left; the message names it.
        LaunchError: Azure gave no usable answer: what is left is not known, and ``say`` was told what may be.
    """
    with _told_what_may_stay(say, group_name, run):
        return _taken_down(session, requests.Group(session.subscription, group_name), run, say, delete_s)


@contextlib.contextmanager
def _told_what_may_stay(say: Callable[[str], None], group_name: str, run: str) -> Iterator[None]:
    """Only a listing ends the bill: whoever leaves without one is told where to look."""
    try:
        yield
    except (HpcacceptError, KeyboardInterrupt):
        say(
            f"It is not shown that {run} is gone: the resource group {group_name}, and what carries the tag {tags.RUN} = {run}, "
            "may still be there and be billed. Run down again, and see: hpcaccept azure status"
        )
        raise


def _taken_down(session: Session, group: requests.Group, run: str, say: Callable[[str], None], delete_s: float) -> bool:
    group_name = group.name
    found = session.find(group.read())
    if found is None:
        _verify(session, run)
        return False
    mark = tags.mark_of(found.get("tags"))
    if mark is None or mark.run != run:
        raise RunError(
            f"The resource group {group_name} does not carry {tags.RUN} = {run}: nothing in it was deleted.",
            f"hpcaccept did not make it. See its tags: az group show --name {group_name}",
        )
    inside = session.every(group.resources())
    foreign = _foreign(session, inside, run)
    if foreign:
        _only_ours(session, inside, foreign, say, delete_s)
        _leave_group(session, group, found)
        say(f"the resource group {group_name} stays: {', '.join(sorted(foreign.values()))} is not of this cluster")
    else:
        say(f"deleting the resource group {group_name}: {len(inside)} resources")
        session.finish(group.delete(), delete_s)
        if session.find(group.read()) is not None:
            raise RunError(
                f"The resource group {group_name} is still there.", "Run down again, and see: hpcaccept azure status"
            )
    _verify(session, run)
    return True


def _verify(session: Session, run: str) -> None:
    left = session.every(requests.tagged_resources(session.subscription, run))
    if left:
        names = ", ".join(str(each.get("id")) for each in left[:10])
        raise RunError(
            f"{len(left)} resources of {run} are left and may be billed: {names}.",
            "Run down again, or az resource delete --ids ID",
        )


def _foreign(session: Session, inside: Iterable[Mapping[str, Any]], run: str) -> dict[str, str]:
    """Resources that are not the cluster's: id → type and name. Disks and network cards that Azure made with its VMs are."""
    ours = {_identity(each).lower() for each in inside if _is_ours(each, run)}
    foreign = {}
    for each in inside:
        identity = _identity(each)
        if identity.lower() in ours:
            continue
        owner = str(each.get("managedBy", "")).lower()
        if not owner and str(each.get("type", "")).lower() == "microsoft.network/networkinterfaces":
            card = session.find(requests.network_card(identity)) or {}
            owner = str(((card.get("properties") or {}).get("virtualMachine") or {}).get("id", "")).lower()
        if str(each.get("type", "")).lower() not in _MADE_WITH_A_VM or not _within(owner, ours):
            foreign[identity] = f"{each.get('type')} {each.get('name')}"
    return foreign


def _identity(resource: Mapping[str, Any]) -> str:
    """Raises RunError for a resource without an id: whose it is, and whether it is billed, is not known."""
    found = resource.get("id")
    if not isinstance(found, str) or not found:
        raise RunError(f"Azure lists a resource without an id: {str(resource.get('name'))[:80]!r}.", "Run down again.")
    return found


def _within(identity: str, ours: set[str]) -> bool:
    return any(identity == each or identity.startswith(f"{each}/") for each in ours)


def _is_ours(resource: Mapping[str, Any], run: str) -> bool:
    mark = tags.mark_of(resource.get("tags"))
    return mark is not None and mark.run == run


def _only_ours(
    session: Session,
    inside: Iterable[Mapping[str, Any]],
    foreign: Mapping[str, str],
    say: Callable[[str], None],
    delete_s: float,
) -> None:
    """One after the other, users before what they use."""
    ours = [each for each in inside if _identity(each) not in foreign]
    for each in sorted(ours, key=lambda one: _place(str(one.get("type", "")))):
        request = requests.delete_resource(_identity(each), str(each.get("type", "")))
        if request and session.find(requests.Request("GET", request.path, request.query)) is not None:
            say(f"deleting {each.get('type')} {each.get('name')}")
            session.finish(request, delete_s)


def _place(kind: str) -> int:
    return _ORDER.index(kind.lower()) if kind.lower() in _ORDER else len(_ORDER)


def _leave_group(session: Session, group: requests.Group, found: Mapping[str, Any]) -> None:
    """A group with others' things is no longer marked as ours: nobody reaps it."""
    kept = {
        key: value for key, value in (found.get("tags") or {}).items() if not str(key).lower().startswith("hpcaccept-")
    }
    session.send(group.write(str(found.get("location", "")), kept))


def expired(session: Session) -> tuple[Expired, ...]:
    """Resource groups of this subscription that hpcaccept made and whose time is over. One without a readable expiry is never among them."""
    found = []
    for group in session.every(requests.groups(session.subscription)):
        mark = tags.mark_of(group.get("tags"))
        if mark and mark.expires and mark.expires <= sessions.now():
            found.append(Expired(str(group.get("name", "")), mark))
    return tuple(found)


def reap(session: Session, found: Iterable[Expired], say: Callable[[str], None]) -> dict[str, str]:
    """Remove expired clusters; one that cannot be removed does not keep the others. Gives those: group → reason."""
    failed = {}
    for each in found:
        say(f"{each.name}: {each.mark.run} of {each.mark.owner or 'nobody named'} has expired")
        try:
            take_down(session, each.name, each.mark.run, say)
        except HpcacceptError as fault:
            failed[each.name] = fault.message
    return failed
