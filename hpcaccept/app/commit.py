"""The commit of hpcaccept itself: of git in its own checkout, else as the build wrote it down.

A checkout that merely surrounds the package (a virtual environment inside another project) is never asked.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from hpcaccept.errors import LaunchError
from hpcaccept.transport.process import ask

#: Written into wheels and sdists by hatch_build.py, into images by their Containerfile.
WRITTEN = "hpcaccept/_commit.txt"
_OWN_FILE = "hpcaccept/__init__.py"
_FULL = re.compile(r"^([0-9a-f]{12})[0-9a-f]{28}(?![0-9a-f])")


def commit() -> str:
    """The commit that is running, 12 digits, with ``-dirty`` when the tree was changed; empty when nobody knows."""
    return commit_of(Path(__file__).resolve().parents[2])


def commit_of(root: Path) -> str:
    """Like ``commit()``, of the hpcaccept under a folder.

    Args:
        root: folder that holds the package: a checkout, an unpacked sdist, ``site-packages``.
    """
    return _of_git(root) if is_own_checkout(root) else _as_built(root)


def is_own_checkout(root: Path) -> bool:
    """True where a folder is the top of a git checkout that tracks this package."""
    if not (root / ".git").exists():
        return False
    # --full-name counts from the top of whatever git found: further up, another project's.
    return ask_git(root, "ls-files", "--error-unmatch", "--full-name", _OWN_FILE) == _OWN_FILE


def _of_git(root: Path) -> str:
    # Unlike "describe --dirty" this never writes: a checkout may be somebody else's.
    state = ask_git(root, "status", "--porcelain=v2", "--branch", "--no-ahead-behind", "--untracked-files=no")
    head = re.search(r"^# branch\.oid ([0-9a-f]{12})", state, re.MULTILINE)
    changed = re.search(r"^[^#]", state, re.MULTILINE)
    return head[1] + ("-dirty" if changed else "") if head else ""


def _as_built(root: Path) -> str:
    try:
        return _FULL.sub(r"\1", (root / WRITTEN).read_text(encoding="utf-8").strip())
    except OSError:
        return ""


def ask_git(root: Path, *words: str) -> str:
    """What git prints in a folder; empty when it refuses, hangs or is not installed."""
    # Whoever runs the code of a checkout trusts it already, whoever owns it: safe.directory protects from other folders.
    # Nothing is written there (locks), and no program of its configuration is started (fsmonitor).
    trusted = ["-c", f"safe.directory={root}", "-c", "core.fsmonitor=false"]
    # In a hook of another repository git's own variables lead there.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = ask(["git", "--no-optional-locks", "-C", str(root), *trusted, *words], timeout_s=5, env=env)
    except (LaunchError, OSError):
        return ""
    return done.stdout.strip() if done.ok else ""
