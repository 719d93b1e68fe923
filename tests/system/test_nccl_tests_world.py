"""``nccl_tests_world`` in whole runs: each rank becomes a process of one MPI program, under every launcher. The program is a stand-in that joins MPI for real."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from support.nccl_mpi import PARAMETERS, program
from support.nvml.build import build, describe, environment, h100
from support.ssh_hosts import ssh_hosts
from support.submission import submit, suite_file

if TYPE_CHECKING:
    from pathlib import Path

    from support.submission import Finished
    from system.cluster import VirtualSlurm

pytestmark = pytest.mark.mpi

SUITE = f'[checks.identity]\n[limits."identity.cores"]\nlower = 0.01\nunit = "cores"\n[checks.nccl_tests_world]\ndeadline_s = 60\n{PARAMETERS}'


def env(tmp_path: Path, **more: str) -> dict[str, str]:
    program(tmp_path / "bin")
    gpus = describe(tmp_path / "gpus", [h100(0), h100(1)])
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**environment(build(tmp_path / "lib"), gpus), "PATH": path, "NCCL_TESTS_MIN_BW": "1", **more}


def run(tmp_path: Path, **more: str) -> Finished:
    words = ("--nodes", "2", "--gpus-per-node", "2", "--launcher", "local")
    return submit(tmp_path / "runs", suite_file(tmp_path, SUITE), *words, env=env(tmp_path, **more)).finish()


def records(done: Finished) -> list[dict[str, Any]]:
    lines = [
        json.loads(line) for file in done.folder.glob("records/*/r*.jsonl") for line in file.read_text().splitlines()
    ]
    found = [line["data"] for line in lines if line["kind"] == "record"]
    return sorted((each for each in found if each["check"] == "nccl_tests_world"), key=lambda each: int(each["rank"]))


def test_every_rank_is_a_process_of_one_program_in_a_step_of_its_own(tmp_path: Path) -> None:
    done = run(tmp_path)
    mine = records(done)
    assert [each["outcome"] for each in mine] == ["measured"] * 4, done.out + done.err
    assert {each["step"] for each in mine} == {"01"}
    samples = {(sample["metric"], sample["variant"]) for sample in mine[0]["samples"]}
    assert ("busbw_bytes", "all_reduce/64MiB") in samples
    assert ("latency_s", "all_reduce/4KiB") in samples
    assert not [each for each in mine[1:] if each.get("samples")]
    assert {v["metric"] for v in done.verdicts(check="nccl_tests_world", outcome="PASS")} == {"wrong_elements"}
    assert not done.verdicts(outcome="ERROR")
    assert not done.verdicts(outcome="FAIL")
    # The JSON holds every variable; it is kept without them.
    (kept,) = (done.folder / "outputs" / "01").glob("*all_reduce_perf.json")
    assert "HPCACCEPT" not in kept.read_text()


def test_under_slurm_it_joins_the_mpi_of_srun(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    more = env(tmp_path, LD_LIBRARY_PATH=str(tmp_path / "lib"))
    words = ("--nodes", "2", "--gpus-per-node", "2")
    whole = {**plain_slurm.env, **more}
    done = submit(tmp_path / "runs", suite_file(tmp_path, SUITE), *words, env=whole).finish()
    mine = records(done)
    assert [each["outcome"] for each in mine] == ["measured"] * 4, done.out + done.err
    assert len({each["node"] for each in mine}) == 2
    # srun ends everybody when one process goes without MPI_Finalize: nobody passes, no node is blamed, and what was said is kept.
    done = submit(
        tmp_path / "fails", suite_file(tmp_path, SUITE), *words, env={**whole, "STAND_IN_FAILS": "3"}
    ).finish()
    assert done.code == 3, done.out + done.err
    assert {each["outcome"] for each in records(done)} <= {"error"}
    assert not done.verdicts(outcome="FAIL")
    said = [file.read_text() for file in (done.folder / "outputs/01").glob("all_reduce_perf.r*.out")]
    assert any("Test NCCL failure" in text for text in said)


def test_over_ssh_it_joins_the_mpi_of_mpiexec_and_a_host_without_it_is_named(tmp_path: Path) -> None:
    more = env(tmp_path)
    with ssh_hosts(tmp_path, 2) as hosts:
        settings = tmp_path / "sshd_config"
        given = " ".join(f'"{name}={more[name]}"' for name in ("PATH", "LD_LIBRARY_PATH"))
        settings.write_text(settings.read_text().replace("SetEnv ", f"SetEnv {given} "))
        for host in range(2):
            hosts.kill(host)
            hosts.sshd(host)
        words = ("--nodelist", "node[0-1]", "--gpus-per-node", "2")
        done = submit(tmp_path / "runs", suite_file(tmp_path, SUITE), *words, env={**hosts.env, **more}).finish()
        assert [each["outcome"] for each in records(done)] == ["measured"] * 4, done.out + done.err
        hosts.kill(1)
        hosts.sshd(1, setup=f"mount -t tmpfs tmpfs {tmp_path / 'bin'}")
        done = submit(tmp_path / "again", suite_file(tmp_path, SUITE), *words, env={**hosts.env, **more}).finish()
        assert {each["cause"] for each in records(done)} == {"all_reduce_perf is not installed on node1"}
        assert {each["outcome"] for each in records(done)} == {"not_run"}


def test_a_process_that_fails_is_an_error_and_no_pass(tmp_path: Path) -> None:
    done = run(tmp_path, STAND_IN_FAILS="3")
    assert done.code == 3, done.out
    assert {each["outcome"] for each in records(done)} <= {"error"}
    assert not done.verdicts(check="nccl_tests_world", outcome="PASS")
    said = [file.read_text() for file in (done.folder / "outputs/01").glob("all_reduce_perf.r*.out")]
    assert any("Test NCCL failure" in text for text in said)
    assert not done.verdicts(outcome="FAIL")
    # mpiexec may end the other ranks before they hear of it: who does hear names the process that failed, and nobody else.
    named = {each["cause"] for each in records(done) if "all_reduce_perf ended with" in each["cause"]}
    assert all(cause.startswith("rank 3 on node1: all_reduce_perf ended with 3: ") for cause in named), named
