"""Client and tester know each other by one secret of the client, of which the machine is given only what it needs.

The client makes 32 bytes for one rental. Two keys follow from them:

* ``pin``: goes to the machine (variable ``HPCACCEPT_TESTER_KEY``). The server makes its TLS key pair itself, so that no private key ever travels, and proves with an
  HMAC under ``pin``, over a fresh nonce of the client, that its certificate is the one that the client sees. Then the certificate is pinned.
* ``token``: never leaves the client but to the pinned certificate; the machine is given its SHA-256 (``HPCACCEPT_TESTER_TOKEN_SHA256``).

Who reads the instance's variables (the marketplace, the host, anybody with the account) can pretend to be the machine, and cannot use the tester. Who is on the
path can do neither. The host owns the container and everything in it: against the host nothing of this helps, and nothing of the proof relies on it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

PIN_VARIABLE, TOKEN_VARIABLE = "HPCACCEPT_TESTER_KEY", "HPCACCEPT_TESTER_TOKEN_SHA256"
_SIZE = 32


def new_secret() -> bytes:
    """For one rental. Keep it like a password until the machine is destroyed."""
    return secrets.token_bytes(_SIZE)


def pin_of(secret: bytes) -> bytes:
    """The key under which the server proves its certificate."""
    return hmac.digest(secret, b"hpcaccept tester pin", "sha256")


def token_of(secret: bytes) -> str:
    """What the client shows to the pinned server."""
    return hmac.digest(secret, b"hpcaccept tester token", "sha256").hex()


def environment(secret: bytes) -> dict[str, str]:
    """Variables for the instance."""
    return {PIN_VARIABLE: pin_of(secret).hex(), TOKEN_VARIABLE: _digest(token_of(secret))}


def from_environment(environ: Mapping[str, str]) -> tuple[bytes, str]:
    """``pin`` and the token's SHA-256, on the machine.

    Raises:
        UsageError: a variable is missing or no 64 hexadecimal digits.
    """
    found = []
    for name in (PIN_VARIABLE, TOKEN_VARIABLE):
        text = environ.get(name, "")
        if len(text) != 2 * _SIZE or not set(text) <= set("0123456789abcdef"):
            raise UsageError(
                f"{name}: found {len(text)} characters, expected 64 hexadecimal digits.",
                "The client that rents the machine sets it.",
            )
        found.append(text)
    return bytes.fromhex(found[0]), found[1]


def certificate_proof(pin: bytes, nonce: str, fingerprint: str) -> str:
    """HMAC of a certificate's fingerprint and the client's nonce, hexadecimal."""
    return hmac.new(pin, f"hpcaccept tester|{nonce}|{fingerprint}".encode("ascii"), "sha256").hexdigest()


def same(one: str, other: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def is_token(token: str, digest: str) -> bool:
    """Whether this is the token with that SHA-256."""
    return same(_digest(token), digest)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
