"""Verifies that all GPUs of a node give the right product under the load of gpu-burn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hpcaccept.errors import NotUnderstood, ToolError
from hpcaccept.measure.gpu import driver
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import WEEK_S, param
from hpcaccept.parse.gpu_burn import Burn, Burnt, parse_gpu_burn
from hpcaccept.transport.tool import found, run_tool

_PRECISIONS = {"float": [], "double": ["-d"], "tensor": ["-tc"]}
#: Kernel files that its builds bring, newest first; it looks for them in the working directory only.
_KERNELS = ("compare.fatbin", "compare.ptx")
#: It looks for these anywhere in *every* argument.
_MISREAD = ("-h", "-l", "-d", "-tc")
#: Allocation before, and since 2023 thirty seconds of waiting after the run.
_AROUND_S = 240.0
_SOURCE = "https://github.com/wilicc/gpu-burn"
_INSTALL = f"Add gpu_burn and its compare.ptx to the image: {_SOURCE}"


@dataclass(frozen=True)
class GpuBurn(Check):
    """Runs gpu-burn on all GPUs of the node at once and judges each, not by its exit status and not by its word "OK".

    How: the first rank of the node runs ``gpu_burn``: one product after the other fills the memory, each is compared
    with the first. Its progress is read report by report. A GPU passes only when it computed to the end, at a rate
    above 0, without an error.

    ``errors[gpu3]``: wrong elements. ``stopped[gpu3]``: it computed and then died, or stood still for the second half
    of the run. ``rate_flops[gpu3]``: the median of each tenth of the time after the first, judged against the same GPU
    of other nodes.

    ERROR, and not the node's fault: a test that could not begin (gpu-burn prints "OK" or "FAULTY" for it, from memory
    that was never written), a GPU that made no product, fewer GPUs in its list than were asked for, a run that ended
    early.

    What it does not mean: each GPU is compared with its own first result within 0.001 (1e-7 in double): one that is
    constantly wrong, or wrong in the last bits, passes; the check ``burn`` compares bit for bit. Put it before checks
    that use torch: their contexts hold memory that it would fill.

    Parameters:
        duration_s: of the load.
        precision: ``float``, ``double`` or ``tensor`` (float through tensor cores).
        memory: as ``gpu_burn -m`` takes it: ``90%`` or a number of MB.
        kernel: its compare kernel; empty: compare.fatbin or compare.ptx beside the program.
    """

    name: ClassVar = "gpu_burn"
    revision: ClassVar = 1
    about: ClassVar = "gpu-burn on all GPUs of a node; judged by its reports, not by its exit status or its OK."
    needs_gpu: ClassVar = True
    metrics: ClassVar = (
        Metric(
            "errors", "elements", "lower", "Elements that gpu-burn found different from its first result.", title="gpu-burn, wrong results ({})",
            formula="largest count of one report; at least 1 where it says FAULTY", source=_SOURCE, scope="node",
            statistic="worst", limit=at_most(0, "elements", "the same product of the same bits"), required=False,
            code=FindingCode.RESULT_WRONG,
        ),
        Metric(
            "stopped", "GPUs", "lower", "A GPU that computed and then died or stood still. Look for Xids: dmesg | grep -i xid.", title="GPUs that stopped in gpu-burn ({})",
            formula="1 if it died, or made no product in the second half of the run", source=_SOURCE, scope="node",
            statistic="worst", limit=at_most(0, "GPUs", "a load of constant size never ends by itself"), required=False,
            code=FindingCode.GPU_LOST,
        ),
        Metric(
            "rate_flops", "FLOP/s", "higher", "Rate of gpu-burn's products, comparison included.", title="gpu-burn rate ({})",
            formula="2·8192³ · products / seconds, as gpu-burn prints it; median of each tenth of the run after the first",
            source=_SOURCE, scope="node", statistic="median", peer_floor=0.05, required=False,
        ),
    )  # fmt: skip

    duration_s: int = param(60, at_least=1, at_most=WEEK_S, unit="s")
    precision: str = param("tensor", one_of=tuple(_PRECISIONS))
    memory: str = param("90%", matching=r"(100|[1-9][0-9]?)%|[1-9][0-9]*")
    kernel: str = ""

    def measure(self, ctx: CheckContext) -> None:
        """Run it on the first rank of the node; see the class."""
        if ctx.local_rank:
            return
        if not ctx.gpus_asked:
            raise Unavailable("no GPU was asked for")
        command = [
            "gpu_burn",
            *_PRECISIONS[self.precision],
            "-m",
            self.memory,
            "-c",
            self._kernel_file(),
            str(self.duration_s),
        ]
        # Its numbers are to be those of the driver.
        order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        done = run_tool(ctx, command, timeout_s=self.duration_s + _AROUND_S, env=order, remedy=_INSTALL)
        try:
            burn = parse_gpu_burn(done.stdout, done.stderr)
        except NotUnderstood as why:
            raise NotUnderstood(f"{why.message} (exit status {done.returncode})", why.remedy) from None
        _judge(ctx, burn, done.returncode)

    def _kernel_file(self) -> str:
        beside = Path(found("gpu_burn", _INSTALL)).resolve().parent
        path = self.kernel or next((str(beside / name) for name in _KERNELS if (beside / name).exists()), "")
        if not path:
            raise Unavailable(
                f"gpu_burn has no {' or '.join(_KERNELS)} beside it in {beside}", "Name it with 'kernel'."
            )
        misread = next((option for option in _MISREAD if option in path), None)
        if misread:
            raise Unavailable(
                f"gpu_burn would take {path} for its option {misread}: it looks for it anywhere in an argument",
                "Put its kernel file under a path without it and name that with 'kernel'.",
            )
        return path


def _judge(ctx: CheckContext, burn: Burn, status: int) -> None:
    """Emit what is known of each GPU, then say what is not."""
    troubles = []
    for gpu in burn.gpus:
        ctx.fact(f"gpu_burn[{_named(gpu)}]", _account(gpu))
        if gpu.computed:
            _emit(ctx, gpu)
        else:
            troubles.append(f"{_named(gpu)} computed nothing (gpu-burn says {gpu.said or 'nothing'})")
    if len(burn.gpus) < ctx.gpus_asked:
        troubles.append(f"gpu-burn tested {len(burn.gpus)} GPUs, {ctx.gpus_asked} were asked for")
    if not burn.concluded:
        troubles.append(f"gpu-burn ended with {status} at {burn.share:.0%} of the time, before its verdicts")
    elif status:
        troubles.append(f"gpu-burn ended with {status}")
    if troubles:
        said = f". It said: {'; '.join(burn.troubles)}" if burn.troubles else ""
        raise ToolError(
            f"{'; '.join(troubles)}{said}", "Do other programs use the GPUs? Its output is in the run folder."
        )


def _emit(ctx: CheckContext, gpu: Burnt) -> None:
    variant = _named(gpu)
    # FAULTY from a test that computed is meant, even where the count was set back before it was printed.
    ctx.emit("errors", max(gpu.errors, int(gpu.said == "FAULTY" and not gpu.stopped)), variant)
    ctx.emit("stopped", int(gpu.stopped), variant)
    for repeat, rate in enumerate(gpu.rates_flops):
        ctx.emit("rate_flops", rate, variant, repeat)


def _named(gpu: Burnt) -> str:
    """By its place on the node: gpu-burn counts those that it sees."""
    return f"gpu{driver.place_of(gpu.index)}"


def _account(gpu: Burnt) -> str:
    heat = "" if gpu.temperature is None else f", {gpu.temperature} °C at the end"
    return f"says {gpu.said or 'nothing'}; {gpu.products} products, {gpu.errors} errors{heat}"
