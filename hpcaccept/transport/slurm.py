"""Asks Slurm so that it answers the same whoever asks and whatever their shell has set.

Ordinary users are shown no hidden partition, none of its nodes and none of their own jobs in it, unless they ask for all (seen with
Slurm 22.05). And ``SQUEUE_STATES``, ``SINFO_PARTITION`` and their like, set for somebody's own convenience, leave out what is asked for.
"""

from __future__ import annotations

import grp
import os
from typing import TYPE_CHECKING

from hpcaccept.transport.process import Done, ask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Options of these programs in variables, https://slurm.schedmd.com/squeue.html#SECTION_ENVIRONMENT-VARIABLES (25.05).
_OPTIONS = ("SQUEUE_", "SINFO_", "SCONTROL_", "SACCT_", "SCANCEL_", "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN")
#: As a variable, because sinfo refuses the option ``--all`` beside a partition by name, and is content with this.
_ALL = {"SQUEUE_ALL": "1", "SINFO_ALL": "1", "SCONTROL_ALL": "1"}


def ask_slurm(command: Sequence[str], *, timeout_s: float = 20.0, seconds: bool = False) -> Done:
    """The answer of squeue, sinfo, scontrol or another of Slurm's programs, hidden partitions included.

    Args:
        command: the program and its words.
        timeout_s: how long it may take.
        seconds: times are told as seconds since the epoch.

    Raises:
        LaunchError: there is no such program, or it did not answer in time.
    """
    return ask(command, timeout_s=timeout_s, env=questions_environment(os.environ, seconds=seconds))


def hand_in(command: Sequence[str], environ: Mapping[str, str], *, timeout_s: float = 60.0) -> Done:
    """What sbatch answers, in the environment that its job is to be given.

    Raises:
        LaunchError: as ``ask_slurm``.
    """
    return ask(command, timeout_s=timeout_s, env=environ)


def questions_environment(environ: Mapping[str, str], *, seconds: bool = False) -> dict[str, str]:
    """The environment in which these programs hide nothing, and take no option from the shell."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_OPTIONS)}
    # Of the same instant everywhere: no time zone, and no change of clocks in between.
    return {**kept, **_ALL, **({"SLURM_TIME_FORMAT": "%s"} if seconds else {})}


def users_groups() -> frozenset[str] | None:
    """Names of the groups of whoever asks; None for root, to whom every partition is open."""
    if not os.geteuid():
        return None
    names = set()
    for number in {os.getegid(), *os.getgroups()}:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:  # a number without a name
            continue
    return frozenset(names)
