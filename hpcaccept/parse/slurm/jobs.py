"""What do squeue, scontrol, sacct and sinfo say of a job and of nodes? Text in, dataclasses out."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from hpcaccept.model.job import JobStatus, State

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Job states. https://slurm.schedmd.com/squeue.html#SECTION_JOB-STATE-CODES (22.05 to 25.05)
_STATES: dict[str, State] = {
    "PENDING": "pending",
    "CONFIGURING": "pending",
    "REQUEUED": "pending",
    "REQUEUE_FED": "pending",
    "REQUEUE_HOLD": "pending",
    "SPECIAL_EXIT": "pending",
    "RESV_DEL_HOLD": "pending",
    "RUNNING": "running",
    "COMPLETING": "running",
    "SUSPENDED": "running",
    "STOPPED": "running",
    "SIGNALING": "running",
    "STAGE_OUT": "running",
    "RESIZING": "running",
    "COMPLETED": "ended",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "NODE_FAIL": "node_fail",
    "BOOT_FAIL": "node_fail",
    "OUT_OF_MEMORY": "out_of_memory",
    "FAILED": "failed",
    "PREEMPTED": "cancelled",
}

#: Pending reasons that no amount of waiting removes, with what does.
#: https://slurm.schedmd.com/job_reason_codes.html (25.05)
_STUCK = {
    "JobHeldUser": "Release it: scontrol release {job}",
    "JobHeldAdmin": "An administrator holds it: ask, or scontrol release {job} as one.",
    "DependencyNeverSatisfied": "Its dependency failed: scancel {job} and submit without it.",
    "BadConstraints": "No node can ever satisfy its request: compare it with 'sinfo -o \"%N %f %G %c\"'.",
    "PartitionDown": "The partition is down: choose another with --partition, or scontrol update partitionname=… state=up.",
    "PartitionInactive": "The partition is inactive: choose another with --partition.",
    "PartitionNodeLimit": "The partition has fewer nodes than asked for: lower --nodes or choose another --partition.",
    "PartitionTimeLimit": "The partition allows less time: lower --time or choose another --partition.",
    "InvalidAccount": "The account is unknown: name a valid one with --account (sacctmgr show assoc user=$USER).",
    "AccountNotAllowed": "The account may not use this partition: choose another --account or --partition.",
    "InvalidQOS": "The QOS is unknown: --slurm qos=NAME with a valid one.",
    "QOSNotAllowed": "The QOS may not be used here: --slurm qos=NAME with another one.",
    "AssocMaxNodePerJobLimit": "The account's limit of nodes per job is lower: lower --nodes.",
    "QOSMaxNodePerJobLimit": "The QOS's limit of nodes per job is lower: lower --nodes.",
    "AssocMaxWallDurationPerJobLimit": "The account's time limit is lower: lower --time.",
    "QOSMaxWallDurationPerJobLimit": "The QOS's time limit is lower: lower --time.",
    "ReqNodeNotAvail": "A node that was asked for by name is down, drained or reserved: see 'sinfo -R'.",
    "JobLaunchFailure": "Slurm could not start it: see slurmctld's log; scontrol release {job} tries again.",
    "job_requeued_in_held_state": "Somebody has put it back and holds it: scontrol release {job}",
    "launch_failed_requeued_held": "Slurm could not start it and holds it: scontrol release {job} tries again.",
}


def parse_state(word: str, detail: str = "", job: str = "") -> JobStatus:
    """A status from Slurm's state word (``CANCELLED by 0`` and ``CANCELLED+`` included) and pending reason."""
    name = word.strip().split(" ")[0].rstrip("+")
    state = _STATES.get(name)
    if state is None:
        return JobStatus("lost", f"Slurm says {word!r}, which is unknown here")
    reason = detail.strip().strip("()")
    if state == "pending":
        # squeue writes "launch failed requeued held", scontrol writes it with underscores.
        remedy = _STUCK.get(reason.split(",")[0].replace(" ", "_"))
        # A reservation ends by itself.
        if remedy and "Reserved" not in reason:
            return JobStatus("stuck", f"{name}, {reason}", remedy.format(job=job))
    return JobStatus(state, f"{name}, {reason}" if reason and reason != "None" else name)


def parse_squeue(text: str, job: str) -> JobStatus | None:
    """From ``squeue -h -o '%T|%r' -j JOB``; None when the queue does not know the job (any more)."""
    for line in text.splitlines():
        word, bar, reason = line.strip().partition("|")
        if bar:
            return parse_state(word, reason, job)
    return None


def parse_scontrol_job(text: str, job: str) -> JobStatus | None:
    """From ``scontrol show job JOB``; None when Slurm has forgotten it."""
    state = re.search(r"\bJobState=(\S+)", text)
    if not state:
        return None
    reason = re.search(r"\bReason=(.*?)(?= [A-Z]\w+=|$)", text, re.M)
    status = parse_state(state[1], reason[1] if reason else "", job)
    code = re.search(r"\bExitCode=(\d+):(\d+)", text)
    if status.state == "failed" and code:
        return JobStatus("failed", f"{status.detail}, exit code {code[1]}, signal {code[2]}", _remedy(code[2]))
    return status


def parse_sacct(text: str, job: str) -> JobStatus | None:
    """From ``sacct -n -X -P -o State,ExitCode -j JOB``; None when accounting does not know the job."""
    for line in text.splitlines():
        word, _, code = line.strip().partition("|")
        if word:
            status = parse_state(word, "", job)
            remedy = status.remedy or _remedy(code.partition(":")[2])
            return JobStatus(status.state, f"{word}, exit code {code}" if code else word, remedy)
    return None


def _remedy(signal: str) -> str:
    """Slurm's 0:53 is no signal: the node could not open the job's output files (seen with Slurm 22.05)."""
    if signal != "53":
        return ""
    return "The node could not write the job's output: is --runs-dir on a file system that every node mounts?"


def parse_gres_gpus(text: str) -> int:
    """GPUs per node in ``sinfo -h -o %G``: the number that most lines have; 0 where there is none.

    ``gpu:h100:8(S:0-1),nic:2`` counts 8; several GPU types on one node add up.
    """
    counts = [_gpus_in(line) for line in text.splitlines() if line.strip()]
    return Counter(counts).most_common(1)[0][0] if counts else 0


def _gpus_in(line: str) -> int:
    entries: Iterable[str] = re.sub(r"\([^)]*\)", "", line).split(",")
    total = 0
    for entry in entries:
        parts = entry.strip().split(":")
        if parts[0] == "gpu":
            total += int(parts[-1]) if parts[-1].isdigit() else 1
    return total
