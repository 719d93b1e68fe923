"""A working tree with a commit, in which runs are scheduled, and the timer that kills itself on demand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.app.schedule.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hpcaccept.app.schedule.records import Record
    from hpcaccept.model.schedule.standing import Standing

TESTS = Path(__file__).parents[1]


def git(tree: Path, *words: str) -> None:
    """As somebody whose configuration is not that of this machine."""
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    name = [
        "-c",
        "user.name=Ann",
        "-c",
        "user.email=ann@example.org",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "protocol.file.allow=always",
    ]
    subprocess.run(["git", "-C", str(tree), *name, *words], check=True, capture_output=True, env=env)


def tree_with(folder: Path, files: Mapping[str, str]) -> Path:
    """A working tree whose files are committed."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "The first commit")
    return folder


@dataclass
class Timer:
    """The timer in a process of its own.

    Attributes:
        tree: working tree.
        process: that carries requests out.
    """

    tree: Path
    process: subprocess.Popen[str]

    @classmethod
    def started(cls, tree: Path, env: Mapping[str, str] | None = None) -> Timer:
        """With an environment of its own."""
        environ = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}", **(env or {})}
        process = subprocess.Popen(
            [sys.executable, "-m", "support.killed_timer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        return cls(tree, process)

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """One request; a fault of the timer fails the test."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"do": do, "tree": str(self.tree), **request}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "fault" not in answer, answer
        return answer

    def until(self, good: Callable[[Standing], bool], limit_s: float = 240.0, **request: Any) -> Standing:
        """Look again and again, as cron does, until the latest run stands as it should."""
        end = time.monotonic() + limit_s
        while True:
            said = self.ask("once", **request)
            found = self.latest().standing()
            if good(found):
                return found
            assert time.monotonic() < end, (found, said)
            time.sleep(0.05)

    def latest(self) -> Record:
        """The run that was added last."""
        return Records(self.tree / ".hpcaccept" / "runs").one("")

    def close(self) -> None:
        """End it."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
