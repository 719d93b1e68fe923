"""The template, held to the official schemas of Azure Resource Manager."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

import pytest
from support import arm_schemas

from hpcaccept.errors import UsageError
from hpcaccept.provider.azure.config import Cluster, read_cluster
from hpcaccept.provider.azure.template import as_text, digest, render_parameters, render_template

SUBNET = "/subscriptions/s/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/v/subnets/nodes"
RESERVATION = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/capacityReservationGroups/c"
GB300 = {"size": "Standard_ND128isr_GB300_v6", "nodes": 18, "zone": "1", "image": "a:b:c:1.2.3"}
#: name → changes of [cluster], other tables.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "h200": ({}, {}),
    "flexible": ({"orchestration": "flexible"}, {}),
    "spot": ({}, {"spot": {"enabled": True, "eviction": "Deallocate", "max_price": 12.5}}),
    "existing subnet": ({}, {"network": {"existing_subnet": SUBNET}}),
    "no NAT gateway": ({}, {"network": {"nat_gateway": False}}),
    "reserved": ({"capacity_reservation": RESERVATION, "zone": "2"}, {}),
    "gb300": (GB300, {}),
    "gb300 without a block": ({**GB300, "zone": ""}, {"interconnect": {"block": False, "subgroup_nodes": 9}}),
    "cpu": ({"size": "Standard_D2s_v5", "os_disk_gb": 64, "tags": {"a": "b"}}, {}),
}


def cluster(name: str) -> Cluster:
    changes, tables = VARIANTS[name]
    network = {"allow_ssh_from": ["203.0.113.7/32"], **tables.get("network", {})}
    base = {"name": "t1", "location": "eastus2", "size": "Standard_ND96isr_H200_v5", "nodes": 2}
    return read_cluster({**tables, "cluster": {**base, **changes}, "network": network}, Path("/site"))


def resources(name: str) -> dict[str, dict[str, Any]]:
    return {each["type"].rpartition("/")[2]: each for each in render_template(cluster(name))["resources"]}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_official_schemas_accept_every_resource(name: str) -> None:
    template = render_template(cluster(name))
    assert arm_schemas.template_errors(template) == []
    for each in template["resources"]:
        if not each["type"].startswith("Microsoft.Insights/"):
            assert arm_schemas.errors(each) == [], each["type"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("properties", "orchestrationMode"), "flex"),
        (("properties", "virtualMachineProfile", "osProfil"), {}),
        (("properties", "virtualMachineProfile", "priority"), "spot"),
        (("properties", "virtualMachineProfile", "storageProfile", "osDisk", "diskSizeGB"), "256"),
        (("properties", "bogus"), 1),
        (("apiVersion",), "2020-06-01"),
    ],
)
def test_the_schemas_as_used_here_refuse_what_azure_refuses(path: tuple[str, ...], value: object) -> None:
    broken = copy.deepcopy(resources("h200")["virtualMachineScaleSets"])
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert arm_schemas.errors(broken)


@pytest.mark.parametrize("name", VARIANTS)
def test_everything_carries_the_tags_and_begins_with_the_name(name: str) -> None:
    for each in render_template(cluster(name))["resources"]:
        assert each["tags"] == "[variables('tags')]"
        assert each["name"] == "t1" or each["name"].startswith("t1-")


@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_resource_names_is_made_before_it(name: str) -> None:
    template = render_template(cluster(name))
    made = [f"[resourceId('{each['type']}', '{each['name']}')]" for each in template["resources"]]
    for number, each in enumerate(template["resources"]):
        for needed in each.get("dependsOn", ()):
            assert needed in made[:number], (each["type"], needed)


def test_the_same_configuration_gives_the_same_bytes() -> None:
    assert as_text(render_template(cluster("gb300"))) == as_text(render_template(cluster("gb300")))
    assert digest(render_template(cluster("gb300"))) != digest(render_template(cluster("h200")))


def test_infiniband_sizes_are_uniform_in_one_placement_group() -> None:
    made = resources("h200")["virtualMachineScaleSets"]["properties"]
    assert (made["orchestrationMode"], made["singlePlacementGroup"], made["overprovision"]) == ("Uniform", True, False)


def test_a_flexible_scale_set_says_its_network_api_and_no_placement_group() -> None:
    made = resources("flexible")["virtualMachineScaleSets"]["properties"]
    assert (made["orchestrationMode"], made["singlePlacementGroup"]) == ("Flexible", False)
    assert "overprovision" not in made
    assert made["virtualMachineProfile"]["networkProfile"]["networkApiVersion"] == "2022-11-01"


def test_an_nvlink_domain_is_an_interconnect_group_with_a_block_for_all_nodes() -> None:
    made = resources("gb300")
    profile = {"scope": "VerticalConnect", "size": 18, "vmSize": "Standard_ND128isr_GB300_v6"}
    assert made["interconnectGroups"]["properties"] == {"scope": "InfiniBand", "subgroupProfile": profile}
    assert made["interconnectBlocks"]["sku"] == {"name": "Standard_ND128isr_GB300_v6", "capacity": 18}
    assert made["interconnectBlocks"]["zones"] == ["1"]
    of_nodes = made["virtualMachineScaleSets"]["properties"]["virtualMachineProfile"]
    assert "interconnectGroupProfile" in of_nodes["networkProfile"]
    assert "interconnectBlockProfile" in of_nodes
    assert made["virtualMachineScaleSets"]["properties"]["singlePlacementGroup"] is False


def test_ssh_is_open_to_the_caller_alone() -> None:
    for name in VARIANTS:
        (rule,) = resources(name)["networkSecurityGroups"]["properties"]["securityRules"]
        assert rule["properties"]["sourceAddressPrefixes"] == ["203.0.113.7/32"]
        assert rule["properties"]["destinationPortRange"] == "22"
        card = resources(name)["virtualMachineScaleSets"]["properties"]["virtualMachineProfile"]["networkProfile"]
        assert "t1-nsg" in card["networkInterfaceConfigurations"][0]["properties"]["networkSecurityGroup"]["id"]


def test_there_is_one_way_out() -> None:
    assert "outboundRules" not in resources("h200")["loadBalancers"]["properties"]
    assert "natGateways" in resources("h200")
    assert "outboundRules" in resources("no NAT gateway")["loadBalancers"]["properties"]
    assert "natGateways" not in resources("no NAT gateway")
    assert not {"natGateways", "virtualNetworks"} & set(resources("existing subnet"))


def test_a_spot_node_has_an_eviction_policy_and_a_highest_price() -> None:
    made = resources("spot")["virtualMachineScaleSets"]["properties"]["virtualMachineProfile"]
    assert (made["priority"], made["evictionPolicy"], made["billingProfile"]) == (
        "Spot",
        "Deallocate",
        {"maxPrice": 12.5},
    )
    assert "priority" not in resources("h200")["virtualMachineScaleSets"]["properties"]["virtualMachineProfile"]


def test_azure_itself_scales_to_nothing_at_the_expiry() -> None:
    made = resources("h200")["autoscaleSettings"]["properties"]
    until, after = made["profiles"]
    assert until["capacity"] == {"minimum": "2", "maximum": "2", "default": "2"}
    assert after["capacity"] == {"minimum": "0", "maximum": "0", "default": "0"}
    assert after["fixedDate"]["start"] == "[parameters('expires')]"


def test_cloud_init_goes_in_as_it_is_and_not_too_large() -> None:
    parameters = render_parameters("ssh-ed25519 AAAA x", b"#cloud-config\n")["parameters"]
    assert base64.b64decode(parameters["customData"]["value"]) == b"#cloud-config\n"
    render_parameters("k", b"#" * 65_535)
    with pytest.raises(UsageError, match="found 65,536 bytes, expected at most 65,535"):
        render_parameters("k", b"#" * 65_536)
