"""One request of HTTP: its answer is whole or an error, in time, and no secret stands in an error."""

from __future__ import annotations

import time

import pytest
from support.raw_http import raw_server, said

from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.transport import http
from hpcaccept.transport.http import Answer, BrokenAnswer, Late, Limits, NoAnswer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def test_an_answer_has_status_headers_and_bytes() -> None:
    with raw_server(said(b'{"a":1}', "200 OK", "X-Some: Thing")) as (url, came):
        found = http.request("PUT", f"{url}/p?q=1", headers={"Authorization": "Bearer s"}, document={"ü": None})
    assert (found.status, found.body, found.headers["x-some"], found.ok) == (200, b'{"a":1}', "Thing", True)
    head, _, body = came[0].partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /p?q=1 HTTP/1.1\r\n")
    assert b"Authorization: Bearer s" in head
    assert b"Content-Type: application/json; charset=utf-8" in head
    assert body.decode() == '{"ü": null}'


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Again", "308 Moved"])
def test_a_redirect_is_an_answer_and_is_not_followed(status: str) -> None:
    with (
        raw_server(said(b"{}")) as (elsewhere, came),
        raw_server(said(b"", status, f"Location: {elsewhere}/x")) as (url, _),
    ):
        for method in ("GET", "POST"):
            found = http.request(method, url, headers={"Authorization": "Bearer s"})
            assert found.status == int(status[:3])
            assert found.headers["location"] == f"{elsewhere}/x"
    assert came == []


@pytest.mark.parametrize("status", ["400 No", "401 No", "404 No", "429 Later", "500 Broken", "503 Later"])
def test_a_refusal_is_an_answer_with_its_body(status: str) -> None:
    with raw_server(said(b"why", status)) as (url, _):
        assert http.request("GET", url) == Answer(
            int(status[:3]), {"content-length": "3", "connection": "close"}, b"why"
        )


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (said(b'{"value":[]}', length=4000), "ends after 12 of 4,000 bytes"),
        (said(b'{"value":[', length=4000), "ends after 10 of 4,000 bytes"),
        (said(b"", length=1), "ends after 0 of 1 bytes"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nc\r\n" + b'{"value":[]}' + b"\r\n", "broke after 12 bytes"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n" + b'{"value":[]}', "broke after 12 bytes"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "broke after 0 bytes"),
    ],
)
def test_an_answer_that_is_cut_is_none(reply: bytes, why: str) -> None:
    with raw_server(reply) as (url, _), pytest.raises(BrokenAnswer, match=why) as fault:
        http.request("GET", url)
    assert fault.value.status == 200


def test_a_whole_chunked_answer_is_put_together() -> None:
    with raw_server(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") as (url, _):
        assert http.request("GET", url).body == b"abcde"


def test_a_server_that_keeps_the_connection_open_is_not_waited_for() -> None:
    with raw_server((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 60.0)) as (url, _):
        begun = time.monotonic()
        assert http.request("GET", url, limits=Limits(60)).body == b"ok"
        assert time.monotonic() - begun < 30


def test_an_answer_larger_than_allowed_is_refused() -> None:
    for reply in (said(b"x" * 1001), HEAD + b"\r\n" + b"x" * 200_000):
        with raw_server(reply) as (url, _), pytest.raises(BrokenAnswer, match="more than 1,000 bytes"):
            http.request("GET", url, limits=Limits(answer_bytes=1000))
    with raw_server(said(b"x" * 1000)) as (url, _):
        assert len(http.request("GET", url, limits=Limits(answer_bytes=1000)).body) == 1000


@pytest.mark.parametrize(
    "reply",
    [
        (60.0,),
        (b"HTTP/1.1 200 OK\r\n", *(part for n in range(99) for part in (b"X-%d: y\r\n" % n, 0.2))),
        (said(b"", length=500), *(part for _ in range(300) for part in (b"x", 0.2))),
    ],
)
def test_a_server_that_is_slow_or_drips_is_left_in_time(reply: tuple[bytes | float, ...]) -> None:
    with raw_server(reply) as (url, _):
        begun = time.monotonic()
        with pytest.raises(Late, match=r"did not answer within 0\.3 s"):
            http.request("GET", f"{url}/SECRET", limits=Limits(0.3))
        assert time.monotonic() - begun < 15


@pytest.mark.parametrize("reply", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 70_000])
def test_what_is_no_http_is_no_answer(reply: bytes) -> None:
    with raw_server(reply) as (url, _), pytest.raises(NoAnswer) as fault:
        http.request("GET", f"{url}/SECRET")
    assert "SECRET" not in str(fault.value)


def test_nobody_listens() -> None:
    with raw_server(b"") as (url, _):
        pass
    with pytest.raises(NoAnswer, match="cannot be reached: Connection refused") as fault:
        http.request("GET", f"{url}/SECRET?key=SECRET")
    assert isinstance(fault.value, LaunchError)
    assert "SECRET" not in str(fault.value)


@pytest.mark.parametrize(
    "url",
    ["", "site/SECRET", "ftp://site/SECRET", "http://site/SECRET", "https://", "https://a b/SECRET", "file:///etc/passwd",
     "https://site:99999/SECRET", "https://SECRET@site/x", "https://[::1/SECRET", "https://site\\@SECRET/x", "http://localhost.SITE/x"],
)  # fmt: skip
def test_what_may_not_be_asked_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(UsageError) as fault:
        http.request("GET", url)
    assert "SECRET" not in str(fault.value)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Management.Azure.com:443/x", "https://management.azure.com"),
        ("https://h:8443/x?y", "https://h:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:5/x", "http://[::1]:5"),
    ],
)
def test_one_server_has_one_origin(url: str, origin: str) -> None:
    assert http.origin_of(url) == origin


@pytest.mark.parametrize("value", ["a\r\nX: y", "ü", "a\x00"])
def test_a_header_that_none_takes_is_refused_without_its_value(value: str) -> None:
    with pytest.raises(UsageError, match="The header Authorization has characters") as fault:
        http.request("GET", "http://127.0.0.1:9/", headers={"Authorization": f"SECRET{value}"})
    assert "SECRET" not in str(fault.value)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "HTTP 200 with an empty body, expected JSON"),
        (b" \n", "an empty body"),
        (b"<html>\x1b[2J sign in</html>", "expected JSON, found '<html>\ufffd\\[2J sign in</html>'"),
        (b'{"value":[', "expected JSON, found"),
        (b'{"value":[],"value":[1]}', "expected JSON"),
        (b"[]", "expected a JSON object, found list"),
        (b"null", "expected a JSON object, found NoneType"),
        (b"\xff\xfe", "expected JSON"),
    ],
)
def test_what_is_no_table_is_broken(body: bytes, why: str) -> None:
    with pytest.raises(BrokenAnswer, match=why) as fault:
        http.table_of(Answer(200, {}, body), "https://site")
    assert fault.value.status == 200
    assert str(fault.value).isprintable()


def test_a_table_is_read() -> None:
    assert http.table_of(Answer(200, {}, b'\xef\xbb\xbf{"a":[1]}'), "https://site") == {"a": [1]}


def test_a_servers_text_is_one_short_printable_line() -> None:
    assert http.printable("a\n\t b\x1b]0;x\x07 \u202e" + "z" * 500, 20) == "a b\ufffd]0;x\ufffd \ufffdzzzzzzzz…"
