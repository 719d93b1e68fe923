"""What a runtime needs on the machine from which runs are submitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LoginProbe:
    """A question to the login machine, and the answer that lets a run begin.

    Attributes:
        command: to run; its first word must be on the PATH.
        answer: text that its standard output holds where the runtime is there; empty: being on the PATH is enough,
            and the command is not run.
        absent: what is the matter otherwise.
        remedy: what to do then.
    """

    command: Sequence[str]
    answer: str
    absent: str
    remedy: str
