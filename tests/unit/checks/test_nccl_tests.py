"""nccl_tests through a stand-in program that writes its JSON, or does not know how to."""

from __future__ import annotations

from typing import Any

import pytest
from support.solo_context import SoloContext
from support.stand_ins import DATA, eight_gpus, eighth_rank, tools_say

from hpcaccept import checks
from hpcaccept.checks.nccl_tests import NcclTests
from hpcaccept.errors import ToolError, UsageError
from hpcaccept.model.check import Unavailable

NCCL = DATA / "nccl_tests"


def says(monkeypatch: pytest.MonkeyPatch, name: str, status: int = 0, **params: Any) -> SoloContext:
    """A build with -J that writes this document."""
    tools_say(monkeypatch, "# Writing JSON output to …\n", status)
    monkeypatch.setenv("STAND_IN_JSON", str(NCCL / f"{name}.json"))
    return eight_gpus(NcclTests(**{"ops": ("all_reduce",), **params}))


def test_bandwidths_of_large_and_times_of_small_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = says(monkeypatch, "all_reduce").run()
    assert ctx.variants("busbw_bytes") == {f"all_reduce/{s}" for s in ("4MiB", "16MiB", "64MiB", "256MiB", "1GiB")}
    assert ctx.variants("latency_s") == {f"all_reduce/{s}" for s in ("4KiB", "16KiB", "64KiB", "256KiB", "1MiB")}
    assert ctx.variants("wrong_elements") == ctx.variants("busbw_bytes") | ctx.variants("latency_s")
    assert not any(ctx.value("wrong_elements", v) for v in ctx.variants("wrong_elements"))
    assert ctx.facts["nccl"] == "2.28.3"


def test_the_environment_in_its_json_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = says(monkeypatch, "all_reduce").run()
    assert "all_reduce_perf.json" in ctx.kept
    assert "correct horse" not in str(ctx.kept)


def test_every_operation_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, "")
    monkeypatch.setenv("STAND_IN_JSON", str(NCCL / "all_reduce.json"))
    ctx = eight_gpus(NcclTests()).run()
    assert {v.partition("/")[0] for v in ctx.variants("busbw_bytes")} == set(NcclTests().ops)


def test_a_program_does_not_join_the_job_of_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "NCCL_TESTS_MIN_BW"):
        monkeypatch.setenv(name, "0")
    assert says(monkeypatch, "all_reduce").run().samples


def test_wrong_elements_fail_at_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = says(monkeypatch, "all_reduce_wrong", 1).run()
    wrong = {v: ctx.value("wrong_elements", v) for v in ctx.variants("wrong_elements")}
    assert {v: n for v, n in wrong.items() if n} == {"all_reduce/64MiB": 3}


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("all_reduce_seven_gpus", 0, "speaks of 7 GPUs, 8 were asked for"),
        ("all_reduce_unverified", 0, "all_reduce of 4KiB was not verified"),
        ("all_reduce_reduced", 0, r"came to 16MiB, 1GiB was asked for: is memory taken\?"),
        ("all_reduce_broke_off", 3, "all_reduce_perf ended with 3: it gives no reason"),
        ("all_reduce", 3, "all_reduce_perf ended with 3"),
    ],
)
def test_what_is_not_whole_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str, status: int, words: str) -> None:
    with pytest.raises(ToolError, match=words):
        says(monkeypatch, name, status).run()


def test_an_older_build_is_run_again_and_its_table_read(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, NCCL / "table_2_18.txt")
    ctx = eight_gpus(NcclTests(ops=("all_reduce",))).run()
    assert ctx.value("latency_s", "all_reduce/4KiB") == pytest.approx(18.05e-6)
    assert len(ctx.variants("wrong_elements")) == 10


@pytest.mark.parametrize("status", [0, 3])
def test_an_error_of_nccl_is_an_error_with_its_words(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    tools_say(monkeypatch, NCCL / "nccl_failure.txt", status)
    ctx = eight_gpus(NcclTests(ops=("all_reduce",)))
    with pytest.raises(ToolError, match=r"Test NCCL failure .*illegal memory access"):
        ctx.run()
    assert not ctx.samples


def test_an_operation_that_is_not_installed_is_not_run_and_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = says(monkeypatch, "all_reduce", ops=("all_reduce", "hypercube", "all_gather")).run()
    assert ctx.refused == {"hypercube": "hypercube_perf is not installed where the ranks run"}
    assert {v.partition("/")[0] for v in ctx.variants("busbw_bytes")} == {"all_reduce", "all_gather"}


def test_too_few_gpus_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, NCCL / "too_few_gpus.txt", 3, (NCCL / "too_few_gpus.err").read_text("utf-8"))
    with pytest.raises(ToolError, match="8 requested but only 7 were found"):
        eight_gpus(NcclTests(ops=("all_reduce",))).run()


def test_silence_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tools_say(monkeypatch, "")
    with pytest.raises(ToolError, match="all_reduce: nccl-tests printed no table"):
        eight_gpus(NcclTests(ops=("all_reduce",))).run()


def test_other_ranks_and_nodes_without_gpus_leave_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not eighth_rank(NcclTests()).run().samples
    with pytest.raises(Unavailable, match="no GPU was asked for"):
        SoloContext(NcclTests()).run()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match="all_reduce_perf is not installed"):
        eight_gpus(NcclTests()).run()


@pytest.mark.parametrize("params", [{"ops": ()}, {"factor": 1}, {"min_bytes": 0}, {"min_bytes": 8, "max_bytes": 4}])
def test_parameters_that_mean_nothing_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="of check 'nccl_tests'"):
        checks.build("nccl_tests", params)
