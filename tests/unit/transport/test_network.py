from __future__ import annotations

import ipaddress
import socket
import types
from typing import TYPE_CHECKING

import psutil

from hpcaccept.transport.network import free_port, interface_of, listening_port, own_addresses, own_names, reachable

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


def test_the_first_address_that_answers_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert reachable(["127.0.0.2", "127.0.0.1"], port) == ("127.0.0.1", "127.0.0.1")
    assert reachable(["127.0.0.1"], port) is None


def test_an_address_has_its_interface() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("198.51.100.1") == ""


def test_a_port_accepts_connections_while_its_block_is_open() -> None:
    with listening_port() as port:
        assert reachable(["127.0.0.1"], port) == ("127.0.0.1", "127.0.0.1")
    assert reachable(["127.0.0.1"], port) is None


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port())):
        pass


def test_a_host_knows_its_name() -> None:
    assert socket.gethostname() in own_names()
