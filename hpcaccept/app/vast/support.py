"""What of a run may leave the site: its journal, results and logs in one archive, redacted; no key is in any of them to begin with."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from typing import TYPE_CHECKING

from hpcaccept.app.vast import journal as journals
from hpcaccept.app.vast import results as resulting
from hpcaccept.bounded import read_bytes
from hpcaccept.errors import UsageError
from hpcaccept.report.redact import Redactor

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = (journals.NAME, resulting.PASS_LOG, resulting.ERROR_LOG, resulting.RESULTS, "guard.log")
_OF_MACHINES = ("progress.log", "container.log", "transcript.json")
_MOST = 8_000_000


def pack(folder: Path, file: Path) -> list[str]:
    """Write the archive (0600); gives a line for each kind of thing that was replaced.

    Raises:
        UsageError: the folder is none of a run, or there is such a file already.
    """
    journals.read(folder)
    texts = _texts(folder)
    redactor = Redactor([], [], _users(), False)
    # The first time, what identifies people is learned from all texts; then none of them is before another.
    for text in texts.values():
        redactor.text(text)
    redactor.counts.clear()
    clean = {name: redactor.text(text) for name, text in texts.items()}
    replaced = redactor.report()
    clean["REDACTED.txt"] = "\n".join([*(replaced or ["nothing had to be replaced"]), ""])
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as out:
            _archive(out, folder.resolve().name, clean)
    except OSError as fault:
        raise UsageError(f"Cannot write {file}: {fault.strerror}.") from None
    return [f"{file}: {len(clean)} files", *replaced]


def _texts(folder: Path) -> dict[str, str]:
    wanted = [folder / name for name in _NAMES]
    machines = folder / "machines"
    wanted += [place / name for place in sorted(machines.glob("*")) for name in _OF_MACHINES]
    found = {}
    for each in wanted:
        try:
            found[str(each.relative_to(folder))] = read_bytes(each, most=_MOST).decode("utf-8", "replace")
        except OSError:
            continue
    return found


def _users() -> list[str]:
    names = (os.environ.get(name, "") for name in ("USER", "LOGNAME"))
    return sorted({each for each in names if each and each != "root"})


def _archive(out: object, root: str, texts: dict[str, str]) -> None:
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:  # type: ignore[call-overload]
        for name, text in texts.items():
            content = text.encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"{root}/{name}")
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
