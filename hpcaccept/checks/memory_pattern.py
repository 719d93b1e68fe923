"""Verifies that the device's memory holds what is written to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.measure.device import Device, open_device
from hpcaccept.measure.kernels import pattern
from hpcaccept.model.check import Check, CheckContext, Shorter, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_least, at_most
from hpcaccept.model.parameter import MOST_BLOCKS, MOST_BYTES, param
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Tensor = Any
    #: ``(first word, number of words) → int64[number]``: any part of the pattern, made anew.
    RankLogs = Callable[[int, int], Tensor]

_WORD_BYTES = 8
#: Torch is asked for blocks of this size: one that cannot be had does not cost the others.
_BLOCK_BYTES = 1 << 30
#: What is worked on at once. On a GPU large enough to fill it (all temporaries together stay below 0.5 GiB), on a CPU
#: small enough that temporaries stay in its cache.
_CHUNK_BYTES = {"cuda": 64 << 20, "cpu": 256 << 10}
_CPU_BYTES = 256 << 20
_SOURCE = "A. J. van de Goor, Testing Semiconductor Memories (1991); https://www.memtest86.com/tech_individual-test-descr.html"
_MOVING = "moving_inversions"


@dataclass(frozen=True)
class MemoryPattern(Check):
    """Patterns are written to as much device memory as can be had, read back and compared, word by word.

    Variants, with words of 64 bits:

    * ``address`` and ``address_inverted``: each word holds its own address (or its complement): two addresses that
      reach the same cell show;
    * ``x55`` and ``xAA``: neighbouring bits differ: cells that pull at each other show;
    * ``random`` and ``random_inverted``: a counter-based stream (SplitMix64 of the address and the pass), so that it is made
      anew for the comparison instead of being kept;
    * ``moving_inversions``: a byte with one bit set, everywhere; upwards each part is compared and inverted, downwards
      compared and inverted back, then compared: each cell changes beside neighbours of both values.

    How: all of the memory is written before any of it is read, so a GPU's caches cannot answer (its memory is a
    thousand times larger). ``wrong_words`` counts the words that differ, in each pass; the fact ``first_wrong`` gives
    the offset of the first one within the memory that was tested, what was expected and what was found.

    Covered on a GPU: ``share`` of what the driver gives as free, after torch gave back what it had kept; the rest is held
    by the driver, by this process's context or by somebody else, and is **not tested**. ``covered_bytes`` is compared
    with the peers: a GPU on which others hold memory covers less. ``covered_share`` fails when even what was asked for
    could not be had. On a CPU 256 MiB show that the check works; they are no test of the host's memory.

    What it does not mean: soft errors of the next hour; errors that ECC corrected (``health`` counts those); physical
    addresses: an offset names a place only as long as nothing else is allocated.

    Parameters:
        share: of the free memory, 0..1.
        size_bytes: instead of a share; 0 means ``share`` on a GPU, and at most 256 MiB on a CPU.
        passes: of all patterns, each with other random words; 0 means 2 on a GPU and 1 on a CPU.
    """

    name: ClassVar = "memory_pattern"
    revision: ClassVar = 1
    about: ClassVar = "Patterns written to nearly all free device memory, read back and compared."
    needs: ClassVar = ("torch",)
    shorter: ClassVar = (Shorter({"passes": 1}, 0.5, "memory that fails only in a second pass", gpus_only=True),)
    metrics: ClassVar = (
        Metric(
            "wrong_words", "words", "lower", "Words of 64 bits that do not hold what was written to them.", title="memory pattern, wrong words ({})",
            formula="count of word ≠ pattern, one figure per pass", source=_SOURCE, statistic="worst",
            limit=at_most(0, "words", "memory holds what is written to it"), code=FindingCode.MEMORY_WRONG,
        ),
        Metric(
            "covered_bytes", "B", "higher", "Memory that was written, read back and compared.", title="memory pattern, memory covered", formula="count",
            peer_floor=0.02, noise="counted",
        ),
        Metric(
            "covered_share", "share", "higher", "Share of the memory asked for that could be had.", title="memory pattern, share of memory covered", statistic="worst",
            formula="covered_bytes / (share · free memory as the driver gives it, or size_bytes)",
            limit=at_least(0.99, "share", "what the driver gives as free can be allocated"), code=FindingCode.MEMORY_UNTESTED,
        ),
    )  # fmt: skip

    share: float = param(0.9, above=0, at_most=1, unit="share")
    size_bytes: int = param(0, also=(0,), at_least=_WORD_BYTES, at_most=MOST_BYTES, unit="B")
    passes: int = param(0, at_least=0, at_most=MOST_BLOCKS)

    def measure(self, ctx: CheckContext) -> None:
        """Every pattern over all of the memory; see the class."""
        device = open_device(ctx.device)
        device.give_back()
        free_bytes = device.free_bytes()
        asked_bytes = self._asked_bytes(device, free_bytes)
        if asked_bytes < _WORD_BYTES:
            raise Unavailable(f"No memory to test: {show(free_bytes, 'B')} are free.", "See who holds it: nvidia-smi.")
        memory = Memory(device, asked_bytes // _WORD_BYTES)
        try:
            self._test(ctx, device, memory)
            covered_bytes = memory.words * _WORD_BYTES
        finally:
            memory.blocks.clear()
            device.give_back()
        ctx.emit("covered_bytes", covered_bytes)
        ctx.emit("covered_share", covered_bytes / (asked_bytes // _WORD_BYTES * _WORD_BYTES))
        ctx.fact("covered", _coverage(device, covered_bytes, free_bytes))

    def _asked_bytes(self, device: Device, free_bytes: int) -> int:
        most = int(self.share * free_bytes)
        return self.size_bytes or (most if device.kind == "cuda" else min(_CPU_BYTES, most))

    def _test(self, ctx: CheckContext, device: Device, memory: Memory) -> None:
        for number in range(self.passes or (2 if device.kind == "cuda" else 1)):
            faults = {}
            for name, words in patterns(device.name, number).items():
                ctx.beat(f"pass {number + 1}, {name}")
                memory.write(words)
                faults[name] = memory.verify(words)
            ctx.beat(f"pass {number + 1}, {_MOVING}")
            faults[_MOVING] = moving_inversions(memory, 1 << number % 8)
            for name, fault in faults.items():
                ctx.emit("wrong_words", fault.words, name, number)
                if fault.words:
                    ctx.fact(f"first_wrong[{name}/pass{number + 1}]", fault.first)


@dataclass
class Fault:
    """What was wrong of one pattern.

    Attributes:
        words: how many.
        first: where the first one was found, and what it held.
    """

    words: int = 0
    first: str = ""

    def add(self, other: Fault) -> None:
        """Of a later part, or of a later look at the same memory."""
        self.words += other.words
        self.first = self.first or other.first


@dataclass
class Memory:
    """Blocks of device memory, seen as one row of words.

    Attributes:
        device: whose memory.
        asked: words.
        blocks: int64 each; fewer than asked for where no more could be had.
    """

    device: Device
    asked: int
    blocks: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        import torch

        left = self.asked
        while left:
            length = min(left, _BLOCK_BYTES // _WORD_BYTES)
            try:
                self.blocks.append(torch.empty(length, dtype=torch.int64, device=self.device.name))
            except torch.OutOfMemoryError:
                break  # covered_share tells
            left -= length

    @property
    def words(self) -> int:
        """How many there are."""
        return sum(len(block) for block in self.blocks)

    def write(self, words: RankLogs) -> None:
        """Fill all of it."""
        for first, chunk in self.chunks():
            chunk.copy_(words(first, len(chunk)))
        self.device.synchronize()

    def verify(self, words: RankLogs) -> Fault:
        """Compare all of it."""
        fault = Fault()
        for first, chunk in self.chunks():
            fault.add(compared(chunk, words(first, len(chunk)), first))
        return fault

    def chunks(self) -> list[tuple[int, Tensor]]:
        """(number of its first word, part of a block), in order."""
        step = _CHUNK_BYTES[self.device.kind] // _WORD_BYTES
        found, first = [], 0
        for block in self.blocks:
            for chunk in block.split(step):
                found.append((first, chunk))
                first += len(chunk)
        return found


def patterns(device: str, number: int) -> dict[str, RankLogs]:
    """Pattern → its words, in the pass of this number."""
    import torch

    def address(first: int, length: int) -> Tensor:
        return torch.arange(first, first + length, dtype=torch.int64, device=device) * _WORD_BYTES

    def random(first: int, length: int) -> Tensor:
        # Memory has fewer than 2^48 words: no pass has the stream of another one.
        return pattern.mixed(torch.arange(first, first + length, dtype=torch.int64, device=device) + (number + 1 << 48))

    return {
        "address": address,
        "address_inverted": lambda first, length: ~address(first, length),
        "x55": everywhere(0x55, device),
        "xAA": everywhere(0xAA, device),
        "random": random,
        "random_inverted": lambda first, length: ~random(first, length),
    }


def everywhere(byte: int, device: str) -> RankLogs:
    """The same byte in all of the memory; takes no memory of its own."""
    import torch

    word = torch.full((1,), int.from_bytes(bytes([byte]) * _WORD_BYTES, "big", signed=True), device=device)
    return lambda _, length: word.expand(length)


def moving_inversions(memory: Memory, byte: int) -> Fault:
    """Write, then compare and invert upwards, compare and invert downwards, compare."""
    words, inverse = everywhere(byte, memory.device.name), everywhere(~byte & 0xFF, memory.device.name)
    memory.write(words)
    fault = inverted(memory.chunks(), words, inverse)
    fault.add(inverted(reversed(memory.chunks()), inverse, words))
    fault.add(memory.verify(words))
    return fault


def inverted(chunks: Iterable[tuple[int, Tensor]], before: RankLogs, after: RankLogs) -> Fault:
    """Compare each chunk with what it must hold, and write the other pattern to it, before the next one is looked at."""
    fault = Fault()
    for first, chunk in chunks:
        fault.add(compared(chunk, before(first, len(chunk)), first))
        chunk.copy_(after(first, len(chunk)))
    return fault


def compared(chunk: Tensor, want: Tensor, first: int) -> Fault:
    """Words of a chunk that differ; ``first`` is the number of its first word."""
    import torch

    differs = chunk != want
    count = int(differs.sum())
    if not count:
        return Fault()
    place = int(differs.to(torch.uint8).argmax())
    expected, found = (int(words[place]) & (1 << 64) - 1 for words in (want, chunk))
    where = f"offset {(first + place) * _WORD_BYTES:#x} of the memory tested"
    return Fault(count, f"{where}: expected {expected:#018x}, found {found:#018x}, bits {expected ^ found:#x} differ")


def _coverage(device: Device, covered_bytes: int, free_bytes: int) -> str:
    cache_bytes = device.cache_bytes()
    what = f"{show(covered_bytes, 'B')} tested of {show(free_bytes, 'B')} that were free"
    if covered_bytes < 4 * cache_bytes:
        what += f"; LESS THAN 4 × the last level cache of {show(cache_bytes, 'B')}: some of it may never have left it"
    return what
