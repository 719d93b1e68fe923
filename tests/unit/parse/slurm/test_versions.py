"""What Slurm 22.05 to 26.05 said to the same questions (tests/data/slurm/VERSION), and what is made of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.builders import DATA
from support.slurm_words import ENDS, VERSIONS, Answer, answers, said

from hpcaccept.launch import slurm
from hpcaccept.launch._slurm.sbatch import job_numbers
from hpcaccept.model.job import JobRef, JobStatus
from hpcaccept.parse.rank_exits import parse_deaths
from hpcaccept.parse.slurm.jobs import parse_sacct, parse_scontrol_job, parse_squeue
from hpcaccept.parse.slurm.mpi import best_mpi_type, parse_mpi_types
from hpcaccept.parse.slurm.nodes import (
    parse_default_partition,
    parse_job_with,
    parse_nodes,
    parse_planned,
    parse_reservations,
)
from hpcaccept.parse.slurm.site import Accounting, parse_accounting, parse_associations, parse_partitions
from hpcaccept.transport.process import Done

if TYPE_CHECKING:
    from pathlib import Path

every_version = pytest.mark.parametrize("version", VERSIONS)
#: A site that enforces, and one that describes its switches, were recorded of the first version only.
STRICT = ("preempted", "strict_", "tree")


def seen(version: str, case: str) -> tuple[JobStatus | None, JobStatus | None, JobStatus | None]:
    """The job by squeue, scontrol and sacct."""
    queue, shown, account = answers(version, case)[:3]
    job = queue.words[-1]
    return parse_squeue(queue.out, job), parse_scontrol_job(shown.out, job), parse_sacct(account.out, job)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Answer]:
    """Put answers into it, and they are what Slurm says."""
    told: list[Answer] = []

    def ask(command: list[str]) -> Done | None:
        answer = next((a for a in told if a.words == tuple(command)), None)
        assert answer is not None, f"not recorded: {command}"
        return Done(answer.status, answer.out, answer.err)

    monkeypatch.setattr(slurm, "_quietly", ask)
    return told


def test_every_version_was_asked_the_same() -> None:
    cases = {version: {file.stem for file in (DATA / "slurm" / version).glob("*.txt")} for version in VERSIONS}
    cases["22.05"] = {case for case in cases["22.05"] if not case.startswith(STRICT)}
    assert cases == dict.fromkeys(VERSIONS, cases["22.05"])


def test_what_commands_end_with_was_recorded() -> None:
    recorded = [a for file in (DATA / "slurm" / "22.05").glob("*.txt") for a in answers("22.05", file.stem)]
    assert None not in {answer.code for answer in recorded}
    assert {answer.code for answer in recorded if answer.words[0] == "sbatch" and answer.err} == {1, 255}


@every_version
def test_the_recordings_are_of_the_version_that_their_folder_says(version: str) -> None:
    assert f" {version}." in said(version, "version", "sinfo")


# --- jobs -------------------------------------------------------------------------------------------------------------

_RESERVED = "ReqNodeNotAvail, May be reserved for other job"
#: What either of Slurm's two schedulers may say.
WAITING = {
    "begin_time": ["BeginTime"],
    "priority": ["Priority", "Resources"],
    "nodes_down": [
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
        _RESERVED,
    ],
    "reserved_now": [_RESERVED],
    "reservation_later": ["Reservation"],
}
STUCK = {
    "held_by_user": "scontrol release",
    "partition_down": "--partition",
    "partition_time_limit": "--time",
    "dependency_never": "scancel",
    "requeue_held": "scontrol release",
}
OVER = {**ENDS, "node_lost": "node_fail"}


@every_version
@pytest.mark.parametrize(("case", "reasons"), WAITING.items())
def test_a_job_that_waits_its_turn_is_pending_for_a_reason(version: str, case: str, reasons: list[str]) -> None:
    queue, shown, _ = seen(version, case)
    assert queue in [JobStatus("pending", f"PENDING, {reason}") for reason in reasons]
    assert shown is not None
    assert shown.state == "pending"


@every_version
@pytest.mark.parametrize(("case", "remedy"), STUCK.items())
def test_a_job_that_no_waiting_helps_is_stuck_with_what_does(version: str, case: str, remedy: str) -> None:
    queue, shown, _ = seen(version, case)
    assert queue is not None
    assert shown is not None
    assert (queue.state, queue.remedy) == (shown.state, shown.remedy)
    assert queue.state == "stuck"
    assert remedy in queue.remedy


@every_version
@pytest.mark.parametrize(("case", "state"), OVER.items())
def test_how_a_job_ended_is_told_alike_with_and_without_accounting(version: str, case: str, state: str) -> None:
    queue, shown, account = seen(version, case)
    assert queue is None
    assert shown is not None
    assert account is not None
    assert shown.state == account.state == state


@every_version
@pytest.mark.parametrize("case", ["running", "suspended", "array", "het"])
def test_a_job_that_runs_is_running_whatever_its_parts(version: str, case: str) -> None:
    queue, shown, _ = seen(version, case)
    assert queue is not None
    assert shown is not None
    assert queue.state == shown.state == "running"


def test_a_job_that_another_one_put_out_was_cancelled_and_says_by_what() -> None:
    queue, shown, account = seen("22.05", "preempted")
    assert queue is None
    for status in (shown, account):
        assert status is not None
        assert status.state == "cancelled"
        assert status.detail.startswith("PREEMPTED")
        assert "higher rank" in status.remedy


def test_accounts_and_qos_of_a_user_are_read() -> None:
    accounts, qos = answers("22.05", "strict_associations")
    assert list(parse_associations(accounts.out)) == ["acceptance", "root"]
    assert set(parse_associations(qos.out)) == {"normal"}


@every_version
def test_the_exit_code_and_what_follows_from_it_are_told(version: str) -> None:
    _, shown, account = seen(version, "failed")
    assert shown == JobStatus("failed", "FAILED, NonZeroExitCode, exit code 3, signal 0")
    assert account == JobStatus("failed", "FAILED, exit code 3:0")
    _, shown, account = seen(version, "output_not_writable")
    assert shown is not None
    assert account is not None
    assert "--runs-dir" in shown.remedy
    assert "--runs-dir" in account.remedy


@every_version
def test_a_job_that_nobody_knows_is_no_status(version: str) -> None:
    assert seen(version, "unknown") == (None, None, None)


@every_version
def test_a_node_by_name_that_is_drained_is_not_waited_for(version: str, recorded: list[Answer]) -> None:
    # From 24.11 on squeue says of it what it says of a node that is reserved.
    recorded += [*answers(version, "node_not_available"), *answers(version, "named_nodes")]
    status = slurm.status(JobRef("slurm", recorded[0].words[-1]))
    assert status.state == "stuck"
    assert "node3" in status.detail
    assert "sinfo -R" in status.remedy


@every_version
def test_a_node_by_name_that_is_reserved_is_waited_for(version: str, recorded: list[Answer]) -> None:
    recorded += answers(version, "reserved_now")
    recorded.append(Answer(("squeue", "-h", "-o", "%n", "-j", recorded[0].words[-1]), "node3\n", ""))
    assert slurm.status(JobRef("slurm", recorded[0].words[-1])).state == "pending"


@every_version
def test_a_controller_that_is_away_loses_no_job(version: str, recorded: list[Answer]) -> None:
    recorded += answers(version, "controller_down")
    assert not slurm.status(JobRef("slurm", recorded[0].words[-1])).over


@every_version
def test_the_time_that_is_left_is_understood(version: str, recorded: list[Answer]) -> None:
    recorded += answers(version, "time_left")
    left = slurm.seconds_left({"SLURM_JOB_ID": recorded[0].words[-1]})
    assert left is not None
    assert 1700 < left <= 1800


# --- what sbatch and srun say -----------------------------------------------------------------------------------------


@every_version
def test_the_number_of_a_job_is_what_sbatch_prints(version: str) -> None:
    (told,) = answers(version, "sbatch_parsable")
    assert job_numbers(told.out) == [told.out.strip()]
    assert told.out.strip().isdecimal()


@every_version
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("bad_partition", "Invalid partition name specified"),
        ("bad_node", "Invalid node name specified"),
        ("bad_gpu_type", "Requested node configuration is not available"),
        ("too_many_gpus", "Requested node configuration is not available"),
        ("bad_reservation", "Requested reservation is invalid"),
        ("bad_constraint", "Invalid feature specification"),
        ("unknown_option", "--no-such-option"),
    ],
)
def test_a_refusal_is_told_in_the_words_of_slurm(version: str, case: str, words: str) -> None:
    (told,) = answers(version, f"sbatch_{case}")
    shown = slurm._slurms_words(told.err)
    assert words in shown
    assert "sbatch: error" not in shown


@every_version
@pytest.mark.parametrize(
    ("case", "first", "how"),
    [
        ("srun_one_killed", [2], "Killed"),
        ("srun_two_exit_3", [2, 3], "Exited with exit code 3"),
        ("srun_segfault", [1], "Segmentation fault (core dumped)"),
        ("srun_no_program", [0, 1, 2, 3], "Exited with exit code 2"),
    ],
)
def test_the_ranks_that_died_are_named_before_those_that_were_ended(
    version: str, case: str, first: list[int], how: str
) -> None:
    (told,) = answers(version, case)
    deaths = parse_deaths(told.err)
    assert sorted(d.rank for d in deaths if d.how == how) == first
    assert deaths[0].rank in first


@every_version
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("srun_bad_partition", "Invalid partition name specified"),
        ("srun_bad_mpi", "Invalid MPI type 'nosuch'"),
        ("srun_more_nodes_than_allocated", "Only allocated 4 nodes asked for 5"),
        ("srun_node_not_in_job", "Requested node configuration is not available"),
        ("srun_no_pyxis", "unrecognized option '--container-image=x'"),
        ("srun_unknown_option", "unrecognized option '--no-such-option'"),
        ("srun_no_conf", "Unable to process configuration file"),
    ],
)
def test_a_step_that_was_refused_names_no_rank(version: str, case: str, words: str) -> None:
    (told,) = answers(version, case)
    assert words in told.err
    assert parse_deaths(told.err) == []


@every_version
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("srun_step_time_limit", "DUE TO TIME LIMIT"),
        ("srun_node_failure", "DUE TO NODE FAILURE"),
        ("srun_job_cancelled", "CANCELLED AT"),
    ],
)
def test_why_a_step_was_ended_stands_in_its_words(version: str, case: str, words: str) -> None:
    (told,) = answers(version, case)
    assert words in told.err
    assert {d.how for d in parse_deaths(told.err)} <= {"Terminated", "Killed"}


@every_version
def test_salloc_says_which_job_it_got(version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (told,) = answers(version, "salloc")
    (tmp_path / "squeue").write_text(f"#!/bin/sh\nprintf '{told.out.strip()}'\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert slurm.begun(told.err) == ("node0", "node1")


# --- nodes, partitions, reservations ----------------------------------------------------------------------------------


@every_version
def test_idle_nodes_are_plainly_idle(version: str) -> None:
    nodes = parse_nodes(said(version, "nodes_idle", "scontrol", "-o", "show", "node"))
    assert [node.name for node in nodes] == ["node0", "node1", "node2", "node3"]
    assert {node.flags for node in nodes} == {("IDLE",)}
    assert {node.partitions for node in nodes} == {("gpu", "small", "down")}
    assert {node.busy_cpus for node in nodes} == {0}


@every_version
def test_nodes_that_are_used_or_out_say_so(version: str) -> None:
    nodes = parse_nodes(said(version, "nodes_busy", "scontrol"))
    assert [(node.flags, node.busy_cpus) for node in nodes] == [
        (("ALLOCATED",), 8),
        (("MIXED", "DRAIN"), 2),
        (("IDLE", "DRAIN"), 0),
        (("DOWN",), 0),
    ]


@every_version
def test_a_node_that_died_does_not_respond(version: str) -> None:
    nodes = parse_nodes(said(version, "nodes_not_responding", "scontrol"))
    assert "DOWN" in nodes[2].flags
    assert "NOT_RESPONDING" in nodes[2].flags


@every_version
def test_nodes_of_a_maintenance_are_its_own(version: str) -> None:
    nodes = parse_nodes(said(version, "reservation", "scontrol", "-o", "show", "node"))
    assert nodes[2].flags == ("IDLE", "MAINTENANCE", "RESERVED")
    night, later = parse_reservations(said(version, "reservation", "scontrol", "-o", "show", "reservation"))
    assert (night.name, night.nodes, night.end_s - night.start_s) == ("night", frozenset(("node2", "node3")), 600)
    assert (later.name, later.nodes, later.end_s - later.start_s) == ("later", frozenset(("node1",)), 3600)


@every_version
def test_nodes_that_are_planned_for_a_job_are_known(version: str) -> None:
    nodes = parse_nodes(said(version, "planned", "scontrol"))
    flagged = {node.name for node in nodes if "PLANNED" in node.flags}
    (planned,) = parse_planned(said(version, "planned", "squeue", "-h", "-t"))
    assert flagged
    assert flagged <= planned.nodes
    assert 0 < planned.start_s < float("inf")
    assert nodes[3].flags == ("IDLE", "DRAIN")  # whatever its administrator wrote into the reason


@every_version
def test_a_job_is_found_by_its_comment(version: str) -> None:
    text = said(version, "planned", "squeue", "-h", "--me")
    assert parse_job_with(text, "20261122-082104-s-2n-b3d9").isdecimal()
    assert parse_job_with(text, "null") == ""


@every_version
def test_partitions_and_their_limits_are_read(version: str) -> None:
    text = said(version, "nodes_idle", "scontrol", "-o", "show", "partition")
    assert parse_default_partition(text) == "gpu"
    found = {p.name: (p.state, p.default, p.most_s, p.most_nodes, p.accounts) for p in parse_partitions(text)}
    assert found == {
        "gpu": ("UP", True, None, None, ()),
        "small": ("UP", False, 60, None, ()),
        "down": ("DOWN", False, None, None, ()),
    }


# --- the site ---------------------------------------------------------------------------------------------------------


@every_version
def test_what_the_site_has_is_read(version: str) -> None:
    assert parse_accounting(said(version, "config", "scontrol")) == Accounting(kept=True, enforced=False)
    assert sorted(parse_associations(said(version, "associations", "sacctmgr"))) == ["acceptance", "root"]
    assert said(version, "hostnames", "scontrol").split() == ["node0", "node1", "node2", "other7"]
    assert "is UP" in said(version, "ping", "scontrol")
    away = next(a.out for a in answers(version, "controller_down") if a.words == ("scontrol", "ping"))
    assert "is UP" not in away


@every_version
def test_gpus_are_those_of_the_default_partition(version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gres").write_text(said(version, "gres", "sinfo", "-h", "-N", "-o"))
    (tmp_path / "sinfo").write_text(f"#!/bin/sh\nexec cat {tmp_path}/gres\n")
    (tmp_path / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert slurm.default_gpus("") == 8


@every_version
def test_mpi_plugins_are_listed(version: str) -> None:
    (told,) = answers(version, "mpi_list")
    types = parse_mpi_types(told.out + told.err)
    assert {"none", "pmi2"} <= set(types)
    # Debian's 26.05 is built without PMIx.
    assert best_mpi_type(types) == ("pmi2" if version == "26.05" else "pmix")
