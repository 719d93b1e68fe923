"""What a configuration of a cluster may say, and what is refused before Azure is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpcaccept.errors import UsageError
from hpcaccept.provider.azure.config import Cluster, read_cluster

HERE = Path("/site")
H200 = {"name": "h200", "location": "eastus2", "size": "Standard_ND96isr_H200_v5", "nodes": 2}
GB300 = {**H200, "size": "Standard_ND128isr_GB300_v6", "nodes": 18, "image": "a:b:c:latest"}


def read(cluster: dict[str, Any] | None = None, **tables: Any) -> Cluster:
    network = {"allow_ssh_from": ["203.0.113.7/32"], **tables.pop("network", {})}
    return read_cluster({"cluster": {**H200, **(cluster or {})}, "network": network, **tables}, HERE)


def test_what_is_not_said_has_a_default_that_fits_the_size() -> None:
    found = read()
    assert (found.gpus, found.mode, found.placement) == (8, "uniform", "single-placement-group")
    assert found.image == "microsoft-dsvm:ubuntu-hpc:2204:latest"
    assert found.resource_group == "hpcaccept-h200"


def test_an_nvlink_domain_gets_an_interconnect_group_and_a_block() -> None:
    found = read({**GB300, "zone": "1"})
    assert (found.gpus, found.placement) == (4, "interconnect-group")
    assert (found.interconnect.subgroup_nodes, found.interconnect.block) == (18, True)


def test_a_size_is_spelled_as_azure_spells_it() -> None:
    assert read({"size": "standard_nd96isr_h200_v5".replace("standard", "Standard")}).size == "Standard_ND96isr_H200_v5"


def test_files_are_relative_to_the_configuration() -> None:
    assert read({"cloud_init": "x.yaml"}).cloud_init == HERE / "x.yaml"
    assert read({"cloud_init": "/y.yaml"}).cloud_init == Path("/y.yaml")


def test_no_cloud_init_is_said_by_an_empty_text() -> None:
    tables: dict[str, dict[str, Any]] = {
        "cluster": {**H200, "cloud_init": ""},
        "network": {"allow_ssh_from": ["203.0.113.7/32"]},
    }
    assert read_cluster(tables, HERE, Path("/shipped")).cloud_init is None
    del tables["cluster"]["cloud_init"]
    assert read_cluster(tables, HERE, Path("/shipped")).cloud_init == Path("/shipped")


@pytest.mark.parametrize(
    ("cluster", "tables", "says"),
    [
        ({"nodes": 0}, {}, "cluster.nodes: found 0, expected a whole number from 1 to 1000"),
        ({"nodes": "2"}, {}, "cluster.nodes: found '2'"),
        ({"nodes": True}, {}, "cluster.nodes: found True"),
        ({"nodes": 301}, {}, "expected at most 300: one placement group is one InfiniBand fabric"),
        ({"zone": 1}, {}, 'cluster.zone: found 1, expected one of "1", "2", "3".'),
        ({"nods": 2}, {}, "cluster.nods: there is no such key. Did you mean 'nodes'?"),
        ({"name": "-rf"}, {}, "cluster.name: found '-rf'"),
        ({"name": "x'); drop"}, {}, "cluster.name"),
        ({"location": "East US 2"}, {}, "expected a region in Azure's short form"),
        ({"size": "Standard_NX1"}, {}, "does not know how many GPUs Standard_NX1 has"),
        ({"gpus": 7}, {}, "cluster.gpus: found 7, expected 8"),
        ({"admin": "root"}, {}, "Azure refuses 'root'"),
        ({"image": "ubuntu"}, {}, "cluster.image: found 'ubuntu'"),
        ({"subscription": "mine"}, {}, "expected the id of a subscription"),
        ({"zone": "4"}, {}, "cluster.zone: found '4'"),
        ({"orchestration": "uniflex"}, {}, 'expected one of "uniform", "flexible"'),
        ({"tags": {"hpcaccept-run": "other"}}, {}, "are reserved"),
        ({"tags": {"a": "[resourceGroup().id]"}}, {}, "are reserved"),
        ({"capacity_reservation": "mine"}, {}, "expected a resource id"),
        ({**GB300, "image": None}, {}, "Azure lists no public HPC image for GB300"),
        (GB300, {}, "an interconnect block lies in one zone"),
        ({}, {"interconnect": {"block": True}}, "has no interconnect groups"),
        ({}, {"network": {"allow_ssh_from": []}}, "ssh is opened to nobody by default"),
        ({}, {"network": {"allow_ssh_from": ["0.0.0.0/0"]}}, "opens ssh to the internet"),
        ({}, {"network": {"allow_ssh_from": ["*"]}}, "expected an IPv4 range"),
        ({}, {"network": {"allow_ssh_from": ["203.0.113.7/24"]}}, "expected an IPv4 range"),
        ({}, {"network": {"address_space": "172.16.0.0/12"}}, "overlaps 172.16.0.0/16"),
        ({}, {"network": {"address_space": "172.16.4.0/24", "subnet": "172.16.4.0/25"}}, "overlaps 172.16.0.0/16"),
        ({}, {"network": {"subnet": "10.1.0.0/24"}}, "is not inside network.address_space"),
        ({}, {"network": {"subnet": "10.0.0.0/30"}}, "has 0 usable addresses, expected at least 2"),
        ({}, {"network": {"existing_subnet": H200["name"]}}, "expected the resource id of a subnet"),
        ({}, {"spot": {"enabled": True, "max_price": 0}}, "spot.max_price: found 0"),
        ({}, {"spot": {"eviction": "Stop"}}, 'expected one of "Deallocate", "Delete"'),
        (
            {"capacity_reservation": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/capacityReservationGroups/c"},
            {"spot": {"enabled": True}},
            "exclude each other",
        ),
        ({}, {"sopt": {}}, "[sopt]: there is no such table. Did you mean 'spot'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_deployed_is_refused_by_its_key(
    cluster: dict[str, Any], tables: dict[str, Any], says: str
) -> None:
    given = {key: value for key, value in cluster.items() if value is not None}
    with pytest.raises(UsageError) as refused:
        read(given, **tables)
    assert says in str(refused.value)
