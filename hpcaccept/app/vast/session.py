"""One account at Vast.ai, asked in the words of ``provider.vast.requests``."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.config.secret_files import read_secret
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.provider.vast import instances, offers, prices, requests
from hpcaccept.transport import http, vast_api

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcaccept.provider.vast.instances import Instance
    from hpcaccept.provider.vast.offers import Offer, Unreadable
    from hpcaccept.provider.vast.requests import Launch, Request

#: Where the official client keeps the key; it makes the file readable for everybody, which is refused here.
KEY_FILES = ("~/.config/vastai/vast_api_key", "~/.vast_api_key")
KEY_VARIABLE = "VAST_API_KEY"
SERVER_VARIABLE = "VAST_URL"


class Session:
    """Whose requests go to one account. Threads may share it."""

    def __init__(self, api: vast_api.VastApi) -> None:
        """Nothing is asked yet."""
        self._api = api

    def send(self, request: Request) -> Any:
        """Plain values of the answer.

        Raises:
            VastRefused, Throttled, NoAnswer: as ``VastApi.call``.
        """
        return self._api.call(request.method, request.path, request.query, request.body, harmless=request.harmless)

    def offers(
        self, filters: Mapping[str, Mapping[str, Any]], order: list[list[str]], limit: int, kind: str = "ondemand"
    ) -> tuple[list[Offer], list[Unreadable]]:
        """Offers in the order asked for, and every entry that is none.

        Raises:
            LaunchError: no answer, or one without a list of offers.
        """
        answer = self.send(requests.search(filters, order, limit, kind))
        listed = answer.get("offers") if isinstance(answer, dict) else None
        if not isinstance(listed, list):
            raise http.BrokenAnswer("Vast.ai", f"expected a list 'offers', found {type(listed).__name__}")
        return offers.offers_of(listed)

    def instances(self) -> list[Instance]:
        """Every instance of the account, others' too: complete, or an error.

        Raises:
            LaunchError: no answer, or one that cannot be a complete list.
        """
        found = []
        for plain in self._rows(requests.instances, "instances"):
            try:
                found.append(instances.instance_of(plain))
            except instances.NotAnInstance as fault:
                # One that cannot be read may be ours: a list without it is not complete.
                raise http.BrokenAnswer("Vast.ai", f"an instance that cannot be read ({fault})") from None
        return found

    def instance(self, identity: int) -> Instance | None:
        """One instance; None where there is none.

        Raises:
            LaunchError: no answer, or one of another form.
        """
        try:
            answer = self.send(requests.instance(identity))
        except vast_api.KeyRefused:
            raise
        except vast_api.VastRefused as refused:
            if refused.status == 404:
                return None
            raise
        if not isinstance(answer, dict) or "instances" not in answer:
            raise http.BrokenAnswer("Vast.ai", "no key 'instances' in the answer about one")
        try:
            return None if answer["instances"] is None else instances.instance_of(answer["instances"])
        except instances.NotAnInstance as fault:
            raise http.BrokenAnswer("Vast.ai", f"an instance that cannot be read ({fault})") from None

    def create(self, offer: int, launch: Launch, label: str) -> int:
        """Rent an offer; gives the id of the instance.

        Raises:
            VastRefused, Throttled: nothing was rented.
            NoAnswer: whether something was rented is not known; its label tells.
        """
        answer = self.send(requests.create(offer, launch, label))
        identity = answer.get("new_contract") if isinstance(answer, dict) else None
        if isinstance(answer, dict) and answer.get("success") is False:
            code, text = str(answer.get("error") or ""), str(answer.get("msg") or "")
            raise vast_api.VastRefused(
                200, http.printable(code, 60), http.printable(text), f"PUT /api/v0/asks/{offer}/"
            )
        if isinstance(identity, bool) or not isinstance(identity, int) or identity <= 0:
            raise http.BrokenAnswer(
                "Vast.ai", f"no new_contract that is a number: {http.printable(repr(identity), 60)}"
            )
        return identity

    def destroy(self, identity: int) -> None:
        """Ask for the end of an instance; only a listing shows that it has come.

        Raises:
            LaunchError: it was not asked for, or the answer is not known. That there is no such instance is no error.
        """
        try:
            self.send(requests.destroy(identity))
        except vast_api.KeyRefused:
            raise
        except vast_api.VastRefused as refused:
            if refused.status != 404:
                raise

    def pending_increases(self) -> list[tuple[int, int]]:
        """Price increases that hosts ask for: id of the request, and of the instance."""
        answer = self.send(requests.price_increases())
        rows = answer.get("pending_price_increases") if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            raise http.BrokenAnswer("Vast.ai", f"expected a list of price increases, found {type(rows).__name__}")
        pairs = [
            (row.get("pending_price_increase_id"), row.get("contract_id")) for row in rows if isinstance(row, dict)
        ]
        return [
            (pending, contract) for pending, contract in pairs if isinstance(pending, int) and isinstance(contract, int)
        ]

    def reject_increase(self, pending: int) -> None:
        """Say no to one; that it is over already is no error.

        Raises:
            LaunchError: it was not rejected.
        """
        try:
            self.send(requests.reject_increase(pending))
        except vast_api.VastRefused as refused:
            if refused.code != "no_pending_price_increase":
                raise

    def charged(self, since: dt.datetime, until: dt.datetime, of: Iterable[int]) -> dict[int, float]:
        """USD that the account was charged for instances so far.

        Args:
            since: a day before the first of them is early enough.
            until: now.
            of: instances.
        """
        begin, end = int(since.timestamp()) // 86_400 * 86_400, int(until.timestamp()) + 86_400
        rows = self._rows(lambda after: requests.charges(begin, end, after), "results")
        return prices.charged(rows, of)

    def benchmarks(self, field: str, value: int | str) -> list[Any]:
        """What renters' workers measured, where a field has a value: on a machine, or on any with a GPU model."""
        return self._rows(lambda after: requests.benchmarks(field, value, after), "benchmarks")

    def reports(self, machine: int) -> list[Any]:
        """What renters have reported of a machine."""
        found = self.send(requests.reports(machine))
        return found if isinstance(found, list) else []

    def log(self, identity: int, tail: int = 400) -> str:
        """The end of a container's log; the address is taken from Vast.ai's answer and gets no key.

        Raises:
            LaunchError: there is none (yet).
        """
        answer = self.send(requests.logs(identity, tail))
        url = answer.get("result_url") if isinstance(answer, dict) else None
        if not isinstance(url, str):
            raise http.BrokenAnswer("Vast.ai", "no result_url of a log")
        try:
            return self._api.log(url)
        except UsageError as fault:
            raise LaunchError(f"Vast.ai names a place for a log that may not be asked: {fault}") from None

    def _rows(self, page: Any, name: str) -> list[Any]:
        def asked(after: str) -> tuple[str, str, Mapping[str, str]]:
            request: Request = page(after)
            return request.method, request.path, request.query

        return self._api.rows(asked, name)


def open_session(key_file: str = "") -> Session:
    """A session of whoever's key is here.

    Args:
        key_file: that holds the key; empty: ``VAST_API_KEY``, then the official client's files.

    Raises:
        UsageError: there is no key, or others may read its file.
    """
    return Session(vast_api.VastApi(*place_and_key(key_file)))


def place_and_key(key_file: str = "") -> tuple[str, str]:
    """The server (``VAST_URL``, as the official client has it) and the account's key.

    Raises:
        UsageError: as ``open_session``.
    """
    return os.environ.get(SERVER_VARIABLE) or requests.SERVER, read_key(key_file, os.environ)


def read_key(key_file: str, environ: Mapping[str, str]) -> str:
    """The account's key: of the file that is named, else of the environment, else of a file of the official client.

    Raises:
        UsageError: there is none, or others may read its file.
    """
    there = [] if key_file else [each for each in KEY_FILES if Path(each).expanduser().exists()]
    found = read_secret(key_file or next(iter(there), ""), "" if key_file else KEY_VARIABLE, environ)
    if found:
        return found
    raise UsageError(
        f"No key of Vast.ai: {f'{key_file} is empty' if key_file else f'{KEY_VARIABLE} is not set and there is no {KEY_FILES[0]}'}.",
        f"export {KEY_VARIABLE}=…, or put it into a file of mode 0600 and add --key-file FILE. "
        "Keys are made at https://cloud.vast.ai/manage-keys.",
    )


def now() -> dt.datetime:
    """The time that labels are compared with."""
    return dt.datetime.now(dt.timezone.utc)
