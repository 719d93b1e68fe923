"""A tool that a check runs: it ends, it is kept, it leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import psutil
import pytest
from support.solo_context import SoloContext

from hpcaccept.checks.os_noise import OsNoise
from hpcaccept.errors import ToolError
from hpcaccept.model.check import Unavailable
from hpcaccept.transport.tool import run_tool, started


@pytest.fixture
def ctx() -> SoloContext:
    return SoloContext(OsNoise())


def test_output_and_status_are_given_and_kept(ctx: SoloContext) -> None:
    done = run_tool(ctx, ["sh", "-c", "echo out; echo err >&2; exit 3"], timeout_s=10)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert ctx.kept == {"sh.out": "out\n", "sh.err": "err\n"}


def test_variables_are_added_and_taken_away(ctx: SoloContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "k")
    monkeypatch.setenv("TAKEN", "t")
    done = run_tool(ctx, ["sh", "-c", "echo $KEPT$ADDED${TAKEN-gone}"], timeout_s=10, env={"ADDED": "a", "TAKEN": None})
    assert done.stdout == "kagone\n"


def test_a_missing_tool_is_not_run_with_a_remedy(ctx: SoloContext) -> None:
    with pytest.raises(Unavailable, match="no-such-tool is not installed") as caught:
        run_tool(ctx, ["no-such-tool"], timeout_s=1)
    assert caught.value.remedy


def test_a_tool_that_does_not_end_is_killed_with_its_children_and_what_it_said_is_kept(ctx: SoloContext) -> None:
    with pytest.raises(ToolError, match=r"sh did not end within 0.5 s"):
        run_tool(ctx, ["sh", "-c", "echo begun; sleep 617 & wait"], timeout_s=0.5)
    assert ctx.kept == {"sh.out": "begun\n"}
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "617"]]


def test_leaving_the_block_ends_a_tool_that_still_runs() -> None:
    with started(["sleep", "618"]) as process:
        assert process.poll() is None
    assert process.returncode == -9


def test_a_tool_dies_with_a_rank_that_is_killed() -> None:
    program = textwrap.dedent("""
        from hpcaccept.transport.tool import started
        with started(["sleep", "619"]) as tool:
            print(tool.pid, flush=True)
            tool.wait()
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as rank:
        assert rank.stdout
        tool = psutil.Process(int(rank.stdout.readline()))
        while tool.name() != "sleep":  # setpriv has not become it yet
            time.sleep(0.01)
        rank.kill()
    gone, alive = psutil.wait_procs([tool], timeout=5)
    assert gone or not alive
