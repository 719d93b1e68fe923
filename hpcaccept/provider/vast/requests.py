"""The requests that are sent. Methods, paths and bodies only, as in https://docs.vast.ai/api-reference (OpenAPI 3.1, ``api-reference/openapi.yaml``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpcaccept.errors import UsageError

SERVER = "https://console.vast.ai"
#: Instances on one page; more are never given.
PAGE = 25
BENCHMARKS_PAGE = 200
CHARGES_PAGE = 500
#: Offers that a search may give: what VastVerification asks for.
MOST_OFFERS = 65_535
#: GB that prices are listed for.
LISTED_DISK_GB = 5.0
#: Characters, by the document.
MOST_ONSTART = 4048
MOST_LABEL = 1024


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        method: of HTTP.
        path: from ``/api`` on.
        query: of the URL.
        body: plain values; None for no body.
        harmless: True for one that may be sent twice.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    harmless: bool = True

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Launch:
    """What is started on a rented machine.

    Attributes:
        image: reference, with tag or digest.
        onstart: shell text that starts the tester; it holds the key and the token of this rental and no other secret.
        disk_gb: of the instance.
        port: that the tester listens at inside.
    """

    image: str
    onstart: str
    disk_gb: float = 40.0
    port: int = 5000


def search(
    filters: Mapping[str, Mapping[str, Any]], order: list[list[str]], limit: int = MOST_OFFERS, kind: str = "ondemand"
) -> Request:
    """Offers; ``{"offers": […]}``."""
    body = {**filters, "order": order, "type": kind, "limit": limit, "allocated_storage": LISTED_DISK_GB}
    return Request("POST", "/api/v0/bundles/", body=body)


def create(offer: int, launch: Launch, label: str) -> Request:
    """Rent an offer on demand; ``{"success", "new_contract"}``. Never sent twice.

    ``cancel_unavail``: a machine that cannot start at once is refused instead of kept, stopped and billed.

    Raises:
        UsageError: a value is longer than Vast.ai takes.
    """
    if len(launch.onstart) > MOST_ONSTART or len(label) > MOST_LABEL:
        raise UsageError(
            f"The start command has {len(launch.onstart):,} characters and the label {len(label):,}, expected at most "
            f"{MOST_ONSTART:,} and {MOST_LABEL:,}."
        )
    body = {
        "image": launch.image,
        "label": label,
        "disk": launch.disk_gb,
        "runtype": "ssh_direct",
        "target_state": "running",
        "env": f"-p {launch.port}:{launch.port}",
        "onstart": launch.onstart,
        "cancel_unavail": True,
    }
    return Request("PUT", f"/api/v0/asks/{offer}/", body=body, harmless=False)


def instances(after: str = "") -> Request:
    """One page of all instances of the account; no filter, so that what is missing there is not there."""
    query = {"limit": str(PAGE), "order_by": '[{"col":"id","dir":"asc"}]'}
    return Request("GET", "/api/v1/instances/", query | ({"after_token": after} if after else {}))


def instance(identity: int) -> Request:
    """One instance; ``{"instances": {…}}``, null where there is none."""
    return Request("GET", f"/api/v0/instances/{identity}/")


def destroy(identity: int) -> Request:
    """End an instance and its disk: nothing else stops all charges."""
    return Request("DELETE", f"/api/v0/instances/{identity}/", body={})


def logs(identity: int, tail: int = 200) -> Request:
    """Ask for the container's log; ``{"result_url"}``, whose host gets no key."""
    return Request("PUT", f"/api/v0/instances/request_logs/{identity}/", body={"tail": str(tail)})


def price_increases() -> Request:
    """Increases that hosts ask for; ``{"pending_price_increases": […]}``."""
    return Request("GET", "/api/v0/instances/pending-price-increases/")


def reject_increase(pending: int) -> Request:
    """Say no to one; there is no request here that says yes."""
    body = {"pending_price_increase_id": pending}
    return Request("PUT", "/api/v0/instances/reject-price-increase/", body=body)


def charges(since_s: int, until_s: int, after: str = "") -> Request:
    """One page of what instances were charged.

    Args:
        since_s: Unix time.
        until_s: Unix time.
        after: token of the page before.
    """
    wanted = {"day": {"gte": since_s, "lte": until_s}, "type": {"in": ["instance"]}}
    query = {"select_filters": json.dumps(wanted, separators=(",", ":")), "limit": str(CHARGES_PAGE)}
    return Request("GET", "/api/v0/charges/", query | ({"after_token": after} if after else {}))


def benchmarks(field: str, value: int | str, after: str = "") -> Request:
    """One page of what renters' workers measured where ``machine_id`` or ``gpu_name`` has a value."""
    filters = json.dumps({field: {"eq": value}}, separators=(",", ":"))
    query = {"select_cols": '["*"]', "select_filters": filters, "limit": str(BENCHMARKS_PAGE)}
    return Request("GET", "/api/v0/benchmarks", query | ({"after_token": after} if after else {}))


def reports(machine: int) -> Request:
    """What renters have reported of a machine."""
    return Request("GET", f"/api/v0/machines/{machine}/reports/")


def user() -> Request:
    """Who the key belongs to, and the balance."""
    return Request("GET", "/api/v0/users/current/")
