"""dcgm_diag through a stand-in dcgmi: arguments, both streams, exit status."""

from __future__ import annotations

import json

import pytest
from support.solo_context import SoloContext
from support.stand_ins import DATA, eight_gpus, eighth_rank, tools_say

from hpcaccept import checks
from hpcaccept.checks.dcgm_diag import DcgmDiag
from hpcaccept.errors import NotUnderstood, ToolError, UsageError
from hpcaccept.model.check import Unavailable

DCGM = DATA / "dcgm"


def ctx(**params: int) -> SoloContext:
    return eight_gpus(DcgmDiag(**params))


@pytest.mark.parametrize(("name", "results"), [("v4_r2_healthy", 24), ("v3_r2_healthy", 25)])
def test_a_healthy_node_has_no_failure_in_any_sub_test_of_any_gpu(
    monkeypatch: pytest.MonkeyPatch, name: str, results: int
) -> None:
    tools_say(monkeypatch, DCGM / f"{name}.json")
    done = ctx(level=2).run()
    assert len(done.variants("failures")) == results
    assert all(values == [0.0] for values in done.samples.values())
    assert done.facts["dcgm"] in ("4.6.0", "3.3.9")
    assert "dcgmi.out" in done.kept


def test_a_faulty_gpu_is_named_with_its_serial(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, DCGM / "v4_r2_faulty_memory.json", 205)
    done = ctx(level=2).run()
    assert {v for v in done.variants("failures") if done.value("failures", v)} == {"memory/gpu3"}
    assert "serial 1653223000003" in done.facts["found[memory/gpu3]"]


def test_a_fail_is_a_fail_whatever_the_exit_status_says(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, DCGM / "v4_r2_faulty_memory.json", 0)
    assert ctx(level=2).run().value("failures", "memory/gpu3") == 1


def test_an_exit_status_that_no_result_explains_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, DCGM / "v4_r2_healthy.json", 226)
    with pytest.raises(ToolError, match=r"ended with 226 .NVVS_ERROR.*no sub-test says why"):
        ctx(level=2).run()


def test_an_allocation_error_yet_pass_is_an_error_that_names_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, DCGM / "v4_r2_allocation_error_yet_pass.json", 0)
    there = ctx(level=2)
    with pytest.raises(ToolError, match=r"memory/gpu5 \(status Pass\) could not test: Couldn't allocate"):
        there.run()
    assert ("failures", "memory/gpu5") not in there.samples
    assert there.value("failures", "memory/gpu4") == 0, "what was tested is kept"


def test_a_setting_is_an_error_and_no_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, DCGM / "v4_r1_persistence_off.json", 226)
    there = SoloContext(DcgmDiag(), device="cuda:0", gpus_asked=1)
    with pytest.raises(ToolError, match=r"software/gpu0 .* found a wrong setting: .*nvidia-smi -i <gpuId> -pm 1"):
        there.run()
    assert not there.samples


def test_everything_skipped_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, DCGM / "v4_all_skipped.json", 0)
    there = ctx()
    with pytest.raises(Unavailable, match="skipped all 25 sub-tests"):
        there.run()
    assert not there.samples
    assert len(there.refused) == 25


def test_skipped_sub_tests_are_not_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads((DCGM / "v4_r2_healthy.json").read_text("utf-8"))
    for result in document["DCGM Diagnostic"]["test_categories"][1]["tests"][0]["results"]:
        result["status"] = "Skip"
    tools_say(monkeypatch, json.dumps(document))
    there = ctx(level=2).run()
    assert len(there.variants("failures")) == 16
    assert set(there.refused) == {f"memory/gpu{gpu}" for gpu in range(8)}


@pytest.mark.parametrize("level", [2, 3])
def test_only_the_software_was_looked_at_is_not_run(monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    """NVIDIA/DCGM#55, #139: everything above level 1 is skipped, and the exit status is 0."""
    tools_say(monkeypatch, DCGM / "v3_r3_all_but_deployment_skipped.json", 0)
    there = SoloContext(DcgmDiag(level=level), device="cuda:0", gpus_asked=1)
    with pytest.raises(Unavailable, match="DCGM skipped all"):
        there.run()
    assert not there.samples
    assert "GPU Memory/gpu0" in there.refused
    assert "no test of the hardware ran" in there.refused["Denylist"]


def test_level_one_asks_for_no_more_than_the_software(monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads((DCGM / "v4_r2_healthy.json").read_text("utf-8"))
    del document["DCGM Diagnostic"]["test_categories"][1:]
    tools_say(monkeypatch, json.dumps(document))
    assert len(ctx().run().variants("failures")) == 8
    with pytest.raises(Unavailable, match="DCGM skipped all 8 sub-tests"):
        ctx(level=2).run()


def test_a_warning_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads((DCGM / "v4_r2_healthy.json").read_text("utf-8"))
    document["DCGM Diagnostic"]["test_categories"][2]["tests"][0]["results"][0]["status"] = "Warn"
    tools_say(monkeypatch, json.dumps(document))
    with pytest.raises(ToolError, match=r"pcie/gpu0 .status Warn. warns"):
        ctx(level=2).run()


def test_seven_gpus_tested_of_eight_asked_for_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads((DCGM / "v4_r2_healthy.json").read_text("utf-8"))
    for category in document["DCGM Diagnostic"]["test_categories"]:
        del category["tests"][0]["results"][6]
    tools_say(monkeypatch, json.dumps(document))
    with pytest.raises(ToolError, match="software speaks of 7 GPUs, 8 were asked for"):
        ctx(level=2).run()


@pytest.mark.parametrize(
    ("file", "status", "kind", "words"),
    [
        ("no_host_engine.txt", 235, Unavailable, "no host engine answers"),
        ("no_host_engine.txt", 1, Unavailable, "no host engine answers"),
        ("mig.txt", 1, Unavailable, "cut into MIG"),
        ("v4_already_running.json", 217, ToolError, "another diagnostic is running"),
    ],
)
def test_nothing_tested_is_never_the_node_s_fault(
    monkeypatch: pytest.MonkeyPatch, file: str, status: int, kind: type[Exception], words: str
) -> None:
    tools_say(monkeypatch, DCGM / file, status)
    there = ctx()
    with pytest.raises(kind, match=words) as caught:
        there.run()
    assert caught.value.remedy  # type: ignore[attr-defined]
    assert not there.samples


@pytest.mark.parametrize("text", ["", "All is well.", '{"DCGM Diagnostic": {"test_cat'])
def test_output_that_is_none_is_not_understood(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    tools_say(monkeypatch, text, 0)
    with pytest.raises(NotUnderstood):
        ctx().run()


def test_iterations_are_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, DCGM / "v4_iterations.json")
    assert ctx(level=2, iterations=2).run().samples["failures", "pcie/gpu7"] == [0, 0]


def test_an_iteration_that_was_not_run_is_an_error_and_the_others_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads((DCGM / "v4_iterations.json").read_text("utf-8"))
    document["iterations"][1] = json.loads((DCGM / "v4_already_running.json").read_text("utf-8"))
    document["Overall Result"] = "Fail"
    tools_say(monkeypatch, json.dumps(document), 217)
    there = ctx(level=2, iterations=2)
    with pytest.raises(ToolError, match=r"an iteration was not run: .*already running"):
        there.run()
    assert there.samples["failures", "pcie/gpu7"] == [0]


def test_other_ranks_of_the_node_leave_it_alone() -> None:
    assert not eighth_rank(DcgmDiag()).run().samples


def test_without_gpus_it_is_not_run() -> None:
    with pytest.raises(Unavailable, match="no GPU was asked for"):
        SoloContext(DcgmDiag()).run()


def test_a_missing_dcgmi_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match="dcgmi is not installed"):
        ctx().run()


@pytest.mark.parametrize("params", [{"level": 0}, {"level": 5}, {"iterations": 0}])
def test_parameters_that_mean_nothing_are_refused(params: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="of check 'dcgm_diag'"):
        checks.build("dcgm_diag", params)
