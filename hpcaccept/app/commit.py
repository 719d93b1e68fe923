"""The commit of hpcaccept itself: of git in its own checkout, else as the build or the installer (``pip install git+…``) wrote it down.

A checkout that merely surrounds the package (a virtual environment inside another project) is never asked.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from hpcaccept import __version__
from hpcaccept.errors import LaunchError
from hpcaccept.transport.process import ask

#: Written into wheels and sdists by hatch_build.py, into images by their Containerfile.
WRITTEN = "hpcaccept/_commit.txt"
_OWN_FILE = "hpcaccept/__init__.py"
#: Its entry in git's index, which saves asking git: 12 bits of length, the name, a zero (versions 2 and 3; gitformat-index).
_OWN_ENTRY = len(_OWN_FILE).to_bytes(2, "big") + _OWN_FILE.encode() + b"\0"
_FULL = re.compile(r"^([0-9a-f]{12})[0-9a-f]{28}(?![0-9a-f])")


def commit() -> str:
    """The commit that is running, 12 digits, with ``-dirty`` when the tree was changed; empty when nobody knows."""
    return commit_of(Path(__file__).resolve().parents[2])


def version_line() -> str:
    """What ``hpcaccept --version`` prints."""
    of = commit()
    return f"hpcaccept, version {__version__}" + (f" (commit {of})" if of else "")


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
    with contextlib.suppress(OSError):  # .git is a file: a worktree
        if _OWN_ENTRY in (root / ".git/index").read_bytes():
            return True
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
        return _as_installed(root)


def _as_installed(root: Path) -> str:
    """The commit that pip noted beside the package, where it was installed from a repository.

    Source: https://packaging.python.org/en/latest/specifications/direct-url/
    """
    import json

    for file in sorted(root.glob("hpcaccept-*.dist-info/direct_url.json")):
        try:
            noted = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        origin = noted.get("vcs_info") if isinstance(noted, dict) else None
        commit = origin.get("commit_id") if isinstance(origin, dict) else None
        if isinstance(commit, str) and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit):
            return commit[:12]
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
