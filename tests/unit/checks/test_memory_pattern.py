from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.solo_context import SoloContext

from hpcaccept import checks
from hpcaccept.checks import memory_pattern as module
from hpcaccept.checks.memory_pattern import Fault, Memory, MemoryPattern, moving_inversions, patterns
from hpcaccept.errors import UsageError
from hpcaccept.measure.device import Cpu
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("address", "address_inverted", "x55", "xAA", "random", "random_inverted")
VARIANTS = {*NAMES, "moving_inversions"}
CHUNK_WORDS = module._CHUNK_BYTES["cpu"] // 8
#: Two chunks and a bit, so that first, middle and last part are unlike.
WORDS = 2 * CHUNK_WORDS + 1000
each_pattern = pytest.mark.parametrize("name", NAMES)


def quick(**params: Any) -> SoloContext:
    return SoloContext(MemoryPattern(**{"size_bytes": 8 * 50_000, **params}))


def flip(memory: Memory, word: int, bit: int) -> None:
    memory.blocks[0].view(torch.uint8)[word * 8 + bit // 8] ^= 1 << bit % 8


def harm_after_writing(monkeypatch: pytest.MonkeyPatch, harm: Callable[[Memory], None]) -> None:
    real = Memory.write

    def write(self: Memory, words: Any) -> None:
        real(self, words)
        harm(self)

    monkeypatch.setattr(Memory, "write", write)


# --- the patterns -------------------------------------------------------------------------------------------------------


@each_pattern
def test_what_was_written_is_found_unharmed(name: str) -> None:
    memory, words = Memory(Cpu(), WORDS), patterns("cpu", 0)[name]
    memory.write(words)
    assert memory.verify(words) == Fault()


@each_pattern
@pytest.mark.parametrize("word", [0, CHUNK_WORDS - 1, CHUNK_WORDS, WORDS - 1])
@pytest.mark.parametrize("bit", [0, 31, 63])
def test_a_flipped_bit_is_found_with_its_place(name: str, word: int, bit: int) -> None:
    memory, words = Memory(Cpu(), WORDS), patterns("cpu", 0)[name]
    memory.write(words)
    flip(memory, word, bit)
    fault = memory.verify(words)
    assert fault.words == 1
    assert fault.first.startswith(f"offset {word * 8:#x} of the memory tested: expected 0x")
    assert fault.first.endswith(f"bits {1 << bit:#x} differ")


@each_pattern
def test_all_wrong_words_are_counted_and_the_first_is_named(name: str) -> None:
    memory, words = Memory(Cpu(), WORDS), patterns("cpu", 0)[name]
    memory.write(words)
    for word in (5, 700, CHUNK_WORDS + 3, WORDS - 1):
        flip(memory, word, 7)
    fault = memory.verify(words)
    assert fault.words == 4
    assert fault.first.startswith("offset 0x28 ")


@pytest.mark.parametrize("name", ["address", "address_inverted", "random", "random_inverted"])
def test_memory_whose_addresses_reach_the_same_cells_is_wrong(name: str) -> None:
    memory, words = Memory(Cpu(), WORDS), patterns("cpu", 0)[name]
    memory.write(words)
    memory.blocks[0][CHUNK_WORDS : 2 * CHUNK_WORDS] = memory.blocks[0][:CHUNK_WORDS].clone()
    assert memory.verify(words).words == CHUNK_WORDS


def test_words_are_what_their_names_say() -> None:
    words = {name: pattern(10, 3).tolist() for name, pattern in patterns("cpu", 0).items()}
    assert words["address"] == [80, 88, 96]
    assert words["address_inverted"] == [~80, ~88, ~96]
    assert words["x55"] == [0x5555555555555555] * 3
    assert words["xAA"] == [~0x5555555555555555] * 3
    assert words["random_inverted"] == [~word for word in words["random"]]


def test_random_words_differ_from_pass_to_pass_and_are_the_same_in_any_part() -> None:
    first, second = (patterns("cpu", number)["random"] for number in (0, 1))
    assert not bool((first(0, 1000) == second(0, 1000)).any())
    assert torch.equal(first(0, 1000)[400:], first(400, 600))
    ones = sum(int(word) >> bit & 1 for word in first(0, 1000) for bit in range(64))
    assert ones == pytest.approx(32_000, rel=0.02)


# --- moving inversions --------------------------------------------------------------------------------------------------


def test_moving_inversions_over_healthy_memory_find_nothing_and_end_where_they_began() -> None:
    memory = Memory(Cpu(), WORDS)
    assert moving_inversions(memory, 0x01) == Fault()
    assert set(memory.blocks[0].tolist()) == {0x0101010101010101}


@pytest.mark.parametrize("word", [0, CHUNK_WORDS, WORDS - 1])
def test_moving_inversions_find_a_cell_that_does_not_keep_its_value(monkeypatch: pytest.MonkeyPatch, word: int) -> None:
    harm_after_writing(monkeypatch, lambda memory: flip(memory, word, 3))
    fault = moving_inversions(Memory(Cpu(), WORDS), 0x01)
    assert fault.words == 1
    assert fault.first.startswith(f"offset {word * 8:#x} ")


def test_moving_inversions_find_a_cell_that_is_disturbed_by_a_write_to_a_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = module.inverted

    def disturbing(chunks: Any, before: Any, after: Any) -> Fault:
        chunks = list(chunks)
        fault = real(chunks, before, after)
        chunks[0][1][0] ^= 1  # the first chunk of this direction, after it was inverted
        return fault

    monkeypatch.setattr(module, "inverted", disturbing)
    assert moving_inversions(Memory(Cpu(), WORDS), 0x01).words == 2  # once upwards, once downwards


# --- the check ----------------------------------------------------------------------------------------------------------


def test_healthy_memory_gives_every_metric() -> None:
    ctx = quick(passes=2).run()
    assert ctx.variants("wrong_words") == VARIANTS
    assert all(ctx.samples["wrong_words", name] == [0, 0] for name in VARIANTS)
    assert ctx.value("covered_bytes") == 400_000
    assert ctx.value("covered_share") == 1
    assert "LESS THAN 4 ×" in ctx.facts["covered"]
    assert "pass 2, random" in ctx.beats


def test_a_bit_that_flips_after_writing_fails_each_pattern_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    harm_after_writing(monkeypatch, lambda memory: flip(memory, 77, 9))
    ctx = quick().run()
    assert all(ctx.samples["wrong_words", name] == [1] for name in VARIANTS)
    assert ctx.facts["first_wrong[x55/pass1]"] == (
        "offset 0x268 of the memory tested: expected 0x5555555555555555, found 0x5555555555555755, bits 0x200 differ"
    )


def test_a_cpu_tests_a_bounded_size_and_a_gpu_its_share_of_what_is_free() -> None:
    check = MemoryPattern()
    assert check._asked_bytes(Cpu(), 1 << 40) == 256 << 20
    assert check._asked_bytes(Cpu(), 100 << 20) == int(0.9 * (100 << 20))
    assert check._asked_bytes(Cpu(kind="cuda"), 80 << 30) == int(0.9 * (80 << 30))
    assert MemoryPattern(size_bytes=12345)._asked_bytes(Cpu(kind="cuda"), 80 << 30) == 12345


def test_blocks_that_cannot_be_had_are_a_share_that_was_not_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 80_000)
    real = torch.empty
    got: list[Any] = []

    def empty(*shape: Any, **kind: Any) -> Any:
        if len(got) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        got.append(shape)
        return real(*shape, **kind)

    monkeypatch.setattr(torch, "empty", empty)
    ctx = quick().run()
    assert ctx.value("covered_share") == 0.8
    assert ctx.value("covered_bytes") == 320_000
    limit = next(m.limit for m in MemoryPattern.metrics if m.name == "covered_share")
    assert limit is not None
    assert not limit.met_by(0.8)


def test_memory_in_several_blocks_is_one_row_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 8000)
    memory, words = Memory(Cpu(), 2500), patterns("cpu", 0)["address"]
    memory.write(words)
    assert [len(block) for block in memory.blocks] == [1000, 1000, 500]
    assert torch.cat(memory.blocks).tolist() == [8 * i for i in range(2500)]
    memory.blocks[2][3] = 0
    assert memory.verify(words).first.startswith(f"offset {2003 * 8:#x} ")


def test_memory_is_given_back_also_when_the_test_breaks_down(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def broken(_self: Memory, _words: Any) -> Fault:
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")

    monkeypatch.setattr(Cpu, "give_back", lambda _: said.append("given back"))
    monkeypatch.setattr(Memory, "verify", broken)
    with pytest.raises(RuntimeError, match="uncorrectable ECC"):
        quick().run()
    assert said == ["given back", "given back"]


def test_no_free_memory_is_not_run_and_never_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cpu, "free_bytes", lambda _: 4)
    with pytest.raises(Unavailable, match="No memory to test"):
        quick(size_bytes=0).run()


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="'share' of check 'memory_pattern'"):
        checks.build("memory_pattern", {"share": share})
