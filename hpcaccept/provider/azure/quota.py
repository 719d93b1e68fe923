"""Whether a size exists, and the quota suffices. What is missing is reported with the exact request to make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcaccept.provider.azure.config import Cluster

SPOT = "lowPriorityCores"
REGION = "cores"


@dataclass(frozen=True)
class Offer:
    """A size in one region, as Azure describes it.

    Attributes:
        family: name of its quota.
        vcpus: of one VM.
        zones: that have it; empty in a region without zones.
    """

    family: str
    vcpus: int
    zones: tuple[str, ...]


@dataclass(frozen=True)
class Shortfall:
    """One quota that is too small.

    Attributes:
        name: Azure's.
        location: region.
        used: vCPUs in use.
        limit: of today.
        needed: vCPUs more.
        why: how that comes about (``2 x 96``).
    """

    name: str
    location: str
    used: int
    limit: int
    needed: int
    why: str

    def __str__(self) -> str:
        return (
            f"quota {self.name} in {self.location}: {self.limit} vCPUs, {self.used} in use, {self.needed} more needed "
            f"({self.why}); ask for a limit of {self.used + self.needed}"
        )

    def request(self, subscription: str) -> str:
        """The command that asks Azure for it: https://learn.microsoft.com/cli/azure/quota."""
        kind = "lowPriority" if self.name == SPOT else "dedicated"
        return (
            f"az quota update --resource-name {self.name} --resource-type {kind} --limit-object value={self.used + self.needed} "
            f"--scope /subscriptions/{subscription}/providers/Microsoft.Compute/locations/{self.location}"
        )


class NotOffered(RunError):
    """The size cannot be had here."""


def offer_of(skus: Iterable[Mapping[str, Any]], cluster: Cluster) -> Offer:
    """The offer of the cluster's size in its region.

    Args:
        skus: ``value`` of the sizes of the region.
        cluster: what is wanted.

    Raises:
        NotOffered: the region lacks the size, the subscription may not use it, or the zone has none.
    """
    found = next(
        (
            sku
            for sku in skus
            if sku.get("resourceType") == "virtualMachines" and str(sku.get("name", "")).lower() == cluster.size.lower()
        ),
        None,
    )
    if found is None:
        raise NotOffered(
            f"{cluster.location} does not offer {cluster.size}.",
            f"Regions that do: az vm list-skus --size {cluster.size} --query '[].locations[0]' --output tsv",
        )
    capabilities = {str(c.get("name")): str(c.get("value")) for c in found.get("capabilities", ())}
    zones = tuple(sorted({str(zone) for info in found.get("locationInfo", ()) for zone in info.get("zones", ())}))
    closed = _closed_zones(found, cluster)
    offer = Offer(
        str(found.get("family", "")), _whole(capabilities.get("vCPUs", "")), tuple(z for z in zones if z not in closed)
    )
    if cluster.zone and cluster.zone not in offer.zones:
        open_zones = ", ".join(offer.zones) or "none"
        raise NotOffered(
            f"Zone {cluster.zone} of {cluster.location} does not offer {cluster.size}; zones that do: {open_zones}."
        )
    if cluster.spot.enabled and capabilities.get("LowPriorityCapable", "True") == "False":
        raise NotOffered(f"{cluster.size} cannot be had as spot.", "Set spot.enabled = false.")
    return offer


def _closed_zones(sku: Mapping[str, Any], cluster: Cluster) -> set[str]:
    """Zones closed to this subscription. Raises NotOffered where the whole region is."""
    closed: set[str] = set()
    for restriction in sku.get("restrictions", ()):
        if restriction.get("type") == "Location":
            raise NotOffered(
                f"The subscription may not use {cluster.size} in {cluster.location} ({restriction.get('reasonCode', '')}).",
                "Ask for it: Azure portal, Help + support, Service and subscription limits (quotas), Compute-VM: "
                f"region {cluster.location}, size {cluster.size}.",
            )
        closed |= {str(zone) for zone in (restriction.get("restrictionInfo") or {}).get("zones", ())}
    return closed


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def shortfalls(
    usages: Iterable[Mapping[str, Any]], offer: Offer, cluster: Cluster, running: int = 0
) -> tuple[Shortfall, ...]:
    """Each quota that is too small; empty when all suffice.

    Args:
        usages: ``value`` of the usages of the region.
        offer: of the size.
        cluster: what is wanted.
        running: VMs of this cluster that are counted in the usages already.
    """
    needed = offer.vcpus * max(0, cluster.nodes - running)
    limits = {
        str((usage.get("name") or {}).get("value", "")).lower(): (int(usage["currentValue"]), int(usage["limit"]))
        for usage in usages
    }
    names = (SPOT,) if cluster.spot.enabled else (offer.family, REGION)
    found = []
    for name in names:
        used, limit = limits.get(name.lower(), (0, 0))
        if used + needed > limit:
            why = f"{max(0, cluster.nodes - running)} x {offer.vcpus}"
            found.append(Shortfall(name, cluster.location, used, limit, needed, why))
    return tuple(found)
