"""Slurm, through submitit: one job, whose driver runs on its first node and starts one ``srun`` step per group of checks.

``use_srun=False``: the batch script runs the driver with the host's Python, so that login node and image may have
different Pythons and the image needs no submitit. The script runs ``python -m hpcaccept.launch.job.driver FOLDER``: nothing is
pickled, and the job does not pay for submitit's own wrapper (numpy, asyncio: half a second). https://slurm.schedmd.com/mpi_guide.html for ``--mpi=pmix``.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING, Any

from hpcaccept import container
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.launch._slurm.behind_others import behind_others
from hpcaccept.launch._slurm.cluster_now import cluster_now
from hpcaccept.launch._slurm.doctor_job import SBATCH_OPTIONS, as_job, begun, outside_environment
from hpcaccept.launch._slurm.job_end import with_cause
from hpcaccept.launch._slurm.refused import what_there_is

# Slurm gives only nodes that answer it; which of them can be entered, a step of its own asks (launch.job.preflight).
from hpcaccept.launch.job.defaults import unreachable
from hpcaccept.launch.job.driver import WARNING_S, driver_command, time_limit_s
from hpcaccept.launch.job.environment import UNPINNED
from hpcaccept.launch.job.preflight import opening
from hpcaccept.launch.job.queue import next_step
from hpcaccept.model.job import JobRef, JobStatus, Rendered
from hpcaccept.model.launcher import LauncherTraits
from hpcaccept.parse.slurm.gres import mixed_gpus, usual_count, which
from hpcaccept.parse.slurm.jobs import may_be_out, parse_sacct, parse_scontrol_job, parse_squeue, with_nodes
from hpcaccept.parse.slurm.mpi import best_mpi_type, parse_mpi_types
from hpcaccept.parse.slurm.nodes import parse_job_with
from hpcaccept.serial import dumps
from hpcaccept.transport.slurm import ask_slurm
from hpcaccept.units import parse_slurm_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.launch._slurm.sbatch import Sbatch
    from hpcaccept.model.plan import Plan, Step
    from hpcaccept.store.folder import RunFolder
    from hpcaccept.transport.process import Done

__all__ = [
    "TRAITS",
    "as_job",
    "available",
    "begun",
    "behind_others",
    "cancel",
    "cluster_now",
    "default_gpus",
    "default_mpi",
    "everywhere",
    "find_job",
    "missing_words",
    "nodes",
    "outside_environment",
    "render",
    "seconds_left",
    "status",
    "step_command",
    "step_environment",
    "submit",
    "unreachable",
    "withdraw",
]

TRAITS = LauncherTraits(
    provides=frozenset({"sbatch", "srun", "container"}),
    priority=30,
    names_nodes_late=True,
    enters_first=True,
    relays_input=True,
    try_by_hand="srun -N1 hostname",
    look_at_node="scontrol show node NAME",
    chatter="salloc: ",
)


#: A step whose slurmstepd was killed on one node stays for ever, and keeps what it had: the next one would wait until the job ends
#: ("Job step creation still disabled, retrying (Requested nodes are busy)", seen with 22.05; scancel of the dead step changes nothing).
#: https://slurm.schedmd.com/srun.html#OPT_overlap, since 20.11.
_BESIDE_DEAD_STEPS = ("--overlap",)


def available() -> str:
    """Empty when a controller answers."""
    if not shutil.which("sbatch"):
        return "there is no sbatch on the PATH."
    try:
        pong = ask_slurm(["scontrol", "ping"], timeout_s=10)
    except LaunchError as fault:
        return fault.message
    # "Slurmctld(primary) at host is UP"; the exit status is 0 either way in some versions.
    return (
        "" if "is UP" in pong.stdout else f"no Slurm controller answers: {(pong.stdout or pong.stderr).strip()[:200]}"
    )


def default_gpus(partition: str) -> int:
    """GPUs per node as the gres of the partition (the default one for an empty name) say.

    Raises:
        UsageError: they are of several kinds, slices among them, so that somebody must say which are meant.
    """
    partition = partition or os.environ.get("SBATCH_PARTITION", "")
    flags = ["-p", partition] if partition else []
    text = ask_slurm(["sinfo", "-h", "-N", "-o", "%P|%G", *flags]).stdout
    rows = [line.partition("|") for line in text.splitlines()]
    mine = [gres for name, _, gres in rows if partition or name.endswith("*")]
    gres = "\n".join(mine)
    if mixed := mixed_gpus(gres):
        found, remedy = which(mixed, f"partition {partition}" if partition else "the default partition")
        raise UsageError(f"{found[0].upper()}{found[1:]}.", f"Say which: {remedy}")
    return usual_count(gres)


def nodes(plan: Plan, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the allocation, as Slurm itself expands them: never parsed here."""
    compressed = environ.get("SLURM_JOB_NODELIST", "")
    if not compressed:
        raise LaunchError("SLURM_JOB_NODELIST is not set: the driver does not run inside a Slurm job.")
    done = ask_slurm(["scontrol", "show", "hostnames", compressed])
    if not done.ok:
        raise LaunchError(f"scontrol cannot expand the node list {compressed!r}: {done.stderr.strip()}")
    return tuple(done.stdout.split())


def missing_words() -> tuple[str, str]:
    """Where there is a Slurm: what was expected of it, and how to ask it by hand."""
    if not shutil.which("sbatch"):
        return ("", "")
    pong = _quietly(["scontrol", "ping"])
    # The programs without a slurm.conf: some package has brought them, and there is no cluster.
    no_cluster = pong is not None and "Could not establish a configuration source" in pong.stderr
    return ("", "") if no_cluster else ("a Slurm controller that answers", "'scontrol ping'")


def default_mpi(listed: str | None = None) -> str:
    """The best type that this Slurm lists. Raises LaunchError as ``mpi_among``."""
    if listed is None:
        done = ask_slurm(["srun", "--mpi=list"])
        # Some versions list on standard error.
        listed = done.stdout + done.stderr
    return mpi_among(listed)


def mpi_among(listed: str) -> str:
    """The best type in what ``srun --mpi=list`` says.

    Raises:
        LaunchError: there is none with which ranks could find each other.
    """
    types = parse_mpi_types(listed)
    best = best_mpi_type(types)
    if not best:
        raise LaunchError(
            f"This Slurm starts no MPI: 'srun --mpi=list' names {', '.join(types) or 'nothing'}, expected pmix.",
            "Install Slurm's PMIx plugin, or name a type with HPCACCEPT_MPI.",
        )
    return best


def step_command(plan: Plan, step: Step, folder: RunFolder) -> tuple[str, ...]:
    """One ``srun`` for all ranks of a step. The first rank that fails ends it, but for the look into every node:
    there each answers for itself.
    """
    together = ("--kill-on-bad-exit=1", "--wait=30") if step.checks else ("--kill-on-bad-exit=0", "--wait=0", "--label")
    inside = container.load(plan.image.runtime)
    rank = (plan.image.python, "-m", "hpcaccept.rank", str(folder.path), step.id)
    return (
        "srun",
        f"--mpi={plan.request.mpi}",
        f"--nodes={len(step.nodes)}",
        f"--ntasks={step.ranks}",
        f"--ntasks-per-node={step.ranks_per_node}",
        f"--nodelist={','.join(step.nodes)}",
        "--distribution=block",
        f"--chdir={folder.path}",
        *together,
        "--cpu-bind=none",
        *(_BESIDE_DEAD_STEPS if step.id not in ("", "00") else ()),
        *([f"--gpus-per-node={step.gpus}"] if step.gpus else []),
        *inside.srun_flags(plan.image),
        *inside.enter(plan.image, rank, step=step.id, gpus=bool(step.gpus_per_node)),
    )


def everywhere(plan: Plan, nodes: tuple[str, ...], command: Sequence[str]) -> tuple[str, ...]:
    """One task per node."""
    many = len(nodes)
    return (
        "srun",
        *_BESIDE_DEAD_STEPS,
        f"--nodes={many}",
        f"--ntasks={many}",
        "--ntasks-per-node=1",
        f"--nodelist={','.join(nodes)}",
        *command,
    )


def seconds_left(environ: Mapping[str, str]) -> float | None:
    """Seconds until Slurm ends the job; None when it does not say."""
    done = _quietly(["squeue", "-h", "-o", "%L", "-j", environ.get("SLURM_JOB_ID", "")])
    try:
        # squeue prints h:mm:ss or m:ss; a bare number never.
        return parse_slurm_time(done.stdout) if done and done.ok else None
    except ValueError:
        return None


def step_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The job's own, less what sbatch exports as if it had been asked of srun."""
    # Since Slurm 22.05 srun ignores SLURM_CPUS_PER_TASK, before it conflicts with --cpus-per-task of the steps.
    dropped = {"SLURM_CPUS_PER_TASK", "SLURM_NTASKS_PER_NODE", "SLURM_TRES_PER_TASK"}
    kept = {key: value for key, value in environ.items() if key not in dropped}
    return {**UNPINNED, "OMPI_MCA_mpi_yield_when_idle": "1", "HPCACCEPT_PREFER_SITE_MPI": "1", **kept}


def _executor(plan: Plan, folder: RunFolder) -> Sbatch:
    from hpcaccept.launch._slurm.sbatch import Sbatch, in_script, output_pattern

    request = plan.request
    # An empty value is a flag (--slurm hold).
    extra: dict[str, Any] = {option: in_script(value) or True for option, value in request.slurm.items()}
    # One run is one attempt: a node that is lost must not start the job again in a folder that was judged.
    extra["no_requeue"] = True
    extra["chdir"] = in_script(str(folder.path))
    extra["output"] = in_script(output_pattern(folder.logs))
    # No folder of the job's own: submitit makes it after sbatch, and a job that begins before that cannot open its output.
    executor = Sbatch(folder=folder.logs, python=sys.executable)
    executor.keep, executor.place = request.keep_variables, str(folder.path)
    named: dict[str, Any] = {
        "job_name": f"hpcaccept-{plan.suite.name}",
        "nodes": request.nodes,
        "ntasks_per_node": request.ranks_per_node,
        "time": math.ceil(time_limit_s(plan) / 60),
        "signal_delay_s": WARNING_S,
        "use_srun": False,
        "exclusive": True,
        "stderr_to_stdout": True,
        # submitit's own key is refused where wckeys are checked.
        "wckey": None,
        "partition": request.partition or None,
        "account": request.account or None,
        "nodelist": request.nodelist or None,
        "exclude": request.exclude or None,
        "gpus_per_node": request.gpus or None,
    }
    executor.update_parameters(**named, additional_parameters=extra)
    return executor


def render(plan: Plan, folder: RunFolder) -> Rendered:
    """The batch script that submitit writes, and the first step that its driver starts."""
    executor = _executor(plan, folder)
    script = executor._make_submission_file_text(shlex.join(driver_command(folder)), "ID")
    names = tuple(f"NODE{i}" for i in range(plan.request.nodes))
    steps, queue = [], opening(plan, names)
    while queue.steps:
        step, queue = next_step(queue)
        assert step is not None
        steps.append(step_command(plan, step, folder))
    runtime = container.load(plan.image.runtime)
    sweep, leave = runtime.before_job(plan.image), runtime.after_job(plan.image)
    batch = f"{folder.logs}/submission.sh"
    return Rendered(
        files={str(folder.plan_file): dumps(plan), batch: script},
        commands=(
            ("submitted by submitit", ("sbatch", *SBATCH_OPTIONS, batch)),
            *([("before its first step, inside the job", everywhere(plan, names, sweep))] if sweep else []),
            *(
                (f"step {number} of the driver, inside the job; NODE… are the names that Slurm chooses", step)
                for number, step in enumerate(steps)
            ),
            *([("at its end, inside the job", everywhere(plan, names, leave))] if leave else []),
        ),
    )


def submit(plan: Plan, folder: RunFolder) -> JobRef:
    """``sbatch``; the job's number is kept in the run folder.

    Raises:
        LaunchError: Slurm refused, with its own words and what there is instead.
    """
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        number = _executor(plan, folder).hand_in(shlex.join(driver_command(folder)))
    except (FailedJobError, FailedSubmissionError, OSError) as fault:
        words = _slurms_words(str(fault))
        raise LaunchError(f"Slurm refused the job: {words}", what_there_is(words)) from None
    return JobRef("slurm", number, host=os.uname().nodename)


def _slurms_words(text: str) -> str:
    own = [line for line in text.splitlines() if line.startswith("sbatch: error")]
    return " ".join(line.partition("error: ")[2] for line in own) or text[-500:]


def status(job: JobRef) -> JobStatus:
    """From squeue while the job is queued or runs; then from scontrol, which needs no accounting, or sacct."""
    queued = _quietly(["squeue", "-h", "-o", "%T|%r", "-j", job.id])
    if queued is None or not (queued.ok or "Invalid job id" in queued.stderr):
        # A controller that is being restarted knows the job again when it is back.
        return JobStatus("running", "the Slurm controller does not answer")
    found = parse_squeue(queued.stdout, job.id) if queued.ok else None
    if found and found.state in ("pending", "stuck", "running"):
        return _with_its_nodes(job, found) if may_be_out(found) else found
    shown = _quietly(["scontrol", "show", "job", job.id])
    found = parse_scontrol_job(shown.stdout, job.id) if shown and shown.ok else found
    if found is None:
        account = _quietly(["sacct", "-n", "-X", "-P", "-o", "State,ExitCode", "-j", job.id])
        found = parse_sacct(account.stdout, job.id) if account and account.ok else None
    if found is None:
        return JobStatus("lost", f"neither squeue nor scontrol nor sacct knows job {job.id} any more")
    return with_cause(found, job.id, shown.stdout if shown and shown.ok else "")


def _with_its_nodes(job: JobRef, found: JobStatus) -> JobStatus:
    """From 24.11 on Slurm says the same of a node that is reserved and of one that is drained: sinfo tells them apart."""
    named = _quietly(["squeue", "-h", "-o", "%n", "-j", job.id])
    names = named.stdout.strip() if named and named.ok else ""
    states = _quietly(["sinfo", "-h", "-N", "-n", names, "-o", "%N|%T"]) if names else None
    return with_nodes(found, states.stdout) if states and states.ok else found


def _quietly(command: list[str]) -> Done | None:
    try:
        return ask_slurm(command)
    except LaunchError:
        return None


def cancel(job: JobRef) -> None:
    """``scancel``; no error when the job is over."""
    done = ask_slurm(["scancel", job.id])
    if not done.ok and "Invalid job id" not in done.stderr:
        raise LaunchError(f"scancel {job.id}: {done.stderr.strip()}")


def withdraw(job: JobRef) -> bool:
    """End the job unless it has begun; True when it never will.

    Slurm itself looks whether it waits still, so that a job which begins at this moment is left alone.
    """
    ask_slurm(["scancel", "--state=PENDING", job.id])
    return status(job).over


def find_job(word: str) -> JobRef | None:
    """The job of this user that waits or runs and has this word in its comment: for who was killed while submitting it."""
    done = ask_slurm(["squeue", "-h", "--me", "-t", "all", "-o", "%A|%k"])
    if not done.ok:
        raise LaunchError(f"squeue: {done.stderr.strip()}", "Is the scheduler up?")
    found = parse_job_with(done.stdout, word)
    return JobRef("slurm", found, host=os.uname().nodename) if found else None
