"""The GPUs of a node by Slurm's gres. Text in, counts by type out.

``gpu:ampere:6(S:0-1),gpu:1g.10gb:28(S:0-1)`` are 6 GPUs and 28 slices of others (MIG): no 34 of anything.
https://slurm.schedmd.com/gres.html (25.05).
"""

from __future__ import annotations

import re
from collections import Counter

from hpcaccept.model.node import Gpus, count_of

#: A slice's profile, alone or behind the GPU's name: ``1g.10gb``, ``nvidia_h100_80gb_hbm3_1g.10gb``, ``a100_3g.20gb.me``.
_SLICE = re.compile(r"(?:^|[_-])\d+g\.\d+gb", re.IGNORECASE)


def parse_gpus(line: str) -> Gpus:
    """The GPUs in the gres of one node: ``gpu:h100:8(S:0-1),nic:2``."""
    counts: Counter[str] = Counter()
    for entry in re.sub(r"\([^)]*\)", "", line).split(","):
        name, *words = entry.strip().split(":")
        if name != "gpu":
            continue
        number = int(words.pop()) if words and words[-1].isdecimal() else 1
        counts[":".join(word for word in words if word != "no_consume")] += number
    return tuple(counts.items())


def usual_count(text: str, gpu_type: str = "") -> int:
    """GPUs per node in ``sinfo -h -N -o %G``: the number that most nodes have; 0 where there is none.

    Args:
        text: a line for each node.
        gpu_type: that is counted; empty: all types, which add up.
    """
    counts = [count_of(parse_gpus(line), gpu_type) for line in text.splitlines() if line.strip()]
    return Counter(counts).most_common(1)[0][0] if counts else 0


def mixed_gpus(text: str) -> Gpus:
    """The GPUs of the first node in ``sinfo -h -N -o %G`` of which a number alone does not say which are meant; nothing where there is none."""
    return next((gpus for gpus in map(parse_gpus, text.splitlines()) if is_mixed(gpus)), ())


def is_slice(gpu_type: str) -> bool:
    """True for the profile of a slice."""
    return bool(_SLICE.search(gpu_type))


def is_mixed(gpus: Gpus) -> bool:
    """True where slices stand beside whole GPUs, or beside slices of another size."""
    return len(gpus) > 1 and any(is_slice(name) for name, _ in gpus)


def in_words(gpus: Gpus) -> str:
    """As it is asked for: ``ampere:6, 1g.10gb:28``."""
    return ", ".join(f"{name}:{number}" if name else str(number) for name, number in gpus) or "none"


def which(gpus: Gpus, where: str) -> tuple[str, str]:
    """What is found, and what to type, where a number alone does not say which GPUs are meant."""
    options = " or ".join(f"--gpus-per-node {name}:{number}" for name, number in gpus if name)
    return f"{where}: {in_words(gpus)} to a node, slices among them, and which are meant is not said", options
