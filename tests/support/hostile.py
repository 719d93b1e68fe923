"""Hostile input: what stands in files, on command lines and in variables that nobody careful wrote, and what may come of it.

Whatever is read, the outcome is a verdict or a clear sentence, soon, in little memory: never a traceback, a hang, a link that is
followed, or a file written elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st

from hpcaccept.cli import main
from support.finished_runs import gpu_run

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

#: What a case is made from: hypothesis chooses the numbers, in CI always the same ones.
SEEDS = st.integers(0, 2**32)
#: A case is a whole command: a few of each kind in every run, many where somebody asks for them (HYPOTHESIS_PROFILE=thorough).
FEW = settings(max_examples=max(4, settings().max_examples // 5))
#: Seconds of the processor that one command may take on hostile input; what is healthy takes a tenth.
MOST_CPU_S = 3.0
#: A hang is ended after so many seconds by the clock: on a busy machine a command waits for its turn.
_HANGS_S = 60
#: Memory that one command may ask for beyond what this process has already.
MOST_BYTES = 1 << 30
_JOB = '{"launcher":"slurm","id":"17","host":"login1"}'
#: The mark at whose place a raw text is put into written JSON.
_MARK = "\ue000"
#: What no careful writer of JSON writes; each stands for one value.
RAW = (
    "null", "true", "[]", "{}", "[[]]", '""', '"x"', "0", "-1", "0.5", "-0.0", "1e308", "1e400", "-1e400", "NaN", "Infinity",
    "9" * 400, "-" + "9" * 400, "9" * 5000, str(2**31), str(2**63), str(2**64), str(-(2**63) - 1),
    '"\\u0000"', '"\\ud800"', '"a\\nb"', '"\\u001b[31mred"', '"../../../../tmp/planted"', '"/etc/hostname"', '"-oProxyCommand=touch planted"',
    '"node[0-99999999999]"', '"node[0-9]"', '"\\u202e"', json.dumps("x" * 100_000), "[" * 100_000, '{"a":' * 100_000,
    "[" + "0," * 100_000 + "0]", "{" + ",".join(f'"v{i}":"x"' for i in range(20_000)) + "}",
)  # fmt: skip
#: What somebody types, or a script puts where it should not.
TEXTS = (
    "", " ", "-", "--", "-1", "0", "-0", "nan", "inf", "-inf", "1e400", "9" * 400, "99999999999", "x" * 5000, "a\nb", "a\rb", "\x1b[31m", "é" * 100,
    "node[0-99999999999]", "node[0-9", "node[9-0]", "node[0-9999999]x[0-9999999]", "node[0-99]x[0-99]", "@all", "@*", "-oProxyCommand=touch planted",
    "../../etc/passwd", "/dev/zero", "/dev/full", "/", ".", "..", "/proc/self/mem", "~", "$(touch planted)", "`touch planted`", "a;touch planted",
    "%s%n", "{0}", "true", "1", "4", "node1", "run1", "cpu", "quick", "matmul", "local", "slurm", "json", "x=y", "a=", "=b", "matmul.blocks=1",
    "matmul.blocks=1e400", "burn.duration_s=nan", "burn.duration_s=[[[[", "identity.x=1", "12:00", "25:61", "00:00-00:00", "1-00:00:00", "\udcff", "1" * 5000,
)  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What a command said.

    Attributes:
        code: exit code.
        out: standard output.
        err: standard error.
    """

    code: int
    out: str
    err: str


class Site:
    """A folder in which commands are typed, with one run in it; what they look for elsewhere is not there.

    Attributes:
        place: the folder.
        run: folder of the run.
        made_here: what a test makes beside it.
        whole: path within the run → what stands in it when it is healthy.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.run, self.made_here = place, place / "runs/run1", place / "made"
        self.made_here.mkdir()
        gpu_run(place)
        (self.run / "job.json").write_text(_JOB)
        self.whole = {
            str(file.relative_to(self.run)): file.read_bytes() for file in self.run.rglob("*") if file.is_file()
        }

    @classmethod
    @contextlib.contextmanager
    def made(cls, place: Path) -> Iterator[Site]:
        """Made, and entered until the block ends."""
        site, before = cls(place), Path.cwd()
        with mock.patch.dict(os.environ, {"HOME": str(place), "PATH": str(place)}):
            os.chdir(place)
            try:
                yield site
            finally:
                os.chdir(before)

    def write(self, name: str, content: bytes) -> Path:
        """The healthy run again, but for one file."""
        for folder in (self.run, self.place / "runs/history", self.place / "baselines"):
            shutil.rmtree(folder, ignore_errors=True)
        (self.run / "outputs/00").mkdir(parents=True)
        for path, healthy in {**self.whole, name: content}.items():
            (self.run / path).parent.mkdir(parents=True, exist_ok=True)
            (self.run / path).write_bytes(healthy)
        return self.run / name

    def must_be_clean(self) -> None:
        """Nothing was written where nothing was to be."""
        found = {path.name for path in self.place.iterdir()} | {path.name for path in (self.place / "runs").iterdir()}
        assert found <= {"runs", "run1", "history", "baselines", "b.tgz", "made", "hpcaccept.toml"}, found


def typed(*words: str, env: Mapping[str, str] | None = None, most_cpu_s: float = MOST_CPU_S) -> Said:
    """A command in this process, held to what every command owes: it ends soon, in bounded memory, with a code and a sentence."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    begun = time.process_time()
    with (
        _bounded(),
        mock.patch.dict(os.environ, dict(env or {})),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(list(words))
    spent = time.process_time() - begun
    said = Said(code, *(stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err)))
    shown = f"{[word[:80] for word in words]} said {said.code}: {said.err[:2000]}"
    assert said.code in (0, 1, 2, 3), shown
    assert "fault of hpcaccept" not in said.err, shown
    assert "Traceback" not in said.err + said.out, shown
    assert "\x1b" not in said.err, shown
    assert len(said.err) < 20_000, shown
    assert said.code not in (2,) or said.err, shown
    assert spent < most_cpu_s, f"{spent:.1f} s: {shown}"
    return said


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """An alarm for what hangs, and a limit of memory for what fills it."""

    def hangs(*_: object) -> None:
        raise TimeoutError(f"still busy after {_HANGS_S} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(_HANGS_S)
    resource.setrlimit(resource.RLIMIT_AS, (here + MOST_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def spots(plain: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [path] if path else []
    pairs = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in pairs:
        found += spots(value, (*path, key))
    return found


def with_raw(plain: Any, path: tuple[Any, ...], raw: str, how: str) -> str:
    """JSON with one place changed: ``replace`` its value, write its key ``twice``, ``drop`` it, or put an ``odd`` key beside it."""
    plain = json.loads(json.dumps(plain))
    place = plain
    for key in path[:-1]:
        place = place[key]
    if how == "drop":
        del place[path[-1]]
        return json.dumps(plain)
    if isinstance(place, dict) and how == "odd":
        place["odd" if len(raw) % 2 else raw[:50]] = _MARK
    else:
        twice = how == "twice" and isinstance(place, dict)
        raw = f"{json.dumps(place[path[-1]])},{json.dumps(path[-1])}:{raw}" if twice else raw
        place[path[-1]] = _MARK
    return json.dumps(plain).replace(json.dumps(_MARK), raw)


def changed_json(dice: random.Random, plain: Any) -> bytes:
    """A JSON value with one place changed."""
    how = dice.choice(("replace", "replace", "replace", "twice", "drop", "odd"))
    return with_raw(plain, dice.choice(spots(plain)), dice.choice(RAW), how).encode("utf-8", "surrogatepass")


def harmed_bytes(dice: random.Random, whole: bytes) -> bytes:
    """A file that was flipped, cut, overwritten or repeated in one to three places."""
    content = bytearray(whole)
    for _ in range(dice.randint(1, 3)):
        at, length = dice.randrange(len(content) + 1), dice.choice((1, 1, 1, 8, 64, 512))
        part = slice(at, at + length)
        how = dice.choice(("flip", "flip", "cut", "zero", "noise", "repeat", "drop"))
        if how == "flip" and at < len(content):
            content[at] ^= 1 << dice.randrange(8)
        elif how == "cut":
            del content[at:]
        elif how == "zero":
            content[part] = bytes(length)
        elif how == "noise":
            content[part] = dice.randbytes(length)
        elif how == "repeat":
            content[part] = content[part] * 2
        elif how == "drop":
            del content[part]
    return bytes(content)
