"""Commits a prover to many rows with 32 bytes: a Merkle tree of SHA-256; leaves and inner nodes are hashed in domains of their own.

A leaf binds checkpoint and row, so that no row can stand in another one's place, and an inner node can never be shown as a leaf. An odd node at the end
of a level moves up unchanged (RFC 6962), so nothing is doubled and two lists of leaves never share a root.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DIGEST_BYTES = 32
_LEAF, _INNER = b"\x00", b"\x01"


def leaf(checkpoint: int, row: int, content: bytes | memoryview) -> bytes:
    """Digest of one row at one checkpoint."""
    digest = hashlib.sha256(_LEAF + checkpoint.to_bytes(8, "big") + row.to_bytes(8, "big"))
    digest.update(content)
    return digest.digest()


def levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Every level of the tree, leaves first, root last; at least one leaf."""
    tree = [list(leaves)]
    while len(tree[-1]) > 1:
        below = tree[-1]
        above = [hashlib.sha256(_INNER + a + b).digest() for a, b in zip(below[::2], below[1::2], strict=False)]
        tree.append(above + below[len(above) * 2 :])
    return tree


def path(tree: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """Siblings of a leaf from the bottom to the top."""
    found = []
    for level in tree[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            found.append(level[sibling])
        index //= 2
    return found


def path_length(index: int, size: int) -> int:
    """Siblings that ``path`` gives for a leaf of so many."""
    length = 0
    while size > 1:
        length += (index ^ 1) < size
        index, size = index // 2, (size + 1) // 2
    return length


def root_of(digest: bytes, index: int, size: int, siblings: Sequence[bytes]) -> bytes:
    """The root to which a leaf leads. Whoever cannot invert SHA-256 finds siblings for one leaf and index alone.

    Raises:
        ValueError: a tree of this size has another number of siblings there.
    """
    if len(siblings) != path_length(index, size):
        raise ValueError(f"found {len(siblings)} siblings, expected {path_length(index, size)}")
    rest = iter(siblings)
    while size > 1:
        if (index ^ 1) < size:
            sibling = next(rest)
            pair = sibling + digest if index & 1 else digest + sibling
            digest = hashlib.sha256(_INNER + pair).digest()
        index, size = index // 2, (size + 1) // 2
    return digest
