"""What one GPU did while something else kept it busy: its clock, power and heat, and why its clock was lowered.

A light thread asks the driver a few questions each period; nothing is asked of torch, nothing of the process that loads
the GPU. Mean power comes from the difference of the GPU's energy counter where it has one, so it misses no peak; clock,
temperature and reasons are samples, the first of them one period after the beginning: what the load has not reached yet
would only blur the means.

Traps:
    * Several reasons hold at once: a sample counts for each of them.
    * A reason without a name is kept as its number (``0x2000``): a newer driver knows more of them than we do.
    * The energy counter moves some ten times a second: the power of a block shorter than a second is uncertain by tenths.
    * An idle GPU trains its PCIe link down and lowers its clock: only what was seen under load says anything.
    * A GPU that has just begun to work may still be training its link up: what two busy samples in a row show counts.
    * Counters are read under load as well: one that is reset in between, and a burst that a long mean would hide, are seen.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from hpcaccept.measure.gpu import driver
from hpcaccept.measure.gpu.driver import IDLE, NoAnswer
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

#: An idle GPU's PCIe link is asked for once in so many samples: it will be trained down.
_PCIE_EVERY = 5
#: What a GPU at work can answer: lowest, highest, unit. Its own shutdown lies near 100 °C (nvmlDeviceGetTemperatureThreshold).
_BELIEVED: dict[driver.Quantity, tuple[float, float, str]] = {
    "temperature": (1.0, 150.0, "°C"),
    "memory_temperature": (1.0, 150.0, "°C"),
    "temperature_margin": (-50.0, 150.0, "K"),
}
#: Counters that are read under load, and the shortest time over which a rate of theirs is a rate.
_COUNTED: tuple[driver.Quantity, ...] = ("memory_errors_corrected", "memory_errors_uncorrected")
_WINDOW_S = 1.0
#: Longest wait for the thread at the end of a block: a question to a GPU that is dying can take seconds.
_JOIN_S = 10.0


@dataclass
class Seen:
    """What was seen of one GPU so far. None where the driver did not say: ``missing`` and ``why_not`` tell why.

    Attributes:
        clock_hz: mean clock of the compute units, idle samples included.
        clock_busy_hz: the same without idle samples.
        power_w: mean power since the first sample.
        energy_j: energy since the first sample, by the GPU's own counter.
        temperature_max_c: highest temperature of the GPU.
        temperature_margin_k: least distance to the hardware's slowdown, where the driver tells that distance itself.
        memory_temperature_max_c: highest temperature of its memory.
        pcie_gen: highest generation of the PCIe link that was seen.
        pcie_width: widest PCIe link that was seen, in lanes.
        pcie_gen_busy: lowest generation that two busy samples in a row showed.
        pcie_width_busy: narrowest link that two busy samples in a row showed.
        risen: counter → how far it rose while it was watched; a reset costs nothing of it.
        risen_per_s: counter → its fastest rise, over a second or more.
        samples: how often the GPU was asked; at least once.
        clock_limits: all clock limit reasons at once → in how many samples they were found.
        missing: what has no answer → why.
        lost: True when the GPU fell off the bus meanwhile.
        why_not: why nothing could be sampled at all; empty when something was.
        cost_s: CPU seconds that the thread has taken from this process.
        duration_s: seconds between the first and the last sample.
    """

    clock_hz: float | None = None
    clock_busy_hz: float | None = None
    power_w: float | None = None
    energy_j: float | None = None
    temperature_max_c: float | None = None
    temperature_margin_k: float | None = None
    memory_temperature_max_c: float | None = None
    pcie_gen: int | None = None
    pcie_width: int | None = None
    pcie_gen_busy: int | None = None
    pcie_width_busy: int | None = None
    risen: dict[str, float] = field(default_factory=dict)
    risen_per_s: dict[str, float] = field(default_factory=dict)
    samples: int = 0
    clock_limits: Counter[tuple[str, ...]] = field(default_factory=Counter)
    missing: dict[str, str] = field(default_factory=dict)
    lost: bool = False
    why_not: str = ""
    cost_s: float = 0.0
    duration_s: float = 0.0

    @property
    def reasons(self) -> dict[str, float]:
        """Share of the samples (0..1) in which each reason held, for those that were seen; they may add up to more than 1."""
        return shares(self.clock_limits)

    @property
    def busy_reasons(self) -> dict[str, float]:
        """As ``reasons``, of the samples in which the GPU was not idle: an idle GPU throttles nothing."""
        return shares(self.busy_limits)

    @property
    def busy_limits(self) -> Counter[tuple[str, ...]]:
        """Those of the samples in which the GPU was not idle."""
        return Counter({names: count for names, count in self.clock_limits.copy().items() if IDLE not in names})


def shares(limits: Counter[tuple[str, ...]]) -> dict[str, float]:
    """Share of the samples in which each reason held."""
    limits = limits.copy()  # the thread may be adding to it
    total = sum(limits.values())
    found: Counter[str] = Counter()
    for names, count in limits.items():
        found.update(dict.fromkeys(names, count))
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
            gpu = open_things.enter_context(driver.open_gpu(device))
        except Unavailable as why:
            seen.why_not = why.cause
        else:
            sampler = Sampler(gpu, seen, period_s)
            sampler.start()
            open_things.callback(sampler.stop)
        yield seen


class Sampler:
    """The thread that asks one GPU until ``stop``.

    Args:
        gpu: that is asked.
        seen: what is found is put here.
        period_s: between two samples.
        whole: also read error counters, the distance to the slowdown and the memory's temperature, for whoever judges the GPU
            and not the load: some of these answers take a millisecond of the driver.
    """

    def __init__(self, gpu: driver.OpenGpu, seen: Seen, period_s: float, *, whole: bool = False) -> None:
        self._whole_look = whole
        self._gpu = gpu
        self._seen = seen
        self._period_s = period_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._first: tuple[float, float] | None = None
        self._clocks: list[float] = [0.0, 0.0]
        self._clock_samples = [0, 0]
        self._watts, self._watt_samples = 0.0, 0
        self._pcie_before: tuple[int | None, int | None] | None = None
        self._counted: dict[str, tuple[float, float]] = {}
        self._start_s = 0.0

    def start(self) -> None:
        """Ask what does not change, and how much energy was taken until now; the thread does the rest."""
        self._count(time.monotonic())
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
        self._count(time.monotonic(), last=True)
        self._seen.cost_s = time.thread_time() - begin

    def _sample(self) -> None:
        seen = self._seen
        clock = self._read("clock")
        reasons = self._reasons()
        busy = reasons is not None and IDLE not in reasons
        if reasons is not None:
            seen.clock_limits[reasons] += 1
        if clock is not None:
            seen.clock_hz = self._mean_clock(0, clock)
            if busy:
                seen.clock_busy_hz = self._mean_clock(1, clock)
        heat = self._read("temperature")
        if heat is not None:
            seen.temperature_max_c = max(heat, seen.temperature_max_c or heat)
        if self._whole_look:
            self._heat_elsewhere()
        if self._first is None:
            watts = self._read("power")
            if watts is not None:
                self._watts += watts
                self._watt_samples += 1
                seen.power_w = self._watts / self._watt_samples
        if busy or seen.samples % _PCIE_EVERY == 0:
            self._pcie(busy)
        else:
            self._pcie_before = None
        self._count(time.monotonic())
        seen.samples += 1
        seen.duration_s = time.monotonic() - self._start_s

    def _heat_elsewhere(self) -> None:
        """How near the slowdown is, and how hot the memory."""
        seen = self._seen
        margin = self._read("temperature_margin")
        if margin is not None:
            known = seen.temperature_margin_k
            seen.temperature_margin_k = margin if known is None else min(margin, known)
        heat = self._read("memory_temperature")
        if heat is not None:
            seen.memory_temperature_max_c = max(heat, seen.memory_temperature_max_c or heat)

    def _mean_clock(self, which: int, clock_hz: float) -> float:
        """Of all samples (0), or of those in which the GPU was busy (1)."""
        self._clocks[which] += clock_hz
        self._clock_samples[which] += 1
        return self._clocks[which] / self._clock_samples[which]

    def _pcie(self, busy: bool) -> None:
        """The best link so far, and of a busy GPU the worst that lasted longer than one look."""
        seen = self._seen
        gen, width = self._whole("pcie_gen"), self._whole("pcie_width")
        seen.pcie_gen = _of_known(max, gen, seen.pcie_gen)
        seen.pcie_width = _of_known(max, width, seen.pcie_width)
        if busy and self._pcie_before is not None:
            lasted = tuple(
                _of_known(max, now, before) for now, before in zip((gen, width), self._pcie_before, strict=True)
            )
            seen.pcie_gen_busy = _of_known(min, lasted[0], seen.pcie_gen_busy)
            seen.pcie_width_busy = _of_known(min, lasted[1], seen.pcie_width_busy)
        self._pcie_before = (gen, width) if busy else None

    def _count(self, now_s: float, last: bool = False) -> None:
        """How far counters rose since they were read last, which is a second ago or more."""
        for name in _COUNTED if self._whole_look else ():
            before = self._counted.get(name)
            if before is not None and now_s - before[0] < _WINDOW_S and not last:
                continue
            count = self._read(name)
            if count is None:
                continue
            self._counted[name] = (now_s, count)
            if before is not None:
                rise = count - before[1] if count >= before[1] else count
                self._seen.risen[name] = self._seen.risen.get(name, 0.0) + rise
                rate = rise / max(now_s - before[0], _WINDOW_S)
                self._seen.risen_per_s[name] = max(rate, self._seen.risen_per_s.get(name, 0.0))

    def _energy(self) -> tuple[float, float] | None:
        """(seconds, joules) of this moment."""
        joules = self._read("energy")
        return None if joules is None else (time.monotonic(), joules)

    def _power(self) -> None:
        """Mean power and energy, from the difference of the counter."""
        now = self._energy() if self._first else None
        if now and self._first and now[0] > self._first[0] and now[1] >= self._first[1]:
            self._seen.energy_j = now[1] - self._first[1]
            self._seen.power_w = self._seen.energy_j / (now[0] - self._first[0])

    def _read(self, what: driver.Quantity) -> float | None:
        """One number; None where there is none, and a question without an answer is not asked again."""
        return None if self._silent(what) else self._noted(what, _believed(what, self._gpu.telemetry(what)))

    def _whole(self, what: driver.Quantity) -> int | None:
        """A number that counts something."""
        found = self._read(what)
        return None if found is None else int(found)

    def _reasons(self) -> tuple[str, ...] | None:
        """The clock limit reasons of this moment."""
        return None if self._silent("reasons") else self._noted("reasons", self._gpu.clock_limit_reasons())

    def _silent(self, what: str) -> bool:
        return what in self._seen.missing or self._seen.lost

    def _noted(self, what: str, found: T | NoAnswer) -> T | None:
        if isinstance(found, NoAnswer):
            self._seen.missing[what] = found.why
            self._seen.lost = found.lost
            return None
        return found


def _of_known(pick: Callable[[int, int], int], one: int | None, other: int | None) -> int | None:
    """The lower or higher of two numbers, the other one where one is not known."""
    return pick(one, other) if one is not None and other is not None else (other if one is None else one)


def _believed(what: driver.Quantity, found: float | NoAnswer) -> float | NoAnswer:
    """The answer, unless no working GPU can have it: 255 °C is a byte that nobody has written, 0 °C at work a sensor that is gone."""
    if isinstance(found, NoAnswer) or what not in _BELIEVED:
        return found
    low, high, unit = _BELIEVED[what]
    if low <= found <= high:
        return found
    return NoAnswer(f"the driver says {found:g} {unit}, expected {low:g} to {high:g} {unit} of a GPU at work")
