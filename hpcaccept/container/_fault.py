"""Why ranks cannot be started in an image: distinguished by what runtimes and launchers print, never a node's FAIL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal[
    "no runtime",
    "image missing",
    "pull refused",
    "registry unreachable",
    "unpacking failed",
    "no space",
    "hook failed",
    "mount failed",
    "not permitted",
    "python missing",
    "MPI missing",
    "hpcaccept missing",
    "another version",
    "MPI does not fit",
    "MPI cannot join",
    "does not start",
]

#: Enroot's mark of a line that tells how far it is.
_PROGRESS = "[INFO]"
#: Who passes the line on: srun --label, Slurm's daemon (from 25.05 on by the time of day instead of its name), Pyxis.
_WHO = re.compile(r"^\s*(\d+: )?((slurmstepd\S*:|\[\d{4}-\S+\]) error: )?(pyxis: {2,})?")


@dataclass(frozen=True)
class Fault:
    """Why a container or what is in it could not be started.

    Attributes:
        kind: which failure it is.
        cause: a sentence, with the line that tells it.
        remedy: what to do about it.
    """

    kind: Kind
    cause: str
    remedy: str


@dataclass(frozen=True)
class Sign:
    """A failure and the words by which it is known.

    Attributes:
        kind: see Fault.
        words: regular expression, looked for line by line.
        cause: what they mean.
        remedy: what to do.
        progress: look in the lines of progress (``[INFO]``) too, which tell of no failure by themselves.
    """

    kind: Kind
    words: str
    cause: str
    remedy: str
    progress: bool = False


def first_of(signs: Iterable[Sign], stderr: str) -> Fault | None:
    """The fault of the first sign that is found in a standard error; signs stand from the particular to the general.

    The line that tells it is quoted, where there is one: a line of progress is none.
    """
    told = "\n".join(line for line in stderr.splitlines() if _PROGRESS not in line)
    for sign in signs:
        text = stderr if sign.progress else told
        match = re.search(sign.words, text)
        if match:
            begin = text.rfind("\n", 0, match.start()) + 1
            line = _WHO.sub("", text[begin:].partition("\n")[0]).strip()
            quoted = "" if _PROGRESS in line else f" ({line[:200]})"
            return Fault(sign.kind, f"container: {sign.cause}{quoted}", sign.remedy)
    return None
