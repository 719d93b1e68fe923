"""Turns one TOML file into a cluster that can be deployed. Every key is checked before anything is asked of Azure.

``cluster`` says what is wanted, ``network``, ``spot`` and ``interconnect`` how; the page ``azure/README.md`` lists the keys.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from hpcaccept.errors import UsageError, nearest
from hpcaccept.provider.azure import networks, sizes
from hpcaccept.provider.azure.sizes import Size

Mode = Literal["uniform", "flexible"]
Eviction = Literal["Deallocate", "Delete"]

DEFAULT_IMAGE = "microsoft-dsvm:ubuntu-hpc:2204:latest"
#: One placement group holds 100 VMs, and up to 300 once Azure's support has raised that for the subscription:
#: https://learn.microsoft.com/azure/virtual-machine-scale-sets/virtual-machine-scale-sets-placement-groups
MOST_IN_PLACEMENT_GROUP = 300
MOST_NODES = 1000
#: The name begins those of all resources; Azure's shortest limit is that of a scale set, 64.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]")
_GROUP = re.compile(r"[\w().-]{0,89}[\w()-]")
_ADMIN = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_SIZE = re.compile(r"(Standard|Basic)_[A-Za-z0-9_-]{1,60}")
_LOCATION = re.compile(r"[a-z0-9]{3,40}")
_SUBSCRIPTION = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_RESOURCE = re.compile(r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/[\w.]+(/[\w.-]+/[\w.()-]+)+")
_IMAGE = re.compile(r"[\w.-]+:[\w.-]+:[\w.-]+:(latest|[0-9][\w.-]*)")
_TAG = re.compile(r"[^<>%&\\?/\x00-\x1f]{1,512}")
#: Azure refuses these: https://learn.microsoft.com/azure/virtual-machines/linux/faq
_ADMIN_REFUSED = frozenset(("root", "admin", "administrator", "user", "guest", "test", "sys", "support", "backup"))


@dataclass(frozen=True)
class Network:
    """Addresses and reach.

    Attributes:
        allow_ssh_from: ranges that may reach port 22.
        address_space: of a new virtual network.
        subnet: of the nodes in it.
        existing_subnet: resource id of a subnet to use instead; then no network is made and its way out is its owner's.
        nat_gateway: True for a NAT gateway as the way out; otherwise the load balancer has an outbound rule.
    """

    allow_ssh_from: tuple[str, ...]
    address_space: str = "10.0.0.0/16"
    subnet: str = "10.0.0.0/20"
    existing_subnet: str = ""
    nat_gateway: bool = True


@dataclass(frozen=True)
class Spot:
    """Spare capacity that Azure may take back with 30 s notice.

    Attributes:
        enabled: True to ask for it.
        eviction: what becomes of an evicted VM. Deallocate keeps billing its disks.
        max_price: USD per hour and VM; -1: up to the price of a regular VM.
    """

    enabled: bool = False
    eviction: Eviction = "Delete"
    max_price: float = -1.0


@dataclass(frozen=True)
class Interconnect:
    """NVLink domains of GB200 and GB300.

    Attributes:
        subgroup_nodes: VMs of one subgroup, one NVLink domain.
        block: True to reserve an interconnect block for all nodes; it needs a zone, and is billed until it is deleted.
    """

    subgroup_nodes: int = 18
    block: bool = True


@dataclass(frozen=True)
class Cluster:
    """A checked configuration.

    Attributes:
        name: of the cluster; every resource begins with it.
        location: region in Azure's short form (``eastus2``).
        size: VM size, as Azure spells it.
        nodes: how many VMs.
        gpus: of each VM.
        mode: orchestration mode of the scale set.
        placement: what keeps the nodes on one fabric.
        image: ``publisher:offer:sku:version``, or the resource id of an image.
        admin: user that ssh logs in as.
        resource_group: its own; made by ``up``, deleted by ``down``.
        subscription: id; empty where the environment says it.
        zone: ``1``, ``2`` or ``3``; empty for none.
        owner: who is asked about it, a tag.
        tags: more tags.
        computer_prefix: of the host names.
        os_disk_gb: size of the OS disk in GB, as Azure counts it.
        capacity_reservation: resource id of a capacity reservation group; empty for none.
        cloud_init: file that nodes are set up with; None for none.
        ssh_public_key: file of a key of the user's; None: a key is made for this cluster.
        stop_when_expired: True for an autoscale setting by which Azure itself scales to 0 nodes at the expiry.
        network: addresses.
        spot: spare capacity.
        interconnect: NVLink domains.
    """

    name: str
    location: str
    size: str
    nodes: int
    gpus: int
    mode: Mode
    placement: sizes.Placement
    image: str
    admin: str
    resource_group: str
    network: Network
    subscription: str = ""
    zone: str = ""
    owner: str = ""
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    computer_prefix: str = "vm-"
    os_disk_gb: int = 256
    capacity_reservation: str = ""
    cloud_init: Path | None = None
    ssh_public_key: Path | None = None
    stop_when_expired: bool = True
    spot: Spot = dataclasses.field(default_factory=Spot)
    interconnect: Interconnect = dataclasses.field(default_factory=Interconnect)


_TABLES = ("cluster", "network", "spot", "interconnect")
_CLUSTER_KEYS = frozenset(
    [
        "name",
        "location",
        "size",
        "nodes",
        "gpus",
        "orchestration",
        "image",
        "admin",
        "resource_group",
        "subscription",
        "zone",
        "owner",
        "tags",
        "computer_prefix",
        "os_disk_gb",
        "capacity_reservation",
        "cloud_init",
        "ssh_public_key",
        "stop_when_expired",
    ]
)


class _Table:
    """One table of the file; each reader names key, found and expected value."""

    def __init__(self, tables: Mapping[str, Any], name: str, keys: frozenset[str]) -> None:
        self.name = name
        found = tables.get(name, {})
        if not isinstance(found, dict):
            raise UsageError(f"[{name}]: found {found!r}, expected a table.")
        self._values: dict[str, Any] = found
        for key in found:
            if key not in keys:
                raise UsageError(f"{name}.{key}: there is no such key. {nearest(key, keys)}")

    def text(self, key: str, default: str | None, pattern: re.Pattern[str], expected: str) -> str:
        """A text of a form; a key without default is required."""
        value = self._values.get(key, default)
        if value is None:
            raise UsageError(f"{self.name}.{key} is missing, expected {expected}.")
        if value == default:
            return str(value)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise UsageError(f"{self.name}.{key}: found {value!r}, expected {expected}.")
        return value

    def number(self, key: str, default: int | None, least: int, most: int) -> int:
        """A whole number between two others."""
        value = self._values.get(key, default)
        if type(value) is not int or not least <= value <= most:
            found = "is missing" if value is None else f"found {value!r}"
            raise UsageError(f"{self.name}.{key}: {found}, expected a whole number from {least} to {most}.")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise UsageError(f"{self.name}.{key}: found {value!r}, expected true or false.")
        return value

    def word(self, key: str, default: str, words: tuple[str, ...]) -> str:
        """One of some words, in any case."""
        value = self._values.get(key, default)
        found = next((word for word in words if isinstance(value, str) and word.lower() == value.lower()), None)
        if found is None:
            expected = ", ".join(f'"{word}"' for word in words if word)
            raise UsageError(f"{self.name}.{key}: found {value!r}, expected one of {expected}.")
        return found

    def path(self, key: str, base: Path, default: Path | None = None) -> Path | None:
        """A file, relative to the folder of the configuration."""
        if key not in self._values:
            return default
        value = self._values[key]
        if not isinstance(value, str):
            raise UsageError(f"{self.name}.{key}: found {value!r}, expected the path of a file.")
        return base / Path(value).expanduser() if value else None

    def raw(self, key: str, default: Any) -> Any:
        """A value that its caller checks."""
        return self._values.get(key, default)


def read_cluster(tables: Mapping[str, Any], base: Path, cloud_init: Path | None = None) -> Cluster:
    """The cluster that the tables of a file describe.

    Args:
        tables: of the TOML file.
        base: folder that relative paths in it start from.
        cloud_init: file to use where ``cluster.cloud_init`` is not there; an empty text there means none.

    Raises:
        UsageError: a key is unknown, missing or out of its bounds, or two contradict each other.
    """
    for name in tables:
        if name not in _TABLES:
            raise UsageError(f"[{name}]: there is no such table. {nearest(name, _TABLES)}")
    table = _Table(tables, "cluster", _CLUSTER_KEYS)
    name = table.text("name", None, _NAME, "2 to 40 lower-case letters, digits and hyphens, a letter first")
    size = _size(table)
    nodes = table.number("nodes", None, 1, MOST_NODES)
    cluster = Cluster(
        name=name,
        location=table.text("location", None, _LOCATION, "a region in Azure's short form, such as eastus2"),
        size=size.name,
        nodes=nodes,
        gpus=size.gpus,
        mode=cast("Mode", table.word("orchestration", "uniform", get_args(Mode))),
        placement=size.placement,
        image=_image(table, size),
        admin=_admin(table),
        resource_group=table.text("resource_group", f"hpcaccept-{name}", _GROUP, "the name of a resource group"),
        network=_network(tables, nodes),
        subscription=table.text(
            "subscription", "", _SUBSCRIPTION, "the id of a subscription (az account show)"
        ).lower(),
        zone=table.word("zone", "", ("", "1", "2", "3")),
        owner=table.text("owner", "", _TAG, "a name or an address of at most 512 characters"),
        tags=_tags(table.raw("tags", {})),
        computer_prefix=table.text(
            "computer_prefix", "vm-", re.compile(r"[a-z][a-z0-9-]{0,14}"), "1 to 15 lower-case letters, digits, hyphens"
        ),
        os_disk_gb=table.number("os_disk_gb", 256, 30, 4095),
        capacity_reservation=table.text("capacity_reservation", "", _RESOURCE, "a resource id"),
        cloud_init=table.path("cloud_init", base, cloud_init),
        ssh_public_key=table.path("ssh_public_key", base),
        stop_when_expired=table.flag("stop_when_expired", True),
        spot=_spot(tables),
        interconnect=_interconnect(tables, size),
    )
    _agree(cluster)
    return cluster


def _size(table: _Table) -> Size:
    name = table.text("size", None, _SIZE, "a VM size such as Standard_ND96isr_H200_v5")
    found = sizes.find(name)
    gpus = table.raw("gpus", None)
    if found is None and gpus is None:
        raise UsageError(
            f"cluster.size: hpcaccept does not know how many GPUs {name} has. {nearest(name, sizes.known())}",
            "Say it with gpus = N (0: only CPUs are tested).",
        )
    if found is not None and gpus is not None and gpus != found.gpus:
        raise UsageError(f"cluster.gpus: found {gpus!r}, expected {found.gpus}: that is what {found.name} has.")
    return found or Size(name, table.number("gpus", None, 0, 16))


def _image(table: _Table, size: Size) -> str:
    default = DEFAULT_IMAGE if size.architecture == "x64" else None
    expected = "PUBLISHER:OFFER:SKU:VERSION or the resource id of an image"
    if default is None:
        expected += f" for {size.architecture}; Azure lists no public HPC image for {size.gpu}, ask for one"
    return table.text("image", default, re.compile(f"{_IMAGE.pattern}|{_RESOURCE.pattern}"), expected)


def _admin(table: _Table) -> str:
    admin = table.text("admin", "azureuser", _ADMIN, "the name of a Linux user")
    if admin in _ADMIN_REFUSED:
        raise UsageError(f"cluster.admin: Azure refuses {admin!r}, expected another name.", "For example azureuser.")
    return admin


def _tags(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or len(found) > 40:
        raise UsageError(f"cluster.tags: found {str(found)[:80]!r}, expected a table of at most 40 texts.")
    for key, value in found.items():
        if not _TAG.fullmatch(key) or not isinstance(value, str) or len(value) > 256 or not value.isprintable():
            raise UsageError(f"cluster.tags: {key!r} = {value!r} is not a tag that Azure takes.")
        if key.lower().startswith("hpcaccept-") or value.startswith("["):
            raise UsageError(
                f"cluster.tags: {key!r} = {value!r}; names that begin with hpcaccept- and values that begin with [ are reserved."
            )
    return dict(found)


def _network(tables: Mapping[str, Any], nodes: int) -> Network:
    table = _Table(tables, "network", frozenset(f.name for f in dataclasses.fields(Network)))
    sources = table.raw("allow_ssh_from", ())
    if not isinstance(sources, (list, tuple)) or not all(isinstance(text, str) for text in sources):
        raise UsageError(f"network.allow_ssh_from: found {sources!r}, expected a list of ranges.")
    existing = table.text("existing_subnet", "", _RESOURCE, "the resource id of a subnet")
    if existing and "/subnets/" not in existing:
        raise UsageError(f"network.existing_subnet: found {existing!r}, expected the resource id of a subnet.")
    space, subnet = networks.checked_space(
        str(table.raw("address_space", Network.address_space)), str(table.raw("subnet", Network.subnet)), nodes
    )
    return Network(networks.checked_sources(tuple(sources)), space, subnet, existing, table.flag("nat_gateway", True))


def _spot(tables: Mapping[str, Any]) -> Spot:
    table = _Table(tables, "spot", frozenset(f.name for f in dataclasses.fields(Spot)))
    price = table.raw("max_price", -1.0)
    if isinstance(price, bool) or not isinstance(price, (int, float)) or not (price == -1 or 0 < price < 10_000):
        raise UsageError(f"spot.max_price: found {price!r}, expected USD per hour, or -1 for the regular price.")
    eviction = cast("Eviction", table.word("eviction", "Delete", get_args(Eviction)))
    return Spot(table.flag("enabled", False), eviction, round(float(price), 5))


def _interconnect(tables: Mapping[str, Any], size: Size) -> Interconnect:
    table = _Table(tables, "interconnect", frozenset(f.name for f in dataclasses.fields(Interconnect)))
    if "interconnect" in tables and size.placement != "interconnect-group":
        raise UsageError(f"[interconnect]: {size.name} has no interconnect groups, expected a GB200 or GB300 size.")
    most = size.domain_nodes or 18
    return Interconnect(table.number("subgroup_nodes", most, 1, most), table.flag("block", True))


def _agree(cluster: Cluster) -> None:
    """Raises UsageError where two keys contradict each other."""
    if cluster.placement == "single-placement-group" and cluster.nodes > MOST_IN_PLACEMENT_GROUP:
        raise UsageError(
            f"cluster.nodes: found {cluster.nodes}, expected at most {MOST_IN_PLACEMENT_GROUP}: one placement group is one InfiniBand fabric, and Azure allows no more in it.",
            "Above 100 a request to Azure's support is needed.",
        )
    if cluster.placement == "interconnect-group" and cluster.interconnect.block and not cluster.zone:
        raise UsageError(
            "cluster.zone is missing: an interconnect block lies in one zone.",
            "Set zone, or interconnect.block = false.",
        )
    if cluster.spot.enabled and cluster.capacity_reservation:
        raise UsageError(
            "spot.enabled and cluster.capacity_reservation exclude each other: spot VMs use no reservation."
        )
    if cluster.spot.enabled and cluster.placement == "interconnect-group" and cluster.interconnect.block:
        raise UsageError("spot.enabled and interconnect.block exclude each other: a block is reserved capacity.")
