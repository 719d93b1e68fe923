"""Times NCCL's collectives between the GPUs of a node with nccl-tests, which verifies every element."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hpcaccept.checks.shared import nccl_perf
from hpcaccept.errors import NotUnderstood, ToolError, UsageError
from hpcaccept.model.check import Check, CheckContext, Shorter, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import MOST_BYTES, WEEK_S, param
from hpcaccept.parse.nccl_tests import Perf, failures, has_no_json, parse_json, parse_table, redacted
from hpcaccept.transport.tool import run_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hpcaccept.transport.process import Done

#: What an MPI, the scheduler or a site may have left in the environment: a build with MPI would join the job of this
#: rank, …
_FOREIGN = ("PMIX_", "PMI_", "OMPI_", "PRTE_", "HYDRA_", "MPI_", "SLURM_", "NCCL_TESTS_")


@dataclass(frozen=True)
class NcclTests(Check):
    """Runs ``all_reduce_perf`` and its sisters over all GPUs of a node (one process, ``-g N``) and checks every size.

    How: the first rank of the node runs each program with ``-J`` (builds without it: their table is read). ``-c 1``
    verifies every element on the GPU. From 4 MiB on ``busbw_bytes[all_reduce/64MiB]`` is kept, below it
    ``latency_s[all_reduce/4KiB]``, both out of place, ``algbw_bytes`` beside; each is judged against the other
    nodes. ``wrong_elements`` counts both out of place and in place.

    An operation whose program is not installed is NOT_RUN. ERROR, with NCCL's words: a program that failed, that took
    part with fewer GPUs than were asked for, that verified nothing, or that had to measure smaller sizes than it was
    told to.

    The programs start without what MPI and the scheduler left in the environment, so that builds with MPI do not join
    this job. Their JSON holds the whole environment; it is kept without it.

    What it does not mean: nothing of the network between nodes is used. Put it before checks that use torch: their
    contexts hold memory.

    Parameters:
        ops: all_reduce, all_gather, reduce_scatter, alltoall, broadcast, reduce, sendrecv …: the names of its programs
            without _perf.
        min_bytes: smallest size.
        max_bytes: largest size.
        factor: from one size to the next.
        iterations: timed, per size.
        warmup: not timed.
        timeout_s: of each program.
    """

    name: ClassVar = "nccl_tests"
    revision: ClassVar = 1
    about: ClassVar = "nccl-tests on one node: collectives over its GPUs, every element verified."
    needs_gpu: ClassVar = True
    shorter: ClassVar = (Shorter({"ops": ["all_reduce"]}, 0.2, "nccl-tests other than all_reduce"),)
    metrics: ClassVar = (
        Metric(
            "busbw_bytes", "B/s", "higher", "Bus bandwidth of a collective over the GPUs of a node.", title="nccl-tests bus bandwidth ({})",
            formula="bytes / seconds · 2(n-1)/n (all-reduce), (n-1)/n (all-gather, reduce-scatter, all-to-all), 1", source=nccl_perf.SOURCE,
            scope="node", peer_floor=0.02, required=False,
        ),
        Metric(
            "algbw_bytes", "B/s", "exact", "Size of the message over the time.", title="nccl-tests algorithm bandwidth ({})", formula="bytes / seconds", source=nccl_perf.SOURCE,
            scope="node", required=False, headline=False,
        ),
        Metric(
            "latency_s", "s", "lower", "Time of one collective of a small size.", title="nccl-tests time ({})", formula="seconds / iterations", source=nccl_perf.SOURCE,
            scope="node", peer_floor=0.20, required=False, headline=False,
        ),
        Metric(
            "wrong_elements", "elements", "lower", "Elements of a result that are not what they must be.", title="nccl-tests, wrong results ({})",
            formula="#wrong out of place + in place", source=nccl_perf.SOURCE, scope="node", statistic="worst",
            limit=at_most(0, "elements", "nccl-tests allows for the rounding of the type"), required=False, code=FindingCode.SUM_WRONG,
        ),
    )  # fmt: skip

    ops: tuple[str, ...] = param(nccl_perf.DEFAULT_OPS, one_of=nccl_perf.OPS, not_empty=True, variants=True)
    min_bytes: int = param(4 << 10, at_least=1, at_most=MOST_BYTES, unit="B")
    max_bytes: int = param(1 << 30, at_least=1, at_most=MOST_BYTES, unit="B")
    factor: int = param(4, at_least=2, at_most=1 << 20)
    iterations: int = param(20, at_least=1, at_most=1_000_000)
    warmup: int = param(5, at_least=0, at_most=1_000_000)
    timeout_s: float = param(120.0, above=0, at_most=WEEK_S, unit="s")

    def __post_init__(self) -> None:
        if self.min_bytes > self.max_bytes:
            raise UsageError(
                f"min_bytes of check 'nccl_tests' is {self.min_bytes}, expected at most its max_bytes of {self.max_bytes}.",
                f"For example: --set nccl_tests.max_bytes={self.min_bytes}",
            )

    def measure(self, ctx: CheckContext) -> None:
        """Run each program on the first rank of the node; see the class."""
        if ctx.local_rank:
            return
        if not ctx.gpus_asked:
            raise Unavailable("no GPU was asked for")
        troubles: list[str] = []
        missing: list[Unavailable] = []
        for op in self.ops:
            try:
                troubles += self._one(ctx, op)
            except Unavailable as why:
                missing.append(why)
                ctx.unsupported(op, why.cause)
            except ToolError as why:  # the other operations may say more
                troubles.append(f"{op}: {why.message}")
        if len(missing) == len(self.ops):
            raise missing[0]
        if troubles:
            raise ToolError("; ".join(troubles), "Its output is in the run folder; NCCL_DEBUG=WARN says more.")

    def _one(self, ctx: CheckContext, op: str) -> list[str]:
        """Run and emit one operation; gives what went wrong with it."""
        done, perf = self._run(ctx, op)
        if perf is None:
            said = "; ".join(failures(f"{done.stdout}\n{done.stderr}")) or "it gives no reason"
            return [f"{op}_perf ended with {done.returncode}: {said}"]
        if perf.nccl:
            ctx.fact("nccl", perf.nccl)
        wrong = nccl_perf.emit(ctx, op, perf)
        if perf.errors and (wrong or not done.returncode):
            ctx.fact(f"nccl_said[{op}]", "; ".join(perf.errors))
        asked = nccl_perf.Asked(ctx.gpus_asked, self.max_bytes, self.factor)
        return list(nccl_perf.troubles_of(op, perf, asked, status=done.returncode, wrong=wrong))

    def _run(self, ctx: CheckContext, op: str) -> tuple[Done, Perf | None]:
        """With JSON where the build can, else the table. None: it failed before there was either."""
        program = f"{op}_perf"
        command = [
            nccl_perf.program_of(op), "-g", str(ctx.gpus_asked), "-b", str(self.min_bytes), "-e", str(self.max_bytes), "-f", str(self.factor),
            "-n", str(self.iterations), "-w", str(self.warmup), "-c", "1",
        ]  # fmt: skip
        environment = _environment(os.environ)
        # Not in the run folder: what it writes holds every environment variable.
        with tempfile.TemporaryDirectory(prefix="hpcaccept-") as private:
            file = Path(private) / "perf.json"
            done = run_tool(
                ctx, [*command, "-J", str(file)], timeout_s=self.timeout_s, env=environment, remedy=nccl_perf.INSTALL
            )
            if file.exists():
                document = file.read_text("utf-8", errors="replace")
                ctx.keep(f"{program}.json", redacted(document))
                return done, _unless_failed(done, lambda: parse_json(document, f"{done.stdout}\n{done.stderr}"))
        if has_no_json(f"{done.stdout}\n{done.stderr}"):
            done = run_tool(ctx, command, timeout_s=self.timeout_s, env=environment, remedy=nccl_perf.INSTALL)
        text = f"{done.stdout}\n{done.stderr}"
        return done, _unless_failed(done, lambda: parse_table(text))


def _unless_failed(done: Done, parse: Callable[[], Perf]) -> Perf | None:
    """What was measured. A program that says itself that it failed need not have said anything else."""
    try:
        return parse()
    except NotUnderstood:
        if done.returncode or failures(f"{done.stdout}\n{done.stderr}"):
            return None
        raise


def _environment(environ: Mapping[str, str]) -> dict[str, str | None]:
    foreign: dict[str, str | None] = {name: None for name in environ if name.startswith(_FOREIGN)}
    return {**foreign, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
