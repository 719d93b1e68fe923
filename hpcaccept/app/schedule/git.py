"""Reads a git working tree without writing anything there and without starting a program of its configuration."""

from __future__ import annotations

import os
from pathlib import Path

from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.transport.process import ask_raw

#: A diff of a large tree on a slow file system.
_TIMEOUT_S = 120.0
#: Options of git that keep it from starting programs which a repository names.
_QUIET = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false")


def git(root: Path, *words: str) -> bytes:
    """What git prints.

    Raises:
        UsageError: it refuses; the message has its words.
        LaunchError: it is not installed, or does not end.
    """
    # In a hook of another repository git's own variables lead there.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {"LC_ALL": "C"}
    done = ask_raw(["git", "--no-optional-locks", "-C", str(root), *_QUIET, *words], timeout_s=_TIMEOUT_S, env=env)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[:300]
        raise UsageError(f"git {words[0]} in {root}: {said or f'exit status {done.returncode}'}.")
    return done.stdout


def top_of(folder: Path) -> Path:
    """The top of the working tree that a folder is in.

    Raises:
        UsageError: it is in none, or the repository has no commit yet.
    """
    try:
        top = Path(os.fsdecode(git(folder, "rev-parse", "--show-toplevel").rstrip(b"\n")))
        git(top, "rev-parse", "--verify", "HEAD")
    except (UsageError, LaunchError) as fault:
        raise UsageError(
            f"{folder} is in no git working tree with a commit, which a run is bound to: {fault.message}",
            "git init && git add . && git commit -m 'first'",
        ) from None
    return top


def names(raw: bytes) -> list[str]:
    """File names of an answer with ``-z``."""
    return [os.fsdecode(each) for each in raw.split(b"\0") if each]
