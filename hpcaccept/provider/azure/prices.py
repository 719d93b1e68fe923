"""What a cluster costs at most: retail prices, which leave out agreements of the site, disks, addresses and traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcaccept.provider.azure.config import Cluster


@dataclass(frozen=True)
class Estimate:
    """The most that the nodes cost.

    Attributes:
        usd_per_hour: of one node; None where no price is known.
        nodes: how many.
        hours: until the expiry.
    """

    usd_per_hour: float | None
    nodes: int
    hours: float

    @property
    def usd(self) -> float | None:
        """Of all nodes until the expiry."""
        return None if self.usd_per_hour is None else self.usd_per_hour * self.nodes * self.hours

    def __str__(self) -> str:
        what = f"{self.nodes} nodes for {self.hours:g} h"
        if self.usd_per_hour is None or self.usd is None:
            return f"{what}: no retail price is published for this size here"
        return f"{what}: at most {self.usd:,.2f} USD ({self.usd_per_hour:,.2f} USD per node and hour, retail)"


def price_of(items: Iterable[Mapping[str, Any]], cluster: Cluster) -> float | None:
    """The most that one Linux VM costs, USD per hour; None where the list has no price.

    A spot price moves: what it can become is the highest price that was agreed to, or that of a regular VM.

    Args:
        items: ``Items`` of the retail prices of the size.
        cluster: whether spot is wanted, and up to which price.
    """
    if cluster.spot.enabled and cluster.spot.max_price > 0:
        return cluster.spot.max_price
    return max((float(item["retailPrice"]) for item in items if _regular(item, cluster)), default=None)


def _regular(item: Mapping[str, Any], cluster: Cluster) -> bool:
    sku = str(item.get("skuName", "")).lower()
    return (
        str(item.get("armSkuName", "")).lower() == cluster.size.lower()
        and item.get("currencyCode", "USD") == "USD"
        and str(item.get("unitOfMeasure", "")).lower() == "1 hour"
        and "windows" not in str(item.get("productName", "")).lower()
        and not sku.endswith((" spot", " low priority"))
        and isinstance(item.get("retailPrice"), (int, float))
        and item["retailPrice"] > 0
    )
