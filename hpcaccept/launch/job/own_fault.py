"""A job's last word when hpcaccept itself breaks: an exception in, two sentences out. A broken driver is no reason for silence."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import hpcaccept
from hpcaccept.errors import HpcacceptError
from hpcaccept.store.folder import FULL

if TYPE_CHECKING:
    from hpcaccept.store.folder import RunFolder

_PACKAGE = Path(hpcaccept.__file__).parent
#: What may be quoted of an exception's own text.
_MOST_CHARACTERS = 300
_REMEDY = (
    "This says nothing about a node. What was measured is kept and judged: 'hpcaccept report'. Type 'hpcaccept doctor' to look at the "
    "installation; if it is well, report this with the run folder: the traceback stands in the job's output, in logs/."
)


def last_words(folder: RunFolder, fault: BaseException) -> tuple[str, str]:
    """Why a job ends, and what to do.

    Args:
        folder: of the run.
        fault: that ended it.
    """
    if isinstance(fault, HpcacceptError):
        return fault.message, fault.remedy
    if isinstance(fault, OSError) and _of_folder(folder, fault):
        error = folder.refused(fault)
        return error.message, error.remedy
    text = " ".join(str(fault).split())[:_MOST_CHARACTERS]
    return f"hpcaccept itself broke: {type(fault).__name__}{f': {text}' if text else ''}{_place(fault)}", _REMEDY


def _of_folder(folder: RunFolder, fault: OSError) -> bool:
    """A journal that is open already has no name when it cannot be written."""
    return fault.errno in FULL or fault.filename is None or Path(str(fault.filename)).is_relative_to(folder.path)


def _place(fault: BaseException) -> str:
    """The last line of ours that it came through; the library below it is one that we called."""
    frames = traceback.extract_tb(fault.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)] or frames
    if not ours:
        return ""
    file = Path(ours[-1].filename)
    name = file.relative_to(_PACKAGE.parent) if file.is_relative_to(_PACKAGE) else file.name
    return f", at line {ours[-1].lineno} of {name}"
