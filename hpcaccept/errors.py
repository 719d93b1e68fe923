"""The errors that hpcaccept raises, and what each promises.

::

    HpcacceptError            a sentence: what was found, what was expected, what to type next
    ├── UsageError            exit 2: the command line or a configuration file is wrong; nothing was started
    │   └── PluginError       a package of the site brings something that cannot be used; the package must be mended
    ├── RunError              exit 3: a run could not be started, found, read or judged
    │   ├── StoreError        a file is foreign, torn or of another version; a retry cannot help
    │   └── RunFolderFull     no space under the run folder; a retry helps once there is space
    ├── LaunchError           exit 3: the scheduler or MPI refused; a retry may help
    └── ToolError             a record says ERROR: a tool that a check runs did not end, or failed for reasons of its own
        └── NotUnderstood     its output has another form than any that is known; a retry cannot help

A bad node is never an exception: it is a Verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable


class HpcacceptError(Exception):
    """An error with a remedy. ``str()`` is one or two full sentences for people."""

    exit_code = 3

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.remedy}" if self.remedy else self.message


class UsageError(HpcacceptError):
    """The command line or a configuration file is wrong. Nothing was started."""

    exit_code = 2


class PluginError(UsageError):
    """An installed package adds something to hpcaccept that cannot be used. The message names the package."""


class RunError(HpcacceptError):
    """A run could not be started, found, read or judged."""


class StoreError(RunError):
    """A file is foreign, torn or of another version. A retry cannot help."""


class RunFolderFull(RunError):
    """There is no space left under the run folder."""


class LaunchError(HpcacceptError):
    """The scheduler or MPI refused. A retry may help."""


class ToolError(HpcacceptError):
    """A tool that a check runs did not end in time, or failed for a reason that says nothing about the hardware."""


class NotUnderstood(ToolError):
    """The output of a tool has none of the known forms. The text is kept; nothing is guessed from it."""


def install_hint(extra: str = "") -> str:
    """How to install hpcaccept: from a checkout or from its wheel, because no package index has it.

    Args:
        extra: name of an extra of pyproject.toml; empty: the login side alone.
    """
    which = f"[{extra}]" if extra else ""
    wheel = f"hpcaccept-{__version__}-py3-none-any.whl{which}"
    return f"pip install '.{which}' in a checkout of hpcaccept, or pip install '{wheel}'"


def nearest(word: str, known: Iterable[str]) -> str:
    """``" Did you mean 'matmul'?"``, or the list of what is known when nothing is near.

    Args:
        word: what was found.
        known: every name that would have been right.
    """
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(names)}." if names else ""
