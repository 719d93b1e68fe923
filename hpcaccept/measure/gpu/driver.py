"""The port behind which every vendor's GPU driver stands: what checks, ranks, launchers and the doctor may ask of GPUs.

A vendor is one file in ``measure/gpu/drivers``, found by its name, which holds a ``VENDOR``. The vocabulary here belongs to no
vendor; what only one vendor knows (its versions, its words for a fault) travels as text and ends in the facts of a record.

Every question stands alone: what this driver or model does not know is a ``NoAnswer`` that is ``harmless`` and says nothing
about the GPU; any other is an error of the GPU or of its driver.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

#: Holds what ``visible_variable`` was before ``place_rank`` changed it: empty where it was not set, else ``=`` and its value.
_GIVEN = "HPCACCEPT_DEVICES_GIVEN"
#: And which place each of the GPUs has that are left, in the order in which torch and every tool number them.
_PLACES = "HPCACCEPT_DEVICES_PLACES"
#: Loaded by name: vendors import their vocabulary from here.
_DRIVERS = "hpcaccept.measure.gpu.drivers"
#: Asked first on a node with GPUs of several vendors, and the one that says what is missing where there is no driver at all.
_FIRST = "nvidia"

#: One number of a GPU at this moment, in SI units: clocks in Hz, power in W, energy in J since the driver was loaded,
#: temperatures in °C (``temperature_margin``: K that are left until the hardware slows down), PCIe as its generation and
#: its lanes, memory in bytes without what the driver reserves, memory errors since the driver was loaded.
Quantity = Literal[
    "clock",
    "power",
    "energy",
    "temperature",
    "temperature_margin",
    "memory_temperature",
    "memory_errors_corrected",
    "memory_errors_uncorrected",
    "pcie_gen",
    "pcie_gen_max",
    "pcie_width",
    "pcie_width_max",
    "memory_used",
    "memory_total",
]
#: Among the clock limit reasons: nothing runs, so the clock says nothing.
IDLE = "idle"
#: What an error that the driver reports says of the GPU; ``unknown`` where no table of the vendor holds it.
Severity = Literal["fault", "watch", "application", "ignored", "unknown"]
#: The kind of link between two GPUs of which the driver says nothing.
UNKNOWN_LINK = "not known"


class DriverMissing(Unavailable):
    """There is no driver to ask: a package, a library, a kernel module or a permission is missing.

    ``cause`` says which, ``remedy`` what to do about it. A retry alone cannot help.
    """


@dataclass(frozen=True)
class NoAnswer:
    """Why one question to one GPU has no answer.

    Attributes:
        why: in the driver's words.
        lost: True when the GPU fell off the bus: no question will be answered any more.
        harmless: True when this driver, model or user cannot have the answer, which says nothing about the GPU.
    """

    why: str
    lost: bool = False
    harmless: bool = False


@dataclass(frozen=True)
class Gpu:
    """One GPU that the driver counts. None means that it was not said: see ``unsupported`` and ``state``.

    Attributes:
        index: the driver's number.
        state: ``ok``; ``lost`` (it fell off the bus: only a reset or reboot may bring it back); ``hidden`` (no
            permission: a cgroup gave it to somebody else, or its device file is wrong); ``error: …`` in the driver's words.
        name: of the model.
        uuid: of this very part.
        serial: as printed on the board, where it has one.
        pci_bus_id: ``00000000:18:00.0``.
        vbios: version of its firmware.
        memory_bytes: installed, reserved parts included.
        power_limit_w: the limit in force, the lowest of all that apply.
        ecc_mode: ``enabled`` or ``disabled``, with what is pending until the next reset.
        partition_mode: likewise, of the division into several devices.
        partition_uuids: names of those devices.
        persistence: ``enabled`` or ``disabled``.
        pcie_gen_max: highest PCIe generation of GPU and slot together.
        pcie_width_max: widest link of GPU and slot together, in lanes.
        coherent: True when the CPU is reached over a coherent chip-to-chip link: what PCIe says is not the way of the data.
        numa_node: of the kernel, where the GPU's memory is one: then the kernel puts what it likes into it.
        fabric: the fabric domain that it belongs to, where several nodes share one.
        driver: version of the driver.
        runtime: newest compute runtime that this driver runs.
        unsupported: names of the fields that this driver, model or user cannot have.
    """

    index: int
    state: str
    name: str | None = None
    uuid: str | None = None
    serial: str | None = None
    pci_bus_id: str | None = None
    vbios: str | None = None
    memory_bytes: int | None = None
    power_limit_w: float | None = None
    ecc_mode: str | None = None
    partition_mode: str | None = None
    partition_uuids: tuple[str, ...] = ()
    persistence: str | None = None
    pcie_gen_max: int | None = None
    pcie_width_max: int | None = None
    coherent: bool | None = None
    numa_node: int | None = None
    fabric: str | None = None
    driver: str | None = None
    runtime: str | None = None
    unsupported: tuple[str, ...] = ()


@dataclass(frozen=True)
class Link:
    """One link of a GPU to its peers.

    Attributes:
        number: of the link, from 0.
        active: True when it is trained and carries data.
        version: its generation, None when it does not say.
        errors: counter → count since the driver was loaded.
    """

    number: int
    active: bool
    version: int | None
    errors: dict[str, int]


@dataclass(frozen=True)
class Process:
    """A process with a context on the GPU.

    Attributes:
        pid: in the process namespace of the driver, which may not be that of the container.
        memory_bytes: that it holds, None when the driver cannot tell.
        name: of its program, empty when the driver cannot tell.
    """

    pid: int
    memory_bytes: int | None
    name: str


@dataclass(frozen=True)
class State:
    """One look at a GPU. Two looks are compared by whoever judges: a counter alone says when the driver was loaded.

    The questions, and the parts of their ``numbers``; counts are those since the driver was loaded:
        memory_errors, memory_errors_lifetime: ``corrected``, ``uncorrected``.
        cache_errors: ``corrected``, ``uncorrected``, ``uncorrected_total``, ``threshold_exceeded`` (a flag).
        row_remaps: ``corrected``, ``uncorrected``, and the flags ``pending`` and ``failure``.
        spare_rows: banks by how many rows they have left: ``max``, ``high``, ``partial``, ``low``, ``none``.
        retired_pages: ``corrected``, ``uncorrected``; retired_pages_pending: ``pending``, a flag.
        pcie_replays: ``count``; pcie_gen_max: ``generation``; pcie_width_max: ``lanes``.
        clock_limit_ns: nanoseconds that each policy has kept the clock down.
        slowdown, shutdown, memory_slowdown: ``celsius``; power_limit, power_default: ``watts``; memory: ``total``, ``used``.
        recovery, fabric, links, processes: see the attributes.

    Attributes:
        numbers: ``question.part`` → number.
        recovery: what the driver itself wants done; empty when nothing, None when it did not say.
        fabric: complaints of the fabric that joins GPUs; None when there is none, or it did not say.
        links: to its peers; empty when it has none.
        processes: with a context on it, by their pid.
        missing: question → why this driver, model or user cannot have the answer.
        errors: question → the driver's error, which is one of the GPU or of the driver.
        lost: True when the GPU fell off the bus.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    recovery: str | None = None
    fabric: tuple[str, ...] | None = None
    links: tuple[Link, ...] = ()
    processes: dict[int, Process] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    lost: bool = False


@dataclass(frozen=True)
class ErrorEvent:
    """An error that a driver reports, with what its number means.

    Attributes:
        code: the vendor's number.
        kind: what it says of the GPU.
        name: what happened.
        family: what the vendor calls such an error.
    """

    code: int
    kind: Severity
    name: str
    family: str

    def __str__(self) -> str:
        return f"{self.family} {self.code} ({self.name})"


class Events(Protocol):
    """The errors that the driver reports of one GPU from now on."""

    def next(self, timeout_s: float) -> ErrorEvent | NoAnswer | None:
        """The next one; None when none came in time."""

    def close(self) -> None:
        """Listen no more."""


class OpenGpu(Protocol):
    """One GPU while its driver is open. No question costs another its answer, and none raises."""

    @property
    def gpu(self) -> Gpu:
        """As it was listed."""

    @property
    def event_family(self) -> str:
        """What the vendor calls an error that the driver reports."""

    def counters(self) -> State:
        """Counters, flags, links and processes, each asked once."""

    def telemetry(self, what: Quantity) -> float | NoAnswer:
        """One number of this moment."""

    def clock_limit_reasons(self) -> tuple[str, ...] | NoAnswer:
        """Why the clock is not higher, ``IDLE`` among them; a reason without a name as ``0x…``."""

    def events(self) -> Events | NoAnswer:
        """Begin to listen for errors."""

    def connection(self, other: OpenGpu) -> str:
        """The kind of link to another GPU of the same driver, ``UNKNOWN_LINK`` where nothing is said."""


class GpuDriver(Protocol):
    """A driver while it is open."""

    def versions(self) -> dict[str, str]:
        """Fact → text: ``driver``, and what only this vendor says of a node. What is not said is absent."""

    def list(self, fields: Collection[str] = ()) -> tuple[Gpu, ...]:
        """All GPUs that the driver counts, in its order; none is left out.

        Args:
            fields: the only ones to ask for, where the others would cost more than they are worth; all when empty.

        Raises:
            DriverMissing: the driver cannot even count them.
        """

    def identity(self, index: int) -> Gpu:
        """One GPU of that list, with everything known."""

    def open(self, gpu: Gpu) -> OpenGpu | NoAnswer:
        """A GPU of that list, to be asked more; or why it cannot be opened."""

    def unclaimed(self, listed: Sequence[Gpu]) -> tuple[str, ...]:
        """PCI addresses that the kernel holds for this driver and none of these GPUs has: of those that cannot say theirs."""


@dataclass(frozen=True)
class Vendor:
    """What is to be known of a vendor's GPUs before its driver is opened.

    Attributes:
        name: of the vendor.
        torch_device: what torch calls its GPUs (``cuda``); ``cpu`` where torch has no device for them.
        device_files: glob of one GPU's device file below ``/dev``.
        visible_variable: the variable that says which GPUs a process may use.
        look: what a person types to see the GPUs and the driver's errors.
        missing_look: what a person types where a GPU is not there at all.
        query: what a person types to have everything the driver knows of its GPUs.
        holders: what a person types to see who uses the GPUs.
        environment: variables that a rank needs so that torch and the driver number GPUs alike.
        available: tells whether there is anything of this vendor here, cheaply and without opening the driver.
        open: gives the driver until the end of a block. Raises DriverMissing.
        visible: of the listed GPUs those behind torch's devices 0, 1, 2 …, by the value of ``visible_variable``.
        start: starts the compute runtime on each GPU that this process may see: how many it counts, and of those that
            do not start, number → why. Raises OSError where it does not start at all; None where nobody has written it.
    """

    name: str
    torch_device: str
    device_files: str
    visible_variable: str
    look: str
    missing_look: str
    query: str
    holders: str
    available: Callable[[], bool]
    open: Callable[[], AbstractContextManager[GpuDriver]]
    visible: Callable[[Sequence[Gpu], str | None], tuple[Gpu, ...]]
    start: Callable[[], tuple[int, dict[int, str]]] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def wanted(self) -> str | None:
        """The value of ``visible_variable`` that this process was given, None where it was not set."""
        given = os.environ.get(_GIVEN)
        return os.environ.get(self.visible_variable) if given is None else (given[1:] if given else None)

    def in_force(self) -> str | None:
        """The value of ``visible_variable`` by which torch numbers GPUs: without those that ``place_rank`` took out."""
        return os.environ.get(self.visible_variable)

    def device(self, number: int) -> str:
        """What torch is given for the GPU of this number: ``cuda:3``, or ``cpu``."""
        return "cpu" if self.torch_device == "cpu" else f"{self.torch_device}:{number}"


# --- finding ----------------------------------------------------------------------------------------------------------


def names() -> tuple[str, ...]:
    """Every vendor there is, by the name of its file, in the order in which they are asked."""
    found = (module.name for module in pkgutil.iter_modules(importlib.import_module(_DRIVERS).__path__))
    return tuple(sorted(found, key=lambda name: (name != _FIRST, name)))


def load(name: str) -> Vendor:
    """A vendor by the name of its file."""
    return cast("Vendor", importlib.import_module(f"{_DRIVERS}.{name}").VENDOR)


def installed() -> Vendor:
    """The vendor whose GPUs this node has; the first one where there is none, so that it can say what is missing.

    Nothing is asked where only one vendor is known.
    """
    found = [load(name) for name in names()]
    return found[0] if len(found) == 1 else next((vendor for vendor in found if vendor.available()), found[0])


def device_files(dev: Path = Path("/dev")) -> list[Path]:
    """Device files of the GPUs of this machine, one for each; the driver is not asked."""
    pattern = installed().device_files
    return sorted(file for file in dev.glob(pattern) if re.fullmatch(r"\D*\d+", file.name))


def place_rank(local: int) -> str:
    """What torch is given for the GPU at this place among those that the job may see (``cuda:3``).

    The place is that of the driver's list, where a GPU that fell off the bus keeps its own. Torch's numbers need not: the
    runtime may leave the lost one out, and every GPU behind it would be taken for its neighbour. So where one is lost, the
    others are named by UUID in ``visible_variable`` for this process and all that it starts: then the numbers are known.
    Must be called before torch opens a GPU. The rank of a lost GPU gets the number of its place, and must not use it.
    """
    vendor = installed()
    if vendor.torch_device == "cpu":
        return "cpu"
    try:
        with vendor.open() as driver:
            seen = vendor.visible(driver.list(("uuid", "partition_uuids")), vendor.wanted())
    except DriverMissing:
        return vendor.device(local)
    words = (vendor.wanted() or "").split(",")
    left = [place for place, gpu in enumerate(seen) if gpu.uuid]
    if len(left) == len(seen):
        return vendor.device(local)
    given = vendor.wanted()
    os.environ.setdefault(_GIVEN, "" if given is None else f"={given}")
    named = [words[place].strip() if vendor.wanted() and "-" in words[place] else seen[place].uuid for place in left]
    os.environ[vendor.visible_variable] = ",".join(str(name) for name in named)
    os.environ[_PLACES] = ",".join(map(str, left))
    return vendor.device(left.index(local) if local in left else local)


def place_of(number: int) -> int:
    """The place of the GPU that torch, or a tool that this process starts, gives this number: see ``place_rank``."""
    left = [int(place) for place in os.environ.get(_PLACES, "").split(",") if place]
    return left[number] if number < len(left) else number


def own_gpus(fields: Collection[str] = ()) -> tuple[Gpu, ...]:
    """The GPUs that this job may see, each at its place: a lost one keeps its own.

    Raises:
        DriverMissing: there is no driver to ask.
    """
    vendor = installed()
    with vendor.open() as driver:
        return vendor.visible(driver.list(fields), vendor.wanted())


@contextmanager
def open_gpu(device: str) -> Iterator[OpenGpu]:
    """The GPU that torch calls ``cuda:3``, until the end of the block.

    Raises:
        Unavailable: the device is not a GPU, there is no driver, or that GPU is not there, is lost or cannot be opened.
    """
    vendor, (kind, _, number) = installed(), device.partition(":")
    if kind in ("", "cpu") or kind != vendor.torch_device:
        raise Unavailable(f"{device} is not a GPU")
    index = int(number or 0)
    with vendor.open() as driver:
        seen = vendor.visible(driver.list(("uuid", "partition_uuids")), vendor.in_force())
        if lost := [gpu.index for gpu in seen if gpu.state == "lost"]:
            # Whether torch leaves a lost GPU out of its numbers is not documented: rather none than another one.
            raise Unavailable(f"which GPU {device} is cannot be known while GPU {lost[0]} is lost")
        if index >= len(seen):
            raise Unavailable(f"{device} is not among the {len(seen)} GPUs that this process may see")
        found = driver.open(seen[index])
        if isinstance(found, NoAnswer):
            raise Unavailable(f"GPU {seen[index].index} cannot be opened: {found.why}")
        yield found


def identity_of(device: str) -> Gpu:
    """Everything known of the GPU that torch calls ``cuda:3``.

    Raises:
        Unavailable: as ``open_gpu``.
    """
    with open_gpu(device) as found, installed().open() as driver:
        return driver.identity(found.gpu.index)
