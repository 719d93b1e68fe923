"""One night, from the lock to the message.

What a crash has left is finished first; then nodes are chosen, tested and judged; then the night is told. Every step is in
the journal before it is done (or as soon as it is), so that the next night can go on wherever this one was cut off.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from hpcaccept import launch
from hpcaccept.app.campaign import rounds, runs
from hpcaccept.app.campaign.choose import Terms, cap_of, choose, in_jobs
from hpcaccept.app.campaign.memory import Memory, instant_of, with_runs
from hpcaccept.app.campaign.rounds import Findings, Work
from hpcaccept.app.campaign.site import Site
from hpcaccept.app.nightly.changes import compare
from hpcaccept.app.nightly.earlier_nights import missed_nights, stale_nodes
from hpcaccept.app.nightly.message import NightReport, headline, is_news, news_lines, node_lists
from hpcaccept.app.nightly.notify import TOKEN_VARIABLE, URL_VARIABLE, notify
from hpcaccept.app.run.submit import dry_run, plan_run
from hpcaccept.app.run.wait import events_of
from hpcaccept.errors import HpcacceptError, RunError
from hpcaccept.model.nightly.night import Began, Chosen, Concluded, Ended, Missed
from hpcaccept.model.nightly.window import Here
from hpcaccept.plan.node_names import nodes_named
from hpcaccept.store.folder import RunFolder, all_runs
from hpcaccept.store.night_lock import LockHeld, acquire, myself, read_holder
from hpcaccept.store.replaced_files import replace_file
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hpcaccept.config.settings import Layered
    from hpcaccept.model.nightly.night import LastTest

#: A run by hand that has no last word after so long will have none.
FORGOTTEN_S = 2 * 86400.0
#: A night that lasts so long hangs.
HANGS_S = 20 * 3600.0


class NothingTonight(RunError):
    """No node can be tested now. A retry helps on another night."""


def site_of(layered: Layered, say: Callable[[str], None] = lambda _: None) -> Site:
    """The site, with its launcher decided: this machine is only tested when that is asked for.

    ``submit`` falls back to this machine where no Slurm answers. At night nobody would notice that the login node was tested.
    """
    launcher = launch.choose_unattended(layered.settings.launcher)
    # Out of the environment, which every job inherits.
    secrets = {name: os.environ.pop(name) for name in (URL_VARIABLE, TOKEN_VARIABLE) if name in os.environ}
    return Site(replace(layered, settings=replace(layered.settings, launcher=launcher)), say, secrets=secrets)


def run_night(site: Site) -> NightReport:
    """One night, told to whom it may concern when this returns.

    Raises:
        LockHeld: another one has not ended.
        RunError: the journal cannot be written.
    """
    try:
        site.folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise RunFolder(site.folder).refused(fault) from fault
    now = site.clock()
    try:
        lock = acquire(site.folder, myself(now.isoformat(timespec="seconds")))
    except LockHeld as fault:
        _tell_of_a_hang(site, fault, now)
        raise
    with lock:
        memory = site.memory()
        me = myself("")
        began = Began(f"{now:%Y%m%d-%H%M%S}-{os.urandom(2).hex()}", me.host, me.pid, me.user)
        site.write(began)
        found = Findings()
        work = Work(site, began.night, found, lambda: lock.mine)
        try:
            rounds.find_open(work, memory.open_runs, site.layered.nightly.queue_timeout_s)
            rounds.see_through(work)
            site.write(*_others(site, memory))
            _tonight(work)
        except KeyboardInterrupt:
            site.say("What was submitted goes on; the next nightly run finishes it.")
            raise
        except NothingTonight as fault:
            found.nothing = str(fault)
        except HpcacceptError as fault:
            found.nothing = str(fault)
            found.codes.append(fault.exit_code)
        return _conclude(site, began, replace(memory, began=(*memory.began, (now, began))), found)


def _tell_of_a_hang(site: Site, fault: LockHeld, now: datetime) -> None:
    """A night that still goes on when the next one is due will be noticed by nobody else."""
    owner = read_holder(site.folder).owner
    if owner is None or site.layered.nightly.notify == "never":
        return
    held_s = (now - instant_of(owner.since)).total_seconds()
    if held_s > HANGS_S:
        report = NightReport(f"{now:%Y%m%d-%H%M%S}", owner.host, 3, nothing=" ".join(str(fault).split()))
        for way, why in notify(report, site.layered.nightly, site.secrets).items():
            site.say(f"{way}: {why or 'told'}")


def _others(site: Site, memory: Memory) -> list[Concluded]:
    """Runs that somebody made with ``submit`` tell of nodes too. Each is read once, when it is over."""
    others = []
    for folder in all_runs(site.runs_dir):
        if folder.run_id in memory.runs or not folder.report_file.exists():
            continue
        age_s = time.time() - folder.report_file.stat().st_mtime
        if age_s < FORGOTTEN_S and not any(event.kind == "ended" for event in events_of(folder)):
            continue
        try:
            if folder.read_plan().launcher == site.layered.settings.launcher:
                others.append(runs.told_by(folder, ""))
        except HpcacceptError as fault:
            site.say(f"{folder.run_id}: left out: {fault.message}")
    return others


def _tonight(work: Work) -> None:
    """Choose, submit, wait and judge.

    Raises:
        NothingTonight: no node can be tested now.
        HpcacceptError: Slurm does not answer, or the settings do not fit it.
    """
    site, found = work.site, work.found
    end_s = _end_of_window(site)
    probe = plan_run(replace(site.layered.settings, nodes=1, nodelist=""), site.layered.overrides)[0]
    wait_s = _time_to_wait(site, runs.limit_s(probe), end_s)
    # Of now: what was judged a moment ago, for a night that was cut short, counts too.
    tested = site.memory().tested
    groups = _groups(site, tested, probe.request.gpus_per_node, runs.limit_s(probe) + wait_s, found)
    site.write(Chosen(work.name, found.choice.nodes, found.choice.reasons))
    rounds.submit(work, site.layered, groups, end_s, wait_s)
    rounds.see_through(work)
    if not found.concluded:
        found.nothing = "; ".join(dict.fromkeys(w.reason for w in found.withdrawn)) or "no run was judged"


def _end_of_window(site: Site) -> float | None:
    """When everything must be over, seconds since the epoch; None when there is no window.

    Raises:
        NothingTonight: it is not open.
    """
    is_open, end_s = rounds.window_now(site)
    if not is_open:
        raise NothingTonight(
            f"It is outside the window {site.layered.nightly.window}.",
            "Start it inside, or change window under [nightly].",
        )
    return end_s


def _time_to_wait(site: Site, limit_s: float, end_s: float | None) -> float:
    """Seconds for which jobs may wait in the queue, so that one that begins at the last moment ends in the window."""
    asked_s = site.layered.nightly.queue_timeout_s
    if end_s is None:
        return asked_s
    left_s = end_s - site.clock().timestamp()
    spare_s = rounds.spare_s(end_s, site.clock().timestamp(), limit_s)
    if spare_s < 0:
        raise NothingTonight(
            f"A job may take {show_duration(limit_s)}, and the window {site.layered.nightly.window} is over in "
            f"{show_duration(left_s)}.",
            "Start earlier, choose a shorter --suite, or set --time.",
        )
    return min(asked_s, spare_s)


def _groups(
    site: Site, tested: Mapping[str, LastTest], gpus: int, longest_s: float, found: Findings
) -> list[tuple[str, ...]]:
    """The nodes of each job; one job without names where there is no scheduler to ask."""
    settings, nightly = site.layered.settings, site.layered.nightly
    now = launch.load(settings.launcher).cluster_now(settings.partition)
    if now is None:
        return [()]
    found.partition = tuple(node.name for node in now.nodes if now.partition in node.partitions)
    now_s = site.clock().timestamp()
    terms = Terms(
        partition=now.partition,
        gpus=gpus,
        gpu_type=settings.gpu_type,
        now_s=now_s,
        until_s=now_s + longest_s + runs.AFTER_LIMIT_S,
        cap=cap_of(len(found.partition), nightly.max_nodes, nightly.max_share),
        reservation=settings.slurm.get("reservation", ""),
        only=frozenset(nodes_named(settings.nodelist, "--nodelist")) if settings.nodelist else None,
        exclude=frozenset(nodes_named(settings.exclude, "--exclude")),
    )
    found.choice = choose(now.nodes, now.kept, tested, terms)
    if not found.choice.nodes:
        why = ", ".join(f"{count} {why}" for why, count in found.choice.reasons.items())
        raise NothingTonight(f"No node of {now.partition} is free to be tested: {why}.")
    return in_jobs(found.choice.nodes, nightly.nodes_per_job)


def _conclude(site: Site, began: Began, memory: Memory, found: Findings) -> NightReport:
    """Compare, tell, and write the end of the night."""
    nightly, now, last = site.layered.nightly, site.clock(), memory.ended[-1] if memory.ended else None
    # What an earlier night had judged before it was cut off was never told.
    fresh = site.memory()
    tested = fresh.tested
    stale = stale_nodes(found.partition, tested, memory.began[0][0], now, nightly.stale_days)
    lost = [due.isoformat(timespec="seconds") for due in missed_nights(memory, nightly.at, now, Here())]
    unreported = tuple(due for due in lost if due not in memory.reported)
    codes = [*found.codes, *(run.exit_code for run in fresh.news)]
    code = 1 if 1 in codes else max(codes, default=3)
    if fresh.news and found.nothing:
        found.notes.append(found.nothing)
    report = NightReport(
        night=began.night,
        host=began.host,
        exit_code=code,
        tested=tuple(sorted({name for run in fresh.news for name in run.nodes})),
        changes=compare(dict(fresh.before), fresh.news),
        runs=tuple(str(site.runs_dir / run.run) for run in fresh.news),
        left_out=found.choice.reasons,
        nothing="" if fresh.news else " ".join(found.nothing.split()),
        withdrawn=tuple((word.run, word.reason) for word in found.withdrawn),
        resumed=tuple(found.resumed),
        missed=tuple(datetime.fromisoformat(due).astimezone().strftime("%Y-%m-%d %H:%M") for due in unreported),
        stale=stale,
        newly_stale=tuple(sorted(set(stale) - set(last.stale if last else ()))),
        stale_days=nightly.stale_days,
        untold=last.untold if last else (),
        notes=tuple(found.notes),
    )
    for name, line in node_lists(tested).items():
        try:
            replace_file(site.folder / name, line)
        except OSError as fault:
            report = replace(report, notes=(*report.notes, f"{name} could not be written: {fault.strerror}"))
    report, untold = _tell(site, report, last)
    cut = [Ended(night, 3, f"cut short; finished by {began.night}") for night in memory.open_nights]
    ended = Ended(began.night, code, headline(report), report.nothing, stale, untold, report.notes)
    site.write(*([Missed(unreported)] if unreported else []), *cut, ended)
    return report


def _tell(site: Site, report: NightReport, last: Ended | None) -> tuple[NightReport, tuple[str, ...]]:
    """Notify where that is asked for; the report with what went wrong, and the news that nobody got."""
    policy = site.layered.nightly.notify
    if policy == "never" or (policy == "changes" and not is_news(report, last)):
        return report, report.untold
    delivered = notify(report, site.layered.nightly, site.secrets)
    failed = [f"{way} did not get through: {why}" for way, why in delivered.items() if why]
    untold = news_lines(report) if delivered and len(failed) == len(delivered) else ()
    return replace(report, notes=(*report.notes, *failed)), untold


def preview(site: Site) -> str:
    """What a night would choose and submit now. Nothing is written and nothing is started.

    Raises:
        HpcacceptError: as the night would.
    """
    found = Findings()
    end_s = _end_of_window(site)
    probe = plan_run(replace(site.layered.settings, nodes=1, nodelist=""), site.layered.overrides)[0]
    wait_s = _time_to_wait(site, runs.limit_s(probe), end_s)
    memory = site.memory()
    tested = with_runs(memory.tested, _others(site, memory))
    groups = _groups(site, tested, probe.request.gpus_per_node, runs.limit_s(probe) + wait_s, found)
    parts = [f"# {run.run}: would be finished first" for run in memory.open_runs]
    for name in found.choice.nodes:
        known = tested.get(name)
        parts.append(f"# {name}: {f'{known.outcome}, tested {known.at}' if known else 'never tested'}")
    parts += [f"# {name}: not taken: {why}" for name, why in found.choice.left_out.items()]
    for nodes in groups:
        parts.append(dry_run(*runs.plan_for(site.layered, nodes, end_s, site.clock().timestamp())))
    return "\n".join(parts)
