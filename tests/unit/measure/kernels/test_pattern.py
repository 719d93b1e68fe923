from __future__ import annotations

import itertools
import math

import pytest
import torch

from hpcaccept.measure.kernels import pattern

TABLE = torch.arange(1.0, 8.0)


@pytest.mark.parametrize("length", [1, 6, 7, 8, 700, 1023])
def test_what_was_filled_is_right_in_every_element(length: int) -> None:
    memory = torch.full((length,), math.nan)
    pattern.fill(memory, TABLE)
    assert memory.tolist() == [i % 7 + 1 for i in range(length)]
    assert pattern.wrong_elements(memory, TABLE) == 0


@pytest.mark.parametrize("at", [0, 500, 699, 700, 703])
@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_one_wrong_element_is_counted_wherever_it_is(at: int, value: float) -> None:
    memory = torch.empty(704)
    pattern.fill(memory, TABLE)
    memory[at] = value
    assert pattern.wrong_elements(memory, TABLE) == 1


def test_elements_that_land_a_power_of_two_too_far_are_seen() -> None:
    memory = torch.empty(704)
    pattern.fill(memory, TABLE)
    assert pattern.wrong_elements(memory.roll(64), TABLE) > 600


@pytest.mark.parametrize("offset", [0, 3, 7, 700, 702])
def test_a_share_of_a_longer_buffer_is_filled_as_its_place_demands(offset: int) -> None:
    whole, share = torch.empty(1000), torch.empty(100)
    pattern.fill(whole, TABLE)
    pattern.fill(share, TABLE, offset)
    assert torch.equal(share, whole[offset : offset + 100])
    assert pattern.wrong_elements(share, TABLE, offset) == 0
    assert pattern.wrong_elements(share, TABLE, offset + 1) == 100


def test_words_use_every_bit_and_no_two_are_alike() -> None:
    table = pattern.words(0, "cpu")
    for bit in range(64):
        ones = int(((table >> bit) & 1).sum())
        assert 0.45 < ones / pattern.WORDS < 0.55, bit
    assert len(set(table.tolist())) == pattern.WORDS


def test_words_of_different_seeds_differ_everywhere() -> None:
    tables = [pattern.words(seed, "cpu") for seed in range(16)]
    for one, other in itertools.pairwise(tables):
        assert not bool((one == other).any())


def test_one_flipped_bit_of_a_word_is_seen_wherever_it_is() -> None:
    memory, table = torch.empty(2 * pattern.WORDS, dtype=torch.int64), pattern.words(3, "cpu")
    pattern.fill(memory, table)
    for bit in range(63):
        memory[99_999] ^= 1 << bit
        assert pattern.wrong_elements(memory, table) == 1
        memory[99_999] ^= 1 << bit


def test_words_are_those_of_splitmix64() -> None:
    def splitmix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    expected = [splitmix(pattern.WORDS + i) for i in range(5)]
    assert [word % 2**64 for word in pattern.words(0, "cpu")[:5].tolist()] == expected
