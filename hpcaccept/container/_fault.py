"""What is the matter when ranks cannot be started in an image? Told apart by what runtimes and launchers say, never a node's FAIL."""

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
    "hpcaccept missing",
    "another version",
    "MPI cannot join",
    "does not start",
]

#: Who passes the line on: srun --label, Slurm's daemon, Pyxis.
_WHO = re.compile(r"^\s*(\d+: )?(slurmstepd\S*: error: )?(pyxis: {2,})?")


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
    """

    kind: Kind
    words: str
    cause: str
    remedy: str


def first_of(signs: Iterable[Sign], stderr: str) -> Fault | None:
    """The fault of the first sign that is found in a standard error; signs stand from the particular to the general."""
    for sign in signs:
        match = re.search(sign.words, stderr)
        if match:
            begin = stderr.rfind("\n", 0, match.start()) + 1
            line = _WHO.sub("", stderr[begin:].partition("\n")[0]).strip()
            return Fault(sign.kind, f"container: {sign.cause} ({line[:200]})", sign.remedy)
    return None
