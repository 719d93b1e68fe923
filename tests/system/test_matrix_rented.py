"""Cells on rented machines: real processes behind the loopback marketplace, rented, proven, tested and destroyed."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from support import matrix_rented, vast_cli
from support.matrix_files import outcomes, report
from support.vast_machines import Machines
from support.vast_server import VastServer, vast_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

FILE = """
name = "rented"
reruns = 0
[images.accepting]
container = "me/hpcaccept:cuda-{{cuda}}"
[machines.h100]
gpu_model = "H100 SXM"
gpus = 1
usd_per_hour = 3.0
[machines.none]
gpu_model = "B300"
usd_per_hour = 3.0
[tests.imports]
imports = ["hpcaccept", "numpy"]
limit_s = 60
[tests.script]
script = "say.py"
output = "^{output}$"
limit_s = 60
"""


@pytest.fixture
def market(tmp_path: Path) -> Iterator[tuple[VastServer, Path]]:
    """One machine that fits, one that costs too much, and instances of others."""
    with vast_server() as server:
        others = server.foreign(5)
        machines = Machines(tmp_path / "machines")
        server.start = machines.start
        server.offer(10, num_gpus=1, gpu_name="H100 SXM", dph_total=9.0, total_flops=989.0)
        server.offer(11, num_gpus=1, gpu_name="H100 SXM", dph_total=1.9, total_flops=989.0)
        (tmp_path / "m.toml").write_text(FILE.format(output="seven"))
        (tmp_path / "say.py").write_text("print('seven')\n")
        yield server, tmp_path
        assert server.ours() == []
        assert set(others) <= set(server.instances)
        assert all(process.poll() is not None for process in machines.processes)


def run(server: VastServer, folder: Path, *words: str, code: int) -> str:
    done = subprocess.run(
        matrix_rented.words({"small": True}, "matrix", *words),
        cwd=folder, env=vast_cli.environment(server.url), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_nothing_is_rented_unasked_and_then_the_cheapest_that_fits(market: tuple[VastServer, Path]) -> None:
    server, folder = market
    assert "renting spends money: add --yes and --max-usd" in run(server, folder, "run", "m.toml", code=3)
    assert not [each for each in server.requests if each.startswith("PUT")]
    run(server, folder, "run", "m.toml", "--yes", code=2)

    said = run(server, folder, "run", "m.toml", "--yes", "--max-usd", "5", code=3)
    found = report(folder)
    assert outcomes(found) == {"accepting@h100": "PASS", "accepting@none": "NOT_RUN"}, said
    cells = {each["id"]: each for each in found["cells"]}
    assert cells["accepting@none"]["reason"] == "no machine: no 1 × B300 is offered for at most 3 USD/h"
    assert cells["accepting@h100"]["facts"]["machine.host"] == "rented machine 11"
    assert 0 < found["usd"] < 1
    log = folder / "matrix-runs" / "rented" / found["run"] / "cells" / "accepting@h100" / "1" / "test-script.log"
    assert log.read_text() == "seven\n"


def test_a_process_that_rents_and_is_killed_leaves_nothing_rented(market: tuple[VastServer, Path]) -> None:
    server, folder = market
    (folder / "say.py").write_text("import time\ntime.sleep(60)\n")
    words = ("run", "m.toml", "--yes", "--max-usd", "5", "--machine", "h100")
    client = subprocess.Popen(
        matrix_rented.words({"small": True}, "matrix", *words), cwd=folder, env=vast_cli.environment(server.url),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not server.ours():
        assert time.monotonic() < end
        time.sleep(0.1)
    renting = [p for p in psutil.process_iter(["cmdline"]) if "rent" in (p.info["cmdline"] or []) and str(folder) in str(p.info["cmdline"])]  # fmt: skip
    assert len(renting) == 1
    renting[0].send_signal(signal.SIGKILL)
    assert client.wait(60) == 3
    assert outcomes(report(folder))["accepting@h100"] == "ERROR"
    while server.ours():
        assert time.monotonic() < end + 60
        time.sleep(0.1)
    assert len([each for each in server.requests if each.startswith("PUT /api/v0/asks/")]) == 1
