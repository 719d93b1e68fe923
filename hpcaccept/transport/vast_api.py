"""Asks Vast.ai: nothing is rented twice, no throttled request is lost, and no broken answer is taken for "there is nothing".

What is particular about this service (facts read off its document, its official client and its answers):

- A bad key is answered by 404 with ``auth_error``: a 404 alone never means that a thing is gone.
- 429 comes as plain text, or as JSON with ``detail``; a daily quota (``search_quota_exceeded``) is a 429 too, and waiting does not help.
- Each endpoint has a shortest interval; this client keeps one of its own for each endpoint, so that it is seldom told to wait.
- Lists come in pages with ``next_token``, and state how many things there are in all: a list that is shorter than it says is no list.

::

    LaunchError
    ├── VastRefused       an answer that a retry does not change
    │   ├── KeyRefused    the key is not valid, or may not do this
    │   └── QuotaSpent    nothing more today (UTC)
    ├── Throttled         told to wait for longer than we do; a retry may help
    └── NoAnswer          of ``transport.http``
"""

from __future__ import annotations

import threading
import time
from random import random
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.transport import http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hpcaccept.transport.http import Answer

#: Seconds between two requests to one endpoint. Vast.ai's thresholds differ by endpoint and are not published.
INTERVAL_S = 1.0
#: Longest wait that a server may ask for; a longer one is an error, as in the official client.
_LONGEST_RETRY_AFTER_S = 60.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_MOST_TRIES = 8
#: Answers of what stands before the service; a request that may be sent twice is.
_LATER = (502, 503, 504)
_BAD_KEY = ("auth_error", "not_authorized", "unauthorized")
#: An answer of ten megabytes is normal for a search without limits; one of hundreds is not.
_LIMITS = http.Limits(timeout_s=120.0, answer_bytes=64 * 1024 * 1024)
_LOG_LIMITS = http.Limits(30.0, 4 * 1024 * 1024)
#: Pages of one list: 25 instances on each.
_MOST_PAGES = 400
_LISTINGS = 3


class VastRefused(LaunchError):
    """An answer that a retry does not change.

    Attributes:
        status: of HTTP.
        code: Vast.ai's word for it (``invalid_args``); empty where it has none.
        text: Vast.ai's sentence, made printable.
    """

    def __init__(self, status: int, code: str, text: str, what: str, remedy: str = "") -> None:
        self.status, self.code, self.text = status, code, text
        said = ": ".join(each for each in (code, text) if each) or f"HTTP {status}"
        super().__init__(f"Vast.ai refused {what}: {said}.", remedy)


class KeyRefused(VastRefused):
    """The key is not valid, or may not do this."""


class QuotaSpent(VastRefused):
    """Nothing more of this kind today."""


class Throttled(LaunchError):
    """Told to wait for longer than we do; the request was not begun, and a retry may help."""


class VastApi:
    """One account at one server. Threads may share it."""

    def __init__(
        self,
        server: str,
        key: str,
        *,
        interval_s: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random,
    ) -> None:
        """Nothing is asked yet.

        Args:
            server: ``https://console.vast.ai``; http to this machine alone.
            key: of the account; it is in one header and nowhere else.
            interval_s: between two requests to one endpoint; None: ``INTERVAL_S``.
            sleep: waits for seconds.
            clock: seconds that never go back.
            jitter: from 0 to 1, so that clients that were throttled together do not come back together.

        Raises:
            UsageError: the server's URL or the key has a form that no request takes.
        """
        self._origin = http.origin_of(server)
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise UsageError(
                "The Vast.ai key has characters that no header takes.", "It is one line of letters and digits."
            )
        self._key = key
        self._interval_s = INTERVAL_S if interval_s is None else interval_s
        self._sleep, self._clock, self._jitter = sleep, clock, jitter
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def call(self, method: str, path: str, query: Mapping[str, str], body: Any = None, *, harmless: bool = True) -> Any:
        """Plain values of the answer to one request.

        Args:
            method: of HTTP.
            path: from ``/api`` on.
            query: of the URL.
            body: plain values, sent as JSON.
            harmless: whether it may be sent twice. A request that was throttled has not begun and is repeated in any case.

        Raises:
            VastRefused: see above.
            Throttled: see above.
            NoAnswer: no whole answer; whether the server has acted is not known.
        """
        url = f"{self._origin}{quote(path)}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        what = f"{method} {path}"
        wait_s = _FIRST_WAIT_S
        for remaining in reversed(range(_MOST_TRIES)):
            self._take_turn(method, path)
            try:
                answer = http.request(method, url, headers=self._headers(), document=body, limits=_LIMITS)
            except http.NoAnswer:
                if not harmless or not remaining:
                    raise
                self._pause(wait_s)
            else:
                if answer.ok:
                    return http.plain_of(answer, "Vast.ai")
                self._pause(self._after(answer, what, harmless=harmless, remaining=remaining, wait_s=wait_s))
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        raise AssertionError("the last try answers or raises")

    def rows(self, page: Callable[[str], tuple[str, str, Mapping[str, str]]], name: str) -> list[Any]:
        """Every row of a list in pages; complete, or an error.

        Args:
            page: gives method, path and query for the token of the page before; empty at first.
            name: key of the rows.

        Raises:
            BrokenAnswer: the answer has another form, or fewer rows than it says that there are, three times in a row.
            VastRefused, Throttled, NoAnswer: as ``call``.
        """
        for again in reversed(range(_LISTINGS)):
            try:
                return list(self._rows(page, name))
            except http.BrokenAnswer:
                # A list may change between two of its pages; one that is short each time is broken.
                if not again:
                    raise
                self._pause(_FIRST_WAIT_S)
        raise AssertionError("the last listing answers or raises")

    def log(self, url: str) -> str:
        """The text behind a ``result_url``; the key is not sent there, because an answer named the place.

        Raises:
            NoAnswer: it is not there (yet).
            UsageError: the URL may not be asked: no answer of a server elsewhere leads to this machine.
        """
        place = http.origin_of(url)
        if place.startswith("http://") and not self._origin.startswith("http://"):
            raise UsageError("A log on this machine, named by a server elsewhere.")
        answer = http.request("GET", url, headers={"Accept": "text/plain"}, limits=_LOG_LIMITS)
        if not answer.ok:
            raise http.NoAnswer(place, f"HTTP {answer.status}", answer.status)
        return answer.body.decode("utf-8", "replace")

    def _rows(self, page: Callable[[str], tuple[str, str, Mapping[str, str]]], name: str) -> Iterator[Any]:
        token, seen, said, tokens = "", 0, None, set[str]()
        for _ in range(_MOST_PAGES):
            method, path, query = page(token)
            answer = self.call(method, path, query)
            rows = answer.get(name) if isinstance(answer, dict) else (answer if isinstance(answer, list) else None)
            if not isinstance(rows, list):
                raise http.BrokenAnswer("Vast.ai", f"expected a list {name!r}, found {type(rows).__name__}")
            yield from rows
            seen += len(rows)
            if isinstance(answer, list):
                return
            if answer.get("success") is False:
                raise http.BrokenAnswer("Vast.ai", f"a list {name!r} that says success: false")
            said = next((answer[key] for key in _TOTALS if isinstance(answer.get(key), int)), said)
            token = answer.get("next_token") or ""
            if not token:
                break
            if not isinstance(token, str) or token in tokens:
                raise http.BrokenAnswer("Vast.ai", f"a token of a next page of {name!r} that cannot be followed")
            tokens.add(token)
        else:
            raise http.BrokenAnswer("Vast.ai", f"more than {_MOST_PAGES} pages of {name!r}")
        if isinstance(said, int) and seen < said:
            raise http.BrokenAnswer("Vast.ai", f"{seen} of {said} {name}")

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"}

    def _take_turn(self, method: str, path: str) -> None:
        """Wait until this endpoint may be asked again; identities in a path are one endpoint."""
        endpoint = f"{method} " + "/".join("*" if part.isdigit() else part for part in path.split("/"))
        with self._lock:
            now = self._clock()
            at = max(self._next.get(endpoint, now), now)
            self._next[endpoint] = at + self._interval_s
        if at > now:
            self._sleep(at - now)

    def _after(self, answer: Answer, what: str, *, harmless: bool, remaining: int, wait_s: float) -> float:
        """Seconds to wait before the same request again.

        Raises:
            VastRefused, Throttled: it is not sent again.
        """
        code, text = _said(answer)
        if answer.status == 429:
            if "quota" in code:
                raise QuotaSpent(429, code, text, what, "Vast.ai's daily quotas begin anew at 00:00 UTC.")
            asked = _retry_after(answer)
            if (asked is not None and asked > _LONGEST_RETRY_AFTER_S) or not remaining:
                wanted = f" for {asked:g} s" if asked else ""
                raise Throttled(
                    f"Vast.ai asks to wait{wanted} before {what}: {text or 'too many requests'}.", "Try again later."
                )
            return asked if asked is not None else wait_s
        if answer.status in (401, 403) or code in _BAD_KEY or (answer.status == 404 and "user key" in text.lower()):
            remedy = "Set VAST_API_KEY to a key of https://cloud.vast.ai/manage-keys that may do this."
            raise KeyRefused(answer.status, code, text, what, remedy)
        if answer.status in _LATER and harmless and remaining:
            return wait_s
        if answer.status >= 500:
            raise http.NoAnswer("Vast.ai", f"HTTP {answer.status} to {what}", answer.status)
        raise VastRefused(answer.status, code, text, what)

    def _pause(self, seconds: float) -> None:
        self._sleep(seconds * (1 + 0.25 * self._jitter()))


#: Keys by which an answer says how many rows there are in all, whatever the page.
_TOTALS = ("total_instances", "total")


def _said(answer: Answer) -> tuple[str, str]:
    """Vast.ai's word and sentence, from JSON or from plain text; each may be missing."""
    try:
        plain = http.plain_of(answer, "Vast.ai")
    except http.BrokenAnswer:
        return "", http.printable(answer.body[:800].decode("utf-8", "replace"))
    if not isinstance(plain, dict):
        return "", http.printable(str(plain))
    code, text = plain.get("error"), plain.get("msg") or plain.get("detail") or plain.get("message")
    return (
        http.printable(code, 60) if isinstance(code, str) else "",
        http.printable(text) if isinstance(text, str) else "",
    )


def _retry_after(answer: Answer) -> float | None:
    """Seconds of ``Retry-After``; None where it is absent or a date."""
    try:
        asked = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return asked if 0 <= asked < float("inf") else None
