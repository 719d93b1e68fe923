"""Runs NVIDIA's own diagnostic on the GPUs of a node."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar

from hpcaccept.errors import ToolError
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import WEEK_S, param
from hpcaccept.parse.dcgm import Diag, Result, parse_diag, return_code
from hpcaccept.transport.tool import run_tool

#: Longest duration per level: NVIDIA's "seconds, 2, 30 minutes, 2 hours" with room for eight GPUs.
#: https://docs.nvidia.com/datacenter/dcgm/latest/user-guide/dcgm-diagnostics.html (read 2026-11-22)
_LONGEST_S = {1: 120.0, 2: 900.0, 3: 3600.0, 4: 14400.0}
_INSTALL = "Add DCGM (datacenter-gpu-manager-4-cuda…) to image and host; its host engine runs on the host."


@dataclass(frozen=True)
class DcgmDiag(Check):
    """Runs ``dcgmi diag -r LEVEL -j`` once per node and judges every sub-test of every GPU.

    How: the first rank of the node runs the tool; DCGM's host engine tests all GPUs that it sees. Layouts of DCGM 3.x
    and 4.x are read. A sub-test that failed on a GPU is ``failures[memory/gpu3]``; numbers are DCGM's (its order of
    the PCI bus).

    What becomes of DCGM's words:
        Pass: ``failures`` = 0 – unless an error beside it says that the test could not be done (NVIDIA/DCGM#284):
            ERROR.
        Fail: FAIL. Where all its errors speak of a setting (severity 5: persistence mode, power limit …) or of a test
            that could not be done (allocation, EUD permissions …): ERROR with the text; the hardware is not blamed.
        Warn: recorded, and ERROR: somebody must look.
        Skip: NOT_RUN of that sub-test; all skipped, or all but the looks at the software where 'level' is 2 or more: NOT_RUN
            of the check (dcgmi exits with 0 then).
    An empty or unknown word, a GPU whose hardware nothing tested, a test that passed on fewer GPUs than were asked for, and an exit status that contradicts
    the results are ERROR. No host engine, MIG, an unsupported GPU: NOT_RUN with what to do.

    Put it before the checks that use torch: their CUDA contexts hold memory that DCGM's memory tests would like to
    have. The tests are children of the host engine: when the time-out ends dcgmi, a test may still load the GPUs for a
    while.

    What it does not mean: level 1 looks at software and counters only, nothing computes.

    Parameters:
        level: 1 (seconds), 2 (2 min), 3 (30 min), 4 (2 h).
        iterations: how often, in one call.
        timeout_s: after which it is ended; 0 means by level: 120, 900, 3600, 14400 for each iteration.
    """

    name: ClassVar = "dcgm_diag"
    revision: ClassVar = 1
    about: ClassVar = "NVIDIA's diagnostic (dcgmi diag), every sub-test of every GPU."
    needs_gpu: ClassVar = True
    on_device: ClassVar = False
    metrics: ClassVar = (
        Metric(
            "failures", "failures", "lower",
            "Errors of a sub-test of DCGM on a GPU. Read the fact 'found[…]'; severity 'isolate' means: take the GPU out of use.", title="DCGM diagnostic errors ({})",
            formula="errors about hardware beside a Fail, at least 1; 0 for a Pass", scope="node", statistic="worst",
            source="https://docs.nvidia.com/datacenter/dcgm/latest/user-guide/dcgm-diagnostics.html",
            limit=at_most(0, "failures", "NVIDIA's own limits for the part"), required=False, code=FindingCode.TOOL_FAULT,
        ),
    )  # fmt: skip

    level: int = param(1, one_of=tuple(_LONGEST_S))
    iterations: int = param(1, at_least=1, at_most=1000)
    timeout_s: float = param(0.0, at_least=0, at_most=WEEK_S, unit="s")

    def measure(self, ctx: CheckContext) -> None:
        """Run it on the first rank of the node; see the class."""
        if ctx.local_rank:
            return
        if not ctx.gpus_asked:
            raise Unavailable("no GPU was asked for")
        more = ["--iterations", str(self.iterations)] if self.iterations > 1 else []
        longest_s = self.timeout_s or _LONGEST_S[self.level] * self.iterations
        done = run_tool(
            ctx, ["dcgmi", "diag", "-r", str(self.level), "-j", *more], timeout_s=longest_s, remedy=_INSTALL
        )
        if done.returncode and "{" not in done.stdout:
            raise _refusal(done.returncode, f"{done.stdout} {done.stderr}")
        diag = parse_diag(done.stdout, software_is_enough=self.level == 1, iterations=self.iterations)
        if diag.runtime_error and not diag.results:
            raise _refusal(done.returncode, diag.runtime_error)
        for name, text in (("dcgm", diag.version), ("dcgm_driver", diag.driver)):
            if text:
                ctx.fact(name, text)
        _judge(ctx, diag, done.returncode)


def _refusal(status: int, text: str) -> Exception:
    """Nothing was tested: NOT_RUN where there is nothing to ask, else ERROR."""
    words = " ".join(text.split())[:400]
    code = return_code(status, words)
    cause = f"dcgmi tested nothing: {code.meaning} (exit status {status}, {code.name})" + (
        f": {words}" if words else ""
    )
    return Unavailable(cause, code.remedy) if code.absent else ToolError(cause, code.remedy)


def _judge(ctx: CheckContext, diag: Diag, status: int) -> None:
    """Emit what is known, then say what is not."""
    troubles = [f"an iteration was not run: {diag.runtime_error}"] if diag.runtime_error else []
    judged = failed = 0
    repeats: dict[str, int] = defaultdict(int)
    for result in diag.results:
        meaning = result.meaning
        if meaning == "skipped":
            ctx.unsupported(result.name, result.said or "DCGM skipped it and gives no reason")
        elif meaning in ("passed", "failed"):
            judged += 1
            failed += meaning == "failed"
            ctx.emit("failures", _errors(result), result.name, repeats[result.name])
            repeats[result.name] += 1
        else:
            word = {"untested": "could not test", "setup": "found a wrong setting", "warned": "warns"}[meaning]
            troubles.append(f"{result.name} (status {result.status}) {word}: {result.said or 'no reason given'}")
        if result.said:
            serial = diag.serials.get(result.device)
            ctx.fact(f"found[{result.name}]", result.said + (f"; serial {serial}" if serial else ""))
    troubles += diag.uncovered(ctx.gpus_asked)
    if status and not failed and not troubles:
        code = return_code(status)
        troubles.append(f"dcgmi ended with {status} ({code.name}: {code.meaning}), and no sub-test says why")
    if troubles:
        raise ToolError(
            f"DCGM: {'; '.join(troubles)}", "Correct what it says and run again; its output is in the run folder."
        )
    if not judged:
        raise Unavailable(
            f"DCGM skipped all {len(diag.results)} sub-tests", "Raise 'level', or see 'found[…]' for reasons."
        )


def _errors(result: Result) -> int:
    if result.meaning == "passed":
        return 0
    return max(1, sum(result.blame(finding) == "failed" for finding in result.findings))
