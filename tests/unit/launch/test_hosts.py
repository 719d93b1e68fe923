"""Hosts over ssh: what is typed for the user, and what is made of what ssh says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.builders import DATA, plan, step

from hpcaccept import __version__
from hpcaccept.config.settings import Settings
from hpcaccept.errors import UsageError, install_hint
from hpcaccept.launch import choose, hosts, refuse_unfit
from hpcaccept.launch.job.queue import StepQueue, without
from hpcaccept.parse.ssh_errors import explain_ssh
from hpcaccept.plan.make import request_of
from hpcaccept.store.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, str]]:
    """An ``ssh`` of the test's own, which does what a piece of shell says; gives the environment that names it."""

    def make(shell: str) -> dict[str, str]:
        program = tmp_path / "ssh"
        program.write_text(f"#!/bin/sh\nfor word; do host=$was; was=$word; done\n{shell}\n")
        program.chmod(0o755)
        return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    monkeypatch.setattr(hosts, "mpiexec", lambda: "/usr/bin/mpiexec")
    return make


def looked(environ: dict[str, str], *names: str) -> dict[str, tuple[str, str]]:
    return hosts.unreachable(plan(), names, RunFolder(Path("/runs/r")), environ)


def test_each_host_is_a_context_of_its_own_in_the_order_of_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "mpiexec", lambda: "/usr/bin/mpiexec")
    command = hosts.step_command(plan(), step(count=2, ranks_per_node=8, id="03"), RunFolder(Path("/runs/r")))
    one = ["python3", "-m", "hpcaccept.rank", "/runs/r", "03"]
    assert list(command) == [
        "/usr/bin/mpiexec", "--host", "node0:8", "-n", "8", "env", "HPCACCEPT_NODE=node0", *one,
        ":", "--host", "node1:8", "-n", "8", "env", "HPCACCEPT_NODE=node1", *one,
    ]  # fmt: skip


def test_ssh_never_asks_and_is_the_one_that_the_user_named() -> None:
    found = hosts.step_environment({"OMPI_MCA_plm_rsh_agent": "ssh -F /site/config", "SLURM_JOB_ID": "7"})
    for name in ("OMPI_MCA_plm_rsh_agent", "PRTE_MCA_plm_ssh_agent"):
        assert found[name].startswith("ssh -F /site/config -o BatchMode=yes -o ConnectTimeout=")
        assert "StrictHostKeyChecking" not in found[name]
    assert found["OMPI_MCA_plm"] == "rsh"
    assert "SLURM_JOB_ID" not in found


def test_any_network_may_carry_what_ranks_say_to_each_other() -> None:
    assert "OMPI_MCA_pml" not in hosts.step_environment({})
    assert hosts.step_environment({"OMPI_MCA_pml": "ucx"})["OMPI_MCA_pml"] == "ucx"


def test_ranks_see_the_variables_that_tune_them() -> None:
    found = hosts.step_environment(
        {"NCCL_IB_HCA": "mlx5_0", "UCX_TLS": "rc", "HOME": "/root", "CUDA_VISIBLE_DEVICES": ""}
    )
    assert set(found["OMPI_MCA_mca_base_env_list"].split(";")) == {"NCCL_IB_HCA", "UCX_TLS"}
    assert found["NCCL_IB_HCA"] == "mlx5_0"
    more = hosts.step_environment({"NCCL_DEBUG": "INFO", "OMPI_MCA_mca_base_env_list": "MINE"})
    assert more["OMPI_MCA_mca_base_env_list"] == "MINE;NCCL_DEBUG"
    assert "OMPI_MCA_mca_base_env_list" not in hosts.step_environment({})


def test_gpus_are_never_guessed() -> None:
    with pytest.raises(UsageError, match="--gpus-per-node"):
        hosts.default_gpus("")


@pytest.mark.parametrize("settings", [Settings(nodes=2), Settings(nodelist="host[1-4]", exclude="host2")])
def test_hosts_are_named_and_none_of_them_is_left_out_silently(settings: Settings) -> None:
    with pytest.raises(UsageError, match="needs the names of the hosts, and no --exclude"):
        refuse_unfit("hosts", request_of(settings, 0), "none")


def test_without_open_mpi_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, says in (("mpiexec", "HYDRA build details"), ("ssh", "")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{says}'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for module in ("hosts", "job.this_machine"):
        monkeypatch.setattr(f"hpcaccept.launch.{module}.mpiexec", lambda: str(tmp_path / "mpiexec"))
    with pytest.raises(UsageError, match="not Open MPI's"):
        choose("hosts")


def test_a_host_that_has_all_that_is_needed_is_fit(answer: Callable[[str], dict[str, str]]) -> None:
    assert looked(answer(f"echo welcome; echo {__version__}"), "a", "b") == {}


@pytest.mark.parametrize(
    ("shell", "cause", "remedy"),
    [
        ("exit 81", "does not see the run folder /runs/r", "--runs-dir"),
        ("exit 82", "has no python3", "Install"),
        ("exit 83", "has no Open MPI under /usr/bin", "same path"),
        ("exit 84", "cannot import hpcaccept", install_hint("rank")),
        ("echo 0.0.1", "has hpcaccept '0.0.1'", "same version"),
        ("echo what is this >&2; exit 9", "ssh ended with 9: 'what is this'", "ssh -o BatchMode=yes bad true"),
        ("echo 'ssh: connect to host bad port 22: Connection refused' >&2; exit 255", "nothing listens", "sshd"),
    ],
)
def test_a_host_that_lacks_something_is_told_with_its_remedy(
    answer: Callable[[str], dict[str, str]], shell: str, cause: str, remedy: str
) -> None:
    found = looked(answer(f"if [ $host = bad ]; then {shell}; else echo {__version__}; fi"), "good", "bad")
    assert list(found) == ["bad"]
    assert cause in found["bad"][0]
    assert remedy in found["bad"][1]


def test_a_host_that_never_answers_is_not_waited_for(
    answer: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "_LOOK_S", 0.3)
    found = looked(answer("exec sleep 20"), "silent")
    assert "did not answer within" in found["silent"][0]
    assert "ssh -o BatchMode=yes silent true" in found["silent"][1]


WORDS = {
    "ssh_unknown_name": "its name cannot be resolved",
    "ssh_refused": "nothing listens for ssh there",
    "ssh_no_route": "it does not answer",
    "ssh_timed_out": "it does not answer",
    "ssh_banner_timed_out": "it does not answer",
    "ssh_host_key": "its host key is not known here",
    "ssh_host_key_changed": "its host key is not known here, or has changed",
    "ssh_permission_denied": "ssh is not let in without a password",
    "ssh_closed": "its sshd closed the connection",
    "ssh_bad_config": "the ssh configuration of this machine is wrong",
    "mpiexec_host_refused": "nothing listens for ssh there",
    "mpiexec5_host_refused": "nothing listens for ssh there",
    "mpiexec_host_lost": "was lost",
    "mpiexec5_host_lost": "was lost",
    "mpiexec_no_daemon": "has no Open MPI where this machine has it",
    "mpiexec5_no_daemon": "has no Open MPI where this machine has it",
}


@pytest.mark.parametrize("name", WORDS)
def test_what_ssh_says_has_a_cause_and_a_remedy(name: str) -> None:
    found = explain_ssh((DATA / f"launchers/{name}.err").read_text())
    assert found is not None
    assert found[0].startswith(WORDS[name])
    assert found[1]


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        # Quoted alike by the documentation of several sites; sshd closes the connection after it.
        (
            "Access denied by pam_slurm_adopt: you have no active jobs on this node\nConnection closed by 10.0.0.17 port 22\n",
            "lets in only who has a job there (pam_slurm_adopt) (Access denied by pam_slurm_adopt",
        ),
        # systemd's /run/nologin, src/login/systemd-user-sessions and src/shutdown.
        (
            "System is booting up. Unprivileged users are not permitted to log in yet. Please come back later.\nConnection closed\n",
            "lets nobody in now (pam_nologin)",
        ),
        (
            "System is going down. Unprivileged users are not permitted to log in anymore.\nConnection closed by 10.0.0.10 port 22\n",
            "lets nobody in now (pam_nologin)",
        ),
    ],
)
def test_a_refusal_of_pam_is_not_a_closed_connection(said: str, cause: str) -> None:
    found = explain_ssh(said)
    assert found is not None
    assert found[0].startswith(cause)


@pytest.mark.parametrize("name", sorted(f.stem for f in (DATA / "launchers").glob("*.err") if f.stem not in WORDS))
def test_what_other_launchers_say_is_no_failure_of_ssh(name: str) -> None:
    assert explain_ssh((DATA / f"launchers/{name}.err").read_text()) is None


def test_a_node_that_is_gone_is_in_no_later_step() -> None:
    queue = StepQueue((step(count=3), step(count=1)))
    assert [each.nodes for each in without(queue, {"node0"}).steps] == [("node1", "node2")]
