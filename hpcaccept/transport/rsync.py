"""Moves files to a rented machine and back: by rsync over ssh, whose host key is pinned; what is there already is not sent again.

The other side is not trusted: no links that lead out of the folder, no devices, and nothing beside the folder that was asked for.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError
from hpcaccept.transport.process import end_group

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SENT = re.compile(r"^Total transferred file size: ([\d,]+)", re.MULTILINE)
_COUNT = re.compile(r"^Number of regular files transferred: ([\d,]+)", re.MULTILINE)
#: Seconds without a byte after which a transfer is given up; what has come is kept.
_SILENCE_S = 60
#: rsync(1), EXIT VALUES: files vanished while they were read; some could not be.
_VANISHED = 24


@dataclass(frozen=True)
class Synced:
    """What a transfer has done.

    Attributes:
        whole: everything is there.
        size_bytes: of the files that were sent.
        files: how many.
        why: what is missing.
    """

    whole: bool
    size_bytes: int = 0
    files: int = 0
    why: str = ""


def sync(
    config: Path, source: Sequence[str], target: str, *, by_hash: bool, exclude: Sequence[str] = (), deadline_s: float, dry_run: bool = False
) -> Synced:  # fmt: skip
    """Make files there equal to those here, or the other way round; nothing is deleted.

    Args:
        config: of ssh; it names the host and pins its key.
        source: paths, or ``host:path``.
        target: the same.
        by_hash: files are compared by their content, else by size and time.
        exclude: patterns of rsync.
        deadline_s: after which it is stopped; the next one goes on there.
        dry_run: nothing is sent.

    Raises:
        LaunchError: there is no rsync here.
    """
    words = _words(config, by_hash=by_hash, exclude=exclude, dry_run=dry_run)
    try:
        process = subprocess.Popen(
            [*words, "--", *source, target],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise LaunchError("There is no rsync on this machine.", "apt-get install rsync") from None
    try:
        out, err = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        end_group(process, 2.0)
        return Synced(whole=False, why=f"it was not done after {deadline_s:.0f} s, and goes on there")
    finally:
        if process.poll() is None:
            end_group(process, 2.0)
    text = out.decode("utf-8", "replace")
    size, files = (int(found[1].replace(",", "")) if (found := each.search(text)) else 0 for each in (_SENT, _COUNT))
    if process.returncode in (0, _VANISHED):
        return Synced(True, size, files)
    said = " / ".join(err.decode("utf-8", "replace").strip().splitlines()[-3:])
    return Synced(False, size, files, f"rsync: exit status {process.returncode}: {said[:300]}")


def _words(config: Path, *, by_hash: bool, exclude: Sequence[str], dry_run: bool) -> list[str]:
    """Rsync and its options, without source and target."""
    return [
        "rsync",
        *("--recursive", "--links", "--safe-links", "--perms", "--chmod=u+rwX,go-w", "--times"),
        *("--no-devices", "--no-specials", "--compress", "--partial-dir=.rsync-partial", "--stats"),
        f"--timeout={_SILENCE_S}",
        f"--rsh={shlex.join(['ssh', '-F', str(config), '-o', 'BatchMode=yes'])}",
        *(["--checksum"] if by_hash else []),
        *(["--dry-run"] if dry_run else []),
        *(f"--exclude={each}" for each in exclude),
    ]
