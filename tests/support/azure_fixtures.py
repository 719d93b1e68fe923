"""Fixtures: an Azure of this machine that hpcaccept is logged in to, and what it said.

Every test loads this file, under every Python: the server and its schemas are imported by whoever asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.arm_server import ArmServer

#: Gives what was printed since it was last called, on both streams.
Said = Callable[[], str]

GPU_SIZE, CPU_SIZE = "Standard_ND96isr_H200_v5", "Standard_D2s_v5"
#: An ed25519 public key that nobody has the other half of.
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBAbYV9lsmYzZ1xEJ1cF4mDo1iUUu6a0V2bPxS3uB0Xx"


def config_text(size: str = GPU_SIZE, nodes: int = 2, cluster: str = "", more: str = "", cloud_init: str = "") -> str:
    """A configuration of the cluster ``t1``.

    Args:
        size: of its VMs.
        nodes: how many.
        cluster: more lines of the table ``[cluster]``.
        more: lines after the table ``[network]`` has begun.
        cloud_init: a file, or none.
    """
    return (
        f'[cluster]\nname = "t1"\nlocation = "eastus2"\nsize = "{size}"\nnodes = {nodes}\ncloud_init = "{cloud_init}"\n{cluster}\n'
        f'[network]\nallow_ssh_from = ["203.0.113.7/32"]\n{more}'
    )


def log_in(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let hpcaccept in this process ask a server of the test, as whoever may do everything."""
    from support import azure_cli
    from support.arm_server import SUBSCRIPTION

    azure_cli.use(url, monkeypatch.setattr)
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION)


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ArmServer]:
    """A server that hpcaccept asks; the current folder is an empty one, and no test waits for the server."""
    from support.arm_server import arm_server

    with arm_server() as server:
        log_in(server.url, monkeypatch)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("hpcaccept.transport.arm._FIRST_WAIT_S", 0.01)
        monkeypatch.setattr("hpcaccept.transport.arm._LOOK_S", 0.01)
        monkeypatch.setattr("hpcaccept.app.azure.report_host._LOOK_S", 0.01)
        yield server


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What a command printed."""

    def read() -> str:
        found = capsys.readouterr()
        return found.out + found.err

    return read
