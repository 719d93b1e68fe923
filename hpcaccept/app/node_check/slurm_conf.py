"""The gate's lines in a slurm.conf: added once, changed where they are ours, and never over somebody else's.

https://slurm.schedmd.com/slurm.conf.html (25.05): names of keys have no case, ``#`` begins a comment, a backslash at the end joins lines, ``Include FILE`` stands
for that file. A key that stands twice would count once, whichever comes last; so a line of somebody else is neither repeated nor replaced, but named.
"""

from __future__ import annotations

import difflib
import glob
import os
import re
import stat
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.bounded import read_bytes
from hpcaccept.errors import RunError, UsageError
from hpcaccept.store.new_file import write_new
from hpcaccept.store.replaced_files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_BEGIN = "# hpcaccept node-check install: begin"
_END = "# hpcaccept node-check install: end"
_PAIR = re.compile(r'(?P<key>[A-Za-z]\w*)\s*=\s*(?P<value>"[^"]*"|\S+)')
_INCLUDE = re.compile(r"\s*include\s+(?P<file>\S+)\s*$", re.IGNORECASE)
#: PrologFlags that have slurmd run the prolog when a job is given its nodes; each implies Alloc.
_ALLOC = frozenset({"alloc", "contain", "x11", "runinjob"})
_DEEPEST = 8


@dataclass(frozen=True)
class Setting:
    """One key of a slurm.conf.

    Attributes:
        key: as it is written.
        value: without quotes.
        file: where it stands.
        line: its number there.
        ours: it stands between our two marks.
    """

    key: str
    value: str
    file: Path
    line: int
    ours: bool


@dataclass(frozen=True)
class Edit:
    """What is to become of a slurm.conf.

    Attributes:
        file: itself; a link was followed.
        before: its text.
        after: the same text where nothing is missing.
    """

    file: Path
    before: str
    after: str

    def diff(self) -> list[str]:
        """For people; empty where nothing changes."""
        name = str(self.file)
        return list(difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), name, name, lineterm=""))


def planned(file: Path, lines: Sequence[str]) -> Edit:
    """What the file needs so that it has these lines.

    Args:
        file: a slurm.conf.
        lines: ``Key=Value``.

    Raises:
        UsageError: it cannot be read, or somebody else has set one of the keys to something else.
    """
    file = Path(os.path.realpath(file))  # unlike resolve, a loop of links is only read in vain
    before = _text(file)
    foreign = [setting for setting in settings(file, before) if not setting.ours]
    wanted = [line for line in lines if line and not _there(line, foreign)]
    rest, at = _without_ours(before.splitlines(keepends=True))
    if wanted:
        # Where ours stood before, or behind everything; whole lines.
        rest[at:at] = [f"{line}\n" for line in (_BEGIN, *wanted, _END)]
        if at and not rest[at - 1].endswith("\n"):
            rest[at - 1] += "\n"
    return Edit(file, before, "".join(rest))


def settings(file: Path, text: str, read: Callable[[Path], str] | None = None, depth: int = 0) -> Iterator[Setting]:
    """Every key of a slurm.conf and of what it includes, in their order.

    Raises:
        UsageError: a file that it includes cannot be read: what stands there nobody knows.
    """
    read = read or _text
    ours, joined, first = False, "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() in (_BEGIN, _END):
            ours = line.strip() == _BEGIN
            continue
        first = first if joined else number
        joined += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        said, joined = re.sub(r"(?<!\\)#.*", "", joined), ""
        if (found := _INCLUDE.match(said)) and depth < _DEEPEST:
            other = file.parent / found["file"]
            yield from settings(other, read(other), read, depth + 1)
            continue
        for pair in _PAIR.finditer(said):
            yield Setting(pair["key"], pair["value"].strip('"'), file, first, ours)


def write(edit: Edit, now: datetime | None = None) -> Path:
    """Replace the file, its mode and owner kept; gives the copy of what it was, beside it.

    Raises:
        RunError: it has changed since it was read, or cannot be written. Then it is as it was.
    """
    at = (now or datetime.now(timezone.utc)).strftime("%Y%m%dT%H%M%S%fZ")
    backup = edit.file.with_name(f"{edit.file.name}.hpcaccept-{at}")
    try:
        about = edit.file.stat()
        write_new(backup, edit.before.encode("utf-8", "surrogateescape"), stat.S_IMODE(about.st_mode))
        with replacing(edit.file, stat.S_IMODE(about.st_mode)) as beside:
            beside.write_bytes(edit.after.encode("utf-8", "surrogateescape"))
            if (about.st_uid, about.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(beside, about.st_uid, about.st_gid)
            if _text(edit.file) != edit.before:
                backup.unlink()
                raise RunError(
                    f"{edit.file} was changed by somebody else in this moment, and is left as it is.", "Type it again."
                )
    except OSError as fault:
        raise RunError(f"Cannot write {edit.file}: {fault.strerror}.", "Type it as root.") from None
    return backup


def _text(file: Path) -> str:
    try:
        return read_bytes(file, follow=True).decode("utf-8", "surrogateescape")
    except OSError as fault:
        raise UsageError(
            f"Cannot read {file}: {fault.strerror}.", "Name the site's slurm.conf: --slurm-conf FILE"
        ) from None


def _there(line: str, foreign: Sequence[Setting]) -> bool:
    """True where the site has the line itself.

    Raises:
        UsageError: it has another one.
    """
    key, _, value = line.partition("=")
    same = [setting for setting in foreign if setting.key.lower() == key.lower()]
    if key == "PrologFlags" and any(_ALLOC & set(each.value.lower().split(",")) for each in same):
        return True
    for setting in same:
        if setting.value != value and not _starts(setting.value, value):
            where = f"{setting.file}, line {setting.line}"
            raise UsageError(f"{where}: found {setting.key}={setting.value}, expected {line}.", _remedy(setting, value))
    return bool(same)


def _starts(pattern: str, script: str) -> bool:
    """True where the site's pattern (``/etc/slurm/prolog.d/*``) has our script, or a link to it, among what it names."""
    ours = os.path.realpath(script)
    return any(os.path.realpath(found) == ours for found in glob.glob(pattern))  # noqa: PTH207 (absolute, as Slurm takes it)


def _remedy(setting: Setting, value: str) -> str:
    if setting.key.lower() in ("prolog", "epilog"):
        folder = f"/etc/slurm/{setting.key.lower()}.d"
        return f"Both can run: link both scripts into a folder and write {setting.key}={folder}/*; of several the last in the alphabet is first."
    if setting.key.lower() == "healthcheckprogram":
        return f"Slurm runs one program only: start {value} from it."
    if setting.key.lower() == "prologflags":
        return f"Add Alloc to it: {setting.key}={setting.value},Alloc"
    return "Change that line by hand, or ask for what it has (--interval)."


def _without_ours(lines: list[str]) -> tuple[list[str], int]:
    """The lines without what stands between our marks, and where that stood; without marks the end."""
    begin = next((number for number, line in enumerate(lines) if line.strip() == _BEGIN), None)
    if begin is None:
        return lines, len(lines)
    end = next((number for number, line in enumerate(lines) if number > begin and line.strip() == _END), None)
    if end is None:
        raise UsageError(
            f"Our first mark has no second: found {_BEGIN!r}, expected {_END!r} behind it.",
            "Remove the mark and our lines by hand.",
        )
    return lines[:begin] + lines[end + 1 :], begin
