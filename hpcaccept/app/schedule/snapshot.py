"""What exactly will run: a copy of the working tree as it is now, with the commit, the difference from it, and the hash of each file.

The copy is what runs, here, on Slurm and on a rented machine: what is edited between ``add`` and the start changes nothing.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.app.schedule import secret_patterns
from hpcaccept.app.schedule.git import git, names
from hpcaccept.app.schedule.recipe_file import FOLDER
from hpcaccept.errors import RunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcaccept.model.schedule.recipe import Recipe

_LFS = b"version https://git-lfs.github.com/spec/v1\n"
_PIECE = 1024 * 1024
#: Names of files that a terminal, a manifest or rsync's list cannot hold.
_ODD = ("\n", "\r")


@dataclass(frozen=True)
class Commit:
    """What git says of the working tree.

    Attributes:
        hash: of HEAD.
        subject: of its message.
        branch: empty: none.
        diff: from HEAD to the working tree, staged or not.
        untracked: names of files that git does not know and does not ignore.
        submodules: lines of ``git submodule status``.
    """

    hash: str
    subject: str
    branch: str
    diff: bytes
    untracked: tuple[str, ...]
    submodules: tuple[str, ...]


@dataclass(frozen=True)
class Sendable:
    """One file that would be sent.

    Attributes:
        name: in the run's folder of work.
        source: on this machine.
        size_bytes: now.
        link: where it leads, of a symbolic link; else empty.
    """

    name: str
    source: Path
    size_bytes: int
    link: str = ""


@dataclass(frozen=True)
class Contents:
    """Everything that would be sent.

    Attributes:
        files: in order.
        lfs: how many Git LFS keeps.
        lfs_missing: of which only the pointer is here.
        secrets: why some must not be sent.
    """

    files: tuple[Sendable, ...]
    lfs: int
    lfs_missing: tuple[str, ...]
    secrets: tuple[secret_patterns.Finding, ...]

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(each.size_bytes for each in self.files)


def commit_of(top: Path) -> Commit:
    """Commit and difference of a working tree.

    Raises:
        UsageError, LaunchError: as ``git``.
    """
    hash_, _, subject = git(top, "log", "-1", "--format=%H%x00%s").decode("utf-8", "replace").strip().partition("\0")
    branch = git(top, "rev-parse", "--abbrev-ref", "HEAD").decode("utf-8", "replace").strip()
    diff = git(top, "diff", "--binary", "--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short", "HEAD")
    untracked = names(git(top, "ls-files", "-z", "--others", "--exclude-standard"))
    submodules = git(top, "submodule", "status", "--recursive") if (top / ".gitmodules").exists() else b""
    return Commit(
        hash_,
        subject,
        "" if branch == "HEAD" else branch,
        diff,
        tuple(each for each in untracked if not _ours(each)),
        tuple(submodules.decode("utf-8", "replace").splitlines()),
    )


def contents_of(top: Path, recipe: Recipe) -> Contents:
    """What would be sent: of the working tree what git does not ignore, submodules included; of other folders everything.

    Raises:
        UsageError: a folder to be sent is not there, or a name cannot be sent.
    """
    found: dict[str, Sendable] = {}
    for place in recipe.send:
        for each in _of_tree(top) if place == "." else _of_folder((top / place).resolve(), place):
            if any(sign in each.name for sign in _ODD):
                raise UsageError(f"{each.name!r} has a line break in its name, which cannot be sent.", "Rename it.")
            if each.name in found and found[each.name].source != each.source:
                raise UsageError(
                    f"Two files would be sent as {each.name}: {found[each.name].source} and {each.source}."
                )
            found[each.name] = each
    files = [each for each in found.values() if not excluded(each.name, recipe.exclude)]
    lfs = _lfs_files(top) if "." in recipe.send else frozenset()
    missing = tuple(each.name for each in files if each.name in lfs and _starts_with(each.source, _LFS))
    return Contents(tuple(files), len(lfs), missing, tuple(_secrets(files, recipe.allow_secrets)))


def _of_tree(top: Path) -> list[Sendable]:
    listed = names(git(top, "ls-files", "-z", "--cached", "--recurse-submodules"))
    listed += names(git(top, "ls-files", "-z", "--others", "--exclude-standard"))
    found = [_sendable(top / each, each) for each in dict.fromkeys(listed) if not _ours(each)]
    return [each for each in found if each]


def _of_folder(folder: Path, written: str) -> list[Sendable]:
    """All files of another folder under its own name, or the one file that it is."""
    if not folder.exists():
        raise UsageError(f"send: there is no {written} ({folder}).", "Edit send in .hpcaccept/run.toml.")
    if folder.is_file():
        one = _sendable(folder, folder.name)
        return [one] if one else []
    found = []
    for here, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted((*files, *(each for each in folders if (Path(here) / each).is_symlink()))):
            each = _sendable(Path(here) / name, f"{folder.name}/{(Path(here) / name).relative_to(folder).as_posix()}")
            found += [each] if each else []
    return found


def _sendable(source: Path, name: str) -> Sendable | None:
    """None of what is not there (a tracked file that was deleted), of pipes and devices, and of folders (a nested repository)."""
    try:
        if source.is_symlink():
            return Sendable(name, source, 0, str(source.readlink()))
        return Sendable(name, source, source.stat().st_size) if source.is_file() else None
    except OSError as fault:
        raise UsageError(f"Cannot read {source}: {fault.strerror}.") from None


def _ours(name: str) -> bool:
    """Our own records are no part of what is run."""
    return name == FOLDER or name.startswith(f"{FOLDER}/")


def excluded(name: str, patterns: Sequence[str]) -> bool:
    """Whether rsync leaves a file out by one of its patterns."""
    parts = name.split("/")
    below = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(
        fnmatch.fnmatchcase(part, pattern.strip("/"))
        or any(fnmatch.fnmatchcase(each, pattern.strip("/")) for each in below)
        for pattern in patterns
        for part in parts
    )


def _lfs_files(top: Path) -> frozenset[str]:
    """Tracked files whose attribute ``filter`` is ``lfs``: git answers, whether LFS is installed or not."""
    if not any(top.rglob(".gitattributes")):
        return frozenset()
    tracked = git(top, "ls-files", "-z", ":(attr:filter=lfs)")
    return frozenset(names(tracked))


def _starts_with(file: Path, beginning: bytes) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(len(beginning)) == beginning
    except OSError:
        return False


def _secrets(files: Sequence[Sendable], allowed: Sequence[str]) -> list[secret_patterns.Finding]:
    found = []
    for each in files:
        if each.name in allowed or each.link:
            continue
        finding = secret_patterns.by_name(each.name)
        if finding is None:
            try:
                with each.source.open("rb") as stream:
                    finding = secret_patterns.by_content(each.name, stream.read(secret_patterns.MOST_BYTES))
            except OSError as fault:
                raise UsageError(f"Cannot read {each.source}: {fault.strerror}.") from None
        found += [finding] if finding else []
    return found


def refuse_secrets(contents: Contents) -> None:
    """Raise UsageError where a file must not be sent; the message names file, place and pattern of each."""
    if contents.secrets:
        shown = "\n".join(f"  {each}" for each in contents.secrets[:20])
        more = f"\n  and {len(contents.secrets) - 20} more" if len(contents.secrets) > 20 else ""
        raise UsageError(
            f"{len(contents.secrets)} of the files to be sent may hold a secret:\n{shown}{more}",
            "Put them into .gitignore, or name those that hold none under allow_secrets in .hpcaccept/run.toml.",
        )


def copy(contents: Contents, into: Path, say: Callable[[str], None]) -> tuple[str, int]:
    """Copy all files into a folder; gives the manifest and the bytes that were copied.

    Raises:
        RunError: a file cannot be read any more, or there is no space.
    """
    lines, size = [], 0
    for number, each in enumerate(contents.files):
        target = into / each.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if each.link:
                target.symlink_to(each.link)
                digest = hashlib.sha256(each.link.encode("utf-8", "surrogateescape")).hexdigest()
            else:
                digest, copied = _copied(each.source, target)
                size += copied
        except OSError as fault:
            raise RunError(f"Cannot copy {each.source} to {target}: {fault.strerror}.") from None
        lines.append(f"{digest} {each.size_bytes:>12} {each.name}\n")
        if number % 5000 == 4999:
            say(f"{number + 1:,} of {len(contents.files):,} files copied")
    return "".join(lines), size


def _copied(source: Path, target: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as read, target.open("wb") as write:
        while piece := read.read(_PIECE):
            digest.update(piece)
            write.write(piece)
            size += len(piece)
    shutil.copystat(source, target)
    return digest.hexdigest(), size
