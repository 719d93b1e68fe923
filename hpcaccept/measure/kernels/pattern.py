"""Fills memory so that every element of it can be verified.

With a table of whole numbers, again and again. Its length is a prime, so that an element that lands a power of two too
far does not match. Whole numbers are exact: what is compared is equality. Memory may begin anywhere in the pattern
(``offset``), as the share of one rank in a longer buffer does.
"""

from __future__ import annotations

from typing import Any

Tensor = Any

#: Length of ``words``, a prime.
WORDS = 65521


def words(seed: int, device: str) -> Tensor:
    """int64[65521] in which every bit of every byte takes both values: what a copy must bring over unchanged."""
    import torch

    return mixed(torch.arange(WORDS, dtype=torch.int64, device=device) + (seed + 1) * WORDS)


def mixed(numbers: Tensor) -> Tensor:
    """A random-looking int64 of each int64, another one for every other: any part of such a stream can be made anew.

    The finaliser of SplitMix64: https://prng.di.unimi.it/splitmix64.c
    """
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        numbers = (numbers ^ _shifted(numbers, shift)) * factor
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """Shifted right as if unsigned: torch shifts the sign in."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)


def fill(memory: Tensor, table: Tensor, offset: int = 0) -> None:
    """Write the table again and again, from the first element to the last."""
    table = _begun_at(table, offset)
    whole = len(memory) // len(table) * len(table)
    memory[:whole].view(-1, len(table))[:] = table
    memory[whole:] = table[: len(memory) - whole]


def wrong_elements(memory: Tensor, table: Tensor, offset: int = 0) -> int:
    """Elements that differ from what ``fill`` would write; NaN differs."""
    table = _begun_at(table, offset)
    whole = len(memory) // len(table) * len(table)
    rest = memory[whole:]
    return int((memory[:whole].view(-1, len(table)) != table).sum()) + int((rest != table[: len(rest)]).sum())


def _begun_at(table: Tensor, offset: int) -> Tensor:
    return table.roll(-(offset % len(table))) if offset % len(table) else table
