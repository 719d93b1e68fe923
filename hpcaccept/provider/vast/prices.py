"""What a rental can cost at most, and what it has cost so far.

GPU time is billed from ``running`` on, disk from creation until destruction, traffic by the gigabyte
(https://docs.vast.ai/documentation/reference/billing). An estimate here counts GPU time from creation on, so that it is never too low; the account's
own charges come later and are believed where they are higher.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hpcaccept.provider.vast.offers import HOURS_OF_A_MONTH, Offer

#: GB that a rental moves at most: the image comes from a registry and is billed as a download.
TRAFFIC_DOWN_GB = 15.0
TRAFFIC_UP_GB = 1.0


@dataclass(frozen=True)
class Rate:
    """What one rental costs.

    Attributes:
        usd_per_hour: with its disk.
        usd_once: of traffic.
    """

    usd_per_hour: float
    usd_once: float = 0.0

    def until(self, seconds: float) -> float:
        """USD after seconds."""
        return self.usd_per_hour * max(seconds, 0.0) / 3600 + self.usd_once


def rate_of(offer: Offer, disk_gb: float, listed_gb: float) -> Rate:
    """The rate of an offer with a disk of ``disk_gb``, where the listing was made for ``listed_gb``."""
    per_month = offer.number("storage_cost") or 0.0
    more_disk = max(disk_gb - listed_gb, 0.0) * per_month / HOURS_OF_A_MONTH
    down = TRAFFIC_DOWN_GB * (offer.number("inet_down_cost") or 0.0)
    up = TRAFFIC_UP_GB * (offer.number("inet_up_cost") or 0.0)
    return Rate(offer.usd_per_hour + more_disk, down + up)


def premium(offer: Offer, offers: Iterable[Offer]) -> float:
    """By how much the offer is dearer per GPU than the cheapest, as a share: 0.12 is 12 %."""
    cheapest = min((each.usd_per_gpu_hour for each in offers), default=offer.usd_per_gpu_hour)
    return offer.usd_per_gpu_hour / cheapest - 1 if cheapest > 0 else 0.0


def charged(results: Iterable[Any], instances: Iterable[int]) -> dict[int, float]:
    """USD that the account has been charged, by instance; others' charges are left out.

    Args:
        results: rows of ``GET /charges``; a row's ``source`` is ``instance-ID``.
        instances: ours.
    """
    sources = {f"instance-{each}": each for each in instances}
    found: dict[int, float] = {}
    for row in results:
        if not isinstance(row, Mapping):
            continue
        instance, amount = sources.get(str(row.get("source"))), row.get("amount")
        if instance is not None and isinstance(amount, (int, float)) and not isinstance(amount, bool) and amount >= 0:
            found[instance] = found.get(instance, 0.0) + float(amount)
    return found
