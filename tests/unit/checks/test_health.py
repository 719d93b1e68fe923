from __future__ import annotations

import contextlib
import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.nvml.build import build, describe, environment, h100
from support.solo_context import SoloContext
from support.warm_python import WarmPython, warm_python

from hpcaccept.checks.health import Health
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hpcaccept.model.metric import Metric

pytestmark = pytest.mark.slow

WHO = "GPU 0 at 00000000:18:00.0 uuid GPU-00000000-aaaa-bbbb-cccc-000000000000 serial 1652324000000"
METRICS: dict[str, Metric] = {metric.name: metric for metric in Health.metrics}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def old_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("old"), "OLD_DRIVER")


class Found:
    """What the check found of one GPU."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.samples: dict[str, float] = said["samples"]
        self.facts: dict[str, str] = said["facts"]
        self.refused: dict[str, str] = said["refused"]
        self.kept: dict[str, str] = said["kept"]
        self.outcome, self.cause, self.remedy = said["outcome"], said["cause"], said["remedy"]
        self.heavy: list[str] = said["heavy"]

    @property
    def failing(self) -> list[str]:
        """Keys of the values outside their limits, as the judge would call them FAIL."""
        limits = {key: METRICS[key.partition("[")[0]].limit for key in self.samples}
        return sorted(key for key, limit in limits.items() if limit and not limit.met_by(self.samples[key]))


@pytest.fixture(scope="module")
def started() -> Iterator[Callable[[Path], WarmPython]]:
    """An interpreter that looks for a library there and has not loaded it yet."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def start(library: Path) -> WarmPython:
            variables = environment(library, Path(os.devnull))
            return stack.enter_context(warm_python("support.nvml.watched:main", variables))

        yield start


@pytest.fixture
def watched(library: Path, started: Callable[[Path], WarmPython], tmp_path: Path) -> Any:
    """The check on a described node, in a process of its own; ``scenes`` are what the node becomes under load."""

    def watch(
        *scenes: list[dict[str, str]],
        local_rank: int = 0,
        asked: int = 8,
        built: Path | None = None,
        params: dict[str, Any] | None = None,
        step: str = "00",
        env: dict[str, str] | None = None,
    ) -> Found:
        node = describe(tmp_path / "node", scenes[0])
        wanted = {
            "local_rank": local_rank,
            "asked": asked,
            "params": {"period_s": 0.01, **(params or {})},
            "scenes": scenes[1:],
            "step": step,
        }
        inherited = {key: text for key, text in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        known = built or library
        done = started(known).run(json.dumps(wanted), env={**inherited, **environment(known, node), **(env or {})})
        assert done.returncode == 0, done.stderr
        return Found(json.loads(done.stdout))

    return watch


# --- healthy ----------------------------------------------------------------------------------------------------------


def test_a_healthy_gpu_meets_every_limit_and_leaves_none_open(watched: Any) -> None:
    found = watched([h100(0)])
    assert found.outcome == "measured"
    assert found.failing == []
    judged = {name for name, metric in METRICS.items() if metric.limit}
    answered = {key.partition("[")[0] for key in found.samples}
    # An H100 replaces rows instead of retiring pages.
    assert judged - answered == {"pages_retired", "retirement_pending"}
    assert found.refused == {}


def test_neither_torch_nor_mpi_is_needed(watched: Any) -> None:
    assert watched([h100(0)]).heavy == []


def test_a_rank_speaks_of_its_own_gpu(watched: Any) -> None:
    gpus = [h100(n, **({"ecc_volatile": "0/0", "temperature_c": "71"} if n == 5 else {})) for n in range(8)]
    found = watched(gpus, local_rank=5)
    assert found.facts["gpu_uuid"] == "GPU-00000005-aaaa-bbbb-cccc-000000000005"
    assert found.samples["temperature_max"] == 71


def test_a_temperature_of_255_blames_nobody_and_passes_nothing(watched: Any) -> None:
    found = watched([h100(0, temperature_c="255")])
    assert "temperature_margin" not in found.samples
    assert "255" in found.refused["temperature_margin"]


def test_the_gpu_behind_cuda_visible_devices_is_watched(watched: Any) -> None:
    found = watched([h100(n) for n in range(8)], local_rank=1, env={"CUDA_VISIBLE_DEVICES": "6,7"})
    assert found.facts["gpu_index"] == "7"


def test_power_and_energy_come_from_the_counter_of_the_gpu(watched: Any) -> None:
    found = watched([h100(0, power_mw="412000", energy_mj="7000000")])
    assert found.samples["power_w"] == pytest.approx(412, rel=0.01)
    assert found.samples["energy_j"] < 1000


def test_totals_of_a_lifetime_are_told_and_not_judged(watched: Any) -> None:
    found = watched([h100(0, ecc_volatile="70/0", ecc_aggregate="900/4", remaps="3/1/0/0", pcie_replays="55")])
    assert found.failing == []
    assert "ecc_lifetime.uncorrected 4" in found.facts["totals"]
    assert "remaps.uncorrected 1" in found.facts["totals"]


def test_without_gpus_asked_for_nothing_is_measured() -> None:
    ctx = SoloContext(Health())
    ctx.begun = ctx.check.begin(ctx)
    with pytest.raises(Unavailable, match="no GPU was asked for"):
        ctx.check.measure(ctx)


# --- bad days under load ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "failing"),
    [
        ({}, {"ecc_volatile": "0/1"}, ["ecc_uncorrected"]),
        ({"ecc_volatile": "5/7"}, {"ecc_volatile": "5/8"}, ["ecc_uncorrected", "ecc_uncorrected_before"]),
        ({}, {"ecc_volatile": "20000/0"}, ["ecc_corrected_rate"]),
        ({}, {"sram": "0/1/0"}, ["ecc_uncorrected[sram]"]),
        ({}, {"sram": "0/0/1"}, ["sram_threshold"]),
        ({"remaps": "2/0/0/0"}, {"remaps": "3/0/0/0"}, ["row_remaps[corrected]"]),
        ({}, {"remaps": "0/1/1/0"}, ["remap_pending", "row_remaps[uncorrected]"]),
        ({}, {"remaps": "0/0/0/1"}, ["remap_failure"]),
        (
            {"remaps": "!not_supported", "retired": "3/0", "retired_pending": "disabled"},
            {"remaps": "!not_supported", "retired": "3/1", "retired_pending": "enabled"},
            ["pages_retired[uncorrected]", "retirement_pending"],
        ),
        ({}, {"recovery_action": "1"}, ["recovery_needed"]),
        ({"pcie_replays": "100"}, {"pcie_replays": "140"}, ["pcie_replay_rate"]),
        ({}, {"nvlink_errors": "3:replay:1"}, ["nvlink_errors[link 3 replay]"]),
        (
            {"nvlink_errors": "3:crc_flit:5"},
            {"nvlink_errors": "3:crc_flit:90000"},
            ["nvlink_crc_rate[link 3 crc_flit]"],
        ),
        (
            {"nvlink_version": "5"},
            {"nvlink_version": "5", "nvlink_errors": "17:recovery_failed:2"},
            ["nvlink_errors[link 17 recovery_failed]"],
        ),
        ({}, {"nvlinks": "111111111111110011"}, ["nvlinks_missing[link 14, 15]"]),
        ({}, {"fabric": "in_progress"}, ["fabric_faults"]),
        ({}, {"fabric_health": "0x1"}, ["fabric_faults"]),
        ({}, {"temperature_c": "91"}, ["temperature_margin"]),
        ({}, {"vbios": "96", "ecc_volatile": "!unknown"}, ["query_errors[ecc]"]),
        ({}, {"remaps": "!corrupted_inforom"}, ["query_errors[remaps]"]),
        ({}, {"pcie_replays": "!reset_required"}, ["query_errors[replays]"]),
    ],
)
def test_what_changes_under_load_fails_by_its_name(
    watched: Any, before: dict[str, str], after: dict[str, str], failing: list[str]
) -> None:
    found = watched([h100(0, **before)], [h100(0, **after)])
    assert found.failing == failing
    assert found.outcome == "measured"


@pytest.mark.parametrize(
    ("changes", "failing"),
    [({"pcie_gen": "3"}, ["pcie_generations_lost"]), ({"pcie_width": "8"}, ["pcie_lanes_lost"])],
)
def test_a_pcie_link_below_its_best_fails_when_the_gpu_was_busy(
    watched: Any, changes: dict[str, str], failing: list[str]
) -> None:
    assert watched([h100(0, **changes)]).failing == failing


def test_a_link_that_wakes_up_under_load_is_whole(watched: Any) -> None:
    asleep = h100(0, pcie_gen="1", reasons="0x1", clock_mhz="345")
    found = watched([asleep], [h100(0)], [asleep])
    assert found.samples["pcie_generation"] == 5
    assert found.samples["pcie_generations_lost"] == 0
    assert found.samples["clock_hz"] == 1755e6


def test_an_idle_gpu_is_not_blamed_for_its_sleeping_link_and_nothing_is_said_of_throttling(watched: Any) -> None:
    found = watched([h100(0, pcie_gen="1", reasons="0x1")])
    assert found.failing == []
    assert "never busy" in found.refused["pcie_generations_lost"]
    assert {"throttled_share", "sw_thermal_share"} <= set(found.refused)
    assert "throttled_share" not in {key.partition("[")[0] for key in found.samples}


def test_a_counter_that_was_reset_in_the_run_counts_from_nothing(watched: Any) -> None:
    found = watched([h100(0, ecc_volatile="0/9")], [h100(0, ecc_volatile="0/2")])
    assert found.samples["ecc_uncorrected"] == 2
    assert found.samples["ecc_uncorrected_before"] == 9
    assert "reset in the run" in found.facts["reset[ecc.uncorrected]"]


def test_what_rose_in_a_step_that_crashed_is_judged_in_the_next_one(watched: Any) -> None:
    watched([h100(0, ecc_volatile="0/4")], step="00")
    found = watched([h100(0, ecc_volatile="0/6", nvlink_errors="5:recovery:1")], step="01")
    assert found.failing == ["ecc_uncorrected", "ecc_uncorrected_before", "nvlink_errors[link 5 recovery]"]
    assert found.samples["ecc_uncorrected_before"] == 4
    assert found.samples["ecc_uncorrected"] == 2


def test_a_gpu_that_was_lost_in_a_step_that_crashed_is_named_in_the_next_one(watched: Any) -> None:
    watched([h100(0)], step="00")
    found = watched([h100(0, state="lost")], step="01")
    assert found.failing == [f"lost[{WHO}]"]


def test_the_first_look_at_another_part_is_no_first_look(watched: Any) -> None:
    watched([h100(0, pcie_replays="4")], step="00")
    found = watched([h100(0, pcie_replays="400", uuid="GPU-another")], step="01")
    assert found.failing == []


def test_a_torn_first_look_is_none(watched: Any, tmp_path: Path) -> None:
    (tmp_path / "outputs" / "00").mkdir(parents=True)
    (tmp_path / "outputs" / "00" / "health.solo.gpu0.json").write_text('{"at": 1')
    assert watched([h100(0, pcie_replays="400")], step="01").failing == []


# --- the state before the run, and what happens in between ------------------------------------------------------------


def test_uncorrectable_errors_of_before_the_run_fail_and_ask_for_a_reset(watched: Any) -> None:
    found = watched([h100(0, ecc_volatile="0/3", sram="0/1/0")])
    assert found.failing == ["ecc_uncorrected_before", "ecc_uncorrected_before[sram]"]
    assert found.samples["ecc_uncorrected"] == 0
    assert "reset the GPU" in found.facts["uncorrected_before[ecc.uncorrected]"]
    assert "Reset the GPU" in METRICS["ecc_uncorrected_before"].help


@pytest.mark.parametrize("later", ["1", "0"])
def test_a_recovery_that_was_asked_for_before_the_run_fails_whatever_becomes_of_it(watched: Any, later: str) -> None:
    found = watched([h100(0, recovery_action="1")], [h100(0, recovery_action=later)])
    assert found.failing == ["recovery_needed"]
    assert found.facts["recovery"].startswith("reset the GPU")


def test_a_counter_that_was_reset_after_an_error_does_not_hide_it(watched: Any) -> None:
    # Each look lasts a second, so that the counter is read in it.
    found = watched([h100(0)], [h100(0, ecc_volatile="0/7")], [h100(0)], params={"period_s": 0.25})
    assert found.failing == ["ecc_uncorrected"]
    assert found.samples["ecc_uncorrected"] == 7


def test_a_gpu_whose_memory_is_a_node_of_the_kernel_is_held_by_nobody(watched: Any) -> None:
    held = {"memory_used": str(40 << 30), "name": "NVIDIA GB200"}
    found = watched([h100(0, **held, numa_node="2")])
    assert found.outcome == "measured"
    assert "NUMA node 2" in found.facts["memory_held"]
    assert watched([h100(0, **held)]).outcome == "error"
    leaked = watched([h100(0, **held, numa_node="2", processes="4711:12884901888:python3")])
    assert leaked.outcome == "error"


# --- PCIe at its worst, chip to chip, heat by distance ----------------------------------------------------------------


def test_a_link_that_falls_back_under_load_fails_although_it_was_whole_before_and_after(watched: Any) -> None:
    found = watched([h100(0)], [h100(0, pcie_gen="1", pcie_width="4")], [h100(0)])
    assert found.failing == ["pcie_generations_lost", "pcie_lanes_lost"]
    assert (found.samples["pcie_generations_lost"], found.samples["pcie_lanes_lost"]) == (4, 12)


def test_where_gpu_and_cpu_are_joined_chip_to_chip_nothing_is_said_of_pcie(watched: Any) -> None:
    found = watched([h100(0, name="NVIDIA GH200 480GB", c2c_links="5", pcie_gen="1", pcie_width="1")])
    assert found.failing == []
    assert "chip-to-chip" in found.refused["pcie_generations_lost"]
    assert "chip-to-chip" in found.refused["pcie_lanes_lost"]


@pytest.mark.parametrize(("margin", "failing"), [("25", []), ("-1", []), ("-3", ["temperature_margin"])])
def test_where_no_threshold_is_told_the_distance_to_it_is_judged(watched: Any, margin: str, failing: list[str]) -> None:
    found = watched([h100(0, slowdown_c="!not_supported", margin_c=margin, slowdown_limit_c="-2")])
    assert found.failing == failing
    assert found.samples["temperature_margin"] == int(margin) + 2


def test_hot_memory_fails_though_the_gpu_is_cool(watched: Any) -> None:
    found = watched([h100(0, memory_temperature_c="97")])
    assert found.failing == ["memory_temperature_margin"]
    assert found.samples["memory_temperature_max"] == 97


# --- the fabric -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fabric_status": "999"}, ["status 999"]),
        ({"fabric": "in_progress", "fabric_status": "999"}, ["registration in progress"]),
        ({"fabric_summary": "2"}, ["unhealthy"]),
        ({"fabric_summary": "2", "fabric_health": "0x10"}, ["route unhealthy"]),
        ({"fabric_summary": "3"}, ["limited capacity"]),
        ({"fabric_health": "0x800"}, ["incorrect configuration: invalid GPU state"]),
    ],
)
def test_what_the_fabric_complains_of_is_named(watched: Any, changes: dict[str, str], said: list[str]) -> None:
    found = watched([h100(0, **changes)])
    assert found.failing == ["fabric_faults"]
    assert found.facts["fabric"] == ", ".join(said)


def test_a_driver_that_tells_the_fabric_in_its_older_form_is_understood(
    watched: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    older = build(tmp_path_factory.mktemp("v2"), "FABRIC_V2")
    assert watched([h100(0)], built=older).failing == []
    assert watched([h100(0, fabric_health="0x1", fabric_summary="2")], built=older).failing == ["fabric_faults"]


# --- clock event reasons ----------------------------------------------------------------------------------------------


def test_two_reasons_at_once_are_both_seen(watched: Any) -> None:
    found = watched([h100(0, reasons="0x48")])
    assert found.failing == ["throttled_share[hw_slowdown]", "throttled_share[hw_thermal_slowdown]"]
    assert found.samples["throttled_share[hw_power_brake]"] == 0


def test_a_reason_without_a_name_is_kept_as_its_number(watched: Any) -> None:
    found = watched([h100(0, reasons="0x2004")])
    assert found.samples["reason_share[0x2000]"] == 1
    assert found.samples["reason_share[sw_power_cap]"] == 1
    assert found.failing == []


def test_the_power_cap_is_normal_and_heat_is_not(watched: Any) -> None:
    assert watched([h100(0, reasons="0x4")]).failing == []
    assert watched([h100(0, reasons="0x24")]).failing == ["sw_thermal_share"]


# --- Xids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "failing"),
    [
        (79, ["xid_faults[Xid 79 (GPU has fallen off the bus)]"]),
        (48, ["xid_faults[Xid 48 (double bit ECC error)]"]),
        (13, []),
        (63, []),
        (43, []),
    ],
)
def test_an_xid_of_the_run_is_judged_by_its_class(watched: Any, code: int, failing: list[str]) -> None:
    found = watched([h100(0)], [h100(0, xids=str(code))])
    assert found.failing == failing
    assert found.outcome == "measured"
    assert any(key.startswith(("xid_faults[", "xid_others[")) and f"Xid {code} " in key for key in found.samples)


def test_an_unknown_xid_is_an_error_and_neither_a_pass_nor_the_fault_of_the_gpu(watched: Any) -> None:
    found = watched([h100(0)], [h100(0, xids="999")])
    assert found.outcome == "error"
    assert found.failing == []
    assert "Xid 999" in found.cause
    assert "xid-catalog" in found.remedy


def test_xids_of_before_the_run_are_not_those_of_the_run(watched: Any) -> None:
    found = watched([h100(0, xids="79")], [h100(0, xids="79,31")])
    assert found.samples["xid_faults"] == 0
    assert found.samples["xid_others[Xid 31 (page fault of a program)]"] == 1


def test_several_xids_are_counted_one_by_one(watched: Any) -> None:
    found = watched([h100(0)], [h100(0, xids="74,74,45")])
    assert found.samples["xid_faults[Xid 74 (NVLink error)]"] == 2
    assert len([key for key in found.samples if key.startswith("xid_")]) == 2


def test_an_xid_of_another_gpu_is_not_ones_own(watched: Any) -> None:
    found = watched([h100(0), h100(1)], [h100(0, xids="79,13", xids_of="1"), h100(1)])
    assert found.failing == []
    assert found.samples["xid_faults"] == 0


def test_where_no_events_can_be_had_nothing_is_said_of_xids(watched: Any) -> None:
    found = watched([h100(0, events="!not_supported")])
    assert "xid_faults" not in found.samples
    assert "Xid events cannot be had" in found.refused["xid_faults"]


def test_a_gpu_that_says_neither_its_threshold_nor_the_distance_is_not_judged_by_heat(watched: Any) -> None:
    found = watched([h100(0, slowdown_c="!not_supported", margin_c="!not_supported")])
    assert set(found.refused) == {"temperature_margin"}
    assert found.failing == []


# --- lost -------------------------------------------------------------------------------------------------------------


def test_a_gpu_that_falls_off_the_bus_during_the_run_fails_with_its_name(watched: Any) -> None:
    found = watched([h100(0)], [h100(0, state="lost_later", xids="79")])
    assert found.failing == [f"lost[{WHO}]", "xid_faults[Xid 79 (GPU has fallen off the bus)]"]
    assert "during the run" in found.facts["lost"]
    assert "counters" in found.refused


def test_a_gpu_that_dies_in_the_middle_of_a_look_is_lost(watched: Any) -> None:
    found = watched([h100(0, lost_after="60")])
    assert len(found.failing) == 1
    assert found.failing[0].startswith("lost[GPU 0 at 00000000:18:00.0")


def test_a_gpu_that_was_lost_before_the_run_fails_with_its_index(watched: Any) -> None:
    found = watched([h100(0), h100(1, state="lost"), h100(2)], local_rank=1)
    assert found.failing == ["lost[GPU 1]"]
    assert "before the run" in found.facts["lost"]


def test_the_neighbours_of_a_lost_gpu_are_not_blamed(watched: Any) -> None:
    found = watched([h100(0), h100(1, state="lost"), h100(2)], local_rank=2)
    assert found.failing == []
    assert found.facts["gpu_index"] == "2"


def test_a_gpu_that_the_driver_does_not_count_is_not_run_and_no_pass(watched: Any) -> None:
    found = watched([h100(n) for n in range(7)], local_rank=7)
    assert found.outcome == "not_run"
    assert "the driver shows 7, 8 were asked for" in found.cause
    assert found.samples == {}


def test_a_gpu_that_cannot_be_opened_says_why(watched: Any) -> None:
    found = watched([h100(0, state="!reset_required")])
    assert found.failing == ["query_errors[open]"]
    assert "restart" in found.facts["query_errors[open]"]


def test_a_gpu_without_its_power_cable_fails(watched: Any) -> None:
    found = watched([h100(0, state="!insufficient_power")])
    assert found.failing == ["query_errors[open]"]
    assert "Power" in found.facts["query_errors[open]"]


def test_a_gpu_that_this_process_may_not_open_is_not_run(watched: Any) -> None:
    found = watched([h100(0, state="!memory")])
    assert found.outcome == "not_run"
    assert "cannot be opened by this process" in found.cause


def test_without_a_driver_nothing_is_measured(watched: Any, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "libnvidia-ml.so.1").write_bytes(b"")  # shadows a real one
    found = watched([h100(0)], built=tmp_path / "none" / "libnvidia-ml.so.1")
    assert found.outcome == "not_run"
    assert "libnvidia-ml.so.1 cannot be loaded" in found.cause


# --- what a driver or a model does not know ---------------------------------------------------------------------------


#: Errors that say something of the driver, the user or the moment, and nothing of the GPU.
NOBODYS_FAULT = (
    "!function_not_found",
    "!no_permission",
    "!operating_system",
    "!deprecated",
    "!no_data",
    "!invalid_argument",
    "!memory",
)
UNKNOWN = {
    "ecc_volatile": {"ecc_uncorrected", "ecc_uncorrected_before", "ecc_corrected_rate"},
    "sram": {"sram_threshold", "ecc_uncorrected[sram]", "ecc_uncorrected_before[sram]"},
    "pcie_replays": {"pcie_replay_rate"},
    "pcie_gen": {"pcie_generations_lost"},
    "nvlinks": {"nvlink_errors", "nvlink_crc_rate", "nvlinks_missing"},
    "fabric": {"fabric_faults"},
    "reasons": {"throttled_share", "sw_thermal_share", "clock_hz"},
    "recovery_action": {"recovery_needed"},
    "processes": {"other_processes"},
    "memory_max_c": {"memory_temperature_margin"},
    "memory_temperature_c": {"memory_temperature_margin", "memory_temperature_max"},
}


@pytest.mark.parametrize(
    ("key", "error"),
    [
        *((key, "!not_supported") for key in UNKNOWN),
        *(("reasons", error) for error in NOBODYS_FAULT),
    ],
)
def test_what_the_driver_does_not_know_is_not_run_for_that_metric_alone(watched: Any, key: str, error: str) -> None:
    found = watched([h100(0, **{key: error})])
    assert found.failing == []
    assert found.outcome == "measured"
    assert set(found.refused) == UNKNOWN[key]
    assert not UNKNOWN[key] & set(found.samples)


def test_an_old_driver_without_the_newer_functions_is_asked_in_the_old_way(watched: Any, old_library: Path) -> None:
    found = watched([h100(0, reasons="0x48", processes="")], built=old_library)
    assert found.samples["throttled_share[hw_thermal_slowdown]"] == 1
    assert found.samples["other_processes"] == 0
    missing = {
        "sram_threshold", "ecc_uncorrected[sram]", "ecc_uncorrected_before[sram]", "fabric_faults", "recovery_needed",
        "memory_temperature_margin", "memory_temperature_max",
    }  # fmt: skip
    assert set(found.refused) == missing
    assert "Function Not Found" in found.refused["sram_threshold"]


def test_power_is_sampled_where_there_is_no_energy_counter(watched: Any) -> None:
    found = watched([h100(0, energy_mj="!not_supported", power_mw="300000")])
    assert found.samples["power_w"] == 300
    assert found.refused["energy_j"] == "Not Supported"


# --- somebody else ----------------------------------------------------------------------------------------------------


def test_a_leaked_process_is_an_error_that_names_it_and_blames_no_hardware(watched: Any) -> None:
    found = watched([h100(0, processes="4711:12884901888:python3", memory_used="12884901888")])
    assert found.outcome == "error"
    assert "process 4711 (python3) holds 12.0 GiB" in found.cause
    assert "not the hardware's fault" in found.cause
    assert "fuser" in found.remedy
    assert found.failing == []


def test_a_process_that_ends_before_the_run_does_is_nobody(watched: Any) -> None:
    found = watched([h100(0, processes="4711:1024:python3")], [h100(0)])
    assert found.outcome == "measured"
    assert found.samples["other_processes"] == 0


def test_memory_of_a_process_that_ended_meanwhile_is_told_and_no_error(watched: Any) -> None:
    found = watched([h100(0, processes="4711:9000000000:python3", memory_used="9000000000")], [h100(0)])
    assert found.outcome == "measured"
    assert "4711" in found.facts["ended_processes"]


def test_an_unknown_xid_beside_a_leaked_process_is_told_as_well(watched: Any) -> None:
    leaked = {"processes": "4711:12884901888:python3"}
    found = watched([h100(0, **leaked)], [h100(0, xids="999", **leaked)])
    assert "process 4711" in found.cause
    assert "Xid 999" in found.cause


def test_our_own_processes_come_after_the_first_look_and_are_nobody_else(watched: Any) -> None:
    found = watched([h100(0)], [h100(0, processes="99:80000000000:python3", memory_used="80000000000")])
    assert found.outcome == "measured"
    assert found.samples["other_processes"] == 0
    assert found.samples["memory_held_share"] < 0.001


def test_memory_that_nobody_holds_visibly_is_an_error(watched: Any) -> None:
    found = watched([h100(0, memory_used=str(40 << 30))])
    assert found.outcome == "error"
    assert "40.0 GiB of its memory were in use before the run" in found.cause


def test_what_the_driver_keeps_for_itself_is_not_held_by_somebody(watched: Any, old_library: Path) -> None:
    found = watched([h100(0)], built=old_library)
    assert found.samples["memory_held_share"] < 0.01
    assert found.outcome == "measured"


# --- links against the other GPUs of a run ----------------------------------------------------------------------------


class Many(SoloContext):
    """A bench whose other ranks have said something already."""

    others: tuple[Any, ...] = ()

    def allgather(self, thing: Any) -> list[Any]:
        return [thing, *self.others]


def links(active: int, total: int = 18, model: str = "H100", most: int | None = None) -> dict[str, Any]:
    return {
        "model": model,
        "active": active,
        "most": active if most is None else most,
        "total": total,
        "down": "link 9",
    }


@pytest.mark.parametrize(
    ("mine", "others", "missing"),
    [
        (links(17), [links(18)], {"link 9": 1}),
        (links(18), [links(17)], {"": 0}),
        (links(12), [links(12), None], {"": 0}),  # a board that connects only some
        (links(0), [links(18)], {"link 9": 18}),
        (links(4), [links(18, model="other")], {"link 9": 14}),  # no other of its model: all that it has
        (links(16, most=18), [links(16, most=16)], {"link 9": 2}),  # it went down in the run
    ],
)
def test_links_are_missed_that_the_same_model_has_elsewhere(
    mine: dict[str, Any], others: list[Any], missing: dict[str, float]
) -> None:
    ctx = Many(Health())
    ctx.others = tuple(others)
    ctx.check.compare(ctx, mine)
    assert {variant: values[0] for (_, variant), values in ctx.samples.items()} == missing


def test_where_no_gpu_has_a_link_up_nothing_is_known_of_them() -> None:
    ctx = Many(Health())
    ctx.others = (links(0),)
    ctx.check.compare(ctx, links(0))
    assert "any of its 18 links up" in ctx.refused["nvlinks_missing"]


def test_a_rank_without_a_gpu_still_takes_part_in_the_comparison() -> None:
    ctx = Many(Health())
    ctx.others = (links(18),)
    ctx.check.compare(ctx, None)
    assert ctx.samples == {}
