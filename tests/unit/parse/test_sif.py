"""The header of an image of Apptainer's."""

from __future__ import annotations

import struct

from hpcaccept.parse.image_file import ImageFile, format_of
from hpcaccept.parse.sif import SifHeader, parse_sif

#: As Apptainer 1.4.5 wrote it: an image of 61,440 bytes.
HEAD = (
    b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\x0001\x0002\0"
    + bytes.fromhex("c51fccee111f4df79db89f0c2d93dc7d")
    + struct.pack("<8q", 1795912463, 1795912463, 45, 48, 4096, 28080, 32176, 29264)
)


def test_the_header_says_how_long_the_image_is() -> None:
    assert parse_sif(HEAD) == SifHeader("01", 61440)


def test_a_file_that_is_cut_short_or_something_else_has_no_header() -> None:
    assert parse_sif(HEAD[:127]) is None
    assert parse_sif(b"hsqs".ljust(128, b"\0")) is None


def test_an_ending_promises_a_format() -> None:
    sif, squashfs = format_of("/shared/x.sif"), format_of("/shared/x.sqsh")
    assert sif is not None
    assert squashfs is not None
    assert sif.parse(HEAD) == ImageFile("SIF 01", 61440)
    assert squashfs.parse(HEAD) is None
    assert sif.begins(HEAD)
    assert not squashfs.begins(HEAD)
    assert format_of("team/x:1") is None
