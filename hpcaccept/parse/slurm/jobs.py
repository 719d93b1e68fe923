"""What squeue, scontrol and sacct say of a job. Text in, dataclasses out."""

from __future__ import annotations

import re

from hpcaccept.model.job import JobStatus, State

#: Job states. https://slurm.schedmd.com/squeue.html#SECTION_JOB-STATE-CODES (22.05 to 26.05)
_STATES: dict[str, State] = {
    "PENDING": "pending",
    "CONFIGURING": "pending",
    "REQUEUED": "pending",
    "REQUEUE_FED": "pending",
    "REQUEUE_HOLD": "pending",
    # From 25.11 on, of a job whose node failed and that asked to be started again before all others.
    "EXPEDITING": "pending",
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
#: https://slurm.schedmd.com/job_reason_codes.html (26.05)
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
    "ReqNodeNotAvail": "Nodes that it needs are down, drained or reserved: see 'sinfo -R'.",
    "JobLaunchFailure": "Slurm could not start it: see slurmctld's log; scontrol release {job} tries again.",
    "ReservationDeleted": "Its reservation is gone: scancel {job} and submit without it, or with another --slurm reservation=NAME.",
    "ReservationInvalid": "Its reservation cannot be used: scancel {job} and submit with another, see 'scontrol show reservation'.",
    "job_requeued_in_held_state": "Somebody has put it back and holds it: scontrol release {job}",
    "launch_failed_requeued_held": "Slurm could not start it and holds it: scontrol release {job} tries again.",
    "launch_failure_limit_exceeded_requeued_held": "Slurm has given up starting it: see slurmctld's log, then scontrol release {job}",
    "user_env_retrieval_failed_requeued_held": "Slurm could not read your environment on the node: scontrol release {job} tries again.",
}

#: What to do about a job that ended from outside.
_AFTER = {
    "PREEMPTED": "A job of higher rank took its place: submit again, or where nothing does (--partition, --slurm qos=NAME).",
    "TIMEOUT": "Submit again with a higher --time.",
    "DEADLINE": "Submit again: its deadline came before its end.",
    "OUT_OF_MEMORY": "It reached the limit of memory that Slurm gave it: submit again with --slurm mem=0, all memory of each node.",
    "NODE_FAIL": "Ask Slurm what is the matter with the node: sinfo -R, scontrol show node NAME. Test the others: --exclude NAME.",
    "BOOT_FAIL": "Ask Slurm what is the matter with the node: sinfo -R, scontrol show node NAME. Test the others: --exclude NAME.",
    "CANCELLED": "Submit again. What was measured before is shown and blames nobody for being slow.",
}
#: A reservation or another job, which end by themselves; from 24.11 on also nodes that are drained, which do not.
_MAYBE_RESERVED = re.compile(r"\bMay[ _]be[ _]reserved")
#: sinfo's words for a node on which no job starts before somebody mends it. https://slurm.schedmd.com/sinfo.html (26.05)
_OUT = ("drain", "down", "fail", "inval", "unk")


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
        # A reservation ends by itself: "Reserved for maintenance", "May be reserved for other job".
        if remedy and "reserved" not in reason.lower():
            return JobStatus("stuck", f"{name}, {reason}", remedy.format(job=job))
    return JobStatus(state, f"{name}, {reason}" if reason and reason != "None" else name, _AFTER.get(name, ""))


def may_be_out(status: JobStatus) -> bool:
    """True for a job that waits for nodes by name, and Slurm does not say whether they are reserved or drained."""
    return status.state == "pending" and bool(_MAYBE_RESERVED.search(status.detail))


def with_nodes(status: JobStatus, text: str) -> JobStatus:
    """Such a job's status, when the states of its nodes are known: from ``sinfo -h -N -n NODES -o '%N|%T'``."""
    rows = dict.fromkeys(line.strip() for line in text.splitlines())
    out = [row.replace("|", " is ") for row in rows if row.partition("|")[2].startswith(_OUT)]
    return JobStatus("stuck", f"{status.detail}: {', '.join(out)}", _STUCK["ReqNodeNotAvail"]) if out else status


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
        return JobStatus("failed", f"{status.detail}, {_ended_with(int(code[1]), int(code[2]))}", _remedy(code[2]))
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


def _ended_with(code: int, signal: int) -> str:
    """A shell gives 128 + the number of the signal that ended its command."""
    by_signal = f" (its command was ended by signal {code - 128})" if 128 < code <= 128 + 64 else ""
    return f"exit code {code}{by_signal}, signal {signal}"


def _remedy(signal: str) -> str:
    """Slurm's 0:53 is no signal: the node could not open the job's output files (recorded from Slurm 22.05 to 26.05)."""
    if signal != "53":
        return ""
    return "The node could not write the job's output: is --runs-dir on a file system that every node mounts?"
