"""``python -m support.matrix_killed POINT WORDS…``: hpcaccept, which kills itself (SIGKILL) at a point of ``matrix run`` or ``matrix cell``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.app.matrix import client, here, on_machine, queue
from hpcaccept.app.matrix.folder import MatrixRun
from hpcaccept.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Lines of the client's journal, and what it does between them; each is killed before and after.
LINES = ("begun", "starting", "submitted", "attempt", "ended")
DEEDS = ("prepare", "start", "adopt")
#: The same of the machine of a cell.
ON_MACHINE = ("claim", "began", "run", "leave", "over")


TESTS = Path(__file__).parents[1]


def killed_at(folder: Path, point: str, *words: str, env: Mapping[str, str] | None = None) -> None:
    """Run hpcaccept so that it is killed at a point."""
    environ = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}", **(env or {})}
    words = (sys.executable, "-m", "support.matrix_killed", point, *words)
    done = subprocess.run(words, cwd=folder, env=environ, timeout=120, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _deadly(original: Callable[..., Any], when: str, applies: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:  # fmt: skip
    def called(*args: Any, **kwargs: Any) -> Any:
        hit = applies(*args)
        if hit and when == "before":
            _die()
        result = original(*args, **kwargs)
        if hit:
            _die()
        return result

    return called


def arm(point: str) -> None:
    """Make a point deadly: ``before-starting``, ``after-claim``."""
    when, _, name = point.partition("-")

    def is_line(_: Any, *entries: Any) -> bool:
        return any(type(entry).__name__.lower() == name for entry in entries)

    places: dict[str, tuple[Any, str]] = {
        "prepare": (client, "prepare"),
        "start": (here.Here, "start"),
        "sbatch": (queue, "hand_in"),
        "adopt": (client.Client, "_adopt"),
        "claim": (on_machine, "claim"),
        "run": (on_machine, "run_until"),
        "leave": (on_machine, "_leave"),
    }
    if name in LINES:
        MatrixRun.write = _deadly(MatrixRun.write, when, is_line)  # type: ignore[method-assign]
    elif name in ("began", "over"):
        on_machine._say = _deadly(on_machine._say, when, is_line)
    else:
        owner, attribute = places[name]
        setattr(owner, attribute, _deadly(getattr(owner, attribute), when))


if __name__ == "__main__":
    arm(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
