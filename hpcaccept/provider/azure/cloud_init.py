"""Whether cloud-init has finished on a node. Azure says "Succeeded" long before, and whatever a script ended with.

What ``cloud-init status --format json`` prints: https://docs.cloud-init.io/en/latest/reference/cli.html#status
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hpcaccept.serial import loads

COMMAND = "cloud-init status --format json"
_GOING_ON = ("running", "not started", "not run")


@dataclass(frozen=True)
class Progress:
    """How far a node is.

    Attributes:
        state: ``failed`` covers a node whose set-up ended with errors.
        why: of a failure; else empty.
    """

    state: Literal["running", "done", "failed", "unknown"]
    why: str = ""


def progress_of(text: str) -> Progress:
    """What the command printed; exit status 2 (degraded) and 1 (error) print the same form."""
    try:
        found = loads(text[text.index("{") :])
    except ValueError:
        return Progress("unknown", f"cloud-init said {text.strip()[:120]!r}")
    if not isinstance(found, dict):
        return Progress("unknown", f"cloud-init said {text.strip()[:120]!r}")
    state = str(found.get("status", ""))
    if state in _GOING_ON:
        return Progress("running")
    errors = found.get("errors") or []
    recoverable = found.get("recoverable_errors") or {}
    if state == "done" and not errors and not _serious(recoverable):
        return Progress("done")
    told = "; ".join(str(each) for each in (*errors, *_serious(recoverable))) or str(found.get("detail", "")) or state
    return Progress("failed", f"cloud-init: {' '.join(told.split())[:300]}")


def _serious(recoverable: object) -> list[str]:
    """Errors that cloud-init went on after: a script of ours that failed is among them. Warnings and deprecations are not."""
    if not isinstance(recoverable, dict):
        return []
    return [str(each) for level in ("CRITICAL", "ERROR") for each in recoverable.get(level) or ()]
