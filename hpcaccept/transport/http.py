"""Sends one HTTP request: its answer is whole, comes in time, and no secret leaves for a place that nobody has named.

Certificates are verified. No redirect is followed: a 3xx is an answer like any other. Plain http is taken for this machine only, and goes past every
proxy; otherwise the environment's ``https_proxy`` holds. An answer that ends before its announced length, or that is larger than allowed, is
an error and never a shorter answer.

::

    LaunchError
    └── NoAnswer          nobody there, not in time, or the connection broke; a retry may help
        └── BrokenAnswer  there was an answer, and it is cut, too large or of another form than expected
"""

from __future__ import annotations

import codecs
import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.serial import loads

_HERE = ("localhost", "127.0.0.1", "::1")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PIECE_BYTES = 1 << 16
_SHOWN = 200


@dataclass(frozen=True)
class Limits:
    """What one request may take.

    Attributes:
        timeout_s: for all of it, from the connection to the last byte: a server that sends a byte a second holds nobody up.
        answer_bytes: of the body.
    """

    timeout_s: float = 60.0
    answer_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """What the server said, whole.

    Attributes:
        status: of HTTP; 3xx, 4xx and 5xx are answers too.
        headers: names in lower case.
        body: as it came.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status < 300


class NoAnswer(LaunchError):
    """There is no whole answer; a retry may help. Whether the server has acted on the request is not known.

    Attributes:
        reason: part of a sentence, ``"Connection refused"``; it holds nothing of the URL.
        status: of HTTP where at least the head of an answer came, else 0.
    """

    def __init__(self, place: str, reason: str, status: int = 0) -> None:
        super().__init__(f"{place} {self.VERB} {reason}.")
        self.reason = reason
        self.status = status

    VERB: ClassVar[str] = "cannot be reached:"


class Late(NoAnswer):
    """No whole answer in time."""

    VERB: ClassVar[str] = "did not answer"


class BrokenAnswer(NoAnswer):
    """The answer is cut, too large, or has another form than expected."""

    VERB: ClassVar[str] = "gave an answer that cannot be used:"


def origin_of(url: str) -> str:
    """What may be said of a URL, and what two URLs of one server share: scheme, host and port. Never its path, user or query.

    Raises:
        UsageError: invalid, or neither https nor http to this machine. The message holds nothing of the URL but its host.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    odd = any(c <= " " or c == "\x7f" for c in url)
    if not host or odd or parts.scheme not in _DEFAULT_PORTS or "@" in parts.netloc:
        raise UsageError("Invalid URL.", "Expected https://HOST/…")
    if parts.scheme == "http" and host not in _HERE:
        raise UsageError(
            f"Plain http to {printable(host)} would be unencrypted.", "Use https://, or http:// to localhost."
        )
    host = f"[{host}]" if ":" in host else host
    shown = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    document: Any = None,
    limits: Limits = Limits(),
) -> Answer:
    """Send one request and read the whole answer; nothing is repeated and no redirect followed.

    Args:
        method: of HTTP.
        url: https, or http to this machine.
        headers: more of them; a secret among them is never part of an error.
        document: plain values that are sent as JSON; None for no body.
        limits: of time and size.

    Raises:
        UsageError: the URL may not be asked, or a header has characters that none takes.
        NoAnswer: nobody there, or not in time.
        BrokenAnswer: the answer is cut or too large.
    """
    place = origin_of(url)
    asked = _request_of(method, url, headers or {}, document)
    proxies = [urllib.request.ProxyHandler({})] if urlsplit(url).hostname in _HERE else []
    opener = urllib.request.build_opener(_AsItIs, *proxies)
    until = time.monotonic() + limits.timeout_s
    ended: list[Answer | Exception] = []

    def exchange() -> None:
        try:
            ended.append(_exchange(opener, asked, place, limits, until))
        except Exception as fault:  # noqa: BLE001 (raised below, in the thread that asked)
            ended.append(fault)

    # A thread, because the timeout of a socket is for each read of it and not for all.
    sender = threading.Thread(target=exchange, daemon=True, name="http")
    sender.start()
    sender.join(limits.timeout_s)
    found = ended[0] if ended else Late(place, f"within {limits.timeout_s:g} s")
    if isinstance(found, Exception):
        raise found
    return found


def plain_of(answer: Answer, place: str) -> Any:
    """Plain values of a JSON body, strictly.

    Args:
        answer: whose body is read.
        place: who gave it, for the error.

    Raises:
        BrokenAnswer: the body is empty or no JSON; the message has its beginning.
    """
    if not answer.body.strip():
        raise BrokenAnswer(place, f"HTTP {answer.status} with an empty body, expected JSON", answer.status)
    try:
        return loads(answer.body.removeprefix(codecs.BOM_UTF8))
    except ValueError:
        shown = printable(answer.body[: _SHOWN * 4].decode("utf-8", "replace"))
        raise BrokenAnswer(place, f"HTTP {answer.status}, expected JSON, found {shown!r}", answer.status) from None


def table_of(answer: Answer, place: str) -> dict[str, Any]:
    """Like ``plain_of()``, of an answer that must be a JSON object.

    Raises:
        BrokenAnswer: as there, or it is another JSON value.
    """
    found = plain_of(answer, place)
    if not isinstance(found, dict):
        raise BrokenAnswer(
            place, f"HTTP {answer.status}, expected a JSON object, found {type(found).__name__}", answer.status
        )
    return found


def printable(text: str, most: int = _SHOWN) -> str:
    """One line of a server's text for an error: blanks folded, control characters replaced, cut at a length."""
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else "\ufffd" for c in line)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _request_of(method: str, url: str, headers: Mapping[str, str], document: Any) -> urllib.request.Request:
    sent = {"User-Agent": "hpcaccept", "Accept": "application/json", **headers}
    for name, value in sent.items():
        if not value.isascii() or not value.isprintable():
            raise UsageError(f"The header {name} has characters that no header takes.")
    data = b"" if method in ("PUT", "POST", "PATCH") else None
    if document is not None:
        data = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
        sent.setdefault("Content-Type", "application/json; charset=utf-8")
    return urllib.request.Request(url, data, sent, method=method)


def _exchange(
    opener: urllib.request.OpenerDirector, asked: urllib.request.Request, place: str, limits: Limits, until: float
) -> Answer | NoAnswer:
    """The answer, or the error that whoever asked is told: urllib's own texts may hold the URL."""
    try:
        with opener.open(asked, timeout=limits.timeout_s) as answer:
            return _read(answer, place, limits, until)
    except TimeoutError:
        return Late(place, f"within {limits.timeout_s:g} s")
    except (OSError, http.client.HTTPException, ValueError) as fault:
        reason = fault.reason if isinstance(fault, urllib.error.URLError) else fault
        if isinstance(reason, TimeoutError):
            return Late(place, f"within {limits.timeout_s:g} s")
        return NoAnswer(place, _words(reason))


def _read(answer: http.client.HTTPResponse, place: str, limits: Limits, until: float) -> Answer | NoAnswer:
    """The whole body: ``read(n)`` of http.client gives what came before a connection broke as if that were all."""
    expected = (
        answer.length
    )  # None for an answer in chunks, whose end is in the stream, and for one that ends with its connection
    pieces, size = [], 0
    try:
        while expected is None or size < expected:
            piece = answer.read1(_PIECE_BYTES)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if size > limits.answer_bytes:
                return BrokenAnswer(place, f"it has more than {limits.answer_bytes:,} bytes", answer.status)
            if time.monotonic() > until:
                return Late(place, f"within {limits.timeout_s:g} s", answer.status)
    except TimeoutError:
        return Late(place, f"within {limits.timeout_s:g} s", answer.status)
    except (OSError, http.client.HTTPException, ValueError):
        return BrokenAnswer(place, f"the connection broke after {size:,} bytes", answer.status)
    if expected is not None and size < expected:
        return BrokenAnswer(place, f"it ends after {size:,} of {expected:,} bytes", answer.status)
    return Answer(answer.status, {key.lower(): value for key, value in answer.headers.items()}, b"".join(pieces))


def _words(reason: object) -> str:
    """Why there is no answer. Texts of the system and of sockets hold nothing of the URL; those of urllib and http.client may."""
    words = getattr(reason, "verify_message", "") or getattr(reason, "strerror", "")
    if not words and isinstance(reason, OSError) and not isinstance(reason, urllib.error.URLError):
        words = str(reason)  # "Tunnel connection failed: 407 Proxy Authentication Required"
    return printable(str(words or type(reason).__name__))


class _AsItIs(urllib.request.HTTPErrorProcessor):
    """Gives every answer as it is: neither an error of urllib nor a redirect is made of it."""

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:
        return response

    https_response = http_response
