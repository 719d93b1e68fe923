"""What is open on one GPU between ``begin`` and ``measure``, and what was known of it when the run began. Not a check itself.

One crash costs a run a step, and the checks that remain begin again in the next one. Counters that rose in the lost step
would then be taken for the state of before: so the first look of the first step stays in the run folder, and later steps
judge against it.
"""

from __future__ import annotations

import contextlib
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hpcaccept import serial
from hpcaccept.bounded import read_text
from hpcaccept.errors import RunFolderFull
from hpcaccept.measure.gpu import telemetry
from hpcaccept.measure.gpu.driver import Gpu, GpuDriver, Link, NoAnswer, OpenGpu, State, Vendor
from hpcaccept.measure.gpu.events import Listener
from hpcaccept.model.check import CheckContext, Unavailable
from hpcaccept.store.replaced_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class FirstLook:
    """A GPU as it was when the run began.

    Attributes:
        at: seconds since 1970, by the node's clock.
        gpu: its identity.
        numbers: its counters.
        links: to its peers.
    """

    at: float
    gpu: Gpu
    numbers: dict[str, float]
    links: tuple[Link, ...] = ()


@dataclass
class Watch:
    """One GPU from ``begin`` to ``measure``.

    Attributes:
        vendor: of the GPU.
        gpu: who it is, by the first look where it does not answer any more.
        first: its counters and links when the run began.
        before: the look of this step, before anything of the step had touched the GPU.
        seen: what the sampling thread has seen in this step.
        open_error: why the GPU could not be opened at all; empty when it could.
        listener: for the driver's errors; None when there was nothing to listen to.
        first_at: when the run began, seconds since 1970.
        begun_s: when this step began.
        ended_s: when it was looked at last.
        seconds: from the first look of the run to the last one; where the node's clock was set back, those of this step.
    """

    vendor: Vendor
    gpu: Gpu
    first: State = field(default_factory=State)
    before: State = field(default_factory=State)
    seen: telemetry.Seen = field(default_factory=telemetry.Seen)
    open_error: str = ""
    listener: Listener | None = None
    first_at: float = 0.0
    begun_s: float = 0.0
    ended_s: float = 0.0
    seconds: float = 0.0
    _sampler: telemetry.Sampler | None = None
    _opened: OpenGpu | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def begin(cls, ctx: CheckContext, vendor: Vendor, period_s: float) -> Watch:
        """Begin to watch the GPU of this rank.

        Args:
            ctx: of the check.
            vendor: whose driver is asked.
            period_s: between two samples.

        Raises:
            Unavailable: there is no driver to ask, or no GPU at the place of this rank.
        """
        stack = ExitStack()
        driver = stack.enter_context(vendor.open())
        listed = driver.list(("uuid", "partition_uuids", "pci_bus_id"))
        seen = vendor.visible(listed, vendor.wanted())
        if ctx.local_rank >= len(seen):
            stack.close()
            raise Unavailable(
                f"no GPU for this rank: the driver shows {len(seen)}, {ctx.gpus_asked} were asked for",
                f"See gpu_count of the check 'identity'; on the node: {vendor.missing_look}",
            )
        mine = seen[ctx.local_rank]
        gpu = _identified(driver, driver.identity(mine.index), listed)
        watch = cls(vendor, gpu, first_at=time.time(), begun_s=time.monotonic(), _stack=stack)
        watch._open(driver, period_s)
        watch._remember(ctx)
        return watch

    def _open(self, driver: GpuDriver, period_s: float) -> None:
        found = driver.open(self.gpu)
        if isinstance(found, NoAnswer):
            if found.harmless:
                self._stack.close()
                raise Unavailable(f"GPU {self.gpu.index} cannot be opened by this process: {found.why}")
            self.before = State(lost=found.lost)
            self.open_error = "" if found.lost else found.why
            return
        self._opened = found
        self.before = found.counters()
        if not self.before.lost:
            self.listener = Listener(found)
            self._sampler = telemetry.Sampler(found, self.seen, period_s, whole=True)
            self._sampler.start()

    def _remember(self, ctx: CheckContext) -> None:
        """Take over what an earlier step of this run saw first; be the first look where there was none."""
        self.first = self.before
        name = f"health.{ctx.node}.gpu{self.gpu.index}.json"
        earlier = [read_state for file in ctx.folder.parent.glob(f"*/{name}") if (read_state := _read(file))]
        # A GPU that is gone cannot say who it is: it is the one that had this number in the same run.
        same = [read_state for read_state in earlier if self.before.lost or read_state.gpu.uuid == self.gpu.uuid]
        if same:
            read_state = min(same, key=lambda read_state: read_state.at)
            self.first, self.first_at = State(read_state.numbers, links=read_state.links), read_state.at
            self.gpu = read_state.gpu if self.before.lost else self.gpu
        elif not self.before.lost and not self.open_error:
            # Without it only a later step would know less.
            with contextlib.suppress(OSError, RunFolderFull):
                read_state = FirstLook(self.first_at, self.gpu, self.before.numbers, self.before.links)
                replace_file(ctx.folder / name, serial.dumps(read_state))

    def end(self) -> State:
        """The last look; the threads have ended and the driver is closed."""
        with self._stack:
            if self._sampler:
                self._sampler.stop()
            if self.listener:
                self.listener.stop()
            self.ended_s = time.monotonic()
            self.seconds = max(time.time() - self.first_at, self.ended_s - self.begun_s, 1e-3)
            return self._opened.counters() if self._opened else State(lost=self.before.lost)


def _identified(driver: GpuDriver, gpu: Gpu, listed: Sequence[Gpu]) -> Gpu:
    """With its PCI bus id where it is lost, and the only one that is: then it is the address that nobody else has."""
    if gpu.pci_bus_id or [other.state for other in listed].count("lost") != 1 or gpu.state != "lost":
        return gpu
    left = driver.unclaimed(listed)
    return replace(gpu, pci_bus_id=left[0]) if len(left) == 1 else gpu


def _read(file: Path) -> FirstLook | None:
    """What an earlier step left; a file that a full disk tore is none."""
    try:
        return serial.from_plain(serial.loads(read_text(file)), FirstLook)
    except (OSError, ValueError):
        return None
