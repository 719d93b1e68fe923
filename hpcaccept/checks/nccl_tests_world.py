"""Times one of NCCL's collectives over the GPUs of all nodes with nccl-tests, which verifies every element."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.checks.shared import nccl_perf, nccl_transport
from hpcaccept.errors import NotUnderstood, ToolError, UsageError
from hpcaccept.measure.ranks.process_group import log_nccl, nccl_log
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import MOST_BYTES, WEEK_S, param
from hpcaccept.parse.nccl_tests import Perf, failures, has_no_json, parse_json, parse_table, redacted
from hpcaccept.transport.tool import found, run_to_files
from hpcaccept.units import show_bytes

if TYPE_CHECKING:
    from hpcaccept.transport.tool import Finished

#: Operation → its name in the arithmetic of network cards.
_AT_CARDS = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "broadcast": "broadcast",
}
_WITHOUT_MPI = "Build it with MPI: make MPI=1 MPI_HOME=… (https://github.com/NVIDIA/nccl-tests#build), with the MPI that the launcher speaks."


@dataclass(frozen=True)
class NcclTestsWorld(Check):
    """Runs ``all_reduce_perf``, or one of its sisters, as one MPI program over all GPUs of all nodes, and checks every size.

    How: in a step of its own each rank becomes one process of the program (``-g 1``), started under the launcher as the rank was; the rank itself
    leaves MPI alone. So nccl-tests must be built with MPI, and with one that the launcher speaks (Slurm: PMIx or PMI-2; hosts: Open MPI). ``-c 1``
    verifies every element on the GPU. From 4 MiB on ``busbw_bytes[all_reduce/8GiB]`` is kept, below it ``latency_s``, both out of place.

    ``busbw_bytes`` above what the network cards of the nodes can carry is an ERROR (``cards_share``): the ranks are connected otherwise than they seem.

    NOT_RUN: the program is not installed on every node, was built without MPI, or all ranks are on one node (``nccl_tests`` measures that). ERROR, with
    the program's words: it failed on any rank, took part with fewer GPUs than were asked for, verified nothing, or had to measure smaller sizes
    than it was told to.

    The program (``all_reduce_perf_mpi``, else ``all_reduce_perf``) is looked for on the PATH, then in ``/opt/nccl-tests/build``. Its JSON holds the whole environment; it is kept without it. What each
    process says stands in the run folder, also of those that were ended.

    What it does not mean: a slow node slows all; ``pairs`` and ``nccl_tests`` say which. Reduction in the switch (SHARP) beats what busbw can be on a wire.

    Parameters:
        op: all_reduce, all_gather, reduce_scatter, alltoall, broadcast …: the name of its program without _perf. Several: under labels, as in
            ``[checks."nccl_tests_world:alltoall"]``; each has a step.
        min_bytes: smallest size.
        max_bytes: largest size; the program needs three times that on each GPU.
        factor: from one size to the next.
        iterations: timed, per size.
        warmup: not timed.
        timeout_s: of the program.
    """

    name: ClassVar = "nccl_tests_world"
    revision: ClassVar = 1
    about: ClassVar = (
        "nccl-tests over all nodes as one MPI program: a collective over every GPU, every element verified."
    )
    needs_gpu: ClassVar = True
    scope: ClassVar = "world"
    brings_mpi: ClassVar = True
    metrics: ClassVar = (
        Metric(
            "busbw_bytes", "B/s", "higher", "Bus bandwidth of a collective over the GPUs of all nodes.", title="nccl-tests bus bandwidth over all nodes ({})", scope="world",
            formula="bytes / seconds · 2(n-1)/n (all-reduce), (n-1)/n (all-gather, reduce-scatter, all-to-all), 1", source=nccl_perf.SOURCE,
            required=False,
        ),
        Metric(
            "algbw_bytes", "B/s", "exact", "Size of the message over the time.", title="nccl-tests algorithm bandwidth over all nodes ({})", formula="bytes / seconds", source=nccl_perf.SOURCE,
            scope="world", required=False, headline=False,
        ),
        Metric(
            "latency_s", "s", "lower", "Time of one collective of a small size.", title="nccl-tests time over all nodes ({})", formula="seconds / iterations", source=nccl_perf.SOURCE,
            scope="world", required=False, headline=False,
        ),
        Metric(
            "wrong_elements", "elements", "lower", "Elements of a result that are not what they must be, on all ranks together.", title="nccl-tests over all nodes, wrong results ({})",
            formula="#wrong out of place + in place", source=nccl_perf.SOURCE, scope="world", statistic="worst",
            limit=at_most(0, "elements", "nccl-tests allows for the rounding of the type"), required=False, code=FindingCode.SUM_WRONG,
        ),
        *(metric for metric in nccl_transport.METRICS if metric.name == "cards_share"),
    )  # fmt: skip

    op: str = param("all_reduce", one_of=nccl_perf.OPS)
    min_bytes: int = param(1 << 20, at_least=1, at_most=MOST_BYTES, unit="B")
    max_bytes: int = param(8 << 30, at_least=1, at_most=MOST_BYTES, unit="B")
    factor: int = param(2, at_least=2, at_most=1 << 20)
    iterations: int = param(20, at_least=1, at_most=1_000_000)
    warmup: int = param(5, at_least=0, at_most=1_000_000)
    timeout_s: float = param(540.0, above=0, at_most=WEEK_S, unit="s")

    def __post_init__(self) -> None:
        if self.min_bytes > self.max_bytes:
            raise UsageError(
                f"min_bytes of check 'nccl_tests_world' is {self.min_bytes}, expected at most its max_bytes of {self.max_bytes}.",
                f"For example: --set nccl_tests_world.max_bytes={self.min_bytes}",
            )

    def measure(self, ctx: CheckContext) -> None:
        """Run the program on every rank, all together; see the class."""
        if not ctx.gpus_asked:
            raise Unavailable("no GPU was asked for")
        nodes, each = self._everybody_can(ctx)
        # Under a name that this process knows: the log is that of another one.
        os.environ.setdefault("NCCL_DEBUG_FILE", str(ctx.folder / f"{self.op}_perf.r{ctx.rank:06d}.nccl.log"))
        log_nccl(ctx.folder, ctx.rank, os.environ)
        with tempfile.TemporaryDirectory(prefix="hpcaccept-") as private:
            done, document = self._run(ctx, Path(private) / "perf.json")
        perf, troubles, lacks_mpi = self._read(ctx, done, document)
        # One word for all: what one process lived through is no record of its own.
        troubles, lacks_mpi = ctx.bcast([troubles, lacks_mpi])
        if lacks_mpi:
            raise Unavailable(lacks_mpi, _WITHOUT_MPI)
        if troubles:
            raise ToolError("; ".join(troubles), "Its output is in the run folder; NCCL_DEBUG=WARN says more.")
        self._hold_against_cards(ctx, perf, nodes, each)

    def _everybody_can(self, ctx: CheckContext) -> tuple[int, int]:
        """How many nodes, and how many ranks on each (0: unlike numbers). All ranks together.

        Raises:
            Unavailable: the program is not on every node, or there is one node only.
        """
        why = ""
        try:
            found(nccl_perf.program_of(self.op, with_mpi=True), nccl_perf.INSTALL)
        except Unavailable as lacks:
            why = lacks.cause
        world = ctx.allgather([ctx.node, why])
        lacking = {node: cause for node, cause in world if cause}
        if lacking:
            raise Unavailable(f"{self.op}_perf is not installed on {', '.join(sorted(lacking))}", nccl_perf.INSTALL)
        if len({node for node, _ in world}) == 1:
            raise Unavailable(
                "all ranks are on one node: the check nccl_tests measures that", "Ask for two nodes or more."
            )
        return nccl_transport.even_nodes([node for node, _ in world])

    def _run(self, ctx: CheckContext, file: Path) -> tuple[Finished, str]:
        """What this process said, and its JSON: that of rank 0, empty elsewhere and of builds without -J (which have not joined MPI then)."""
        program = nccl_perf.program_of(self.op, with_mpi=True)
        command = [
            program, "-g", "1", "-b", str(self.min_bytes), "-e", str(self.max_bytes), "-f", str(self.factor),
            "-n", str(self.iterations), "-w", str(self.warmup), "-c", "1",
        ]  # fmt: skip
        foreign: dict[str, str | None] = {name: None for name in os.environ if name.startswith("NCCL_TESTS_")}
        environment = {**foreign, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        # Not every launcher notices that one of the processes has failed, and the others wait for it in MPI or NCCL for ever.
        failed = ctx.folder / f"{self.op}_perf.failed"

        def run(words: list[str]) -> Finished:
            ended = run_to_files(
                ctx, words, timeout_s=self.timeout_s, env=environment, remedy=nccl_perf.INSTALL, give_up=failed.exists
            )
            if ended.returncode and not ended.late:
                failed.touch()
            return ended

        done = run([*command, "-J", str(file)])
        if not file.exists() and has_no_json(f"{done.stdout}\n{done.stderr}"):
            done = run(command)
        # A build without MPI writes one on every rank.
        return done, file.read_text("utf-8", errors="replace") if file.exists() else ""

    def _read(self, ctx: CheckContext, done: Finished, document: str) -> tuple[Perf | None, list[str], str]:
        """On rank 0 what was measured, which is emitted, and what went wrong anywhere; all ranks together. Elsewhere nothing."""
        said = "; ".join(failures(f"{done.stdout}\n{done.stderr}"))
        # Who was ended for another's sake says nothing of itself.
        ends = ctx.allgather([ctx.node, 0 if done.late else done.returncode, said[:500]])
        if ctx.rank:
            return None, [], ""
        if document:
            ctx.keep(f"{self.op}_perf.json", redacted(document))
        text = f"{done.stdout}\n{done.stderr}"
        try:
            perf = parse_json(document, text) if document else parse_table(text)
        except NotUnderstood as fault:
            return None, self._failed(ends) or [f"{self.op}_perf: {fault.message}"], ""
        if perf.devices == 1 < ctx.size:
            return None, [], f"{self.op}_perf was built without MPI: it speaks of 1 GPU, {ctx.size} were asked for"
        if perf.nccl:
            ctx.fact("nccl", perf.nccl)
        wrong = nccl_perf.emit(ctx, self.op, perf)
        asked = nccl_perf.Asked(ctx.size, self.max_bytes, self.factor)
        troubles = list(nccl_perf.troubles_of(self.op, perf, asked, status=0, wrong=wrong))
        # Wrong elements end every process with an exit code, and are a verdict.
        return perf, troubles + ([] if wrong else self._failed(ends)), ""

    def _failed(self, ends: list[Any]) -> list[str]:
        """Processes that ended with anything but 0: the first of each kind by name, and how many are like it."""
        kinds: dict[tuple[int, str], list[str]] = {}
        for rank, (node, status, said) in enumerate(ends):
            if status:
                kinds.setdefault((status, said), []).append(f"rank {rank} on {node}")
        return [
            f"{who[0]}{f' and {len(who) - 1} more' if len(who) > 1 else ''}: {self.op}_perf ended with {status}: {said or 'it gives no reason'}"
            for (status, said), who in kinds.items()
        ]

    def _hold_against_cards(self, ctx: CheckContext, perf: Perf | None, nodes: int, each: int) -> None:
        """Emit the share of what the network cards carry; all ranks together."""
        if self.op not in _AT_CARDS:
            return
        if not all(ctx.allgather(bool(nccl_log(os.environ)[0]))):
            if ctx.rank == 0:
                ctx.unsupported("cards_share", "NCCL has logged nothing: whether cards bound the ranks is not known")
            return
        rows = [row for row in perf.rows if row.size_bytes >= nccl_perf.LARGE_BYTES] if perf and each else []
        rates = [
            nccl_transport.Rate(
                f"{self.op}/{show_bytes(row.size_bytes)}",
                _AT_CARDS[self.op],
                nodes,
                each,
                1,
                row.out_of_place.busbw_bytes,
            )
            for row in rows
        ]
        nccl_transport.judge_rates(ctx, "nccl", rates)
