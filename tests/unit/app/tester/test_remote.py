from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.lying_testers import Machine, connected, listening

from hpcaccept.app.tester import keys, remote
from hpcaccept.app.tester.examine import Claim, Plan, examine
from hpcaccept.app.tester.remote import RemoteTester
from hpcaccept.proof.challenge import Challenge
from hpcaccept.transport.tester_client import TesterClient as Client
from hpcaccept.transport.tester_client import TesterFault as Fault
from hpcaccept.transport.tester_server import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL = Challenge("0" * 64, 64, 64, 16, 4)
PLAN = Plan(challenge=SMALL, openings=8, groups=0, transfer_bytes=0, floor_ops=SMALL.ops / 20, peak_ops=SMALL.ops * 1e6)


class InBetween(Machine):
    """Somebody on the path, with a certificate of their own, who hands every question on and reads all of it."""

    def __init__(self, behind: Client) -> None:
        super().__init__(b"does not know it")
        self.behind, self.tokens = behind, [""]

    def answer(self, request: Request) -> Reply:
        self.tokens.append(request.token)
        query = "&".join(f"{name}={value}" for name, value in request.query.items())
        answer = self.behind.ask(f"{request.path}?{query}", most_bytes=10_000, deadline_s=5.0, with_token=False)
        return Reply(200, answer.body)


def test_somebody_in_between_is_found_and_gets_no_token(tmp_path: Path) -> None:
    secret = keys.new_secret()
    with listening(tmp_path / "machine", Machine(secret)) as server:
        to_machine = Client("127.0.0.1", server.port, "", pinned=server.fingerprint, global_only=False)
        between = InBetween(to_machine)
        with listening(tmp_path / "between", between) as open_to_us, pytest.raises(Fault) as fault:
            RemoteTester.connect("127.0.0.1", open_to_us.port, secret, global_only=False)
    assert fault.value.fault == "certificate"
    assert "does not know this rental's key" in str(fault.value)
    assert set(between.tokens) == {""}


@contextlib.contextmanager
def far_away(port: int, delay_s: float) -> Iterator[int]:
    """A line on which every piece takes so long in each direction. Each is delayed by itself, so that a stream loses no more than a round trip."""
    door = socket.create_server(("127.0.0.1", 0))
    door.settimeout(0.1)
    over = threading.Event()
    pumps: list[threading.Thread] = []
    ends: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with source, sink, contextlib.suppress(OSError):
            while block := source.recv(65536):
                time.sleep(delay_s)
                sink.sendall(block)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                near, _ = door.accept()
                far = socket.create_connection(("127.0.0.1", port))
                ends.extend((near.dup(), far.dup()))
                for pair in ((near, far.dup()), (far, near.dup())):
                    pumps.append(threading.Thread(target=pump, args=pair, daemon=True))
                    pumps[-1].start()

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        yield int(door.getsockname()[1])
    finally:
        over.set()
        server.join(5)
        for end in ends:
            with end, contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in pumps:
            thread.join(5)
        door.close()


def test_a_machine_far_away_is_judged_as_one_nearby(tmp_path: Path) -> None:
    secret = keys.new_secret()
    with listening(tmp_path, Machine(secret)) as server, far_away(server.port, 0.04) as port:
        tester = RemoteTester.connect("127.0.0.1", port, secret, global_only=False)
        found = examine(tester, Claim("m", "x", 1), PLAN)
    assert min(found.rtts_s) >= 0.08
    assert found.verdicts[0].outcome == "verified", found.verdicts


class Talkative(Machine):
    """Says more than anybody asked for, with signs that steer a terminal."""

    def on_progress(self, request: Request, plain: dict[str, Any]) -> Any:
        return Reply(200, (b"\x1b]0;owned\x07" + b"x" * 5000 + b"\n") * 100 + b"DONE\n")

    def on_status(self, request: Request, plain: dict[str, Any]) -> Any:
        return {
            "version": 1,
            "devices": [{"device": "\x1b[2J", "ready": True, "trouble": "y" * 9000}],
            "suite": "z" * 9000,
        }


def test_what_a_machine_says_of_itself_is_short_and_printable(tmp_path: Path) -> None:
    with connected(tmp_path, Talkative) as tester:
        lines, status = tester.progress(), tester.status()
    assert len(lines) == 101
    assert max(map(len, lines)) <= 500
    assert remote.is_over(lines)
    assert "\x1b" not in "".join(lines) + status.devices[0].device
    assert len(status.devices[0].trouble) <= 500


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"null", b"{}", b'{"devices": 5}', b'{"devices": [5]}', b'{"devices": [{"device": 1, "ready": 1, "trouble": 1}]}', b'{"devices": ' + b"[" * 60_000,
     json.dumps({"devices": [{"device": "", "ready": True, "trouble": ""}] * 1000}).encode()[:60_000]],
)  # fmt: skip
def test_a_status_that_is_none_is_malformed(tmp_path: Path, answer: bytes) -> None:
    class Odd(Machine):
        def on_status(self, request: Request, plain: dict[str, Any]) -> Any:
            return Reply(200, answer)

    with connected(tmp_path, Odd) as tester, pytest.raises(Fault) as fault:
        tester.status()
    assert fault.value.fault == "malformed"


def test_a_machine_that_received_something_else_has_no_bandwidth(tmp_path: Path) -> None:
    class Deaf(Machine):
        def on_bandwidth(self, request: Request, plain: dict[str, Any]) -> Any:
            for _ in request.stream:
                pass
            return {"bytes": request.size, "sha256": "00" * 32} if request.method == "POST" else Reply(200, b"x")

    with connected(tmp_path, Deaf) as tester:
        with pytest.raises(Fault, match="did not receive"):
            tester.upload(1 << 20, deadline_s=10.0)
        with pytest.raises(Fault, match="1 bytes instead of"):
            tester.download(1 << 20, deadline_s=10.0)


@pytest.mark.parametrize("lines", [[], ["DONE", "more"], ["NOT DONE"], ["DONE "], [" ERROR"]])
def test_only_the_last_line_ends_the_progress(lines: list[str]) -> None:
    assert not remote.is_over(lines)
