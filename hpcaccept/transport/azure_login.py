"""Who asks Azure: a token of ``azure-identity`` where that is installed, else of the user's own ``az``. No secret is read or kept here."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError, UsageError, install_hint
from hpcaccept.serial import loads
from hpcaccept.transport.process import ask

if TYPE_CHECKING:
    from collections.abc import Callable

#: Renewed so long before it ends.
_MARGIN_S = 300.0
#: ``az`` says when a token ends only in local time: it is asked again after this, and has its own cache.
_KEPT_S = 600.0


def token_source(endpoint: str) -> Callable[[], str]:
    """What gives a valid token for an endpoint, renewed when needed.

    Raises:
        UsageError: neither azure-identity nor az is here.
    """
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError:
        if not shutil.which("az"):
            raise UsageError(
                "hpcaccept cannot log in to Azure: neither azure-identity nor az is installed.",
                f"{install_hint('azure')}; or install az, and az login.",
            ) from None
        return _kept(lambda: _of_az(endpoint))
    credential = DefaultAzureCredential(exclude_interactive_browser_credential=True)

    def of_identity() -> tuple[str, float]:
        try:
            token = credential.get_token(f"{endpoint}/.default")
        except Exception as fault:  # noqa: BLE001 (azure-core's errors have no common base that is importable without it)
            raise LaunchError(
                f"Azure gave no token: {str(fault)[:600]}", "az login, or set AZURE_CLIENT_ID …"
            ) from None
        return token.token, token.expires_on - time.time() - _MARGIN_S

    return _kept(of_identity)


def _of_az(endpoint: str) -> tuple[str, float]:
    done = ask(["az", "account", "get-access-token", "--resource", endpoint, "--output", "json"], timeout_s=60)
    if not done.ok:
        raise LaunchError(f"az gave no token: {done.stderr.strip()[-300:]}", "az login")
    try:
        return str(loads(done.stdout)["accessToken"]), _KEPT_S
    except (ValueError, KeyError, TypeError):
        raise LaunchError("az gave no token: its answer is not understood.", "az account get-access-token") from None


def _kept(source: Callable[[], tuple[str, float]]) -> Callable[[], str]:
    token, until = "", 0.0

    def give() -> str:
        nonlocal token, until
        if time.monotonic() >= until:
            token, lasts_s = source()
            until = time.monotonic() + lasts_s
        return token

    return give
