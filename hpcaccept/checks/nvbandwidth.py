"""Times copies between host and GPUs and between the GPUs of a node with NVIDIA's nvbandwidth."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from statistics import median
from typing import ClassVar

from hpcaccept.errors import ToolError
from hpcaccept.measure.gpu import driver
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_least, at_most
from hpcaccept.model.parameter import WEEK_S, param
from hpcaccept.parse.nvbandwidth import Bandwidths, Testcase, parse_nvbandwidth
from hpcaccept.transport.tool import run_tool

_SOURCE = "https://github.com/NVIDIA/nvbandwidth"
_INSTALL = f"Add nvbandwidth 0.5 or newer to the image: {_SOURCE}"


@dataclass(frozen=True)
class Nvbandwidth(Check):
    """Runs ``nvbandwidth -j`` once per node and keeps every cell of every matrix.

    How: the first rank of the node runs it over all GPUs: copies are queued behind a kernel that spins until all are
    there, 3 samples, the median; data is verified after each. Cells are
    ``rate_bytes[host_to_device_memcpy_ce/cpu→gpu3]`` or ``…[device_to_device_memcpy_read_ce/gpu3→gpu5]`` (whence →
    where to), of latency tests ``latency_s[…]``; each is judged against the same cell of the other nodes.
    ``median_bytes[test]`` is the median of a matrix. Of bidirectional tests only the total is kept. Versions 0.5 to
    0.8 are read.

    ``lowest_share[test/gpu3→gpu5]``: the slowest cell against the median of its matrix, by name. Links of one node may
    be of unlike kind (NVLink bridges, two sockets): only less than half is a FAIL. ``wrong_copies[test]``: data that
    arrived wrong.

    A test that is waived (no peer access, one GPU) is NOT_RUN. One that broke off, a matrix of fewer GPUs than were
    asked for, an exit status that no test explains: ERROR.

    What it does not mean: a rate of one copy at a time says nothing of all GPUs at once; put it before checks that use
    torch.

    Parameters:
        tests: names of nvbandwidth's testcases.
        buffer_mib: size of each copy in MiB; smaller ones than nvbandwidth's 512 do not reach the rate of the link.
        samples: of which the median is taken.
        timeout_s: after which it is ended.
    """

    name: ClassVar = "nvbandwidth"
    revision: ClassVar = 1
    about: ClassVar = "nvbandwidth: host and peer copies of all GPUs of a node, every cell kept, the slowest named."
    needs_gpu: ClassVar = True
    metrics: ClassVar = (
        Metric(
            "rate_bytes", "B/s", "higher", "Rate of a copy from one processor's memory to another's.", title="nvbandwidth copy ({})",
            formula="bytes / seconds by CUDA events, median of the samples; GB are 10^9", source=_SOURCE, scope="node",
            peer_floor=0.05, required=False, headline=False, cells="pair",
        ),
        Metric(
            "median_bytes", "B/s", "higher", "Rate of the copies of one test, all cells taken together.", title="nvbandwidth ({})",
            formula="median of the cells of one test", source=_SOURCE, scope="node", peer_floor=0.05, required=False,
        ),
        Metric(
            "latency_s", "s", "lower", "Time of one dependent access to another processor's memory.", title="nvbandwidth latency ({})",
            formula="seconds / accesses of a pointer chase", source=_SOURCE, scope="node", peer_floor=0.10, required=False,
            headline=False, cells="pair",
        ),
        Metric(
            "lowest_share", "share", "higher", "The slowest cell of a matrix against its median: a narrow or slow link.", title="nvbandwidth, slowest cell ({})",
            formula="smallest cell / median of the cells of one test", source=_SOURCE, scope="node", statistic="worst", noise="ratio",
            limit=at_least(0.5, "share", "ours: half of a link's lanes, or another kind of link, and no noise"), required=False,
            cells="pair", code=FindingCode.LINK_SLOW,
        ),
        Metric(
            "wrong_copies", "copies", "lower", "Copies that did not bring what was sent.", title="nvbandwidth, wrong copies ({})",
            formula="lines 'Invalid value when checking the pattern'", source=_SOURCE, scope="node", statistic="worst",
            limit=at_most(0, "copies", "a copy is exact"), required=False, code=FindingCode.COPY_WRONG,
        ),
    )  # fmt: skip

    tests: tuple[str, ...] = param(
        (
            "host_to_device_memcpy_ce",
            "device_to_host_memcpy_ce",
            "device_to_device_memcpy_read_ce",
            "device_to_device_memcpy_write_ce",
        ),
        matching="[a-z0-9_]+",
        not_empty=True,
    )
    buffer_mib: int = param(512, at_least=1, at_most=1 << 20, unit="MiB")
    samples: int = param(3, at_least=1, at_most=10_000)
    timeout_s: float = param(300.0, above=0, at_most=WEEK_S, unit="s")

    def measure(self, ctx: CheckContext) -> None:
        """Run it on the first rank of the node; see the class."""
        if ctx.local_rank:
            return
        if not ctx.gpus_asked:
            raise Unavailable("no GPU was asked for")
        command = ["nvbandwidth", "-j", "-b", str(self.buffer_mib), "-i", str(self.samples), "-t", *self.tests]
        # Its numbers are to be those of the driver.
        order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        done = run_tool(ctx, command, timeout_s=self.timeout_s, env=order, remedy=_INSTALL)
        if done.returncode and "{" not in done.stdout:
            said = " ".join(f"{done.stdout} {done.stderr}".split())[:400]
            raise ToolError(f"nvbandwidth ended with {done.returncode} and no JSON: {said}", _INSTALL)
        measured = parse_nvbandwidth(done.stdout)
        for name, text in (("nvbandwidth", measured.version), ("nvbandwidth_driver", measured.driver)):
            if text:
                ctx.fact(name, text)
        troubles = [*_emit(ctx, measured), *_absent(self.tests, measured)]
        if measured.error:
            troubles.append(f"nvbandwidth broke off: {measured.error}")
        if done.returncode and not troubles:
            troubles.append(f"nvbandwidth ended with {done.returncode} although no test says why")
        if troubles:
            raise ToolError("; ".join(troubles), "Its output is in the run folder; 'nvbandwidth -l' lists its tests.")
        if not any(case.cells for case in measured.testcases):
            raise Unavailable(
                "nvbandwidth waives all tests here, or has no pair to measure",
                "Peer tests need two GPUs with peer access.",
            )


def _emit(ctx: CheckContext, measured: Bandwidths) -> list[str]:
    """Emit what was measured; gives what was not."""
    troubles = []
    broken = ""
    for case in measured.testcases:
        if case.status == "Passed" and case.cells:
            _emit_cells(ctx, replace(case, cells={_placed(cell): value for cell, value in case.cells.items()}))
            if case.gpus < ctx.gpus_asked:
                troubles.append(f"{case.name} speaks of {case.gpus} GPUs, {ctx.gpus_asked} were asked for")
        elif case.status == "Passed":
            ctx.unsupported(case.name, "every cell is N/A: there is no such pair here")
        elif case.status == "Waived":
            ctx.unsupported(case.name, "nvbandwidth waives it on this node")
        else:
            broken = broken or case.name
            troubles.append(f"{case.name} ended as {case.status!r}")
    if measured.wrong_data:
        ctx.emit("wrong_copies", measured.wrong_data, broken)
    return troubles


def _placed(cell: str) -> str:
    """``gpu3→gpu5`` by the places of the node: nvbandwidth counts the GPUs that it sees."""
    return re.sub(r"(?<=gpu)\d+", lambda number: str(driver.place_of(int(number[0]))), cell)


def _emit_cells(ctx: CheckContext, case: Testcase) -> None:
    metric = "rate_bytes" if case.unit == "B/s" else "latency_s"
    for cell, value in case.cells.items():
        ctx.emit(metric, value, f"{case.name}/{cell}")
    ctx.emit("wrong_copies", 0, case.name)
    middle = median(case.cells.values())
    if metric == "rate_bytes" and middle > 0:
        cell, lowest = min(case.cells.items(), key=lambda pair: pair[1])
        ctx.emit("median_bytes", middle, case.name)
        ctx.emit("lowest_share", lowest / middle, f"{case.name}/{cell}")


def _absent(asked: tuple[str, ...], measured: Bandwidths) -> list[str]:
    missing = sorted(set(asked) - {case.name for case in measured.testcases} - set(map(str, range(100))))
    return [f"nvbandwidth says nothing of {', '.join(missing)}"] if missing else []
