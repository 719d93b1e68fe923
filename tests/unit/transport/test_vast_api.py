from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from support.vast_server import KEY, Rule, VastServer, vast_server

from hpcaccept.app.vast import session as sessions
from hpcaccept.app.vast.session import Session
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.provider.vast import requests
from hpcaccept.transport import http, vast_api
from hpcaccept.transport.vast_api import KeyRefused, QuotaSpent, Throttled, VastApi, VastRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[VastServer]:
    with vast_server() as found:
        yield found


class Waits:
    """Seconds that a client waited, and did not."""

    def __init__(self) -> None:
        self.all: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.all.append(seconds)


def session(server: VastServer, key: str = KEY, **more: Any) -> Session:
    more.setdefault("interval_s", 0.0)
    more.setdefault("sleep", lambda _: None)
    return Session(VastApi(server.url, key, **more))


def many(server: VastServer, pattern: str, **what: Any) -> None:
    server.rules.append(Rule(pattern, times=100, **what))


def test_a_429_of_plain_text_is_waited_for_and_asked_again(server: VastServer) -> None:
    waits = Waits()
    server.rules.append(
        Rule("GET .*instances", status=429, body=b"API requests too frequent: endpoint threshold=4.5", times=2)
    )
    assert session(server, sleep=waits, jitter=lambda: 0.0).instances() == []
    assert waits.all == [0.5, 1.0]


def test_jitter_keeps_clients_apart(server: VastServer) -> None:
    waits = Waits()
    server.rules.append(Rule("GET .*instances", status=429, body={"detail": "API requests too frequent"}))
    session(server, sleep=waits, jitter=lambda: 1.0).instances()
    assert waits.all == [0.625]


@pytest.mark.parametrize(("asked", "waited"), [("3", [3.0]), ("60", [60.0]), ("0.25", [0.25]), ("soon", [0.5])])
def test_retry_after_is_honoured_up_to_a_minute(server: VastServer, asked: str, waited: list[float]) -> None:
    waits = Waits()
    server.rules.append(Rule("GET .*instances", status=429, body=b"later", headers={"Retry-After": asked}))
    session(server, sleep=waits, jitter=lambda: 0.0).instances()
    assert waits.all == waited


def test_a_longer_retry_after_is_an_error_at_once(server: VastServer) -> None:
    server.rules.append(Rule("GET .*instances", status=429, body=b"later", headers={"Retry-After": "61"}))
    with pytest.raises(Throttled, match="61 s"):
        session(server).instances()
    assert len(server.requests) == 1


def test_tries_are_bounded(server: VastServer) -> None:
    many(server, "GET .*instances", status=429, body=b"later")
    with pytest.raises(Throttled):
        session(server).instances()
    assert len(server.requests) == 8


def test_a_creation_that_was_throttled_has_not_begun_and_is_repeated(server: VastServer) -> None:
    server.offer(11)
    server.rules.append(Rule("PUT .*asks", status=429, body=b"later"))
    assert session(server).create(7_000_011, requests.Launch("a/b:c", "x"), "label") in server.instances
    assert len(server.instances) == 1


@pytest.mark.parametrize("kind", ["lost", "unheard", "cut"])
def test_a_creation_without_an_answer_is_never_sent_twice(server: VastServer, kind: str) -> None:
    server.offer(11)
    server.rules.append(Rule("PUT .*asks", kind=kind))
    with pytest.raises(http.NoAnswer):
        session(server).create(7_000_011, requests.Launch("a/b:c", "x"), "label")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_s_error_is_asked_again_only_where_that_is_harmless(server: VastServer, status: int) -> None:
    server.offer(11)
    server.rules += [
        Rule("GET .*instances", status=status, body=b"<html>"),
        Rule("PUT .*asks", status=status, body=b"<html>"),
    ]
    assert session(server).instances() == []
    with pytest.raises(http.NoAnswer, match=str(status)):
        session(server).create(7_000_011, requests.Launch("a/b:c", "x"), "label")


def test_a_daily_quota_is_not_asked_again(server: VastServer) -> None:
    body = {"success": False, "error": "search_quota_exceeded", "msg": "Daily search quota exceeded"}
    server.rules.append(Rule("POST .*bundles", status=429, body=body, headers={"Retry-After": "1"}))
    with pytest.raises(QuotaSpent, match="00:00 UTC"):
        session(server).offers({}, [], 5)
    assert len(server.requests) == 1


def test_a_bad_key_is_a_404_and_is_told_apart(server: VastServer) -> None:
    with pytest.raises(KeyRefused, match="Invalid user key"):
        session(server, "another-key").instances()
    with pytest.raises(KeyRefused):
        session(server, "another-key").destroy(5)
    with pytest.raises(KeyRefused):
        session(server, "another-key").instance(5)


def test_a_404_of_another_kind_is_no_such_thing(server: VastServer) -> None:
    session(server).destroy(5)
    assert session(server).instance(5) is None
    with pytest.raises(VastRefused, match="no_such_ask") as refused:
        session(server).create(5, requests.Launch("a/b:c", "x"), "label")
    assert (refused.value.status, refused.value.code) == (404, "invalid_args")


def test_the_list_that_is_no_longer_there_is_never_asked_for(server: VastServer) -> None:
    server.foreign(60)
    assert len(session(server).instances()) == 60
    assert server.requests == ["GET /api/v1/instances/"] * 3


def test_a_410_is_an_answer_that_a_retry_does_not_change(server: VastServer) -> None:
    many(
        server, "GET .*instances", status=410, body={"success": False, "error": "deprecated_endpoint", "msg": "Use v2"}
    )
    with pytest.raises(VastRefused, match="deprecated_endpoint"):
        session(server).instances()
    assert len(server.requests) == 1


BROKEN_LISTS: dict[str, Any] = {
    "no key": {"success": True},
    "null": {"instances": None},
    "text": {"instances": "none"},
    "a table": {"instances": {}},
    "fewer than it says": {"instances": [], "total_instances": 3},
    "says that it failed": {"success": False, "instances": []},
    "a token that is none": {"instances": [], "next_token": 5},
    "without an id": {"instances": [{"label": "x"}]},
    "an id that is text": {"instances": [{"id": "5"}]},
    "an instance that is text": {"instances": ["5"]},
    "no JSON": b"[",
    "nothing": b"",
    "HTML": b"<html>maintenance</html>",
    "too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("body", BROKEN_LISTS.values(), ids=BROKEN_LISTS)
def test_what_is_no_whole_list_is_never_an_empty_one(server: VastServer, body: Any) -> None:
    many(server, "GET .*instances", body=body)
    with pytest.raises(LaunchError):
        session(server).instances()


def test_a_list_that_is_cut_is_asked_for_again(server: VastServer) -> None:
    server.foreign(3)
    server.rules.append(Rule("GET .*instances", kind="cut"))
    assert len(session(server).instances()) == 3


def test_a_list_whose_second_page_is_lost_for_good_is_no_list(server: VastServer) -> None:
    server.foreign(30)
    server.rules.append(Rule("GET .*instances", kind="cut", after=1, times=100))
    with pytest.raises(http.NoAnswer):
        session(server).instances()


def test_pages_that_never_end_do(server: VastServer) -> None:
    many(server, "GET .*instances", body={"instances": [], "next_token": "same"})
    with pytest.raises(http.BrokenAnswer, match="cannot be followed"):
        session(server).instances()


def test_an_answer_of_ten_megabytes_is_read(server: VastServer) -> None:
    server.offer(11)
    server.rules += [Rule("POST .*bundles", kind="big"), Rule("GET .*instances", kind="big")]
    found, refused = session(server).offers({}, [], 5)
    assert (len(found), refused) == (1, [])
    assert session(server).instances() == []


def test_an_answer_that_comes_twice_counts_once(server: VastServer) -> None:
    server.offer(11)
    server.rules.append(Rule("PUT .*asks", kind="twice"))
    session(server).create(7_000_011, requests.Launch("a/b:c", "x"), "label")
    assert len(session(server).instances()) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"success": True},
        {"success": True, "new_contract": "5"},
        {"new_contract": True},
        {"new_contract": -1},
        [],
        5,
        {"new_contract": 1.5},
    ],
)
def test_a_creation_whose_answer_has_wrong_types_is_one_without_an_answer(server: VastServer, body: Any) -> None:
    server.rules.append(Rule("PUT .*asks", body=body))
    with pytest.raises(http.BrokenAnswer):
        session(server).create(7, requests.Launch("a/b:c", "x"), "label")


def test_offers_of_another_form_are_named_and_left_out(server: VastServer) -> None:
    good = server.offer(11)
    wrong = [
        {**good, "id": "7"},
        {**good, "dph_total": None},
        {**good, "gpu_name": 5},
        {**good, "num_gpus": 0},
        "offer",
        {**good, "dph_total": True},
    ]
    server.rules.append(Rule("POST .*bundles", body={"offers": [good, *wrong]}))
    found, refused = session(server).offers({}, [], 5)
    assert [each.machine_id for each in found] == [11]
    assert len(refused) == len(wrong)


def test_one_endpoint_is_not_asked_faster_than_its_interval(server: VastServer) -> None:
    clock, waits = [0.0], Waits()
    asked = session(server, interval_s=2.0, sleep=waits, clock=lambda: clock[0])
    for identity in (1, 2, 3):
        asked.instance(identity)
    assert waits.all == [2.0, 4.0]
    asked.instances()
    assert waits.all == [2.0, 4.0], "another endpoint has its own"
    clock[0] = 10.0
    asked.instance(4)
    assert waits.all == [2.0, 4.0]


def test_the_key_is_in_one_header_and_in_no_error(server: VastServer) -> None:
    many(server, "GET", status=500, body={"error": "x", "msg": "y"})
    with pytest.raises(LaunchError) as fault:
        session(server).instances()
    assert KEY not in str(fault.value)
    assert KEY not in repr(vars(fault.value))


@pytest.mark.parametrize("key", ["", "two words", "new\nline", "ключ"])
def test_a_key_that_no_header_takes_is_refused(key: str) -> None:
    with pytest.raises(UsageError):
        VastApi("https://console.vast.ai", key)


def test_a_server_without_tls_is_asked_on_this_machine_only() -> None:
    with pytest.raises(UsageError):
        VastApi("http://console.vast.ai", "key")


def test_text_of_the_server_cannot_steer_a_terminal(server: VastServer) -> None:
    server.rules.append(Rule("GET .*instances", status=400, body={"error": "x\x1b[31m", "msg": "a\x1b]0;b\x07"}))
    with pytest.raises(VastRefused) as refused:
        session(server).instances()
    assert "\x1b" not in str(refused.value)


def test_a_log_comes_from_where_the_answer_says_without_the_key(server: VastServer) -> None:
    (identity,) = server.foreign(1)
    seen: list[Any] = []
    original = server.answer

    def answer(method: str, url: str, headers: Any, raw: bytes) -> Any:
        seen.append((url, headers.get("Authorization")))
        return original(method, url, headers, raw)

    server.answer = answer  # type: ignore[method-assign]
    assert session(server).log(identity) == "a line of the log\n"
    assert seen[-1] == (f"/logs/{identity}", None)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://10.0.0.1/x", "ftp://host/x", "", None, "https://user:word@host/x"]
)
def test_a_log_elsewhere_is_refused(server: VastServer, url: Any) -> None:
    server.rules.append(Rule("PUT .*request_logs", body={"success": True, "result_url": url}))
    with pytest.raises(LaunchError):
        session(server).log(5)


def test_a_server_elsewhere_names_no_log_on_this_machine(server: VastServer) -> None:
    api = VastApi("https://console.vast.ai", "key")
    with pytest.raises(UsageError, match="on this machine"):
        api.log(f"{server.url}/logs/5")
    assert server.requests == []


def test_the_key_comes_from_the_environment_or_an_owner_s_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("of-the-file\n")
    file.chmod(0o600)
    assert sessions.read_key("", {"VAST_API_KEY": "of-the-environment"}) == "of-the-environment"
    assert sessions.read_key(str(file), {"VAST_API_KEY": "of-the-environment"}) == "of-the-file"
    for mode in (0o640, 0o604, 0o644):
        file.chmod(mode)
        with pytest.raises(UsageError, match=f"chmod 600 {re.escape(str(file))}"):
            sessions.read_key(str(file), {})


def test_the_official_client_s_file_is_refused_as_it_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match="No key of Vast"):
        sessions.read_key("", {})
    file = tmp_path / ".config" / "vastai" / "vast_api_key"
    file.parent.mkdir(parents=True)
    file.write_text("a-key")
    file.chmod(0o644)
    with pytest.raises(UsageError, match="others may read it"):
        sessions.read_key("", {})
    file.chmod(0o600)
    assert sessions.read_key("", dict(os.environ) | {"VAST_API_KEY": ""}) == "a-key"


def test_the_pages_of_every_list_are_bounded() -> None:
    assert vast_api._MOST_PAGES * requests.PAGE == 10_000
