"""What Slurm really said (tests/data/slurm/VERSION): questions, answers, and what commands ended with where that was recorded."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from support.builders import DATA

VERSIONS = ("22.05", "23.11", "24.11", "25.11", "26.05")
#: How a job ended, by the case that shows it.
ENDS = {
    "completed": "ended",
    "failed": "failed",
    "killed_batch_script": "failed",
    "output_not_writable": "failed",
    "cancelled": "cancelled",
    "cancelled_running": "cancelled",
    "timeout": "timeout",
    "node_fail": "node_fail",
}
_EXIT = re.compile(r"^exit: (-?\d+)$")


@dataclass(frozen=True)
class Answer:
    """One question and what came of it; ``code`` is None where it was not recorded (all versions but 22.05)."""

    words: tuple[str, ...]
    out: str
    err: str
    code: int | None = None

    @property
    def status(self) -> int:
        """What the command ended with; where that is not known, 1 if it complained."""
        return (1 if self.err else 0) if self.code is None else self.code


def answers(version: str, case: str) -> list[Answer]:
    """Every question of a case, in the order in which it was asked."""
    text = (DATA / "slurm" / version / f"{case}.txt").read_text("utf-8")
    return [_answer(block) for block in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]


def _answer(block: str) -> Answer:
    typed, _, said = block.partition("\n")
    lines = said.splitlines(keepends=True)
    ended = _EXIT.match(lines[-1]) if lines else None
    lines = lines[:-1] if ended else lines
    err = "".join(line.removeprefix("stderr: ") for line in lines if line.startswith("stderr: "))
    out = "".join(line for line in lines if not line.startswith("stderr: "))
    return Answer(tuple(shlex.split(typed)), out, err, int(ended[1]) if ended else None)


def said(version: str, case: str, *words: str) -> str:
    """Standard output of the first question that begins with these words."""
    return next(a.out for a in answers(version, case) if a.words[: len(words)] == words)
