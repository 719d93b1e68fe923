"""A vendor of GPUs that nobody sells, in this one file: its driver, its device files, the variable that hides its GPUs.

Its GPUs compute on the CPU, as torch has no device for them. Everything that speaks of GPUs is asked through the port.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.solo_context import SoloContext
from support.submission import submit, suite_file

from hpcaccept.app.doctor.nodes import gpus as gpus_look
from hpcaccept.checks.health import Health
from hpcaccept.checks.identity import Identity
from hpcaccept.checks.requirements import Requirements
from hpcaccept.launch import local
from hpcaccept.measure.gpu import driver, drivers, telemetry
from hpcaccept.model.check import Unavailable
from hpcaccept.model.doctor.probe import ProbeRequest, ProbeResult
from hpcaccept.parse.probe_lines import ProbeReader
from hpcaccept.serial import dumps

if TYPE_CHECKING:
    from pathlib import Path

VENDOR = '''
"""Two GPUs of the toy vendor, as the JSON file in TOY_STATE describes them."""

import contextlib, json, os
from pathlib import Path
from hpcaccept.measure.gpu.driver import DriverMissing, ErrorEvent, Gpu, NoAnswer, State, Vendor

def state():
    return json.loads(Path(os.environ["TOY_STATE"]).read_text())

class ToyEvents:
    def __init__(self):
        self.told = len(state()["events"])
    def next(self, timeout_s):
        codes = state()["events"][self.told:]
        self.told += len(codes[:1])
        return ErrorEvent(codes[0], "fault", "burst", "Quack") if codes else None
    def close(self):
        pass

class ToyGpu:
    event_family = "Quack"
    def __init__(self, gpu):
        self.gpu = gpu
    def counters(self):
        return State(numbers=state()["numbers"], recovery="", missing={"links": "it has none", "fabric": "it has none"})
    def telemetry(self, what):
        found = state()["telemetry"].get(what)
        return NoAnswer("a toy cannot say", harmless=True) if found is None else found
    def clock_limit_reasons(self):
        return tuple(state()["reasons"])
    def events(self):
        return ToyEvents()
    def connection(self, other):
        return "a rubber band"

class ToyDriver:
    def versions(self):
        return {"driver": "toy 0.7", "toy_firmware": "9"}
    def list(self, fields=()):
        return tuple(map(self.identity, range(state()["count"])))
    def identity(self, index):
        return Gpu(index, "ok", name="Toy 3000", uuid=f"TOY-{index}", pci_bus_id=f"00000000:0{index + 1}:00.0",
                   memory_bytes=1 << 30, pcie_gen_max=5, pcie_width_max=16, driver="toy 0.7")
    def open(self, gpu):
        return ToyGpu(gpu)
    def unclaimed(self, listed):
        return ()

@contextlib.contextmanager
def open_driver():
    if not Path(os.environ.get("TOY_STATE", "")).is_file():
        raise DriverMissing("the toy box is shut", "Open it.")
    yield ToyDriver()

def visible(found, wanted):
    return tuple(found) if wanted is None else tuple(found[int(number)] for number in wanted.split("+"))

VENDOR = Vendor(
    name="Toy", torch_device=os.environ.get("TOY_TORCH", "cpu"), device_files="toys/box[0-9]*",
    visible_variable="TOY_VISIBLE_DEVICES", look="toy-smi", missing_look="toy-smi --lost", query="toy-smi -a",
    holders="toy-smi --who", available=lambda: "TOY_STATE" in os.environ, open=open_driver, visible=visible,
)
'''
#: Every Python of a run begins with it: from then on the toy vendor is the only one.
SITECUSTOMIZE = "from hpcaccept.measure.gpu import drivers\ndrivers.__path__[:] = [{folder!r}]\n"
SUITE = "[checks.identity]\n[checks.matmul]\ndtypes = ['fp32']\nsize = 128\nblocks = 2\nblock_s = 0.1\n[checks.health]\nperiod_s = 0.02\n"
SUITE += '[limits."matmul.rate_flops"]\nlower = 1e6\nunit = "FLOP/s"\n'
HEALTHY: dict[str, Any] = {
    "count": 2,
    "events": [],
    "reasons": [],
    "numbers": {
        "memory_errors.corrected": 0, "memory_errors.uncorrected": 0, "pcie_gen_max.generation": 5, "pcie_width_max.lanes": 16,
        "memory.total": 1 << 30, "memory.used": 1 << 20, "slowdown.celsius": 90,
    },
    "telemetry": {
        "clock": 1e9, "power": 33.0, "temperature": 44.0, "pcie_gen": 5, "pcie_width": 16,
        "pcie_gen_max": 5, "pcie_width_max": 16, "memory_used": 1 << 20, "memory_total": 1 << 30,
    },
}  # fmt: skip


class Box:
    """Where the toy driver lies, and what its GPUs are like at this moment."""

    def __init__(self, folder: Path) -> None:
        self.vendors = folder / "vendors"
        self.vendors.mkdir()
        (self.vendors / "toy.py").write_text(VENDOR)
        self.state = folder / "toys.json"
        self.become()

    def become(self, numbers: dict[str, float] | None = None, **changes: Any) -> None:
        """Healthy but for these; in one step, as threads are reading."""
        numbers = {**HEALTHY["numbers"], **(numbers or {})}
        new = self.state.with_suffix(".new")
        new.write_text(json.dumps({**HEALTHY, "numbers": numbers, **changes}))
        new.replace(self.state)

    def environment(self, folder: Path) -> dict[str, str]:
        """What a child process needs to have this vendor and no other."""
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE.format(folder=str(self.vendors)))
        path = os.pathsep.join([str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {"PYTHONPATH": path, "TOY_STATE": str(self.state)}


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    """The toy vendor beside the shipped ones, in this process."""
    found = Box(tmp_path)
    monkeypatch.setenv("TOY_STATE", str(found.state))
    monkeypatch.setattr(drivers, "__path__", [*drivers.__path__, str(found.vendors)])
    nvidia = dataclasses.replace(driver.load("nvidia"), available=lambda: False)
    monkeypatch.setattr("hpcaccept.measure.gpu.drivers.nvidia.VENDOR", nvidia)
    monkeypatch.delitem(sys.modules, f"{drivers.__name__}.toy", raising=False)
    return found


def solo(check: Any, tmp_path: Path, **more: Any) -> SoloContext:
    outputs = tmp_path / "outputs" / "00"
    outputs.mkdir(parents=True, exist_ok=True)
    return SoloContext(check, gpus_asked=2, folder=outputs, **more)


def test_one_file_makes_a_vendor_and_it_is_taken_where_its_gpus_are(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    assert driver.names() == ("nvidia", "toy")
    assert driver.installed().name == "Toy"
    monkeypatch.delenv("TOY_STATE")
    assert driver.installed().name == "NVIDIA"


def test_its_device_files_are_counted_by_the_local_launcher(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dev" / "toys").mkdir(parents=True)
    for name in ("toys/box0", "toys/box1", "toys/box1-control", "toys/boxes"):
        (tmp_path / "dev" / name).touch()
    found = driver.device_files(tmp_path / "dev")
    assert [file.name for file in found] == ["box0", "box1"]
    monkeypatch.setattr(driver, "device_files", lambda: found)
    assert local.default_gpus("") == 2


def test_identity_names_its_gpus_its_versions_and_its_variable(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = solo(Identity(), tmp_path).run()
    assert ctx.value("gpu_count") == 2
    assert (ctx.facts["gpu_model"], ctx.facts["driver"], ctx.facts["toy_firmware"]) == ("Toy 3000", "toy 0.7", "9")
    assert "cuda_driver" not in ctx.facts
    monkeypatch.setenv("TOY_VISIBLE_DEVICES", "1")
    ctx = solo(Identity(), tmp_path).run()
    assert ctx.facts["gpus"] == "the driver counts 2; TOY_VISIBLE_DEVICES='1' leaves 1"
    assert ctx.facts["gpu_uuid"] == "TOY-1"


def test_requirements_are_read_from_its_driver(box: Box, tmp_path: Path) -> None:
    ctx = solo(Requirements(), tmp_path).run()
    assert ctx.value("gpu_models") == 1
    assert ctx.value("free_memory_share", "GPU 1") == 1 - 2**20 / 2**30
    assert ctx.refused["cuda_version"] == "the driver does not say"


def test_a_driver_that_is_shut_is_told_in_its_own_words(box: Box, tmp_path: Path) -> None:
    box.state.unlink()
    assert solo(Identity(), tmp_path).run().facts["gpus"] == "the toy box is shut. Open it."
    with pytest.raises(Unavailable, match="the toy box is shut"):
        solo(Health(), tmp_path).run()


def watched(box: Box, tmp_path: Path, **later: Any) -> SoloContext:
    """The check ``health`` of the first toy, which becomes this while it is watched."""
    ctx = solo(Health(period_s=0.01), tmp_path)
    ctx.begun = ctx.check.begin(ctx)
    box.become(**later)
    end = time.monotonic() + 10
    while ctx.begun.seen.samples < 8 and time.monotonic() < end:
        time.sleep(0.005)
    ctx.check.compare(ctx, ctx.check.measure(ctx))
    return ctx


def test_health_counts_what_rose_under_load_and_hears_its_errors(box: Box, tmp_path: Path) -> None:
    ctx = watched(box, tmp_path, numbers={"memory_errors.uncorrected": 3}, events=[7], reasons=["hw_slowdown"])
    assert ctx.value("lost") == 0
    assert ctx.value("ecc_uncorrected") == 3
    assert ctx.value("xid_faults", "Quack 7 (burst)") == 1
    assert ctx.value("throttled_share", "hw_slowdown") > 0
    assert (ctx.value("power_w"), ctx.value("temperature_max")) == (33.0, 44.0)
    assert ctx.value("temperature_margin") == 46
    assert (ctx.value("pcie_generations_lost"), ctx.value("pcie_lanes_lost")) == (0, 0)
    assert ctx.refused["nvlink_errors"] == "NVLink: it has none"
    assert ctx.refused["energy_j"] == "a toy cannot say"


def test_telemetry_watches_the_gpu_that_torch_calls_by_the_vendors_word(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_TORCH", "toy")
    with telemetry.sampling("toy:1", period_s=0.01) as seen:
        time.sleep(0.1)
    assert (seen.clock_hz, seen.power_w) == (1e9, 33.0)
    with telemetry.sampling("toy:2") as seen:
        pass
    assert seen.why_not == "toy:2 is not among the 2 GPUs that this process may see"
    with telemetry.sampling("cuda:0") as seen:
        pass
    assert seen.why_not == "cuda:0 is not a GPU"


def test_the_doctor_counts_its_gpus_and_says_what_its_owner_types(box: Box, tmp_path: Path) -> None:
    env = {**os.environ, **box.environment(tmp_path), "HPCACCEPT_NODE": "me", "TOY_VISIBLE_DEVICES": "0"}
    request = ProbeRequest(gpus=2, torch="none", timeout_s=30)
    command = [sys.executable, "-m", "hpcaccept.rank.probe", dumps(request)]
    done = subprocess.run(command, input="", capture_output=True, text=True, env=env, timeout=60, check=False)
    heard = ProbeReader()
    for line in done.stdout.splitlines():
        heard.add(time.time(), line)
    (facts,) = heard.facts.values()
    assert (facts.gpus, facts.no_gpus) == (1, "the driver counts 2; TOY_VISIBLE_DEVICES=0"), done.stderr
    case: Any = type("Case", (), {"request": type("Request", (), {"gpus_per_node": 2})})
    (found,) = gpus_look.judge(case, ProbeResult((facts,), (), asked=1))
    assert (found.mark, found.remedy) == ("wrong", "There: toy-smi")


@pytest.mark.mpi
def test_a_whole_local_run_accepts_a_node_of_toys(tmp_path: Path) -> None:
    box = Box(tmp_path)
    words = ("--nodes", "1", "--gpus-per-node", "2", "--launcher", "local")
    done = submit(tmp_path / "runs", suite_file(tmp_path, SUITE), *words, env=box.environment(tmp_path)).finish()
    assert done.code == 0, done.out + done.err
    passed = {(v["check"], v["metric"]) for v in done.verdicts(outcome="PASS")}
    assert passed >= {
        ("identity", "gpu_count"),
        ("matmul", "wrong_elements"),
        ("health", "lost"),
        ("health", "ecc_uncorrected"),
    }
    assert {v["device"] for v in done.verdicts(check="health", metric="lost")} == {"cpu:0", "cpu:1"}
    records = [
        json.loads(x)["data"]
        for x in (done.folder / "records/00/r000001.jsonl").read_text().splitlines()
        if '"record"' in x
    ]
    (product,) = [record for record in records if record["check"] == "matmul"]
    assert (product["device_model"], product["outcome"]) == ("Toy 3000", "measured")
