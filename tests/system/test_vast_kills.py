"""A client that dies at any request of ``verify`` leaves nothing that is not found by its label and removed; others' instances stay."""

from __future__ import annotations

import re
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support import vast_cli
from support.vast_server import Behaviour, VastServer, vast_server
from support.warm_python import WarmPython, warm_python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.warm_python import WarmProcess

pytestmark = pytest.mark.slow
#: Two machines: one is verified, the other never starts, so that its log is asked for; the first one's host asks for more money.
OPTIONS: dict[str, Any] = {"tester": {"seconds": 0.5}, "guard": False}
CAPS = ("--max-usd", "5", "--max-hours", "1", "--load-timeout", "60")
VERIFY = ("verify", "11", "12", "--image", "me/image:{cuda}", "--folder", "run", "--yes", *CAPS)


def kind_of(line: str) -> str:
    return re.sub(r"\d{3,}", "N", line)


#: Every kind of request that a whole run makes; a test holds this list to it.
KINDS = (
    "POST /api/v0/bundles/",
    "PUT /api/v0/asks/N/",
    "GET /api/v1/instances/",
    "GET /api/v0/instances/pending-price-increases/",
    "PUT /api/v0/instances/reject-price-increase/",
    "GET /api/v0/charges/",
    "PUT /api/v0/instances/request_logs/N/",
    "GET /logs/N",
    "DELETE /api/v0/instances/N/",
    "GET /api/v0/instances/N/",
)


def account(server: VastServer) -> list[int]:
    """An account full of others' instances, one of which has a label that looks like ours."""
    server.offer(11)
    server.offer(12)
    server.behaviours[11] = Behaviour(asks_more=True)
    server.behaviours[12] = Behaviour(status="loading", message="Error: something of the host")
    others = server.foreign(40) + server.foreign(1, "hpcaccept-vast.something else") + server.foreign(1, None)
    server.ask_more(others[0])
    return others


@dataclass(frozen=True)
class Client:
    """Starts hpcaccept: what counts here is how it ends."""

    python: WarmPython

    def start(self, server: VastServer, folder: Path, options: dict[str, Any], *words: str) -> WarmProcess:
        given = vast_cli.words(options, *words)[3:]
        return self.python.start(*given, env=vast_cli.environment(server.url), cwd=folder)

    def said(self, server: VastServer, folder: Path, *words: str, code: int = 0) -> str:
        process = self.start(server, folder, OPTIONS, *words)
        text, _ = process.communicate(timeout=60)
        assert process.returncode == code, text
        return text


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with warm_python("support.vast_cli:run") as python:
        yield Client(python)


def ended_at(
    client: Client, server: VastServer, folder: Path, kind: str, when: str, by: int, options: dict[str, Any]
) -> tuple[int, str]:
    """Start ``verify`` and send it a signal at the first request of a kind, before it is carried out or before its answer leaves."""
    arrived, go_on = threading.Event(), threading.Event()

    def hold(_: int, method: str, path: str) -> None:
        if kind_of(f"{method} {path}") == kind and not arrived.is_set():
            arrived.set()
            go_on.wait(30)

    setattr(server, when, hold)
    process = client.start(server, folder, options, *VERIFY)
    assert arrived.wait(60), process.communicate(60)[0]
    process.send_signal(by)
    if by == signal.SIGKILL:
        process.wait(30)
    else:
        time.sleep(0.2)
    go_on.set()
    text, _ = process.communicate(timeout=60)
    setattr(server, when, lambda *_: None)
    time.sleep(0.1)  # a request whose client has died is carried out all the same
    assert process.returncode is not None
    return process.returncode, text


def test_the_kinds_of_requests_are_those_of_a_whole_run(client: Client, tmp_path: Path) -> None:
    with vast_server() as server:
        others = account(server)
        text = client.said(server, tmp_path, *VERIFY, code=3)
        assert "1 verified" in text
        assert {kind_of(each) for each in server.requests} == set(KINDS)
        assert server.ours() == []
        assert sorted(server.instances) == sorted(others)
        assert len(server.rejected) == 1, "only the increase of our own instance is rejected"
        assert server.accepted == []
        assert len(server.pending) == 1


@pytest.mark.parametrize("when", ["on_request", "on_answer"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_client_leaves_is_found_and_removed_by_its_label(
    client: Client, tmp_path: Path, kind: str, when: str
) -> None:
    with vast_server() as server:
        others = account(server)
        if kind.startswith("GET /logs") and when == "on_answer":
            pytest.skip("a log is answered by another server, where nothing happens before")
        code, text = ended_at(client, server, tmp_path, kind, when, signal.SIGKILL, OPTIONS)
        assert code == -signal.SIGKILL, text
        left = server.ours()
        listed = client.said(server, tmp_path, "status", code=3 if left else 0)
        assert sorted(map(int, re.findall(r"^instance (\d+)", listed, re.MULTILINE))) == sorted(left)
        # Another client may be at work: nothing is taken from it before its time.
        assert "There is nothing to destroy" in client.said(server, tmp_path, "reap")
        client.said(server, tmp_path, "reap", "--all", "--yes")
        assert server.ours() == []
        assert sorted(server.instances) == sorted(others)


@pytest.mark.parametrize("when", ["on_request", "on_answer"])
@pytest.mark.parametrize("kind", KINDS)
def test_who_is_interrupted_destroys_everything_first(client: Client, tmp_path: Path, kind: str, when: str) -> None:
    if kind.startswith("GET /logs") and when == "on_answer":
        pytest.skip("a log is answered by another server, where nothing happens before")
    with vast_server() as server:
        others = account(server)
        code, text = ended_at(client, server, tmp_path, kind, when, signal.SIGINT, OPTIONS)
        assert code == 130, text
        assert server.ours() == []
        assert sorted(server.instances) == sorted(others)
        if (tmp_path / "run" / "journal.jsonl").exists():
            client.said(server, tmp_path, "report", "run", code=3)
            logs = [(tmp_path / "run" / name).read_text() for name in ("Pass_testresults.log", "Error_testresults.log")]
            assert sorted(re.findall(r"^(11|12)\b", "".join(logs), re.MULTILINE)) == ["11", "12"]


@pytest.mark.parametrize("kind", ["PUT /api/v0/asks/N/", "GET /api/v1/instances/", "DELETE /api/v0/instances/N/"])
@pytest.mark.parametrize("when", ["on_request", "on_answer"])
def test_the_guard_of_a_killed_client_removes_what_it_has_rented(
    client: Client, tmp_path: Path, kind: str, when: str
) -> None:
    with vast_server() as server:
        others = account(server)
        code, text = ended_at(client, server, tmp_path, kind, when, signal.SIGKILL, {**OPTIONS, "guard": True})
        assert code == -signal.SIGKILL, text
        log, until = tmp_path / "run" / "guard.log", time.monotonic() + 30
        while "a whole list of the account shows nothing" not in log.read_text() and time.monotonic() < until:
            time.sleep(0.1)
        assert "Removed" in log.read_text()
        assert server.ours() == []
        assert sorted(server.instances) == sorted(others)


def test_a_guard_goes_with_a_client_that_has_ended_well(client: Client, tmp_path: Path) -> None:
    with vast_server() as server:
        account(server)
        process = client.start(server, tmp_path, {**OPTIONS, "guard": True}, *VERIFY)
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 3, text
        assert (tmp_path / "run" / "guard.log").read_text() == ""


def test_a_run_that_was_killed_is_resumed_and_rents_no_machine_twice_at_once(client: Client, tmp_path: Path) -> None:
    with vast_server() as server:
        others = account(server)
        ended_at(client, server, tmp_path, "GET /api/v0/charges/", "on_request", signal.SIGKILL, OPTIONS)
        assert server.ours()
        words = (
            "verify",
            "--resume",
            "run",
            "--image",
            "me/image:{cuda}",
            "--max-usd",
            "5",
            "--max-hours",
            "1",
            "--yes",
        )
        text = client.said(server, tmp_path, *words, code=3)
        assert "was left by an earlier client: destroyed" in text
        assert "1 verified" in text
        assert server.ours() == []
        assert sorted(server.instances) == sorted(others)
        assert (tmp_path / "run" / "Pass_testresults.log").read_text() == "11\n"
        assert (tmp_path / "run" / "Error_testresults.log").read_text().startswith("12:")
