"""What did one GPU do while something else kept it busy: its clock, power and heat, and why its clock was lowered?

A light thread asks the driver a few questions each period; nothing is asked of CUDA, nothing of the process that loads
the GPU. Mean power comes from the difference of the GPU's energy counter where it has one, so it misses no peak; clock,
temperature and reasons are samples, the first of them one period after the beginning: what the load has not reached yet
would only blur the means.

Traps:
    * Several reasons hold at once: a sample counts for each of its bits. Whoever compares the mask with single values
      sees none of them.
    * A bit without a name is kept as its number (``0x2000``): a newer driver knows more reasons than this table.
    * The energy counter moves some ten times a second: the power of a block shorter than a second is uncertain by tenths.
    * An idle GPU trains its PCIe link down and lowers its clock: only what was seen under load says anything.

Bits: https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html (driver 580, 2025); ``board_limit`` and
``reliability`` stand in ``pynvml`` 13.615 only.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from hpcaccept.measure.gpu import nvml
from hpcaccept.measure.gpu.nvml import NoAnswer
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

IDLE = 0x1
#: Bit of the mask → its name.
REASONS = {
    0x1: "idle",
    0x2: "application_clocks",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake",
    0x100: "display_clocks",
    0x200: "board_limit",
    0x400: "reliability",
}
#: An idle GPU's PCIe link is asked for once in so many samples: it will be trained down.
_PCIE_EVERY = 5
#: Longest wait for the thread at the end of a block: a question to a GPU that is dying can take seconds.
_JOIN_S = 10.0


def decoded(mask: int) -> tuple[str, ...]:
    """Names of all reasons in a mask, in the order of their bits; a bit without a name as ``0x…``."""
    bits = (1 << place for place in range(mask.bit_length()) if mask >> place & 1)
    return tuple(REASONS.get(bit, f"{bit:#x}") for bit in bits)


@dataclass
class Seen:
    """What was seen of one GPU so far. None where the driver did not say: ``missing`` and ``why_not`` tell why.

    Attributes:
        clock_hz: mean clock of the streaming multiprocessors, idle samples included.
        clock_busy_hz: the same without idle samples.
        clock_max_hz: highest clock that the part may reach.
        power_w: mean power since the first sample.
        energy_j: energy since the first sample, by the GPU's own counter.
        temperature_max_c: highest temperature of the GPU.
        pcie_gen: highest generation of the PCIe link that was seen.
        pcie_width: widest PCIe link that was seen, in lanes.
        samples: how often the GPU was asked; at least once.
        masks: mask of reasons → in how many samples it was found.
        missing: what has no answer → why.
        lost: True when the GPU fell off the bus meanwhile.
        why_not: why nothing could be sampled at all; empty when something was.
        cost_s: CPU seconds that the thread has taken from this process.
        duration_s: seconds between the first and the last sample.
    """

    clock_hz: float | None = None
    clock_busy_hz: float | None = None
    clock_max_hz: float | None = None
    power_w: float | None = None
    energy_j: float | None = None
    temperature_max_c: float | None = None
    pcie_gen: int | None = None
    pcie_width: int | None = None
    samples: int = 0
    masks: Counter[int] = field(default_factory=Counter)
    missing: dict[str, str] = field(default_factory=dict)
    lost: bool = False
    why_not: str = ""
    cost_s: float = 0.0
    duration_s: float = 0.0

    @property
    def reasons(self) -> dict[str, float]:
        """Share of the samples (0..1) in which each reason held, for those that were seen; they may add up to more than 1."""
        return shares(self.masks)

    @property
    def busy_reasons(self) -> dict[str, float]:
        """As ``reasons``, of the samples in which the GPU was not idle: an idle GPU throttles nothing."""
        return shares(self.busy_masks)

    @property
    def busy_masks(self) -> Counter[int]:
        """The masks without the bit for an idle GPU."""
        return Counter({mask: count for mask, count in self.masks.copy().items() if not mask & IDLE})


def shares(masks: Counter[int]) -> dict[str, float]:
    """Share of the samples in which each bit was set, by its name."""
    masks = masks.copy()  # the thread may be adding to it
    total = sum(masks.values())
    found: Counter[str] = Counter()
    for mask, count in masks.items():
        found.update(dict.fromkeys(decoded(mask), count))
    return {name: count / total for name, count in found.items()}


@contextlib.contextmanager
def sampling(device: str, period_s: float = 0.1) -> Iterator[Seen]:
    """Watch one GPU while the block runs. Never raises for want of a GPU, a driver or a function: see ``Seen.why_not``.

    What is given can be read during the block and after it.

    Args:
        device: what torch calls it: ``cuda:3``, or ``cpu`` (nothing to see).
        period_s: between two samples.
    """
    seen = Seen()
    with contextlib.ExitStack() as open_things:
        try:
            gpu = open_things.enter_context(nvml.open_gpu(device))
        except Unavailable as why:
            seen.why_not = why.cause
        else:
            sampler = Sampler(gpu, seen, period_s)
            sampler.start()
            open_things.callback(sampler.stop)
        yield seen


class Sampler:
    """The thread that asks one GPU until ``stop``."""

    def __init__(self, gpu: nvml.OpenGpu, seen: Seen, period_s: float) -> None:
        self._gpu = gpu
        self._seen = seen
        self._period_s = period_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._first: tuple[float, float] | None = None
        self._clocks: list[float] = [0.0, 0.0]
        self._clock_samples = [0, 0]
        self._watts, self._watt_samples = 0.0, 0
        self._pcie_max: tuple[int | None, int | None] = (None, None)
        self._start_s = 0.0

    def start(self) -> None:
        """Ask what does not change, and how much energy was taken until now; the thread does the rest."""
        api = self._gpu.api
        maximum = self._ask("clock_max", lambda a, h: a.nvmlDeviceGetMaxClockInfo(h, api.NVML_CLOCK_SM))
        self._seen.clock_max_hz = None if maximum is None else maximum * 1e6
        self._pcie_max = (
            self._ask("pcie_gen_max", lambda a, h: int(a.nvmlDeviceGetMaxPcieLinkGeneration(h))),
            self._ask("pcie_width_max", lambda a, h: int(a.nvmlDeviceGetMaxPcieLinkWidth(h))),
        )
        self._start_s = time.monotonic()
        self._first = self._energy()
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Calling it again does nothing."""
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        begin = time.thread_time()
        while not self._ended.wait(self._period_s) and not self._seen.lost:
            self._sample()
            self._seen.cost_s = time.thread_time() - begin
        if not self._seen.samples:
            self._sample()  # a block shorter than a period
        self._power()
        self._seen.cost_s = time.thread_time() - begin

    def _sample(self) -> None:
        seen = self._seen
        clock = self._ask("clock", lambda api, gpu: api.nvmlDeviceGetClockInfo(gpu, api.NVML_CLOCK_SM))
        mask = self._ask("reasons", _reasons)
        busy = mask is not None and not mask & IDLE
        if mask is not None:
            seen.masks[mask] += 1
        if clock is not None:
            seen.clock_hz = self._mean_clock(0, clock * 1e6)
            if busy:
                seen.clock_busy_hz = self._mean_clock(1, clock * 1e6)
        heat = self._ask("temperature", _temperature)
        if heat is not None:
            seen.temperature_max_c = max(heat, seen.temperature_max_c or heat)
        if self._first is None:
            watts = self._ask("power", lambda api, gpu: api.nvmlDeviceGetPowerUsage(gpu) / 1000)
            if watts is not None:
                self._watts += watts
                self._watt_samples += 1
                seen.power_w = self._watts / self._watt_samples
        if busy or seen.samples % _PCIE_EVERY == 0:
            self._pcie()
        seen.samples += 1
        seen.duration_s = time.monotonic() - self._start_s

    def _mean_clock(self, which: int, clock_hz: float) -> float:
        """Of all samples (0), or of those in which the GPU was busy (1)."""
        self._clocks[which] += clock_hz
        self._clock_samples[which] += 1
        return self._clocks[which] / self._clock_samples[which]

    def _pcie(self) -> None:
        """A link that has shown its best cannot show more: no further question."""
        seen = self._seen
        if seen.pcie_gen is None or seen.pcie_gen != self._pcie_max[0]:
            now = self._ask("pcie_gen", lambda api, gpu: int(api.nvmlDeviceGetCurrPcieLinkGeneration(gpu)))
            seen.pcie_gen = seen.pcie_gen if now is None else max(now, seen.pcie_gen or now)
        if seen.pcie_width is None or seen.pcie_width != self._pcie_max[1]:
            now = self._ask("pcie_width", lambda api, gpu: int(api.nvmlDeviceGetCurrPcieLinkWidth(gpu)))
            seen.pcie_width = seen.pcie_width if now is None else max(now, seen.pcie_width or now)

    def _energy(self) -> tuple[float, float] | None:
        """(seconds, joules) of this moment."""
        joules = self._ask("energy", lambda api, gpu: api.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1000)
        return None if joules is None else (time.monotonic(), joules)

    def _power(self) -> None:
        """Mean power and energy, from the difference of the counter."""
        now = self._energy() if self._first else None
        if now and self._first and now[0] > self._first[0] and now[1] >= self._first[1]:
            self._seen.energy_j = now[1] - self._first[1]
            self._seen.power_w = self._seen.energy_j / (now[0] - self._first[0])

    def _ask(self, what: str, question: Callable[[Any, Any], T]) -> T | None:
        """The answer; None where there is none, and a question without an answer is not asked again."""
        if what in self._seen.missing or self._seen.lost:
            return None
        found = self._gpu.ask(question)
        if isinstance(found, NoAnswer):
            self._seen.missing[what] = found.why
            self._seen.lost = found.lost
            return None
        return found


def _reasons(api: Any, gpu: Any) -> int:
    """Under its new name; drivers before 535 have the old one only."""
    try:
        return int(api.nvmlDeviceGetCurrentClocksEventReasons(gpu))
    except api.NVMLError as fault:
        if fault.value != nvml.Code.FUNCTION_NOT_FOUND:
            raise
        return int(api.nvmlDeviceGetCurrentClocksThrottleReasons(gpu))


def _temperature(api: Any, gpu: Any) -> float:
    """In °C; drivers of CUDA 14 will have the newer call only."""
    try:
        return float(api.nvmlDeviceGetTemperature(gpu, api.NVML_TEMPERATURE_GPU))
    except api.NVMLError as fault:
        if fault.value != nvml.Code.FUNCTION_NOT_FOUND:
            raise
        return float(api.nvmlDeviceGetTemperatureV(gpu, api.NVML_TEMPERATURE_GPU))
