"""How Azure Resource Manager is asked: what is repeated, what is followed, and who sees the token."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
from support.raw_http import raw_server, said

from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.transport.arm import Answer, Arm, ArmRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

Reply = tuple[int, dict[str, str], bytes]


@contextmanager
def server(*replies: Reply) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Answers in this order, the last one for ever; gives its URL, and method, path and authorization of what came."""
    came: list[tuple[str, str, str]] = []
    left = list(replies)

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            came.append((self.command, self.path, self.headers.get("Authorization", "")))
            status, headers, body = left.pop(0) if len(left) > 1 else left[0]
            here = f"http://127.0.0.1:{found.server_address[1]}"
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value.replace("HERE", here))
            body = body.replace(b"HERE", here.encode())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing."""

    found = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{found.server_address[1]}", came
    finally:
        found.shutdown()
        found.server_close()


def client(url: str, waits: list[float] | None = None, patience_s: float = 60) -> Arm:
    kept = [] if waits is None else waits
    return Arm(url, lambda: "secret-token", patience_s=patience_s, sleep=kept.append)


LATER: Reply = (429, {"Retry-After": "7"}, b'{"error":{"code":"TooManyRequests","message":"later"}}')
GOOD: Reply = (200, {}, b'{"value":[1]}')


def test_an_answer_is_plain_values() -> None:
    with server(GOOD) as (url, came):
        assert client(url).call("GET", "/subscriptions/a b", {"api-version": "1"}).body == {"value": [1]}
    assert came == [("GET", "/subscriptions/a%20b?api-version=1", "Bearer secret-token")]


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_what_was_throttled_is_sent_again_after_the_time_that_was_asked_for(method: str) -> None:
    waits: list[float] = []
    with server(LATER, LATER, GOOD) as (url, came):
        assert client(url, waits).call(method, "/x", {}).status == 200
    assert len(came) == 3
    assert waits == [7.0, 7.0]


def test_a_broken_server_is_asked_again_but_nothing_is_begun_twice() -> None:
    broken: Reply = (503, {}, b"")
    with server(broken, GOOD) as (url, _):
        assert client(url).call("PUT", "/x", {}).status == 200
    with server(broken, GOOD) as (url, came), pytest.raises(LaunchError, match="HTTP 503"):
        client(url).call("POST", "/x", {})
    assert len(came) == 1


def test_a_post_that_only_reads_is_sent_again() -> None:
    with server((503, {}, b""), GOOD) as (url, _):
        assert client(url).call("POST", "/x", {}, {}, harmless=True).status == 200


def test_patience_ends() -> None:
    with server(LATER) as (url, _), pytest.raises(LaunchError, match="HTTP 429 TooManyRequests"):
        client(url, patience_s=0).call("GET", "/x", {})


def test_nobody_there_is_an_error_that_a_retry_may_mend() -> None:
    with server(GOOD) as (url, _):
        pass
    with pytest.raises(LaunchError, match="Azure did not answer GET /x: Connection refused"):
        client(url, patience_s=0).call("GET", "/x", {})


def test_a_refusal_has_azures_code_and_is_not_repeated() -> None:
    refusal: Reply = (403, {}, b'{"error":{"code":"AuthorizationFailed","message":"no"}}')
    with server(refusal) as (url, came), pytest.raises(ArmRefused) as refused:
        client(url).call("GET", "/x", {})
    assert (refused.value.status, refused.value.code, refused.value.request) == (403, "AuthorizationFailed", "GET /x")
    assert len(came) == 1


def test_no_redirect_is_followed() -> None:
    with server((302, {"Location": "http://127.0.0.1:9/steal"}, b"")) as (url, _), pytest.raises(ArmRefused):
        client(url).call("GET", "/x", {})


def test_an_answer_that_is_no_json_is_an_error_with_its_beginning() -> None:
    with server((502, {}, b"<html>gateway</html>")) as (url, _), pytest.raises(LaunchError, match="HTTP 502"):
        client(url, patience_s=0).call("GET", "/x", {})


@pytest.mark.parametrize("url", ["http://management.example", "ftp://127.0.0.1", "management.azure.com"])
def test_the_token_travels_encrypted_or_not_at_all(url: str) -> None:
    with pytest.raises(UsageError, match="expected https://HOST"):
        client(url)


def test_pages_are_put_together() -> None:
    with server((200, {}, b'{"value":[{"n":1}],"nextLink":"HERE/more"}'), (200, {}, b'{"value":[{"n":2}]}')) as (
        url,
        came,
    ):
        assert client(url).all_of("/x", {}) == [{"n": 1}, {"n": 2}]
    assert [path for _, path, _ in came] == ["/x?", "/more"]


def test_a_page_on_another_server_is_not_asked_for() -> None:
    page: Reply = (200, {}, b'{"value":[],"nextLink":"https://evil.example/more"}')
    with server(page) as (url, _), pytest.raises(LaunchError, match="leads to another server"):
        client(url).all_of("/x", {})


NO_LIST = {
    "a page of a proxy": said(b"<html>sign in</html>"),
    "cut in the middle": said(b'{"value":[]', length=4000),
    "cut after what looks whole": said(b'{"value":[]}', length=4000),
    "cut in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n" + b'{"value":[]}' + b"\r\n",
    "an empty body": said(b""),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "still going on": said(b'{"value":[]}', "202 Accepted"),
    "a part": said(b'{"value":[]}', "206 Partial Content"),
    "an array": said(b"[]"),
    "null": said(b"null"),
    "an object without a list": said(b"{}"),
    "a list that is null": said(b'{"value":null}'),
    "a list that is an object": said(b'{"value":{}}'),
    "entries that are no objects": said(b'{"value":[1]}'),
    "an error with a good status": said(b'{"error":{"code":"InternalServerError","message":"x"}}'),
    "two lists": said(b'{"value":[],"value":[{}]}'),
    "an address that is none": said(b'{"value":[],"nextLink":7}'),
    "absent, says somebody else": said(b"<html>not found</html>", "404 Not Found"),
}


@pytest.mark.parametrize("reply", NO_LIST.values(), ids=NO_LIST)
def test_what_is_no_list_is_never_an_empty_one(reply: bytes) -> None:
    with raw_server(reply) as (url, came), pytest.raises(LaunchError, match="Azure gave no usable answer to GET /x: "):
        client(url).all_of("/x", {})
    assert len(came) == 4
    with raw_server(reply, said(b'{"value":[{"id":"a"}]}')) as (url, _):
        assert client(url).all_of("/x", {}) == [{"id": "a"}]


@pytest.mark.parametrize("reply", NO_LIST.values(), ids=NO_LIST)
def test_no_page_of_a_list_is_lost(reply: bytes) -> None:
    first = b'HTTP/1.1 200 OK\r\n\r\n{"value":[{"id":"a"}],"nextLink":"HERE/more"}'
    with raw_server(first, reply) as (url, _), pytest.raises(LaunchError, match="no usable answer to GET /more: "):
        client(url).all_of("/x", {})


@pytest.mark.parametrize("address", ["HERE/x?", "HERE/y"])
def test_a_list_that_comes_back_to_a_page_is_an_error(address: str) -> None:
    page = f'HTTP/1.1 200 OK\r\n\r\n{{"value":[],"nextLink":"{address}"}}'.encode()
    with raw_server(page) as (url, _), pytest.raises(LaunchError, match="has no end"):
        client(url).all_of("/x", {})


def test_the_last_page_may_have_an_empty_address() -> None:
    for end in (b'""', b"null"):
        with raw_server(said(b'{"value":[],"nextLink":' + end + b"}")) as (url, _):
            assert client(url).all_of("/x", {}) == []


@pytest.mark.parametrize(
    "link",
    ["http://127.0.0.1:9/m", "//evil.example/m", "/m", "https://127.0.0.1/m", "file:///etc/passwd", "http://x@127.0.0.1:9/m", "\u0000"],
)  # fmt: skip
def test_a_page_elsewhere_is_not_asked_for(link: str) -> None:
    body = json.dumps({"value": [], "nextLink": link}).encode()
    with raw_server(said(body)) as (url, came), pytest.raises(LaunchError, match="leads to another server"):
        client(url).all_of("/x", {})
    assert len(came) == 1


def test_one_server_may_be_written_with_its_port() -> None:
    arm = Arm("https://management.azure.com", lambda: "t")
    assert arm._own("https://management.azure.com:443/m") == "https://management.azure.com:443/m"


@pytest.mark.parametrize(
    ("code", "absent"), [("ResourceGroupNotFound", True), ("NotFound", True), ("SubscriptionNotFound", False), ("InvalidResourceType", False)]
)  # fmt: skip
def test_only_azure_says_that_there_is_no_such_thing(code: str, absent: bool) -> None:
    reply = said(json.dumps({"error": {"code": code, "message": "m"}}).encode(), "404 Not Found")
    with raw_server(reply) as (url, _), pytest.raises(ArmRefused) as refused:
        client(url).call("GET", "/x", {})
    assert refused.value.absent is absent


def test_an_array_is_taken_where_it_was_asked_for_and_nowhere_else() -> None:
    with raw_server(said(b"[]")) as (url, _):
        assert client(url).call("GET", "/x", {}, array=True).body == []
        with pytest.raises(LaunchError, match="expected a JSON object, found list"):
            client(url).call("GET", "/x", {})
    with raw_server(said(b"{}")) as (url, _), pytest.raises(LaunchError, match="expected a JSON array"):
        client(url).call("GET", "/x", {}, array=True)


def test_a_post_with_a_broken_answer_is_not_sent_again() -> None:
    with raw_server(said(b"<html>")) as (url, came), pytest.raises(LaunchError, match="no usable answer to POST /x"):
        client(url).call("POST", "/x", {})
    assert len(came) == 1


def test_what_was_written_is_in_the_answer_to_it() -> None:
    with raw_server(said(b""), said(b'{"id":"a"}', "201 Created")) as (url, came):
        assert client(url).call("PUT", "/x", {}, {"a": 1}).body == {"id": "a"}
    assert len(came) == 2


@pytest.mark.parametrize("reply", [said(b"{}"), said(b""), said(b'{"status":1}'), said(b"<html>")])
def test_an_operation_without_a_state_has_not_ended(reply: bytes) -> None:
    begun = Answer(202, None, {"azure-asyncoperation": "HERE/o"})
    with raw_server(reply) as (url, _), pytest.raises(LaunchError, match="no usable answer to GET /o"):
        client(url).finish(replace(begun, headers={"azure-asyncoperation": f"{url}/o"}), 60)
    with raw_server(reply, said(b'{"status":"Succeeded"}')) as (url, _):
        client(url).finish(replace(begun, headers={"azure-asyncoperation": f"{url}/o"}), 60)


def test_a_login_page_in_the_way_is_said() -> None:
    moved = said(b"", "302 Found", "Location: http://127.0.0.1:9/x")
    with raw_server(moved) as (url, _), pytest.raises(ArmRefused, match="is a login page of a proxy in the way"):
        client(url).call("GET", "/x", {})


@pytest.mark.parametrize("header", ["Azure-AsyncOperation", "Location"])
def test_an_operation_is_followed_to_its_end(header: str) -> None:
    running: Reply = (
        (200, {"Retry-After": "3"}, b'{"status":"Running"}')
        if header != "Location"
        else (202, {"Retry-After": "3"}, b"")
    )
    done: Reply = (200, {}, b'{"status":"Succeeded","x":1}')
    waits: list[float] = []
    with server((202, {header: "HERE/operation"}, b""), running, running, done) as (url, came):
        arm = client(url, waits)
        assert arm.finish(arm.call("POST", "/x", {}), 60).body == {"status": "Succeeded", "x": 1}
    assert [path for _, path, _ in came] == ["/x?", "/operation", "/operation", "/operation"]
    assert waits == [3.0, 3.0]


def test_a_failed_operation_has_azures_reasons() -> None:
    failed: Reply = (200, {}, b'{"status":"Failed","error":{"code":"DeploymentFailed","message":"m","details":[]}}')
    with server((201, {"Azure-AsyncOperation": "HERE/o"}, b"{}"), failed) as (url, _):
        arm = client(url)
        with pytest.raises(ArmRefused) as refused:
            arm.finish(arm.call("PUT", "/x", {}), 60)
    assert refused.value.code == "DeploymentFailed"


def test_an_operation_on_another_server_is_not_followed() -> None:
    arm = client("http://127.0.0.1:9")
    with pytest.raises(LaunchError, match="leads to another server"):
        arm.finish(Answer(202, None, {"azure-asyncoperation": "https://evil.example/o"}), 60)


def test_an_operation_that_goes_on_at_its_deadline_is_said_to_go_on() -> None:
    running: Reply = (200, {}, b'{"status":"Running"}')
    with server((202, {"Azure-AsyncOperation": "HERE/o"}, b""), running) as (url, _):
        arm = client(url)
        with pytest.raises(LaunchError, match="It goes on there"):
            arm.finish(arm.call("DELETE", "/x", {}), -1)
