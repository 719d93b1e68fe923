"""Posts JSON to a URL that is itself a secret, so that neither it nor the token shows up anywhere.

As ``transport.http`` sends it: certificates are verified and no redirect is followed, since a token must not travel to a place that nobody has
named. An error names the host of the URL, never its path, its user or its query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.transport import http

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Bytes of an answer that are read: nothing of it is needed but its status.
_ANSWER_BYTES = 65536


class Refused(UsageError):
    """The server has understood and does not want it; a retry cannot help."""


def place_of(url: str) -> str:
    """What may be said of a URL: scheme, host and port.

    Raises:
        UsageError: it may not be posted to: neither https nor http to this machine.
    """
    try:
        return http.origin_of(url)
    except UsageError as fault:
        raise UsageError(f"The webhook's URL cannot be used: {fault.message}", fault.remedy) from None


def post(url: str, document: Mapping[str, Any], *, token: str = "", timeout_s: float = 10.0) -> None:
    """Post a JSON document; after return the server has said that it has it.

    Args:
        url: of the webhook.
        document: what is said.
        token: sent as ``Authorization: Bearer``.
        timeout_s: for all of it: a server that answers a byte a second does not hold anybody up.

    Raises:
        LaunchError: no answer in time, or one that says "later"; a retry may help.
        Refused: an answer that a retry does not change.
        UsageError: the URL may not be posted to, or the token has characters that no header takes.
    """
    place = place_of(url)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    limits = http.Limits(timeout_s, _ANSWER_BYTES)
    try:
        status = http.request("POST", url, headers=headers, document=document, limits=limits).status
    except http.BrokenAnswer as broken:
        status = broken.status  # it has the document: nothing else of its answer is needed
    if status == 429 or status >= 500:
        raise LaunchError(f"{place} answered {status}.")
    if not 200 <= status < 300:
        what = "redirects elsewhere, which is not followed" if 300 <= status < 400 else f"answered {status}"
        raise Refused(f"{place} {what}.", "Is the webhook's URL the right one, and its token valid?")
