"""Is the image there, whole, and always the same; and can it be entered?"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.model.doctor.finding import Finding
from hpcaccept.parse.squashfs import SUPERBLOCK_BYTES, Superblock, parse_superblock
from hpcaccept.transport.process import ask as said
from hpcaccept.units import show

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case

PLACE = 70
NEEDS: set[str] = set()
_ENDINGS = (".sqsh", ".squashfs")


@dataclass(frozen=True)
class Seen:
    """What this machine sees of the image and its runtime.

    Attributes:
        no_runtime: why the container runtime cannot be used from here.
        size_bytes: of the file; None: the image is no file, or is not seen here.
        superblock: of the file; None: it is no squashfs image.
        no_file: why it cannot be read.
    """

    no_runtime: str = ""
    size_bytes: int | None = None
    superblock: Superblock | None = None
    no_file: str = ""


def ask(case: Case) -> Seen:
    """Nothing is pulled."""
    if not case.image.reference:
        return Seen()
    no_runtime = _no_runtime(case.image.runtime)
    if not case.image.reference.endswith(_ENDINGS):
        return Seen(no_runtime)
    file = Path(case.image.reference)
    try:
        with file.open("rb") as image:
            return Seen(no_runtime, file.stat().st_size, parse_superblock(image.read(SUPERBLOCK_BYTES)))
    except OSError as fault:
        return Seen(no_runtime, no_file=fault.strerror or str(fault))


def _no_runtime(runtime: str) -> str:
    if runtime == "pyxis":
        done = said(["srun", "--help"])
        return "" if "--container-image" in done.stdout else "srun --help knows no --container-image"
    if runtime == "enroot":
        return ""  # it is on the nodes that it must be
    return "" if shutil.which(runtime) else f"there is no {runtime} on this machine"


def judge(case: Case, seen: Seen) -> list[Finding]:
    """A tag may move between two nodes that pull it, and between two runs; a digest or a file on a shared disk may not."""
    image = case.image
    if not image.reference:
        return [Finding("image", "ok", "none: the ranks run with the nodes' own Python")]
    remedy = {"pyxis": "Install Pyxis on login node and nodes, or use --container-runtime enroot."}
    runtime = (
        Finding(image.runtime, "wrong", seen.no_runtime, image.runtime, remedy.get(image.runtime, f"Install {image.runtime}."), stops=True)
        if seen.no_runtime
        else Finding(image.runtime, "ok", "there")
    )  # fmt: skip
    return [runtime, _file(case, seen) if image.reference.endswith(_ENDINGS) else _name(case)]


def _file(case: Case, seen: Seen) -> Finding:
    name = case.image.reference
    again = "Import it again: enroot/import IMAGE"
    if seen.no_file:
        where = "A path that this machine and every node see: --container-image /shared/NAME.sqsh"
        return Finding("image", "wrong", f"{name}: {seen.no_file}", "a file", where, stops=True)
    size = seen.size_bytes or 0
    if seen.superblock is None:
        found = f"{name}: {show(float(size), 'B')}, no squashfs"
        return Finding("image", "wrong", found, "a squashfs image", again, stops=True)
    whole = seen.superblock.used_bytes
    if size < whole:
        found = f"{name}: {show(float(size), 'B')}, cut short"
        return Finding("image", "wrong", found, show(float(whole), "B"), again, stops=True)
    kind = f"squashfs {seen.superblock.version}, {seen.superblock.compressor}"
    return Finding("image", "ok", f"{name}: {show(float(size), 'B')}, {kind}")


def _name(case: Case) -> Finding:
    name, digest = case.image.reference, case.image.digest
    if "@sha256:" in name or digest:
        return Finding("image", "ok", name if "@sha256:" in name else f"{name}, {digest[:19]}…")
    remedy = "Name it by digest (REGISTRY#PATH@sha256:…), or import it once: enroot/import IMAGE"
    return Finding("image", "warning", f"{name}: a tag, which may move", "a digest or a .sqsh", remedy)
