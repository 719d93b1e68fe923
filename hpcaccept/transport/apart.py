"""Ask several questions at once, each in a process of its own, and have an answer by a deadline whatever hangs.

A read of a dead file server hangs in the kernel, where no signal reaches it. So whoever reads is a child, and the parent, which reads
nothing but pipes, gives the verdict. A child that does not answer is sent SIGKILL and left to the kernel; it holds no stream of the parent
(slurmd would wait for the end of its output), and dies with the parent.

Children are forks: what the parent has imported costs them nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: ``prctl(2)``: the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1
_CHUNK = 1 << 16
#: Bytes of an answer; a child that says more is ended.
_MOST = 16 << 20


@dataclass(frozen=True)
class Silent:
    """A question without an answer.

    Attributes:
        late: True where the deadline passed; False where the child died.
        why: in words.
    """

    late: bool
    why: str


def ask_apart(questions: Mapping[str, Callable[[], bytes]], until: float) -> dict[str, bytes | Silent]:
    """The answer to every question; after return no child is waited for.

    Args:
        questions: name → what is asked. It runs in a fork, with no standard streams.
        until: deadline by ``time.monotonic``.
    """
    prctl = ctypes.CDLL(None).prctl  # before the forks: loading a library is reading a disk
    open_pipes: dict[int, tuple[str, int]] = {}
    answers: dict[str, bytes | Silent] = {}
    said: dict[int, bytearray] = {}
    for name, question in questions.items():
        try:
            pipe, child = _start(question, prctl, list(open_pipes))
        except OSError as fault:
            answers[name] = Silent(late=False, why=f"no process for it: {fault.strerror}")
        else:
            open_pipes[pipe], said[pipe] = (name, child), bytearray()
    while open_pipes and (left := until - time.monotonic()) > 0:
        for pipe in _ready(list(open_pipes), left):
            chunk = os.read(pipe, _CHUNK)
            said[pipe] += chunk
            if not chunk or len(said[pipe]) > _MOST:
                name, child = open_pipes.pop(pipe)
                os.close(pipe)
                answers[name] = _ended(child, bytes(said[pipe]), until)
    for pipe, (name, child) in open_pipes.items():
        os.close(pipe)
        _kill(child)
        answers[name] = Silent(late=True, why="no answer before the deadline")
    for _, child in open_pipes.values():
        # A child that hangs in the kernel is no zombie yet, and is not waited for.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, os.WNOHANG)
    return {name: answers[name] for name in questions}


def _ready(pipes: list[int], timeout_s: float) -> list[int]:
    poll = select.poll()
    for pipe in pipes:
        poll.register(pipe, select.POLLIN | select.POLLHUP)
    return [pipe for pipe, _ in poll.poll(timeout_s * 1000)]


def _start(question: Callable[[], bytes], prctl: Callable[..., int], others: list[int]) -> tuple[int, int]:
    """The end of a pipe that the answer comes out of, and the child that gives it."""
    reading, writing = os.pipe()
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if not child:
        _answer(question, writing, prctl, parent, [reading, *others])
    os.close(writing)
    return reading, child


def _answer(
    question: Callable[[], bytes], writing: int, prctl: Callable[..., int], parent: int, close: list[int]
) -> NoReturn:
    code = 70
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        for handle in close:
            os.close(handle)
        if os.getppid() == parent:
            answer = memoryview(question())
            while answer:
                answer = answer[os.write(writing, answer) :]
            code = 0
    finally:
        os._exit(code)


def _ended(child: int, said: bytes, until: float) -> bytes | Silent:
    """What a child that has closed its pipe said; or how it died."""
    if len(said) > _MOST:
        _kill(child)
        return Silent(late=False, why=f"it said more than {_MOST} bytes")
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > until:
            _kill(child)
            return Silent(late=True, why="no end before the deadline")
        time.sleep(0.001)
    code = os.waitstatus_to_exitcode(status)
    if code:
        return Silent(late=False, why=f"it ended by signal {-code}" if code < 0 else f"it ended with status {code}")
    return said


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
