"""Lets an sbatch script run a plan without submitit and without Python on the host.

Inside its job a task in the image writes the plan and leaves the command of the next step in a file; the script runs it, tells how it
ended, and finds the next one there. What follows from a crash is decided here as in the driver. The image knows nothing of Slurm: the
script hands over what Slurm says, and it is understood by the code that ``submit`` uses.
"""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import container, launch
from hpcaccept.app.run.known import leave_known
from hpcaccept.app.run.submit import plan_of
from hpcaccept.bounded import read_text
from hpcaccept.config.settings import load_settings
from hpcaccept.errors import HpcacceptError, StoreError, UsageError
from hpcaccept.launch.job.driver import KEPT, MARGIN_S, TIME_IS_UP, WARNING_S, reckon, time_limit_s
from hpcaccept.launch.job.environment import of_ranks
from hpcaccept.launch.job.events import Events, job_of
from hpcaccept.launch.job.own_fault import last_words
from hpcaccept.launch.job.preflight import opening
from hpcaccept.launch.job.queue import StepQueue, next_step
from hpcaccept.launch.job.rank_logs import first_rank_started
from hpcaccept.parse.slurm.gres import mixed_gpus, usual_count, which
from hpcaccept.report.printable import safe
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.replaced_files import replace_file
from hpcaccept.units import parse_slurm_time, show_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from hpcaccept.config.settings import Settings
    from hpcaccept.model.plan import Plan, Step

#: Seconds of the job that its steps leave for what follows them, but a quarter of what is left at most: the image is entered twice more.
LAST_WORDS_S = 90.0
#: A launch that hangs is ended so long after MPI should have started: ranks notice that by themselves, as in the driver.
PATIENCE_S = 15.0


@dataclass(frozen=True)
class ScriptInput:
    """What the script says of its job, in Slurm's own words.

    Attributes:
        nodes: ``scontrol show hostnames``.
        gres: ``sinfo -h -N -o %G`` of these nodes.
        mpi: ``srun --mpi=list``.
        left: ``squeue -h -o %L``: time until the job is ended.
        variables: names of the script's environment.
    """

    nodes: str = ""
    gres: str = ""
    mpi: str = ""
    left: str = ""
    variables: str = ""


@dataclass(frozen=True)
class _Way:
    """What is kept between two calls.

    Attributes:
        queue: what is still to be launched.
        allowed_s: seconds that the launched step was given.
        by_job: True when that is all the time of the job.
    """

    queue: StepQueue
    allowed_s: float = 0.0
    by_job: bool = False


def begin(
    path: str,
    told: ScriptInput,
    options: Mapping[str, Any],
    suite_options: Mapping[str, Mapping[str, Any]],
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Write the plan of a run into a new folder, and leave its first command there (see ``_leave_command``).

    Args:
        path: of the run folder.
        told: of the job.
        options: settings that the script names.
        suite_options: what it changes in the suite.
        environ: of this process.

    Raises:
        UsageError: not inside a Slurm job, the settings or the suite are wrong, or nobody says how many GPUs there must be.
        LaunchError: this Slurm starts no MPI.
        RunError: the folder cannot be written.
    """
    folder = RunFolder(Path(path).absolute())
    nodes = tuple(told.nodes.split())
    if not nodes:
        raise UsageError(
            "--nodes names none: 'hpcaccept sbatch-step' belongs inside a Slurm job.", "Use 'hpcaccept submit'."
        )
    # Which nodes, is decided already; where runs are kept, too.
    decided = {"nodes": len(nodes), "nodelist": "", "exclude": "", "runs_dir": str(folder.path.parent)}
    layered = load_settings({**options, **decided}, environ, suite_options)
    settings = layered.settings
    gpus = _gpus_of(told.gres, settings)
    launcher = launch.providing("sbatch")[0]
    place = launch.load(launcher)
    mpi = place.default_mpi(told.mpi) if settings.mpi == "auto" else settings.mpi
    settings = replace(settings, gpus_per_node=gpus, mpi=mpi)
    plan = plan_of(settings, layered.overrides, launcher, folder.run_id)
    _fits(plan, told)
    folder.create()
    folder.write_plan(plan)
    try:
        leave_known(plan, folder, settings)
    except OSError as fault:
        raise folder.refused(fault) from fault
    events = Events(folder, _aloud)
    events.say("started", nodes=nodes, **job_of(environ))
    runtime = container.load(plan.image.runtime)
    for name, words in (("sweep", runtime.before_job(plan.image)), ("leave", runtime.after_job(plan.image))):
        _write_words(folder, name, place.everywhere(plan, nodes, words) if words else ())
    _leave_command(folder, events, opening(plan, nodes), told)


def _way(folder: RunFolder) -> _Way:
    """What was left to be done. Raises StoreError: the file cannot be read, or says something else."""
    file = folder.path / "queue.json"
    try:
        return from_plain(loads(read_text(file)), _Way)
    except OSError as fault:
        raise StoreError(
            f"{file} cannot be read: {fault.strerror}.", "It is written by 'hpcaccept sbatch-step'."
        ) from None
    except ValueError as fault:
        raise StoreError(f"{file} does not say what is left to be done: {fault}.") from None


def _gpus_of(gres: str, settings: Settings) -> int:
    """GPUs that each node must have: as it was said, else as Slurm says. Raises UsageError where neither says it."""
    if (mixed := mixed_gpus(gres)) and not settings.gpu_type and settings.gpus_per_node:
        found, _ = which(mixed, "These nodes")
        options = " or ".join(f"HPCACCEPT_GPUS_PER_NODE={name}:{number}" for name, number in mixed if name)
        raise UsageError(f"{found}.", f"Say which: {options}, before sbatch.")
    if settings.gpus_per_node >= 0:
        return settings.gpus_per_node
    if gpus := usual_count(gres):
        return gpus
    raise UsageError(
        "Slurm knows of no GPU (gres) on these nodes, and nobody said how many there must be.",
        "HPCACCEPT_GPUS_PER_NODE=8 sbatch …, or HPCACCEPT_GPUS_PER_NODE=0 to test without.",
    )


def proceed(path: str, step_id: str, code: int, took_s: float, told: ScriptInput) -> None:
    """Say how a step ended, and leave the next command; an empty file when the run is over.

    Args:
        path: of the run folder.
        step_id: the step that has ended.
        code: exit status of its command.
        took_s: seconds from its launch to its end.
        told: of the job.

    Whatever breaks here is the run's last word; only a folder that takes none is an error (RunError, OSError).
    """
    folder = RunFolder(Path(path).absolute())
    events = Events(folder, _aloud)
    try:
        _proceed(folder, events, step_id, code, took_s, told)
    except (Exception, SystemExit) as fault:  # noqa: BLE001 (as in the driver: it is told as the last word, and what was measured is judged)
        if not isinstance(fault, HpcacceptError):
            traceback.print_exc()
        _end(folder, events, StepQueue(()), *last_words(folder, fault))


def _aloud(sentence: str) -> None:
    """Into the job's output, which would be empty until the verdict otherwise."""
    sys.stdout.write(f"{safe(sentence)}\n")
    sys.stdout.flush()


def _proceed(folder: RunFolder, events: Events, step_id: str, code: int, took_s: float, told: ScriptInput) -> None:
    way = _way(folder)
    step = folder.read_step(step_id)
    events.say("step_ended", step=step_id, returncode=code)
    begun = not step.checks or first_rank_started(folder, step_id)
    late = code != 0 and took_s >= (way.allowed_s if begun else min(way.allowed_s, _start_s(step)))
    if late and way.by_job and took_s >= way.allowed_s:
        _end(folder, events, way.queue, TIME_IS_UP, KEPT)
        return
    runtime = folder.read_plan().image.runtime
    queue, why = reckon(folder, events, way.queue, step, code=code, late=late, runtime=runtime)
    if why:
        _end(folder, events, queue, *why)
    else:
        _leave_command(folder, events, queue, told)


def conclude(path: str, environ: Mapping[str, str] = os.environ) -> int:
    """Judge, print and remember a run as ``submit`` does at its end; gives its exit code.

    Raises:
        RunError: the report or the history could not be written.
    """
    from hpcaccept.app.run.conclude import conclude as conclude_run
    from hpcaccept.report.formats import DEFAULT

    folder = RunFolder(Path(path).absolute())
    settings = load_settings({"runs_dir": str(folder.path.parent)}, environ).settings
    return conclude_run(folder, Path(settings.baselines_dir).absolute(), DEFAULT, history=settings.history_folder)


def _leave_command(folder: RunFolder, events: Events, queue: StepQueue, told: ScriptInput) -> None:
    """What the script runs next: STEP START_S COUNT VARIABLE… COMMAND…; nothing at the end.

    COUNT variables are NAME=VALUE, or the NAME of one that must not be there. A launch of which no rank has spoken after START_S
    hangs.
    """
    step, queue = next_step(queue)
    if step is None:
        _end(folder, events, queue)
        return
    plan = folder.read_plan()
    longest_s, spare_s = _longest_s(step), _spare_s(told)
    if spare_s <= 0:
        _end(folder, events, queue, TIME_IS_UP, KEPT)
        return
    allowed_s = max(1, int(min(longest_s, spare_s)))
    folder.write_step(step)
    events.say("step_started", step=step.id, nodes=step.nodes)
    replace_file(folder.path / "queue.json", dumps(_Way(queue, allowed_s, spare_s < longest_s)) + "\n")
    variables = _changes(plan, told.variables.split())
    command = (
        "timeout",
        "--kill-after=10",
        str(allowed_s),
        *launch.load(plan.launcher).step_command(plan, step, folder),
    )
    _write_words(folder, "next", (step.id, f"{_start_s(step):.0f}", str(len(variables)), *variables, *command))


def _end(folder: RunFolder, events: Events, queue: StepQueue, detail: str = "", remedy: str = "") -> None:
    events.say("ended", detail=detail, remedy=remedy)
    replace_file(folder.path / "queue.json", dumps(_Way(queue)) + "\n")
    _write_words(folder, "next", ())


def _write_words(folder: RunFolder, name: str, words: Iterable[str]) -> None:
    """Words that bash reads with ``mapfile -d ''``: whatever stands in them, each is one argument."""
    replace_file(folder.path / name, "".join(f"{word}\0" for word in words))


def _changes(plan: Plan, names: Iterable[str]) -> tuple[str, ...]:
    """How the environment of a step differs from the script's, whose names are told: their values reach this process as well."""
    before = {name: os.environ.get(name, "") for name in names}
    after = of_ranks(plan, before)
    gone = [name for name in before if name not in after]
    return (*gone, *(f"{name}={value}" for name, value in after.items() if before.get(name) != value))


def _start_s(step: Step) -> float:
    return step.start_deadline_s + (PATIENCE_S if step.checks else 0.0)


def _longest_s(step: Step) -> float:
    """Even if every rank had to wait for every other; the look into every node is over when all had time to start."""
    work_s = sum(spec.deadline_s for spec in step.checks) * step.ranks
    return step.start_deadline_s + MARGIN_S + work_s if step.checks else _start_s(step)


def _left_s(told: ScriptInput) -> float:
    try:
        return parse_slurm_time(told.left)
    except ValueError:
        return float("inf")  # UNLIMITED, or Slurm did not answer


def _spare_s(told: ScriptInput) -> float:
    """Seconds that the next step may take, so that its end can still be told and judged."""
    left_s = _left_s(told)
    return left_s - max(WARNING_S, min(LAST_WORDS_S, left_s / 4))


def _fits(plan: Plan, told: ScriptInput) -> None:
    """Refuse a suite that must be cut short: hours of burning that end without a verdict are worth nothing.

    Raises:
        UsageError: its checks alone last longer than the job.
    """
    lasts_s = sum(float(spec.params.get("duration_s", 0.0)) for spec in plan.suite.checks)
    if lasts_s > _spare_s(told):
        raise UsageError(
            f"The checks alone take {show_duration(lasts_s)}, and the job ends in {show_duration(_left_s(told))}.",
            f"sbatch --time={-(-int(time_limit_s(plan)) // 60)} …: minutes, an upper estimate.",
        )
