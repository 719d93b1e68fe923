"""The driver of one job, on the first node: it starts steps, keeps their deadlines, and records what happened.

Started as ``python -m hpcaccept.launch.job.driver RUN_FOLDER`` with the host's Python: no torch, no MPI.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import container, launch
from hpcaccept.bounded import end_of
from hpcaccept.errors import HpcacceptError
from hpcaccept.launch.job.environment import of_ranks, on_nodes
from hpcaccept.launch.job.events import Events, job_of
from hpcaccept.launch.job.failure import Loss, RankLogs, loss_of, misfit_of, narrowed, seen_to_die
from hpcaccept.launch.job.own_fault import last_words
from hpcaccept.launch.job.preflight import entry_of, opening, reckon_entry
from hpcaccept.launch.job.queue import StepQueue, after, next_step, without
from hpcaccept.launch.job.rank_logs import first_rank_started, lost_nodes, rank_logs_of, some_rank_has_ended
from hpcaccept.launch.job.retest import retest_of
from hpcaccept.model.event import CANCELLED
from hpcaccept.parse.rank_exits import parse_deaths
from hpcaccept.parse.slurm.refusals import explain_srun
from hpcaccept.parse.ssh_errors import explain_ssh
from hpcaccept.store.folder import FULL, RunFolder
from hpcaccept.store.isolation_journal import read_order
from hpcaccept.transport.process import run_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcaccept.model.event import Kind
    from hpcaccept.model.isolation_order import IsolationOrder
    from hpcaccept.model.plan import Plan, Step

#: What ranks may spend beyond their checks: importing torch on a cold node, saying goodbye.
MARGIN_S = 330.0
#: Seconds before the time limit of the job at which its step is ended, so that a last word can be said. Slurm's own
#: warning signal reaches the ranks, but not a batch script: the time left is asked for instead.
WARNING_S = 20
#: What a launcher may take to end the others when a rank has died. Intel MPI's (2021.18) waits for ever for one that dies before MPI_Init.
LAUNCHER_ACTS_S = 15.0
FOLDER_FULL = "no space left under the run folder"
SUBMIT_ANEW = "One run is one attempt: submit again, for a run of its own."
#: By which attempts of a job differ (https://slurm.schedmd.com/sbatch.html).
_ATTEMPT_NAMES = ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")
TIME_IS_UP = "the time limit of the job is near"
#: What to do about either.
KEPT = "Records so far are kept and judged: 'hpcaccept report'."
#: Bytes of a launcher's output that are looked through.
_MOST_OF_A_LOG = 256 * 1024
#: Seconds for removing containers from the nodes.
LEAVE_S = 60.0
#: What a rank exits with when its journal cannot grow (hpcaccept.rank.EXIT_FOLDER_FULL; launch and rank know nothing of each other).
EXIT_FOLDER_FULL = 74


def driver_command(folder: RunFolder) -> tuple[str, ...]:
    """The command that drives a run folder.

    It is to be started in that folder: Python looks for modules where it is started, and a queue.py beside whoever typed ``submit`` is none.
    """
    return (sys.executable, "-m", "hpcaccept.launch.job.driver", str(folder.path))


def time_limit_s(plan: Plan) -> float:
    """What was asked for, else an upper estimate: start, imports and every deadline once."""
    if plan.request.time_s:
        return plan.request.time_s
    return plan.start_deadline_s + MARGIN_S + sum(spec.deadline_s for spec in plan.suite.checks) + WARNING_S


def drive(path: str) -> int:
    """Run the job of a run folder to its end. Always leaves a last word (``ended``) while it lives; gives 0, or 3 where it ended early."""
    folder = RunFolder(Path(path))
    try:
        return _drive_and_tell(folder)
    except (Exception, SystemExit) as fault:  # noqa: BLE001 (the folder takes no word: the job's output does)
        traceback.print_exc()
        sys.stderr.write(f"{' '.join(last_words(folder, fault))}\n")
        return 3


def _drive_and_tell(folder: RunFolder) -> int:
    events = Events(folder)
    if again := _attempt(folder):
        # No last word: what ended the first attempt is what the scheduler says of it.
        events.say("started_again", detail=again, remedy=SUBMIT_ANEW)
        return 3
    try:
        detail, remedy = _drive(folder, events)
    except (Exception, SystemExit) as fault:  # noqa: BLE001 (whatever it is, it is told as the job's last word)
        if not isinstance(fault, HpcacceptError):
            traceback.print_exc()
        detail, remedy = last_words(folder, fault)
    events.say("ended", detail=detail, remedy=remedy)
    return 3 if detail else 0


def _attempt(folder: RunFolder) -> str:
    """Take the folder for this start of the driver; why that cannot be, when it was started before (a requeue, an array)."""
    mine = " ".join(f"{name}={os.environ[name]}" for name in _ATTEMPT_NAMES if os.environ.get(name))
    mine = mine or f"process {os.getpid()} on {os.uname().nodename}"
    try:
        with folder.attempt_file.open("x", encoding="utf-8") as file:
            file.write(mine + "\n")
    except FileExistsError:
        first = end_of(folder.attempt_file, 200).strip()
        return f"this run was already started ({first}), and started again ({mine}): nothing was measured by the second start"
    except OSError:
        return ""  # the folder takes no writing: the first step says so better
    return ""


class _Stop:
    """Set by SIGTERM and SIGINT (scancel, hpcaccept cancel), and when the time limit of the job is near.

    Args:
        launcher: who may know of a limit.
        time_s: that was asked for, from now on; 0: no limit but the scheduler's.
    """

    def __init__(self, launcher: launch.Launcher, time_s: float = 0.0) -> None:
        self.why = ""
        self._launcher = launcher
        self._ask_at = time.monotonic()
        # Where no scheduler ends the job, and where it rounds up, what was asked for holds all the same.
        self._ends_at = self._ask_at + time_s if time_s else math.inf
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._set)
        # Slurm's warning is not for the driver, which looks at the clock itself.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    def _set(self, _number: int, _frame: object) -> None:
        self.why = CANCELLED

    def __bool__(self) -> bool:
        """Look at the clock too; the scheduler is asked again whenever the time that it named is nearly over."""
        now = time.monotonic()
        if not self.why and now >= self._ask_at:
            left_s = self.seconds_left()
            if left_s <= WARNING_S:
                self.why = TIME_IS_UP
            self._ask_at = now + min(3600.0, max(1.0, left_s - WARNING_S))
        return bool(self.why)

    def seconds_left(self) -> float:
        """Until the job must have ended: what the scheduler says, or what was asked for, whichever is first; infinite without a limit."""
        by_scheduler = self._launcher.seconds_left(os.environ)
        return min(math.inf if by_scheduler is None else by_scheduler, self._ends_at - time.monotonic())


def _drive(folder: RunFolder, events: Events) -> tuple[str, str]:
    """Every step, in turn. Gives why the job ended early and what to do about it, or two empty texts."""
    plan = folder.read_plan()
    launcher = launch.load(plan.launcher)
    stop = _Stop(launcher, plan.request.time_s)
    nodes = launcher.nodes(plan, os.environ)
    events.say("started", nodes=nodes, **job_of(os.environ))
    order = read_order(folder)
    try:
        _sweep(plan, folder, events, nodes, stop)
        if order is None or order.after_suite:
            why = _steps(plan, folder, events, opening(plan, nodes), stop)
            if not any(why) and order is not None:
                why = _isolate_after(plan, folder, events, order, stop)
            return why
        # The step that asks which nodes can be entered, where there is one, and no checks.
        why = _steps(plan, folder, events, entry_of(plan, nodes), stop)
        return why if any(why) else _isolate(plan, folder, events, order, nodes, stop)
    finally:
        _leave(plan, folder, nodes)


def _steps(plan: Plan, folder: RunFolder, events: Events, queue: StepQueue, stop: _Stop) -> tuple[str, str]:
    """Every step of a queue, in turn."""
    while True:
        step, queue = next_step(_reachable(plan, folder, events, queue))
        if step is None:
            return "", ""
        code, late = _launch(plan, folder, events, step, stop)
        if stop.why:
            return stop.why, KEPT
        queue, why = reckon(folder, events, queue, step, code=code, late=late, runtime=plan.image.runtime)
        if why:
            return why


def _isolate(
    plan: Plan, folder: RunFolder, events: Events, order: IsolationOrder, nodes: tuple[str, ...], stop: _Stop
) -> tuple[str, str]:
    """Rounds of an isolation on the nodes that can be used."""
    from hpcaccept.launch.job.isolation.drive import isolate

    launcher = launch.load(plan.launcher)
    faults = launcher.unreachable(plan, nodes, folder, os.environ)
    for node, (cause, remedy) in faults.items():
        events.say("not_entered", nodes=(node,), detail=f"{node} {cause}", remedy=remedy)
    lost = lost_nodes(folder) | set(faults)
    usable = tuple(node for node in nodes if node not in lost)
    if len(usable) < 2:
        return f"{len(usable)} of {len(nodes)} nodes can be used, and an isolation needs two", "See 'hpcaccept doctor'."
    isolate(plan, folder, order, usable, should_stop=lambda: bool(stop), time_s=stop.seconds_left() - WARNING_S)
    return (stop.why, KEPT) if stop.why else ("", "")


def _isolate_after(
    plan: Plan, folder: RunFolder, events: Events, order: IsolationOrder, stop: _Stop
) -> tuple[str, str]:
    """Where the suite has shown a fault that groups can tell apart, its isolation, in a folder of its own."""
    from hpcaccept.launch.job.isolation.after_suite import begin_isolation

    begun = begin_isolation(plan, folder, order)
    if begun is None:
        return "", ""
    its_plan, its_folder, its_order, nodes = begun
    events.say("isolation", check=its_order.check, nodes=nodes, detail=its_order.before[-1].how)
    return _isolate(its_plan, its_folder, events, its_order, nodes, stop)


def _sweep(plan: Plan, folder: RunFolder, events: Events, nodes: tuple[str, ...], stop: _Stop) -> None:
    """Remove what earlier runs could not: a job that is ended while its nodes unpack has no time for it."""
    command = container.load(plan.image.runtime).before_job(plan.image)
    if not command:
        return
    log = folder.logs / "sweep"
    everywhere = launch.load(plan.launcher).everywhere(plan, nodes, command)
    _quietly(everywhere, log, on_nodes(plan, os.environ), should_stop=lambda: bool(stop))
    removed = [line.split() for line in end_of(log.with_suffix(".out"), _MOST_OF_A_LOG).splitlines()]
    names = {node: name for node, name in (words for words in removed if len(words) == 2) if node in nodes}
    if names:
        events.say(
            "swept", nodes=tuple(node for node in nodes if node in names), detail=", ".join(sorted({*names.values()}))
        )


def _leave(plan: Plan, folder: RunFolder, nodes: tuple[str, ...]) -> None:
    """Nothing stays on the nodes: a container under a name outlives its job, with some gigabytes."""
    command = container.load(plan.image.runtime).after_job(plan.image)
    if command:
        everywhere = launch.load(plan.launcher).everywhere(plan, nodes, command)
        _quietly(everywhere, folder.logs / "leave", on_nodes(plan, os.environ))


def _quietly(
    command: Sequence[str], log: Path, env: Mapping[str, str], should_stop: Callable[[], bool] = lambda: False
) -> None:
    """Run what cleans up: when it fails nobody's verdict changes, but its words are kept."""
    out, err = log.with_suffix(".out"), log.with_suffix(".err")
    with contextlib.suppress(HpcacceptError):
        run_until(command, out=out, err=err, deadline_s=LEAVE_S, env=env, should_stop=should_stop)


def _reachable(plan: Plan, folder: RunFolder, events: Events, queue: StepQueue) -> StepQueue:
    """The queue without nodes on which its next step could start nothing; each is told by name."""
    launcher = launch.load(plan.launcher)
    while queue.steps:
        faults = launcher.unreachable(plan, queue.steps[0].nodes, folder, os.environ)
        if not faults:
            break
        # Whoever is lost on the way has a death that says more.
        kind: Kind = "excluded" if queue.launched else "not_entered"
        for node, (cause, remedy) in faults.items():
            events.say(kind, step=f"{queue.launched:02d}", nodes=(node,), detail=f"{node} {cause}", remedy=remedy)
        queue = without(queue, faults)
    return queue


def reckon(
    folder: RunFolder, events: Events, queue: StepQueue, step: Step, *, code: int, late: bool, runtime: str
) -> tuple[StepQueue, tuple[str, str] | None]:
    """What follows from a step that has ended: the queue from here, or cause and remedy when nothing can follow.

    Args:
        folder: of the run.
        events: where losses are told.
        queue: from which the step was taken.
        step: that has ended.
        code: exit status of its launcher.
        late: True when the driver's own deadline ended it.
        runtime: of the container, to tell its failures from those of nodes.
    """
    queue, why = _reckon_losses(folder, events, queue, step, code=code, late=late, runtime=runtime)
    if why or queue.steps:
        return queue, why
    suspects = retest_of(folder, folder.read_plan(), step, queue.retests)
    if suspects is None:
        return queue, None
    again, whom = suspects
    events.say("retest", nodes=again.nodes, detail=f"measured again: {whom}")
    return replace(queue, steps=(again,), retests=queue.retests + 1), None


def _reckon_losses(
    folder: RunFolder, events: Events, queue: StepQueue, step: Step, *, code: int, late: bool, runtime: str
) -> tuple[StepQueue, tuple[str, str] | None]:
    words = rank_logs_of(folder, step)
    stderr = end_of(folder.logs / f"step-{step.id}.err", _MOST_OF_A_LOG)
    if not step.checks:
        return reckon_entry(events, queue, step, words, stderr, late=late, runtime=runtime)
    loss = loss_of(step, words, parse_deaths(stderr), late)
    if loss is None:
        return queue, misfit_of(words)
    if code == EXIT_FOLDER_FULL or _is_full(folder):
        return queue, (FOLDER_FULL, f"Free some under {folder.path}, or choose another place with --runs-dir.")
    gone = _gone(folder, step.nodes if loss.kind == "alike" else loss.nodes)
    if gone:
        loss = narrowed(step, words, loss, gone)
    fault = container.load(runtime).explain(stderr) if not loss.check else None
    dead = seen_to_die(step, words, loss, refused=fault is not None and fault.kind == "MPI does not fit")
    why = misfit_of(words) or (None if gone or dead else _nobody_started(runtime, words, stderr))
    if why:
        return queue, why
    _tell(events, step, loss, None if dead else fault)
    queue, left_out = after(queue, step, loss)
    for node in left_out:
        events.say("excluded", step=step.id, nodes=(node,), detail=f"{node} has lost ranks too often: {loss.how}")
    return queue, None


def _gone(folder: RunFolder, suspects: tuple[str, ...]) -> dict[str, str]:
    """Nodes of several suspects that cannot be reached any more: some launchers end everyone else without a word."""
    if len(suspects) < 2:
        return {}
    plan = folder.read_plan()
    found = launch.load(plan.launcher).unreachable(plan, suspects, folder, os.environ)
    return {node: cause for node, (cause, _) in found.items()}


def _tell(events: Events, step: Step, loss: Loss, fault: container.Fault | None) -> None:
    several = len(loss.ranks) > 1
    who = f"rank{'s' if several else ''} {', '.join(map(str, loss.ranks))} on {', '.join(loss.nodes)}"
    during = f" during {loss.check}" if loss.check else " before the first check"
    what = "stopped" if loss.kind in ("stopped", "overdue") else "were lost" if several else "was lost"
    if not loss.ranks:
        who, what = "some rank", "was lost"
    events.say(
        "death",
        step=step.id,
        nodes=loss.nodes,
        ranks=loss.ranks,
        check=loss.check,
        detail=f"{who} {what}{during}: {fault.cause if fault else loss.how}",
        remedy=fault.remedy
        if fault
        else f"See logs/step-{step.id}.err and the node's own log (dmesg, journalctl) at that time.",
    )


def _launch(plan: Plan, folder: RunFolder, events: Events, step: Step, stop: _Stop) -> tuple[int, bool]:
    """One step, from its command to its end."""
    launcher = launch.load(plan.launcher)
    folder.write_step(step)
    command = launcher.step_command(plan, step, folder)
    events.say("step_started", step=step.id, nodes=step.nodes)
    clock = _StepClock(folder, step)
    code, _ = run_until(
        command,
        out=folder.logs / f"step-{step.id}.out",
        err=folder.logs / f"step-{step.id}.err",
        deadline_s=clock.longest_s,
        env=of_ranks(plan, os.environ),
        should_stop=lambda: bool(stop) or clock.is_late(),
    )
    after = container.load(plan.image.runtime).after_step(plan.image, step.id)
    if after:
        _quietly(after, folder.logs / f"step-{step.id}-leave", on_nodes(plan, os.environ))
    events.say("step_ended", step=step.id, returncode=code)
    return code, clock.late


class _StepClock:
    """The driver's own deadline of a step: for the day on which no rank can keep its own."""

    def __init__(self, folder: RunFolder, step: Step) -> None:
        self._folder = folder
        self._step = step
        self._begin = time.monotonic()
        self._looked = 0.0
        self._started = False
        # Ranks notice an MPI that does not start by themselves; 15 s later nobody will any more. Into the image there is nobody who could.
        self._start_s = step.start_deadline_s + (15.0 if step.checks else 0.0)
        self._work_s = sum(spec.deadline_s for spec in step.checks)
        self.late = False
        #: Even if every rank had to wait for every other.
        self.longest_s = step.start_deadline_s + MARGIN_S + self._work_s * step.ranks

    def is_late(self) -> bool:
        """True when MPI has not started in time, or the ranks' own deadlines are long past."""
        now = time.monotonic()
        # Where nothing is measured, every node has the time to start: the first word of one tells nothing of the others.
        if self._step.checks and not self._started and now - self._looked > 0.5:
            self._looked = now
            rank_started = first_rank_started(self._folder, self._step.id)
            if rank_started:
                self._started = True
                # A rank says it, and no step has more turns than ranks: none may keep the job for ever.
                turns = min(rank_started.ranks_on_host, self._step.ranks) if rank_started.in_turn else 1
                self.longest_s = now - self._begin + MARGIN_S + self._work_s * turns
            elif some_rank_has_ended(self._folder, self._step.id):
                self._start_s = min(self._start_s, now - self._begin + LAUNCHER_ACTS_S)
        limit_s = self.longest_s if self._started else self._start_s
        self.late = now - self._begin > limit_s
        return self.late


def _nobody_started(runtime: str, words: RankLogs, stderr: str) -> tuple[str, str] | None:
    """Cause and remedy when no rank has spoken at all: the container or the launcher failed, not a node."""
    known = container.load(runtime).explain(stderr)
    refused = known is not None and known.kind == "MPI does not fit"
    # Whoever was ended while its MPI started says so; where the MPI itself refuses, that is no start that was under way.
    if words.spoke or (words.stopped and not refused):
        return None
    if known:
        return known.cause, known.remedy
    told = explain_ssh(stderr)
    if told:
        return f"no rank started: a host {told[0]}", told[1]
    by_srun = explain_srun(stderr)
    if by_srun:
        return by_srun
    lines = list(dict.fromkeys(line for line in stderr.strip().splitlines() if line.strip()))
    # "Exited with exit code 2" says that, and the line before it why: "execve(): python3: No such file or directory".
    last = ([line for line in lines if not parse_deaths(line) and "Terminating StepId" not in line] or lines)[-3:]
    if not last:
        return None
    return f"no rank started: {' / '.join(last)[:500]}", "The launcher's whole output is under logs/."


def _is_full(folder: RunFolder) -> bool:
    probe = folder.path / ".probe"
    try:
        probe.write_bytes(b"\1" * 8192)
    except OSError as fault:
        return fault.errno in FULL
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return False


if __name__ == "__main__":
    sys.exit(drive(sys.argv[1]))
