"""Whether the PMIx of the host, which starts the ranks, and the PMIx of the image, with which MPI joins them, fit each other.

The server tells its version to every task it starts (``PMIX_VERSION``); the client is the libpmix that the image's MPI loads.
Versions from which each series understands the others: https://openpmix.github.io/support/faq/how-does-pmix-work-with-containers
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Version = tuple[int, ...]
#: Major version → the first release that speaks the protocols of the other series.
_SPEAKS_WITH_ALL = {1: (1, 2, 5), 2: (2, 0, 3)}
#: Of the 2.1 series not the first one.
_BROKEN = (2, 1, 0)


def host_version(environ: Mapping[str, str]) -> str:
    """Version of the PMIx server that started this process; empty when none did, or one older than 3 that does not say."""
    return _digits(environ.get("PMIX_VERSION", ""))


def image_version() -> str:
    """Version of the PMIx library that MPI has loaded or would load; empty when there is none, or it is built into MPI."""
    for name in (*_loaded(), "libpmix.so.2"):
        try:
            library = ctypes.CDLL(name)
            library.PMIx_Get_version.restype = ctypes.c_char_p
            return _digits((library.PMIx_Get_version() or b"").decode("utf-8", "replace"))
        except (OSError, AttributeError):
            continue
    return ""


def misfit(host: str, image: str) -> str:
    """Why an image's PMIx cannot join the host's, or an empty text; what is not known is not held against anybody."""
    ours, theirs = _version(host), _version(image)
    if not ours or not theirs or ours[:2] == theirs[:2]:
        return ""
    for whose, version in (("host", ours), ("image", theirs)):
        least = _SPEAKS_WITH_ALL.get(version[0])
        if version == _BROKEN or (least and version < least):
            wanted = "2.1.1" if version == _BROKEN else ".".join(map(str, least or ()))
            return f"PMIx {host} of the host and {image} of the image do not understand each other: that of the {whose} must be {wanted} or newer"
    return ""


def unjoinable(environ: Mapping[str, str]) -> str:
    """Why a task that a PMIx server started cannot reach it from in here, or an empty text."""
    if not any(name.startswith("PMIX_") for name in environ):
        return "the launcher's PMIx variables (PMIX_RANK …) do not arrive inside the container"
    place = environ.get("PMIX_SERVER_TMPDIR", "")
    if place and not Path(place).is_dir():
        return f"the folder of the launcher's PMIx server ({place}) is not seen inside the container"
    return ""


def _loaded() -> list[str]:
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return []
    return sorted(set(re.findall(r"\S*/libpmix\.so\S*", maps)))


def _digits(text: str) -> str:
    """``4.2.2`` of ``OpenPMIx 4.2.2 (PMIx Standard: …)``."""
    found = re.search(r"\d+(\.\d+)+", text)
    return found[0] if found else ""


def _version(text: str) -> Version:
    return tuple(int(part) for part in re.findall(r"\d+", text))[:3]
