"""The requests that are sent, and the API version of each. Paths and bodies only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpcaccept.provider.azure import tags
from hpcaccept.provider.azure.template import COMPUTE_API, NETWORK_API, resource_name

if TYPE_CHECKING:
    from hpcaccept.provider.azure.config import Cluster

#: Where each cloud is asked: https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure
ENDPOINTS = {
    "public": "https://management.azure.com",
    "usgov": "https://management.usgovcloudapi.net",
    "china": "https://management.chinacloudapi.cn",
}
PRICES = "https://prices.azure.com/api/retail/prices"
_RESOURCES_API = "2021-04-01"
_SUBSCRIPTIONS_API = "2022-12-01"
_DEPLOYMENTS_API = "2024-11-01"
_SKUS_API = "2021-07-01"
#: Network cards of a Uniform scale set are listed by this version of the API only.
_SCALE_SET_CARDS_API = "2018-10-01"
#: Instances are deleted without waiting for their operating system.
_FORCED = "Microsoft.Compute/virtualMachines,Microsoft.Compute/virtualMachineScaleSets"
DEPLOYMENT = "hpcaccept"


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        method: of HTTP.
        path: from ``/subscriptions`` on.
        query: ``api-version`` first.
        body: plain values; None for no body.
        harmless: True for one that may be sent twice; of POST only what reads.
        array: True for one that a bare JSON array answers.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    harmless: bool = True
    array: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _get(path: str, api: str, **more: str) -> Request:
    return Request("GET", path, {"api-version": api, **more})


def _post(path: str, api: str, body: Any = None, *, harmless: bool = False) -> Request:
    return Request("POST", path, {"api-version": api}, body, harmless)


def subscription(identity: str) -> Request:
    """Whether it exists and may be read."""
    return _get(f"/subscriptions/{identity}", _SUBSCRIPTIONS_API)


def groups(identity: str) -> Request:
    """Resource groups that hpcaccept made; a list."""
    return _get(f"/subscriptions/{identity}/resourcegroups", _RESOURCES_API, **{"$filter": f"tagName eq '{tags.RUN}'"})


def tagged_resources(identity: str, run: str) -> Request:
    """What carries the tag of a cluster anywhere in the subscription; a list."""
    wanted = f"tagName eq '{tags.RUN}' and tagValue eq '{run}'"
    return _get(f"/subscriptions/{identity}/resources", _RESOURCES_API, **{"$filter": wanted})


class Group:
    """Requests about one resource group."""

    def __init__(self, identity: str, name: str) -> None:
        self.name = name
        self.path = f"/subscriptions/{identity}/resourceGroups/{name}"

    def read(self) -> Request:
        """The group itself."""
        return _get(self.path, _RESOURCES_API)

    def write(self, location: str, found: Mapping[str, str]) -> Request:
        """Make it, or replace its tags."""
        return Request("PUT", self.path, {"api-version": _RESOURCES_API}, {"location": location, "tags": dict(found)})

    def delete(self) -> Request:
        """Delete it and all that is in it."""
        return Request("DELETE", self.path, {"api-version": _RESOURCES_API, "forceDeletionTypes": _FORCED})

    def resources(self) -> Request:
        """What is in it; a list."""
        return _get(f"{self.path}/resources", _RESOURCES_API)

    def deployment(self) -> Request:
        """How the deployment stands."""
        return _get(f"{self.path}/providers/Microsoft.Resources/deployments/{DEPLOYMENT}", _DEPLOYMENTS_API)

    def deploy(self, template: Mapping[str, Any], parameters: Mapping[str, Any]) -> Request:
        """Deploy incrementally: what is there already stays."""
        properties = {"mode": "Incremental", "template": template, "parameters": parameters["parameters"]}
        return Request(
            "PUT",
            f"{self.path}/providers/Microsoft.Resources/deployments/{DEPLOYMENT}",
            {"api-version": _DEPLOYMENTS_API},
            {"properties": properties},
        )


#: API version by which a resource of a kind is deleted.
_API_OF = {"microsoft.compute": COMPUTE_API, "microsoft.network": NETWORK_API, "microsoft.insights": "2022-10-01"}


def delete_resource(identity: str, kind: str) -> Request | None:
    """Delete one resource; None for a kind that no cluster has.

    Args:
        identity: resource id.
        kind: its type, ``Microsoft.Network/loadBalancers``.
    """
    api = _API_OF.get(kind.partition("/")[0].lower())
    return Request("DELETE", identity, {"api-version": api}) if api else None


def network_card(identity: str) -> Request:
    """One network card: which VM has it?"""
    return _get(identity, NETWORK_API)


def sizes(identity: str, location: str) -> Request:
    """Sizes of a region: vCPUs, zones, quota family, restrictions; a list."""
    return _get(
        f"/subscriptions/{identity}/providers/Microsoft.Compute/skus",
        _SKUS_API,
        **{"$filter": f"location eq '{location}'"},
    )


def usages(identity: str, location: str) -> Request:
    """Quotas of a region and how much of each is in use; a list."""
    return _get(f"/subscriptions/{identity}/providers/Microsoft.Compute/locations/{location}/usages", COMPUTE_API)


def image(identity: str, cluster: Cluster) -> Request:
    """Versions of a public image, or one version, or an image by its id."""
    if cluster.image.startswith("/"):
        return _get(cluster.image, "2024-03-03")
    publisher, offer, sku, version = cluster.image.split(":")
    path = (
        f"/subscriptions/{identity}/providers/Microsoft.Compute/locations/{cluster.location}/publishers/{publisher}"
        f"/artifacttypes/vmimage/offers/{offer}/skus/{sku}/versions"
    )
    if version == "latest":
        # https://learn.microsoft.com/rest/api/compute/virtual-machine-images/list: no object with a "value"
        return Request("GET", path, {"api-version": COMPUTE_API}, array=True)
    return _get(f"{path}/{version}", COMPUTE_API)


def existing(identity: str) -> Request:
    """A resource that the configuration names by its id: a network, a subnet, a capacity reservation group."""
    return _get(identity, NETWORK_API if "/microsoft.network/" in identity.lower() else COMPUTE_API)


def prices(cluster: Cluster) -> Mapping[str, str]:
    """Query of the retail prices of a size: https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices."""
    wanted = (
        f"serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and armRegionName eq '{cluster.location}' "
        f"and armSkuName eq '{cluster.size}'"
    )
    return {"api-version": "2023-01-01-preview", "$filter": wanted}


class Nodes:
    """Requests about the nodes of one cluster."""

    def __init__(self, identity: str, cluster: Cluster) -> None:
        self._group = f"/subscriptions/{identity}/resourceGroups/{cluster.resource_group}"
        self._set = f"{self._group}/providers/Microsoft.Compute/virtualMachineScaleSets/{cluster.name}"
        self._balancer = f"{self._group}/providers/Microsoft.Network/loadBalancers/{resource_name(cluster, 'lb')}"
        self._address = (
            f"{self._group}/providers/Microsoft.Network/publicIPAddresses/{resource_name(cluster, 'nodes-ip')}"
        )
        self._uniform = cluster.mode == "uniform"

    def scale_set(self) -> Request:
        """The scale set."""
        return _get(self._set, COMPUTE_API)

    def instances(self) -> Request:
        """Its VMs; a list. Those of a Flexible scale set are all VMs of the group that name it."""
        if self._uniform:
            return _get(f"{self._set}/virtualMachines", COMPUTE_API)
        return _get(f"{self._group}/providers/Microsoft.Compute/virtualMachines", COMPUTE_API)

    def cards(self) -> Request:
        """Network cards of its VMs; a list."""
        if self._uniform:
            return _get(f"{self._set}/networkInterfaces", _SCALE_SET_CARDS_API)
        return _get(f"{self._group}/providers/Microsoft.Network/networkInterfaces", NETWORK_API)

    def address(self) -> Request:
        """The public address whose ports lead to the nodes."""
        return _get(self._address, NETWORK_API)

    def port(self, ip_configuration: str) -> Request:
        """Which port of the public address leads to a network card; an operation."""
        path = f"{self._balancer}/backendAddressPools/nodes/queryInboundNatRulePortMapping"
        return _post(path, NETWORK_API, {"ipConfiguration": {"id": ip_configuration}}, harmless=True)

    def belongs(self, instance: Mapping[str, Any]) -> bool:
        """Whether a VM of ``instances`` is one of this scale set."""
        owner = str(((instance.get("properties") or {}).get("virtualMachineScaleSet") or {}).get("id", ""))
        return self._uniform or owner.lower() == self._set.lower()


def run_script(instance: str, lines: tuple[str, ...]) -> Request:
    """Run a shell script that only reads on a VM through Azure's own agent, as root; an operation.

    Args:
        instance: resource id of a VM, or of an instance of a scale set.
        lines: of the script.
    """
    return _post(
        f"{instance}/runCommand", COMPUTE_API, {"commandId": "RunShellScript", "script": list(lines)}, harmless=True
    )


def simulate_eviction(instance: str) -> Request:
    """Have a spot VM evicted within half an hour: https://learn.microsoft.com/azure/virtual-machines/spot-cli."""
    return _post(f"{instance}/simulateEviction", COMPUTE_API)
