"""What Slurm would have accepted. Asked once it has refused a job: its own words name what is wrong, and not what there is."""

from __future__ import annotations

import getpass
import re
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError
from hpcaccept.parse.slurm.site import parse_associations, parse_partitions
from hpcaccept.transport.slurm import ask_slurm, users_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def what_there_is(words: str) -> str:
    """The option to be changed, with what it may be; empty where Slurm's words name none, or it does not answer.

    Args:
        words: with which sbatch refused.
    """
    for sign, option, known in _KINDS:
        if re.search(sign, words, re.IGNORECASE):
            try:
                names = list(dict.fromkeys(known()))
            except (LaunchError, KeyError, OSError):
                return f"{option}."
            listed = f"{', '.join(names[:20])}{', …' if len(names) > 20 else ''}"
            return f"{option}: {listed}." if names else f"{option}."
    return ""


def _partitions() -> Iterable[str]:
    shown = parse_partitions(ask_slurm(["scontrol", "-o", "show", "partition"]).stdout)
    groups = users_groups()
    return (partition.name for partition in shown if partition.state == "UP" and partition.open_to(groups))


def _reservations() -> Iterable[str]:
    return re.findall(
        r"^ReservationName=(\S+)", ask_slurm(["scontrol", "-o", "show", "reservation"]).stdout, re.MULTILINE
    )


def _accounts() -> Iterable[str]:
    return parse_associations(_mine("account"))


def _qos() -> Iterable[str]:
    return (name for line in parse_associations(_mine("qos")) for name in line.split(",") if name)


def _mine(column: str) -> str:
    user = getpass.getuser()
    return ask_slurm(["sacctmgr", "-n", "-P", "show", "association", f"user={user}", f"format={column}"]).stdout


def _gres() -> Iterable[str]:
    return ask_slurm(["sinfo", "-h", "-o", "%P has %G"]).stdout.splitlines()


#: Part of Slurm's words (src/common/slurm_errno.c, 22.05 to 25.05) → what to change, and what there is. The first that fits counts.
_KINDS: tuple[tuple[str, str, Callable[[], Iterable[str]]], ...] = (
    (r"\baccount\b", "--account NAME, one of yours", _accounts),
    (r"\bqos\b", "--slurm qos=NAME, one of yours", _qos),
    (r"\breservation\b", "--slurm reservation=NAME, one that there is", _reservations),
    (r"\bpartition\b", "--partition NAME, one that is up and yours to use", _partitions),
    (r"node configuration|\bgres\b", "--gpus-per-node [TYPE:]N, or another --partition", _gres),
)
