"""A campaign over the whole fleet: begins, goes on (after a crash too), heeds a wish, and ends.

Its folder is ``RUNS/campaigns/NAME``: the journal, the lock of whoever is at it, and ``look.json``, what the last look at the cluster has found.
"""

from __future__ import annotations

import math
import os
import re
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept import launch
from hpcaccept.app.campaign import rounds, runs
from hpcaccept.app.campaign.choose import Choice, Terms, cap_of, choose, in_jobs
from hpcaccept.app.campaign.memory import instant_of, recall
from hpcaccept.app.campaign.site import NIGHTLY, Site
from hpcaccept.app.campaign.standing import standing_of
from hpcaccept.app.run.submit import dry_run, plan_run
from hpcaccept.bounded import read_text
from hpcaccept.config.nightly import NightlySettings
from hpcaccept.config.settings import Layered, Settings
from hpcaccept.config.suites import SuiteText
from hpcaccept.errors import HpcacceptError, RunError, UsageError
from hpcaccept.model.campaign import Asked, Closed, Opened, Wish
from hpcaccept.model.nightly.night import LastTest
from hpcaccept.plan.node_names import nodes_named
from hpcaccept.serial import dumps, from_plain, loads, to_plain
from hpcaccept.store import night_journal
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.night_lock import Lock, acquire, myself
from hpcaccept.store.one_writer import locked
from hpcaccept.store.replaced_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcaccept.app.campaign.standing import Standing
    from hpcaccept.model.node import ClusterNow, NodeState

FOLDER = "campaigns"
LOOK = "look.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


@dataclass(frozen=True)
class Order:
    """What ``campaign start`` asks for.

    Attributes:
        layered: settings; of ``nightly`` what rounds go by, and ``max_nodes`` and ``max_share`` at once.
        name: of the campaign; empty: one by the time.
        caps: partition → at most so many of its nodes at once.
        max_jobs: at most so many jobs at once; 0: no such limit.
        for_s: for how long, at most.
    """

    layered: Layered
    name: str = ""
    caps: dict[str, int] = field(default_factory=dict)
    max_jobs: int = 0
    for_s: float = 7 * 86400.0


# --- which campaign ----------------------------------------------------------------------------------------------------


def names(runs_dir: Path) -> tuple[str, ...]:
    """Every campaign under a runs folder, in the order in which they began."""
    found = []
    for journal in (runs_dir / FOLDER).glob("*/journal.jsonl"):
        lines, _ = night_journal.read(journal)
        if standing := standing_of(lines):
            found.append((standing.opened_at, journal.parent.name))
    return tuple(name for _, name in sorted(found))


def standing_in(site: Site) -> Standing:
    """Where a campaign stands.

    Raises:
        RunError: its journal does not say what was asked for.
    """
    found = standing_of(site.lines())
    if found is None:
        raise RunError(
            f"{site.journal} does not say what was asked for.", f"Is it one of a campaign? rm -r {site.folder}"
        )
    return found


def site_of(runs_dir: Path, name: str = "", say: Callable[[str], None] = lambda _: None) -> Site:
    """A campaign by its name, with everything that it was asked for; the latest for an empty name.

    Raises:
        UsageError: there is none, or what it was asked for cannot be read any more.
    """
    there = names(runs_dir)
    if not there or (name and name not in there):
        what = f"There is no campaign {name!r}" if name else "There is no campaign"
        known = f"; known: {', '.join(there[-8:])}" if there else ""
        raise UsageError(f"{what} under {runs_dir / FOLDER}{known}.", "Begin one: hpcaccept campaign start")
    place = f"{FOLDER}/{name or there[-1]}"
    opened = standing_in(Site(Layered(Settings(runs_dir=str(runs_dir)), {}), place=place)).opened
    try:
        layered = Layered(
            from_plain(opened.settings, Settings),
            {},
            tuple(SuiteText(Path(one["file"]), one["tables"]) for one in opened.overrides),
            from_plain(opened.terms, NightlySettings),
        )
    except (ValueError, KeyError, TypeError) as fault:
        raise UsageError(
            f"What {place} was asked for cannot be read: {fault}.", "Was it begun by a later version?"
        ) from None
    # A folder that was moved is where it is now.
    return Site(replace(layered, settings=replace(layered.settings, runs_dir=str(runs_dir))), say, place=place)


# --- the beginning -----------------------------------------------------------------------------------------------------


def begin(order: Order, say: Callable[[str], None] = lambda _: None) -> Site:
    """Write down what is asked for. Nothing is submitted yet.

    Raises:
        UsageError: it cannot be, or another campaign is not over.
        LaunchError: the scheduler does not answer.
        RunError: it cannot be written.
    """
    runs_dir = Path(order.layered.settings.runs_dir).absolute()
    now = datetime.now(timezone.utc)
    name = order.name or f"{now:%Y%m%d-%H%M%S}-{os.urandom(2).hex()}"
    opened = opened_by(order, name, now)
    top = runs_dir / FOLDER
    try:
        with locked(top / ".lock", "beginning a campaign"):
            for other in names(runs_dir):
                if standing_in(site_of(runs_dir, other)).closed is None:
                    raise UsageError(
                        f"The campaign {other} is not over, and two would test the same nodes.",
                        f"Go on with it: hpcaccept campaign resume {other}; or end it: hpcaccept campaign stop {other}",
                    )
            folder = top / name
            if folder.exists():
                raise UsageError(f"There is a campaign {name!r} already.", "Choose another --name.")
            folder.mkdir()
            night_journal.append(folder / "journal.jsonl", opened, at=now.isoformat(timespec="milliseconds"))
    except OSError as fault:
        raise RunError(
            f"Cannot write {top}: {fault.strerror}.", "Choose a shared, writable place with --runs-dir."
        ) from None
    return site_of(runs_dir, name, say)


def opened_by(order: Order, name: str, now: datetime) -> Opened:
    """What an order comes to: nodes, caps, and settings that mean the same wherever somebody goes on. Raises as ``begin``."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"--name is {name!r}, expected letters, digits, '.', '_' and '-', at most 64.")
    layered = order.layered
    settings = replace(layered.settings, launcher=launch.choose_unattended(layered.settings.launcher))
    place = launch.load(settings.launcher)
    if why_not := place.available():
        raise UsageError(f"A campaign needs a scheduler: {why_not}", "Type it where the cluster is.")
    partitions = tuple(dict.fromkeys(part.strip() for part in settings.partition.split(",") if part.strip()))
    cluster = place.cluster_now(partitions[0] if partitions else "")
    if cluster is None:
        raise UsageError(
            f"A campaign needs a scheduler that knows its nodes, and {settings.launcher} has none.",
            "Test this machine: hpcaccept submit.",
        )
    partitions = partitions or (cluster.partition,)
    of = {part: _nodes_of(cluster, part, settings) for part in partitions}
    if unknown := set(order.caps) - set(partitions):
        raise UsageError(f"--cap names {', '.join(sorted(unknown))}; the partitions are {', '.join(partitions)}.")
    terms = layered.nightly
    for part in partitions:
        # What is wrong with suite or settings is said now, not at the first idle node.
        plan_run(replace(settings, nodes=1, nodelist="", partition=part), layered.overrides)
    nodes = tuple(dict.fromkeys(node for part in partitions for node in of[part]))
    return Opened(
        campaign=name,
        nodes=nodes,
        partitions=partitions,
        until=(now + timedelta(seconds=order.for_s)).isoformat(timespec="seconds"),
        caps={part: order.caps.get(part) or _share_of(cluster, part, terms.max_share) for part in partitions},
        max_jobs=order.max_jobs,
        accepted={node: at for node, at in _accepted(layered).items() if node in nodes},
        settings=to_plain(_anywhere(settings)),
        terms=to_plain(terms),
        overrides=tuple({"file": str(one.file), "tables": one.tables} for one in layered.overrides),
        by=str(myself(now.isoformat(timespec="seconds")).user),
    )


def _share_of(cluster: ClusterNow, partition: str, share: float) -> int:
    return cap_of(sum(partition in node.partitions for node in cluster.nodes), 0, share)


def _nodes_of(cluster: ClusterNow, partition: str, settings: Settings) -> tuple[str, ...]:
    only = frozenset(nodes_named(settings.nodelist, "--nodelist")) if settings.nodelist else None
    without = frozenset(nodes_named(settings.exclude, "--exclude"))
    found = [node.name for node in cluster.nodes if partition in node.partitions]
    if not found:
        raise UsageError(f"No node belongs to a partition {partition!r}.", "See 'sinfo -a -s'.")
    wanted = tuple(name for name in found if (only is None or name in only) and name not in without)
    if not wanted:
        raise UsageError(f"None of the {len(found)} nodes of {partition} is among those that are asked for.")
    return wanted


def _anywhere(settings: Settings) -> Settings:
    """Settings that do not depend on the folder in which somebody goes on."""
    suite = str(Path(settings.suite).absolute()) if settings.suite.endswith(".toml") else settings.suite
    image = settings.container_image
    if image and Path(image).is_file():
        image = str(Path(image).absolute())
    return replace(
        settings,
        suite=suite,
        container_image=image,
        runs_dir=str(Path(settings.runs_dir).absolute()),
        baselines_dir=str(Path(settings.baselines_dir).absolute()),
        history=str(settings.history_folder),
    )


def _accepted(layered: Layered) -> dict[str, str]:
    """Node → when it was accepted last, by the history and by the nights."""
    history, found = layered.settings.history_folder, dict[str, str]()
    if history.exists():
        from hpcaccept.app.history import last_accepted

        found |= last_accepted(history)
    nights = Path(layered.settings.runs_dir).absolute() / NIGHTLY / "journal.jsonl"
    for node, last in recall(night_journal.read(nights)[0]).tested.items():
        found[node] = max(found.get(node, ""), last.accepted_at)
    return {node: at for node, at in found.items() if at}


# --- going on ----------------------------------------------------------------------------------------------------------


def ask(site: Site, wish: Wish) -> Standing:
    """Write a wish down; whoever is at the campaign heeds it within seconds.

    Raises:
        UsageError: the campaign is over.
        RunError: it cannot be written.
    """
    standing = standing_in(site)
    if standing.closed:
        raise UsageError(
            f"The campaign {standing.opened.campaign} is over ({standing.state}).", "hpcaccept campaign report"
        )
    site.write(Asked(wish))
    return standing_in(site)


def take_on(site: Site, for_s: float | None = None) -> Standing:
    """Go on with a campaign, and see where it stands then.

    Args:
        site: of the campaign.
        for_s: for how long; 0: everything that can be done now, once; None: until it is over.

    Raises:
        LockHeld: somebody else is at it.
        RunError: the journal cannot be written or read.
    """
    end = None if for_s is None else time.monotonic() + for_s
    me = myself(site.clock().isoformat(timespec="seconds"))
    with acquire(site.folder, me, "process of this campaign", "campaign") as lock:
        at = _At(site, lock)
        while True:
            standing = at.turn()
            if standing.closed or (end is not None and time.monotonic() >= end):
                return standing
            time.sleep(rounds.LOOK_S)


class _At:
    """Whoever holds the lock: what must be remembered between two turns. All that must outlive the process stands in the journal."""

    def __init__(self, site: Site, lock: Lock) -> None:
        self.site = site
        self.work = rounds.Work(site, standing_in(site).opened.campaign, rounds.Findings(), lambda: lock.mine)
        self._looked = -rounds.ROOM_S
        self._said: set[str] = set()
        self._read: tuple[int, Standing | None] = (0, None)
        self._probes: dict[str, Probe] = {}
        self._missing: dict[str, str] = dict(last_look(site).get("missing", {}))

    def _standing(self) -> Standing:
        """From the journal, which others may have added a wish to; it is read again when it has grown."""
        size_bytes = self.site.journal.stat().st_size if self.site.journal.exists() else 0
        known = self._read[1]
        if known is None or size_bytes != self._read[0]:
            known = standing_in(self.site)
            self._read = (size_bytes, known)
        return known

    def turn(self) -> Standing:
        """Everything that can be done now.

        Raises:
            RunError: the journal cannot be written or read.
        """
        site, work = self.site, self.work
        standing = self._standing()
        if standing.closed:
            return standing
        try:
            rounds.find_open(work, standing.open, site.layered.nightly.queue_timeout_s)
            if standing.state == "stopping":
                rounds.wind_up(work, "the campaign was stopped")
            judged = True
            while judged:
                judged = rounds.look(work)
                self._around(judged)
        except HpcacceptError as fault:
            if not work.mine():
                raise
            work.note(fault.message)
        for note in work.found.notes:
            if note not in self._said:
                site.say(note)
                self._said.add(note)
        return self._perhaps_over()

    def _around(self, judged: bool) -> None:
        """Look at the cluster, when it is time or a run has ended: who waits for our nodes, and which nodes are idle."""
        now = time.monotonic()
        if not judged and now - self._looked < rounds.ROOM_S:
            return
        self._looked = now
        site, work, standing = self.site, self.work, self._standing()
        cluster = launch.load(site.layered.settings.launcher).cluster_now(standing.opened.partitions[0])
        if cluster is None:
            raise RunError(f"{site.layered.settings.launcher} knows no nodes.")
        rounds.make_room(work, cluster)
        jobs = (
            _fill(site, standing, cluster, self._probes) if standing.state == "running" else Jobs(missing=self._missing)
        )
        self._missing = jobs.missing
        self._keep_look()
        for job in jobs.next:
            rounds.submit(work, job.layered, [job.nodes], jobs.end_s, job.wait_s)

    def _keep_look(self) -> None:
        """What ``status`` shows. Raises RunError where it cannot be written: then nothing is submitted either."""
        found = {
            "at": self.site.clock().isoformat(timespec="seconds"),
            "missing": self._missing,
            "notes": self.work.found.notes[-5:],
        }
        try:
            replace_file(self.site.folder / LOOK, dumps(found) + "\n")
        except OSError as fault:
            raise RunFolder(self.site.folder).refused(fault) from fault

    def _perhaps_over(self) -> Standing:
        standing = self._standing()
        if standing.open:
            return standing
        if standing.state == "stopping":
            how: str = "stopped"
        elif not standing.left:
            how = "done"
        elif self.site.clock() >= instant_of(standing.opened.until):
            how = "expired"
        else:
            return standing
        why = {**{node: self._missing.get(node, "") for node in standing.left}, **standing.given_up}
        self.site.write(Closed(how, why))  # type: ignore[arg-type]
        return self._standing()


# --- what to submit ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NextJob:
    """One that is to be submitted now.

    Attributes:
        layered: what is asked for in its partition.
        nodes: to be tested.
        wait_s: for how long it may wait.
    """

    layered: Layered
    nodes: tuple[str, ...]
    wait_s: float


@dataclass
class Jobs:
    """What is to be submitted now.

    Attributes:
        next: the jobs.
        missing: node that is neither tested nor being tested → why it is not taken.
        in_test: nodes of open runs, and of these.
        open: how many open runs there are, with these.
        end_s: when the jobs must have ended, seconds since the epoch.
    """

    next: list[NextJob] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    in_test: set[str] = field(default_factory=set)
    open: int = 0
    end_s: float = math.inf


@dataclass(frozen=True)
class Probe:
    """What a job in a partition asks for, whatever its nodes."""

    layered: Layered
    gpus: int
    limit_s: float


def _probe(site: Site, partition: str) -> Probe:
    layered = replace(site.layered, settings=replace(site.layered.settings, partition=partition))
    plan = plan_run(replace(layered.settings, nodes=1, nodelist=""), layered.overrides)[0]
    return Probe(layered, plan.request.gpus_per_node, runs.limit_s(plan))


def _fill(site: Site, standing: Standing, cluster: ClusterNow, probes: dict[str, Probe]) -> Jobs:
    """The jobs that there is room for: within the caps, on idle nodes, those first that were accepted longest ago.

    Args:
        site: of the campaign.
        standing: of the campaign.
        cluster: as it is now.
        probes: by partition; what is not there is added.
    """
    opened, window = standing.opened, site.layered.nightly.window
    is_open, end_s = rounds.window_now(site)
    if not is_open:
        return Jobs(missing=dict.fromkeys(standing.left, f"outside the window {window}"))
    known = {node.name for node in cluster.nodes}
    until_s = instant_of(opened.until).timestamp()
    jobs = Jobs(
        missing={node: "" if node in known else "the scheduler does not know it any more" for node in standing.left},
        in_test=set(standing.in_test),
        open=len(standing.open),
        end_s=until_s if end_s is None else min(end_s, until_s),
    )
    for part in opened.partitions:
        if part not in probes:
            probes[part] = _probe(site, part)
        _fill_partition(jobs, part, probes[part], opened, cluster, site)
    return jobs


def _fill_partition(jobs: Jobs, part: str, probe: Probe, opened: Opened, cluster: ClusterNow, site: Site) -> None:
    terms = site.layered.nightly
    nodes = [node for node in cluster.nodes if part in node.partitions]
    room = opened.caps.get(part, 1) - sum(node.name in jobs.in_test for node in nodes)
    if terms.max_nodes:
        room = min(room, terms.max_nodes - len(jobs.in_test))
    choice = _choice(
        [node for node in nodes if node.name in jobs.missing], cluster, part, max(room, 0), probe, opened, site
    )
    jobs.missing |= {name: str(why) for name, why in choice.left_out.items()}
    spare_s = rounds.spare_s(jobs.end_s, site.clock().timestamp(), probe.limit_s)
    for names in in_jobs(choice.nodes, terms.nodes_per_job) if choice.nodes else ():
        if spare_s < 0:
            jobs.missing |= dict.fromkeys(names, "no time left for a job")
        elif opened.max_jobs and jobs.open >= opened.max_jobs:
            jobs.missing |= dict.fromkeys(names, "beyond the cap: as many jobs as may be at once")
        else:
            jobs.open += 1
            jobs.in_test |= set(names)
            jobs.next.append(NextJob(probe.layered, names, min(terms.queue_timeout_s, spare_s)))
            for name in names:
                del jobs.missing[name]


def _choice(
    mine: Sequence[NodeState], cluster: ClusterNow, part: str, cap: int, probe: Probe, opened: Opened, site: Site
) -> Choice:
    settings, now_s = site.layered.settings, site.clock().timestamp()
    terms = Terms(
        partition=part,
        gpus=probe.gpus,
        gpu_type=settings.gpu_type,
        now_s=now_s,
        until_s=now_s + probe.limit_s + site.layered.nightly.queue_timeout_s + runs.AFTER_LIMIT_S,
        cap=cap,
        reservation=settings.slurm.get("reservation", ""),
    )
    return choose(mine, cluster.kept, _by_acceptance(opened.accepted), terms)


def _by_acceptance(accepted: Mapping[str, str]) -> dict[str, LastTest]:
    """The order of the choice is that of the last test; a campaign tests each node once, so that the last acceptance can stand there."""
    return {node: LastTest(at, "PASS", "", accepted_at=at) for node, at in accepted.items()}


def preview(order: Order) -> str:
    """What a campaign would test and submit first. Nothing is written and nothing is started. Raises as ``begin``."""
    now = datetime.now(timezone.utc)
    opened = opened_by(order, order.name or "preview", now)
    settings = from_plain(opened.settings, Settings)
    site = Site(replace(order.layered, settings=settings))
    cluster = launch.load(settings.launcher).cluster_now(opened.partitions[0])
    from hpcaccept.app.campaign.standing import Standing

    jobs = _fill(site, Standing(opened, now.isoformat()), cluster, {}) if cluster else Jobs()
    caps = ", ".join(f"{cap} of {part}" for part, cap in opened.caps.items())
    parts = [f"# {len(opened.nodes)} nodes until {opened.until}; at once at most {caps}"]
    for name in (name for job in jobs.next for name in job.nodes):
        at = opened.accepted.get(name)
        parts.append(f"# {name}: {f'accepted {at}' if at else 'never accepted'}")
    parts += [f"# {name}: later: {why}" for name, why in jobs.missing.items()]
    parts += [dry_run(*runs.plan_for(job.layered, job.nodes, jobs.end_s, now.timestamp())) for job in jobs.next]
    return "\n".join(parts)


def last_look(site: Site) -> dict[str, Any]:
    """What the last look at the cluster has found: ``at``, ``missing``, ``notes``; empty where there was none."""
    try:
        found = loads(read_text(site.folder / LOOK))
        return {
            "at": str(found["at"]),
            "missing": {str(node): str(why) for node, why in found["missing"].items()},
            "notes": [str(note) for note in found["notes"]],
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
