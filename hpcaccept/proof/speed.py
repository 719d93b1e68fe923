"""How fast a GPU of a claimed class must be, and how fast none can be. Floors and peaks per class are data (``gpu_classes.toml``).

The clock is the client's. What a round trip takes is taken off, but never more than half a second of it: the machine answers the pings too, and one that
answers them late would give itself time.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.config.toml import read_toml
from hpcaccept.proof.challenge import PROOF_WIDTH

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Most seconds of a round trip that are taken off.
MOST_ROUND_TRIP_S = 0.5
#: Boards run above the clock that their peak is stated at; beyond this share of it no board of the class computes.
ABOVE_PEAK = 1.25
#: Bytes that the step q moves for each element: a sum of four is read, one is written.
_BYTES_OF_A_STEP = 5.0
#: Spread of the round trips, as a share of the time allowed, from which a late answer is nobody's guilt.
_UNSTEADY = 0.25


@dataclass(frozen=True)
class GpuClass:
    """GPUs that the marketplace sells under one claim.

    Attributes:
        name: of the class.
        peak_ops: int8 operations per second, dense.
        floor_ops: below which the claim is refuted; 0 where there is none.
        source: of both, with the date.
    """

    name: str
    peak_ops: float
    floor_ops: float
    source: str


@functools.cache
def _classes() -> dict[str, GpuClass]:
    table = read_toml(Path(__file__).with_name("gpu_classes.toml"))
    found = {}
    for entry in table["classes"]:
        peak = float(entry["peak_tops"]) * 1e12
        floor, why = peak * float(table["floor_share"]), table["floor_source"]
        if "sustained_tops" in entry:
            reached = chain_ops(float(entry["sustained_tops"]) * 1e12, float(entry["memory_gb_per_s"]) * 1e9)
            floor, why = reached * float(table["floor_of_sustained"]), entry["sustained_source"]
        made = GpuClass(entry["name"], peak, floor, f"{entry['source']}; floor: {why}, {table['date']}")
        found.update({_plain(name): made for name in entry["names"]})
    return found


def chain_ops(sustained_ops: float, memory_bytes: float) -> float:
    """Operations per second of the chain on a part that sustains so many, and moves so many bytes per second between its steps."""
    moved_per_op = _BYTES_OF_A_STEP / (2.0 * PROOF_WIDTH)
    return 1.0 / (1.0 / sustained_ops + moved_per_op / memory_bytes)


def gpu_class(claimed: str) -> GpuClass | None:
    """The class of a GPU name as a marketplace or a driver spells it; None: no floor is known."""
    return _classes().get(_plain(claimed))


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def round_trip_s(rtts_s: Sequence[float]) -> float:
    """What is taken off: the shortest, at most half a second."""
    return min([*rtts_s, MOST_ROUND_TRIP_S]) if rtts_s else 0.0


def rate_ops(ops: float, elapsed_s: float, rtts_s: Sequence[float]) -> float:
    """Operations per second on the client's clock, the round trip taken off."""
    return ops / max(elapsed_s - round_trip_s(rtts_s), 1e-3)


def deadline_s(ops: float, floor_ops: float, rtts_s: Sequence[float]) -> float:
    """Seconds after which the answer is late."""
    return ops / floor_ops + round_trip_s(rtts_s)


def unsteady(allowed_s: float, rtts_s: Sequence[float]) -> bool:
    """True where round trips differ so much that a late answer says nothing of the GPU."""
    return len(rtts_s) > 1 and max(rtts_s) - min(rtts_s) > _UNSTEADY * allowed_s
