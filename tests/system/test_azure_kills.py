"""A client of Azure that dies at any of its requests leaves nothing that ``status`` does not find and ``down`` does not remove."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.arm_server import ArmServer, arm_server
from support.azure_fixtures import config_text

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def command(server: ArmServer, folder: Path, *words: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join((str(ROOT / "tests"), str(ROOT)))
    return subprocess.Popen(
        [sys.executable, "-m", "support.azure_cli", server.url, "azure", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(server: ArmServer, folder: Path, *words: str, code: int = 0) -> str:
    process = command(server, folder, *words)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == code, text
    return text


def up(config: str = "c.toml") -> tuple[str, ...]:
    return ("up", config, "--max-hours", "1", "--no-wait", "--yes")


def ended_at(server: ArmServer, folder: Path, at: int | str, words: tuple[str, ...], by: int) -> tuple[int, str]:
    """Start a command, and send it a signal while a request of it is being answered; gives its status and what it said.

    Args:
        server: that is asked.
        folder: where it runs.
        at: number of the request, polls among them, or a word of it; one that never comes lets the command end by itself.
        words: of the command.
        by: signal.
    """
    arrived, go_on = threading.Event(), threading.Event()
    first = len(server.requests)

    def hold(*_: object) -> None:
        mine = len(server.requests) - first == at + 1 if isinstance(at, int) else at in server.requests[-1]
        if mine and not go_on.is_set():
            arrived.set()
            go_on.wait(30)

    server.on_request = hold
    process = command(server, folder, *words)
    until = time.monotonic() + 60
    while not arrived.wait(0.02) and process.poll() is None:
        assert time.monotonic() < until, process.communicate()[0]
    process.send_signal(by)
    text, _ = process.communicate(timeout=30)
    server.on_request = lambda *_: None
    go_on.set()
    server.settle()
    return process.returncode, text


def killed_at(server: ArmServer, folder: Path, number: int) -> bool:
    """``up`` is killed with SIGKILL; False where it had ended before."""
    status, text = ended_at(server, folder, number, up(), signal.SIGKILL)
    assert status in (0, -signal.SIGKILL), text
    return status != 0


def found_and_removed(server: ArmServer, folder: Path) -> bool:
    """Whatever a killed client has left is in ``status``, and gone after ``down``; gives whether there was anything."""
    there = server.billed()
    listed = said(server, folder, "status")
    assert ("hpcaccept-t1  t1" in listed) == bool(server.groups), listed
    assert server.groups or not there
    assert "a listing shows nothing with its tag" in said(server, folder, "down", "c.toml", "--yes")
    assert server.billed() == []
    assert server.groups == {}
    return bool(there)


def test_a_client_that_is_killed_at_any_request_leaves_what_is_found_and_removed(tmp_path: Path) -> None:
    """From the first request on, polls among them, until one comes that ``up`` does not make any more."""
    (tmp_path / "c.toml").write_text(config_text())
    billed_at, number, killed = [], 0, True
    while killed:
        with arm_server() as server:
            killed = killed_at(server, tmp_path, number)
            billed_at += [number] if found_and_removed(server, tmp_path) and killed else []
        number += 1
        assert number < 60
    assert number > 11
    assert billed_at, "no kill came after something was made"


@pytest.mark.parametrize("at", ["networkInterfaces", "queryInboundNatRulePortMapping", "runCommand", "nodes-ip"])
def test_a_client_that_is_killed_while_it_gets_to_know_the_nodes_leaves_what_is_found_and_removed(
    tmp_path: Path, at: str
) -> None:
    """What follows the deployment: network cards, ports, host keys, the address; then it asks the nodes themselves and Azure no more."""
    (tmp_path / "c.toml").write_text(config_text())
    with arm_server() as server:
        words = ("up", "c.toml", "--max-hours", "1", "--ready-timeout", "1", "--yes")
        assert ended_at(server, tmp_path, at, words, signal.SIGKILL)[0] == -signal.SIGKILL
        assert found_and_removed(server, tmp_path)


@pytest.mark.parametrize("number", [7, 8, 9, 10, 11])
def test_up_again_finishes_what_a_killed_client_has_begun(tmp_path: Path, number: int) -> None:
    (tmp_path / "c.toml").write_text(config_text())
    with arm_server() as server:
        killed_at(server, tmp_path, number)
        assert "2 nodes are up" in said(server, tmp_path, *up())
        (scale_set,) = server.of_type("Microsoft.Compute/virtualMachineScaleSets")
        assert len(scale_set["_vms"]) == 2
        assert len(server.groups) == 1


def test_reap_removes_what_a_killed_client_left(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(config_text())
    with arm_server() as server:
        killed_at(server, tmp_path, 10)
        assert server.billed()
        server.groups["hpcaccept-t1"]["tags"]["hpcaccept-expires"] = "2026-01-01T00:00:00Z"
        assert "1 of 1 expired clusters deleted" in said(server, tmp_path, "reap", "--yes")
        assert server.billed() == []


def test_who_interrupts_up_is_told_what_stays(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(config_text())
    with arm_server() as server:
        code, text = ended_at(server, tmp_path, 10, up(), signal.SIGINT)
        assert code == 130, text
        assert "What was made stays and may be billed" in text
        said(server, tmp_path, "down", "c.toml", "--yes")
        assert server.billed() == []


@pytest.mark.parametrize("number", range(5))
def test_down_again_removes_what_a_killed_down_has_left(tmp_path: Path, number: int) -> None:
    (tmp_path / "c.toml").write_text(config_text())
    with arm_server() as server:
        said(server, tmp_path, *up())
        ended_at(server, tmp_path, number, ("down", "c.toml", "--yes"), signal.SIGKILL)
        said(server, tmp_path, "down", "c.toml", "--yes")
        assert server.billed() == []
        assert server.groups == {}
