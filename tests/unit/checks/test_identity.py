from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.nvml.build import build, describe, environment, h100
from support.solo_context import SoloContext

from hpcaccept import checks
from hpcaccept.checks.identity import UNIQUE_FACTS, Identity, account, image_facts, parse_torch_version
from hpcaccept.measure.gpu.driver import Gpu

TESTS = Path(__file__).parents[2]
MEASURE = """
import json, sys
from hpcaccept.checks.identity import Identity
from support.solo_context import SoloContext
asked, local_rank, slices = map(int, sys.argv[1:])
ctx = SoloContext(Identity(), gpus_asked=asked, local_rank=local_rank, cores=2.5, slices_asked=bool(slices))
ctx.check.measure(ctx)
assert not {"torch", "mpi4py"} & set(sys.modules)
print(json.dumps({"samples": {name: values for (name, _), values in ctx.samples.items()}, "facts": ctx.facts}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def identity(library: Path, tmp_path: Path) -> Any:
    """Identity on a node of eight described GPUs, in a process of its own: its samples and its facts."""

    def measure(
        gpus: list[dict[str, str]],
        asked: int = 8,
        local_rank: int = 0,
        env: dict[str, str] | None = None,
        slices: bool = False,
        **system: str,
    ) -> Any:
        node = describe(tmp_path / "node", gpus, **system)
        paths = {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
        inherited = {key: text for key, text in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        command = [sys.executable, "-c", MEASURE, str(asked), str(local_rank), str(int(slices))]
        everything = {**inherited, **environment(library, node), **paths, **(env or {})}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=everything)
        said = json.loads(done.stdout)
        return said["samples"], said["facts"]

    return measure


def eight(**changes_of_the_fourth: str) -> list[dict[str, str]]:
    return [h100(n, **(changes_of_the_fourth if n == 3 else {})) for n in range(8)]


@pytest.mark.parametrize(
    ("slices", "wanted", "count"),
    [
        (False, None, 2),
        (True, None, 14),
        (True, "MIG-0-1,MIG-0-2,MIG-1-6", 3),
        (True, "GPU-of-neither", 0),
    ],
)
def test_a_run_that_asks_for_slices_counts_slices(identity: Any, slices: bool, wanted: str | None, count: int) -> None:
    gpus = [h100(n, mig_mode="enabled", mig_uuids=",".join(f"MIG-{n}-{k}" for k in range(7))) for n in range(2)]
    env = {} if wanted is None else {"CUDA_VISIBLE_DEVICES": wanted}
    samples, facts = identity(gpus, asked=14 if slices else 2, slices=slices, env=env)
    assert samples["gpu_count"] == [count]
    assert (f"{count} slices" in facts["gpus"]) is slices


@pytest.mark.parametrize(
    ("mode", "partitioned"),
    [("disabled", [0.0]), ("enabled", [1.0]), ("disabled>enabled", [1.0]), ("enabled>disabled", [1.0])],
)
def test_a_divided_gpu_fails_where_whole_ones_were_asked_for(
    identity: Any, mode: str, partitioned: list[float]
) -> None:
    samples, _ = identity([h100(0, mig_mode=mode)], asked=1)
    assert samples["gpu_partitioned"] == partitioned
    (metric,) = (metric for metric in Identity.metrics if metric.name == "gpu_partitioned")
    assert metric.limit
    assert metric.limit.met_by(partitioned[0]) is (mode == "disabled")


def test_where_slices_were_asked_for_a_divided_gpu_is_right(identity: Any) -> None:
    samples, _ = identity([h100(0, mig_mode="enabled", mig_uuids="MIG-1")], asked=1, slices=True)
    assert "gpu_partitioned" not in samples


@pytest.mark.parametrize(
    ("said", "fact"),
    [
        ("0/0/0/1", "off"),
        ("1/2/0/1", "on, production"),
        ("1/1/1/0", "on, simulated, developer tools on, the GPUs accept no work"),
        ("!not_supported", None),
    ],
)
def test_whether_computing_is_confidential_is_a_fact(identity: Any, said: str, fact: str | None) -> None:
    assert identity([h100(0)], asked=1, confidential=said)[1].get("confidential_computing") == fact


def test_cluster_and_clique_of_a_fabric_of_several_nodes_are_a_fact_that_may_drift(identity: Any) -> None:
    _, facts = identity([h100(0, fabric_cluster="7", fabric_clique="32766")], asked=1)
    assert facts["gpu_fabric"] == "cluster 00000000-0000-0000-0000-000000000007, clique 32766"
    assert "gpu_fabric" not in UNIQUE_FACTS
    assert "gpu_fabric" not in identity([h100(0)], asked=1)[1]
    assert "gpu_fabric" not in identity([h100(0, fabric_cluster="7", fabric="in_progress")], asked=1)[1]


def test_the_rank_of_a_lost_gpu_has_no_metric_missing(identity: Any) -> None:
    samples, facts = identity(eight(state="lost"), local_rank=3)
    assert "gpu_uuid" not in facts
    assert "gpu_memory_bytes" not in samples


def test_eight_healthy_gpus_are_eight(identity: Any) -> None:
    samples, facts = identity(eight())
    assert samples["gpu_count"] == [8]
    assert samples["gpu_models"] == [1]
    assert samples["cores"] == [2.5]
    assert samples["memory_bytes"][0] > 0
    assert samples["gpu_memory_bytes"] == [81559 << 20]
    assert facts["gpus"] == "the driver counts 8"
    assert facts["driver"] == "550.54.15"
    assert facts["cuda_driver"] == "12.4"


def test_seven_of_eight_are_seven(identity: Any) -> None:
    samples, facts = identity(eight()[:7])
    assert samples["gpu_count"] == [7]
    assert facts["gpus"] == "the driver counts 7"


@pytest.mark.parametrize(
    ("state", "said"), [("lost", "lost"), ("!unknown", "error: Unknown Error"), ("!no_permission", "hidden")]
)
def test_a_gpu_that_is_not_usable_is_not_counted_but_named(identity: Any, state: str, said: str) -> None:
    samples, facts = identity(eight(state=state))
    assert samples["gpu_count"] == [7]
    assert facts["gpus"] == f"the driver counts 8; GPU 3: {said}"


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ("0,1,2,3,4,5,6,7", 8),
        ("0,1", 2),
        ("GPU-00000005,GPU-00000006", 2),
        ("", 0),
        ("NoDevFiles", 0),
        ("0,1,12,3", 2),
    ],
)
def test_only_what_the_job_may_see_is_counted(identity: Any, wanted: str, count: int) -> None:
    samples, facts = identity(eight(), env={"CUDA_VISIBLE_DEVICES": wanted})
    assert samples["gpu_count"] == [count]
    assert facts["gpus"] == f"the driver counts 8; CUDA_VISIBLE_DEVICES={wanted!r} leaves {count}"


def test_a_rank_tells_of_its_own_gpu_behind_the_variable(identity: Any) -> None:
    samples, facts = identity(eight(power_limit_mw="310500"), local_rank=1, env={"CUDA_VISIBLE_DEVICES": "2,3"})
    assert facts["gpu_uuid"] == "GPU-00000003-aaaa-bbbb-cccc-000000000003"
    assert facts["gpu_serial"] == "1652324000003"
    assert facts["gpu_power_limit_w"] == "310.5"
    assert list(samples) == ["gpu_partitioned", "gpu_memory_bytes"]


def test_what_the_driver_cannot_say_is_no_fact(identity: Any) -> None:
    samples, facts = identity([h100(0, serial="!not_supported", memory_bytes="!not_supported")], asked=1)
    assert samples["gpu_count"] == [1]
    assert "gpu_serial" not in facts
    assert "gpu_memory_bytes" not in samples


def test_unlike_gpus_on_one_node_are_counted_as_models(identity: Any) -> None:
    samples, _ = identity(eight(name="NVIDIA H100 PCIe"))
    assert samples["gpu_models"] == [2]
    metric = Identity.metric("gpu_models")
    assert metric is not None
    assert metric.limit is not None
    assert not metric.limit.met_by(2)


# --- asked for, and not there -----------------------------------------------------------------------------------------


def test_no_gpu_where_some_were_asked_for_is_zero_and_not_a_skip(identity: Any) -> None:
    samples, facts = identity([])
    assert samples["gpu_count"] == [0]
    assert "gpu_models" not in samples
    assert facts["gpus"] == "the driver counts 0"


def test_no_driver_where_gpus_were_asked_for_is_zero_and_says_why(identity: Any) -> None:
    samples, facts = identity(eight(), init="!driver_not_loaded")
    assert samples["gpu_count"] == [0]
    assert "kernel module is not loaded" in facts["gpus"]
    assert "modprobe nvidia" in facts["gpus"]


def test_no_library_where_gpus_were_asked_for_is_zero_and_says_why(identity: Any, tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    samples, facts = identity(eight(), env={"LD_LIBRARY_PATH": str(tmp_path)})
    assert samples["gpu_count"] == [0]
    assert "libnvidia-ml.so.1 cannot be loaded" in facts["gpus"]


def test_only_the_first_rank_of_a_node_speaks_for_it(identity: Any) -> None:
    samples, facts = identity([], local_rank=3)
    assert samples == {}
    assert facts["gpus"] == "the driver counts 0"


def test_without_a_request_for_gpus_the_driver_is_left_alone(identity: Any) -> None:
    samples, facts = identity(eight(), asked=0)
    assert set(samples) == {"cores", "memory_bytes"}
    assert "driver" not in facts
    assert "gpus" not in facts


# --- facts ------------------------------------------------------------------------------------------------------------


def test_a_laptop_gives_all_that_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCACCEPT_IMAGE", "nvcr.io/nvidia/pytorch:25.01-py3")
    ctx = SoloContext(Identity()).run()
    for name in ("hostname", "boot_id", "kernel", "os", "cpu_model", "python", "hpcaccept", "numpy", "torch"):
        assert ctx.facts[name]
    assert ctx.facts["image"] == "nvcr.io/nvidia/pytorch:25.01-py3"
    assert ctx.value("cores") == 1.0


def test_torch_and_cuda_are_what_torch_itself_would_say() -> None:
    torch = pytest.importorskip("torch")
    facts = SoloContext(Identity()).run().facts
    assert facts["torch"] == torch.__version__
    assert facts.get("cuda") == torch.version.cuda


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "from typing import Optional\n__version__ = '2.6.0+cu124'\ndebug = False\ncuda: Optional[str] = '12.4'\n",
            {"__version__": "2.6.0+cu124", "cuda": "12.4"},
        ),
        ("__version__ = '2.1.0a0+32f93b1'\ncuda = '12.2'\n", {"__version__": "2.1.0a0+32f93b1", "cuda": "12.2"}),
        ("__version__ = '2.6.0+cpu'\ncuda: Optional[str] = None\n", {"__version__": "2.6.0+cpu"}),
        ("", {}),
    ],
)
def test_the_version_file_of_torch_is_read_without_torch(text: str, found: dict[str, str]) -> None:
    assert parse_torch_version(text) == found


def test_what_names_one_machine_may_differ_and_versions_may_not() -> None:
    assert Identity.unique_facts is UNIQUE_FACTS
    assert {"hostname", "boot_id", "gpu_uuid", "gpu_serial", "physical_host"} <= UNIQUE_FACTS
    assert not UNIQUE_FACTS & {"driver", "kernel", "torch", "vbios", "gpu_model"}


def test_the_account_names_the_place_of_a_broken_gpu() -> None:
    broken = Gpu(3, "error: vbios: Corrupted infoROM", pci_bus_id="00000000:1B:00.0")
    said = account([broken], [broken], None, "CUDA_VISIBLE_DEVICES")
    assert said == "the driver counts 1; GPU 3 at 00000000:1B:00.0: error: vbios: Corrupted infoROM"


def test_identity_is_found_by_its_name() -> None:
    assert checks.build("identity", {}) == Identity()


def test_settings_that_drift_are_facts_of_a_node_where_they_can_be_read() -> None:
    facts = SoloContext(Identity()).run().facts
    for name, text in facts.items():
        assert text.strip() == text, name
    assert "locked_memory" in facts
    assert not {name for name in facts if "serial" in name or "uuid" in name}


def test_what_should_be_alike_is_not_excused() -> None:
    alike = {"bios", "microcode", "nic_firmware", "image_digest", "numa", "huge_pages", "cpu_governor", "locked_memory"}
    assert not alike & UNIQUE_FACTS


@pytest.mark.parametrize(
    ("environ", "digest"),
    [
        ({"HPCACCEPT_IMAGE": "nvcr.io/nvidia/pytorch@sha256:ab12"}, "sha256:ab12"),
        ({"HPCACCEPT_IMAGE": "nvcr.io/nvidia/pytorch:25.01-py3"}, ""),
        ({"HPCACCEPT_IMAGE": "a@sha256:ab12", "HPCACCEPT_IMAGE_DIGEST": "sha256:cd34"}, "sha256:cd34"),
        ({}, ""),
    ],
)
def test_the_digest_of_the_image_is_told_where_it_is_known(environ: dict[str, str], digest: str) -> None:
    assert image_facts(environ) == {"image": environ.get("HPCACCEPT_IMAGE", ""), "image_digest": digest}


def test_no_program_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("identity must be free of subprocesses: every rank of the fleet asks at once")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    SoloContext(Identity()).run()


def test_the_machine_below_a_vm_is_a_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcaccept.measure.host.hyperv.physical_host", lambda: "BN9300-1")
    ctx = SoloContext(Identity())
    ctx.check.measure(ctx)
    assert ctx.facts["physical_host"] == "BN9300-1"
