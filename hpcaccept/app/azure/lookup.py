"""Finds out whether a cluster can be had and what it costs, before anything is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import RunError
from hpcaccept.provider.azure import networks, prices, quota, requests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.app.azure.session import Session
    from hpcaccept.provider.azure.config import Cluster


@dataclass(frozen=True)
class Lookup:
    """What Azure said.

    Attributes:
        offer: of the size in the region.
        estimate: of the cost until the expiry.
        subscription: its display name.
    """

    offer: quota.Offer
    estimate: prices.Estimate
    subscription: str


def look_up(session: Session, cluster: Cluster, hours: float) -> Lookup:
    """Look up subscription, size, zone, quota, image and price.

    Args:
        session: to ask.
        cluster: what is wanted.
        hours: until the expiry.

    Raises:
        RunError: something is missing; the message says what, and how to ask for it. All missing quotas are told at once.
    """
    named = session.find(requests.subscription(session.subscription))
    if named is None:
        raise RunError(
            f"There is no subscription {session.subscription} that you may read.",
            "List yours: az account list --output table",
        )
    offer = quota.offer_of(session.every(requests.sizes(session.subscription, cluster.location)), cluster)
    running = len(running_nodes(session, cluster))
    usages = session.every(requests.usages(session.subscription, cluster.location))
    if missing := quota.shortfalls(usages, offer, cluster, running):
        asked = "; ".join(each.request(session.subscription) for each in missing)
        raise RunError(
            f"Too little {'; '.join(map(str, missing))}.",
            f"Ask for it: {asked} (az extension add --name quota); or https://portal.azure.com, Quotas, Compute.",
        )
    _image(session, cluster)
    if cluster.network.existing_subnet:
        _subnet(session, cluster)
    if cluster.capacity_reservation:
        _named(session, cluster.capacity_reservation, "cluster.capacity_reservation")
    price = prices.price_of(session.price_items(cluster), cluster)
    return Lookup(offer, prices.Estimate(price, cluster.nodes, hours), str(named.get("displayName", "")))


def running_nodes(session: Session, cluster: Cluster) -> list[dict[str, object]]:
    """VMs of the cluster that there are; empty where there is no scale set."""
    nodes = requests.Nodes(session.subscription, cluster)
    if session.find(nodes.scale_set()) is None:
        return []
    return [each for each in session.every(nodes.instances()) if nodes.belongs(each)]


def _subnet(session: Session, cluster: Cluster) -> None:
    """Raises RunError for a subnet of another region, that is too small, or whose network overlaps the RDMA network."""
    key = "network.existing_subnet"
    subnet = _named(session, cluster.network.existing_subnet, key)
    network = _named(session, cluster.network.existing_subnet.partition("/subnets/")[0], key)
    place = str(network.get("location", ""))
    if place != cluster.location:
        raise RunError(
            f"{key} lies in {place or 'an unknown region'}, expected {cluster.location}.",
            "A scale set and its network are in one region.",
        )
    spaces = (network.get("properties") or {}).get("addressSpace", {}).get("addressPrefixes", ())
    own = subnet.get("properties") or {}
    prefixes = own.get("addressPrefixes") or [own.get("addressPrefix", "")]
    own_ranges, outer = _ipv4(prefixes, key), _ipv4(spaces, key)
    for each in (*outer, *own_ranges):
        networks.refuse_rdma(each, key)
    free = sum(each.num_addresses - networks.RESERVED_ADDRESSES for each in own_ranges)
    if free < cluster.nodes:
        raise RunError(f"{key} has {max(0, free)} usable addresses, expected at least {cluster.nodes}.")


def _ipv4(texts: Iterable[object], key: str) -> list[networks.Network]:
    return [networks.network(str(each), key) for each in texts if ":" not in str(each)]


def _named(session: Session, identity: str, key: str) -> dict[str, Any]:
    found = session.find(requests.existing(identity))
    if not isinstance(found, dict):
        raise RunError(f"{key}: there is no {identity} that you may read.", f"az resource show --ids {identity}")
    return found


def _image(session: Session, cluster: Cluster) -> None:
    found = session.find(requests.image(session.subscription, cluster))
    if not found:
        where = "" if cluster.image.startswith("/") else f" in {cluster.location}"
        raise RunError(
            f"cluster.image: there is no image {cluster.image}{where}.",
            "List those there are: az vm image list --all --location LOCATION --publisher PUBLISHER --offer OFFER",
        )
