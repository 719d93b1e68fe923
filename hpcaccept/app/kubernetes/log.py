"""Carries a run out of a pod whose disk is lost with it: as text in the pod's log, which becomes a run folder again elsewhere.

What comes back is data of strangers: bounded, with a digest, unpacked file by file, and nothing outside of its own folder. A log is
cut at 10 MiB by most clusters (``containerLogMaxSize``), so that a run has to be small; what is left out is said.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import re
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hpcaccept.bounded import read_bytes
from hpcaccept.errors import RunError, StoreError
from hpcaccept.serial import loads
from hpcaccept.store.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Before every line of ours: others write into the same log, and ``kubectl logs`` may put names and times before it.
MARK = "hpcaccept-run: "
#: Bytes of an archive: with base64 and marks about 7 MiB of log.
MOST_BYTES = 4 * 1024 * 1024
_MOST_UNPACKED = 256 * 1024 * 1024
_LINE = 2048
#: What is left out, one after the other, until the rest is small enough. Reports can be made again, and what was known is at the site.
_DISPENSABLE = (("run.h5", "report.html", ".reserve", "known"), ("outputs",), ("logs",))
_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]{0,200}")


def to_log(folder: RunFolder, most_bytes: int = MOST_BYTES) -> Iterator[str]:
    """The lines that hold a run.

    Raises:
        RunError: even its records alone are too large.
    """
    without: tuple[str, ...] = ()
    for dispensable in _DISPENSABLE:
        without += dispensable
        packed = _packed(folder.path, without)
        if len(packed) <= most_bytes:
            break
    else:
        raise RunError(
            f"The records of {folder.run_id} have {len(packed)} bytes when packed; a log may carry {most_bytes}.",
            "Keep the runs on a claim: hpcaccept k8s render --pvc NAME.",
        )
    head = {
        "run": folder.run_id,
        "bytes": len(packed),
        "sha256": hashlib.sha256(packed).hexdigest(),
        "without": without,
    }
    yield f"{MARK}begin {json.dumps(head)}"
    text = base64.b64encode(packed).decode()
    for at in range(0, len(text), _LINE):
        yield MARK + text[at : at + _LINE]
    yield f"{MARK}end"


def _packed(path: Path, without: tuple[str, ...]) -> bytes:
    out = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file in sorted(path.rglob("*")):
            name = file.relative_to(path)
            if file.is_symlink() or not file.is_file() or name.parts[0] in without:
                continue
            content = read_bytes(file)
            entry = tarfile.TarInfo(name.as_posix())
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def from_log(lines: Iterable[str], runs_dir: Path) -> RunFolder:
    """The last run that a log holds, as a folder again.

    Raises:
        StoreError: there is none, or it is not what was written.
        RunError: there is such a folder already, or it cannot be made.
    """
    run, packed = _found(lines)
    target = RunFolder(runs_dir / run)
    if target.path.exists():
        raise RunError(f"{target.path} is there already.", "Choose another place with --runs-dir, or move it away.")
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=runs_dir, prefix=".collecting-") as place:
            beside = Path(place) / run
            beside.mkdir()
            _unpack(packed, beside)
            RunFolder(beside).read_plan()
            beside.rename(target.path)
    except OSError as fault:
        raise target.refused(fault) from fault
    return target


def _found(lines: Iterable[str]) -> tuple[str, bytes]:
    """Name and archive of the last run that is whole; the first fault where none is."""
    head: dict[str, Any] | None = None
    parts: list[str] = []
    size, fault = 0, "there is no run in this text"
    found: tuple[str, bytes] | None = None
    for line in lines:
        _, mark, said = line.partition(MARK)
        said = said.strip()
        if not mark:
            continue
        if said.startswith("begin "):
            head, parts, size, fault = _head(said[6:]), [], 0, "the run in this text has no end: was the log cut?"
        elif head is not None and said == "end":
            found, head = _checked(head, "".join(parts)), None
        elif head is not None:
            size += len(said)
            if size > 2 * MOST_BYTES:
                raise StoreError(
                    f"The run in this text is longer than any that is written: over {2 * MOST_BYTES} characters."
                )
            parts.append(said)
    if found is None:
        raise StoreError(
            f"Nothing can be collected: {fault}.",
            "Give it the whole log: kubectl logs job/NAME | hpcaccept k8s collect",
        )
    return found


def _head(text: str) -> dict[str, Any]:
    head = None
    with contextlib.suppress(ValueError):
        head = loads(text)
    if not isinstance(head, dict) or not _NAME.fullmatch(str(head.get("run", ""))):
        raise StoreError(f"This line begins no run that hpcaccept has written: {text[:120]!r}.")
    return head


def _checked(head: dict[str, Any], text: str) -> tuple[str, bytes]:
    try:
        packed = base64.b64decode(text, validate=True)
    except ValueError:
        packed = b""
    if len(packed) != head.get("bytes") or hashlib.sha256(packed).hexdigest() != head.get("sha256"):
        raise StoreError(
            f"The run {head['run']} in this text is damaged: {len(packed)} bytes whose digest is not the one that was written.",
            "Was the log cut or changed on its way? Fetch it again.",
        )
    return str(head["run"]), packed


def _unpack(packed: bytes, target: Path) -> None:
    """Plain files below the folder and nothing else, however the archive names them."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            plain = stream.read(_MOST_UNPACKED + 1)
        if len(plain) > _MOST_UNPACKED:
            raise StoreError(f"The run in this text has more than {_MOST_UNPACKED} bytes when unpacked.")
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            for entry in archive:
                parts = PurePosixPath(entry.name).parts
                if not entry.isreg() or not parts or any(part in ("..", "/") or "\0" in part for part in parts):
                    raise StoreError(
                        f"The run in this text holds {entry.name[:120]!r}, which is not a plain file of a run folder."
                    )
                content = archive.extractfile(entry)
                file = target.joinpath(*parts)
                file.parent.mkdir(parents=True, exist_ok=True)
                with content or io.BytesIO() as source, file.open("xb") as out:
                    shutil.copyfileobj(source, out)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as fault:
        raise StoreError(f"The run in this text cannot be unpacked: {fault}.") from None
