"""Does the node hold its speed and its results while CPU and GPU are loaded together?"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcaccept.measure import product
from hpcaccept.measure.device import Cpu, open_device
from hpcaccept.measure.engine import Block, Engine, first_and_last, rate_flops
from hpcaccept.model.check import Bench, Check
from hpcaccept.model.metric import Metric, at_least, at_most

if TYPE_CHECKING:
    from hpcaccept.measure.device import Device

_OURS = "ours, provisional: no fleet has published this number"
#: Shares of the duration for the CPU alone, the GPU alone, and both together.
_CPU_ALONE, _GPU_ALONE, _TOGETHER = 0.1, 0.2, 0.7
#: A CPU that seems to keep less than this is run once more: a throttle stays, a neighbour goes. In 135 runs of 3 s on a
#: shared 2-core virtual machine with up to three noisy processes the share was 0.70 … 1.30, median 1.00.
_LOOK_AGAIN = 0.8
_CPU_BLOCK_S, _GPU_BLOCK_S = 0.04, 0.25


@dataclass(frozen=True)
class Burn(Check):
    """CPU and GPU at full load, first alone, then together, every result compared bit for bit.

    How: an engine per device makes one matrix product again and again (CPU: float32, n = 1024; GPU: ``dtype``,
    n = 8192). Its first result is verified with whole numbers and against float64; every later one must have the same
    bits. Variants are ``cpu`` and ``gpu``.

    With a GPU: CPU alone for 10 % of ``duration_s``, GPU alone for 20 %, both together for 70 %. Each is judged against
    its own run alone (``kept_share_…``), which shows a shared power or cooling limit, and against itself over time
    (``sustained_share_…``), which shows throttling. One core is left to feed the GPU in all stages.

    Without a GPU: the CPU alone; there is nothing to be together with, so ``kept_share`` is recorded as unsupported. An end
    that looks slow is looked at once more, for as long again.

    The CPU's sustained share compares work per **CPU second** of the busiest thread, and the best block of the first and
    of the last window: time slices that a neighbour takes do not count, a lowered clock does. A CPU quota is therefore
    not seen here (``os_noise`` sees it). The GPU's compares the medians of the two windows by the GPU's clock.

    ``wrong_elements`` = 0 in N passes means: with 95 % confidence fewer than 3/N of passes are wrong (the fact
    ``bound``). The rates include the comparison: they are lower than ``matmul``'s and comparable only with each other.

    What it does not mean: memory is hardly used (five matrices), so faults elsewhere in it are not seen; a minute is
    not a soak test.

    Parameters:
        duration_s: of all stages together; 0 means 180 with a GPU and 3 without.
        window_s: what first and last window mean; 0 means 20 with a GPU and 1 without.
        dtype: number format of the GPU's products.
        size: n of both engines; 0 means 8192 on a GPU and 1024 on a CPU.
    """

    name: ClassVar = "burn"
    revision: ClassVar = 1
    about: ClassVar = "CPU and GPU loaded together, each against its run alone; every result compared."
    needs: ClassVar = ("torch",)
    metrics: ClassVar = (
        Metric(
            "wrong_elements", "elements", "lower", "Elements of results that were wrong.",
            formula="wrong in the first result + bits that changed in later ones", statistic="worst",
            limit=at_most(0, "elements", "the same product of the same bits has the same bits"),
        ),
        Metric(
            "rate_flops", "FLOP/s", "higher", "Rate of verified products, alone or together.",
            formula="2·n³ · passes / seconds, the median block", peer_floor=0.05,
        ),
        Metric(
            "kept_share_gpu", "share", "higher", "What the GPU keeps of its rate when the CPU works too.",
            formula="rate together / rate alone", statistic="worst", limit=at_least(0.90, "share", _OURS), required=False,
        ),
        Metric(
            "kept_share_cpu", "share", "higher", "What the CPU keeps of its rate when the GPU works too.",
            formula="rate together / rate alone", statistic="worst", limit=at_least(0.80, "share", _OURS), required=False,
        ),
        Metric(
            "sustained_share_gpu", "share", "higher", "What the GPU keeps of its rate until the end.",
            formula="median block of the last window / of the first", statistic="worst",
            limit=at_least(0.90, "share", _OURS), required=False,
        ),
        Metric(
            "sustained_share_cpu", "share", "higher", "What the CPU keeps of its rate until the end.",
            formula="work per CPU second, best block of the last window / of the first", statistic="worst",
            limit=at_least(0.70, "share", f"{_OURS}; a halved clock gives 0.5, noise alone gave 0.70 at worst"),
        ),
        Metric("passes", "passes", "exact", "Products made and compared.", formula="count"),
    )  # fmt: skip

    duration_s: float = 0.0
    window_s: float = 0.0
    dtype: str = "fp16"
    size: int = 0

    def __post_init__(self) -> None:
        product.named(self.dtype, "dtype", self.name)

    def measure(self, bench: Bench) -> None:
        """Alone, then together; see the class."""
        device = open_device(bench.device)
        with Cpu().fp32_as("ieee"):
            if device.kind == "cpu":
                self._cpu_only(bench)
                return
            with device.fp32_as("tf32" if self.dtype == "tf32" else "ieee"):
                self._both(bench, device)

    def _cpu_only(self, bench: Bench) -> None:
        duration_s, window_s = self.duration_s or 3.0, self.window_s or 1.0
        cpu = self._engine(Cpu())

        def run() -> list[Block]:
            return cpu.run(duration_s, _CPU_BLOCK_S, functools.partial(_say, bench, "cpu alone"))

        blocks = run()
        share = sustained_cpu(blocks, blocks, window_s)
        if share < _LOOK_AGAIN:
            again = run()
            first, share = share, sustained_cpu(blocks, again, window_s)
            bench.fact("sustained", f"{first:.2f} at first, {share:.2f} when looked at again")
            blocks += again
        bench.emit("rate_flops", rate_flops(blocks), "cpu/alone")
        _emit_results(bench, "cpu", cpu, blocks)
        bench.emit("sustained_share_cpu", share)
        bench.unsupported("gpu", "no GPU was asked for")
        bench.unsupported("cpu/together", "it needs a GPU beside it")

    def _both(self, bench: Bench, device: Device) -> None:
        duration_s, window_s = self.duration_s or 180.0, self.window_s or 20.0
        cpu, gpu = self._engine(Cpu()), self._engine(device)
        threads = max(1, bench.threads - 1)

        def run_gpu(stage: str, share: float) -> list[Block]:
            return gpu.run(share * duration_s, _GPU_BLOCK_S, functools.partial(_say, bench, stage))

        with ThreadPoolExecutor(1) as beside:
            bench.beat("cpu alone")
            cpu_alone = beside.submit(_run_with, cpu, threads, _CPU_ALONE * duration_s).result()
            gpu_alone = run_gpu("gpu alone", _GPU_ALONE)
            cpu_future = beside.submit(_run_with, cpu, threads, _TOGETHER * duration_s)
            gpu_both = run_gpu("together", _TOGETHER)
            cpu_both = cpu_future.result()
        for name, engine, alone, both in (("cpu", cpu, cpu_alone, cpu_both), ("gpu", gpu, gpu_alone, gpu_both)):
            bench.emit("rate_flops", rate_flops(alone), f"{name}/alone")
            bench.emit("rate_flops", rate_flops(both), f"{name}/together")
            bench.emit(f"kept_share_{name}", rate_flops(both) / rate_flops(alone))
            _emit_results(bench, name, engine, alone + both)
        bench.emit("sustained_share_cpu", sustained_cpu(cpu_both, cpu_both, window_s))
        bench.emit("sustained_share_gpu", sustained_gpu(gpu_both, window_s))

    def _engine(self, device: Device) -> Engine:
        form = product.FORMATS[self.dtype if device.kind == "cuda" else "fp32"]
        return Engine(device, form, self.size or form.sizes[device.kind])


def _say(bench: Bench, stage: str, block: Block) -> None:
    """Once a second, where the stage is."""
    if int(block.end_s) > int(block.end_s - block.seconds):
        bench.beat(f"{stage}, {block.end_s:.0f} s")


def _run_with(engine: Engine, threads: int, duration_s: float) -> list[Block]:
    """In a thread of its own: the number of OpenMP threads is set for each thread that calls torch."""
    import torch

    torch.set_num_threads(threads)
    return engine.run(duration_s, _CPU_BLOCK_S)


def _emit_results(bench: Bench, name: str, engine: Engine, blocks: list[Block]) -> None:
    passes, wrong = sum(b.passes for b in blocks), sum(b.wrong for b in blocks)
    bench.emit("wrong_elements", engine.wrong_first + wrong, name)
    bench.emit("passes", passes, name)
    bound = f"fewer than {3 / passes:.2g} of passes are wrong (95 % confidence)"
    bench.fact(f"bound[{name}]", f"{passes} passes compared, {wrong} elements wrong" + ("" if wrong else f": {bound}"))


def sustained_gpu(blocks: list[Block], window_s: float) -> float:
    """Median rate of the last window over that of the first."""
    first, last = first_and_last(blocks, window_s)
    return rate_flops(last) / rate_flops(first)


def sustained_cpu(early: list[Block], late: list[Block], window_s: float) -> float:
    """Best work per CPU second in the last window of ``late`` over that in the first window of ``early``."""
    first, last = first_and_last(early, window_s)[0], first_and_last(late, window_s)[1]
    return max(b.busy_rate_flops for b in last) / max(b.busy_rate_flops for b in first)
