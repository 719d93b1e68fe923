"""nccl_tests_world as the first of sixteen ranks on two nodes sees it; the program is a stand-in that says what nccl-tests' own writer wrote.

Whole runs, in which it joins a real MPI: tests/system/test_nccl_tests_world.py.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from support.nccl_mpi import RECORDED
from support.solo_context import SoloContext
from support.stand_ins import eight_gpus

from hpcaccept import checks
from hpcaccept.checks.nccl_tests_world import NcclTestsWorld
from hpcaccept.checks.shared import nccl_perf, nccl_transport
from hpcaccept.errors import ToolError, UsageError
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

#: Says what it is to say; refuses to measure other sizes than were recorded, and to be one process of eight GPUs.
PROGRAM = """\
#!/bin/sh
[ "$1 $2 $3 $4 $5 $6" = "-g 1 -b 4096 -e 67108864" ] || exit 99
[ "$CUDA_DEVICE_ORDER" = PCI_BUS_ID ] && ! printenv NCCL_TESTS_MIN_BW && printenv PMIX_RANK >/dev/null || exit 98
while [ $# -gt 1 ]; do [ "$1" = -J ] && file=$2; shift; done
[ -z "$JSON" ] || [ -z "$file" ] || cat "$JSON" >"$file"
[ -n "$JSON" ] || [ -z "$file" ] || { echo "invalid option '?'"; exit 0; }
[ -z "$LOG" ] || printf '%s\\n' "$LOG" >"$NCCL_DEBUG_FILE"
cat "$SAYS"
exit "$ENDS"
"""


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives a context after, or before, what the program is to say."""
    folder = tmp_path / "outputs" / "01"
    folder.mkdir(parents=True)
    file = tmp_path / "bin" / "all_reduce_perf"
    file.parent.mkdir()
    file.write_text(PROGRAM)
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PMIX_RANK", "0")
    monkeypatch.setenv("NCCL_TESTS_MIN_BW", "1")
    for name in ("NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_DEBUG_FILE"):  # the check sets them; taken back here
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")
        del os.environ[name]

    def context(name: str, status: int = 0, with_json: bool = True, log: str = "", **others: Any) -> SoloContext:
        monkeypatch.setenv("JSON", str(RECORDED / f"{name}.json") if with_json else "")
        monkeypatch.setenv("SAYS", str(RECORDED / f"{name}.txt"))
        monkeypatch.setenv("ENDS", str(status))
        monkeypatch.setenv("LOG", log)
        check = NcclTestsWorld(min_bytes=4096, max_bytes=67108864, factor=128, iterations=5, warmup=1)
        ctx = eight_gpus(check, size=16, node="a", folder=folder)
        monkeypatch.setattr(ctx, "allgather", lambda thing: everybody(thing, **others), raising=False)
        return ctx

    return context


def everybody(thing: Any, there: str = "b", lacks: str = "", elsewhere: int = 0) -> list[Any]:
    """What sixteen ranks say when the first eight, on node a, say this; those on the second node may lack the program, or fail."""
    match thing:
        case [str(), str()]:
            return [thing] * 8 + [[there, lacks]] * 8
        case [str(), int(), str()]:
            return [thing] * 8 + [[there, elsewhere, "Test NCCL failure" if elsewhere else ""]] * 8
        case (str(), float()):
            return [thing] * 8 + [(there, thing[1])] * 8
        case _:
            pass
    return [thing] * 16


def of_processes(name: str, count: int) -> str:
    """A recorded document, as so many processes of one GPU each would have written it."""
    document = json.loads((RECORDED / f"{name}.json").read_text())
    document["config"].update(ngpus=1, nthreads=1, devices=document["config"]["devices"][:1] * count)
    return json.dumps(document)


def test_sixteen_gpus_of_two_nodes_are_measured_together(measured: Any) -> None:
    ctx = measured("two_nodes").run()
    assert ctx.variants("busbw_bytes") == {"all_reduce/64MiB"}
    assert ctx.variants("latency_s") == {"all_reduce/4KiB", "all_reduce/512KiB"}
    assert ctx.value("busbw_bytes", "all_reduce/64MiB") == pytest.approx(1351.3e9, rel=1e-3)
    assert ctx.variants("wrong_elements") == {"all_reduce/4KiB", "all_reduce/512KiB", "all_reduce/64MiB"}
    assert ctx.facts["nccl"] == "2.30.7"
    assert "env" not in ctx.kept["all_reduce_perf.json"]
    assert "NCCL has logged nothing" in ctx.refused["cards_share"]


def test_a_build_without_json_is_started_again_and_its_table_read(measured: Any) -> None:
    ctx = measured("two_nodes", with_json=False).run()
    assert ctx.variants("busbw_bytes") == {"all_reduce/64MiB"}


def test_more_than_the_cards_can_carry_is_an_error(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nccl_transport, "card_bytes", lambda: 400e9)
    ctx = measured("two_nodes", log="a:1:1 [0] NCCL INFO Bootstrap: Using eth0:10.0.0.4<0>")
    with pytest.raises(ToolError, match="180% of the 750 GB/s"):
        ctx.run()
    assert ctx.value("cards_share", "all_reduce/64MiB") == pytest.approx(1351.3 / 750, rel=1e-3)


def test_a_node_without_the_program_keeps_all_from_it_by_name(measured: Any) -> None:
    with pytest.raises(Unavailable, match="all_reduce_perf is not installed on b"):
        measured("two_nodes", lacks="all_reduce_perf is not installed where the ranks run").run()


def test_one_node_is_for_another_check(measured: Any) -> None:
    with pytest.raises(Unavailable, match="all ranks are on one node: the check nccl_tests measures that"):
        measured("two_nodes", there="a").run()


def test_a_build_without_mpi_is_not_run(measured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = measured("one_process")
    (tmp_path / "alone.json").write_text(of_processes("one_process", 1))
    monkeypatch.setenv("JSON", str(tmp_path / "alone.json"))
    with pytest.raises(Unavailable, match="was built without MPI: it speaks of 1 GPU, 16 were asked for") as caught:
        ctx.run()
    assert "make MPI=1" in caught.value.remedy
    assert not ctx.samples


@pytest.mark.parametrize(
    ("name", "status", "others", "says"),
    [
        ("two_nodes", 0, {"elsewhere": 3}, r"rank 8 on b and 7 more: all_reduce_perf ended with 3: Test NCCL failure"),
        ("nccl_fails", 3, {}, r"rank 0 on a and 7 more: all_reduce_perf ended with 3: .*NCCL failure"),
        ("eight_processes", 0, {}, "speaks of 8 GPUs, 16 were asked for"),
    ],
)
def test_what_is_not_whole_is_an_error(
    measured: Any, name: str, status: int, others: dict[str, Any], says: str
) -> None:
    with pytest.raises(ToolError, match=says):
        measured(name, status, **others).run()


def test_wrong_elements_are_a_verdict_and_no_error(
    measured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = measured("wrong", 7, elsewhere=7)
    (tmp_path / "wrong.json").write_text(of_processes("wrong", 16))
    monkeypatch.setenv("JSON", str(tmp_path / "wrong.json"))
    ctx.run()
    assert sum(ctx.value("wrong_elements", variant) for variant in ctx.variants("wrong_elements"))


def test_a_program_that_failed_elsewhere_is_not_waited_for(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcaccept.transport.tool._GIVE_UP_S", 0.1)
    ctx = measured("two_nodes", elsewhere=3)
    (ctx.folder / "all_reduce_perf.failed").touch()
    waits = ctx.folder.parents[1] / "bin" / "all_reduce_perf"
    waits.write_text("#!/bin/sh\nsleep 60\n")
    with pytest.raises(ToolError, match="rank 8 on b and 7 more: all_reduce_perf ended with 3"):
        ctx.run()


def test_without_gpus_it_is_not_run() -> None:
    with pytest.raises(Unavailable, match="no GPU was asked for"):
        SoloContext(NcclTestsWorld()).run()


def test_the_program_is_found_where_images_of_clouds_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nccl_perf, "_ELSEWHERE", tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    assert nccl_perf.program_of("all_reduce") == "all_reduce_perf"
    (tmp_path / "all_reduce_perf").write_text("")
    assert nccl_perf.program_of("all_reduce", with_mpi=True) == str(tmp_path / "all_reduce_perf")
    (tmp_path / "all_reduce_perf_mpi").write_text("")
    assert nccl_perf.program_of("all_reduce", with_mpi=True) == str(tmp_path / "all_reduce_perf_mpi")
    assert nccl_perf.program_of("all_reduce") == str(tmp_path / "all_reduce_perf")


@pytest.mark.parametrize("params", [{"op": "all"}, {"factor": 1}, {"min_bytes": 8, "max_bytes": 4}])
def test_parameters_that_mean_nothing_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="of check 'nccl_tests_world'"):
        checks.build("nccl_tests_world", params)
