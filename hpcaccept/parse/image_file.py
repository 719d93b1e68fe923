"""Whether a file is the image that its ending promises, and how long it is. One format per ending, each read by its own parser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hpcaccept.parse import sif, squashfs

#: Bytes at the beginning of a file that are enough for every format.
HEAD_BYTES = max(squashfs.SUPERBLOCK_BYTES, sif.HEADER_BYTES)


@dataclass(frozen=True)
class ImageFile:
    """What an image file says of itself.

    Attributes:
        kind: format, version and compressor, for people.
        used_bytes: length of the image; the file is never shorter.
    """

    kind: str
    used_bytes: int


@dataclass(frozen=True)
class Format:
    """A format of image files.

    Attributes:
        name: as people say it.
        magic: bytes by which it is known.
        magic_at: where they stand.
        parse: what the first bytes of a file say; None when it is another format, or not all of them are there.
        remedy: how such a file is made.
    """

    name: str
    magic: bytes
    magic_at: int
    parse: Callable[[bytes], ImageFile | None]
    remedy: str

    def begins(self, head: bytes) -> bool:
        """True when the magic bytes are where they must be."""
        return head[self.magic_at : self.magic_at + len(self.magic)] == self.magic


def _squashfs(head: bytes) -> ImageFile | None:
    found = squashfs.parse_superblock(head)
    return ImageFile(f"squashfs {found.version}, {found.compressor}", found.used_bytes) if found else None


def _sif(head: bytes) -> ImageFile | None:
    found = sif.parse_sif(head)
    return ImageFile(f"SIF {found.version}", found.used_bytes) if found else None


_SQUASHFS = Format("squashfs", squashfs.MAGIC, 0, _squashfs, "enroot/import IMAGE")
FORMATS = {
    ".sqsh": _SQUASHFS,
    ".squashfs": _SQUASHFS,
    ".sif": Format("SIF", sif.MAGIC, sif.MAGIC_AT, _sif, "apptainer pull FILE.sif docker://IMAGE"),
}


def format_of(path: str) -> Format | None:
    """The format that the ending of a path promises; None for an ending that is not known here."""
    return next((found for ending, found in FORMATS.items() if path.endswith(ending)), None)
