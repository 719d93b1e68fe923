from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcaccept.app.tester import keys
from hpcaccept.app.tester import service as module
from hpcaccept.app.tester.gpus import Busy, Failed
from hpcaccept.app.tester.sent_files import MOST_PACKED_BYTES
from hpcaccept.errors import UsageError
from hpcaccept.transport.tester_server import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SECRET = b"s" * 32
TOKEN = keys.token_of(SECRET)
CHALLENGE = {"nonce": "ab" * 32, "rows": 64, "width": 64, "steps": 8, "segment": 2}


class Prover:
    """Says what it was asked."""

    def __init__(self) -> None:
        self.device, self.trouble, self.ready = "cuda:0", "", threading.Event()
        self.ready.set()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.raises: Exception | None = None

    def ask(self, operation: str, timeout_s: float, **request: Any) -> dict[str, Any]:
        self.asked.append((operation, request))
        if self.raises:
            raise self.raises
        return {"roots": []}


class Suite:
    running, state, suite = False, "idle", "marketplace"
    lines = ("one", "two", "DONE")
    file: Path | None = None

    sent: str | None = None

    def start(self, toml: str = "") -> bool:
        self.sent = toml
        return True

    def take(self, blocks: Iterable[bytes]) -> str:
        raise ValueError("no files are wanted")

    def progress(self) -> list[str]:
        return list(self.lines)

    def report(self) -> bytes:
        if self.file is None:
            raise OSError("none")
        return self.file.read_bytes()


def serving(prover: Prover | None = None, suite: Suite | None = None) -> module.Tester:
    pin, digest = keys.from_environment(keys.environment(SECRET))
    made = module.Tester(pin, digest, [prover or Prover()], suite or Suite())  # type: ignore[list-item, arg-type]
    made.fingerprint = "f" * 64
    return made


def asked(made: module.Tester, method: str, path: str, body: bytes = b"", token: str = TOKEN, **query: Any) -> Reply:
    return made.answer(Request(method, path, query, token, len(body), body))


def rest(name: str, value: str) -> dict[str, Any]:
    """``from`` is a word of Python."""
    return {name: value}


def plain(reply: Reply) -> Any:
    assert isinstance(reply.body, bytes)
    return json.loads(reply.body)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        TOKEN.upper(),
        TOKEN[:-1],
        keys.pin_of(SECRET).hex(),
        keys.environment(SECRET)[keys.TOKEN_VARIABLE],
        "é" * 64,
    ],
)
@pytest.mark.parametrize("path", ["/status", "/progress", "/result", "/bandwidth", "/nothing"])
def test_nothing_but_hello_is_answered_without_the_token(path: str, token: str) -> None:
    """What stands in the machine's variables is no token either."""
    assert asked(serving(), "GET", path, token=token).status == 401


def test_the_certificate_is_proved_to_whoever_asks_with_a_nonce_of_their_own() -> None:
    found = plain(asked(serving(), "GET", "/hello", token="", nonce="ab" * 32))
    assert found["proof"] == keys.certificate_proof(keys.pin_of(SECRET), "ab" * 32, "f" * 64)
    others = [
        keys.certificate_proof(keys.pin_of(SECRET), "ab" * 32, "e" * 64),
        keys.certificate_proof(keys.pin_of(SECRET), "cd" * 32, "f" * 64),
        keys.certificate_proof(keys.pin_of(b"t" * 32), "ab" * 32, "f" * 64),
    ]
    assert found["proof"] not in others


@pytest.mark.parametrize("nonce", ["", "ab", "AB" * 32, "ab" * 64, "|" * 64])
def test_a_nonce_that_is_none_is_proved_nothing_to(nonce: str) -> None:
    assert asked(serving(), "GET", "/hello", token="", nonce=nonce).status == 400


def test_the_machine_is_told_neither_the_secret_nor_the_token() -> None:
    told = json.dumps(keys.environment(SECRET))
    assert SECRET.hex() not in told
    assert TOKEN not in told


@pytest.mark.parametrize("value", ["", "x" * 64, "AB" * 32, "ab" * 31])
def test_variables_that_are_missing_or_none_are_refused(value: str) -> None:
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        keys.from_environment({**keys.environment(SECRET), keys.PIN_VARIABLE: value})


def test_progress_goes_on_from_a_line() -> None:
    assert asked(serving(), "GET", "/progress", **rest("from", "1")).body == b"two\nDONE\n"
    assert asked(serving(), "GET", "/progress", **rest("from", "-1")).body == b"one\ntwo\nDONE\n"


@pytest.mark.parametrize(
    ("body", "sent"),
    [(b"", ""), (b"{}", ""), (b'{"toml": "[checks.identity]"}', "[checks.identity]")],
)
def test_a_suite_is_the_machine_s_or_the_one_that_is_sent(body: bytes, sent: str) -> None:
    suite = Suite()
    assert plain(asked(serving(suite=suite), "POST", "/suite", body)) == {"started": True}
    assert suite.sent == sent


@pytest.mark.parametrize("body", [b"[]", b"x", b'{"toml": 7}', b'{"toml": "' + b"x" * 70_000 + b'"}'])
def test_what_is_no_suite_starts_nothing(body: bytes) -> None:
    suite = Suite()
    assert asked(serving(suite=suite), "POST", "/suite", body).status == 400
    assert suite.sent is None


def test_a_challenge_is_handed_to_its_gpu() -> None:
    prover = Prover()
    body = json.dumps({"gpu": 0, "challenge": CHALLENGE}).encode()
    assert asked(serving(prover), "POST", "/challenge", body).status == 200
    assert prover.asked == [("prove", {"challenge": CHALLENGE})]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 404),
        (b'{"gpu": 1}', 404),
        (b'{"gpu": -1}', 404),
        (b'{"gpu": true}', 404),
        (b'{"gpu": 0}', 400),
        (b'{"gpu": 0, "challenge": {"nonce": "x"}}', 400),
        (json.dumps({"gpu": 0, "challenge": {**CHALLENGE, "rows": 1 << 40}}).encode(), 400),
        (b"[" * 100_000, 400),
    ],
)
def test_what_is_no_challenge_reaches_no_gpu(body: bytes, status: int) -> None:
    prover = Prover()
    assert asked(serving(prover), "POST", "/challenge", body).status == status
    assert prover.asked == []


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Busy("x"), 409), (Failed("request", "x"), 400), (Failed("unsupported", "x"), 422), (Failed("dead", "x"), 422)],
)
def test_a_gpu_that_cannot_is_a_status_and_not_a_crash(fault: Exception, status: int) -> None:
    prover = Prover()
    prover.raises = fault
    assert asked(serving(prover), "POST", "/open", b'{"gpu": 0, "cells": []}').status == status


def test_no_challenge_is_measured_beside_the_suite() -> None:
    suite = Suite()
    suite.running = True
    body = json.dumps({"gpu": 0, "challenge": CHALLENGE}).encode()
    assert asked(serving(suite=suite), "POST", "/challenge", body).status == 409


@pytest.mark.parametrize("size", ["", "0", "-1", "1e3", "99999999999", "９"])
def test_a_number_of_bytes_is_one(size: str) -> None:
    assert asked(serving(), "GET", "/bandwidth", bytes=size).status == 400


def test_so_many_bytes_as_asked_for_are_sent() -> None:
    reply = asked(serving(), "GET", "/bandwidth", bytes="300001")
    assert not isinstance(reply.body, bytes)
    assert sum(len(block) for block in reply.body) == 300_001


@settings(
    max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    method=st.sampled_from(["GET", "POST"]),
    path=st.sampled_from(
        [
            "/hello",
            "/status",
            "/progress",
            "/files",
            "/suite",
            "/result",
            "/challenge",
            "/open",
            "/memory",
            "/bandwidth",
            "//",
            "/../etc/passwd",
            "",
        ]
    ),
    body=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just(CHALLENGE)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(["gpu", "challenge", "cells", "action", "probe", "groups"]), inner, max_size=6
                ),
            ),
            max_leaves=8,
        ).map(lambda thing: json.dumps(thing).encode()),
    ),
    query=st.dictionaries(st.sampled_from(["from", "bytes", "nonce"]), st.text(max_size=12), max_size=3),
)
def test_any_request_has_an_answer(method: str, path: str, body: bytes, query: dict[str, str]) -> None:
    reply = serving().answer(Request(method, path, query, TOKEN, len(body), body, stream=[body]))
    assert reply.status in (200, 400, 404, 409, 422)


class Waiting(Suite):
    """Tests whose files are sent first."""

    taken = b""

    def take(self, blocks: Iterable[bytes]) -> str:
        self.taken = b"".join(blocks)
        if self.taken == b"none":
            raise ValueError("it is no archive")
        return "ab" * 32

    def start(self, toml: str = "") -> bool:
        raise ValueError("the tests' files have not come yet")


@pytest.mark.parametrize(
    ("body", "size", "status"),
    [(b"files", 5, 200), (b"none", 4, 400), (b"files", MOST_PACKED_BYTES + 1, 413)],
)
def test_files_of_tests_are_taken_within_their_limits(body: bytes, size: int, status: int) -> None:
    suite = Waiting()
    reply = serving(suite=suite).answer(Request("POST", "/files", {}, TOKEN, size, stream=iter([body])))
    assert reply.status == status
    assert (suite.taken == body) is (status != 413)
    assert status != 200 or plain(reply) == {"bytes": 5, "sha256": "ab" * 32}


def test_tests_without_their_files_do_not_start() -> None:
    reply = asked(serving(suite=Waiting()), "POST", "/suite", b"{}")
    assert (reply.status, plain(reply)["error"]) == (409, "the tests' files have not come yet")
