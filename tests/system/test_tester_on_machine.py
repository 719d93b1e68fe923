"""The tester as a rented machine runs it: a real process in a network namespace of its own, asked from outside over a real network."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from support import ssh_hosts
from support.submission import noise, suite_file

from hpcaccept.app.tester import keys, remote
from hpcaccept.app.tester.examine import Claim, Plan, examine
from hpcaccept.app.tester.remote import RemoteTester
from hpcaccept.proof import memory
from hpcaccept.proof.challenge import Challenge
from hpcaccept.proof.judge import overall
from hpcaccept.transport.tester_client import TesterFault as Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.mpi,
    pytest.mark.slow,
    pytest.mark.skipif(bool(ssh_hosts.why_not()), reason=ssh_hosts.why_not()),
]
SMALL = Challenge("0" * 64, 64, 64, 8, 4)
FILLING = memory.filling(b"0" * 32, 1 << 19, width=128, steps=64)
#: Of a machine whose processor has seconds for milliseconds of work: what is loaded beside it is not what is asked about here.
PLAN = Plan(
    challenge=SMALL,
    filling=FILLING,
    openings=32,
    groups=2,
    transfer_bytes=1 << 22,
    floor_ops=SMALL.ops / 60,
    peak_ops=FILLING.ops / 10,
)
PORT = 5000


class Rented:
    """One machine with two processors in the place of GPUs."""

    def __init__(self, folder: Path, hosts: ssh_hosts.Hosts) -> None:
        self.folder, self.hosts, self.secret = folder, hosts, keys.new_secret()
        self.suite = suite_file(folder, noise(0.3))

    def boot(self, *options: str) -> subprocess.Popen[bytes]:
        words = [
            "tester",
            "serve",
            "--port",
            str(PORT),
            "--device",
            "cpu",
            "--device",
            "cpu",
            "--suite",
            str(self.suite),
            *options,
        ]
        env = {
            **keys.environment(self.secret),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "VAST_API_KEY": "dummy-of-the-account",
        }
        return self.hosts.spawn(0, [sys.executable, "-m", "hpcaccept", *words], env=env)

    def connect(self, secret: bytes | None = None) -> RemoteTester:
        end = time.monotonic() + 60
        while True:
            try:
                return RemoteTester.connect(self.hosts.address(0), PORT, secret or self.secret, global_only=False)
            except Fault as fault:
                if fault.fault != "network" or time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def ready(self) -> RemoteTester:
        tester = self.connect()
        end = time.monotonic() + 120
        while not tester.status().ready:
            assert time.monotonic() < end, tester.status()
            time.sleep(0.3)
        return tester


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rented]:
    folder = tmp_path_factory.mktemp("rented")
    with ssh_hosts.network(folder, 1) as hosts:
        rented = Rented(folder, hosts)
        rented.boot()
        yield rented


def test_a_machine_is_verified_and_does_its_suite(machine: Rented) -> None:
    tester = machine.ready()
    found = examine(tester, Claim("machine 7", "two processors", 2), PLAN)
    assert overall(found.verdicts) == "verified", [v.text for v in found.verdicts]
    assert [v.subject for v in found.verdicts] == ["gpu 0", "gpu 1", "memory of gpu 0", "memory of gpu 1"]
    assert [t.size_bytes for t in found.transfers] == [1 << 22, 1 << 22]

    tester.start_suite()
    end = time.monotonic() + 120
    while not remote.is_over(lines := tester.progress()):
        assert time.monotonic() < end, lines
        time.sleep(0.3)
    assert lines[-1] == "DONE", lines
    report = json.loads(tester.result())
    assert (report["exit_code"], report["suite"]["name"]) == (0, machine.suite.stem)


def test_nothing_that_it_started_was_told_a_secret(machine: Rented) -> None:
    machine.ready()
    listed = subprocess.run(
        ["ip", "netns", "pids", f"{machine.hosts.prefix}0"], capture_output=True, text=True, check=True
    )
    started = []
    for pid in map(int, listed.stdout.split()):
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            assert not any(
                secret in " ".join(process.cmdline()) for secret in keys.environment(machine.secret).values()
            )
            if "worker" in process.cmdline():
                started.append(process)
                assert not [
                    name for name in process.environ() if name.startswith("HPCACCEPT_TESTER_") or name == "VAST_API_KEY"
                ]
    assert len(started) == 2


def test_who_has_another_secret_is_refused_before_a_token_is_sent(machine: Rented) -> None:
    machine.ready()
    with pytest.raises(Fault) as fault:
        machine.connect(keys.new_secret())
    assert fault.value.fault == "certificate"


def test_a_tester_that_is_started_again_is_another_one_and_leaves_nothing(tmp_path: Path) -> None:
    with ssh_hosts.network(tmp_path, 1) as hosts:
        rented = Rented(tmp_path, hosts)
        first = rented.boot()
        tester = rented.connect()
        first.send_signal(signal.SIGTERM)
        assert first.wait(30) == 0
        left = subprocess.run(["ip", "netns", "pids", f"{hosts.prefix}0"], capture_output=True, text=True, check=True)
        assert left.stdout.split() == []
        rented.boot("--lifetime", "120")
        again = rented.connect()
        assert again.fingerprint != tester.fingerprint
        with pytest.raises(Fault) as fault:
            tester.status()
        assert fault.value.fault == "certificate"


def test_it_ends_by_itself(tmp_path: Path) -> None:
    with ssh_hosts.network(tmp_path, 1) as hosts:
        assert Rented(tmp_path, hosts).boot("--lifetime", "2").wait(60) == 0


def test_without_its_keys_it_does_not_listen() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HPCACCEPT_")}
    done = subprocess.run(
        [sys.executable, "-m", "hpcaccept", "tester", "serve", "--port", "0"], env=environ, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 2
    assert "HPCACCEPT_TESTER_KEY" in done.stderr
