"""The bytes that follow from a nonce, the same ones on every machine: numpy's Philox4x64-10, keyed from SHA-256(nonce | label).

A counter-based generator, so that any row of a matrix is made alone (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11). The order
of numpy's raw output is fixed by NEP 19; ``measure/kernels/int8_chain`` makes the same bytes with torch, and a test compares them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Bytes = npt.NDArray[np.int8]
    Key = tuple[int, int]

#: Bytes of a nonce: fresh ones for every GPU and round.
NONCE_BYTES = 32
#: Bytes that one value of the counter gives: four words of 64 bits.
BLOCK_BYTES = 32


def key_of(nonce: bytes, label: str) -> Key:
    """The generator's key, two words of 64 bits, little-endian.

    Args:
        nonce: 32 bytes.
        label: what the stream is for. Streams of different labels have nothing to do with each other.
    """
    digest = hashlib.sha256(nonce + b"|" + label.encode("ascii")).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")


def blocks(key: Key, first: int, count: int) -> Bytes:
    """int8[count, 32]: blocks ``first`` to ``first + count - 1`` of a stream."""
    generator = np.random.Philox(key=np.array(key, np.uint64), counter=np.array([first, 0, 0, 0], np.uint64))
    words: npt.NDArray[np.uint64] = generator.random_raw(count * BLOCK_BYTES // 8)
    return words.astype("<u8", copy=False).view(np.int8).reshape(count, BLOCK_BYTES)


def rows(key: Key, first: int, count: int, width: int) -> Bytes:
    """int8[count, width]: rows of a matrix of any height; ``width`` is a multiple of 32."""
    each = width // BLOCK_BYTES
    return blocks(key, first * each, count * each).reshape(count, width)


def chosen(key: Key, below: int, count: int) -> list[int]:
    """Different whole numbers from 0 to ``below - 1``; all of them where there are not more.

    From raw words, because numpy's ``Generator`` may draw otherwise in another version. A remainder of 64 bits is uniform to within ``below`` / 2^64.
    """
    found: dict[int, None] = {}
    at = 0
    while len(found) < min(count, below):
        words = blocks(key, at, count).view("<u8").ravel()
        found.update(dict.fromkeys(int(word) % below for word in words))
        at += count
    return list(found)[:count]
