"""The address ranges that a cluster may use, and those from which its ssh may be reached."""

from __future__ import annotations

import ipaddress

from hpcaccept.errors import UsageError

Network = ipaddress.IPv4Network

#: Used inside the RDMA network of ND and HB sizes: https://learn.microsoft.com/azure/virtual-machines/setup-infiniband
RDMA_RESERVED = ipaddress.IPv4Network("172.16.0.0/16")
#: Azure keeps the first four addresses of a subnet and its last one.
RESERVED_ADDRESSES = 5
#: Wider than this is no site: the whole of a large provider, or the internet.
_SHORTEST_PREFIX = 8


def network(text: str, key: str) -> Network:
    """An IPv4 range in CIDR notation.

    Raises:
        UsageError: it is none, or has bits set to the right of its prefix.
    """
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as fault:
        raise UsageError(f"{key}: found {text!r}, expected an IPv4 range such as 10.0.0.0/16 ({fault}).") from None


def checked_space(space: str, subnet: str, nodes: int) -> tuple[str, str]:
    """Address space and subnet of a new virtual network.

    Raises:
        UsageError: one overlaps the RDMA network, the subnet is not inside, or is too small for so many nodes.
    """
    outer, inner = network(space, "network.address_space"), network(subnet, "network.subnet")
    refuse_rdma(outer, "network.address_space")
    if not inner.subnet_of(outer):
        raise UsageError(f"network.subnet: {inner} is not inside network.address_space {outer}.")
    free = inner.num_addresses - RESERVED_ADDRESSES
    if free < nodes:
        raise UsageError(f"network.subnet: {inner} has {max(0, free)} usable addresses, expected at least {nodes}.")
    return str(outer), str(inner)


def refuse_rdma(found: Network, key: str) -> None:
    """Raises UsageError where a range overlaps the one that the RDMA network uses itself."""
    if found.overlaps(RDMA_RESERVED):
        raise UsageError(
            f"{key}: {found} overlaps {RDMA_RESERVED}, which Azure's RDMA network uses itself.",
            "Choose another range, for example 10.0.0.0/16.",
        )


def checked_sources(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Ranges from which ssh may be reached.

    Raises:
        UsageError: there is none, or one of them is the whole internet.
    """
    if not texts:
        raise UsageError(
            "network.allow_ssh_from is missing: ssh is opened to nobody by default.",
            'Name the address that you come from, for example allow_ssh_from = ["203.0.113.7/32"].',
        )
    for text in texts:
        found = network(text, "network.allow_ssh_from")
        if found.prefixlen < _SHORTEST_PREFIX:
            raise UsageError(
                f"network.allow_ssh_from: {found} opens ssh to the internet.",
                "Name your own address or that of your site, for example 203.0.113.7/32.",
            )
    return texts
