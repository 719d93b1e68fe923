"""Offers in a terminal, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcaccept.provider.vast.prices import premium
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.provider.vast.offers import Offer, Unreadable

_COLUMNS = ("machine", "offer", "GPUs", "USD/h", "/GPU", "more", "m$/TF", "DLPerf", "rel", "state", "at")
_STATES = {"verified": "ver", "unverified": "unv", "deverified": "dev"}


def table(offers: Sequence[Offer]) -> list[str]:
    """Lines of at most 80 columns: price per GPU-hour, how much dearer than the cheapest, and price per TFLOP/s-hour in thousandths of a USD."""
    rows = [_COLUMNS, *(_row(each, offers) for each in offers)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    left = (2, len(_COLUMNS) - 1)
    return [
        " ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _row(offer: Offer, offers: Sequence[Offer]) -> tuple[str, ...]:
    per_flops, score, reliability = offer.usd_per_tflops_hour, offer.number("dlperf"), offer.reliability
    return (
        str(offer.machine_id),
        str(offer.id),
        safe(f"{offer.num_gpus}x {offer.gpu_name}")[:15],
        f"{offer.usd_per_hour:.3f}",
        f"{offer.usd_per_gpu_hour:.3f}",
        f"{premium(offer, offers) * 100:.0f}%",
        "-" if per_flops is None else f"{per_flops * 1000:.2f}",
        "-" if score is None else f"{score:.0f}",
        "-" if reliability is None else f"{reliability:.3f}"[1:] if reliability < 1 else "1",
        _STATES.get(offer.verification, "-"),
        safe(offer.texts.get("geolocation", ""))[-2:],
    )


def as_plain(offers: Sequence[Offer], refused: Sequence[Unreadable]) -> dict[str, Any]:
    """Every number that was listed, and what follows from it."""
    return {
        "offers": [
            {
                **offer.texts,
                **offer.flags,
                **offer.numbers,
                "id": offer.id,
                "machine_id": offer.machine_id,
                "num_gpus": offer.num_gpus,
                "usd_per_gpu_hour": offer.usd_per_gpu_hour,
                "usd_per_tflops_hour": offer.usd_per_tflops_hour,
                "premium": premium(offer, offers),
            }
            for offer in offers
        ],
        "unreadable": [str(each) for each in refused],
    }
