"""Asks the nodes: one small job, started and entered exactly as a run would be, with a question instead of checks.

The nodes answer through the job's output, because the runs folder is one of the things in doubt. Whatever happens, nothing of the
job is left: neither in the queue, nor on the nodes, nor in the runs folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import checks, container, launch
from hpcaccept.bounded import read_text
from hpcaccept.errors import LaunchError
from hpcaccept.launch.job.driver import LEAVE_S
from hpcaccept.launch.job.environment import of_ranks
from hpcaccept.launch.job.preflight import by_task
from hpcaccept.model.doctor.probe import FROM_LOGIN, NoAnswer, NodeFacts, ProbeRequest, ProbeResult
from hpcaccept.parse.probe_lines import ProbeReader
from hpcaccept.parse.rank_exits import parse_deaths
from hpcaccept.report.phrases import fold
from hpcaccept.serial import dumps
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.replaced_files import replace_file
from hpcaccept.transport.conversation import talking
from hpcaccept.transport.process import ask
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.job import JobStatus
    from hpcaccept.model.plan import Plan
    from hpcaccept.transport.conversation import Talk

#: What a node may take for all questions together once it has begun; most take a second or two.
_ANSWERS_S = 240.0
#: Seconds between two questions for the time, at first: late nodes have to be asked too, and early ones not a thousand times.
_PING_S = 0.3
_ASK_QUEUE_S = 2.0
#: Whoever asks for a node that does not answer waits half a minute for it, even when the job is over.
_GRACE_S = 3.0
_STEP = "doctor"
#: How long a file that a node has left may take to be seen here.
_SEEN_WITHIN_S = 5.0


@dataclass(frozen=True)
class Patience:
    """How long is waited for what.

    Attributes:
        queue_s: until the job begins.
        start_s: from then on, until every node speaks: images are pulled and unpacked.
        answers_s: from then on, until every node has said all.
    """

    queue_s: float
    start_s: float
    answers_s: float = _ANSWERS_S


def probe(case: Case, patience: Patience, most_s: float | None = None) -> ProbeResult:
    """Ask every node that a run of this case would get.

    Args:
        case: with a plan.
        patience: for the job.
        most_s: longest job that the partition allows.

    Raises:
        RunError: nothing can be written among the runs.
        LaunchError: the launcher is not there.
    """
    plan, launcher = case.plan, launch.load(case.launcher)
    assert plan is not None
    token = f"hpcaccept-doctor-{secrets.token_hex(6)}"
    # A job of its own, even when this is typed inside of another one.
    environ = of_ranks(plan, launcher.outside_environment(os.environ))
    with _token_folder(case.runs_dir, token) as folder:
        RunFolder(folder).write_plan(plan)
        nodes = _placeholders(plan) if case.traits.names_nodes_late else launcher.nodes(plan, environ)
        far = launcher.unreachable(plan, nodes, RunFolder(folder), environ)
        near = tuple(node for node in nodes if node not in far)
        outside = tuple(NoAnswer((node,), cause, remedy) for node, (cause, remedy) in far.items())
        if not near:
            return ProbeResult((), silent=outside)
        request = ProbeRequest(token, str(folder), case.request.gpus_per_node, _who_imports_torch(plan))
        command = probe_command(plan, near, request)
        needed_s = patience.start_s + patience.answers_s
        command = launcher.as_job(command, plan, token, min(needed_s, most_s or needed_s))
        heard = _converse(case, command, environ, token, patience, len(near))
        seen = tuple(_seen_back(folder, token, heard.nodes))
        return replace(heard, nodes=seen, silent=(*outside, *heard.silent))


def _placeholders(plan: Plan) -> tuple[str, ...]:
    """The scheduler chooses, and tells only in the job."""
    return tuple(f"NODE{number}" for number in range(plan.request.nodes))


def probe_here(gpus: int) -> ProbeResult:
    """Ask the node that this process is on, as a process of whatever launched this one."""
    request = dumps(ProbeRequest(gpus=gpus))
    command = [sys.executable, "-m", "hpcaccept.rank.probe", request]
    hearing = ProbeReader()
    done = ask(command, timeout_s=_ANSWERS_S)
    for line in done.stdout.splitlines():
        hearing.add(0.0, line)
    silent = () if hearing.facts else (NoAnswer((os.uname().nodename,), _last_words(done.stderr)),)
    return ProbeResult(tuple(hearing.facts.values()), silent=silent, asked=1, stderr=done.stderr if silent else "")


def _who_imports_torch(plan: Plan) -> str:
    """Nobody, for a suite whose checks do without."""
    if not any("torch" in checks.load(spec.name).needs for spec in plan.suite.checks):
        return "none"
    return "first" if launch.load(plan.launcher).TRAITS.virtual else "all"


def probe_command(plan: Plan, nodes: tuple[str, ...], request: ProbeRequest) -> tuple[str, ...]:
    """The launcher's own command for a look into every node, with the question in the place of the rank program. Pure."""
    step = replace(plan.first_step(nodes), id=_STEP, ranks_per_node=1, checks=())
    launcher = launch.load(plan.launcher)
    if "srun" in launcher.TRAITS.provides:
        # A container of Pyxis' without a name goes with its step.
        plan = replace(plan, image=replace(plan.image, name=""))
    words = list(launcher.step_command(plan, step, RunFolder(Path("/"))))
    rank = ["hpcaccept.rank", "/", step.id]
    # Once for all, or once for each host.
    places = [i for i in range(len(words)) if words[i : i + len(rank)] == rank]
    for place in reversed(places):
        words[place : place + len(rank)] = ["hpcaccept.rank.probe", dumps(request)]
    return tuple(words)


# --- the conversation -------------------------------------------------------------------------------------------------


def _converse(
    case: Case, command: tuple[str, ...], environ: Mapping[str, str], token: str, patience: Patience, asked: int
) -> ProbeResult:
    hearing = ProbeReader()
    begin = time.monotonic()
    with talking(command, env=environ, grace_s=_GRACE_S) as talk, _nothing_left(case, token, talk):
        why, begun, job = _listen(launch.load(case.launcher), talk, hearing, token, patience, asked)
        waited_s = time.monotonic() - begin
        talk.wait(_removal_s(case) if begun and not why else 2.0)
    for arrived_s, line in talk.read_lines(0.01):
        hearing.add(arrived_s, line)
    nodes = _one_each(hearing)
    complete = len(hearing.facts) >= asked
    silent = () if complete else _silent(case, nodes, job, talk.stderr, why)
    cut = any(node.mpi_begun and not node.done for node in nodes)
    return ProbeResult(nodes, hearing.clocks, silent, waited_s, begun, asked, talk.stderr if silent or cut else "")


def _listen(
    launcher: launch.Launcher, talk: Talk, hearing: ProbeReader, token: str, patience: Patience, asked: int
) -> tuple[NoAnswer | None, bool, tuple[str, ...]]:
    """Until everyone is done, the launcher has ended, or patience has.

    Returns:
        Why no more is known, whether the job has begun, and the names of its nodes in the order of its tasks, where the scheduler chose them.
    """
    traits = launcher.TRAITS
    phase, until = ("queue", patience.queue_s) if traits.names_nodes_late else ("start", patience.start_s)
    until += time.monotonic()
    asked_queue = pinged = first = time.monotonic()
    status: JobStatus | None = None
    why: NoAnswer | None = None
    job: tuple[str, ...] = ()
    while talk.ended is None:
        for arrived_s, line in talk.read_lines(0.05):
            hearing.add(arrived_s, line)
        now, spoken = time.monotonic(), hearing.facts.values()
        first = first if spoken else now
        if not why and 0 < len(spoken) < asked <= len(spoken) + len(parse_deaths(talk.stderr)):
            why = NoAnswer((), "")  # the others are dead already, and their own words say more
        # Without the silent ones MPI cannot start: that is not waited for.
        if spoken and (why or len(spoken) >= asked) and all(f.done or (why and f.mpi_begun) for f in spoken):
            return why, True, job
        if phase == "queue" and (names := launcher.begun(talk.stderr)) is not None:
            # At once: of a job that is being ended the scheduler names only the nodes that have not yet ended it.
            phase, until, job = "start", now + patience.start_s, names
        elif phase == "queue" and now - asked_queue > _ASK_QUEUE_S:
            asked_queue, status = now, _state_of_job(launcher, token)
            if status and status.state == "stuck":
                return NoAnswer((), f"the job cannot start: {status.detail}", status.remedy), False, job
        elif phase == "start" and len(spoken) >= asked:
            phase, until = "answers", now + patience.answers_s
        if spoken and traits.relays_input and now - pinged > max(_PING_S, (now - first) / 20):
            pinged = now
            talk.say(repr(time.time()))
        if now > until:
            why = _too_late(phase, patience, status.detail if status else "", traits.look_at_node)
            if phase != "start" or not spoken:
                return why, phase != "queue", job
            phase, until = "answers", now + patience.answers_s
    # The scheduler itself has refused, or the ranks could not be started.
    return why, True, job or launcher.begun(talk.stderr) or ()


def _too_late(phase: str, patience: Patience, detail: str, look_at_node: str) -> NoAnswer:
    if phase == "queue":
        wait, words = show_duration(patience.queue_s), f" ({detail})" if detail else ""
        return NoAnswer(
            (), f"the job did not begin within {wait}{words}", "Try later, or --queue-timeout S, or --quick"
        )
    if phase == "start":
        wait = show_duration(patience.start_s)
        return NoAnswer(
            (),
            f"nothing was heard of it within {wait}",
            "; ".join(way for way in (look_at_node, "--start-timeout S for slow image pulls") if way),
        )
    return NoAnswer((), f"not all answers came within {show_duration(patience.answers_s)}")


def _removal_s(case: Case) -> float:
    """How long the job may take to end once everyone has answered: a scheduler's plug-in that is ended meanwhile leaves the image."""
    return LEAVE_S if container.load(case.image.runtime).srun_flags(case.image) else 2.0


@contextlib.contextmanager
def _nothing_left(case: Case, token: str, talk: Talk) -> Iterator[None]:
    """The job is over at the end of the block, even if it never began, and so is its container.

    A job whose command has ended is ending by itself: who cancels it then ends what removes its container.
    """
    try:
        yield
    finally:
        after = container.load(case.image.runtime).after_step(case.image, _STEP)
        with contextlib.suppress(LaunchError):
            if after:
                ask(after)
        if talk.ended is None or talk.ended < 0:
            _cancel(launch.load(case.launcher), token)


def _cancel(launcher: launch.Launcher, token: str) -> None:
    with contextlib.suppress(LaunchError):
        job = launcher.find_job(token)
        if job and not launcher.status(job).over:
            launcher.cancel(job)


def _state_of_job(launcher: launch.Launcher, token: str) -> JobStatus | None:
    try:
        job = launcher.find_job(token)
        return launcher.status(job) if job else None
    except LaunchError:
        return None


def _one_each(hearing: ProbeReader) -> tuple[NodeFacts, ...]:
    """One voice for each node: of several ranks on one machine the first, which was asked everything."""
    found: dict[str, NodeFacts] = {}
    for facts in sorted(hearing.facts.values(), key=lambda facts: (facts.node, facts.rank)):
        found.setdefault(facts.node, facts)
    return tuple(found.values())


# --- who did not speak ------------------------------------------------------------------------------------------------

_LABEL = re.compile(r" *\d+: ")


def _silent(
    case: Case, nodes: tuple[NodeFacts, ...], job: tuple[str, ...], stderr: str, why: NoAnswer | None
) -> tuple[NoAnswer, ...]:
    """Those of the job that did not speak, grouped by what they, the container or the launcher say."""
    spoken, labelled = {node.node for node in nodes}, by_task(stderr)
    launchers = "\n".join(line for line in stderr.splitlines() if not _LABEL.match(line))
    missing = [(name, labelled.get(task, "")) for task, name in enumerate(job) if name not in spoken]
    if not missing:
        return (_cause(case, "\n".join([*labelled.values(), launchers]), launchers, why),)
    alike: dict[object, tuple[NoAnswer, list[str]]] = {}
    for name, said in missing:
        cause = _cause(case, said, launchers, why)
        # The words of two nodes differ at least in the nodes' names.
        alike.setdefault((cause.remedy, cause.cause.partition(" (")[0]), (cause, []))[1].append(name)
    return tuple(
        NoAnswer(tuple(names), cause.cause, cause.remedy.replace("NAME", fold(names)))
        for cause, names in alike.values()
    )


def _cause(case: Case, said: str, launchers: str, why: NoAnswer | None) -> NoAnswer:
    explain = container.load(case.image.runtime).explain
    fault = explain(said) if said.strip() else explain(launchers)
    if fault:
        return NoAnswer((), fault.cause, fault.remedy)
    return (
        why
        if why and why.cause
        else NoAnswer(
            (), _last_words(said or launchers, case.traits.chatter), f"Try the same by hand: {case.traits.try_by_hand}"
        )
    )


def _last_words(text: str, chatter: str = "") -> str:
    """What was said last, without what only tells that something ended."""
    lines = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    told = [line for line in lines if not (chatter and line.startswith(chatter)) or "error" in line]
    telling = [line for line in told if not parse_deaths(line) and "Terminating StepId" not in line] or told
    return " / ".join(telling[-2:])[:400] or "it printed nothing"


# --- the file system --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _token_folder(runs_dir: Path, token: str) -> Iterator[Path]:
    """A folder among the runs with a file of ours in it; afterwards everything that was made for it is gone.

    Raises:
        RunError: it cannot be made.
    """
    folder = runs_dir / f".{token}"
    made = [place for place in (runs_dir, *runs_dir.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True)
        replace_file(folder / FROM_LOGIN, token)
        yield folder
    except OSError as fault:
        raise RunFolder(folder).refused(fault) from fault
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()


def _seen_back(folder: Path, token: str, nodes: tuple[NodeFacts, ...]) -> Iterator[NodeFacts]:
    """The nodes, with a word where what one has left for this machine does not arrive."""
    until = time.monotonic() + _SEEN_WITHIN_S
    for node in nodes:
        if node.no_write or node.no_read or not node.python:
            yield node
            continue
        while not (seen := _holds(folder / f"from-{node.node}", token)) and time.monotonic() < until:
            time.sleep(0.1)
        yield node if seen else replace(node, no_write="it does not arrive here")


def _holds(file: Path, token: str) -> bool:
    try:
        os.listdir(file.parent)  # noqa: PTH208 (asks NFS for the folder anew)
        return read_text(file, most=len(token)) == token
    except (OSError, ValueError):
        return False
