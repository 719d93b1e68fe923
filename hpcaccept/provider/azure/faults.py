"""What an error of Azure means, and what exactly to ask of whom.

Codes: https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors,
https://learn.microsoft.com/azure/virtual-machines/allocation-failure (November 2026).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcaccept.provider.azure.config import Cluster

#: They only say that something in them failed.
_ENVELOPES = frozenset(
    (
        "",
        "DeploymentFailed",
        "ResourceDeploymentFailure",
        "InvalidTemplateDeployment",
        "BadRequest",
        "Conflict",
        "Failed",
        "MultipleErrorsOccurred",
    )
)
_NO_CAPACITY = frozenset(
    [
        "AllocationFailed",
        "ZonalAllocationFailed",
        "OverconstrainedAllocationRequest",
        "OverconstrainedZonalAllocationRequest",
        "SkuNotAvailable",
    ]
)
_ACTION = re.compile(r"action '([\w./*]+)'")
_SCOPE = re.compile(r"scope '([^']+)'")
_MOST_DEEP = 12


def causes(error: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, str]]:
    """Code and sentence of the innermost errors."""
    details = error.get("details")
    inner = (
        [each for each in details if isinstance(each, dict)] if isinstance(details, list) and depth < _MOST_DEEP else []
    )
    for each in inner:
        yield from causes(each, depth + 1)
    code = str(error.get("code", ""))
    if not inner or code not in _ENVELOPES:
        nested = _embedded(str(error.get("message", ""))) if depth < _MOST_DEEP else None
        if nested:
            yield from causes(nested, depth + 1)
        else:
            yield code, " ".join(str(error.get("message", "")).split())


def _embedded(text: str) -> Mapping[str, Any] | None:
    """Deployments put the whole answer of a service as JSON into a message."""
    from hpcaccept.serial import loads

    if not text.lstrip().startswith("{"):
        return None
    try:
        found = loads(text)
    except ValueError:
        return None
    inner = found.get("error", found) if isinstance(found, dict) else None
    return inner if isinstance(inner, dict) else None


def explain(error: Mapping[str, Any], cluster: Cluster | None = None) -> tuple[str, str]:
    """What is the matter, and what to do.

    Args:
        error: Azure's error with its details.
        cluster: what was asked for, where there is one.
    """
    found = list(dict.fromkeys(causes(error)))
    said = "; ".join(f"{code}: {text}" if code else text for code, text in found) or "Azure gave no reason"
    remedies = dict.fromkeys(remedy for code, text in found if (remedy := _remedy(code, text, cluster)))
    return said, " ".join(remedies)


def _remedy(code: str, text: str, cluster: Cluster | None) -> str:
    size = cluster.size if cluster else "the size"
    where = cluster.location if cluster else "the region"
    if code in ("AuthorizationFailed", "LinkedAuthorizationFailed"):
        action, scope = _ACTION.search(text), _SCOPE.search(text)
        needed = action[1] if action else "the action"
        at = scope[1] if scope else "/subscriptions/SUBSCRIPTION"
        return f"Permission {needed} is missing. Ask for it: az role assignment create --assignee YOU --role Contributor --scope {at}"
    if code in ("QuotaExceeded", "OperationNotAllowed") and "quota" in text.lower():
        return (
            f"Ask for more quota of {size} in {where}: Azure portal, Quotas, Compute; or az quota update. "
            "The sentence above has the limit that is needed."
        )
    if code in _NO_CAPACITY:
        zone = f" zone {cluster.zone}," if cluster and cluster.zone else ""
        return (
            f"There is no capacity for {size} in {where},{zone} now: try another zone or region, fewer nodes, or a capacity reservation "
            "(cluster.capacity_reservation)."
        )
    if code == "MissingSubscriptionRegistration":
        provider = re.search(r"namespace '([\w.]+)'", text)
        return f"Register it once: az provider register --namespace {provider[1] if provider else 'Microsoft.Compute'}"
    if code in ("PlatformImageNotFound", "GalleryImageNotFound", "NotFound") and "image" in text.lower():
        return "Check cluster.image: az vm image list --all --publisher PUBLISHER --offer OFFER --location LOCATION"
    if code in ("ExpiredAuthenticationToken", "InvalidAuthenticationToken", "AuthenticationFailed"):
        return "Log in again: az login"
    if code in ("SubscriptionNotFound", "InvalidSubscriptionId"):
        return "See the subscriptions that you may use: az account list --output table"
    if code == "RequestDisallowedByPolicy":
        return "A policy of the subscription forbids it; the sentence above names it. Ask the subscription's owner."
    if code == "ScopeLocked":
        return "A lock forbids it. See who set it: az lock list; its owner removes it: az lock delete --ids ID"
    if code == "ResourceGroupBeingDeleted":
        return "It is being deleted: wait until hpcaccept azure status no longer lists it."
    if code == "InUseSubnetCannotBeDeleted":
        return "Something that this cluster did not make uses its network."
    return ""
