"""What a rented instance says of itself, and whether it can still become ``running``.

Form: schema of ``GET /api/v1/instances`` (https://docs.vast.ai/api-reference/instances/show-instances). The same instance by
``GET /instances/{id}`` has the same ports, though its document shows a list of numbers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpcaccept.provider.vast.labels import Mark, mark_of

#: States from which no way leads to ``running``: "if actual_status becomes exited, unknown, or offline it will never reach running".
DEAD = ("exited", "unknown", "offline")
#: Beginnings of ``status_msg`` that a load does not recover from; the list of the official self-test and of VastVerification.
_BROKEN = (
    "error", "unable to find image", "cannot connect to the docker daemon", "failed to", "oci runtime",
    "docker: error", "invalid reference", "manifest unknown", "pull access denied", "no space left",
)  # fmt: skip
_LONGEST = 300


class NotAnInstance(ValueError):
    """What should be an instance has no identity."""


@dataclass(frozen=True)
class Instance:
    """One instance of the account, ours or not.

    Attributes:
        id: of the contract; it is what is destroyed.
        label: as it stands there.
        machine_id: of the machine; 0 where it is not told.
        status: ``actual_status``; empty for null.
        message: ``status_msg``, shortened.
        usd_per_hour: what it costs now; None where it is not told.
        address: public, as text of an IP address; empty where there is none.
        ports: port inside, as ``5000/tcp`` → port outside.
    """

    id: int
    label: str = ""
    machine_id: int = 0
    status: str = ""
    message: str = ""
    usd_per_hour: float | None = None
    address: str = ""
    ports: Mapping[str, int] | None = None

    @property
    def mark(self) -> Mark | None:
        """Of our label; None for somebody else's."""
        return mark_of(self.label)

    @property
    def dead(self) -> bool:
        """True where it will never run."""
        return self.status in DEAD

    @property
    def broken(self) -> str:
        """What its message says of a failed start; empty where it says nothing of the kind."""
        found = self.message.lower().lstrip()
        return self.message if found.startswith(_BROKEN) else ""


def instance_of(plain: Any) -> Instance:
    """An instance from plain values; what is absent or of another form is empty, but never its identity.

    Raises:
        NotAnInstance: no identity.
    """
    if not isinstance(plain, Mapping):
        raise NotAnInstance(f"expected a JSON object, found {type(plain).__name__}")
    identity = plain.get("id")
    if isinstance(identity, bool) or not isinstance(identity, int) or identity <= 0:
        raise NotAnInstance(f"id: expected a positive whole number, found {identity!r}"[:120])
    machine, price = plain.get("machine_id"), plain.get("dph_total")
    return Instance(
        identity,
        _text(plain, "label", 1024),
        machine if isinstance(machine, int) and not isinstance(machine, bool) else 0,
        _text(plain, "actual_status").lower(),
        _text(plain, "status_msg"),
        float(price) if isinstance(price, (int, float)) and not isinstance(price, bool) else None,
        _address(plain),
        _ports(plain.get("ports")),
    )


def _text(plain: Mapping[str, Any], name: str, most: int = _LONGEST) -> str:
    value = plain.get(name)
    return value.strip()[:most] if isinstance(value, str) else ""


def _address(plain: Mapping[str, Any]) -> str:
    """An address and nothing that a resolver would look up: a name could lead anywhere."""
    try:
        return str(ipaddress.ip_address(_text(plain, "public_ipaddr")))
    except ValueError:
        return ""


def _ports(plain: Any) -> dict[str, int] | None:
    if not isinstance(plain, Mapping):
        return None
    found = {}
    for inside, mapped in plain.items():
        first = mapped[0] if isinstance(mapped, list) and mapped else None
        port = first.get("HostPort") if isinstance(first, Mapping) else None
        if isinstance(port, str) and port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536:
            found[str(inside)] = int(port)
    return found
