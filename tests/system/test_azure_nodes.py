"""Nodes of a cluster on Azure, reached by real ssh: host keys that are verified, keys, host files, gathering, dead and slow nodes."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from support.azure_fixtures import CPU_SIZE, Said, config_text
from support.azure_nodes import Vms, azure_vms
from support.ssh_hosts import why_not
from support.stand_ins import DATA
from support.submission import noise

from hpcaccept.app.azure import remote_run
from hpcaccept.cli import main
from hpcaccept.transport.ssh import follow_there

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.arm_server import ArmServer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]


@pytest.fixture
def azure(logged_in: ArmServer) -> ArmServer:
    Path("c.toml").write_text(config_text(CPU_SIZE, 3))
    return logged_in


@pytest.fixture
def vms(azure: ArmServer, tmp_path: Path) -> Iterator[Vms]:
    (tmp_path / "vms").mkdir()
    with azure_vms(tmp_path / "vms", azure, 4) as found:
        assert main(["azure", "up", "c.toml", "--max-hours", "2", "--no-wait", "--yes"]) == 0
        public = Path("t1/id_ed25519.pub").read_text().strip()
        for index in range(3):
            found.start(index, public)
        yield found


def ssh(node: str, command: str) -> subprocess.CompletedProcess[str]:
    words = ["ssh", "-F", "t1/ssh_config", "-o", "BatchMode=yes", node, command]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)


def test_the_whole_way_from_hosts_to_gather(azure: ArmServer, vms: Vms, said: Said) -> None:
    assert main(["azure", "hosts", "c.toml"]) == 0
    names = [vms.name(index) for index in range(3)]
    assert Path("t1/hostfile").read_text().split() == names
    assert Path("t1/hostfile-ip").read_text().split() == [vms.hosts.address(index) for index in range(3)]
    assert ssh("head", "hostname").stdout.strip() == names[0]
    assert main(["azure", "keys", "c.toml"]) == 0
    assert "3 of 3 nodes log in to each other" in said()
    for target in (names[0], vms.hosts.address(0), names[1]):
        hop = ssh(names[2], f"ssh -o BatchMode=yes {target} hostname")
        assert hop.stdout.strip() in names, hop.stderr
    assert ssh("head", "cat hostfile").stdout.split() == names
    for index in range(3):
        (vms.home(index) / "health log").write_text(f"2026 passed {index}\n")
    assert main(["azure", "gather", "c.toml", "--file", "health log", "-o", "out"]) == 0
    assert [(Path("out") / name).read_text() for name in names] == [f"2026 passed {index}\n" for index in range(3)]
    said()
    assert main(["azure", "gather", "c.toml", "--", "printf", "%s", "a  'b'"]) == 0
    assert f"{names[1]}: a  'b'" in said()


def test_keys_twice_change_nothing_and_what_the_administrator_wrote_stays(vms: Vms) -> None:
    settings = vms.home(0) / ".ssh/config"
    settings.write_text("Host other\n  Port 2222\n")
    assert main(["azure", "hosts", "c.toml"]) == 0
    for _ in range(2):
        assert main(["azure", "keys", "c.toml"]) == 0
    assert settings.read_text().count("# hpcaccept begin") == 1
    assert "Host other\n  Port 2222\n" in settings.read_text()
    keys = (vms.home(0) / ".ssh/authorized_keys").read_text()
    assert keys.count("ssh-ed25519") == 4
    assert keys.startswith(Path("t1/id_ed25519.pub").read_text().strip())


def test_no_private_key_leaves_a_node(vms: Vms) -> None:
    assert main(["azure", "hosts", "c.toml"]) == 0
    assert main(["azure", "keys", "c.toml"]) == 0
    private = [(vms.home(index) / ".ssh/hpcaccept_ed25519").read_text() for index in range(3)]
    assert len(set(private)) == 3
    assert oct((vms.home(0) / ".ssh/hpcaccept_ed25519").stat().st_mode)[-3:] == "600"
    kept = [file for file in Path("t1").iterdir() if "PRIVATE KEY" in file.read_text()]
    assert [file.name for file in kept] == ["id_ed25519"]


def test_a_host_with_another_key_is_refused(vms: Vms, said: Said) -> None:
    assert main(["azure", "hosts", "c.toml"]) == 0
    vms.kill(1)
    vms.start(1, Path("t1/id_ed25519.pub").read_text().strip())
    said()
    assert main(["azure", "gather", "c.toml", "--", "hostname"]) == 3
    text = said()
    assert f"{vms.name(1)}: cannot be reached: its host key is not known here, or has changed" in text
    assert "2 of 3 nodes answered" in text


def test_a_dead_and_a_slow_node_are_named_and_keep_nobody_waiting(vms: Vms, said: Said) -> None:
    assert main(["azure", "hosts", "c.toml"]) == 0
    vms.kill(2)
    (vms.home(1) / "slow").write_text("")
    (Path("out")).mkdir()
    (Path("out") / vms.name(2)).write_text("of an earlier call\n")
    said()
    command = ["--", "sh", "-c", "if [ -e slow ]; then sleep 60; fi; hostname"]
    assert main(["azure", "gather", "c.toml", "-o", "out", "--deadline", "12", *command]) == 3
    text = said()
    assert f"{vms.name(1)}: did not end within 12 s" in text
    assert f"{vms.name(2)}: " in text
    assert "1 of 3 nodes answered" in text
    assert [file.name for file in Path("out").iterdir()] == [vms.name(0)]


def test_what_a_node_prints_does_not_steer_the_terminal(vms: Vms, said: Said) -> None:
    assert main(["azure", "hosts", "c.toml"]) == 0
    said()
    assert main(["azure", "gather", "c.toml", "--", "printf", r"\033[2Jx\n"]) == 0
    assert "\033" not in said()


def test_a_vm_that_was_exchanged_is_identified_again_and_no_other(azure: ArmServer, vms: Vms, said: Said) -> None:
    assert main(["azure", "hosts", "c.toml"]) == 0
    asked = len([each for each in azure.requests if each.lower().endswith("/runcommand")])
    assert asked == 3
    assert main(["azure", "hosts", "c.toml"]) == 0
    vms.kill(1)
    azure.evict("t1", 1)
    (scale_set,) = azure.of_type("Microsoft.Compute/virtualMachineScaleSets")
    scale_set["_vms"][3] = {"computerName": vms.name(3), "vmId": "another"}
    vms.start(3, Path("t1/id_ed25519.pub").read_text().strip())
    said()
    assert main(["azure", "hosts", "c.toml"]) == 0
    assert f"{vms.name(1)} is gone" in said()
    assert len([each for each in azure.requests if each.lower().endswith("/runcommand")]) == 4
    assert Path("t1/hostfile").read_text().split() == [vms.name(index) for index in (0, 2, 3)]
    assert vms.name(1) not in Path("t1/known_hosts").read_text()
    assert main(["azure", "keys", "c.toml"]) == 0
    assert ssh(vms.name(0), f"ssh -o BatchMode=yes {vms.name(3)} hostname").stdout.strip() == vms.name(3)


def test_a_node_whose_agent_says_nothing_is_named_and_not_believed(azure: ArmServer, vms: Vms, said: Said) -> None:
    run = azure.run_script
    azure.run_script = lambda name, script: "" if name == vms.name(1) else run(name, script)
    assert main(["azure", "hosts", "c.toml"]) == 3
    assert f"{vms.name(1)} is not identified, and ssh refuses it" in said()
    assert main(["azure", "keys", "c.toml"]) == 3
    assert f"{vms.name(1)}: its host key is not known" in said()


def test_the_host_file_of_a_node_is_enough_to_gather_from_there(vms: Vms) -> None:
    assert main(["azure", "hosts", "c.toml"]) == 0
    command = [
        "azure",
        "gather",
        "--hostfile",
        "t1/hostfile",
        "--ssh-config",
        "t1/ssh_config",
        "-o",
        "out",
        "--",
        "hostname",
    ]
    assert main(command) == 0
    assert len(list(Path("out").iterdir())) == 3


def says(vms: Vms, index: int, text: str) -> None:
    """What cloud-init prints on a node, by a program of that name in its path."""
    program = vms.home(index) / "cloud-init"
    program.write_text(f"#!/bin/sh\ncat <<'X'\n{text}\nX\nexit 2\n")
    program.chmod(0o755)


def test_up_waits_for_cloud_init_and_names_who_is_late_and_who_failed(vms: Vms, said: Said) -> None:
    for index, state in enumerate(("done", "running", "error")):
        says(
            vms,
            index,
            f'{{"status": "{state}", "errors": {["raid failed"] if state == "error" else []}}}'.replace("'", '"'),
        )
    said()
    assert main(["azure", "up", "c.toml", "--max-hours", "2", "--yes", "--ready-timeout", "3"]) == 3
    text = said()
    assert f"{vms.name(1)} is not ready: late after 3 s: cloud-init is still running" in text
    assert f"{vms.name(2)} is not ready: cloud-init: raid failed" in text
    assert f"{vms.name(0)} is not ready" not in text
    for index in range(3):
        says(vms, index, '{"status": "done", "errors": []}')
    assert main(["azure", "up", "c.toml", "--max-hours", "2", "--yes", "--ready-timeout", "10"]) == 0
    assert "3 of 3 nodes are ready" in said()


def submit(vms: Vms, suite: str, *more: str) -> int:
    """A suite over the nodes; this Python and this folder are at the same path in all of them."""
    Path("suite.toml").write_text(suite)
    there = ["--python", sys.executable, "--shared", str(vms.folder / "shared")]
    return main(["azure", "submit", "c.toml", "--suite", "suite.toml", *there, "--", "--start-timeout", "60", *more])


def lost_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next connection over which a run is followed breaks when the run says its name."""
    follow = follow_there

    def broken(config: Path, host: str, command: str, each_line: Callable[[str], None]) -> int:
        monkeypatch.setattr(remote_run, "follow_there", follow)

        def cut(line: str) -> None:
            each_line(line)
            if ": hosts job " in line:
                for child in psutil.Process().children():
                    if child.name() == "ssh":
                        child.terminate()

        return follow(config, host, command, cut)

    monkeypatch.setattr(remote_run, "follow_there", broken)


@pytest.mark.mpi
def test_a_suite_runs_over_the_nodes_by_mpi_and_the_run_comes_here_though_the_connection_breaks(
    vms: Vms, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    (vms.folder / "shared").mkdir()
    assert main(["azure", "hosts", "c.toml"]) == 0
    assert main(["azure", "keys", "c.toml"]) == 0
    said()
    lost_in_the_middle(monkeypatch)
    assert submit(vms, noise(0.1)) == 3
    assert "The connection to vm-000000 was lost" in said()
    assert submit(vms, noise(0.1)) == 3
    assert "has not come here yet" in said()
    assert main(["azure", "wait", "c.toml"]) == 0, said()
    assert "ACCEPTED: 3 of 3 nodes" in said()
    (run,) = Path("t1/runs").iterdir()
    report = json.loads((run / "report.json").read_text())
    assert report["nodes"] == {vms.name(index): "PASS" for index in range(3)}
    assert main(["report", "--runs-dir", "t1/runs", run.name]) == 0
    # Whether a group is slow is another question on a busy machine: that its answer comes is what is asked here.
    there = ["--python", sys.executable, "--shared", str(vms.folder / "shared")]
    asked = ["--check", "allreduce", "--set", "allreduce.sizes_bytes=[65536]", "--metric", "none", "--budget", "90s"]
    assert main(["azure", "isolate", "c.toml", *there, "--", *asked, "--start-timeout", "60"]) in (0, 3)
    (answer,) = Path("t1/runs").glob("*/isolation-report.json")
    assert sorted(json.loads(answer.read_text())["nodes"]) == [vms.name(index) for index in range(3)]
    vms.kill(2)
    assert submit(vms, noise(0.1)) == 3
    text = said()
    assert vms.name(2) in text
    assert "NOT JUDGED" in text


def test_nothing_is_submitted_to_fewer_nodes_than_were_asked_for(azure: ArmServer, vms: Vms, said: Said) -> None:
    assert main(["azure", "hosts", "c.toml"]) == 0
    azure.evict("t1", 2)
    assert main(["azure", "hosts", "c.toml"]) == 3
    said()
    assert submit(vms, noise(0.1)) == 3
    assert "2 nodes are known, expected 3" in said()


def test_a_first_node_that_is_gone_is_told(vms: Vms, said: Said) -> None:
    assert main(["azure", "hosts", "c.toml"]) == 0
    vms.kill(0)
    assert submit(vms, noise(0.1)) == 3
    assert f"on {vms.name(0)} cannot start hpcaccept: it cannot be reached" in said()


def logged(vms: Vms, index: int, aznhc: str, word: str) -> None:
    """What the scripts of a node leave; the log is a recorded one of AzNHC."""
    written = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    (vms.log(index) / "aznhc-health.log").write_bytes((DATA / "aznhc/recorded" / f"{aznhc}.log").read_bytes())
    (vms.log(index) / "aznhc-health.log.status").write_text(f"{written} {word}\n")


def test_health_is_one_table_of_all_nodes_and_no_status_is_believed_against_its_log(vms: Vms, said: Said) -> None:
    assert main(["azure", "hosts", "c.toml"]) == 0
    for index in range(3):
        logged(vms, index, "healthy", "passed")
    said()
    assert main(["azure", "health", "c.toml"]) == 0
    assert "3 nodes: 3 PASS" in said()
    logged(vms, 1, "first_failure", "passed")
    assert main(["azure", "health", "c.toml"]) == 1
    said()
    assert main(["azure", "report-host", "c.toml", vms.name(1)]) == 0
    assert "Resource.Hpc.Unhealthy.HpcMissingGpu" in said()
    assert main(["azure", "report-host", "c.toml", vms.name(0)]) == 2
    assert "found PASS, expected FAIL" in said()
    logged(vms, 1, "failing", "passed")
    vms.kill(2)
    assert main(["azure", "health", "c.toml", "--deadline", "15"]) == 1
    rows = {line.split()[0]: line for line in said().splitlines() if line.startswith("vm-")}
    assert "PASS" in rows[vms.name(0)]
    assert "FAIL" in rows[vms.name(1)]
    assert "ERROR" in rows[vms.name(2)]
