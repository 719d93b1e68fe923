"""Asks Azure Resource Manager: a request that may be repeated is, and nobody else ever sees the token.

Requests are sent by ``transport.http``. An operation that goes on after its answer is followed by the rules of
https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations: ``Azure-AsyncOperation`` first, then ``Location``; addresses
that lead to another server are refused, because the token goes with them.

"There is no such thing" and "the list is empty" are said by Azure or not at all: a page of a proxy, a cut answer, an object without ``value`` and an
empty body are errors, asked again where that is harmless.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.transport import http
from hpcaccept.transport.http import BrokenAnswer

#: A list of a thousand instances has 3 MB.
_LIMITS = http.Limits(timeout_s=120.0, answer_bytes=64 * 1024 * 1024)
#: A list of more pages than this, or that comes back to a page, has no end.
_MOST_PAGES = 10_000
#: A proxy's page does not become an answer of Azure by being asked for often.
_BROKEN_TRIES = 4
_ABSENT = 404
#: What says "later": https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
_LATER = (408, 429, 500, 502, 503, 504)
_ENDED = ("succeeded", "failed", "canceled")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_SHORTEST_WAIT_S = 0.02
_LOOK_S = 5.0


@dataclass(frozen=True)
class Answer:
    """What the server said.

    Attributes:
        status: of HTTP, 2xx.
        body: a JSON object, or the array that was asked for; None where there is no body.
        headers: names in lower case.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class ArmRefused(LaunchError):
    """An answer that a retry does not change.

    Attributes:
        status: of HTTP; 0 for an operation that failed after its answer.
        code: Azure's word for it (``QuotaExceeded``); empty where it has none.
        text: Azure's sentence.
        error: Azure's whole error, with details.
        request: method and path.
    """

    def __init__(self, status: int, error: Mapping[str, Any], request: str) -> None:
        self.status = status
        self.error = error
        self.code = str(error.get("code", ""))
        self.text = str(error.get("message", ""))
        self.request = request
        super().__init__(f"Azure refused {request}: {self.code or status}: {self.text}")

    @property
    def absent(self) -> bool:
        """True where Azure says that there is no such thing; a subscription that is not there says nothing about what is in it."""
        return self.status == _ABSENT and self.code.endswith("NotFound") and self.code != "SubscriptionNotFound"


#: What is expected of a 2xx answer; raises BrokenAnswer for another.
_Reader = Callable[[http.Answer, str], Answer]


class Arm:
    """One server and who asks it."""

    def __init__(
        self,
        endpoint: str,
        token: Callable[[], str],
        *,
        patience_s: float = 180.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is asked yet.

        Args:
            endpoint: ``https://management.azure.com``.
            token: gives a valid bearer token; asked before each request, so that it may renew it.
            patience_s: for how long a request that was told "later" is repeated.
            sleep: waits for seconds.

        Raises:
            UsageError: neither https nor http to this machine.
        """
        try:
            self._origin = http.origin_of(endpoint)
        except UsageError:
            raise UsageError(f"Azure's endpoint: found {endpoint!r}, expected https://HOST.") from None
        self._token = token
        self._patience_s = patience_s
        self._sleep = sleep

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any = None,
        *,
        harmless: bool | None = None,
        array: bool = False,
    ) -> Answer:
        """One request; it is repeated while the server says "later" and repeating it is harmless.

        Args:
            method: of HTTP.
            path: from ``/subscriptions`` on.
            query: ``api-version`` and what else the request takes.
            body: plain values, sent as JSON.
            harmless: whether it may be sent twice; by default any but POST may.
            array: True for one of the few requests that a bare JSON array answers.

        Raises:
            ArmRefused: the server does not want it.
            LaunchError: no answer in time, or one that cannot be used; a retry may help.
        """
        reader = _array if array else _READERS.get(method, _maybe_object)
        return self._sent(method, self._url(path, query), reader, body, harmless)

    def pause(self) -> None:
        """Between two looks at something that goes on."""
        self._sleep(_LOOK_S)

    def all_of(self, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Every page of a list, each entry an object.

        Raises:
            ArmRefused, LaunchError: as ``call``.
        """
        url, found, seen = self._url(path, query), list[dict[str, Any]](), set[str]()
        while url:
            if url in seen or len(seen) >= _MOST_PAGES:
                raise LaunchError(f"Azure's list {path} has no end: after {len(seen)} pages it goes on.", "Try again.")
            seen.add(url)
            page = self._sent("GET", url, _page).body or {}
            found += page["value"]
            url = self._own(page["nextLink"]) if page.get("nextLink") else ""
        return found

    def finish(self, answer: Answer, deadline_s: float, beat: Callable[[str], None] = lambda _: None) -> Answer:
        """Wait until an operation has ended; gives its last answer.

        Args:
            answer: that the operation began with.
            deadline_s: from now.
            beat: called with the state at each look.

        Raises:
            ArmRefused: it failed; ``error`` has Azure's reasons.
            LaunchError: it goes on at the deadline. Nothing was cancelled: the operation may still succeed.
        """
        until = time.monotonic() + deadline_s
        place = answer.headers.get("azure-asyncoperation")
        result = answer.headers.get("location")
        if not place and (not result or answer.status not in (201, 202)):
            return answer
        while True:
            seen = self._sent("GET", self._own(place or result or ""), _operation if place else _maybe_object)
            state = _state(seen, bool(place))
            beat(state)
            if state.lower() in _ENDED:
                break
            if time.monotonic() > until:
                raise LaunchError(
                    f"Azure has not ended the operation within {deadline_s:g} s; its state is {state}.",
                    "It goes on there.",
                )
            self._sleep(_wait_s(seen.headers, answer.headers))
        if state.lower() != "succeeded":
            raise ArmRefused(0, _error_in(seen.body) or {"code": state}, "an operation")
        if place and result and result != place:
            return self._sent("GET", self._own(result), _maybe_object)
        return seen

    def _url(self, path: str, query: Mapping[str, str]) -> str:
        return f"{self._origin}{quote(path)}?{urlencode(query, quote_via=quote)}"

    def _own(self, url: str) -> str:
        try:
            same = http.origin_of(url) == self._origin
        except UsageError:
            same = False
        if not same:
            place = http.printable(urlsplit(url).netloc.rpartition("@")[2], 80)
            raise LaunchError(f"Azure's answer leads to another server ({place!r}); it was not followed.")
        return url

    def _sent(self, method: str, url: str, reader: _Reader, body: Any = None, harmless: bool | None = None) -> Answer:
        harmless = method != "POST" if harmless is None else harmless
        until, wait_s, broken = time.monotonic() + self._patience_s, _FIRST_WAIT_S, 0
        what = f"{method} {urlsplit(url).path}"
        while True:
            answer = http.Answer(0)
            try:
                answer = self._once(method, url, body)
                if answer.ok:
                    return reader(answer, what)
                if answer.status == _ABSENT and not _error_of(answer).get("code"):
                    raise BrokenAnswer(what, f"HTTP {_ABSENT} without a code of Azure", _ABSENT)
                fault = f"HTTP {answer.status} {_error_of(answer).get('code', '')}".strip()
                # What may have begun is not begun twice; a request that was throttled has not begun.
                again = answer.status == 429 or (answer.status in _LATER and harmless)
                if answer.status not in _LATER:
                    raise ArmRefused(answer.status, _error_of(answer), what)
            except http.NoAnswer as lost:
                fault, again = lost.reason, harmless
                broken += isinstance(lost, BrokenAnswer)
            if not again or time.monotonic() > until or broken >= _BROKEN_TRIES:
                said = "gave no usable answer to" if broken else "did not answer"
                raise LaunchError(f"Azure {said} {what}: {fault}.", "Try again; what was begun is kept.")
            self._sleep(_wait_s(answer.headers, {}, wait_s))
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    def _once(self, method: str, url: str, body: Any) -> http.Answer:
        headers = {"Authorization": f"Bearer {self._token()}"}
        return http.request(method, url, headers=headers, document=body, limits=_LIMITS)


def get_public(url: str, query: Mapping[str, str], *, timeout_s: float = 30.0) -> dict[str, Any]:
    """The JSON object that anybody may read; no token is sent.

    Raises:
        LaunchError: no answer, or none of this kind.
    """
    whole = f"{url}?{urlencode(query, quote_via=quote)}" if query else url
    place = http.origin_of(url)
    answer = http.request("GET", whole, limits=http.Limits(timeout_s))
    if not answer.ok:
        raise LaunchError(f"{place} answered {answer.status}.")
    return http.table_of(answer, place)


def _object(answer: http.Answer, place: str) -> Answer:
    """A GET is answered by 200 and an object: an empty body or another status says nothing about what there is."""
    if answer.status != 200:
        raise BrokenAnswer(place, f"HTTP {answer.status}, expected 200", answer.status)
    return Answer(answer.status, http.table_of(answer, place), answer.headers)


def _array(answer: http.Answer, place: str) -> Answer:
    found = http.plain_of(answer, place)
    if not isinstance(found, list):
        raise BrokenAnswer(place, f"HTTP {answer.status}, expected a JSON array", answer.status)
    return Answer(answer.status, found, answer.headers)


def _maybe_object(answer: http.Answer, place: str) -> Answer:
    body = http.table_of(answer, place) if answer.body.strip() else None
    return Answer(answer.status, body, answer.headers)


def _written(answer: http.Answer, place: str) -> Answer:
    """A PUT is answered by what was written, or by where its operation is followed."""
    followed = "azure-asyncoperation" in answer.headers or "location" in answer.headers
    return (_maybe_object if followed or answer.status == 202 else _any_object)(answer, place)


def _any_object(answer: http.Answer, place: str) -> Answer:
    return Answer(answer.status, http.table_of(answer, place), answer.headers)


def _page(answer: http.Answer, place: str) -> Answer:
    found = _object(answer, place)
    value, following = (found.body or {}).get("value"), (found.body or {}).get("nextLink")
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise BrokenAnswer(place, f"HTTP {answer.status}, expected a list of objects under 'value'", answer.status)
    if not isinstance(following, (str, type(None))):
        raise BrokenAnswer(place, f"HTTP {answer.status}, 'nextLink' is not an address", answer.status)
    return found


def _operation(answer: http.Answer, place: str) -> Answer:
    found = _any_object(answer, place)
    if not isinstance((found.body or {}).get("status"), str):
        raise BrokenAnswer(place, f"HTTP {answer.status}, an operation without 'status'", answer.status)
    return found


_READERS: Mapping[str, _Reader] = {"GET": _object, "PUT": _written}


def _state(seen: Answer, asynchronous: bool) -> str:
    if asynchronous:
        return str((seen.body or {})["status"])
    return "Running" if seen.status == 202 else "Succeeded"


def _error_of(answer: http.Answer) -> Mapping[str, Any]:
    """Azure's error: ``{"error": …}``, or in older services the error itself; else the beginning of what was said."""
    try:
        return _error_in(http.table_of(answer, "")) or {"code": "", "message": http.printable(_text(answer))}
    except BrokenAnswer:
        if 300 <= answer.status < 400:
            return {"code": "", "message": "a redirect, which is not followed; is a login page of a proxy in the way?"}
        return {"code": "", "message": http.printable(_text(answer))}


def _text(answer: http.Answer) -> str:
    return answer.body[:2000].decode("utf-8", "replace")


def _error_in(body: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    error = (body or {}).get("error", body if body and "code" in body else None)
    return error if isinstance(error, dict) else None


def _wait_s(headers: Mapping[str, str], before: Mapping[str, str], default: float = 5.0) -> float:
    text = headers.get("retry-after", before.get("retry-after", ""))
    try:
        asked = float(text)
    except ValueError:
        asked = default
    return min(max(asked, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)
