from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

from hpcaccept.transport.apart import Silent, ask_apart


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


def _die() -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return b"never"


def _hang() -> bytes:
    time.sleep(600)
    return b"never"


def test_every_question_has_its_answer_in_the_order_asked() -> None:
    found = ask_apart({"b": lambda: b"2", "a": lambda: b"1", "none": lambda: b""}, soon())
    assert list(found.items()) == [("b", b"2"), ("a", b"1"), ("none", b"")]


def test_an_answer_larger_than_a_pipe_comes_whole() -> None:
    assert ask_apart({"a": lambda: b"x" * 3_000_000}, soon())["a"] == b"x" * 3_000_000


def test_one_that_hangs_costs_no_other_its_answer() -> None:
    begun = time.monotonic()
    found = ask_apart({"hangs": _hang, "answers": lambda: b"yes"}, begun + 1.0)
    assert found["answers"] == b"yes"
    assert found["hangs"] == Silent(late=True, why="no answer before the deadline")


def test_one_that_dies_or_raises_is_told_apart_from_one_that_is_late() -> None:
    found = ask_apart({"dies": _die, "raises": lambda: bytes(1 // 0)}, soon())
    assert found["dies"] == Silent(late=False, why="it ended by signal 9")
    assert found["raises"] == Silent(late=False, why="it ended with status 70")


def test_a_child_holds_no_stream_of_its_parent() -> None:
    """slurmd reads the output of a prolog until its end: a child that hangs must not keep it open."""
    code = (
        "import time\nfrom hpcaccept.transport.apart import ask_apart\n"
        "def hang():\n    open('/proc/self/comm', 'w').write('left-behind')\n    time.sleep(30)\n"
        "import hpcaccept.transport.apart as apart\napart._kill = lambda child: None\n"
        "ask_apart({'a': hang}, time.monotonic() + 0.3)\nprint('done', flush=True)\nimport os\nos._exit(0)\n"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "done\n"
    assert time.monotonic() - begun < 25


def test_no_child_is_left() -> None:
    ask_apart({"hangs": _hang}, time.monotonic() + 0.2)
    time.sleep(0.2)
    with contextlib.suppress(ChildProcessError):
        assert os.waitpid(-1, os.WNOHANG)[0] != 0  # a zombie at most, never one that runs
