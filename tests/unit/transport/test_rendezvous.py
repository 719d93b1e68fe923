"""Who is let in where ranks meet? Whoever knows the secret; afterwards their hosts alone. Addresses of lo stand for hosts."""

from __future__ import annotations

import datetime as dt
import os
import socket
from typing import TYPE_CHECKING

import psutil
import pytest
import torch.distributed as dist

from hpcaccept.measure.ranks.process_group import process_group
from hpcaccept.transport.rendezvous import Doors, doors, knock, new_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def secret() -> bytes:
    return new_secret()


@pytest.fixture
def door(secret: bytes) -> Iterator[Doors]:
    with doors([HERE], secret) as found:
        yield found


def gets_in(port: int, source: str, address: str = HERE) -> bool:
    try:
        with socket.create_connection((address, port), timeout=0.5, source_address=(source, 0)):
            return True
    except OSError:
        return False


def test_who_knows_the_secret_is_let_in_and_hears_that_it_is_the_right_door(door: Doors, secret: bytes) -> None:
    assert knock(door.places, secret) == (HERE, HERE)
    assert door.known == {HERE}


def test_who_does_not_is_not(door: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcaccept.transport.rendezvous.PROBES_S", (0.5,))
    assert knock(door.places, new_secret()) is None
    assert not door.known


def test_a_stranger_behind_the_address_is_no_rank_0(secret: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcaccept.transport.rendezvous.PROBES_S", (0.5,))
    with doors([HERE], new_secret()) as other:
        assert knock(other.places, secret) is None


def test_who_only_connects_keeps_nobody_waiting(door: Doors, secret: bytes) -> None:
    with socket.create_connection(door.places[0]), socket.create_connection(door.places[0]):
        assert knock(door.places, secret)


def test_each_door_is_at_its_address_and_at_no_other(door: Doors) -> None:
    ((_, port),) = door.places
    assert gets_in(port, HERE)
    assert not gets_in(port, HERE, ELSEWHERE)


def test_an_address_that_this_host_does_not_have_is_left_out(secret: bytes) -> None:
    with doors(["192.0.2.7", HERE], secret) as found:
        assert [address for address, _ in found.places] == [HERE]


def test_what_is_handed_over_hears_the_hosts_of_the_run_and_no_others(door: Doors, secret: bytes) -> None:
    ((_, port),) = door.places
    assert gets_in(port, ELSEWHERE), "before it anybody may knock"
    early = socket.create_connection((HERE, port), source_address=(ELSEWHERE, 0))
    knock(door.places, secret)
    handed, same = door.hand_over(HERE)
    with early, socket.socket(fileno=handed) as listening:
        assert same == port
        assert not gets_in(port, ELSEWHERE)
        assert gets_in(port, HERE)
        listening.settimeout(2)
        visitor, (source, _) = listening.accept()
        visitor.close()
        assert source == HERE, "whoever waited there before was sent away"


def test_where_all_found_different_addresses_it_listens_at_all_of_them_to_the_same_hosts(
    door: Doors, secret: bytes
) -> None:
    knock(door.places, secret)
    handed, port = door.hand_over("")
    with socket.socket(fileno=handed):
        assert gets_in(port, HERE, ELSEWHERE)
        assert not gets_in(port, ELSEWHERE, HERE)


@pytest.mark.parametrize("use_libuv", [True, False])
@pytest.mark.parametrize("address", [HERE, ""])
def test_a_store_takes_it_over_and_no_stranger_sees_its_keys(
    door: Doors, secret: bytes, address: str, use_libuv: bool
) -> None:
    knock(door.places, secret)
    handed, port = door.hand_over(address)
    wait = dt.timedelta(seconds=5)
    store = dist.TCPStore(
        HERE,
        port,
        1,
        is_master=True,
        timeout=wait,
        wait_for_workers=False,
        master_listen_fd=handed,
        use_libuv=use_libuv,
    )
    store.set("key", "value")
    other = dist.TCPStore(HERE, port, 1, is_master=False, timeout=wait, wait_for_workers=False, use_libuv=use_libuv)
    assert other.get("key") == b"value"
    assert not gets_in(port, ELSEWHERE)


def test_nothing_of_a_group_on_one_machine_listens_to_the_network() -> None:
    def sockets() -> set[str]:
        found = psutil.Process(os.getpid()).net_connections(kind="tcp")
        return {str(one.laddr.ip) for one in found if one.status == psutil.CONN_LISTEN}

    before = sockets()
    with process_group("cpu", 0, 1, lambda x: x, lambda x: [x], shared_kernel=True, timeout_s=30):
        assert sockets() - before <= {HERE}
