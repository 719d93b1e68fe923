"""One archive for one fault: an RMA sheet, plots, Xids, a report for Azure; of one GPU where it is one GPU's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from support.builders import H100, nodes, record
from support.finished_runs import finished_ranks, gpu_run

from hpcaccept.app.azure import hosts
from hpcaccept.app.bundle.pack import Extras, fault_named, make_bundle
from hpcaccept.app.bundle.sheets import Fault
from hpcaccept.errors import UsageError
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.provider.azure.health_report import CATEGORIES, GENERIC, category_of
from hpcaccept.provider.azure.nodes import Node
from hpcaccept.serial import dumps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.record import Record
    from hpcaccept.store.folder import RunFolder

#: As sysfs and NVML write the address of one GPU.
BUS = ("00000000:18:00.0", "00000000:3B:00.0")


def two_gpus(place: Path) -> RunFolder:
    """Two nodes of two GPUs. Those of node1: one computes wrongly and has had Xid 79, the other Xid 94."""
    said: dict[int, list[Record]] = {}
    for rank in range(4):
        node, device = nodes(2)[rank // 2], rank % 2
        who = {"rank": rank, "device": f"cuda:{device}", "device_model": H100, "device_id": f"GPU-{rank}"}
        facts = {
            "gpu_serial": f"165{rank}",
            "gpu_pci_bus_id": BUS[device],
            "physical_host": f"HOST-{node}",
            "driver": "580.1",
        }
        about: dict[str, float | Sequence[float]] = {
            "gpu_count": 2,
            "gpu_models": 1,
            "cores": 8,
            "memory_bytes": 1e12,
            "gpu_memory_bytes": 8.55e10,
        }
        numbers: dict[str, float | Sequence[float]] = {
            "rate_flops[bf16]": [7.9e14 + rank * 1e11],
            "wrong_elements[bf16]": float(rank == 2),
            "spread[bf16]": 0.01,
        }
        said[rank] = [
            record("identity", node, about if not device else {"gpu_memory_bytes": 8.55e10}, facts=facts, **who),
            record("matmul", node, numbers, **{**who, "revision": 2}),
        ]
        log: dict[str, float | Sequence[float]] = {}
        if not device:
            log = {"faults[pcie]": 0.0, "corrected": 0.0, "old_faults": 0.0, "faults[xid]": 0.0}
            if node == "node1":
                log |= {"faults[Xid 79 at 0000:18:00]": 1.0, "faults[Xid 94 at 0000:3b:00]": 2.0}
        said[rank].append(record("kernel_log", node, log, **{**who, "revision": 2}))
    tables = {"baseline": "optional", "checks": {"identity": {}, "matmul": {}, "kernel_log": {}}}
    return finished_ranks(place, "run1", tables, nodes(2), said, gpus_per_node=2)


def packed(folder: RunFolder, fault: str, place: Path, extras: Extras | None = None) -> dict[str, str]:
    made = make_bundle(folder, fault_named(fault), place / "none", place / "none", place / "b.tar.gz", extras)
    return {path.partition("/")[2]: text for path, text in made.texts.items()}


def cluster(place: Path, name: str = "node1", host: str = "HOST-node1") -> Path:
    """A folder as ``azure hosts`` leaves it."""
    folder = place / "cluster"
    folder.mkdir()
    node = Node(name, f"/subscriptions/s/vm/{name}", "11111111-2222", "10.0.0.4", physical_host=host)
    (folder / hosts._FILE).write_text(dumps(hosts._Kept((node,))))
    return folder


@pytest.mark.parametrize(
    ("text", "fault", "word"),
    [
        ("node7", Fault("node7"), "node7"),
        ("node7:gpu3", Fault("node7", "cuda:3"), "node7-gpu3"),
        ("n.cluster.x:12", Fault("n.cluster.x", "cuda:12"), "n.cluster.x-gpu12"),
    ],
)
def test_a_fault_is_a_node_or_one_of_its_gpus(text: str, fault: Fault, word: str) -> None:
    assert fault_named(text) == fault
    assert fault.word == word


@pytest.mark.parametrize("text", ["", "node7:", "node7:gpu", "node7:gpu3:1", "a b", "node7:gpu-1"])
def test_what_names_no_fault_is_a_mistake(text: str) -> None:
    with pytest.raises(UsageError, match="expected NODE or NODE:gpuN"):
        fault_named(text)


def test_the_sheet_says_what_which_part_since_when_by_what_and_how_to_repeat_it(tmp_path: Path) -> None:
    sheet = packed(two_gpus(tmp_path), "node1:gpu0", tmp_path)["RMA.md"]
    parts = [line[3:] for line in sheet.splitlines() if line.startswith("## ")]
    assert parts == ["Part", "Fault", "Since when", "Xids", "Evidence", "How to repeat"]
    assert sheet.startswith("# RMA: node1 GPU 0\n")
    for told in (
        "serial number 1652",
        "GPU-2",
        "result-wrong",
        "found in run run1",
        "Xid 79",
        "verdicts.json",
        "--only matmul",
        "physical host HOST-node1",
    ):
        assert told in sheet, told
    assert "at most 0 elements" in sheet
    assert len(sheet.splitlines()) < 60, "one page"


def test_the_sheet_in_the_docs_is_one_that_was_made(tmp_path: Path) -> None:
    page = (Path(__file__).parents[4] / "docs/how-to/bundle.md").read_text("utf-8")
    shown = page.partition("```text\n")[2].partition("```")[0]
    assert shown == packed(two_gpus(tmp_path), "node1:gpu0", tmp_path)["RMA.md"]


def test_of_one_gpu_nothing_is_said_of_its_neighbour(tmp_path: Path) -> None:
    folder = two_gpus(tmp_path)
    first, second, whole = (packed(folder, fault, tmp_path) for fault in ("node1:gpu0", "node1:gpu1", "node1"))
    assert {each["what"] for each in json.loads(whole["xids.json"])} == {"Xid 79", "Xid 94"}
    assert [(each["what"], each["count"]) for each in json.loads(first["xids.json"])] == [("Xid 79", 1)]
    assert [each["what"] for each in json.loads(second["xids.json"])] == ["Xid 94"]
    assert "GPU-3" not in first["RMA.md"]
    assert "Xid 94" not in first["RMA.md"] + first["verdicts.json"]
    assert "result-wrong" not in second["RMA.md"]
    subjects = {v["subject"]["device"] for v in json.loads(second["verdicts.json"])["verdicts"]}
    assert "cuda:0" not in subjects


def test_a_gpu_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run1 has no node1 GPU 7: its devices there are cuda:0, cuda:1"):
        packed(two_gpus(tmp_path), "node1:gpu7", tmp_path)


def test_a_bad_value_has_its_picture_without_other_hosts_in_it(tmp_path: Path) -> None:
    told = packed(gpu_run(tmp_path, rates=(7.9e14, 7.91e14, 4e14, 7.92e14)), "node2", tmp_path)
    pictures = {path: text for path, text in told.items() if path.startswith("plots/")}
    assert any("matmul.rate_flops" in path for path in pictures)
    for text in pictures.values():
        root = ET.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.find(".//{*}use") is not None
        said = " ".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text"))
        assert "node2 GPU 0" in said
        assert "the lowest of 4" in said or "of 4" in said
        assert not any(f"node{other}" in text for other in (0, 1, 3))
        assert "http" not in text.replace("http://www.w3.org/2000/svg", ""), "it fetches nothing"


def test_without_a_bad_value_there_is_no_picture(tmp_path: Path) -> None:
    assert not [path for path in packed(gpu_run(tmp_path), "node1", tmp_path) if path.startswith("plots/")]


# --- for Azure --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "check", "variant", "category"),
    [
        ("gpu-missing", "identity", "", "HpcMissingGpu"),
        ("kernel-fault", "kernel_log", "Xid 94 at 0000:18:00", "XID94ContainedECCError"),
        ("xid", "health", "Xid 48", "XID48DoubleBitECC"),
        ("xid", "health", "Xid 74", "GpuXIDError"),
        ("kernel-fault", "kernel_log", "SXid 79 at 0000:18:00", GENERIC),
        ("port-down", "ib_links", "mlx5_0/1", "IBPortDown"),
        ("peers-slow", "memory_bandwidth", "copy", "GPUMemoryBWFailure"),
        ("baseline-below", "stream", "triad", "CPUPerformance"),
        ("peers-slow", "matmul", "bf16", GENERIC),
        ("memory-wrong", "memory_bandwidth", "copy", GENERIC),
        ("tool-fault", "dcgm_diag", "memory", "HpcGpuDcgmDiagFailure"),
        ("tool-fault", "aznhc", "", GENERIC),
    ],
)
def test_each_finding_has_azures_word_where_there_is_one(code: str, check: str, variant: str, category: str) -> None:
    (finding,) = (each for each in FindingCode if each.value == code)
    assert category_of(finding, check, variant) == category


def test_every_word_is_one_of_azures() -> None:
    found = {category_of(code, check, "") for code in FindingCode for check in ("", "stream", "dcgm_diag")}
    assert found <= CATEGORIES.keys()


def test_the_report_has_the_category_the_part_and_the_host_of_before(tmp_path: Path) -> None:
    folder = two_gpus(tmp_path)
    told = packed(folder, "node1:gpu0", tmp_path, Extras(azure_cluster=cluster(tmp_path)))
    found = json.loads(told["guest-health-report.json"])
    assert found["sent"] is False
    properties = found["body"]["properties"]
    assert properties["impactCategory"] == "Resource.Hpc.Unhealthy.XID79FallenOffBus"
    more = properties["additionalProperties"]
    assert (more["PhysicalHostName"], more["SerialNumber"], more["ModelNumber"]) == ("HOST-node1", "1652", H100)
    assert properties["startDateTime"].startswith("2026-11-22T")


def test_a_node_that_was_moved_accuses_no_machine(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ran on the machine HOST-node1, and hosts has read OTHER"):
        packed(two_gpus(tmp_path), "node1", tmp_path, Extras(azure_cluster=cluster(tmp_path, host="OTHER")))


def test_a_node_that_has_not_failed_is_not_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Nothing of node0 has failed"):
        packed(two_gpus(tmp_path), "node0", tmp_path, Extras(azure_cluster=cluster(tmp_path, "node0")))
