"""How is JSON posted to a URL that is itself a secret, so that neither it nor the token shows up anywhere?

Certificates are verified. No redirect is followed: a token must not travel to a place that nobody has named. A proxy of the
environment (``https_proxy``) is used. An error names the host of the URL, never its path, its user or its query.
"""

from __future__ import annotations

import json
import os
import stat
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hpcaccept.errors import LaunchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Bytes of an answer that are read: nothing of it is needed but its end.
_ANSWER_BYTES = 65536
_HERE = ("localhost", "127.0.0.1", "::1")


class Refused(UsageError):
    """The server has understood and does not want it; a retry cannot help."""


def read_secret(file: str, variable: str, environ: Mapping[str, str]) -> str:
    """From the environment, else the first line of a file that only its owner can read; empty when neither is set.

    Raises:
        UsageError: the file cannot be read, belongs to somebody else, or others may read it.
    """
    if found := environ.get(variable, "").strip():
        return found
    if not file:
        return ""
    path = Path(file).expanduser()
    try:
        with path.open("rb") as secret:
            mode = os.fstat(secret.fileno())
            if mode.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(mode.st_mode) & 0o077:
                raise UsageError(f"{path} holds a secret and others may read it.", f"chmod 600 {path}")
            first = secret.read(8192).partition(b"\n")[0]
    except OSError as fault:
        raise UsageError(f"Cannot read {path}: {fault.strerror}.") from None
    return first.decode("utf-8", "replace").strip()


def place_of(url: str) -> str:
    """What may be said of a URL: scheme, host and port.

    Raises:
        UsageError: it is no URL that may be posted to: neither https nor http to this machine.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or parts.scheme not in ("http", "https") or any(c <= " " or c == "\x7f" for c in url):
        raise UsageError("The webhook's URL is none.", "Expected https://HOST/…")
    if parts.scheme == "http" and host not in _HERE:
        raise UsageError(
            f"The webhook's URL sends what it says unencrypted to {host}.", "Use https://, or http:// to localhost."
        )
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}"


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
        UsageError: the URL may not be posted to.
    """
    place = place_of(url)
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "hpcaccept"}
    if token:
        if not token.isascii() or not token.isprintable():
            raise UsageError("The webhook's token has characters that no header takes.")
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    request = urllib.request.Request(url, body, headers, method="POST")
    # What goes to this machine goes past every proxy.
    proxies = [urllib.request.ProxyHandler({})] if urlsplit(url).hostname in _HERE else []
    opener = urllib.request.build_opener(_NoRedirect, *proxies)
    faults: list[Exception] = []

    def send() -> None:
        try:
            with opener.open(request, timeout=timeout_s) as answer:
                answer.read(_ANSWER_BYTES)
        except Exception as fault:  # noqa: BLE001 (told below, in the thread that asked)
            faults.append(fault)

    # A thread, because the timeout of a socket is for each read of it and not for all.
    sender = threading.Thread(target=send, daemon=True, name="webhook")
    sender.start()
    sender.join(timeout_s)
    if sender.is_alive():
        raise LaunchError(f"{place} did not answer within {timeout_s:g} s.")
    for fault in faults:
        raise _named(fault, place)


def _named(fault: Exception, place: str) -> LaunchError | UsageError:
    """The error without what is secret in it: urllib's own texts may hold the URL."""
    if isinstance(fault, urllib.error.HTTPError):
        fault.close()
        if fault.code == 429 or fault.code >= 500:
            return LaunchError(f"{place} answered {fault.code}.")
        what = "redirects elsewhere, which is not followed" if 300 <= fault.code < 400 else f"answered {fault.code}"
        return Refused(f"{place} {what}.", "Is the webhook's URL the right one, and its token valid?")
    reason = fault.reason if isinstance(fault, urllib.error.URLError) else fault
    words = getattr(reason, "verify_message", "") or getattr(reason, "strerror", "") or type(reason).__name__
    return LaunchError(f"{place} cannot be reached: {words}.")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None of them: urllib makes an error of the answer."""
