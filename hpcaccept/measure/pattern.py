"""How is memory filled so that every element of it can be verified?

With a table of whole numbers, again and again. Its length is a prime, so that an element that lands a power of two too
far does not match. Whole numbers are exact: what is compared is equality.
"""

from __future__ import annotations

from typing import Any

Tensor = Any


def fill(memory: Tensor, table: Tensor) -> None:
    """Write the table again and again, from the first element to the last."""
    whole = len(memory) // len(table) * len(table)
    memory[:whole].view(-1, len(table))[:] = table
    memory[whole:] = table[: len(memory) - whole]


def wrong_elements(memory: Tensor, table: Tensor) -> int:
    """Elements that differ from what ``fill`` would write; NaN differs."""
    whole = len(memory) // len(table) * len(table)
    rest = memory[whole:]
    return int((memory[:whole].view(-1, len(table)) != table).sum()) + int((rest != table[: len(rest)]).sum())
