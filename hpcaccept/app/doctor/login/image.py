"""Whether the image is there, whole, always the same, and can be entered."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import container
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.parse.image_file import HEAD_BYTES, ImageFile, format_of
from hpcaccept.transport.process import ask as said
from hpcaccept.units import show

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case

PLACE = 70
NEEDS: set[str] = set()


@dataclass(frozen=True)
class Seen:
    """What this machine sees of the image and its runtime.

    Attributes:
        no_runtime: why the container runtime cannot be used from here.
        size_bytes: of the file; None: the image is no file, or is not seen here.
        image: what the file says of itself; None: it is not of the format that its ending promises.
        no_file: why it cannot be read.
    """

    no_runtime: str = ""
    size_bytes: int | None = None
    image: ImageFile | None = None
    no_file: str = ""


def ask(case: Case) -> Seen:
    """Nothing is pulled."""
    if not case.image.reference:
        return Seen()
    no_runtime = _no_runtime(case.image.runtime)
    if not container.is_file(case.image.reference):
        return Seen(no_runtime)
    file, promised = Path(case.image.reference), format_of(case.image.reference)
    try:
        with file.open("rb") as image:
            head = image.read(HEAD_BYTES)
            size_bytes = file.stat().st_size
    except OSError as fault:
        return Seen(no_runtime, no_file=fault.strerror or str(fault))
    return Seen(no_runtime, size_bytes, promised.parse(head) if promised else ImageFile("unknown format", size_bytes))


def _no_runtime(runtime: str) -> str:
    """Why this machine cannot submit with a runtime; empty when it can, or when only the nodes must have it."""
    wanted = container.load(runtime).login_probe()
    if wanted is None or (not wanted.answer and shutil.which(wanted.command[0])):
        return ""
    there = wanted.answer and wanted.answer in said(wanted.command).stdout
    return "" if there else wanted.absent


def judge(case: Case, seen: Seen) -> list[Finding]:
    """A tag may move between two nodes that pull it, and between two runs; a digest or a file on a shared disk may not."""
    image = case.image
    if not image.reference:
        return [Finding("image", "ok", "none: the ranks run with the nodes' own Python")]
    wanted = container.load(image.runtime).login_probe()
    runtime = (
        Finding(image.runtime, "wrong", seen.no_runtime, image.runtime, wanted.remedy if wanted else "", stops=True)
        if seen.no_runtime
        else Finding(image.runtime, "ok", "there" if wanted else "not needed here: the nodes must have it")
    )  # fmt: skip
    return [runtime, _file(case, seen) if container.is_file(image.reference) else _name(case)]


def _file(case: Case, seen: Seen) -> Finding:
    name, promised = case.image.reference, format_of(case.image.reference)
    again = f"Make it again: {promised.remedy}" if promised else "Make it again"
    if seen.no_file:
        where = f"A path that this machine and every node see: --container-image /shared/{Path(name).name}"
        return Finding("image", "wrong", f"{name}: {seen.no_file}", "a file", where, stops=True)
    size = seen.size_bytes or 0
    if seen.image is None:
        expected = promised.name if promised else "image"
        found = f"{name}: {show(float(size), 'B')}, not {expected}"
        return Finding("image", "wrong", found, f"a {expected} image", again, stops=True)
    whole = seen.image.used_bytes
    if size < whole:
        found = f"{name}: {show(float(size), 'B')}, cut short"
        return Finding("image", "wrong", found, show(float(whole), "B"), again, stops=True)
    return Finding("image", "ok", f"{name}: {show(float(size), 'B')}, {seen.image.kind}")


def _name(case: Case) -> Finding:
    name, digest = case.image.reference, case.image.digest
    if "@sha256:" in name or digest:
        return Finding("image", "ok", name if "@sha256:" in name else f"{name}, {digest[:19]}…")
    remedy = "Name it by digest (…@sha256:…), or make a file of it once: " + (
        "apptainer pull FILE.sif " + name if "://" in name else "enroot/import IMAGE"
    )
    return Finding("image", "warning", f"{name}: a tag, which may move", "a digest or an image file", remedy)
