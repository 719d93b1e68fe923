"""The scripts that stand where those of basic-vmss-cluster stood: thin, and with their exit codes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "azure"
SCRIPTS = ("gather-file.sh", "gather-host-info.sh", "provision-cluster.sh", "run-nccl-test.sh", "update-hosts.sh")
#: Writes each call down; answers as it is told, and gathers.
STAND_IN = """\
#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$CALLS"
out=""
while [ $# -gt 0 ]; do [ "$1" = --output ] && out=$2; shift; done
if [ -n "$out" ]; then mkdir -p "$out"; printf 'old\\na 10.0.0.4 BN1\\n' >"$out/a"; fi
exit "${ANSWER:-0}"
"""


def run(folder: Path, script: str, *words: str, answer: int = 0) -> tuple[int, list[str], str]:
    program, calls = folder / "hpcaccept", folder / "calls"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    calls.write_text("")
    env = {**os.environ, "HPCACCEPT": str(program), "CALLS": str(calls), "ANSWER": str(answer)}
    done = subprocess.run(
        ["bash", str(FOLDER / script), *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    return done.returncode, calls.read_text().splitlines(), done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_understands_it_and_it_says_how_it_is_used(script: str, tmp_path: Path) -> None:
    subprocess.run(["bash", "-n", str(FOLDER / script)], check=True)
    assert os.access(FOLDER / script, os.X_OK)
    code, calls, said = run(tmp_path, script)
    assert (code, calls) == (2, [])
    assert said.startswith(f"usage: {script}")


def test_provisioning_brings_up_and_exchanges_keys(tmp_path: Path) -> None:
    code, calls, _ = run(tmp_path, "provision-cluster.sh", "c d.env", "4", "--yes")
    assert code == 0
    assert calls == ["azure up c d.env --max-hours 4 --yes", "azure keys c d.env"]


def test_a_cluster_that_did_not_come_up_gets_no_keys(tmp_path: Path) -> None:
    code, calls, _ = run(tmp_path, "provision-cluster.sh", "c.env", "4", answer=3)
    assert (code, len(calls)) == (3, 1)


def test_hosts_are_renewed_and_keys_exchanged(tmp_path: Path) -> None:
    code, calls, _ = run(tmp_path, "update-hosts.sh", "c.env")
    assert (code, calls) == (0, ["azure hosts c.env", "azure keys c.env"])


def test_a_file_is_gathered_by_the_cluster_s_own_ssh_configuration_where_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "h").mkdir()
    _, calls, _ = run(tmp_path, "gather-file.sh", "h/hostfile", "/var/log/x y", "out")
    assert calls == ["azure gather --hostfile h/hostfile --file /var/log/x y --output out"]
    (tmp_path / "h/ssh_config").write_text("")
    _, calls, _ = run(tmp_path, "gather-file.sh", "h/hostfile", "/var/log/x", "out")
    assert calls == ["azure gather --hostfile h/hostfile --ssh-config h/ssh_config --file /var/log/x --output out"]


def test_host_info_is_one_line_for_each_node_and_a_lost_node_is_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "hostfile").write_text("b\na\n")
    code, _, _ = run(tmp_path, "gather-host-info.sh", "hostfile", "info", answer=3)
    assert code == 3
    assert (tmp_path / "info").read_text() == "a 10.0.0.4 BN1\n"


def test_the_nodes_of_a_host_file_are_tested_together(tmp_path: Path) -> None:
    (tmp_path / "hostfile").write_text("# two\nvm-0 slots=8\n\nvm-1\n")
    code, calls, _ = run(tmp_path, "run-nccl-test.sh", "hostfile", "--set", "allreduce.x=1", answer=1)
    assert code == 1
    assert calls == [
        "submit --launcher hosts --nodelist vm-0,vm-1 --gpus-per-node 8 --suite fabric --runs-dir runs --set allreduce.x=1"
    ]
