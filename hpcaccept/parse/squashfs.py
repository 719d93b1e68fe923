"""Whether a file is a squashfs image, and all of it is there, by its superblock.

Layout: https://docs.kernel.org/filesystems/squashfs.html and fs/squashfs/squashfs_fs.h of Linux (format 4.0, little endian).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

#: Bytes at the beginning of the file that hold it.
SUPERBLOCK_BYTES = 96
MAGIC = b"hsqs"
_COMPRESSORS = {1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}


@dataclass(frozen=True)
class Superblock:
    """What the image says of itself.

    Attributes:
        version: of the format, ``4.0``.
        compressor: ``zstd``, ``gzip`` …
        used_bytes: length of the image; the file may be longer by padding, and never shorter.
    """

    version: str
    compressor: str
    used_bytes: int


def parse_superblock(head: bytes) -> Superblock | None:
    """From the first bytes of a file; None when it is no squashfs image."""
    if len(head) < SUPERBLOCK_BYTES or head[:4] != MAGIC:
        return None
    compressor, _, _, _, major, minor = struct.unpack_from("<6H", head, 20)
    (used_bytes,) = struct.unpack_from("<Q", head, 40)
    return Superblock(f"{major}.{minor}", _COMPRESSORS.get(compressor, f"compressor {compressor}"), used_bytes)
