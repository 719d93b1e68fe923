"""What is deployed for a cluster: one ARM template, the same bytes for the same configuration.

API versions are those of the official schemas it is tested against (https://github.com/Azure/azure-resource-manager-schemas). What differs from
run to run (key, cloud-init, owner, expiry) is a parameter.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import UsageError
from hpcaccept.provider.azure import tags

if TYPE_CHECKING:
    from hpcaccept.provider.azure.config import Cluster

    Resource = dict[str, Any]

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
PARAMETERS_SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#"
NETWORK_API = "2025-07-01"
COMPUTE_API = "2026-03-01"
#: Version of the network API that a Flexible scale set makes its network cards by.
SCALE_SET_NETWORK_API = "2022-11-01"
AUTOSCALE_API = "2022-10-01"
#: Of customData before base64: https://learn.microsoft.com/azure/virtual-machines/custom-data
MOST_CUSTOM_DATA = 65_535
#: Ports of the load balancer that lead to port 22 of the nodes.
FIRST_PORT = 50_000
#: One frontend has 1,000 rules at most per card; ports beyond the nodes serve replaced instances.
_SPARE_PORTS = 119
SSH_PORT = 22
#: Hours until the expiry of a template that is deployed by hand.
DEFAULT_HOURS = 4
#: A fixed-date profile needs an end; Azure Monitor has no "for ever".
_END_OF_TIME = "2099-12-31T00:00:00Z"


def render_template(cluster: Cluster) -> dict[str, Any]:
    """The ARM template of a cluster."""
    resources = [_security_group(cluster), _address(cluster, "nodes"), _load_balancer(cluster)]
    if not cluster.network.existing_subnet:
        gateway = [_address(cluster, "out"), _nat_gateway(cluster)] if cluster.network.nat_gateway else []
        resources += [*gateway, _virtual_network(cluster)]
    if cluster.placement == "interconnect-group":
        resources += [
            _interconnect_group(cluster),
            *([_interconnect_block(cluster)] if cluster.interconnect.block else []),
        ]
    resources.append(_scale_set(cluster))
    if cluster.stop_when_expired:
        resources.append(_stop_at_expiry(cluster))
    return {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {
            "sshPublicKey": _parameter("Public half of the key that logs in as the administrator."),
            "customData": _parameter("cloud-init in base64. Whoever is root on a node can read it: no secrets.", ""),
            "owner": _parameter("Who is asked about the cluster; a tag.", cluster.owner),
            "expires": _parameter(
                "Time in UTC from which the cluster may be deleted; a tag.",
                f"[dateTimeAdd(utcNow(), 'PT{DEFAULT_HOURS}H', 'yyyy-MM-ddTHH:mm:ssZ')]",
            ),
        },
        "variables": {
            "tags": {
                **cluster.tags,
                tags.RUN: cluster.name,
                tags.OWNER: "[parameters('owner')]",
                tags.EXPIRES: "[parameters('expires')]",
            }
        },
        "resources": resources,
    }


def render_parameters(ssh_public_key: str, cloud_init: bytes | None, **more: str) -> dict[str, Any]:
    """The parameters file.

    Args:
        ssh_public_key: one line of OpenSSH.
        cloud_init: what the nodes are set up with, as it is.
        more: values of ``owner`` and ``expires``; their defaults otherwise.

    Raises:
        UsageError: cloud-init is larger than Azure takes.
    """
    values = {"sshPublicKey": ssh_public_key, **more}
    if cloud_init is not None:
        if len(cloud_init) > MOST_CUSTOM_DATA:
            raise UsageError(
                f"cluster.cloud_init: found {len(cloud_init):,} bytes, expected at most {MOST_CUSTOM_DATA:,}.",
                "cloud-init reads gzip too: gzip -9 FILE, and name FILE.gz.",
            )
        values["customData"] = base64.b64encode(cloud_init).decode("ascii")
    return {
        "$schema": PARAMETERS_SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {key: {"value": value} for key, value in values.items()},
    }


def as_text(document: dict[str, Any]) -> str:
    """A document as it is written into a file, deterministic."""
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def digest(template: dict[str, Any]) -> str:
    """What tells two templates apart: 16 hexadecimal digits."""
    return hashlib.sha256(as_text(template).encode()).hexdigest()[:16]


def _parameter(about: str, default: str | None = None) -> Resource:
    value = {} if default is None else {"defaultValue": default}
    return {"type": "string", **value, "metadata": {"description": about}}


def _resource(cluster: Cluster, kind: str, api: str, suffix: str, properties: Resource, **more: Any) -> Resource:
    return {
        "type": kind,
        "apiVersion": api,
        "name": resource_name(cluster, suffix),
        "location": cluster.location,
        "tags": "[variables('tags')]",
        **more,
        "properties": properties,
    }


def resource_name(cluster: Cluster, suffix: str) -> str:
    """Name of a resource of the cluster; the scale set has no suffix."""
    return f"{cluster.name}-{suffix}" if suffix else cluster.name


def _id(kind: str, *names: str) -> str:
    return f"[resourceId('{kind}', {', '.join(repr(name) for name in names)})]"


def _needs(kind: str, *names: str) -> str:
    return _id(kind, *names)


def _security_group(cluster: Cluster) -> Resource:
    rule = {
        "description": "ssh from where the cluster is used; all else from outside is refused by default.",
        "protocol": "Tcp",
        "access": "Allow",
        "direction": "Inbound",
        "priority": 1000,
        "sourceAddressPrefixes": list(cluster.network.allow_ssh_from),
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": str(SSH_PORT),
    }
    return _resource(
        cluster,
        "Microsoft.Network/networkSecurityGroups",
        NETWORK_API,
        "nsg",
        {"securityRules": [{"name": "ssh", "properties": rule}]},
    )


def _address(cluster: Cluster, use: str) -> Resource:
    return _resource(
        cluster,
        "Microsoft.Network/publicIPAddresses",
        NETWORK_API,
        f"{use}-ip",
        {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"},
        sku={"name": "Standard"},
    )


def _nat_gateway(cluster: Cluster) -> Resource:
    address = resource_name(cluster, "out-ip")
    return _resource(
        cluster,
        "Microsoft.Network/natGateways",
        NETWORK_API,
        "nat",
        {
            "idleTimeoutInMinutes": 10,
            "publicIpAddresses": [{"id": _id("Microsoft.Network/publicIPAddresses", address)}],
        },
        sku={"name": "Standard"},
        dependsOn=[_needs("Microsoft.Network/publicIPAddresses", address)],
    )


def _virtual_network(cluster: Cluster) -> Resource:
    group = resource_name(cluster, "nsg")
    subnet: Resource = {
        "addressPrefix": cluster.network.subnet,
        "defaultOutboundAccess": False,
        "networkSecurityGroup": {"id": _id("Microsoft.Network/networkSecurityGroups", group)},
    }
    needs = [_needs("Microsoft.Network/networkSecurityGroups", group)]
    if cluster.network.nat_gateway:
        gateway = resource_name(cluster, "nat")
        subnet["natGateway"] = {"id": _id("Microsoft.Network/natGateways", gateway)}
        needs.append(_needs("Microsoft.Network/natGateways", gateway))
    return _resource(
        cluster,
        "Microsoft.Network/virtualNetworks",
        NETWORK_API,
        "vnet",
        {
            "addressSpace": {"addressPrefixes": [cluster.network.address_space]},
            "subnets": [{"name": "nodes", "properties": subnet}],
        },
        dependsOn=needs,
    )


def _load_balancer(cluster: Cluster) -> Resource:
    """Ports of one public address lead to ssh of the nodes: that works for both orchestration modes, and needs no jump host."""
    name, address = resource_name(cluster, "lb"), resource_name(cluster, "nodes-ip")
    frontend = {"id": _id("Microsoft.Network/loadBalancers/frontendIPConfigurations", name, "front")}
    pool = {"id": _id("Microsoft.Network/loadBalancers/backendAddressPools", name, "nodes")}
    rule = {
        "protocol": "Tcp",
        "frontendIPConfiguration": frontend,
        "backendAddressPool": pool,
        "frontendPortRangeStart": FIRST_PORT,
        "frontendPortRangeEnd": FIRST_PORT + cluster.nodes + _SPARE_PORTS,
        "backendPort": SSH_PORT,
        "enableTcpReset": True,
    }
    out = {
        "protocol": "All",
        "frontendIPConfigurations": [frontend],
        "backendAddressPool": pool,
        "enableTcpReset": True,
    }
    own_way_out = not cluster.network.nat_gateway and not cluster.network.existing_subnet
    return _resource(
        cluster,
        "Microsoft.Network/loadBalancers",
        NETWORK_API,
        "lb",
        {
            "frontendIPConfigurations": [
                {
                    "name": "front",
                    "properties": {"publicIPAddress": {"id": _id("Microsoft.Network/publicIPAddresses", address)}},
                }
            ],
            "backendAddressPools": [{"name": "nodes"}],
            "inboundNatRules": [{"name": "ssh", "properties": rule}],
            **({"outboundRules": [{"name": "out", "properties": out}]} if own_way_out else {}),
        },
        sku={"name": "Standard"},
        dependsOn=[_needs("Microsoft.Network/publicIPAddresses", address)],
    )


def _interconnect_group(cluster: Cluster) -> Resource:
    return _resource(
        cluster,
        "Microsoft.Network/interconnectGroups",
        NETWORK_API,
        "ig",
        {
            "scope": "InfiniBand",
            "subgroupProfile": {
                "scope": "VerticalConnect",
                "size": cluster.interconnect.subgroup_nodes,
                "vmSize": cluster.size,
            },
        },
    )


def _interconnect_block(cluster: Cluster) -> Resource:
    group = resource_name(cluster, "ig")
    return _resource(
        cluster,
        "Microsoft.Compute/interconnectBlocks",
        COMPUTE_API,
        "ib",
        {"interconnectGroup": {"id": _id("Microsoft.Network/interconnectGroups", group)}},
        sku={"name": cluster.size, "capacity": cluster.nodes},
        zones=[cluster.zone],
        dependsOn=[_needs("Microsoft.Network/interconnectGroups", group)],
    )


def _scale_set(cluster: Cluster) -> Resource:
    uniform = cluster.mode == "uniform"
    profile = {
        **({"priority": "Spot", "evictionPolicy": cluster.spot.eviction} if cluster.spot.enabled else {}),
        **({"billingProfile": {"maxPrice": _price(cluster.spot.max_price)}} if cluster.spot.enabled else {}),
        "osProfile": _os_profile(cluster),
        "storageProfile": _storage(cluster),
        "securityProfile": {"securityType": "Standard"},
        "networkProfile": _network_profile(cluster),
        **_reserved(cluster),
    }
    properties: Resource = {
        "orchestrationMode": "Uniform" if uniform else "Flexible",
        "singlePlacementGroup": uniform and cluster.placement == "single-placement-group",
        "platformFaultDomainCount": 1,
        # By default Azure makes more VMs than were asked for and deletes some: names and hosts would change under our feet.
        **({"overprovision": False, "upgradePolicy": {"mode": "Manual"}} if uniform else {}),
        "virtualMachineProfile": profile,
    }
    return _resource(
        cluster,
        "Microsoft.Compute/virtualMachineScaleSets",
        COMPUTE_API,
        "",
        properties,
        sku={"name": cluster.size, "tier": "Standard", "capacity": cluster.nodes},
        **({"zones": [cluster.zone]} if cluster.zone else {}),
        dependsOn=_before_the_nodes(cluster),
    )


def _price(usd: float) -> float | int:
    return int(usd) if usd == int(usd) else usd


def _os_profile(cluster: Cluster) -> Resource:
    key = {"path": f"/home/{cluster.admin}/.ssh/authorized_keys", "keyData": "[parameters('sshPublicKey')]"}
    return {
        "computerNamePrefix": cluster.computer_prefix,
        "adminUsername": cluster.admin,
        "customData": "[if(empty(parameters('customData')), null(), parameters('customData'))]",
        "linuxConfiguration": {"disablePasswordAuthentication": True, "ssh": {"publicKeys": [key]}},
    }


def _storage(cluster: Cluster) -> Resource:
    if cluster.image.startswith("/"):
        image = {"id": cluster.image}
    else:
        image = dict(zip(("publisher", "offer", "sku", "version"), cluster.image.split(":"), strict=True))
    return {
        "imageReference": image,
        "osDisk": {
            "createOption": "FromImage",
            "caching": "ReadWrite",
            "diskSizeGB": cluster.os_disk_gb,
            "deleteOption": "Delete",
            "managedDisk": {"storageAccountType": "Premium_LRS"},
        },
    }


def _network_profile(cluster: Cluster) -> Resource:
    subnet = cluster.network.existing_subnet or _id(
        "Microsoft.Network/virtualNetworks/subnets", resource_name(cluster, "vnet"), "nodes"
    )
    pool = _id("Microsoft.Network/loadBalancers/backendAddressPools", resource_name(cluster, "lb"), "nodes")
    card = {
        "primary": True,
        "enableAcceleratedNetworking": True,
        "deleteOption": "Delete",
        "networkSecurityGroup": {
            "id": _id("Microsoft.Network/networkSecurityGroups", resource_name(cluster, "nsg")),
        },
        "ipConfigurations": [
            {
                "name": "ipconfig",
                "properties": {
                    "primary": True,
                    "subnet": {"id": subnet},
                    "loadBalancerBackendAddressPools": [{"id": pool}],
                },
            }
        ],
    }
    group = _id("Microsoft.Network/interconnectGroups", resource_name(cluster, "ig"))
    return {
        **({"networkApiVersion": SCALE_SET_NETWORK_API} if cluster.mode == "flexible" else {}),
        "networkInterfaceConfigurations": [{"name": "nic", "properties": card}],
        **(
            {"interconnectGroupProfile": {"interconnectGroup": {"id": group}}}
            if cluster.placement == "interconnect-group"
            else {}
        ),
    }


def _reserved(cluster: Cluster) -> Resource:
    found: Resource = {}
    if cluster.capacity_reservation:
        found["capacityReservation"] = {"capacityReservationGroup": {"id": cluster.capacity_reservation}}
    if cluster.placement == "interconnect-group" and cluster.interconnect.block:
        block = _id("Microsoft.Compute/interconnectBlocks", resource_name(cluster, "ib"))
        found["interconnectBlockProfile"] = {"interconnectBlock": {"id": block}}
    return found


def _before_the_nodes(cluster: Cluster) -> list[str]:
    needs = [
        _needs("Microsoft.Network/networkSecurityGroups", resource_name(cluster, "nsg")),
        _needs("Microsoft.Network/loadBalancers", resource_name(cluster, "lb")),
    ]
    if not cluster.network.existing_subnet:
        needs.append(_needs("Microsoft.Network/virtualNetworks", resource_name(cluster, "vnet")))
    if cluster.placement == "interconnect-group":
        needs.append(_needs("Microsoft.Network/interconnectGroups", resource_name(cluster, "ig")))
        if cluster.interconnect.block:
            needs.append(_needs("Microsoft.Compute/interconnectBlocks", resource_name(cluster, "ib")))
    return needs


def _stop_at_expiry(cluster: Cluster) -> Resource:
    """Azure Monitor scales to no node at the expiry, whether or not a client is alive. Addresses and gateway stay, and ``reap`` takes them.

    https://learn.microsoft.com/azure/azure-monitor/autoscale/autoscale-understanding-settings (fixed-date profiles).
    """
    scale_set = _id("Microsoft.Compute/virtualMachineScaleSets", cluster.name)
    fixed = {"timeZone": "UTC", "start": "[parameters('expires')]", "end": _END_OF_TIME}
    profiles = [
        {"name": "until it expires", "capacity": _capacity(cluster.nodes), "rules": []},
        {"name": "expired", "capacity": _capacity(0), "rules": [], "fixedDate": fixed},
    ]
    return _resource(
        cluster,
        "Microsoft.Insights/autoscaleSettings",
        AUTOSCALE_API,
        "stop",
        {
            "name": resource_name(cluster, "stop"),
            "enabled": True,
            "targetResourceUri": scale_set,
            "targetResourceLocation": cluster.location,
            "profiles": profiles,
        },
        dependsOn=[scale_set],
    )


def _capacity(nodes: int) -> Resource:
    return {"minimum": str(nodes), "maximum": str(nodes), "default": str(nodes)}
