"""What squeue, scontrol, sacct and sinfo really said (tests/data/slurm), and what ``status`` makes of it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.builders import DATA, transcript
from support.slurm_words import ENDS, VERSIONS
from support.slurm_words import answers as recorded_answers

from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.launch import slurm
from hpcaccept.model.job import JobRef, JobStatus
from hpcaccept.parse.slurm.gres import usual_count
from hpcaccept.parse.slurm.jobs import parse_sacct, parse_scontrol_job, parse_squeue, parse_state

if TYPE_CHECKING:
    from pathlib import Path

SLURM = DATA / "slurm"


def said(case: str) -> dict[str, str]:
    """Program → standard output, as recorded."""
    found = transcript(SLURM / f"{case}.txt")
    return {
        program: "".join(line for line in text.splitlines(keepends=True) if not line.startswith("stderr: "))
        for program, text in found.items()
    }


WAITING = {
    "begin_time": "BeginTime",
    "priority": "Priority",
    "nodes_down": "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
}
STUCK = {
    "held_by_user": ("JobHeldUser", "scontrol release 3"),
    "requeue_held": ("job requeued in held state", "scontrol release 23"),
    "launch_failed_held": ("launch failed requeued held", "scontrol release"),
    "dependency_never": ("DependencyNeverSatisfied", "scancel 5"),
    "partition_down": ("PartitionDown", "--partition"),
    "partition_node_limit": ("PartitionNodeLimit", "--nodes"),
    "partition_max_nodes": ("PartitionNodeLimit", "--nodes"),
    "partition_time_limit": ("PartitionTimeLimit", "--time"),
    "node_not_available": ("ReqNodeNotAvail, UnavailableNodes:node3", "sinfo -R"),
}


@pytest.mark.parametrize(("case", "reason"), WAITING.items())
def test_a_job_that_waits_its_turn_is_pending_for_a_reason(case: str, reason: str) -> None:
    status = parse_squeue(said(case)["squeue"], "1")
    assert status == JobStatus("pending", f"PENDING, {reason}")


@pytest.mark.parametrize(("case", "reason", "remedy"), [(case, *rest) for case, rest in STUCK.items()])
def test_a_job_that_no_waiting_helps_is_stuck_with_what_does(case: str, reason: str, remedy: str) -> None:
    job = (SLURM / f"{case}.txt").read_text().splitlines()[0].split()[-1]
    status = parse_squeue(said(case)["squeue"], job)
    assert status is not None
    assert status.state == "stuck"
    assert reason in status.detail
    assert remedy in status.remedy


@pytest.mark.parametrize("case", [*WAITING, *STUCK, "running", "suspended"])
def test_scontrol_says_the_same_of_a_job_in_the_queue_as_squeue(case: str) -> None:
    queue, shown = parse_squeue(said(case)["squeue"], "1"), parse_scontrol_job(said(case)["scontrol"], "1")
    assert queue is not None
    assert shown is not None
    assert (queue.state, queue.remedy) == (shown.state, shown.remedy)


@pytest.mark.parametrize("case", ENDS)
def test_squeue_is_silent_about_a_job_that_is_over(case: str) -> None:
    assert parse_squeue(said(case)["squeue"], "1") is None


@pytest.mark.parametrize(("case", "state"), ENDS.items())
def test_scontrol_and_sacct_agree_on_how_a_job_ended(case: str, state: str) -> None:
    shown, account = parse_scontrol_job(said(case)["scontrol"], "1"), parse_sacct(said(case)["sacct"], "1")
    assert shown is not None
    assert account is not None
    assert shown.state == account.state == state


def test_the_exit_code_of_a_failed_job_is_told() -> None:
    shown, account = parse_scontrol_job(said("failed")["scontrol"], "2"), parse_sacct(said("failed")["sacct"], "2")
    assert shown == JobStatus("failed", "FAILED, NonZeroExitCode, exit code 3, signal 0")
    assert account == JobStatus("failed", "FAILED, exit code 3:0")


def test_a_job_that_nobody_knows_is_no_status() -> None:
    nothing = said("unknown")
    assert parse_squeue(nothing["squeue"], "9") is None
    assert parse_scontrol_job(nothing["scontrol"], "9") is None
    assert parse_sacct(nothing["sacct"], "9") is None


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("CANCELLED by 1000", "cancelled"),
        ("CANCELLED+", "cancelled"),
        ("OUT_OF_MEMORY", "out_of_memory"),
        ("OUT_OF_ME+", "lost"),
        ("BOOT_FAIL", "node_fail"),
        ("DEADLINE", "timeout"),
        ("CONFIGURING", "pending"),
        ("COMPLETING", "running"),
        ("STOPPED", "running"),
        ("RESV_DEL_HOLD", "pending"),
        ("EXPEDITING", "pending"),
        (" RUNNING ", "running"),
    ],
)
def test_states_that_are_hard_to_record(word: str, state: str) -> None:
    assert parse_state(word).state == state


@pytest.mark.parametrize(
    "reason",
    [
        "launch failure limit exceeded requeued held",
        "user env retrieval failed requeued held",
        "launch_failure_limit_exceeded_requeued_held",
        "ReservationDeleted",
        "ReservationInvalid",
    ],
)
def test_reasons_of_newer_slurms_that_no_waiting_removes(reason: str) -> None:
    status = parse_state("PENDING", reason, "7")
    assert status.state == "stuck"
    assert " 7" in status.remedy


def test_a_state_that_is_unknown_here_is_lost_with_its_word_and_never_ended() -> None:
    status = parse_state("ENTANGLED")
    assert status.state == "lost"
    assert "'ENTANGLED'" in status.detail


#: JOB STATE CODES of sacct (https://slurm.schedmd.com/sacct.html).
STATE_CODES = [
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "COMPLETING", "CONFIGURING", "DEADLINE", "EXPEDITING", "FAILED", "NODE_FAIL",
    "OUT_OF_MEMORY", "PENDING", "PREEMPTED", "REQUEUED", "RESIZING", "REVOKED", "RUNNING", "SPECIAL_EXIT", "STAGE_OUT",
    "STOPPED", "SUSPENDED", "TIMEOUT",
]  # fmt: skip


@given(
    st.text()
    | st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["", " "]), st.sampled_from(STATE_CODES), st.sampled_from(["", "+", " ", " by 0", "X"])
        ),
    )
)
@example("COMPLETED")
@example("COMPLETED+")
@example("COMPLETEDX")
def test_only_the_word_completed_means_ended(text: str) -> None:
    assert (parse_state(text).state == "ended") == (text.strip().split(" ")[0].rstrip("+") == "COMPLETED")


@given(st.text())
def test_no_output_is_too_strange(text: str) -> None:
    for parser in (parse_squeue, parse_scontrol_job, parse_sacct):
        found = parser(text, "1")
        assert found is None or isinstance(found, JobStatus)
    assert usual_count(text) >= 0


# --- status: several programs, one answer -----------------------------------------------------------------------------


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the PATH whose programs say what was recorded; write into it with ``play``."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def play(folder: Path, case: str, *absent: str) -> JobRef:
    """Fake squeue, scontrol and sacct of a recorded case; gives the job."""
    for program, text in transcript(SLURM / f"{case}.txt").items():
        lines = text.splitlines(keepends=True)
        out = "".join(line for line in lines if not line.startswith("stderr: "))
        err = "".join(line.removeprefix("stderr: ") for line in lines if line.startswith("stderr: "))
        (folder / f"{program}.out").write_text(out)
        (folder / f"{program}.err").write_text(err)
        script = f"#!/bin/sh\ncat {folder}/{program}.out; cat {folder}/{program}.err >&2; exit {1 if err else 0}\n"
        (folder / program).write_text(script)
        (folder / program).chmod(0o755)
    for program in absent:
        (folder / program).write_text("#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1\n")
    job = (SLURM / f"{case}.txt").read_text().splitlines()[0].split()[-1]
    return JobRef("slurm", job)


@pytest.mark.parametrize(
    ("case", "state"),
    [
        *ENDS.items(),
        *((case, "pending") for case in WAITING),
        *((case, "stuck") for case in STUCK),
        ("running", "running"),
        ("suspended", "running"),
    ],
)
def test_the_status_of_a_job(answers: Path, case: str, state: str) -> None:
    assert slurm.status(play(answers, case)).state == state


def test_a_job_that_squeue_still_shows_after_its_end_is_asked_for_its_exit_code(answers: Path) -> None:
    job = play(answers, "failed")
    (answers / "squeue.out").write_text("FAILED|NonZeroExitCode\n")
    assert slurm.status(job) == JobStatus("failed", "FAILED, NonZeroExitCode, exit code 3, signal 0")


@pytest.mark.parametrize(("case", "state"), ENDS.items())
def test_without_accounting_scontrol_says_how_a_job_ended(answers: Path, case: str, state: str) -> None:
    assert slurm.status(play(answers, case, "sacct")).state == state


@pytest.mark.parametrize(("case", "state"), ENDS.items())
def test_when_the_controller_has_forgotten_accounting_says_how_a_job_ended(
    answers: Path, case: str, state: str
) -> None:
    assert slurm.status(play(answers, case, "squeue", "scontrol")).state == state


def test_a_job_that_nobody_knows_is_lost(answers: Path) -> None:
    status = slurm.status(play(answers, "unknown"))
    assert status.state == "lost"
    assert "9999" in status.detail


def test_a_controller_that_is_away_loses_no_job(answers: Path) -> None:
    # slurmctld restarts; the job and its driver go on.
    assert not slurm.status(play(answers, "controller_down")).over


def test_without_any_slurm_program_a_job_is_not_lost(answers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(answers))
    assert not slurm.status(JobRef("slurm", "1")).over


def test_a_maintenance_that_ends_by_itself_is_waited_for() -> None:
    for case in ("reserved_maintenance", "node_reserved"):
        status = parse_squeue(said(case)["squeue"], "1")
        assert status is not None
        assert status.state == "pending", case


def test_the_gpus_of_the_default_partition_are_those_of_its_gres(answers: Path) -> None:
    recorded = SLURM / "sinfo_partitions_gres.txt"
    (answers / "sinfo").write_text(f"#!/bin/sh\ncat {recorded}\n")
    (answers / "sinfo").chmod(0o755)
    assert slurm.default_gpus("") == 8
    assert slurm.default_gpus("small") == 8


def test_of_gpus_and_slices_on_one_node_nobody_guesses_which_are_meant(answers: Path) -> None:
    (answers / "sinfo").write_text("#!/bin/sh\necho 'gpu*|gpu:ampere:6(S:0-1),gpu:1g.10gb:28(S:0-1)'\n")
    (answers / "sinfo").chmod(0o755)
    with pytest.raises(UsageError) as refused:
        slurm.default_gpus("")
    assert "ampere:6, 1g.10gb:28" in refused.value.message
    assert refused.value.remedy == "Say which: --gpus-per-node ampere:6 or --gpus-per-node 1g.10gb:28"


def test_the_partition_that_the_shell_names_is_the_one_that_is_asked_about(
    answers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (answers / "sinfo").write_text(
        '#!/bin/sh\ncase "$*" in *"-p old"*) echo "old|gpu:4";; *) echo "gpu*|gpu:8";; esac\n'
    )
    (answers / "sinfo").chmod(0o755)
    monkeypatch.setenv("SBATCH_PARTITION", "old")
    assert slurm.default_gpus("") == 4
    assert slurm.default_gpus("gpu") == 8


@pytest.mark.parametrize(
    ("pong", "usable"),
    [
        ("Slurmctld(primary) at vm is UP\n", True),
        ("Slurmctld(primary) at vm is DOWN\n*** RESTORE SLURMCTLD DAEMON TO SERVICE ***\n", False),
        ("", False),
    ],
)
def test_slurm_is_available_when_its_controller_is_up(answers: Path, pong: str, usable: bool) -> None:
    (answers / "pong").write_text(pong)
    for program in ("sbatch", "scontrol"):
        (answers / program).write_text(f"#!/bin/sh\ncat {answers}/pong\n")
        (answers / program).chmod(0o755)
    assert (slurm.available() == "") is usable


def test_slurm_is_not_available_without_sbatch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no sbatch" in slurm.available()


def test_slurm_expands_its_own_node_list(answers: Path) -> None:
    (answers / "scontrol").write_text('#!/bin/sh\n[ "$3" = "node[0-1]" ] && printf "node0\\nnode1\\n"\n')
    (answers / "scontrol").chmod(0o755)
    plan = None
    assert slurm.nodes(plan, {"SLURM_JOB_NODELIST": "node[0-1]"}) == ("node0", "node1")  # type: ignore[arg-type]


@pytest.mark.parametrize("environ", [{}, {"SLURM_JOB_NODELIST": "node[0-"}])
def test_a_driver_that_does_not_know_its_nodes_says_so(answers: Path, environ: dict[str, str]) -> None:
    (answers / "scontrol").write_text("#!/bin/sh\necho 'Invalid hostlist' >&2; exit 1\n")
    (answers / "scontrol").chmod(0o755)
    with pytest.raises(LaunchError, match=r"SLURM_JOB_NODELIST|Invalid hostlist"):
        slurm.nodes(None, environ)  # type: ignore[arg-type]


@pytest.mark.skipif(not shutil.which("sh"), reason="needs sh")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("which", [0, 1])
def test_cancelling_what_is_over_or_never_was_is_no_error(answers: Path, version: str, which: int) -> None:
    told = recorded_answers(version, "scancel")[which]
    (answers / "scancel").write_text(f"#!/bin/sh\nprintf '%s' '{told.err}' >&2; exit {told.status}\n")
    (answers / "scancel").chmod(0o755)
    slurm.cancel(JobRef("slurm", told.words[-1]))


@pytest.mark.skipif(not shutil.which("sh"), reason="needs sh")
def test_cancelling_the_job_of_somebody_else_is_an_error_in_slurms_words(answers: Path) -> None:
    (told,) = recorded_answers("22.05", "strict_not_mine")
    (answers / "scancel").write_text(f"#!/bin/sh\nprintf '%s' '{told.err}' >&2; exit {told.status}\n")
    (answers / "scancel").chmod(0o755)
    with pytest.raises(LaunchError, match="Access/permission denied"):
        slurm.cancel(JobRef("slurm", told.words[-1]))


def test_a_job_whose_output_the_node_could_not_write_says_what_to_look_at() -> None:
    shown = parse_scontrol_job("JobId=7 JobState=FAILED Reason=NonZeroExitCode\n   ExitCode=0:53", "7")
    account = parse_sacct("FAILED|0:53\n", "7")
    assert shown
    assert account
    assert "--runs-dir" in shown.remedy
    assert "--runs-dir" in account.remedy
