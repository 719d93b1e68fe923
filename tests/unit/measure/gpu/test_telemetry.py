from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from support.nvml.build import build, describe, environment, h100

from hpcaccept.measure.gpu.drivers.nvidia import REASONS, decoded
from hpcaccept.measure.gpu.telemetry import Seen, sampling

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

#: ``argv``: device, the description while the block runs (or nothing), seconds.
WATCH = """
import dataclasses, json, os, sys, time
from pathlib import Path
from hpcaccept.measure.gpu.telemetry import sampling
device, later, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
with sampling(device, 0.01) as seen:
    time.sleep(seconds)
    if later:
        os.replace(later, os.environ["HPCACCEPT_FAKE_NVML"])
        time.sleep(seconds)
told = {f.name: getattr(seen, f.name) for f in dataclasses.fields(seen) if f.name != "clock_limits"}
print(json.dumps({**told, "reasons": seen.reasons, "busy_reasons": seen.busy_reasons}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def watch(library: Path, tmp_path: Path) -> Any:
    def watch(
        *gpus: dict[str, str],
        device: str = "cuda:0",
        then: list[dict[str, str]] | None = None,
        env: dict[str, str] | None = None,
        seconds: float = 0.2,
    ) -> dict[str, Any]:
        node = describe(tmp_path / "node", gpus)
        later = str(describe(tmp_path / "later", then)) if then else ""
        inherited = {key: text for key, text in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        done = subprocess.run(
            [sys.executable, "-c", WATCH, device, later, str(seconds)],
            check=True,
            capture_output=True,
            text=True,
            env={**inherited, **environment(library, node), **(env or {})},
        )
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen

    return watch


def test_clock_power_heat_and_link_of_a_busy_gpu(watch: Any) -> None:
    seen = watch(h100(0, clock_mhz="1410", power_mw="612000", temperature_c="66"))
    assert seen["clock_hz"] == seen["clock_busy_hz"] == 1410e6
    assert seen["power_w"] == pytest.approx(612, rel=0.01)
    assert seen["energy_j"] == pytest.approx(612 * seen["duration_s"], rel=0.2)
    assert seen["temperature_max_c"] == 66
    assert (seen["pcie_gen"], seen["pcie_width"]) == (5, 16)
    assert seen["samples"] > 3
    assert seen["missing"] == {}
    assert seen["why_not"] == ""


def test_what_the_thread_costs_is_told(watch: Any) -> None:
    seen = watch(h100(0))
    assert 0 < seen["cost_s"] < seen["duration_s"]


def test_the_highest_temperature_stays(watch: Any) -> None:
    assert watch(h100(0, temperature_c="80"), then=[h100(0, temperature_c="40")])["temperature_max_c"] == 80


@pytest.mark.parametrize("said", ["0", "255"])
def test_a_temperature_that_no_gpu_at_work_has_is_not_believed(watch: Any, said: str) -> None:
    seen = watch(h100(0, temperature_c=said))
    assert seen["temperature_max_c"] is None
    assert seen["missing"]["temperature"] == f"the driver says {said} °C, expected 1 to 150 °C of a GPU at work"


def test_idle_samples_do_not_count_where_the_busy_ones_are_asked_for(watch: Any) -> None:
    seen = watch(h100(0, reasons="0x1", clock_mhz="345"), then=[h100(0, reasons="0x8", clock_mhz="990")])
    assert 0 < seen["reasons"]["idle"] < 1
    assert seen["busy_reasons"] == {"hw_slowdown": 1.0}
    assert seen["clock_busy_hz"] == 990e6
    assert 345e6 < seen["clock_hz"] < 990e6


def test_the_gpu_behind_cuda_visible_devices_is_sampled(watch: Any) -> None:
    gpus = [h100(n, clock_mhz=str(1000 + n)) for n in range(4)]
    assert watch(*gpus, device="cuda:1", env={"CUDA_VISIBLE_DEVICES": "0,3"})["clock_hz"] == 1003e6


def test_an_unknown_function_costs_only_its_number(watch: Any) -> None:
    seen = watch(h100(0, clock_mhz="!function_not_found", energy_mj="!not_supported", power_mw="500000"))
    assert seen["clock_hz"] is None
    assert seen["energy_j"] is None
    assert seen["power_w"] == 500
    assert seen["missing"] == {"clock": "Function Not Found", "energy": "Not Supported"}


def test_a_gpu_that_gets_lost_ends_the_sampling_and_is_told(watch: Any) -> None:
    seen = watch(h100(0), then=[h100(0, state="lost_later")])
    assert seen["lost"] is True
    assert seen["clock_hz"] == 1755e6


def test_while_a_gpu_is_lost_no_other_is_taken_for_the_one_asked_for(watch: Any) -> None:
    seen = watch(h100(0), h100(1, state="lost"), h100(2), device="cuda:2")
    assert seen["samples"] == 0
    assert "GPU 1 is lost" in seen["why_not"]


def test_a_device_that_is_not_there_says_so(watch: Any) -> None:
    assert "not among the 1 GPUs" in watch(h100(0), device="cuda:4")["why_not"]


def test_a_cpu_has_nothing_to_see() -> None:
    with sampling("cpu") as seen:
        pass
    assert seen.why_not == "cpu is not a GPU"
    assert (seen.clock_hz, seen.power_w, seen.energy_j, seen.temperature_max_c) == (None, None, None, None)
    assert seen.reasons == {}


def test_an_error_of_the_load_passes_through() -> None:
    with pytest.raises(RuntimeError, match="of the load"), sampling("cpu"):
        raise RuntimeError("of the load")


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0, ()),
        (0x4, ("sw_power_cap",)),
        (0x48, ("hw_slowdown", "hw_thermal_slowdown")),
        (0x2000, ("0x2000",)),
        (0x8000_0000_0000_0001, ("idle", "0x8000000000000000")),
        (0x7FF, tuple(REASONS.values())),
    ],
)
def test_every_bit_of_a_mask_is_decoded(mask: int, names: tuple[str, ...]) -> None:
    assert decoded(mask) == names


def test_reasons_at_once_count_each_for_itself() -> None:
    seen = Seen(clock_limits=Counter({decoded(0x48): 1, decoded(0x8): 1, (): 2}))
    assert seen.reasons == {"hw_slowdown": 0.5, "hw_thermal_slowdown": 0.25}
