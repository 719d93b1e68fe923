from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.nvml.build import build, describe, environment, h100

from hpcaccept.config.toml import read_toml
from hpcaccept.measure.gpu import xid
from hpcaccept.measure.gpu.driver import Gpu
from hpcaccept.measure.gpu.nvml import cuda_version, unclaimed, visible
from hpcaccept.measure.gpu.nvml_fabric import mask_faults

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

LIST = """
import dataclasses, json
from hpcaccept.measure.gpu.driver import DriverMissing
from hpcaccept.measure.gpu.drivers.nvidia import VENDOR
try:
    with VENDOR.open() as driver:
        print(json.dumps([dataclasses.asdict(gpu) for gpu in driver.list()]))
except DriverMissing as missing:
    print(json.dumps({"cause": missing.cause, "remedy": missing.remedy}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def ask(library: Path, tmp_path: Path) -> Any:
    def ask(*gpus: dict[str, str], **system: str) -> Any:
        node = describe(tmp_path / "node", gpus, **system)
        return json.loads(child(LIST, environment(library, node)).stdout)

    return ask


def child(code: str, env: dict[str, str], check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], check=check, capture_output=True, text=True, env={**os.environ, **env}
    )


# --- what the driver lists --------------------------------------------------------------------------------------------


def test_eight_healthy_gpus_are_listed_with_everything_known(ask: Any) -> None:
    found = ask(*map(h100, range(8)))
    assert [gpu["index"] for gpu in found] == list(range(8))
    assert {gpu["state"] for gpu in found} == {"ok"}
    assert found[3] == {
        "index": 3,
        "state": "ok",
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": "GPU-00000003-aaaa-bbbb-cccc-000000000003",
        "serial": "1652324000003",
        "pci_bus_id": "00000000:1B:00.0",
        "vbios": "96.00.89.00.01",
        "memory_bytes": 81559 << 20,
        "power_limit_w": 700.0,
        "ecc_mode": "enabled",
        "partition_mode": "disabled",
        "partition_uuids": [],
        "persistence": "enabled",
        "pcie_gen_max": 5,
        "pcie_width_max": 16,
        "coherent": False,
        "numa_node": None,
        "fabric": None,
        "driver": "550.54.15",
        "runtime": "12.4",
        "unsupported": ["numa_node"],  # its memory is no node of the kernel
    }


def test_a_driver_without_gpus_lists_none(ask: Any) -> None:
    assert ask() == []


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("lost", "lost"),
        ("!gpu_is_lost", "lost"),
        ("lost_later", "lost"),
        ("!no_permission", "hidden"),
        ("!operating_system", "hidden"),
        ("!insufficient_power", "error: Insufficient External Power"),
        ("!unknown", "error: Unknown Error"),
        ("!reset_required", "error: GPU requires restart"),
    ],
)
def test_a_gpu_that_cannot_be_opened_is_listed_and_says_why(ask: Any, state: str, said: str) -> None:
    found = ask(h100(0), h100(1, state=state), h100(2))
    assert [gpu["state"] for gpu in found] == ["ok", said, "ok"]
    assert found[1]["index"] == 1
    assert found[1]["uuid"] is None
    assert found[1]["driver"] == "550.54.15"


@pytest.mark.parametrize("error", ["!not_supported", "!function_not_found", "!no_permission", "!deprecated"])
@pytest.mark.parametrize(
    ("key", "field"), [("serial", "serial"), ("power_limit_mw", "power_limit_w"), ("ecc_mode", "ecc_mode")]
)
def test_what_the_driver_cannot_say_is_none_and_no_fault(ask: Any, key: str, field: str, error: str) -> None:
    (found,) = ask(h100(0, **{key: error}))
    assert found[field] is None
    assert found["unsupported"] == [field, "numa_node"]
    assert found["state"] == "ok"


def test_an_error_in_one_answer_is_an_error_of_the_gpu_but_keeps_the_rest(ask: Any) -> None:
    (found,) = ask(h100(0, vbios="!corrupted_inforom"))
    assert found["state"] == "error: vbios: Corrupted infoROM"
    assert found["vbios"] is None
    assert found["uuid"] == "GPU-00000000-aaaa-bbbb-cccc-000000000000"
    assert found["unsupported"] == ["numa_node"]


def test_a_gpu_that_gets_lost_while_it_is_asked_is_lost(ask: Any) -> None:
    (found,) = ask(h100(0, memory_bytes="!gpu_is_lost", pcie_gen_max="!unknown"))
    assert found["state"] == "lost"


def test_a_serial_that_is_no_text_is_an_error_of_the_gpu(library: Path, tmp_path: Path) -> None:
    node = describe(tmp_path / "node", [h100(0, serial="SERIAL")])
    node.write_bytes(node.read_bytes().replace(b"SERIAL", b"\xff\xfe"))
    (found,) = json.loads(child(LIST, environment(library, node)).stdout)
    assert found["state"] == "error: serial: found the bytes b'\\xff\\xfe', expected text"


def test_a_pending_mode_is_told(ask: Any) -> None:
    (found,) = ask(h100(0, ecc_mode="disabled>enabled"))
    assert found["ecc_mode"] == "disabled, enabled after a reset"


def test_mig_instances_are_found_behind_holes(ask: Any) -> None:
    (found,) = ask(h100(0, mig_mode="enabled", mig_uuids="MIG-a,,MIG-c"))
    assert found["partition_mode"] == "enabled"
    assert found["partition_uuids"] == ["MIG-a", "MIG-c"]


def test_a_gpu_without_mig_is_ok(ask: Any) -> None:
    (found,) = ask(h100(0, mig_mode="!not_supported", mig_uuids="!not_supported"))
    assert found["state"] == "ok"
    assert found["unsupported"] == ["partition_mode", "partition_uuids", "numa_node"]


def test_a_driver_that_hides_its_version_still_lists(ask: Any) -> None:
    (found,) = ask(h100(0), driver="!unknown", cuda_driver="!not_supported")
    assert found["driver"] is None
    assert found["runtime"] is None
    assert found["state"] == "ok"


def test_cuda_versions_are_read_from_their_number() -> None:
    assert [cuda_version(number) for number in (11080, 12040, 13000)] == ["11.8", "12.4", "13.0"]


# --- no driver to ask -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("init", "cause", "remedy"),
    [
        ("!driver_not_loaded", "kernel module is not loaded", "modprobe nvidia"),
        ("!no_permission", "/dev/nvidiactl", "--gpus-per-node"),
        ("!lib_rm_version_mismatch", "different driver versions", "reboot"),
        ("!unknown", "NVML does not start: Unknown Error", "dmesg"),
    ],
)
def test_a_driver_that_does_not_start_says_why_and_what_to_do(ask: Any, init: str, cause: str, remedy: str) -> None:
    missing = ask(h100(0), init=init)
    assert cause in missing["cause"]
    assert remedy in missing["remedy"]


def test_a_driver_that_cannot_count_is_no_driver(ask: Any) -> None:
    assert "Unknown Error" in ask(h100(0), count="!unknown")["cause"]


def test_without_the_library_the_container_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")  # shadows a real one
    missing = json.loads(child(LIST, {"LD_LIBRARY_PATH": str(tmp_path)}).stdout)
    assert "libnvidia-ml.so.1 cannot be loaded" in missing["cause"]
    assert "NVIDIA_VISIBLE_DEVICES" in missing["remedy"]


def test_without_pynvml_the_extra_is_named() -> None:
    missing = json.loads(child("import sys; sys.modules['pynvml'] = None\n" + LIST, {}).stdout)
    assert "pynvml" in missing["cause"]
    assert "nvidia-ml-py" in missing["remedy"]


def test_importing_the_module_imports_no_pynvml() -> None:
    done = child(
        "import sys; import hpcaccept.checks.identity; print('pynvml' in sys.modules, 'torch' in sys.modules)", {}
    )
    assert done.stdout.split() == ["False", "False"]


def test_nvml_is_closed_again(library: Path, tmp_path: Path) -> None:
    code = """
import pynvml
from hpcaccept.measure.gpu import nvml
with nvml.open_nvml() as driver:
    assert driver.driver() == "550.54.15"
try:
    pynvml.nvmlDeviceGetCount()
except pynvml.NVMLError_Uninitialized:
    print("closed")
"""
    node = describe(tmp_path / "node", [h100(0)])
    assert child(code, environment(library, node)).stdout == "closed\n"


# --- CUDA_VISIBLE_DEVICES ---------------------------------------------------------------------------------------------


def node(*states: str) -> list[Gpu]:
    """GPUs named GPU-a0, GPU-b1, …: those that cannot be opened have no name."""
    return [Gpu(n, state, uuid=f"GPU-{'abcdefgh'[n]}{n}" if state == "ok" else None) for n, state in enumerate(states)]


@pytest.mark.parametrize(
    ("wanted", "indices"),
    [
        (None, [0, 1, 2, 3]),
        ("0,1,2,3", [0, 1, 2, 3]),
        ("2,0", [2, 0]),
        (" 1 , 3 ", [1, 3]),
        ("GPU-c2,GPU-a", [2, 0]),
        ("0,2,-1,1", [0, 2]),
        ("0,9,1", [0]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("1,1", []),
        ("GPU-", []),
        ("GPU-nobody", []),
    ],
)
def test_the_variable_is_read_as_cuda_reads_it(wanted: str | None, indices: list[int]) -> None:
    assert [gpu.index for gpu in visible(node("ok", "ok", "ok", "ok"), wanted)] == indices


def test_indices_count_within_the_cgroup_of_the_job() -> None:
    assert [gpu.index for gpu in visible(node("hidden", "hidden", "ok", "ok"), "0,1")] == [2, 3]


def test_a_lost_gpu_is_visible_under_its_own_index() -> None:
    assert [gpu.state for gpu in visible(node("ok", "lost", "ok"), "0,1,2")] == ["ok", "lost", "ok"]


@pytest.mark.parametrize("wanted", ["MIG-one,MIG-two", "MIG-GPU-a0/7/0,MIG-GPU-a0/8/0"])
def test_mig_instances_stand_for_their_gpu_each_alone(wanted: str) -> None:
    gpu = Gpu(0, "ok", uuid="GPU-a0", partition_uuids=("MIG-one", "MIG-two"))
    seen = visible([gpu], wanted)
    assert [found.uuid for found in seen] == ["GPU-a0", "GPU-a0"]
    assert [found.partition_uuids for found in seen] == [(word,) for word in wanted.split(",")]
    assert visible([gpu], "GPU-a0") == (gpu,)


# --- the stand-in itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vbois": "1"}, "unknown key 'vbois'"),
        ({"memory_bytes": "80GB"}, "found '80GB', expected a number"),
        ({"state": "!broken"}, "unknown error '!broken'"),
        ({"ecc_mode": "on"}, "found 'on', expected enabled or disabled"),
        ({"state": "ok", "ecc_volatiles": "0/0"}, "unknown key 'ecc_volatiles'"),
    ],
)
def test_the_stand_in_refuses_a_description_it_does_not_understand(
    library: Path, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    path = describe(tmp_path / "node", [h100(0, **changes)])
    done = child(LIST, environment(library, path), check=False)
    assert done.returncode < 0
    assert f"stand-in NVML: {said}" in done.stderr


def test_the_stand_in_refuses_what_the_real_one_refuses(library: Path, tmp_path: Path) -> None:
    code = """
import ctypes, pynvml
def code(call, *args):
    try:
        call(*args)
    except pynvml.NVMLError as fault:
        return fault.value
    return 0
pynvml._LoadNvmlLibrary()
print(code(pynvml.nvmlDeviceGetCount))
pynvml.nvmlInit()
gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
short = ctypes.create_string_buffer(5)
print(pynvml.nvmlLib.nvmlDeviceGetName(gpu, short, 5), pynvml.nvmlLib.nvmlDeviceGetName(gpu, None, 96))
print(code(pynvml.nvmlDeviceGetHandleByIndex, 1), code(pynvml.nvmlDeviceGetName, pynvml.c_nvmlDevice_t()))
pynvml.nvmlShutdown()
print(code(pynvml.nvmlShutdown), code(pynvml.nvmlDeviceGetName, gpu))
"""
    path = describe(tmp_path / "node", [h100(0)])
    assert child(code, environment(library, path)).stdout.split() == ["1", "7", "2", "2", "2", "1", "1"]


# --- one GPU, question by question ------------------------------------------------------------------------------------

LOOK = """
import dataclasses, json
from hpcaccept.measure.gpu.drivers.nvidia import VENDOR
with VENDOR.open() as driver:
    gpu = driver.open(driver.identity(0))
    print(json.dumps(dataclasses.asdict(gpu.counters())))
"""


@pytest.fixture
def read_state(library: Path, tmp_path: Path) -> Any:
    """One look at a described GPU."""

    def read_state(**changes: str) -> Any:
        node = describe(tmp_path / "node", [h100(0, **changes)])
        return json.loads(child(LOOK, environment(library, node)).stdout)

    return read_state


def test_every_counter_comes_through_pynvml_as_it_was_described(read_state: Any) -> None:
    seen = read_state(
        ecc_volatile="11/12",
        ecc_aggregate="13/14",
        sram="15/16/1",
        remaps="17/18/1/1",
        remap_banks="600/30/6/3/1",
        retired="2/3",
        retired_pending="enabled",
        pcie_replays="19",
        recovery_action="4",
        violations_ns="1/2/3/4/5/6/7/8",
        fabric_health="0x11",
    )
    numbers = seen["numbers"]
    assert (numbers["memory_errors.corrected"], numbers["memory_errors.uncorrected"]) == (11, 12)
    assert (numbers["memory_errors_lifetime.corrected"], numbers["memory_errors_lifetime.uncorrected"]) == (13, 14)
    assert [numbers[f"cache_errors.{part}"] for part in ("corrected", "uncorrected", "threshold_exceeded")] == [
        15,
        16,
        1,
    ]
    assert [numbers[f"row_remaps.{part}"] for part in ("corrected", "uncorrected", "pending", "failure")] == [
        17,
        18,
        1,
        1,
    ]
    assert [numbers[f"spare_rows.{part}"] for part in ("max", "high", "partial", "low", "none")] == [600, 30, 6, 3, 1]
    assert [numbers[f"retired_pages.{part}"] for part in ("corrected", "uncorrected")] == [2, 3]
    assert numbers["retired_pages_pending.pending"] == 1
    assert numbers["pcie_replays.count"] == 19
    assert seen["recovery"] == "drain and reset"
    assert [numbers[f"clock_limit_ns.{part}"] for part in ("power", "thermal", "reliability")] == [1, 2, 6]
    assert seen["fabric"] == ["degraded bandwidth", "route unhealthy"]
    assert seen["missing"] == {}


def test_nvlinks_have_state_version_and_errors_by_name(read_state: Any) -> None:
    seen = read_state(nvlinks="101", nvlink_errors="2:crc_flit:7,2:recovery:1,0:crc_data:4")
    assert seen["links"][0] == {
        "number": 0,
        "active": True,
        "version": 4,
        "errors": {"replay": 0, "recovery": 0, "crc_flit": 0, "crc_data": 4},
    }
    assert seen["links"][1]["active"] is False
    assert seen["links"][2]["errors"] == {"replay": 0, "recovery": 1, "crc_flit": 7, "crc_data": 0}


def test_links_that_are_fused_off_are_none_and_hide_no_other(read_state: Any) -> None:
    seen = read_state(nvlinks="-1-0")
    assert [(link["number"], link["active"]) for link in seen["links"]] == [(1, True), (3, False)]
    assert read_state(nvlinks="--")["missing"]["links"] == "Not Supported"


def test_links_of_the_fifth_generation_count_in_fields(read_state: Any) -> None:
    seen = read_state(nvlinks="11", nvlink_version="5", nvlink_errors="1:integrity:3")
    assert seen["links"][1]["errors"] == {"malformed": 0, "overrun": 0, "integrity": 3, "recovery_failed": 0}


def test_processes_have_number_memory_and_name(read_state: Any) -> None:
    seen = read_state(processes="4711:2147483648:python3,4712:1024:nvidia-cuda-mps-server")
    assert seen["processes"]["4711"] == {"pid": 4711, "memory_bytes": 2 << 30, "name": "python3"}
    assert seen["processes"]["4712"]["name"] == "nvidia-cuda-mps-server"


def test_an_error_that_is_none_of_ignorance_is_one_of_the_gpu(read_state: Any) -> None:
    seen = read_state(ecc_volatile="!unknown", sram="!not_supported", remaps="!corrupted_inforom")
    assert seen["errors"] == {"memory_errors": "Unknown Error", "row_remaps": "Corrupted infoROM"}
    assert seen["missing"] == dict.fromkeys(("cache_errors", "retired_pages", "retired_pages_pending"), "Not Supported")


def test_a_lost_gpu_answers_nothing(read_state: Any) -> None:
    seen = read_state(lost_after="40")
    assert seen["lost"] is True
    assert seen["numbers"] == {}


@pytest.mark.parametrize(
    ("health", "faults"),
    [
        (0, ()),
        (0b10_10_10_10, ()),  # every question answered with "false"
        (0x1, ("degraded bandwidth",)),
        (0x4, ("route recovery in progress",)),
        (0x100, ()),  # configuration: none wrong
        (0x200, ("incorrect configuration: incorrect system GUID",)),
        (0x300, ("incorrect configuration: incorrect chassis serial number",)),
        (0x400, ("incorrect configuration: no partition",)),
        (0x500, ("incorrect configuration: insufficient NVLinks",)),
        (0x600, ("incorrect configuration: incompatible GPU firmware",)),
        (0x700, ("incorrect configuration: invalid location",)),
        (0x800, ("incorrect configuration: invalid GPU state",)),
        (0xF00, ("incorrect configuration: kind 15",)),
        (0x10, ("route unhealthy",)),
        (0x40, ("access timeout recovery",)),
        (0x1000, ()),  # a partition is assigned
        (0x2000, ("no partition assigned",)),
        (0x4000, ()),  # the fabric manager is connected
        (0x8000, ("fabric manager disconnected",)),
        (
            0x8201,
            ("degraded bandwidth", "fabric manager disconnected", "incorrect configuration: incorrect system GUID"),
        ),
    ],
)
def test_a_health_mask_of_the_fabric_is_decoded_field_by_field(health: int, faults: tuple[str, ...]) -> None:
    assert mask_faults(health) == faults


# --- who is lost ------------------------------------------------------------------------------------------------------


def test_the_address_of_a_lost_gpu_is_the_one_that_no_other_has() -> None:
    listed = [Gpu(0, "ok", pci_bus_id="00000000:18:00.0"), Gpu(1, "lost"), Gpu(2, "ok", pci_bus_id="00000000:1A:00.0")]
    assert unclaimed(listed, ["0000:18:00.0", "0000:19:00.0", "0000:1a:00.0"]) == ("00000000:19:00.0",)
    assert unclaimed(listed, []) == ()


# --- Xids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (16, "watch"),
        (33, "watch"),
        (34, "application"),
        (35, "application"),
        (36, "application"),
        (175, "fault"),
        (176, "watch"),
        (166, "watch"),
        (170, "watch"),
        (173, "fault"),
        (174, "application"),
        (79, "fault"),
        (48, "fault"),
        (63, "watch"),
        (13, "application"),
        (106, "ignored"),
        (999, "unknown"),
    ],
)
def test_an_xid_has_the_class_of_the_table(code: int, kind: str) -> None:
    assert xid.meaning(code).kind == kind


def test_every_class_of_xids_has_its_source_its_date_and_its_reason_and_no_number_stands_twice() -> None:
    tables = read_toml(xid.TABLE)
    assert set(tables) == {"fault", "watch", "application", "ignored"}
    for table in tables.values():
        assert "https://docs.nvidia.com" in table["source"]
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", table["date"])
        assert table["why"]
    codes = [code for table in tables.values() for code in table["codes"]]
    assert len(codes) == len(set(codes))


def test_xids_are_heard_while_they_come_and_those_from_before_are_not(library: Path, tmp_path: Path) -> None:
    code = """
import os, sys, time
from hpcaccept.measure.gpu.drivers.nvidia import VENDOR
from hpcaccept.measure.gpu.events import Listener
with VENDOR.open() as driver:
    listener = Listener(driver.open(driver.identity(0)))
    time.sleep(0.05)
    os.replace(sys.argv[1], os.environ["HPCACCEPT_FAKE_NVML"])
    listener.stop()
    print([event.code for event in listener.heard], listener.deaf)
"""
    node = describe(tmp_path / "node", [h100(0, xids="48")])
    later = describe(tmp_path / "later", [h100(0, xids="48,79,13")])
    done = subprocess.run(
        [sys.executable, "-c", code, str(later)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment(library, node)},
    )
    assert done.stdout.strip() == "[79, 13]"


# --- the stand-in, where it moves -------------------------------------------------------------------------------------


def test_each_node_of_a_virtual_slurm_has_its_own_description(library: Path, tmp_path: Path) -> None:
    for n in range(2):
        describe(tmp_path / f"node{n}.txt", [h100(n)])
    env = {**environment(library, tmp_path / "{node}.txt"), "SLURMD_NODENAME": "node1"}
    (found,) = json.loads(child(LIST, env).stdout)
    assert found["uuid"] == "GPU-00000001-aaaa-bbbb-cccc-000000000001"


def test_structures_of_another_version_are_refused_as_the_real_one_does(library: Path, tmp_path: Path) -> None:
    code = """
import ctypes, pynvml
pynvml.nvmlInit()
gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
for kind, name in (
    (pynvml.c_nvmlMemory_v2_t, "nvmlDeviceGetMemoryInfo_v2"),
    (pynvml.c_nvmlEccSramErrorStatus_v1_t, "nvmlDeviceGetSramEccErrorStatus"),
    (pynvml.c_nvmlGpuFabricInfo_v2_t, "nvmlDeviceGetGpuFabricInfoV"),
    (pynvml.c_nvmlMarginTemperature_v1_t, "nvmlDeviceGetMarginTemperature"),
):
    wrong = kind()
    wrong.version = 0x1000001
    print(getattr(pynvml.nvmlLib, name)(gpu, ctypes.byref(wrong)))
"""
    path = describe(tmp_path / "node", [h100(0)])
    assert child(code, environment(library, path)).stdout.split() == ["25", "25", "25", "25"]
