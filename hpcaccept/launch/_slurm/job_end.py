"""Why a job ended from outside: which node failed, and who cancelled it, which its state alone does not say."""

from __future__ import annotations

import pwd
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError
from hpcaccept.parse.slurm.job_end import parse_canceller, parse_gone_nodes, parse_nodes_of_job
from hpcaccept.transport.slurm import ask_slurm

if TYPE_CHECKING:
    from hpcaccept.model.job import JobStatus


def with_cause(found: JobStatus, job: str, shown: str) -> JobStatus:
    """The status with the nodes that failed, or with the user who cancelled the job, where Slurm tells.

    Args:
        found: of the job.
        job: its number.
        shown: what ``scontrol show job`` says; empty where it has forgotten the job.
    """
    if found.state == "node_fail":
        nodes = parse_nodes_of_job(shown) or _said("sacct", "-n", "-X", "-P", "-o", "NodeList", "-j", job).strip()
        gone = parse_gone_nodes(_said("sinfo", "-h", "-N", "-o", "%N|%T", "-n", nodes)) if nodes else ()
        return replace(found, nodes=gone)
    if found.state == "cancelled":
        who = parse_canceller(_said("sacct", "-n", "-X", "-P", "-o", "State", "-j", job))
        # sacct's own words say it already where scontrol has forgotten the job.
        plain = found.detail.partition(" by ")[0]
        return found if who is None else replace(found, detail=f"{plain} by {_name_of(who)}")
    return found


def _name_of(user: int) -> str:
    try:
        return f"{pwd.getpwuid(user).pw_name} (user {user})"
    except KeyError:
        return f"user {user}"


def _said(*command: str) -> str:
    """Without accounting, or where Slurm does not answer, nothing."""
    try:
        done = ask_slurm(command)
    except LaunchError:
        return ""
    return done.stdout if done.ok else ""
