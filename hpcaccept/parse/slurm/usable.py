"""Which nodes could take a job, and why the others cannot. From ``sinfo -h -N -o '%N|%T|%f|%a'``; text in, a sentence out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = "%N|%T|%f|%a"
#: sinfo's words for a node on which no job starts before somebody mends it. https://slurm.schedmd.com/sinfo.html (26.05)
_OUT = ("drain", "down", "fail", "inval", "unk")
_SHOWN = 4


def none_usable(text: str, features: Sequence[str]) -> str:
    """Why no node could take a job; empty where one could, now or after others' jobs.

    Args:
        text: of sinfo.
        features: that the node must have, all of them.
    """
    rows = [line.strip().split("|") for line in text.splitlines()]
    rows = [row for row in rows if len(row) == 4]
    if not rows:
        return "it has no node"
    fitting = [row for row in rows if set(features) <= set(row[2].split(","))]
    if not fitting:
        return f"no node of it has {' and '.join(features)}"
    open_ = [row for row in fitting if row[3].startswith("up")]
    if not open_:
        return f"the partition is {fitting[0][3]}"
    bad = {row[0]: row[1] for row in open_ if row[1].startswith(_OUT) or row[1].endswith("*")}
    if any(row[0] not in bad for row in open_):
        return ""
    shown = [f"{name} is {state}" for name, state in bad.items()]
    return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
