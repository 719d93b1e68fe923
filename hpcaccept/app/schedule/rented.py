"""Runs a run on a rented machine: rented under a price cap, reached at a host key that we made, destroyed when its results are here.

The run's name is in the label of whatever it rents. Whoever is killed at any moment finds it by that again: what a lost answer made, too.
No second machine is rented while the first has not been seen to be gone.
"""

from __future__ import annotations

import datetime as dt
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept.app.schedule import market, records
from hpcaccept.app.schedule.job import Failed, NotYet, Seen
from hpcaccept.app.schedule.machine import PORT, ROOT, Machine, with_new_keys
from hpcaccept.app.schedule.script import BEGUN, ENDED
from hpcaccept.app.vast.removal import remove
from hpcaccept.app.vast.session import Session, open_session
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.model.schedule.entry import Kept, Released, Rented, Renting, Sent, Started, Unfit
from hpcaccept.provider.vast import prices, requests
from hpcaccept.transport import http, vast_api

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.app.schedule.job import Job
    from hpcaccept.model.schedule.recipe import Recipe
    from hpcaccept.model.schedule.standing import Lease
    from hpcaccept.provider.vast.instances import Instance
    from hpcaccept.provider.vast.offers import Offer
    from hpcaccept.transport.rsync import Synced

#: Machines that one attempt tries.
_MOST_MACHINES = 5
_MOST_OFFERS = 200
_ORDER = [["dph_total", "asc"], ["id", "asc"]]
#: For so long an instance may be missing in the account's list after its request was sent.
LISTED_S = 120.0
#: For so long a running machine may be silent before it counts as lost, and one that is to be ended before it is destroyed as it is.
SILENT_S = 600.0
END_S = 180.0
#: One transfer at a time takes no longer, so that the rules of all runs are looked at in between.
TRANSFER_S = 240.0
#: Between two fetches of results while the command runs: what a lost machine costs at most.
FETCH_S = 300.0
_ROUNDING = 1.001
REMOVE_TRIES, REMOVE_WAIT_S = 4, 2.0
_SENT = (records.SCRIPT, "command.sh", "requirements.txt", records.LOG, records.GPU_LOG, records.WORK)
_FETCHED = (records.LOG, records.GPU_LOG, records.WORK)


class Gone(Exception):
    """The machine is no place for the run (any more); the message says why."""


@dataclass(frozen=True)
class OnRented:
    """Machines of the marketplace.

    Attributes:
        open: gives a session by the file with its key.
    """

    open: Callable[[str], Session] = open_session
    defers: bool = False

    def check(self, recipe: Recipe) -> None:
        """Nothing is rented without a cap of price, money and time."""
        missing = [
            option
            for option, value in (
                ("--image REF (or rental.image in run.toml)", recipe.rental.image),
                ("--max-price USD", recipe.rental.max_price),
                ("--max-usd USD", recipe.stop.max_usd),
                ("--max-hours H (or stop.deadline)", recipe.stop.max_hours or recipe.stop.deadline),
            )
            if not value
        ]
        if missing:
            raise UsageError(f"To rent a machine these are needed too: {', '.join(missing)}.")
        market.filters_of(recipe)

    def preview(self, recipe: Recipe, at: dt.datetime) -> list[str]:
        """What is offered now, and what the run can cost."""
        found = market.choose(self._offers(recipe), recipe, ())
        most = f"at most {recipe.stop.max_usd:g} USD in all, {found.cap:.4f} USD/h now"
        if found.why:
            return [f"{found.why}; {most}"]
        lines = [f"{len(found.offers)} offers are fit now; {most}"]
        for each in found.offers[:5]:
            rate = prices.rate_of(each, recipe.rental.disk_gb, requests.LISTED_DISK_GB)
            lines.append(
                f"  machine {each.machine_id}: {each.num_gpus} x {each.gpu_name}, {rate.usd_per_hour:.4f} USD/h, traffic up to {rate.usd_once:.4f} USD"
            )
        return lines

    def _offers(self, recipe: Recipe) -> list[Offer]:
        return self.open(recipe.rental.key_file).offers(market.filters_of(recipe), _ORDER, _MOST_OFFERS)[0]

    def _session(self, job: Job) -> Session:
        return self.open(job.recipe.rental.key_file)

    # --- start

    def start(self, job: Job) -> Started | NotYet | Failed:
        """Rent, wait, send, start: as far as it can go now."""
        if job.standing.failures >= _MOST_MACHINES and not job.standing.lease:
            return Failed(
                f"{job.standing.failures} machines did not become usable: see {job.record.file(records.JOURNAL)}"
            )
        session = self._session(job)
        lease = job.standing.lease
        if lease is None:
            return self._rent(job, session)
        try:
            if lease.machine in job.standing.unfit:
                raise Gone("")
            if not lease.instance:
                return self._find(job, session, lease)
            there = _instance(job, session, lease)
            if there is None or not (there.status == "running" and there.address and _port(there)):
                return NotYet(_loading(job, lease, there))
            return self._bring_up(job, lease, there)
        except Gone as gone:
            return self._drop(job, session, lease, str(gone))

    def _rent(self, job: Job, session: Session) -> NotYet:
        recipe, standing = job.recipe, job.standing
        offers = session.offers(market.filters_of(recipe), _ORDER, _MOST_OFFERS)[0]
        found = market.choose(offers, recipe, standing.unfit)
        if found.why:
            return NotYet(found.why)
        offer = found.offers[0]
        rate = prices.rate_of(offer, recipe.rental.disk_gb, requests.LISTED_DISK_GB)
        if standing.usd + rate.usd_once + rate.usd_per_hour / 60 > (recipe.stop.max_usd or 0.0):
            return NotYet(f"what is left of max_usd does not pay for a minute of machine {offer.machine_id}")
        machine = with_new_keys(_keys(job))
        mark = market.mark_of(standing, offer.machine_id, recipe, job.progress.ran_s, job.clock.now())
        launch = requests.Launch(recipe.rental.image, machine.onstart(), recipe.rental.disk_gb)
        requests.create(offer.id, launch, str(mark))  # what Vast.ai would not take is refused before it is written down
        job.keep(replace(job.progress, looked=job.clock.look(), usd=0.0, attempt=standing.attempt, silent_s=0.0))
        job.write(Renting(standing.attempt, offer.id, offer.machine_id, str(mark), rate.usd_per_hour, rate.usd_once))
        job.say(f"{job.record.run}: renting machine {offer.machine_id} for {rate.usd_per_hour:.4f} USD/h")
        try:
            instance = session.create(offer.id, launch, str(mark))
        except vast_api.KeyRefused:
            raise
        except vast_api.VastRefused as refused:
            job.write(Unfit(standing.attempt, offer.machine_id, refused.message))
            return NotYet(f"the offer of machine {offer.machine_id} is gone; another one is tried")
        except http.NoAnswer as lost:
            return NotYet(f"machine {offer.machine_id}: whether it was rented is not known yet: {lost.message}")
        job.write(Rented(standing.attempt, instance))
        return NotYet(f"instance {instance} of machine {offer.machine_id} was rented")

    def _find(self, job: Job, session: Session, lease: Lease) -> NotYet:
        """What a request made whose answer was lost, or whose sender was killed."""
        for each in session.instances():
            if each.label == lease.label:
                job.write(Rented(job.standing.attempt, each.id))
                return NotYet(f"instance {each.id} of machine {lease.machine} was rented")
        if _age_s(job, lease) > LISTED_S:
            # The request was never sent, or has made nothing: the machine may be tried again.
            job.write(_removed(job, session, lease))
            return NotYet(f"machine {lease.machine}: the request to rent it has made nothing")
        return NotYet(f"machine {lease.machine}: whether it was rented is not known yet")

    def _bring_up(self, job: Job, lease: Lease, there: Instance) -> Started | NotYet:
        machine = Machine(_keys(job))
        machine.is_at(there.address, _port(there))
        if not machine.answers():
            if _age_s(job, lease) > job.recipe.rental.load_s:
                raise Gone("its sshd does not let us in")
            return NotYet(f"instance {lease.instance} runs and does not answer ssh yet")
        if not job.standing.sent:
            why = _send(job, machine)
            if why:
                return NotYet(why)
        key, attempt = str(job.standing.attempt), job.standing.attempt
        command = f"cd {_there(job)} && (setsid -f bash start.sh {key} {attempt} || exit 9); for i in $(seq 100); do [ -s {BEGUN}.{key}.0 ] && exit 0; sleep 0.1; done; exit 8"
        done = machine.run(command, deadline_s=40)
        if done.returncode:
            said = done.stderr.strip()[-200:] or f"exit status {done.returncode}"
            return NotYet(f"start.sh has not started on machine {lease.machine}: {said}")
        job.keep(replace(job.progress, fetched=job.clock.wall(), silent_s=0.0))
        return Started(attempt, str(lease.instance), str(lease.machine), key)

    def _drop(self, job: Job, session: Session, lease: Lease, why: str) -> NotYet:
        """Give up a machine; what was rented of it is gone before another one is looked for."""
        if lease.machine not in job.standing.unfit:
            job.say(f"{job.record.run}: machine {lease.machine}: {why}")
            job.write(Unfit(job.standing.attempt, lease.machine, why))
        job.write(_removed(job, session, lease))
        return NotYet(f"machine {lease.machine} was given up{f': {why}' if why else ''}")

    # --- while it runs

    def look(self, job: Job) -> Seen:
        """The account's word on the instance, then the machine's on the command."""
        lease = job.standing.lease
        if lease is None:
            return Seen("lost", text="nothing is rented for it")
        session = self._session(job)
        try:
            there = _instance(job, session, lease)
            if there is None or there.status != "running":
                return self._silence(
                    job, f"instance {lease.instance} is {there.status or 'starting' if there else 'not listed'}"
                )
        except Gone as gone:
            return Seen("lost", text=str(gone))
        except vast_api.KeyRefused:
            raise
        except LaunchError as fault:
            job.say(f"{job.record.run}: {fault.message}")
            there = None
        machine = Machine(_keys(job))
        if there and there.address and _port(there):
            machine.is_at(there.address, _port(there))
        return self._asked(job, machine, lease)

    def _asked(self, job: Job, machine: Machine, lease: Lease) -> Seen:
        key = job.standing.key
        command = (
            f"cd {_there(job)} || exit 7; [ -e {ENDED}.{key}.0 ] && exec cat {ENDED}.{key}.0; read -r p _ t <{BEGUN}.{key}.0 || exit 7; "
            # The 20th field behind the name is the start of the process: its number may have come again.
            's=$(cat "/proc/$p/stat" 2>/dev/null) && set -- ${s##*) } && [ "${20}" = "$t" ] && echo running && exit; '
            f"sleep 1; [ -e {ENDED}.{key}.0 ] && exec cat {ENDED}.{key}.0; exit 7"
        )
        done = machine.run(command, deadline_s=30)
        said = done.stdout.decode("utf-8", "replace").strip()
        if done.returncode == 7:
            return Seen("lost", text=f"its process on machine {lease.machine} is gone and left no exit status")
        if done.returncode or done.late or not (said == "running" or (said.isdigit() and len(said) < 4)):
            return self._silence(job, f"machine {lease.machine} does not answer ssh: {done.stderr.strip()[-200:]}")
        place = f"instance {lease.instance} of machine {lease.machine}"
        return (
            Seen("running", text=place, machine=str(lease.machine)) if said == "running" else Seen("ended", int(said))
        )

    def _silence(self, job: Job, why: str) -> Seen:
        """Lost once it has been silent for long."""
        silent = job.progress.silent_s
        if silent >= SILENT_S:
            return Seen("lost", text=f"{why}, for {silent:.0f} s")
        return Seen("unknown", text=why)

    def fetch(self, job: Job) -> None:
        """The log each time, everything now and then: what comes here survives the machine."""
        if not job.standing.lease:
            return
        whole = job.clock.wall() - job.progress.fetched >= FETCH_S
        names = _FETCHED if whole else _FETCHED[:2]
        rule = job.recipe.stop.metric
        if rule and rule.file != "log" and not whole:
            self._fetch_file(job, rule.file)
        found = _bring(job, names, by_hash=False)
        note = "" if found.whole else f"results did not come: {found.why}"
        usd, lease = job.progress.usd, job.standing.lease
        if whole:
            usd = max(usd, _charged(job, self._session(job), lease, (lease.instance,)) - lease.usd_once)
        fetched = job.clock.wall() if whole and found.whole else job.progress.fetched
        job.keep(replace(job.progress, fetched=fetched, note=note, usd=usd))

    def _fetch_file(self, job: Job, name: str) -> None:
        """The one file that a rule is about."""
        target = (job.record.file(records.WORK) / name).parent
        target.mkdir(parents=True, exist_ok=True)
        Machine(_keys(job)).fetch(
            target,
            [name.rpartition("/")[2]],
            f"{_there(job)}/{records.WORK}/{name.rpartition('/')[0]}".rstrip("/"),
            (),
            TRANSFER_S,
            by_hash=False,
        )

    # --- its end

    def end(self, job: Job) -> Seen | None:
        """SIGTERM to all of it, SIGKILL after the grace; a machine that does not answer is destroyed as it is."""
        lease, key = job.standing.lease, str(job.standing.attempt)
        if lease is None or not job.standing.sent:
            return Seen("ended")
        grace_s = job.recipe.grace_s
        command = (
            f"cd {_there(job)} && read -r p _ _ <{BEGUN}.{key}.0 || exit 0; kill -TERM -- -$p 2>/dev/null; "
            f"for i in $(seq {int(grace_s * 5) + 1}); do kill -0 -- -$p 2>/dev/null || break; sleep 0.2; done; "
            f"kill -KILL -- -$p 2>/dev/null; cat {ENDED}.{key}.0 2>/dev/null; true"
        )
        done = Machine(_keys(job)).run(command, deadline_s=grace_s + 40)
        if done.returncode == 0 and not done.late:
            said = done.stdout.decode("utf-8", "replace").strip()
            return Seen("ended", int(said) if said.isdigit() and len(said) < 4 else None)
        since = (job.clock.now() - dt.datetime.fromisoformat(job.standing.since)).total_seconds()
        return Seen("ended", text="the machine does not answer") if since > END_S else None

    def keep(self, job: Job) -> Kept | None:
        """Everything, compared by its content; of a machine that is gone what came before."""
        lease = job.standing.lease
        if lease is None or not job.standing.sent:
            return Kept(whole=True)
        if job.standing.then == "lost":
            found = _bring(job, _FETCHED, by_hash=True)
            return Kept(found.whole, "" if found.whole else f"{found.why}; what came before is here")
        try:
            there = _instance(job, self._session(job), lease)
        except Gone as gone:
            return Kept(whole=False, why=f"{gone}; what came before is here")
        if there is None:
            return Kept(whole=False, why="the instance is gone; what came before is here")
        found = _bring(job, _FETCHED, by_hash=True)
        if found.whole:
            return Kept(whole=True)
        raise LaunchError(f"results did not come yet: {found.why}.")

    def release(self, job: Job) -> Released | None:
        """Destroyed, and no whole list of the account shows it."""
        if not any(isinstance(entry, Renting) for _, entry in job.record.lines()):
            return Released()  # nothing was ever asked for, and no key is needed to know that
        return _removed(job, self._session(job), job.standing.lease)

    def cost(self, job: Job, seconds: float) -> float:
        """As agreed."""
        lease = job.standing.lease
        return lease.usd_per_hour * seconds / 3600 if lease else 0.0


def _instance(job: Job, session: Session, lease: Lease) -> Instance | None:
    """The instance as the account lists it; None where a new one is not listed yet.

    Raises:
        Gone: it will never run (again), or costs more than was agreed.
        LaunchError: no answer.
    """
    for pending, contract in session.pending_increases():
        if contract == lease.instance:
            session.reject_increase(pending)
    there = next((each for each in session.instances() if each.id == lease.instance), None)
    if there is None:
        # Distance, whichever way the wall clock has been set meanwhile.
        if abs(_age_s(job, lease)) > LISTED_S or job.standing.state != "starting":
            raise Gone(f"instance {lease.instance} is in no list of the account any more")
        return None
    if there.dead:
        raise Gone(f"instance {there.id} is {there.status}{f': {there.message}' if there.message else ''}")
    if there.broken and there.status != "running":
        raise Gone(f"instance {there.id}: {there.message}")
    if there.usd_per_hour is not None and there.usd_per_hour > lease.usd_per_hour * _ROUNDING:
        raise Gone(f"it costs {there.usd_per_hour:.4f} USD/h, agreed were {lease.usd_per_hour:.4f}")
    return there


def _loading(job: Job, lease: Lease, there: Instance | None) -> str:
    state = f"{there.status or 'created'}" if there else "not listed yet"
    if _age_s(job, lease) > job.recipe.rental.load_s:
        raise Gone(f"after {_age_s(job, lease):.0f} s it is {state} (rental.load_s {job.recipe.rental.load_s:g})")
    return f"instance {lease.instance} of machine {lease.machine} is {state}"


def _send(job: Job, machine: Machine) -> str:
    """Send everything; why not all of it is there yet, or an empty text."""
    began = job.clock.boottime_s()
    made = machine.run(f"mkdir -p {_there(job)}")
    if made.returncode:
        return f"the machine takes no folder: {made.stderr.strip()[-200:]}"
    found = machine.send(job.record.folder, _SENT, _there(job), job.recipe.exclude, TRANSFER_S)
    if not found.whole:
        return f"sending: {found.why}"
    if wrong := _differing(job, machine):
        return f"sending: {wrong}"
    job.write(Sent(job.standing.attempt, found.size_bytes, job.clock.boottime_s() - began))
    return ""


def _differing(job: Job, machine: Machine) -> str:
    """Whether the machine computes other hashes than were recorded; of a first attempt, whose files nobody has changed yet."""
    if job.standing.attempt > 1:
        return ""
    lines = job.record.file(records.MANIFEST).read_text("utf-8", "surrogateescape").splitlines()
    work = job.record.file(records.WORK)
    rows = [(line[:64], line[65:].lstrip().partition(" ")[2]) for line in lines]
    listed = "".join(
        f"{digest}  {name}\n"
        for digest, name in rows
        if not (work / name).is_symlink() and not _left_out(name, job.recipe.exclude)
    )
    if not listed:
        return ""
    command = f"cd {_there(job)}/{records.WORK} && sha256sum --check --quiet --strict -"
    done = machine.run(command, deadline_s=TRANSFER_S, given=listed.encode("utf-8", "surrogateescape"))
    text = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return "" if done.returncode == 0 else f"hashes differ there: {(text or [done.stderr.strip()])[0][:200]}"


def _left_out(name: str, patterns: tuple[str, ...]) -> bool:
    from hpcaccept.app.schedule.snapshot import excluded

    return excluded(name, patterns)


def _bring(job: Job, names: tuple[str, ...], *, by_hash: bool) -> Synced:
    return Machine(_keys(job)).fetch(
        job.record.folder, names, _there(job), job.recipe.exclude, TRANSFER_S, by_hash=by_hash
    )


def _removed(job: Job, session: Session, lease: Lease | None) -> Released:
    """Destroy whatever carries this run's label.

    Raises:
        LaunchError: something may still be there, and be billed; this is done again until it is not.
    """
    known = (lease.instance,) if lease and lease.instance else ()
    run = job.record.run
    found = remove(
        session,
        lambda each: each.run == run,
        known=known,
        tries=REMOVE_TRIES,
        wait_s=REMOVE_WAIT_S,
        sleep=job.clock.sleep,
    )
    if found.left or (found.why and not found.gone):
        which = ", ".join(map(str, found.left)) or "whatever has its label"
        raise LaunchError(
            f"NOT DESTROYED yet: instance {which}: {found.why}; it may be billed.", "hpcaccept schedule run-once"
        )
    usd = job.progress.usd + lease.usd_once if lease and job.progress.attempt == job.standing.attempt else 0.0
    # Its owner knows the host key, and nobody needs ours any more.
    shutil.rmtree(_keys(job), ignore_errors=True)
    gone = tuple(sorted({*found.gone, *known}))
    if not gone:
        return Released()
    return Released(gone, max(usd, _charged(job, session, lease, gone)))


def _charged(job: Job, session: Session, lease: Lease | None, gone: tuple[int, ...]) -> float:
    """What the account was charged for them; it may say so later, or not at all."""
    if not gone or lease is None:
        return 0.0
    since = dt.datetime.fromisoformat(lease.since) - dt.timedelta(days=1)
    try:
        return sum(session.charged(since, job.clock.now(), gone).values())
    except LaunchError:
        return 0.0


def _keys(job: Job) -> Path:
    """Of this rental: the owner of an earlier machine knows its host key."""
    return job.record.file(f"ssh-{job.standing.attempt}-{job.standing.failures}")


def _there(job: Job) -> str:
    return shlex.quote(f"{ROOT}/{job.record.run}")


def _port(there: Instance) -> int:
    return (there.ports or {}).get(f"{PORT}/tcp", 0)


def _age_s(job: Job, lease: Lease) -> float:
    """Seconds since it was rented; a wall clock that went back makes it young for a while, and the cap of money holds all the same."""
    return (job.clock.now() - dt.datetime.fromisoformat(lease.since)).total_seconds()
