"""What tests take for a process of its own is one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.warm_python import WarmPython, warm_python

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def python() -> Iterator[WarmPython]:
    with warm_python("support.warm_python:told") as found:
        yield found


def test_words_environment_folder_and_streams_are_its_own(python: WarmPython, tmp_path: Path) -> None:
    code = "import os, sys; print(sys.argv[2], os.environ['MINE'], len(os.environ), os.getcwd()); print('e', file=sys.stderr)"
    done = python.run(code, "word", env={"MINE": "yes"}, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"word yes 1 {tmp_path}\n", "e\n")


@pytest.mark.parametrize(
    ("code", "expected"), [("", 0), ("import sys; sys.exit(7)", 7), ("import sys; sys.exit('why')", 1), ("1 / 0", 1)]
)
def test_it_ends_as_python_ends(python: WarmPython, code: str, expected: int) -> None:
    done = python.run(code)
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == plain.returncode == expected
    assert done.stderr.splitlines()[-1:] == plain.stderr.splitlines()[-1:]


def test_nothing_of_one_is_seen_by_the_next(python: WarmPython) -> None:
    python.run("import os, support; os.environ['LEFT'] = '1'; support.left = 1")
    assert (
        python.run("import os, support; print(os.environ.get('LEFT'), hasattr(support, 'left'))").stdout
        == "None False\n"
    )


def test_threads_and_what_runs_at_exit_have_their_time(python: WarmPython) -> None:
    code = "import atexit, threading, time\natexit.register(print, 'last')\nthreading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()"
    assert python.run(code).stdout == "thread\nlast\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_ends_it_and_nobody_else(python: WarmPython, number: signal.Signals) -> None:
    lasting = "print('up', flush=True); import time; time.sleep(60)"
    first, second = python.start(lasting), python.start(lasting)
    assert first.poll() is None
    first.send_signal(number)
    assert first.wait(30) == -number
    assert second.poll() is None
    assert Path(f"/proc/{second.pid}").exists()
    second.send_signal(signal.SIGKILL)
    assert second.wait(30) == -signal.SIGKILL
    assert not Path(f"/proc/{first.pid}").exists()


def test_ctrl_c_interrupts_it(python: WarmPython, tmp_path: Path) -> None:
    code = "import pathlib, time\ntry:\n    pathlib.Path('up').touch(); time.sleep(60)\nexcept KeyboardInterrupt:\n    raise SystemExit(130)"
    process = python.start(code, cwd=tmp_path)
    end = time.monotonic() + 30
    while not (tmp_path / "up").exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130


def test_who_does_not_end_in_time_is_said(python: WarmPython) -> None:
    process = python.start("import time; time.sleep(60)")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.communicate(30) == ("", "")
