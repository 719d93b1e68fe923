"""Submits each run of a night or a campaign, finds it again, looks at it while it waits and runs, and judges it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hpcaccept import launch
from hpcaccept.app.campaign.memory import instant_of
from hpcaccept.app.campaign.wanted import Holding
from hpcaccept.app.doctor.before_queue import must_fit
from hpcaccept.app.run.submit import plan_run, start
from hpcaccept.app.run.wait import events_of, wait_for
from hpcaccept.bounded import read_text
from hpcaccept.errors import HpcacceptError, LaunchError
from hpcaccept.launch.job.driver import time_limit_s
from hpcaccept.model.event import CANCELLED
from hpcaccept.model.job import JobRef
from hpcaccept.model.nightly.night import ACCEPTED, Concluded, Withdrawn
from hpcaccept.plan.node_names import nodes_named
from hpcaccept.report.phrases import folded
from hpcaccept.serial import loads
from hpcaccept.store.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.config.settings import Layered, Settings
    from hpcaccept.model.job import JobStatus
    from hpcaccept.model.nightly.night import Why
    from hpcaccept.model.plan import Plan

#: Between two questions to the scheduler about a job that waits, and about one that has begun: of that one its driver tells the end.
WAITS_ASK_S, RUNS_ASK_S = 1.0, 10.0
#: What Slurm may take to end a job after its time limit (KillWait, 30 s by default), twice.
AFTER_LIMIT_S = 60.0


@dataclass(frozen=True)
class Open:
    """A run that was submitted and not judged.

    Attributes:
        folder: of the run.
        job: of the run; None when it is not known any more.
    """

    folder: RunFolder
    job: JobRef | None


def limit_s(plan: Plan) -> float:
    """Time limit of the job in whole minutes, as Slurm takes it."""
    return math.ceil(time_limit_s(plan) / 60) * 60.0


def plan_for(layered: Layered, nodes: Sequence[str], end_s: float | None, now_s: float) -> tuple[Plan, RunFolder]:
    """The run of these nodes, bound to them and behind everybody else.

    Args:
        layered: what is asked for.
        nodes: names; empty: as the settings say (without a scheduler nothing is chosen).
        end_s: when the job must have ended, seconds since the epoch; None: whenever.
        now_s: seconds since the epoch.
    """
    settings = layered.settings
    if nodes:
        settings = replace(settings, nodes=len(nodes), nodelist=folded(list(nodes)))
    plan, folder = plan_run(settings, layered.overrides)
    within_s = None if end_s is None else end_s - AFTER_LIMIT_S - now_s
    return launch.load(plan.launcher).behind_others(plan, folder.run_id, layered.nightly.nice, within_s), folder


def submit(plan: Plan, folder: RunFolder, settings: Settings) -> Open:
    """Start the job. Raises LaunchError or RunError; then there is no folder and no job."""
    must_fit(plan, folder)
    return Open(folder, start(plan, folder, settings))


def find_again(folder: RunFolder) -> Open | None:
    """A run that was about to be submitted when its night was cut short; None when it never was.

    Raises:
        LaunchError: Slurm does not answer, so nobody knows.
    """
    if not folder.plan_file.exists():
        return None
    job = folder.read_job()
    if job is None:
        job = launch.load(folder.read_plan().launcher).find_job(folder.run_id)
        if job:
            folder.write_job(job)
    return Open(folder, job) if job or events_of(folder) else None


def call_off(folder: RunFolder) -> None:
    """A run that was never submitted never will be: ``sbatch`` outlives who started it, and a job that finds no plan ends at once."""
    with contextlib.suppress(OSError):
        folder.plan_file.rename(folder.plan_file.with_suffix(".withdrawn"))


@dataclass
class Watched:
    """An open run that is looked at again and again.

    Attributes:
        run: that is meant.
        until: when its job is taken back if it has not begun, by the clock of the looks.
        wait_s: how long that is in all.
        begun: its job has begun.
        ending: its job was told to end.
        asked: when the scheduler was asked last.
    """

    run: Open
    until: float
    wait_s: float
    begun: bool = False
    ending: bool = False
    asked: float = -math.inf

    @property
    def name(self) -> str:
        """Of its run."""
        return self.run.folder.run_id

    def holding(self) -> Holding:
        """The nodes that its job holds, once it has begun."""
        plan = self.run.folder.read_plan()
        named = plan.request.nodelist
        nodes = frozenset(nodes_named(named, "nodelist")) if named else frozenset()
        return Holding(self.name, nodes, instant_of(plan.created_at).timestamp())


@dataclass(frozen=True)
class Seen:
    """What a look at a run has found; ``why`` it was taken back."""

    state: Literal["waits", "runs", "over", "taken back"]
    why: str = ""


def look(watched: Watched, now: float) -> Seen:
    """Look at a run once; a job that has not begun in time, or never can, is taken back.

    Args:
        watched: is told what was seen.
        now: seconds, by any clock.

    Raises:
        LaunchError: the scheduler does not take it back.
    """
    job, events = watched.run.job, events_of(watched.run.folder)
    if job is None or any(event.kind == "ended" for event in events):
        return Seen("over")
    watched.begun = watched.begun or bool(events)
    if now - watched.asked < (RUNS_ASK_S if watched.begun and not watched.ending else WAITS_ASK_S):
        return Seen("runs" if watched.begun else "waits")
    watched.asked, launcher = now, launch.load(job.launcher)
    status = launcher.status(job)
    if status.over or (status.state == "stuck" and watched.begun):
        return Seen("over")
    if status.state not in ("pending", "stuck") or watched.begun:
        watched.begun = True
        return Seen("runs")
    if status.state == "pending" and now < watched.until:
        return Seen("waits")
    if not launcher.withdraw(job):
        watched.begun = True  # at this very moment
        return Seen("runs")
    why = f"did not begin within {watched.wait_s:g} s" if status.state == "pending" else "cannot begin"
    return Seen("taken back", " ".join(f"{why}: {status.detail}. {status.remedy}".split()))


@dataclass(frozen=True)
class Judging:
    """What judging a run needs.

    Attributes:
        baselines_dir: where the site keeps its baselines.
        history: folder of what past runs measured.
        note: told of what could not be written beside the verdicts.
    """

    baselines_dir: Path
    history: Path
    note: Callable[[str], None]


def finish(run: Open, night: str, judging: Judging) -> Concluded | Withdrawn:
    """Wait for the end of a run, gather, judge, report and remember it.

    Raises:
        HpcacceptError: it cannot be read or judged, or ``run.h5`` and ``report.json`` cannot be written.
    """
    status = wait_for(run.folder, run.job, lambda _: None) if run.job else None
    if run.job and status and not status.over:
        launch.load(run.job.launcher).withdraw(
            run.job
        )  # it was put back into the queue, where it would begin on some other day
    return judged(run.folder, night, judging, status)


def judged(folder: RunFolder, night: str, judging: Judging, status: JobStatus | None) -> Concluded | Withdrawn:
    """Gather, judge, report and remember a run that is over. May be repeated."""
    from hpcaccept.app.history import remember
    from hpcaccept.app.run.conclude import collect, judge_run, save_report, write_report

    evidence = collect(folder, status)
    judgement = judge_run(evidence, judging.baselines_dir, judging.history)
    write_report(folder, judgement)
    try:
        save_report(folder, judgement, "markdown", folder.path / "report.md")
        remember(judgement, judging.history)
    except HpcacceptError as fault:
        # The verdicts stand; 'hpcaccept history add' catches up.
        judging.note(f"{folder.run_id}: {fault.message}")
    stated = any(one.false_alarm_rate is not None for one in judgement.judgement.sensitivity.values())
    rate = evidence.plan.suite.peers.false_alarm_rate if stated else None
    told = replace(told_by(folder, night), false_alarm_rate=rate)
    state = status or evidence.job
    if evidence.cancelled or (state and state.state == "stuck"):
        # Ended from outside, perhaps to make room: what it did not come to is no news of a node, and no test of it.
        known = {name: outcome for name, outcome in told.nodes.items() if outcome in (*ACCEPTED, "FAIL")}
        if not known:
            why = state.detail if state else CANCELLED
            return Withdrawn(
                night, folder.run_id, f"ended from outside before anything was judged: {why}", why_ended(why)
            )
        told = replace(told, nodes=known, reasons={n: why for n, why in told.reasons.items() if n in known})
    return told


def why_ended(detail: str) -> Why:
    """The kind of an end from outside, by the scheduler's own words (``JobStatus.detail``)."""
    return "preempted" if detail.startswith("PREEMPTED") else "other"


def told_by(folder: RunFolder, night: str) -> Concluded:
    """What ``report.json`` of a run says of its nodes.

    Raises:
        LaunchError: there is no such report, or it is of another form.
    """
    try:
        report = loads(read_text(folder.report_file))
        nodes = {str(name): str(outcome) for name, outcome in report["nodes"].items()}
        # Asked for and never heard of.
        for name in report["coverage"]["nodes_silent"]:
            nodes.setdefault(str(name), "NOT_RUN")
        reasons: dict[str, str] = {}
        for verdict in report["verdicts"]:
            name = verdict["node"]
            if nodes.get(name) == verdict["outcome"] and nodes[name] not in ACCEPTED:
                reasons.setdefault(name, _reason(verdict))
        return Concluded(night, folder.run_id, report["created_at"], int(report["exit_code"]), nodes, reasons)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise LaunchError(
            f"{folder.report_file} cannot be read: {fault}.", "Judge it again: hpcaccept report"
        ) from None


def _reason(verdict: dict[str, object]) -> str:
    where = f"{verdict['device']} " if verdict.get("device") else ""
    metric = f".{verdict['metric']}" if verdict.get("metric") else ""
    variant = f"[{verdict['variant']}]" if verdict.get("variant") else ""
    return f"{where}{verdict['check']}{metric}{variant}: {verdict['reason']}"[:300]
