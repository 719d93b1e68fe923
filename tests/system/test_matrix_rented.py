"""Cells on rented machines: real processes behind the loopback marketplace, rented, proven, tested and destroyed."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from support import matrix_rented, vast_cli
from support.matrix_files import outcomes, report
from support.scheduled_tree import tree_with
from support.vast_machines import Machines
from support.vast_server import VastServer, vast_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
BRANCH = """
[content]
repository = "{repository}"
branch = "main"
[tests.branch]
script = "deep/add.py"
output = "^twelve$"
from_content = true
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


def started(server: VastServer, folder: Path, options: dict[str, object], *words: str) -> subprocess.Popen[bytes]:
    """A client that may rent."""
    given = matrix_rented.words(options, "matrix", "run", "m.toml", "--yes", "--max-usd", "50", *words)
    env = vast_cli.environment(server.url)
    return subprocess.Popen(given, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def rentals(server: VastServer) -> int:
    return len([each for each in server.requests if each.startswith("PUT /api/v0/asks/")])


def test_nothing_is_rented_unasked_and_then_the_cheapest_that_fits(market: tuple[VastServer, Path]) -> None:
    server, folder = market
    files = {"deep/add.py": "print(open('word').read())\n", "word": "twelve"}
    branch = tree_with(folder / "branch", files)
    (folder / "m.toml").write_text(FILE.format(output="seven") + BRANCH.format(repository=branch))
    assert "renting spends money: add --yes and --max-usd" in run(server, folder, "run", "m.toml", code=3)
    assert not [each for each in server.requests if each.startswith("PUT")]
    run(server, folder, "run", "m.toml", "--yes", code=2)

    # The client is killed while its machine is rented: the next one takes the rental over.
    client = started(server, folder, {"small": True})
    until(lambda: bool(server.ours()))
    client.send_signal(signal.SIGKILL)
    client.wait(20)
    said = run(server, folder, "run", "m.toml", "--yes", "--max-usd", "5", code=3)
    assert "accepting@h100: goes on, attempt 1" in said
    assert rentals(server) == 1
    found = report(folder)
    assert outcomes(found) == {"accepting@h100": "PASS", "accepting@none": "NOT_RUN"}, said
    cells = {each["id"]: each for each in found["cells"]}
    assert cells["accepting@none"]["reason"] == "no machine: no 1 × B300 is offered for at most 3 USD/h"
    assert cells["accepting@h100"]["facts"]["machine.host"] == "rented machine 11"
    assert 0 < found["usd"] < 1
    log = folder / "matrix-runs" / "rented" / found["run"] / "cells" / "accepting@h100" / "1" / "test-script.log"
    assert log.read_text() == "seven\n"


#: Machine of the matrix → the request at which the process that rents for it is killed.
KILLS = {
    "search": ("POST /api/v0/bundles/", "before"),
    "create": ("PUT /api/v0/asks/N/", "before"),
    "created": ("PUT /api/v0/asks/N/", "after"),
    "list": ("GET /api/v1/instances/", "before"),
    "listed": ("GET /api/v1/instances/", "after"),
    "increases": ("GET /api/v0/instances/pending-price-increases/", "before"),
    "charges": ("GET /api/v0/charges/", "before"),
    "destroy": ("DELETE /api/v0/instances/N/", "before"),
    "destroyed": ("DELETE /api/v0/instances/N/", "after"),
    "gone": ("GET /api/v0/instances/N/", "after"),
}


def test_processes_that_rent_and_are_killed_at_any_request_leave_nothing_rented_and_no_cell_runs_twice(
    market: tuple[VastServer, Path],
) -> None:
    server, folder = market
    server.start = None
    tables = ""
    for number, name in enumerate(KILLS):
        server.offer(100 + number, num_gpus=1, gpu_name=f"GPU {name}", dph_total=1.9)
        tables += f'[machines.{name}]\ngpu_model = "GPU {name}"\nusd_per_hour = 3.0\n'
    file = f'name = "rented"\nreruns = 0\nparallel = {len(KILLS)}\n[images.i]\ncontainer = "me/i:{{cuda}}"\n{tables}[tests.t]\nimports = ["json"]\n'
    (folder / "m.toml").write_text(file)
    assert started(server, folder, {"kills": KILLS}).wait(120) == 3
    expected = {f"i@{name}": "ERROR" for name in KILLS}
    found = report(folder)
    assert outcomes(found) == expected
    assert {each["id"] for each in found["cells"] if "the job is gone without a last word" in each["reason"]} == set(
        expected
    ), found
    # What each has rented its guard destroys.
    until(lambda: not server.ours())
    assert rentals(server) == len(KILLS) - 2
    assert started(server, folder, {}).wait(60) == 3
    assert outcomes(report(folder)) == expected
    assert rentals(server) == len(KILLS) - 2
