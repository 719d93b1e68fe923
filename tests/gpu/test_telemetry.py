"""What the driver port says of a GPU is what ``nvidia-smi`` says beside it."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time

import pytest

from hpcaccept.measure.gpu import driver
from hpcaccept.measure.gpu.telemetry import sampling

_SECONDS = 4.0
_UNDER_LOAD = "clocks.sm,power.draw,temperature.gpu,pcie.link.gen.current,pcie.link.width.current"


@pytest.fixture
def program() -> str:
    found = shutil.which("nvidia-smi")
    if not found:
        pytest.skip("not run: there is no nvidia-smi")
    return found


def _query(program: str, fields: str) -> list[list[str]]:
    """A row for each GPU."""
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    return [[word.strip() for word in line.split(",")] for line in done.stdout.splitlines()]


def test_every_gpu_has_the_name_uuid_and_bus_address_of_nvidia_smi(program: str) -> None:
    with driver.installed().open() as opened:
        listed = {gpu.uuid: gpu for gpu in opened.list() if gpu.state == "ok"}
    for uuid, name, bus, memory_mib in _query(program, "uuid,name,pci.bus_id,memory.total"):
        gpu = listed[uuid]
        assert (gpu.name, gpu.pci_bus_id) == (name, bus)
        assert gpu.memory_bytes == pytest.approx(float(memory_mib) * 2**20, rel=0.03)


def test_clock_power_heat_and_link_under_load_are_those_of_nvidia_smi(program: str) -> None:
    import torch

    mine = driver.own_gpus()[0]
    command = [
        program,
        "-i",
        str(mine.uuid),
        f"--query-gpu={_UNDER_LOAD}",
        "--format=csv,noheader,nounits",
        "-lms",
        "250",
    ]
    left, right = (torch.randn(4096, 4096, device="cuda:0", dtype=torch.bfloat16) for _ in range(2))
    with (
        sampling("cuda:0", period_s=0.1) as seen,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as beside,
    ):
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            for _ in range(50):
                torch.mm(left, right)
            torch.cuda.synchronize()
        beside.terminate()
        lines = beside.communicate()[0].splitlines()
    # A virtual machine may hide one of them: "[N/A]"; the last line may be torn.
    rows = [row for row in (line.split(",") for line in lines) if len(row) == 5 and all(w.strip() for w in row)]
    columns = [[float(w) for w in column if w.strip().replace(".", "").isdigit()] for column in zip(*rows, strict=True)]
    clocks, watts, heats, generations, widths = columns
    assert seen.clock_busy_hz == pytest.approx(statistics.median(clocks) * 1e6, rel=0.10)
    # nvidia-smi gives a mean over the last second, so its first rows are of an idle GPU.
    assert seen.power_w == pytest.approx(statistics.mean(watts), rel=0.25)
    assert abs((seen.temperature_max_c or 0) - max(heats)) <= 3
    if generations and widths:
        assert (seen.pcie_gen, seen.pcie_width) == (max(generations), max(widths))
