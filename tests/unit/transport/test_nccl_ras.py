"""Asking NCCL's RAS service, over a real socket. The other side is a stand-in: it says the protocol's lines and a published answer."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from support.builders import DATA

from hpcaccept.transport.nccl_ras import _rest, ras_status

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER = (DATA / "nccl_ras/dead.txt").read_text("utf-8")


class Service:
    """Answers one client; ``heard`` are the lines it was sent."""

    def __init__(self, greeting: str, answer: str) -> None:
        self.heard: list[str] = []
        self._said = greeting, answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        greeting, answer = self._said
        client, _ = self._listener.accept()
        with client, client.makefile("r") as lines:
            self.heard.append(next(lines).strip())
            client.sendall(greeting.encode())
            self.heard += [next(lines).strip() for _ in range(2)]
            client.sendall(b"OK\n" + answer.encode())

    def close(self) -> None:
        self._thread.join(60)
        self._listener.close()


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    one = Service(*request.param)
    yield one
    one.close()


@pytest.mark.parametrize("service", [("SERVER PROTOCOL 2\n", ANSWER)], indirect=True)
def test_the_answer_comes_whole_and_ras_is_told_how_long_it_may_take(service: Service) -> None:
    assert ras_status(service.address, 60) == ANSWER
    assert service.heard == ["CLIENT PROTOCOL 2", "TIMEOUT 59", "STATUS"]


def test_of_an_answer_that_does_not_end_what_has_come_is_kept() -> None:
    here, there = socket.socketpair()
    with here, there, here.makefile("rb") as talk:
        there.sendall(b"DEAD\n  Process 1")
        assert _rest(here, talk, time.monotonic() + 0.1) in (b"DEAD\n", b"DEAD\n  Process 1")


@pytest.mark.parametrize("service", [("HTTP/1.1 400 Bad Request\n", "")], indirect=True)
def test_another_service_says_nothing(service: Service) -> None:
    assert ras_status(service.address, 60) == ""


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "localhost:99999", ""])
def test_where_nobody_listens_there_is_no_answer(address: str) -> None:
    assert ras_status(address, 5) == ""
