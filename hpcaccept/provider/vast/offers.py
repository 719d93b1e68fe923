"""What an offer says, and what it costs. Everything in it is the host's or the marketplace's claim.

Units are Vast.ai's own: memory in MiB, network in Mb/s, PCIe and memory bandwidth in GB/s, prices in USD
(https://docs.vast.ai/api-reference/search/search-offers).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: A price per month is one of 720 hours: what Vast.ai's own table divides by.
HOURS_OF_A_MONTH = 720
#: Identities are whole numbers that JSON can hold exactly.
_MOST_ID = 2**53
_MOST_TEXT = 200


class NotAnOffer(ValueError):
    """What should be an offer lacks an identity or a price, or has them in another form."""


@dataclass(frozen=True)
class Unreadable:
    """An entry of a listing that is no offer.

    Attributes:
        place: in the listing, from 1 on.
        why: what is missing or of another form.
        machine: that it is about; 0 where not even that can be read.
    """

    place: int
    why: str
    machine: int = 0

    def __str__(self) -> str:
        return f"entry {self.place}: {self.why}"


@dataclass(frozen=True)
class Offer:
    """One offer, as it was listed.

    Attributes:
        id: of the offer; it is what is rented.
        machine_id: of the machine.
        gpu_name: model.
        num_gpus: GPUs that are rented with it.
        usd_per_hour: of the offer with its allocated disk.
        numbers: every other number that was listed, by Vast.ai's name.
        texts: every other text that was listed, by Vast.ai's name.
        flags: every other boolean.
    """

    id: int
    machine_id: int
    gpu_name: str
    num_gpus: int
    usd_per_hour: float
    numbers: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, bool] = field(default_factory=dict)

    def number(self, name: str) -> float | None:
        """A number of the listing; None where it is absent."""
        return self.numbers.get(name)

    @property
    def reliability(self) -> float | None:
        """Vast.ai's score, 0 to 1."""
        return self.numbers.get("reliability", self.numbers.get("reliability2"))

    @property
    def verification(self) -> str:
        """``verified``, ``unverified``, ``deverified``; empty where it is not listed."""
        return self.texts.get("verification", "")

    @property
    def usd_per_gpu_hour(self) -> float:
        """Price of one GPU."""
        return self.usd_per_hour / self.num_gpus

    @property
    def usd_per_tflops_hour(self) -> float | None:
        """Price per TFLOP/s of all GPUs as the marketplace computes them; None where it does not."""
        total = self.numbers.get("total_flops", 0.0)
        return self.usd_per_hour / total if total > 0 else None

    @property
    def total_vram_mib(self) -> float | None:
        """Memory of all GPUs; None where neither is listed."""
        total = self.numbers.get("gpu_total_ram")
        each = self.numbers.get("gpu_ram")
        return total if total else (each * self.num_gpus if each else None)


def offer_of(plain: Any) -> Offer:
    """An offer from plain values.

    Raises:
        NotAnOffer: the message says what is missing or of another form.
    """
    if not isinstance(plain, Mapping):
        raise NotAnOffer(f"expected a JSON object, found {type(plain).__name__}")
    name = plain.get("gpu_name")
    if not isinstance(name, str) or not name:
        raise NotAnOffer(f"gpu_name: expected a text, found {_shown(name)}")
    price = _finite(plain.get("dph_total"))
    if price is None or price < 0:
        raise NotAnOffer(f"dph_total: expected USD per hour, found {_shown(plain.get('dph_total'))}")
    numbers, texts, flags = {}, {}, {}
    for key, value in plain.items():
        if isinstance(value, bool):
            flags[str(key)] = value
        elif isinstance(value, str):
            texts[str(key)] = value[:_MOST_TEXT]
        elif (number := _finite(value)) is not None:
            numbers[str(key)] = number
    return Offer(
        _identity(plain, "id"), _identity(plain, "machine_id"), name[:_MOST_TEXT],
        _identity(plain, "num_gpus", most=1024), price, numbers, texts, flags,
    )  # fmt: skip


def offers_of(listed: Iterable[Any]) -> tuple[list[Offer], list[Unreadable]]:
    """Every offer of a listing, and every entry that is none."""
    found, refused = [], []
    for place, plain in enumerate(listed):
        try:
            found.append(offer_of(plain))
        except NotAnOffer as fault:
            machine = plain.get("machine_id") if isinstance(plain, Mapping) else 0
            refused.append(Unreadable(place + 1, str(fault), machine if type(machine) is int else 0))
    return found, refused


def best_of_each_machine(offers: Iterable[Offer]) -> list[Offer]:
    """One offer of each machine, in the order of the listing: the one with the most GPUs, of those the cheapest."""
    best: dict[int, Offer] = {}
    for offer in offers:
        there = best.get(offer.machine_id)
        if there is None or (offer.num_gpus, -offer.usd_per_hour) > (there.num_gpus, -there.usd_per_hour):
            best[offer.machine_id] = offer
    return list(best.values())


def _identity(plain: Mapping[str, Any], name: str, most: int = _MOST_ID) -> int:
    value = plain.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        raise NotAnOffer(f"{name}: expected a positive whole number, found {_shown(value)}")
    return value


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = float(value) if abs(value) < 1e300 else math.inf
    return number if math.isfinite(number) else None


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"[:80]
