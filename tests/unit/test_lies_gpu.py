"""Known silent passes and false blames around GPUs: each is shown to end in another verdict here.

The list is that of the field's own bug trackers; each test names the project and what it did. What a GPU says comes through the
real pynvml from the stand-in driver; what is made of it, from the real judge with the real catalogue.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import H100, baseline, entry, every, evidence, judged, plan, rank_started, record, suite
from support.nvml.build import build, describe, environment, h100
from support.solo_context import SoloContext
from support.warm_python import WarmPython, warm_python

from hpcaccept import checks
from hpcaccept.checks.kernel_log import KernelLog
from hpcaccept.judge import Judgement, judge
from hpcaccept.model.record import Record, Sample
from hpcaccept.model.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hpcaccept.model.verdict import Verdict

    Node = Callable[..., Judgement]

pytestmark = pytest.mark.slow

CATALOGUE = checks.catalogue(["identity", "health", "kernel_log"])


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def started(library: Path) -> Iterator[WarmPython]:
    with warm_python("support.nvml.whole_node:main", environment(library, Path(os.devnull))) as python:
        yield python


@pytest.fixture
def node(library: Path, started: WarmPython, tmp_path: Path) -> Node:
    """The judgement of one node of described GPUs, of which eight were asked for."""

    def judge_node(gpus: list[dict[str, str]], asked: int = 8) -> Judgement:
        described = describe(tmp_path / "node", gpus)
        outputs = tmp_path / "outputs" / "00"
        outputs.mkdir(parents=True)
        inherited = {key: text for key, text in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        done = started.run(str(asked), str(outputs), env={**inherited, **environment(library, described)})
        assert done.returncode == 0, done.stderr
        return judged_by_the_real_catalogue([_record(said) for said in json.loads(done.stdout)], asked)

    return judge_node


def _record(said: dict[str, Any]) -> Record:
    samples = tuple(Sample(metric, value, variant) for metric, value, variant in said.pop("samples"))
    return Record(**said, samples=samples, revision=1, step="00", node="node0", device=f"cuda:{said['rank']}")


def judged_by_the_real_catalogue(records: list[Record], asked: int, *names: str) -> Judgement:
    the_plan = plan(suite(*(names or ("identity", "health"))), nodes=1, gpus_per_node=asked)
    rank_starts = tuple(rank_started(rank, "node0", size=asked) for rank in range(asked))
    return judge(
        evidence(records, the_plan, names=("node0",), rank_starts=rank_starts, catalogue=CATALOGUE),
        CATALOGUE,
        {},
        frozenset(),
    )


def found(judgement: Judgement, outcome: Outcome) -> list[Verdict]:
    return [verdict for verdict in every(judgement) if verdict.outcome is outcome]


def eight(**changes: str) -> list[dict[str, str]]:
    """All eight alike."""
    return [h100(n, **changes) for n in range(8)]


def test_eight_healthy_gpus_are_accepted(node: Node) -> None:
    judgement = node(eight())
    assert judgement.exit_code == 0, found(judgement, Outcome.FAIL) + found(judgement, Outcome.ERROR)


# --- gpu-fryer: two throttle reasons at once were not counted; a uniformly slow node passed ---------------------------


def test_two_reasons_at_once_on_every_gpu_fail_every_gpu(node: Node) -> None:
    judgement = node(eight(reasons="0x48"))
    failed = {(v.subject.device, v.variant) for v in found(judgement, Outcome.FAIL)}
    assert failed == {(f"cuda:{n}", reason) for n in range(8) for reason in ("hw_slowdown", "hw_thermal_slowdown")}
    assert judgement.exit_code == 1


def test_a_reason_beside_the_usual_power_cap_is_not_hidden_by_it(node: Node) -> None:
    judgement = node([h100(n, reasons="0x84" if n == 2 else "0x4") for n in range(8)])
    assert {(v.subject.device, v.variant) for v in found(judgement, Outcome.FAIL)} == {("cuda:2", "hw_power_brake")}


def uniformly_slow(rate: float) -> Any:
    the_plan = plan(suite(baseline="required"), nodes=1, gpus_per_node=8)
    numbers = {"rate_flops": rate, "wrong_elements": 0}
    records = [record("speed", "node0", numbers, rank=n, device=f"cuda:{n}") for n in range(8)]
    rank_starts = tuple(rank_started(rank, "node0", size=8) for rank in range(8))
    return evidence(records, the_plan, names=("node0",), rank_starts=rank_starts)


def test_a_uniformly_slow_node_is_not_accepted_for_looking_like_itself() -> None:
    judgement = judged(uniformly_slow(50.0))
    assert len(found(judgement, Outcome.NO_BASELINE)) == 8
    assert judgement.exit_code == 3


def test_a_uniformly_slow_node_fails_against_the_baseline_of_its_model() -> None:
    judgement = judged(uniformly_slow(50.0), {H100: baseline(entry(center=100.0, lower=90.0))})
    assert {v.subject.device for v in found(judgement, Outcome.FAIL)} == {f"cuda:{n}" for n in range(8)}
    assert judgement.exit_code == 1


# --- AzNHC: an Xid seen before was not failed; no log, no check; throttling only logged; unknown size, exit 0 ----------


def kmsg(folder: Path, *lines: tuple[float, str]) -> str:
    file = folder / "kmsg"
    file.write_text("".join(f"3,{n},{int(at_s * 1e6)},-;{text}\n" for n, (at_s, text) in enumerate(lines)))
    return str(file)


def test_an_xid_from_before_the_run_fails_although_no_driver_tells_it_twice(tmp_path: Path) -> None:
    log = kmsg(
        tmp_path,
        (0.0, "Linux version 6.8.0"),
        (50.0, "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.54.15"),
        (900.0, "NVRM: Xid (PCI:0000:18:00): 79, pid=7, GPU has fallen off the bus."),
        (time.monotonic(), "the last word"),
    )
    ctx = SoloContext(KernelLog(source="kmsg", kmsg=log)).run()
    samples = tuple(
        Sample(metric, value, variant) for (metric, variant), values in ctx.samples.items() for value in values
    )
    judgement = judged_by_the_real_catalogue(
        [Record("kernel_log", 1, "00", 0, "node0", "cpu", "measured", samples=samples)], 0, "kernel_log"
    )
    (failed,) = found(judgement, Outcome.FAIL)
    assert (failed.check, failed.metric) == ("kernel_log", "old_faults")
    assert "79" in failed.variant


def test_without_xid_events_nothing_is_said_of_xids(node: Node) -> None:
    judgement = node(eight(events="!not_supported"))
    assert not [v for v in found(judgement, Outcome.PASS) if v.metric == "xid_faults"]
    assert {v.subject.device for v in found(judgement, Outcome.NOT_RUN) if v.variant == "xid_faults"} == {
        f"cuda:{n}" for n in range(8)
    }


def test_throttling_is_judged_and_not_only_told(node: Node) -> None:
    judgement = node([h100(n, reasons="0x80" if n == 6 else "0x4") for n in range(8)])
    assert {v.subject.device for v in found(judgement, Outcome.FAIL)} == {"cuda:6"}
    assert judgement.exit_code == 1


def test_a_model_that_nobody_has_heard_of_is_judged_like_any_other(node: Node) -> None:
    gpus = eight(name="NVIDIA X9000 Unheard Of")
    gpus[4]["pcie_width"] = "8"
    judgement = node(gpus)
    assert {(v.subject.device, v.metric) for v in found(judgement, Outcome.FAIL)} == {("cuda:4", "pcie_lanes_lost")}


# --- soperator: 7 of 8 GPUs, ERROR and an empty status counted as good ------------------------------------------------


def test_seven_of_eight_gpus_fail_the_node_and_the_eighth_passes_nothing(node: Node) -> None:
    judgement = node(eight()[:7])
    (failed,) = found(judgement, Outcome.FAIL)
    assert (failed.metric, failed.value) == ("gpu_count", 7)
    eighth = [v for v in every(judgement) if v.subject.device == "cuda:7" and v.check == "health"]
    assert {v.outcome for v in eighth} == {Outcome.NOT_RUN}
    assert judgement.exit_code == 1


def test_a_lost_gpu_among_eight_is_named_and_its_neighbours_are_not(node: Node) -> None:
    judgement = node([h100(n, **({"state": "lost"} if n == 3 else {})) for n in range(8)])
    failed = {(v.subject.device, v.metric) for v in found(judgement, Outcome.FAIL)}
    assert failed == {("", "gpu_count"), ("cuda:3", "lost")}
    assert found(judgement, Outcome.ERROR) == []
    # Nobody can say how much memory a GPU has that does not answer: that is no fault of the check.
    assert {v.outcome for v in every(judgement) if v.check == "identity" and v.subject.device == "cuda:3"} <= {
        Outcome.PASS, Outcome.NOT_RUN
    }  # fmt: skip


def test_an_error_of_the_driver_is_no_good_status(node: Node) -> None:
    judgement = node([h100(n, **({"ecc_volatile": "!unknown"} if n == 1 else {})) for n in range(8)])
    assert {(v.subject.device, v.metric, v.variant) for v in found(judgement, Outcome.FAIL)} == {
        ("cuda:1", "query_errors", "ecc")
    }


#: Everything that ``health`` asks, unanswered.
SILENT = dict.fromkeys(
    (
        "ecc_volatile", "ecc_aggregate", "sram", "remaps", "remap_banks", "retired", "retired_pending", "pcie_gen",
        "pcie_width", "pcie_gen_max", "pcie_width_max", "pcie_replays", "nvlinks", "clock_mhz", "clock_max_mhz", "reasons",
        "temperature_c", "slowdown_c", "shutdown_c", "power_mw", "power_limit_mw", "power_default_mw", "energy_mj",
        "memory_bytes", "processes", "events", "fabric", "violations_ns", "recovery_action",
        "margin_c", "memory_temperature_c", "memory_max_c",
    ),
    "!not_supported",
)  # fmt: skip


def test_a_driver_that_answers_nothing_is_no_good_status(node: Node) -> None:
    judgement = node(eight(**SILENT))
    assert not [v for v in found(judgement, Outcome.PASS) if v.check == "health"]
    assert {v.subject.device for v in found(judgement, Outcome.NOT_RUN)} == {f"cuda:{n}" for n in range(8)}
    assert judgement.exit_code == 3


def test_no_answer_to_one_question_leaves_the_others_judged(node: Node) -> None:
    judgement = node(eight(ecc_volatile="!not_supported"))
    assert not [v for v in found(judgement, Outcome.PASS) if v.metric == "ecc_uncorrected" and not v.variant]
    assert len([v for v in found(judgement, Outcome.NOT_RUN) if v.variant == "ecc_uncorrected"]) == 8
    assert len([v for v in found(judgement, Outcome.PASS) if v.metric == "remap_failure"]) == 8


# --- Primus: a process that a former user had left (213 GiB) was taken for a slow node --------------------------------


def test_a_leaked_process_is_nobodys_hardware_fault_and_no_pass(node: Node) -> None:
    leaked = {"processes": "4711:76000000000:python3", "memory_used": "76000000000"}
    judgement = node([h100(n, **(leaked if n == 5 else {})) for n in range(8)])
    assert not found(judgement, Outcome.FAIL)
    (error,) = found(judgement, Outcome.ERROR)
    assert (error.subject.device, error.check) == ("cuda:5", "health")
    assert "process 4711 (python3) holds 70.8 GiB" in error.reason
    assert "not the hardware's fault" in error.reason
    assert judgement.exit_code == 3
