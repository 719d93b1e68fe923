"""What the suite of rented machines comes to on a machine with one GPU, of which there are no peers, no baseline and no past."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.builders import record
from support.finished_runs import finished

from hpcaccept import checks
from hpcaccept.app.run.conclude import evidence_of, judge_run
from hpcaccept.app.vast.suite_result import code_of_report, demanded
from hpcaccept.config.suites import read_suite
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.report.formats.json import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hpcaccept.model.check import Check
    from hpcaccept.report.judged import Judged

OF_SEVERAL = ("allreduce", "peer_to_peer")
RTX = "NVIDIA GeForce RTX 4090"
SUITES = {name: resolve_suite(read_suite(name)) for name in ("rented", "marketplace")}
#: What a healthy card is expected to do, by reckoning from published figures; every other number is at its own limit.
USUAL: dict[str, dict[str, float | Sequence[float]]] = {
    "identity": {"gpu_count": 1, "gpu_models": 1, "cores": 16, "memory_bytes": 64e9, "gpu_memory_bytes": 25.7e9},
    "resnet": {"images_per_s[resnet18/infer/amp]": 9000.0, "images_per_s[resnet50/train/fp32]": 500.0},
    "dgemm": {"rate_flops[socket0]": 5e11},
    "stream": {"rate_bytes[triad/socket0]": 5e10},
    "matmul": {"rate_flops[bf16]": 1.4e14, "rate_flops[fp32]": 6e13},
    "memory_bandwidth": {"rate_bytes[copy]": 9e11},
    "transfers": {"rate_bytes[h2d]": 2.4e10, "rate_bytes[d2h]": 2.5e10},
    "train": {"steps_per_s": 700.0},
    "storage": {"rate_bytes[read]": 2e9},
    "burn": {"rate_flops[gpu/alone]": 1.4e14, "rate_flops[gpu/together]": 1.35e14, "stress_per_s[alone]": 9e3, "stress_per_s[together]": 8.9e3},
}  # fmt: skip


def known(check: str) -> type[Check]:
    found = checks.find(check)
    assert found is not None
    return found


def numbers(check: str, **changed: float) -> dict[str, float | Sequence[float]]:
    """Every judged metric of a check at its limit, and the usual rates."""
    metrics = known(check).metrics
    limits = {m.name: m.limit for m in metrics if m.limit is not None}
    at_limit = {name: limit.lower if limit.lower is not None else limit.upper for name, limit in limits.items()}
    usual = USUAL.get(check, {})
    named = {key.partition("[")[0] for key in usual}
    needed = {m.name: 1.0 for m in metrics if m.required and m.limit is None}
    return {**{n: float(v or 0.0) for n, v in {**needed, **at_limit}.items() if n not in named}, **usual, **changed}


def run_of(
    place: Path, model: str = RTX, suite: str = "rented", changed: Mapping[str, dict[str, float]] | None = None
) -> Judged:
    who = {"rank": 0, "device": "cuda:0", "device_model": model, "device_id": "GPU-0"}
    facts = {"driver": "580.1", "cuda": "13.0", "torch": "2.9.0", "gpus_per_node": "1"}
    said = [
        record(
            spec.name, "node0", numbers(spec.name, **(changed or {}).get(spec.name, {})), facts=facts, revision=known(spec.name).revision, **who
        )
        for spec in SUITES[suite].checks
        if spec.name not in OF_SEVERAL
    ]  # fmt: skip
    said += [
        record(name, "node0", None, outcome="not_run", cause="one rank alone", **who)
        for name in OF_SEVERAL
        if name in read_suite(suite).tables["checks"]
    ]
    run = finished(place, "run", read_suite(suite).tables, ("node0",), {"node0": said})
    return judge_run(evidence_of(run), place / "baselines")


def code_of(found: Judged, suite: str = "rented") -> tuple[str, str]:
    code, text, _ = code_of_report(render(found).encode(), demanded(SUITES[suite], 1))
    return code, text


@pytest.mark.parametrize("suite", SUITES)
def test_a_healthy_machine_with_one_gpu_is_judged_whole(tmp_path: Path, suite: str) -> None:
    found = run_of(tmp_path, suite=suite)
    assert found.judgement.exit_code == 0, [v for v in found.judgement.verdicts if v.required]
    assert code_of(found, suite) == ("verified", "the suite says ACCEPTED")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"burn": {"rate_flops[gpu/alone]": 1e12}}, "stress-failed"),
        ({"burn": {"stress_per_s[together]": 2.0}}, "stress-failed"),
        ({"resnet": {"images_per_s[resnet18/infer/amp]": 50.0}}, "resnet-failed"),
        ({"memory_pattern": {"wrong_words": 1.0}}, "ecc-failed"),
    ],
)
def test_a_wreck_is_found_without_anything_to_compare_it_with(tmp_path: Path, changed: dict[str, dict[str, float]], code: str) -> None:  # fmt: skip
    assert code_of(run_of(tmp_path, changed=changed))[0] == code


def test_a_part_of_which_no_peak_is_known_is_not_verified(tmp_path: Path) -> None:
    code, text = code_of(run_of(tmp_path, "Nobody's Accelerator 7"))
    assert code == "not-judged"
    assert "NO_BASELINE" in text
