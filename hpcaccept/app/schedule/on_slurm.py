"""Runs a run on Slurm as one job, which Slurm itself starts at its time; a pause is a hold, or a requeue into the held state.

The job is found by its name, which no other run and no other attempt has: whoever was killed while sbatch answered finds it again. Should two
of them have been submitted, the start-up script lets one of them start the command.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept import launch
from hpcaccept.app.schedule import records, start_files
from hpcaccept.app.schedule.job import Failed, NotYet, Seen
from hpcaccept.config.private_variables import without_secrets
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.model.job import JobRef
from hpcaccept.model.schedule.entry import Kept, Released, Started
from hpcaccept.transport.slurm import ask_slurm, hand_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcaccept.app.schedule.job import Job
    from hpcaccept.model.schedule.entry import Added
    from hpcaccept.model.schedule.recipe import Recipe
    from hpcaccept.transport.process import Done

_LAUNCHER = "slurm"
#: Options of sbatch that are ours: the record, the time and the log depend on them.
_OWN = {
    "begin", "b", "comment", "job_name", "J", "output", "o", "error", "e", "open_mode", "chdir", "D", "requeue", "no_requeue",
    "wrap", "parsable", "export", "array", "a", "input", "i",
}  # fmt: skip
#: For so long Slurm may take to end a job; its KillWait is 30 s as a rule.
_END_S = 60.0
#: Slurm refuses to start a job again within the second in which it ended it ("Job credential revoked"), and the job fails.
_APART_S = 3
#: Of a job that a node which had been silent did not start: by then another node may have run it to its end.
_LAUNCH_FAILED = "launch failed requeued held"
_RESTARTS = re.compile(r"\bRestarts=(\d+)")
#: Characters of a comment that any accounting takes.
_MOST_COMMENT = 250


@dataclass(frozen=True)
class OnSlurm:
    """The cluster that answers here."""

    defers: bool = True

    def check(self, recipe: Recipe) -> None:
        """No options that are ours."""
        for key in recipe.slurm:
            if key.replace("-", "_") in _OWN:
                raise UsageError(f"slurm.{key}: schedule sets it itself.", "Take it out of run.toml or of --slurm.")

    def preview(self, recipe: Recipe, at: dt.datetime) -> list[str]:
        """The command that submits it."""
        return [
            shlex.join(
                ["sbatch", "--requeue", "--begin=now+SECONDS", *_options(recipe.slurm), "--wrap=exec bash start.sh 1 1"]
            )
        ]

    def start(self, job: Job) -> Started | NotYet | Failed:
        """Release the job that was held, else submit one; a job of this attempt that is there already is found."""
        before = _active(job, job.standing.key) if job.standing.key else []
        if before:
            for number, _ in before:
                _release(number, due=job.clock.now() >= dt.datetime.fromisoformat(job.standing.added.at))
            return Started(job.standing.attempt, before[0][0], "", job.standing.key)
        key = str(job.standing.attempt)
        there = _known(job, key)
        found = there[0] if there else _submit(job, key)
        return found if isinstance(found, Failed) else Started(job.standing.attempt, found, "", key)

    def look(self, job: Job) -> Seen:
        """Slurm's word while the job is queued or runs, then the status that the script has left."""
        key = job.standing.key
        active = _active(job, key)
        number = active[0][0] if active else job.standing.job
        status = launch.load(_LAUNCHER).status(JobRef(_LAUNCHER, number))
        if status.state in ("pending", "stuck"):
            if _LAUNCH_FAILED in status.detail.replace("_", " ") and start_files.ended(job.record.folder, key) == 0:
                return Seen("ended", 0)
            return Seen("pending", text=f"job {number}: {status.detail}")
        if status.state == "running":
            node = _node(number)
            return Seen("running", text=f"job {number}{f' on {node}' if node else ''}", machine=node)
        code = _exit_status(job, key, number)
        if status.state == "node_fail" or status.detail.startswith("PREEMPTED"):
            return Seen("lost", text=f"job {number}: {status.sentence or status.detail}")
        if code is not None and status.state in ("ended", "failed", "lost"):
            return Seen("ended", code)
        if status.state in ("ended", "lost") or (
            status.state == "failed" and _put_back_and_not_begun(job, key, number)
        ):
            return Seen("lost", text=f"job {number} left no exit status: {status.detail}")
        return Seen("ended", code, f"job {number}: {status.sentence or status.detail}")

    def end(self, job: Job) -> Seen | None:
        """Hold or requeue it for a pause; else SIGTERM, and after the grace scancel."""
        key = job.standing.key or str(job.standing.attempt)
        pause = job.standing.then == "paused"
        waited, cancelled = 0.0, False
        signalled: set[str] = set()
        while active := [
            each for each in _active(job, key) if not (pause and each[1] == "PENDING" and _is_held(each[0]))
        ]:
            for number, state in active:
                if pause:
                    _put_back(number, state)
                elif state == "PENDING" or (waited >= job.recipe.grace_s and not cancelled):
                    _scancel(number)
                    cancelled = state != "PENDING"
                elif number not in signalled:
                    ask_slurm(["scancel", "--signal=TERM", "--full", number])
                    signalled.add(number)
            if waited >= job.recipe.grace_s + _END_S:
                return None
            job.clock.sleep(0.2)
            waited += 0.2
        return Seen("ended", start_files.ended(job.record.folder, key))

    def fetch(self, job: Job) -> None:
        """Nodes and this machine share the folder."""

    def keep(self, job: Job) -> Kept | None:
        """Nodes and this machine share the folder."""
        return Kept(whole=True)

    def release(self, job: Job) -> Released | None:
        """No job of this run is queued any more, but for one that is held for a pause."""
        if job.standing.then != "paused":
            for number, _ in _active(job, job.standing.key or str(job.standing.attempt)):
                _scancel(number)
                return None
        return Released()

    def cost(self, job: Job, seconds: float) -> float:
        """Nobody says."""
        return 0.0


def name_of(run: str, key: str) -> str:
    """Of the job."""
    return f"hpcaccept-{run}-{key}"


def comment_of(added: Added) -> str:
    """What the job's comment says: run, commit, and what it is about."""
    dirty = f"-dirty changes={added.diff_sha256[:12]}" if added.dirty else ""
    subject = "".join(sign if sign.isprintable() else " " for sign in added.subject)
    return f"hpcaccept schedule run={added.run} commit={added.commit}{dirty}: {subject}"[:_MOST_COMMENT]


def submission(job: Job, key: str) -> list[str]:
    """The command that submits the run. Pure but for the clock."""
    added, folder = job.standing.added, job.record.folder
    wait_s = math.ceil((dt.datetime.fromisoformat(added.at) - job.clock.now()).total_seconds())
    command = ["exec", "bash", str(folder / records.SCRIPT), key, str(job.standing.attempt)]
    return [
        "sbatch",
        "--parsable",
        "--export=ALL",
        "--requeue",
        f"--job-name={name_of(added.run, key)}",
        f"--comment={comment_of(added)}",
        f"--chdir={folder}",
        # What start.sh itself cannot say; relative, so that no sign of the folder's name is read as a pattern.
        "--output=slurm-%j.out",
        "--open-mode=append",
        # A distance and no time of day: it means the same in every time zone and when clocks change.
        *([f"--begin=now+{wait_s}seconds"] if wait_s > 0 and job.standing.attempt == 1 else []),
        *_options(job.recipe.slurm),
        f"--wrap={shlex.join(command)}",
    ]


def _options(options: Mapping[str, str]) -> list[str]:
    return [f"--{key.replace('_', '-')}{f'={value}' if value else ''}" for key, value in options.items()]


def _submit(job: Job, key: str) -> str | Failed:
    environ = without_secrets(launch.load(_LAUNCHER).outside_environment(os.environ))
    done = hand_in(submission(job, key), environ)
    if not done.ok:
        if _unheard(done):
            raise LaunchError(f"sbatch: {done.stderr.strip()[:300]}.")
        return Failed(f"sbatch refuses it: {done.stderr.strip()[:300]}")
    number = done.stdout.strip().splitlines()[-1].partition(";")[0] if done.stdout.strip() else ""
    if not number.isdigit():
        there = _known(job, key)
        if not there:
            raise LaunchError(f"sbatch answered without a job number: {done.stdout.strip()[:200]!r}.")
        number = there[0]
    return number


def _active(job: Job, key: str) -> list[tuple[str, str]]:
    """Number and state of the jobs of a start that are queued or run; running ones first."""
    found = [each for each in _listed(job, key, "") if each[1]]
    return sorted(found, key=lambda each: (each[1] == "PENDING", int(each[0])))


def _known(job: Job, key: str) -> list[str]:
    """Those too that have ended a short while ago."""
    return [number for number, _ in _listed(job, key, "all")]


def _listed(job: Job, key: str, states: str) -> list[tuple[str, str]]:
    words = ["squeue", "-h", "-o", "%i|%T", f"--name={name_of(job.record.run, key)}"]
    done = ask_slurm([*words, *([f"--states={states}"] if states else [])])
    if not done.ok:
        raise LaunchError(f"squeue: {done.stderr.strip()[:300]}.")
    rows = [line.strip().partition("|") for line in done.stdout.splitlines()]
    return [(number, state) for number, _, state in rows if number.isdigit()]


def _node(number: str) -> str:
    done = ask_slurm(["squeue", "-h", "-o", "%N", "-j", number])
    return done.stdout.strip() if done.ok else ""


def _exit_status(job: Job, key: str, number: str) -> int | None:
    """What the script has left; None where Slurm has put the job back since, and that start left nothing."""
    return start_files.ended(job.record.folder, key, least=_restarts(number))


def _put_back_and_not_begun(job: Job, key: str, number: str) -> bool:
    """The last of several starts has ended before its script."""
    restarts = _restarts(number)
    last = start_files.begun(job.record.folder, key)
    return restarts > 0 and (last is None or int(last[0].suffix[1:]) < restarts)


def _restarts(number: str) -> int:
    """How often Slurm has put a job back; 0 where it has forgotten it."""
    done = ask_slurm(["scontrol", "show", "job", number])
    found = _RESTARTS.search(done.stdout) if done.ok else None
    return int(found[1]) if found else 0


def _is_held(number: str) -> bool:
    done = ask_slurm(["scontrol", "show", "job", number])
    return done.ok and ("JobHeld" in done.stdout or "requeued_in_held_state" in done.stdout)


def _put_back(number: str, state: str) -> None:
    """Hold what waits, requeue what runs; where requeues are not allowed it is ended, and submitted anew when it is resumed."""
    if state == "PENDING":
        ask_slurm(["scontrol", "hold", number])
    elif state == "RUNNING":
        done = ask_slurm(["scontrol", "requeuehold", number])
        if _unheard(done):
            raise LaunchError(f"scontrol requeuehold {number}: {done.stderr.strip()[:300]}.")
        if not done.ok:
            _scancel(number)


def _unheard(done: Done) -> bool:
    """Nobody knows whether Slurm has acted: asked again, and no reason for anything else."""
    return not done.ok and ("Unable to contact" in done.stderr or "timed out" in done.stderr)


def _release(number: str, *, due: bool) -> None:
    if due:  # Slurm keeps a requeued job back for two minutes, unless it is given a time
        ask_slurm(["scontrol", "update", f"jobid={number}", f"StartTime=now+{_APART_S}"])
    done = ask_slurm(["scontrol", "release", number])
    if not done.ok:
        raise LaunchError(f"scontrol release {number}: {done.stderr.strip()[:300]}.")


def _scancel(number: str) -> None:
    done = ask_slurm(["scancel", number])
    if not done.ok and "Invalid job id" not in done.stderr:
        raise LaunchError(f"scancel {number}: {done.stderr.strip()[:300]}.")
