from __future__ import annotations

import contextlib
import ipaddress
import socket
import types
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from hpcaccept.transport.network import (
    interface_of,
    own_addresses,
    own_names,
    reserved_ports,
)

if TYPE_CHECKING:
    import pytest


def test_a_host_without_a_name_or_a_way_out_is_found_by_its_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setattr(socket, "socket", nowhere)
    address = types.SimpleNamespace(family=socket.AF_INET, address="198.18.0.7")
    lo = types.SimpleNamespace(family=socket.AF_INET, address="127.0.0.1")
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"lo": [lo], "eth0": [address]})
    assert own_addresses() == ["198.18.0.7"]


def test_loopback_is_never_offered_to_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    debian = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: debian)
    assert not any(ipaddress.ip_address(a).is_loopback for a in own_addresses())


def test_a_host_without_a_name_still_has_addresses_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert isinstance(own_addresses(), list)


def test_an_address_has_its_interface() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("198.51.100.1") == ""


def test_reserved_ports_differ_and_a_child_may_listen_on_them() -> None:
    with reserved_ports(64) as ports:
        assert len(set(ports)) == 64
        # Like perftest's: create_server sets SO_REUSEADDR.
        for address in ("", "127.0.0.1"):
            with (
                socket.create_server((address, ports[0])),
                socket.create_connection(("127.0.0.1", ports[0]), timeout=5),
            ):
                pass


def test_a_reserved_port_is_given_to_nobody_else() -> None:
    """Whether it asks for SO_REUSEADDR or not; 400 of them."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    with reserved_ports(100) as ports, contextlib.ExitStack() as held:
        given = set()
        for _ in range(200):
            others = [held.enter_context(socket.socket()) for _ in range(2)]
            others[0].bind(("", 0))
            others[1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            others[1].bind(("", 0))
            given |= {one.getsockname()[1] for one in others}
        assert given.isdisjoint(ports)
        assert all(first <= port <= last for port in ports)


def test_a_host_knows_its_name() -> None:
    assert socket.gethostname() in own_names()
