"""What does this machine's Slurm say? `python3 tests/system/cluster/record.py FOLDER` writes it down, for tests/data/slurm.

One transcript per case, with the very questions that hpcaccept asks: a line that begins with `$` is what was typed, `stderr:` marks what
came on standard error, ``exit:`` what the command ended with. The virtual clusters are its own (accounting, four nodes; the second one is
strict, the third has a topology); about five minutes. What is this machine's own (its name, kernel and folders) is replaced, since it says nothing of Slurm.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: let "from .slurm" mean the file beside this one (PEP 366)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    __package__ = "cluster"

from .daemons import ClusterError, end, wait_for, with_session
from .slurm import VirtualSlurm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SECONDS = {"SLURM_TIME_FORMAT": "%s"}
QUEUE = ["squeue", "-h", "-o", "%T|%r", "-j"]
ACCOUNT = ["sacct", "-n", "-X", "-P", "-o", "State,ExitCode", "-j"]
LONG = ["--wrap", "sleep 600"]
#: Steps that go wrong, and how.
STEPS = {
    "srun_one_killed": ["-N4", "-n4", "sh", "-c", "[ $SLURM_PROCID != 2 ] || kill -9 $$; sleep 60"],
    "srun_two_exit_3": ["-N4", "-n8", "sh", "-c", "case $SLURM_PROCID in 2|3) exit 3;; esac; sleep 60"],
    "srun_segfault": ["-N2", "-n2", "sh", "-c", "[ $SLURM_PROCID != 1 ] || kill -11 $$; sleep 60"],
    "srun_no_program": ["-N2", "-n4", "/nosuch/program"],
    "srun_bad_mpi": ["-N2", "-n2", "--mpi=nosuch", "true"],
    "srun_more_nodes_than_allocated": ["-N5", "-n5", "true"],
    "srun_node_not_in_job": ["-N1", "--nodelist=node9", "true"],
    "srun_no_pyxis": ["-N1", "--container-image=x", "true"],
    "srun_unknown_option": ["-N1", "--no-such-option", "true"],
}
#: Submissions that sbatch refuses.
REFUSED = {
    "sbatch_bad_partition": ["-p", "nosuch"],
    "sbatch_bad_account": ["-A", "nosuch"],
    "sbatch_bad_qos": ["--qos=nosuch"],
    "sbatch_bad_node": ["-w", "node9"],
    "sbatch_too_many_nodes": ["-N9"],
    "sbatch_too_many_gpus": ["-N1", "--gpus-per-node=9"],
    "sbatch_bad_gpu_type": ["-N1", "--gres=gpu:nosuch:1"],
    "sbatch_bad_reservation": ["--reservation=nosuch"],
    "sbatch_bad_constraint": ["--constraint=nosuch"],
    "sbatch_unknown_option": ["--no-such-option"],
}
#: Submissions that a strict site refuses: accounts and QOS are known, partitions are not everybody's, and GPUs come in slices too.
REFUSED_BY_STRICT = {
    "strict_bad_account": ["-A", "nosuch"],
    "strict_bad_qos": ["--qos=nosuch"],
    "strict_partition_of_others": ["-p", "others"],
    "strict_bad_slice": ["-N1", "--gpus-per-node=1g.20gb:1"],
    "strict_too_many_nodes": ["-N9"],
    "strict_too_many_slices": ["-N1", "--gpus-per-node=1g.10gb:29"],
}
#: Somebody without rights: Debian's and everybody's "nobody".
STRANGER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
#: Jobs that wait, and for what.
WAIT = {
    "begin_time": ["--begin=now+3600"],
    "held_by_user": ["--hold"],
    "partition_down": ["-p", "down"],
    "partition_time_limit": ["-p", "small", "-t", "60"],
    "node_not_available": ["-w", "node3"],
    "nodes_down": ["-N4"],
    "priority": ["-N3", "--exclusive"],
}


class Recorder:
    """A cluster, and the folder in which its words are kept."""

    def __init__(self, cluster: VirtualSlurm, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.env = {**os.environ, **cluster.env}

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A command of this cluster, to its end."""
        environ = {**self.env, **more}
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, check=False, cwd="/tmp", timeout=180
        )

    def said(self, *command: str, **more: str) -> str:
        """What was typed and what came of it, as a transcript."""
        done = self.run(*command, **more)
        return _transcript(command, done.stdout, done.stderr, done.returncode)

    def keep(self, case: str, *transcripts: str) -> None:
        """Write a case."""
        text, host = "".join(transcripts), platform.node().partition(".")[0]
        machine = ((platform.release(), "6.1.0"), (platform.version(), "#1 SMP"), (str(self.folder), "/site"))
        names = ((f" at {host} ", " at login "), (f"Sid={host}:", "Sid=login:"), (f"= {host}(", "= login("))
        for before, after in (*machine, *names):
            text = text.replace(before, after)
        (self.folder / f"{case}.txt").write_text(text)
        print(case, flush=True)

    def asked_of(self, job: str) -> tuple[str, str, str]:
        """The three questions that hpcaccept asks of a job."""
        return self.said(*QUEUE, job), self.said("scontrol", "show", "job", job), self.said(*ACCOUNT, job)

    def submit(self, *options: str) -> str:
        """The number of a new job."""
        done = self.run("sbatch", "--parsable", "--export=ALL", "-o", "/dev/null", *options)
        if done.returncode:
            raise ClusterError(f"sbatch {shlex.join(options)}: {done.stderr}")
        return done.stdout.strip().partition(";")[0]

    def until(self, job: str, *states: str, timeout_s: float = 120.0) -> str:
        """The job, once every part of it has one of these states."""
        ask = ["squeue", "-h", "-r", "-t", "all", "-o", "%T", "-j", job]
        _wait(
            f"job {job} to be {states}", lambda: set(self.run(*ask).stdout.split()) in [{s} for s in states], timeout_s
        )
        return job

    def accounted(self, job: str, word: str) -> str:
        """The job, once accounting says so of it too."""
        _wait(f"sacct to say {word} of {job}", lambda: self.run(*ACCOUNT, job).stdout.startswith(word), 60)
        return job

    def over(self, case: str, state: str, job: str) -> None:
        """A job that ended so, when the queue has forgotten it but for ``-t all``."""
        self.accounted(self.until(job, state), state)
        self.keep(case, *self.asked_of(job))

    @contextmanager
    def allocation(self, *options: str) -> Iterator[str]:
        """A job that only holds nodes."""
        job = self.until(self.submit(*options, *LONG), "RUNNING")
        yield job
        self.run("scancel", job)
        self.until(job, "CANCELLED")


def _transcript(command: tuple[str, ...] | list[str], out: str, err: str, code: int) -> str:
    told = "".join(f"stderr: {line}\n" for line in err.splitlines())
    return f"$ {shlex.join(command)}\n{out}{told}exit: {code}\n"


def _ended(command: list[str], step: subprocess.Popen[str], timeout_s: float) -> str:
    out, err = step.communicate(timeout=timeout_s)
    return _transcript(command, out, err, step.returncode)


def _wait(what: str, ready: Callable[[], bool], timeout_s: float) -> None:
    wait_for(what, ready, timeout_s, [])


def site(r: Recorder) -> None:
    """What is asked of the cluster as a whole."""
    r.keep("version", r.said("sinfo", "--version"))
    r.keep("ping", r.said("scontrol", "ping"))
    r.keep("hostnames", r.said("scontrol", "show", "hostnames", "node[0-2],other7"))
    r.keep(
        "gres", r.said("sinfo", "-h", "-N", "-o", "%P|%G"), r.said("sinfo", "-h", "-N", "-n", "node[0-1]", "-o", "%G")
    )
    r.keep("mpi_list", r.said("srun", "--mpi=list"))
    r.keep("config", r.said("scontrol", "show", "config"))
    r.keep("associations", r.said("sacctmgr", "-n", "-P", "show", "association", "user=root", "format=account"))


def refusals(r: Recorder) -> None:
    """sbatch's own words when it refuses."""
    for case, options in REFUSED.items():
        r.keep(case, r.said("sbatch", "--parsable", "--export=ALL", *options, "--wrap", "true"))


def ends(r: Recorder) -> None:
    """Jobs that are over, each in its own way."""
    done = r.run("sbatch", "--parsable", "--export=ALL", "-o", "/dev/null", "--wrap", "true")
    typed = ["sbatch", "--parsable", "--export=ALL", "script"]
    r.keep("sbatch_parsable", _transcript(typed, done.stdout, done.stderr, done.returncode))
    r.over("completed", "COMPLETED", done.stdout.strip())
    r.over("failed", "FAILED", r.submit("--wrap", "exit 3"))
    r.over("killed_batch_script", "FAILED", r.submit("--wrap", "kill -9 $$"))
    unwritable = r.run("sbatch", "--parsable", "-o", "/dev/null/out", "--no-requeue", "--wrap", "true").stdout.strip()
    r.over("output_not_writable", "FAILED", unwritable)
    late = r.submit("-t", "1", "--no-requeue", *LONG)
    waiting = r.submit("--hold", *LONG)
    r.run("scancel", waiting)
    r.over("cancelled", "CANCELLED", waiting)
    running = r.until(r.submit(*LONG), "RUNNING")
    r.keep("running", *r.asked_of(running))
    r.run("scontrol", "suspend", running)
    r.keep("suspended", *r.asked_of(r.until(running, "SUSPENDED")))
    r.run("scontrol", "resume", running)
    r.run("scancel", r.until(running, "RUNNING"))
    r.over("cancelled_running", "CANCELLED", running)
    r.keep("unknown", *r.asked_of("99999"))
    r.keep("scancel", r.said("scancel", running), r.said("scancel", "99999"))
    r.over("timeout", "TIMEOUT", r.until(late, "TIMEOUT", timeout_s=300))


def several(r: Recorder) -> None:
    """A job with a time limit, one that is put back, and jobs of more than one part: an array, and a heterogeneous one."""
    limited = r.until(r.submit("-t", "30", *LONG), "RUNNING")
    r.keep("time_left", r.said("squeue", "-h", "-o", "%L", "-j", limited))
    r.run("scontrol", "requeuehold", limited)
    # "Completing" comes first, with the same reason.
    _wait("the job to be held", lambda: r.run(*QUEUE, limited).stdout == "PENDING|job requeued in held state\n", 60)
    r.keep("requeue_held", *r.asked_of(limited))
    r.run("scancel", limited)
    array = r.until(r.submit("--array=0-1", *LONG), "RUNNING")
    r.keep("array", *r.asked_of(array))
    r.run("scancel", array)
    script = r.folder / "het.sh"
    script.write_text("#!/bin/sh\n#SBATCH -N1\n#SBATCH hetjob\n#SBATCH -N2\nsleep 600\n")
    het = r.until(r.submit(str(script)), "RUNNING")
    r.keep("het", *r.asked_of(het))
    r.run("scancel", het)
    script.unlink()


def queue(r: Recorder) -> None:
    """Jobs that wait, and what Slurm means to do with them; node3 is drained, node1 has a job."""
    r.run("scontrol", "update", "nodename=node3", "state=drain", "reason=State=IDLE says admin")
    failed = r.until(r.submit("--wrap", "exit 1"), "FAILED")
    never = r.submit(f"--dependency=afterok:{failed}", *LONG)
    # Its end is near enough for the backfill scheduler to plan who comes next.
    with r.allocation("-w", "node1", "-n2", "-t", "20", "--comment", "20261122-082104-s-2n-b3d9"):
        jobs = {case: r.submit(*options, *LONG) for case, options in WAIT.items()} | {"dependency_never": never}
        ask = [*QUEUE, ",".join(jobs.values())]
        _wait("reasons and a plan", lambda: "|None" not in r.run(*ask).stdout and "PLANNED" in _nodes(r), 120)
        for case, job in jobs.items():
            r.keep(case, *r.asked_of(job))
        named = r.said("squeue", "-h", "-o", "%n", "-j", jobs["node_not_available"])
        r.keep("named_nodes", named, r.said("sinfo", "-h", "-N", "-n", "node3", "-o", "%N|%T"))
        planned = [r.said("squeue", "-h", "-t", "PD", "-o", "%i|%S|%Y", **SECONDS)]
        planned += [r.said("squeue", "-h", "--me", "-t", "all", "-o", "%A|%k"), _nodes(r)]
        r.keep("planned", *planned)
        r.run("scancel", *jobs.values())
    r.run("scontrol", "update", "nodename=node3", "state=resume")


def _nodes(r: Recorder) -> str:
    return r.said("scontrol", "-o", "show", "node", **SECONDS)


def nodes(r: Recorder) -> None:
    """Nodes idle, full, partly full, draining, drained, down, and kept by a reservation."""
    _wait("idle nodes", lambda: r.run("sinfo", "-h", "-p", "gpu", "-o", "%T").stdout.split() == ["idle"], 60)
    now = ["scontrol", "-o", "show"]
    r.keep("nodes_idle", _nodes(r), r.said(*now, "partition", **SECONDS), r.said(*now, "reservation", **SECONDS))
    with r.allocation("-w", "node0", "-n8", "--gpus-per-node=8"), r.allocation("-w", "node1", "-n2"):
        r.run("scontrol", "update", "nodename=node1,node2", "state=drain", "reason=bad GPU: Xid 79")
        r.run("scontrol", "update", "nodename=node3", "state=down", "reason=no power")
        r.keep("nodes_busy", _nodes(r), r.said("sinfo", "-h", "-N", "-p", "gpu", "-o", "%N|%T|%E"))
    r.run("scontrol", "update", "nodename=node1,node2,node3", "state=resume")
    kept = ["reservationname=night", "starttime=now", "duration=10", "flags=maint", "nodes=node[2-3]", "users=root"]
    later = ["reservationname=later", "starttime=now+1hour", "duration=60", "nodes=node1", "users=root"]
    for words in (kept, later):
        r.run("scontrol", "create", "reservation", *words)
    _wait("the reservation to begin", lambda: "MAINT" in _nodes(r), 60)
    job, inside = r.submit("-w", "node3", *LONG), r.submit("--reservation=later", *LONG)
    _wait("reasons", lambda: "None" not in r.run(*QUEUE, f"{job},{inside}").stdout, 60)
    r.keep("reservation", r.said(*now, "reservation", **SECONDS), _nodes(r))
    r.keep("reserved_now", *r.asked_of(job), r.said("sinfo", "-h", "-N", "-n", "node3", "-o", "%N|%T"))
    r.keep("reservation_later", *r.asked_of(inside))
    r.run("scancel", job, inside)
    for name in ("night", "later"):
        r.run("scontrol", "delete", f"reservationname={name}")


def steps(r: Recorder) -> None:
    """srun's words when a step goes wrong, and salloc's when it does not."""
    ending = ["--mpi=none", "--kill-on-bad-exit=1", "--wait=30"]
    with r.allocation("-N4", "-n8") as job:
        for case, words in STEPS.items():
            r.keep(case, r.said("srun", f"--jobid={job}", *ending, *words))
        late = r.said("srun", f"--jobid={job}", *ending, "--time=1", "-N2", "-n2", "sleep", "300")
        r.keep("srun_step_time_limit", late)
    r.keep("srun_bad_partition", r.said("srun", "-p", "nosuch", "true"))
    r.keep("srun_no_conf", r.said("srun", "true", SLURM_CONF="/nosuch/slurm.conf"))
    r.keep("salloc", r.said("salloc", "-N2", "sh", "-c", "squeue -h -t all -o %N -j $SLURM_JOB_ID"))
    command = ["srun", *ending, "-N2", "-n2", "--job-name=mine", "sleep", "300"]
    with subprocess.Popen(command, env=r.env, stdout=-1, stderr=-1, text=True) as step:
        _wait("the step", lambda: r.run("squeue", "-h", "-n", "mine", "-o", "%T").stdout.strip() == "RUNNING", 60)
        r.run("scancel", "-n", "mine")
        r.keep("srun_job_cancelled", _ended(command, step, 60))


def losses(r: Recorder) -> None:
    """A node that an administrator sets down, a slurmd that dies under a step, a launch that fails, a controller that is away."""
    lost = r.until(r.submit("--no-requeue", "-w", "node0", *LONG), "RUNNING")
    r.run("scontrol", "update", "nodename=node0", "state=down", "reason=test")
    r.over("node_fail", "NODE_FAIL", lost)
    r.run("scontrol", "update", "nodename=node0", "state=resume")
    job = r.until(r.submit("--no-requeue", "-w", "node[1-2]", *LONG), "RUNNING")
    command = ["srun", f"--jobid={job}", "--mpi=none", "--kill-on-bad-exit=1", "-N2", "-n2", "sleep", "300"]
    with subprocess.Popen(command, env=r.env, stdout=-1, stderr=-1, text=True) as step:
        time.sleep(3)
        end([p for p in r.cluster.daemons("slurmd-node2") for p in with_session(p)], grace_s=0)
        r.keep("srun_node_failure", _ended(command, step, 180))
    r.over("node_lost", "NODE_FAIL", job)
    r.keep("nodes_not_responding", _nodes(r))
    end(r.cluster.daemons("slurmctld"), grace_s=0)
    r.keep("controller_down", *r.asked_of(job), r.said("scontrol", "ping"))


def strict(r: Recorder) -> None:
    """A site that enforces: accounts, QOS, slices beside whole GPUs, a job that another one puts out, a stranger's scancel."""
    for case, options in REFUSED_BY_STRICT.items():
        r.keep(case, r.said("sbatch", "--parsable", "--export=ALL", *options, "--wrap", "true"))
    r.keep("strict_stranger", r.said(*STRANGER, "sbatch", "--parsable", "--wrap", "true"))
    r.run("sacctmgr", "--immediate", "add", "user", "nobody", "Account=acceptance")
    r.keep("strict_partition_of_staff", r.said(*STRANGER, "sbatch", "--parsable", "-p", "staff", "--wrap", "true"))
    asked = ["sacctmgr", "-n", "-P", "show", "association", "user=root"]
    r.keep("strict_associations", r.said(*asked, "format=account"), r.said(*asked, "format=qos"))
    r.keep("strict_slices", r.said("sinfo", "-h", "-N", "-o", "%P|%G"), _nodes(r))
    lost = r.until(r.submit("-N4", "-n32", "--no-requeue", *LONG), "RUNNING")
    r.keep("strict_not_mine", r.said(*STRANGER, "scancel", lost))
    urgent = r.until(r.submit("-p", "urgent", "-N1", "-n8", *LONG), "RUNNING")
    r.over("preempted", "PREEMPTED", lost)
    r.run("scancel", urgent)


def tree(r: Recorder) -> None:
    """A topology of three leaf switches below a spine, and what it tells the tasks of a step."""
    r.keep(
        "tree", r.said("scontrol", "show", "topology"), r.said("srun", "-N6", "sh", "-c", "env | grep TOPOLOGY | sort")
    )


PARTS = {part.__name__: part for part in (site, refusals, ends, several, queue, nodes, steps, losses)}
STRICT = {strict.__name__: strict}
TREE = {tree.__name__: tree}
ALL = {**PARTS, **STRICT, **TREE}
#: Parts, and the cluster that they need.
CLUSTERS: list[tuple[Mapping[str, Callable[[Recorder], None]], dict[str, Any]]] = [
    (PARTS, {"accounting": True}),
    (STRICT, {"accounting": True, "strict": True}),
    (TREE, {"nodes": 6, "leaf_nodes": 2}),
]


def record(parts: list[str], folder: Path, settings: dict[str, Any]) -> None:
    """These parts, on a cluster of their own."""
    with VirtualSlurm.up(Path("/run/hpcaccept-record"), **settings) as cluster:
        recorder = Recorder(cluster, folder)
        for name in parts:
            ALL[name](recorder)
            if name != "losses" and (dead := cluster.dead()):
                raise ClusterError(f"{', '.join(dead)} ended in {name}")


def main() -> int:
    """0: all cases are written."""
    parser = argparse.ArgumentParser(prog="record.py", description="Write down what this machine's Slurm says.")
    parser.add_argument("folder", type=Path, help="where the transcripts are written")
    parser.add_argument("parts", nargs="*", help=f"only these of {', '.join(ALL)}")
    options = parser.parse_args()
    if strangers := sorted({*options.parts} - {*ALL}):
        parser.error(f"there is no {', '.join(strangers)}; parts are {', '.join(ALL)}")
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for offered, settings in CLUSTERS:
            asked = [name for name in options.parts or offered if name in offered]
            if asked:
                record(asked, folder, settings)
    except (ClusterError, subprocess.TimeoutExpired) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
