"""Rounds of tests beside users' jobs: what begins, what makes room, what is judged, and what a crash has left.

Whoever goes on after a crash reads the journal: a line is on the disk before a job is submitted or ended, and after it was judged or taken back.
Jobs are found again by the name of their run. So nothing is submitted, and no node is tested, a second time.

Users come first three times. Jobs are bound to idle nodes that nobody is to get, and stand behind everybody; where the scheduler preempts (a QOS or
partition of the site), that ends them; and everywhere else this looks every ``ROOM_S`` whether somebody waits for their nodes, and ends them itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hpcaccept import launch
from hpcaccept.app.campaign import runs
from hpcaccept.app.campaign.choose import Choice
from hpcaccept.app.campaign.memory import instant_of
from hpcaccept.app.campaign.site import Site
from hpcaccept.app.campaign.wanted import in_the_way
from hpcaccept.errors import HpcacceptError, RunError, StoreError
from hpcaccept.model.nightly.night import Concluded, Submitting, Why, Withdrawn, Yielding
from hpcaccept.model.nightly.window import Here, Window
from hpcaccept.report.phrases import fold
from hpcaccept.store.folder import RunFolder
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcaccept.config.settings import Layered
    from hpcaccept.model.node import ClusterNow

#: Between two looks at the runs.
LOOK_S = 1.0
#: Between two looks at who waits for our nodes. A user's job waits for one of them, for the end of ours and for the scheduler's next turn.
ROOM_S = 10.0
#: After that a run that could not be judged is tried again.
AGAIN_S = 60.0


@dataclass
class Findings:
    """What has come of it so far.

    Attributes:
        concluded: runs that were judged.
        withdrawn: runs that came to nothing.
        resumed: those of both that somebody had begun who was cut short.
        choice: what was chosen.
        partition: names of the nodes that could have been.
        nothing: why no node was tested.
        notes: what else went wrong.
        codes: exit codes of what went wrong.
    """

    concluded: list[Concluded] = field(default_factory=list)
    withdrawn: list[Withdrawn] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    choice: Choice = field(default_factory=lambda: Choice(()))
    partition: tuple[str, ...] = ()
    nothing: str = ""
    notes: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)


@dataclass
class Work:
    """What somebody who holds the lock is doing.

    Attributes:
        site: that it is done for.
        name: of the night or campaign.
        found: what has come of it.
        mine: False once somebody else has taken the lock over.
        watched: open runs.
        why: run → why its job was ended.
        looked: when it was last asked who waits, by the clock of the looks.
        later: run that could not be judged → when it is tried again.
    """

    site: Site
    name: str
    found: Findings
    mine: Callable[[], bool]
    watched: list[runs.Watched] = field(default_factory=list)
    why: dict[str, tuple[Why, str]] = field(default_factory=dict)
    looked: float = -math.inf
    later: dict[str, float] = field(default_factory=dict)

    @property
    def judging(self) -> runs.Judging:
        """What judging needs."""
        site = self.site
        return runs.Judging(site.baselines_dir, site.layered.settings.history_folder, self.note)

    def note(self, text: str) -> None:
        """Keep what went wrong, once."""
        if text not in self.found.notes:
            self.found.notes.append(text)

    def watch(self, run: runs.Open, wait_s: float) -> None:
        """Look after a run from now on."""
        self.watched.append(runs.Watched(run, time.monotonic() + wait_s, wait_s))


def find_open(work: Work, begun: Iterable[Submitting], wait_s: float) -> None:
    """Look after what somebody has begun who was cut short. Nothing is submitted a second time.

    Args:
        work: that goes on.
        begun: runs that may have been submitted, and of which nothing more is known.
        wait_s: for how long their jobs may wait from now on.

    Raises:
        LaunchError: the scheduler does not answer, so nobody knows.
    """
    there = {watched.name for watched in work.watched}
    now = time.monotonic()
    for one in begun:
        if one.run in there or work.later.get(one.run, 0.0) > now:
            continue
        try:
            run = runs.find_again(RunFolder(work.site.runs_dir / one.run))
        except StoreError as fault:
            came_to_nothing(work, Withdrawn(work.name, one.run, fault.message))
            continue
        if one.run not in work.later:
            work.found.resumed.append(one.run)
            work.site.say(
                f"{one.run}: begun before this was cut short; {'going on' if run else 'it was never submitted'}"
            )
        if run is None:
            runs.call_off(RunFolder(work.site.runs_dir / one.run))
            came_to_nothing(work, Withdrawn(work.name, one.run, "was never submitted"))
        else:
            # As long as it would have had, had nobody been cut short.
            since_s = work.site.clock().timestamp() - instant_of(run.folder.read_plan().created_at).timestamp()
            work.watch(run, min(wait_s, max(0.0, wait_s - since_s)))


def submit(work: Work, layered: Layered, groups: Iterable[Sequence[str]], end_s: float | None, wait_s: float) -> None:
    """A run for each group of nodes.

    Args:
        work: that goes on.
        layered: what is asked for.
        groups: of nodes, one for each job.
        end_s: when the jobs must have ended, seconds since the epoch; None: whenever.
        wait_s: for how long they may wait.

    Raises:
        HpcacceptError: there can be no plan, or somebody else has the lock.
    """
    for nodes in groups:
        plan, folder = runs.plan_for(layered, nodes, end_s, work.site.clock().timestamp())
        if not work.mine():
            raise RunError("Somebody else has taken the lock over: this process was asleep for too long.")
        work.site.write(Submitting(work.name, folder.run_id, tuple(nodes)))
        try:
            run = runs.submit(plan, folder, layered.settings)
        except HpcacceptError as fault:
            work.note(fault.message)
            work.found.codes.append(fault.exit_code)
            came_to_nothing(work, Withdrawn(work.name, folder.run_id, fault.message, "refused"))
            continue
        work.watch(run, wait_s)
        where = f" on {fold(nodes)}" if nodes else ""
        work.site.say(f"{folder.run_id}: {plan.launcher} job {run.job.id if run.job else ''}{where}")


def look(work: Work) -> bool:
    """Look at every open run once; what is over is judged, one run at a time, so that nobody waits for all of them. True: one was."""
    for watched in list(work.watched):
        seen = runs.look(watched, time.monotonic())
        if seen.state == "taken back":
            work.site.say(f"{watched.name}: taken back: {seen.why}")
            work.watched.remove(watched)
            kind, why = work.why.get(watched.name, ("late", seen.why))
            came_to_nothing(work, Withdrawn(work.name, watched.name, why, kind))
        elif seen.state == "over":
            work.watched.remove(watched)
            _conclude(work, watched)
            return True
    return False


def room_is_due(work: Work) -> bool:
    """True when it is time to look who waits for the nodes of jobs that have begun."""
    holds = any(watched.begun and watched.run.job for watched in work.watched)
    return holds and time.monotonic() - work.looked >= ROOM_S


def make_room(work: Work, now: ClusterNow) -> None:
    """End the jobs that are in the way of a user's."""
    work.looked = time.monotonic()
    holding = {watched.name: watched for watched in work.watched if watched.begun and watched.run.job}
    now_s = work.site.clock().timestamp()
    found = in_the_way(now.waiting, now.nodes, [one.holding() for one in holding.values()], now_s)
    for name, job in found.items():
        waited_s = max(0.0, now_s - job.since_s)
        if name not in work.why:
            partition = ",".join(job.partitions)
            work.site.write(Yielding(work.name, name, job.id, partition, round(waited_s, 1)))
            why = f"made room for job {job.id} in {partition}, which had waited for {show_duration(waited_s)}"
            work.why[name] = ("room", why)
            work.site.say(f"{name}: {why}")
        end(holding[name])


def end(watched: runs.Watched) -> None:
    """End the job of a run. Raises LaunchError."""
    if watched.run.job:
        launch.load(watched.run.job.launcher).cancel(watched.run.job)
    watched.ending, watched.asked = True, -math.inf


def wind_up(work: Work, why: str) -> None:
    """End what runs, and take back what waits. Raises LaunchError."""
    for watched in work.watched:
        work.why.setdefault(watched.name, ("other", why))
        watched.until = -math.inf
        if watched.begun:
            end(watched)


def window_now(site: Site) -> tuple[bool, float | None]:
    """Whether tests may begin now, and when they must have ended (seconds since the epoch; None: whenever)."""
    window = site.layered.nightly.window
    if not window:
        return True, None
    around = Window.parse(window).around(site.clock(), Here())
    return (True, around[1].timestamp()) if around else (False, None)


def spare_s(end_s: float, now_s: float, limit_s: float) -> float:
    """Seconds for which a job may wait and end in time all the same; negative: not one.

    Args:
        end_s: when it must have ended, seconds since the epoch.
        now_s: seconds since the epoch.
        limit_s: that it may last.
    """
    return end_s - now_s - limit_s - runs.AFTER_LIMIT_S


def see_through(work: Work) -> None:
    """Until every open run was judged or taken back."""
    while True:
        judged = look(work)
        if not work.watched:
            return
        if room_is_due(work):
            try:
                _look_around(work)
            except HpcacceptError as fault:
                work.note(f"Cannot see which jobs wait for our nodes: {fault.message}")
        if not judged:
            time.sleep(LOOK_S)


def _look_around(work: Work) -> None:
    settings = work.site.layered.settings
    work.looked = time.monotonic()
    if now := launch.load(settings.launcher).cluster_now(settings.partition):
        make_room(work, now)


def _conclude(work: Work, watched: runs.Watched) -> None:
    name = watched.name
    try:
        word = runs.finish(watched.run, work.name, work.judging)
    except StoreError as fault:
        word = Withdrawn(work.name, name, fault.message)
    except HpcacceptError as fault:
        # A full disk, a scheduler that does not answer: whoever comes next tries again.
        work.note(f"{name} could not be judged: {fault.message}")
        work.found.codes.append(fault.exit_code)
        work.later[name] = time.monotonic() + AGAIN_S
        return
    if isinstance(word, Withdrawn):
        kind, why = work.why.get(name, (word.kind, word.reason))
        came_to_nothing(work, replace(word, reason=why, kind=kind))
        return
    work.site.write(word)
    work.found.concluded.append(word)
    good = sum(outcome == "PASS" for outcome in word.nodes.values())
    work.site.say(f"{name}: {good} of {len(word.nodes)} nodes accepted, exit code {word.exit_code}")


def came_to_nothing(work: Work, word: Withdrawn) -> None:
    """Write down that a run came to nothing."""
    work.site.write(word)
    work.found.withdrawn.append(word)
