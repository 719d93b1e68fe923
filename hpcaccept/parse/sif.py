"""Whether a file is an image of Apptainer's, and all of it is there, by its global header.

Layout: https://github.com/apptainer/sif, pkg/sif/sif.go (little endian): 32 bytes that start the file as a script, magic word, version and
architecture as texts, 16 bytes of identity, then six 64-bit numbers: when it was made and changed, free and all descriptors, where they
begin and how long they are; and two more: where the data begin and how long they are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

#: Bytes at the beginning of the file that hold it.
HEADER_BYTES = 128
MAGIC = b"SIF_MAGIC"
MAGIC_AT = 32


@dataclass(frozen=True)
class SifHeader:
    """What the image says of itself.

    Attributes:
        version: of the format, ``01``.
        used_bytes: length of the image; the file is never shorter.
    """

    version: str
    used_bytes: int


def parse_sif(head: bytes) -> SifHeader | None:
    """From the first bytes of a file; None when it is not an image of this format."""
    if len(head) < HEADER_BYTES or head[MAGIC_AT : MAGIC_AT + len(MAGIC)] != MAGIC:
        return None
    data_at, data_bytes = struct.unpack_from("<2q", head, 112)
    return SifHeader(head[42:44].decode("ascii", "replace"), data_at + data_bytes)
