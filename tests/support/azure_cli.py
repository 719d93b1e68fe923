"""``python -m support.azure_cli URL WORDS…``: hpcaccept, with the Azure of a test at URL and its token."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hpcaccept.cli import main
from hpcaccept.provider.azure import requests
from hpcaccept.transport import azure_login
from support.arm_server import SUBSCRIPTION, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable


def use(url: str, put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Let this process ask the server of a test; ``put`` sets an attribute (monkeypatch.setattr takes it back)."""
    put(requests, "ENDPOINTS", {**requests.ENDPOINTS, "public": url})
    put(requests, "PRICES", f"{url}/api/retail/prices")
    put(azure_login, "token_source", lambda _: lambda: TOKEN)


if __name__ == "__main__":
    import os

    os.environ["AZURE_SUBSCRIPTION_ID"] = SUBSCRIPTION
    use(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
