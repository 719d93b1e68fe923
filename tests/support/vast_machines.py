"""Rented machines of the loopback server: each runs what its instance starts, as a real process with an environment of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.app.tester import keys
from hpcaccept.config.suites import read_suite
from support.lying_testers import Machine, listening

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.transport.tester_server import Request

#: A suite that a laptop's processor runs in seconds.
SUITE = """\
about = "A rented machine of the tests."
baseline = "optional"

[checks.identity]

[limits."identity.cores"]
lower = 1
unit = "cores"
source = "a machine of the tests"

[checks.dgemm]
blocks = 2
block_s = 0.1

[limits."dgemm.rate_flops"]
lower = 1e6
unit = "FLOP/s"
source = "a machine of the tests"
"""


class Machines:
    """Processes by instance.

    Attributes:
        folder: where each has its home.
        liars: machine → class of ``lying_testers`` that answers there instead of the tester.
        processes: that were started.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.liars: dict[int, type[Machine]] = {}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, instance: dict[str, Any]) -> tuple[int, Callable[[], None]]:
        """Run an instance's start command, with its port mapped to a free one of this machine, as a container's is."""
        home = self.folder / str(instance["id"])
        home.mkdir(parents=True)
        if liar := self.liars.get(instance["machine_id"]):
            return self._lie(liar, instance["onstart"], home)
        # No rental of a test installs anything on the machine that it runs on.
        stub = self.folder / "bin" / "apt-get"
        stub.parent.mkdir(exist_ok=True)
        stub.write_text("#!/bin/sh\nexit 1\n")
        stub.chmod(0o755)
        port = free_port()
        command = re.sub(r"--port 5000\b", f"--host 127.0.0.1 --port {port} --device cpu", instance["onstart"])
        assert command != instance["onstart"]
        environ = {
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "TMPDIR": str(home),
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
        }
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.folder.parent,
                env=environ,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.processes.append(process)
        return port, lambda: end(process)

    def _lie(self, liar: type[Machine], onstart: str, home: Path) -> tuple[int, Callable[[], None]]:
        """Of the secret it knows what a machine is told, and no more."""
        told = dict(re.findall(r"^export (\w+)=(\w+)$", onstart, re.MULTILINE))
        machine = type(liar.__name__, (liar, _Suite), {})(b"")
        machine.pin, machine.token = bytes.fromhex(told[keys.PIN_VARIABLE]), _Token(told[keys.TOKEN_VARIABLE])
        stack = contextlib.ExitStack()
        server = stack.enter_context(listening(home, machine))
        return server.port, stack.close


class _Suite:
    """What the liars of the proof do not say of a suite: that everything has passed."""

    def on_suite(self, request: Request, plain: dict[str, Any]) -> Any:
        return {"started": True}

    def on_result(self, request: Request, plain: dict[str, Any]) -> Any:
        verdict = {"outcome": "PASS", "check": "matmul", "metric": "rate_flops", "required": True}
        checks = [{"name": name, "outcome": "PASS"} for name in read_suite("rented").tables["checks"]]
        passed = {"exit_code": 0, "conclusion": {"word": "ACCEPTED"}, "nodes": {"node": "PASS"}}
        return {**passed, "checks": checks, "verdicts": [verdict]}


class _Token(str):
    """Equal to the token of which it is the SHA-256."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and hashlib.sha256(other.encode()).hexdigest() == str(self)

    __hash__ = str.__hash__


def end(process: subprocess.Popen[bytes]) -> None:
    """End what runs on a machine; it is gone after return."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def free_port() -> int:
    """One where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
