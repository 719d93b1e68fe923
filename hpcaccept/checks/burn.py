"""Loads CPU and GPU together, and verifies that the node holds its speed and its results."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hpcaccept.errors import ToolError
from hpcaccept.measure.device import Cpu, open_device
from hpcaccept.measure.gpu import telemetry
from hpcaccept.measure.gpu.telemetry import Seen
from hpcaccept.measure.kernels import gemm, replicas
from hpcaccept.measure.kernels.stress import Block, Engine, first_and_last, over_time, rate
from hpcaccept.model.check import Check, CheckContext, Shorter, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, OtherPeak, at_least, at_most
from hpcaccept.model.parameter import MOST_ROWS, WEEK_S, param
from hpcaccept.parse import stress_ng
from hpcaccept.transport import tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.measure.device import Device
    from hpcaccept.measure.kernels.replicas import Replica

    #: Seconds → the blocks of a load that lasted as long.
    Load = Callable[[float], list[Block]]

_OURS = "ours, provisional: no fleet has published this number"
_DRIVER_API = "https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html"
_LOADS = ("auto", "stress-ng", "engine")
#: Of the peak of its number format that a healthy GPU may reach at least: as for ``matmul`` (``judge.questions.floor``), whose products these are.
PRODUCTS = 0.10
#: Shares of the duration for the CPU alone, the GPU alone, and both together.
_CPU_ALONE, _GPU_ALONE, _TOGETHER = 0.1, 0.2, 0.7
#: A CPU that seems to keep less than this is run once more: a throttle stays, a neighbour goes. In 135 runs of 3 s on a
#: shared 2-core virtual machine with up to three noisy processes the share was 0.70 … 1.30, median 1.00.
_LOOK_AGAIN = 0.8
_CPU_BLOCK_S, _GPU_BLOCK_S = 0.04, 0.25
#: Rates kept of one stage: enough to plot it, few enough to store for thousands of GPUs.
_KEPT = 100
#: Longest run of stress-ng in seconds, and how many a stage should have: each is one point of the rate over time.
_SLICE_S, _SLICES = 10, 10
#: Seconds that stress-ng may take beyond its own time: thousands of workers have to be started and ended.
_GRACE_S = 60.0
#: A rate that keeps more than this has not fallen: the medians of two windows of a healthy GPU differ by less.
_HELD = 0.97


@dataclass(frozen=True)
class Burn(Check):
    """CPU and GPU at full load, first alone, then together, every result compared bit for bit.

    How: an engine loads the GPU: it makes one matrix product again and again (``dtype``, n = 8192). Three comparisons,
    because each is blind somewhere: a product of whole numbers against its known exact result (and the first product of
    random numbers against float64); every later product against the first one, bit for bit; and the first one against
    those of all like GPUs of the run (same part, torch and CUDA): ``differs_from_majority`` is 1 for the GPU that came to
    other bits than most. Where there is no majority (two GPUs) all of them get 1: somebody is wrong, and a third has to
    tell who. The CPU is loaded by ``stress-ng --cpu-method matrixprod``, or by the same engine as the GPU (float32,
    n = 1024) where stress-ng is not installed; the fact ``cpu_load`` says by which. The numbers of the two are kept
    apart: other metrics, other variants. stress-ng heats with matrix products but verifies none of them: the last run of
    each stage is ``--cpu-method all --verify``.

    With a GPU: CPU alone for 10 % of ``duration_s``, GPU alone for 20 %, both together for 70 %. Each is judged against
    its own run alone (``kept_share_…``), which shows a shared power or cooling limit, and against itself over time
    (``sustained_share_…``), which shows throttling. The GPU's clock, power, heat and clock-event reasons are sampled
    meanwhile, and the fact ``throttled`` puts a rate that fell beside the reasons that the driver gives. One core is left
    to feed the GPU in all stages.

    Without a GPU: the CPU alone, half of the time by the engine and half by stress-ng; there is nothing to be together
    with. What the CPU keeps until the end is then the engine's; an end that looks slow is looked at once more, for as
    long again.

    The CPU's sustained share compares work per **CPU second** (the engine: of the busiest thread), and the best block of
    the first and of the last window: time slices that a neighbour takes do not count, a lowered clock does. A CPU quota is
    therefore not seen here (``os_noise`` sees it). The GPU's compares the medians of the two windows by the GPU's clock.

    ``wrong_elements`` = 0 in N passes means: with 95 % confidence fewer than 3/N of passes are wrong
    (``corruption_bound``, and the fact ``bound``). Rates are kept over time, in order, at most 100 of a stage. They
    include the comparison: they are lower than ``matmul``'s and comparable only with each other.

    What it does not mean: memory is hardly used (five matrices), so faults elsewhere in it are not seen; a minute is
    not a soak test. stress-ng verifies far less than the engine: some of its methods, for a tenth of the time. Clocks, heat and
    reasons come from the driver; what they are under a real throttle only a GPU can show.

    Parameters:
        duration_s: of all stages together; 0 means 180 with a GPU and 6 without.
        together_s: of CPU and GPU together, in place of its 70 % of ``duration_s``; 0 means those. Without a GPU it means nothing.
        window_s: what first and last window mean, at most half of a stage; 0 means 20 with a GPU and 1 without.
        dtype: number format of the GPU's products.
        size: n of both engines; 0 means 8192 on a GPU and 1024 on a CPU.
        cpu_load: ``stress-ng``, ``engine``, or ``auto``: stress-ng where it is installed.
    """

    name: ClassVar = "burn"
    revision: ClassVar = 2
    about: ClassVar = "CPU and GPU loaded together, each against its run alone; every result compared."
    needs: ClassVar = ("torch",)
    shorter: ClassVar = (
        Shorter({"duration_s": 60}, 1 / 3, "faults that begin only after a minute of load", gpus_only=True),
    )
    metrics: ClassVar = (
        Metric(
            "wrong_elements", "elements", "lower", "Elements of the engine's results that were wrong.", title="burn, wrong results ({})",
            formula="wrong in the first result + bits that changed in later ones", statistic="worst",
            limit=at_most(0, "elements", "the same product of the same bits has the same bits"), required=False,
            code=FindingCode.RESULT_WRONG,
        ),
        Metric(
            "differs_from_majority", "replicas", "lower", "1 when most like devices came to other bits, or in a tie.", title="burn, results that differ from like devices ({})",
            formula="128-bit digest of the first product differs", statistic="worst",
            source="hpcaccept/measure/kernels/replicas.py", required=False,
            limit=at_most(0, "replicas", "the same operations on the same bits give the same bits"), code=FindingCode.REPLICA_DIFFERS,
        ),
        Metric(
            "verify_failures", "failures", "lower", "Wrong results that stress-ng reports of the CPU.", title="CPU stress, wrong results ({})",
            formula="lines 'stress-ng: fail:' that speak of a result, of a run through all methods with --verify", statistic="worst", required=False,
            limit=at_most(0, "failures", "a correct processor computes what it is asked to"), code=FindingCode.PROCESSOR_WRONG,
        ),
        Metric(
            "corruption_bound", "share", "exact", "Share of passes that may be wrong all the same (95 % confidence).", title="burn, upper bound of wrong passes ({})",
            formula="3 / passes, where none was wrong", required=False,
            source="https://en.wikipedia.org/wiki/Rule_of_three_(statistics)",
        ),
        Metric(
            "rate_flops", "FLOP/s", "higher", "Rate of the engine's verified products, alone or together.", title="burn rate ({})",
            formula="2·n³ · passes / seconds, at most 100 figures over the time of a stage", peer_floor=0.05,
            required=False, other_peaks=(OtherPeak("gpu/*", "matmul.rate_flops[fp16]", PRODUCTS, param="dtype"),),
        ),
        Metric(
            "stress_per_s", "1/s", "higher", "Rounds (bogo operations) of stress-ng on the CPU, alone or together.", title="CPU stress rate ({})",
            formula="rounds of all workers / seconds, one figure per run of stress-ng", peer_floor=0.05,
            required=False, kind="products",
        ),
        Metric(
            "kept_share_gpu", "share", "higher", "What the GPU keeps of its rate when the CPU works too.", title="GPU rate kept beside CPU load ({})",
            formula="rate together / rate alone", statistic="worst", noise="ratio", limit=at_least(0.90, "share", _OURS), required=False,
            code=FindingCode.SLOWS_DOWN,
        ),
        Metric(
            "kept_share_cpu", "share", "higher", "What the CPU keeps of its rate when the GPU works too.", title="CPU rate kept beside GPU load ({})",
            formula="rate together / rate alone", statistic="worst", noise="ratio", limit=at_least(0.80, "share", _OURS), required=False,
            code=FindingCode.SLOWS_DOWN,
        ),
        Metric(
            "sustained_share_gpu", "share", "higher", "What the GPU keeps of its rate until the end.", title="GPU rate kept to the end ({})",
            formula="median block of the last window / of the first", statistic="worst", noise="ratio",
            limit=at_least(0.90, "share", _OURS), required=False, code=FindingCode.SLOWS_DOWN,
        ),
        Metric(
            "sustained_share_cpu", "share", "higher", "What the CPU keeps of its rate until the end.", title="CPU rate kept to the end ({})",
            formula="work per CPU second, best block of the last window / of the first", statistic="worst", noise="ratio",
            limit=at_least(0.70, "share", f"{_OURS}; a halved clock gives 0.5, noise alone gave 0.70 at worst"),
            code=FindingCode.SLOWS_DOWN,
        ),
        Metric("passes", "passes", "exact", "Products made and compared.", title="burn passes ({})", formula="count", required=False),
        Metric(
            "clock_hz", "Hz", "exact", "Mean SM clock of the busy GPU.", title="GPU clock in the burn ({})", formula="the driver's clock of the compute units, every 0.1 s",
            source=_DRIVER_API, required=False, headline=False,
        ),
        Metric(
            "flop_per_cycle", "FLOP", "exact", "Operations per cycle of the SM clock: what a lowered clock leaves alone.", title="operations per GPU cycle in the burn ({})",
            formula="median rate_flops / clock_hz", required=False, headline=False,
        ),
        Metric(
            "power_w", "W", "exact", "Mean power of the GPU.", title="GPU power in the burn ({})", source=_DRIVER_API, required=False, headline=False,
            formula="difference of the driver's energy counter / seconds, or mean of its power",
        ),
        Metric(
            "temperature_c", "°C", "exact", "Highest temperature of the GPU.", title="GPU temperature in the burn ({})", formula="the driver's temperature, every 0.1 s",
            source=_DRIVER_API, required=False, headline=False,
        ),
    )  # fmt: skip

    duration_s: float = param(0.0, at_least=0, at_most=WEEK_S, unit="s")
    together_s: float = param(0.0, at_least=0, at_most=WEEK_S, unit="s")
    window_s: float = param(0.0, at_least=0, at_most=WEEK_S, unit="s")
    dtype: str = param("fp16", one_of=tuple(gemm.FORMATS))
    size: int = param(0, at_least=0, at_most=MOST_ROWS)
    cpu_load: str = param("auto", one_of=_LOADS)

    def measure(self, ctx: CheckContext) -> dict[str, Replica]:
        """Alone, then together; see the class. Gives the first result of each engine."""
        device = open_device(ctx.device)
        with Cpu().fp32_as("ieee"):
            if device.kind == "cpu":
                return self._cpu_only(ctx)
            with device.fp32_as("tf32" if self.dtype == "tf32" else "ieee"):
                return self._both(ctx, device)

    def compare(self, ctx: CheckContext, kept: dict[str, Replica] | None) -> None:
        """Compare the first results of all ranks."""
        everyone = ctx.allgather(kept)
        for name in kept or {}:
            theirs = [each.get(name) if each else None for each in everyone]
            replicas.judge(ctx, theirs, "differs_from_majority", name, f"majority[{name}]")

    def _cpu_only(self, ctx: CheckContext) -> dict[str, Replica]:
        chosen, why = self._chosen()
        kinds = ("engine", "stress-ng") if self.cpu_load == "auto" and chosen == "stress-ng" else (chosen,)
        ctx.fact("cpu_load", f"{' and '.join(kinds)}: {why}")
        stage_s = (self.duration_s or 6.0) / len(kinds)
        window_s = min(self.window_s or 1.0, stage_s / 2)
        results = {}
        if "engine" in kinds:
            cpu = self._engine(Cpu())
            engine_load = functools.partial(_run_alone, ctx, cpu)
            blocks = _looked_at_again(ctx, engine_load, stage_s, window_s, "engine")
            _emit_rates(ctx, "rate_flops", blocks, "cpu/alone")
            _emit_results(ctx, "cpu", cpu, blocks)
            results["cpu"] = replicas.replica(ctx, Cpu(), cpu.digest())
        if "stress-ng" in kinds:
            load = StressNg(ctx, ctx.threads).run
            # The engine has said what the CPU keeps, in a hundred blocks; two runs of stress-ng say it worse.
            alone = "engine" not in kinds
            blocks = _looked_at_again(ctx, load, stage_s, window_s, "stress-ng") if alone else load(stage_s)
            _emit_rates(ctx, "stress_per_s", blocks, "alone")
            ctx.emit("verify_failures", sum(b.wrong for b in blocks), "cpu")
        ctx.unsupported("gpu", "no GPU was asked for")
        ctx.unsupported("cpu/together", "it needs a GPU beside it")
        return results

    def _both(self, ctx: CheckContext, device: Device) -> dict[str, Replica]:
        from concurrent.futures import ThreadPoolExecutor  # 10 ms that the login side does not need

        duration_s = self.duration_s or 180.0
        threads = max(1, ctx.threads - 1)
        kind, why = self._chosen()
        ctx.fact("cpu_load", f"{kind}: {why}")
        gpu = self._engine(device)
        cpu = self._engine(Cpu()) if kind == "engine" else None
        load: Load = functools.partial(_run_with, cpu, threads) if cpu else StressNg(ctx, threads).run

        together_s = self.together_s or _TOGETHER * duration_s
        window_s = min(self.window_s or 20.0, together_s / 2)
        results = {"gpu": replicas.replica(ctx, device, gpu.digest())}
        with ThreadPoolExecutor(1) as beside:
            ctx.beat("cpu alone")
            cpu_alone = beside.submit(load, _CPU_ALONE * duration_s).result()
            gpu_alone = _run_gpu(ctx, gpu, "alone", _GPU_ALONE * duration_s)
            cpu_future = beside.submit(load, together_s)
            gpu_both = _run_gpu(ctx, gpu, "together", together_s)
            # What the GPU did is told before anything that stress-ng may have to complain of.
            _emit_gpu(ctx, gpu, gpu_alone, gpu_both, window_s)
            cpu_both = cpu_future.result()
        for stage, blocks in (("alone", cpu_alone), ("together", cpu_both)):
            metric, variant = ("rate_flops", f"cpu/{stage}") if cpu else ("stress_per_s", stage)
            _emit_rates(ctx, metric, blocks, variant)
        ctx.emit("kept_share_cpu", rate(cpu_both) / rate(cpu_alone), kind)
        ctx.emit("sustained_share_cpu", sustained_cpu(cpu_both, cpu_both, window_s), kind)
        if cpu:
            _emit_results(ctx, "cpu", cpu, cpu_alone + cpu_both)
            results["cpu"] = replicas.replica(ctx, Cpu(), cpu.digest())
        else:
            ctx.emit("verify_failures", sum(b.wrong for b in cpu_alone + cpu_both), "cpu")
        return results

    def _chosen(self) -> tuple[str, str]:
        """``stress-ng`` or ``engine``, and why.

        Raises:
            Unavailable: stress-ng was asked for by name and is not installed.
        """
        if self.cpu_load == "engine":
            return "engine", "as the suite says"
        try:
            tool.found("stress-ng")
        except Unavailable as absent:
            if self.cpu_load == "stress-ng":
                raise
            return "engine", absent.cause
        return "stress-ng", "it is installed"

    def _engine(self, device: Device) -> Engine:
        form = gemm.FORMATS[self.dtype if device.kind == "cuda" else "fp32"]
        return Engine(device, form, self.size or form.sizes[device.kind])


class StressNg:
    """The CPU under stress-ng, in short runs: what it says of each is one point of the rate over time.

    Args:
        ctx: of the check.
        workers: processes that compute.
    """

    def __init__(self, ctx: CheckContext, workers: int) -> None:
        self._ctx, self._workers = ctx, workers

    def run(self, duration_s: float) -> list[Block]:
        """At least three runs, each of whole seconds: stress-ng takes 0.5 for 0, and 0 for ever.

        All but the last are matrix products, which heat most and which stress-ng does not verify. The last one goes
        through all of its methods and verifies those that it can; what it finds wrong is counted in the last block.

        Raises:
            Unavailable: it is not installed.
            ToolError: it did not end, or failed for a reason that says nothing about the processor.
            NotUnderstood: what it says has another form.
        """
        slice_s = max(1, min(_SLICE_S, int(duration_s / _SLICES)))
        start, count = time.perf_counter(), max(3, round(duration_s / slice_s))
        blocks = [self._slice("matrixprod", slice_s, start) for _ in range(count - 1)]
        verifying = self._slice("all", slice_s, start)
        return [*blocks[:-1], replace(blocks[-1], wrong=blocks[-1].wrong + verifying.wrong)]

    def _slice(self, method: str, slice_s: int, start: float) -> Block:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="hpcaccept-burn-") as folder:
            yaml = Path(folder) / "metrics.yaml"
            command = ["stress-ng", "--cpu", str(self._workers), "--cpu-method", method, "--verify", "--metrics"]
            command += ["--yaml", str(yaml), "--temp-path", folder, "--timeout", f"{slice_s}s"]
            done = tool.run_tool(self._ctx, command, timeout_s=slice_s + _GRACE_S)
            text = yaml.read_text(encoding="utf-8", errors="replace") if yaml.exists() else ""
        log = done.stdout + done.stderr
        failures = stress_ng.failures(log)
        self._ctx.keep("stress-ng.yaml", text)
        if failures:
            self._ctx.keep("stress-ng.failed", log)
            self._ctx.fact("verify_failures", failures[0])
        elif not done.ok:
            why = stress_ng.STATUS.get(done.returncode, "a stressor did not do its work")
            raise ToolError(f"stress-ng ended with status {done.returncode}: {why}", "Its output is in the run folder.")
        report = stress_ng.report(text)
        self._ctx.fact("stress_ng_version", report.version)
        cpu = report.stressors[0]
        return Block(time.perf_counter() - start, cpu.wall_s, cpu.cpu_s, cpu.bogo_ops, 0, len(failures))


def _looked_at_again(ctx: CheckContext, load: Load, stage_s: float, window_s: float, kind: str) -> list[Block]:
    """The blocks of the CPU alone; an end that looks slow is looked at once more. Emits what the CPU keeps."""
    blocks = load(stage_s)
    share = sustained_cpu(blocks, blocks, window_s)
    if share < _LOOK_AGAIN:
        again = load(stage_s)
        first, share = share, sustained_cpu(blocks, again, window_s)
        ctx.fact(f"sustained[{kind}]", f"{first:.2f} at first, {share:.2f} when looked at again")
        blocks += again
    ctx.emit("sustained_share_cpu", share, kind)
    return blocks


def _run_alone(ctx: CheckContext, cpu: Engine, duration_s: float) -> list[Block]:
    return cpu.run(duration_s, _CPU_BLOCK_S, functools.partial(_say, ctx, "cpu alone"))


@dataclass(frozen=True)
class GpuStage:
    """The blocks of a stage on the GPU, and what its driver saw meanwhile."""

    blocks: list[Block]
    seen: Seen


def _run_gpu(ctx: CheckContext, gpu: Engine, stage: str, duration_s: float) -> GpuStage:
    with telemetry.sampling(ctx.device, period_s=0.1) as seen:
        blocks = gpu.run(duration_s, _GPU_BLOCK_S, functools.partial(_say, ctx, f"gpu {stage}"))
    return GpuStage(blocks, seen)


def _emit_gpu(ctx: CheckContext, gpu: Engine, alone: GpuStage, both: GpuStage, window_s: float) -> None:
    for name, stage in (("alone", alone), ("together", both)):
        _emit_rates(ctx, "rate_flops", stage.blocks, f"gpu/{name}")
        _emit_seen(ctx, stage, f"gpu/{name}")
    ctx.emit("kept_share_gpu", rate(both.blocks) / rate(alone.blocks))
    share = sustained_gpu(both.blocks, window_s)
    ctx.emit("sustained_share_gpu", share)
    story = throttle_story(share, both.seen)
    if story:
        ctx.fact("throttled", story)
    _emit_results(ctx, "gpu", gpu, alone.blocks + both.blocks)


def _say(ctx: CheckContext, stage: str, block: Block) -> None:
    """Once a second, where the stage is."""
    if int(block.end_s) > int(block.end_s - block.seconds):
        ctx.beat(f"{stage}, {block.end_s:.0f} s")


def _run_with(engine: Engine, threads: int, duration_s: float) -> list[Block]:
    """In a thread of its own: the number of OpenMP threads is set for each thread that calls torch."""
    import torch

    torch.set_num_threads(threads)
    return engine.run(duration_s, _CPU_BLOCK_S)


def _emit_rates(ctx: CheckContext, metric: str, blocks: list[Block], variant: str) -> None:
    for repeat, figure in enumerate(over_time(blocks, _KEPT)):
        ctx.emit(metric, figure, variant, repeat)


def _emit_results(ctx: CheckContext, name: str, engine: Engine, blocks: list[Block]) -> None:
    passes, wrong = sum(b.passes for b in blocks), sum(b.wrong for b in blocks)
    ctx.emit("wrong_elements", engine.wrong_first + wrong, name)
    ctx.emit("passes", passes, name)
    told = f"{passes} passes compared, {wrong} elements wrong"
    if not engine.wrong_first + wrong:
        ctx.emit("corruption_bound", 3 / passes, name)
        told += f": fewer than {3 / passes:.2g} of passes are wrong (95 % confidence)"
    ctx.fact(f"bound[{name}]", told)


def _emit_seen(ctx: CheckContext, stage: GpuStage, variant: str) -> None:
    """What the driver said of the GPU; NOT_RUN with the cause for what it did not say."""
    seen = stage.seen
    per_cycle = rate(stage.blocks) / seen.clock_busy_hz if seen.clock_busy_hz else None
    for metric, value, question in (
        ("clock_hz", seen.clock_busy_hz, "clock"),
        ("flop_per_cycle", per_cycle, "clock"),
        ("power_w", seen.power_w, "power"),
        ("temperature_c", seen.temperature_max_c, "temperature"),
    ):
        if value is None:
            ctx.unsupported(metric, seen.why_not or seen.missing.get(question) or "the driver was not heard meanwhile")
        else:
            ctx.emit(metric, value, variant)


def throttle_story(share: float, seen: Seen) -> str:
    """Why a rate fell to this share, by the reasons that the driver gave while the GPU was busy; empty when all is well.

    A rate that held is told too where the driver names a reason that is never normal under load.
    """
    reasons = sorted(seen.busy_reasons.items(), key=lambda item: -item[1])
    told = ", ".join(f"{name} {part * 100:.0f} % of the time" for name, part in reasons)
    if share > _HELD:
        alarming = any(name.startswith("hw_") or name == "sw_thermal_slowdown" for name, _ in reasons)
        return f"the rate held ({share:.2f}), though {told}" if alarming else ""
    if told:
        return f"rate fell to {share:.2f} while {told}"
    return f"rate fell to {share:.2f}, and " + (
        f"why is not known: {seen.why_not}" if seen.why_not else "the driver gave no reason for it"
    )


def sustained_gpu(blocks: list[Block], window_s: float) -> float:
    """Median rate of the last window over that of the first."""
    first, last = first_and_last(blocks, window_s)
    return rate(last) / rate(first)


def sustained_cpu(early: list[Block], late: list[Block], window_s: float) -> float:
    """Best work per CPU second in the last window of ``late`` over that in the first window of ``early``."""
    first, last = first_and_last(early, window_s)[0], first_and_last(late, window_s)[1]
    return max(b.busy_rate for b in last) / max(b.busy_rate for b in first)
