"""Which GPUs, and how many: ``--gpus-per-node`` and its setting are a number, or ``TYPE:N`` as Slurm writes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

GPUS_PER_NODE = "gpus_per_node"
_FORM = re.compile(r"(?:(?P<type>[A-Za-z0-9][\w.+-]*):)?(?P<count>\d{1,9})")


def split_gpus(text: str, place: str) -> tuple[int, str]:
    """Number and type; the type is empty where none is named.

    Raises:
        UsageError: another form.
    """
    found = _FORM.fullmatch(text.strip())
    if not found:
        raise UsageError(
            f"{place} is {text[:60]!r}, expected a number, or TYPE:N.",
            "For example 8, h100:8, or 1g.10gb:28 for slices.",
        )
    return int(found["count"]), found["type"] or ""


def with_gpu_type(layer: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A layer of settings in which number and type are apart; a number alone takes back the type of the layers below."""
    split = {}
    for key, value in layer.items():
        if key.replace("-", "_") == GPUS_PER_NODE:
            number, kind = split_gpus(value, f"{place}: {key}") if isinstance(value, str) else (value, "")
            split.update({key: number, "gpu_type": kind})
    return {**layer, **split, **({"gpu_type": layer["gpu_type"]} if "gpu_type" in layer else {})}
