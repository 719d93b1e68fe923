"""``make mutants``: a sample of small changes to what decides verdicts, and how many of them some test notices.

The sample is drawn by a seed, stratified by group, file and kind of change. Each change is made in a copy of the checkout, never in
the checkout itself, and the unit tests that should notice are run there until the first fails: those that mirror the module (or,
where none do, that name it), then those of its room, as many as take twelve seconds. Tests elsewhere may notice too, so that the score
is a lower bound.

Why a runner of our own: mutmut and cosmic-ray try every change of a module, thousands here, with one test command for all. What this
needs is a small sample that is spread over files and kinds of changes, and for each change the nearest tests first, within a time.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from random import Random
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

# Imported here for all forks: what takes a second each time, and nothing of hpcaccept.
import h5py  # noqa: F401
import hypothesis.internal.conjecture.engine  # noqa: F401
import numpy as np  # noqa: F401
import pytest
import rich.console  # noqa: F401

from mutants.equivalent import why_equivalent
from mutants.operators import Mutant
from mutants.selection import ROOT, draw, mutants_below, nearest_tests, within

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = ROOT / "docs" / "explanation" / "proven.md"
_MARK = "<!-- made by make mutants -->"
#: Group → where it is, and its share of the sample.
GROUPS = {
    "judge": ("hpcaccept/judge", 0.50),
    "aftermath": ("hpcaccept/launch/job/failure.py", 0.10),
    "gather": ("hpcaccept/store/gather.py", 0.10),
    "parse": ("hpcaccept/parse", 0.14),
    "report": ("hpcaccept/report", 0.06),
    "app": ("hpcaccept/app", 0.10),
}
#: Tests of one change may take so long, unmutated; a change gets three times that, and the start of Python.
BUDGET_S, START_S = 12.0, 30.0


@dataclass(frozen=True)
class Result:
    """What came of one change: ``killed``, ``survived`` or ``equivalent``."""

    group: str
    mutant: Mutant
    outcome: str
    by: str = ""

    def __str__(self) -> str:
        m = self.mutant
        old, new = (" ".join(text.split())[:110] for text in (m.old, m.new))
        return f"{self.outcome:<10} {m.path}:{m.line} {m.operator}: {old}  →  {new}  {self.by}"


def main() -> int:
    """Draw, run, print; exit status 0 whatever the score."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--count", type=int, default=200, help="changes that are tried")
    parser.add_argument(
        "--only", metavar="PATH", action="append", help="group, module or folder to draw from; may be repeated"
    )
    parser.add_argument("--processes", type=int, default=1, choices=(1, 2), help="changes that are tried at once")
    parser.add_argument("--minutes", type=float, default=120.0, help="time for all of it, unmutated tests aside")
    parser.add_argument("--write-docs", action="store_true", help=f"put the score into {PAGE.name}")
    options = parser.parse_args()
    groups = {name: GROUPS.get(name, (name, 0.1)) for name in options.only or GROUPS}
    shares = sum(share for _, share in groups.values())
    drawn = [
        (group, mutant)
        for group, (path, share) in groups.items()
        for mutant in draw(mutants_below(path), round(share / shares * options.count), Random(options.seed))
    ]
    Random(options.seed).shuffle(drawn)  # so that those that were tried in the time given are a sample too
    tests = {mutant.path: nearest_tests(mutant.path) for _, mutant in drawn}
    with tempfile.TemporaryDirectory(prefix="hpcaccept-mutants-") as folder:
        copies: Queue[Path] = Queue()
        for number in range(options.processes):
            copies.put(_copy(Path(folder) / str(number)))
        seconds = _unmutated(copies.queue[0], sorted({test for mine in tests.values() for test in mine}))
        chosen = {path: within(BUDGET_S, mine, seconds) for path, mine in tests.items()}

        results = _all_tried(drawn, copies, chosen, seconds, 60 * options.minutes)
    text = table(results)
    print(text)  # noqa: T201
    if options.write_docs:
        _write(f"Seed {options.seed}, {time.strftime('%d %B %Y')}.\n\n{text}")
    return 0


def _all_tried(
    drawn: Sequence[tuple[str, Mutant]],
    copies: Queue[Path],
    chosen: dict[str, list[str]],
    seconds: dict[str, float],
    time_s: float,
) -> list[Result]:
    """First the nearest test file of each, which notices most changes in a second; then, of those that are left, the others.

    After two thirds of the time no further change is begun; what was not tried by all of its tests when it is over has survived.
    """
    begun = time.monotonic()

    def tried(group: str, mutant: Mutant, tests: list[str]) -> Result:
        copy = copies.get()
        try:
            return _tried(group, mutant, copy, tests, 3 * sum(map(seconds.__getitem__, tests)) + START_S)
        finally:
            copies.put(copy)

    def at_first(item: tuple[str, Mutant]) -> Result | None:
        if time.monotonic() > begun + time_s * 2 / 3:
            return None
        found = tried(*item, chosen[item[1].path][:1])
        print(found, flush=True)  # noqa: T201
        return found

    def at_last(found: Result) -> Result:
        rest = chosen[found.mutant.path][1:]
        if found.outcome != "survived" or not rest or time.monotonic() > begun + time_s:
            return found
        found = tried(found.group, found.mutant, rest)
        print("after all,", found, flush=True)  # noqa: T201
        return found

    with ThreadPoolExecutor(copies.qsize()) as pool:  # each waits for a fork of its own
        return list(pool.map(at_last, [found for found in pool.map(at_first, drawn) if found]))


def _copy(to: Path) -> Path:
    """The checkout as it is now, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name, follow_symlinks=False)
    return to


def _pytest(copy: Path, *words: str, limit_s: float) -> tuple[int | None, str]:
    """Exit status of pytest in a copy (None: it waited too long), and what it said. A fork has imported already what takes seconds.

    The limit is one of a processor: on a busy machine everything takes longer, and waiting may take ten times that.
    """
    said = copy / "said.txt"
    child = os.fork()
    if not child:
        try:
            _become_pytest(copy, said, words, limit_s)
        finally:
            os._exit(3)  # whatever happened: the fork must not clean up what is the parent's
    until = time.monotonic() + 10 * limit_s
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None, ""
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(ended[1]), said.read_text("utf-8", "replace")


def _become_pytest(copy: Path, said: Path, words: Sequence[str], limit_s: float) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit_s), math.ceil(limit_s) + 5))
    os.chdir(copy)
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(1, 2)
    # Derandomised, and what the tests start imports the copy too.
    os.environ.update(CI="1", PYTHONPATH=f"{copy}:{copy / 'tests'}")
    sys.path[:] = [str(copy), str(copy / "tests"), *(place for place in sys.path if Path(place).name != "tests")]
    options = ["-q", "-p", "no:cacheprovider", "--durations=0", "--no-header", "-W", "ignore:Module already imported"]
    try:
        status = pytest.main([*options, *words])
        sys.stdout.flush()
        os._exit(int(status))
    except BaseException:
        traceback.print_exc()
        raise


def _unmutated(copy: Path, tests: Sequence[str]) -> dict[str, float]:
    """Seconds of a processor that each test file takes. What fails without any change would call everything killed."""
    report = copy / "unmutated.xml"
    began, used = time.monotonic(), _processor_s()
    status, said = _pytest(copy, f"--junitxml={report}", "-o", "junit_family=xunit1", *tests, limit_s=3600)
    if status:
        sys.exit(f"Tests fail without any change:\n{said[-4000:]}")
    seconds = dict.fromkeys(tests, 0.0)
    for case in ET.parse(report).iter("testcase"):
        seconds[case.get("file", "")] += float(case.get("time", "0"))
    # What is chosen must not hang on how busy the machine is.
    share = min(1.0, (_processor_s() - used) / (time.monotonic() - began))
    return {test: share * took for test, took in seconds.items()}


def _processor_s() -> float:
    ended = os.times()
    return ended.children_user + ended.children_system


def _tried(group: str, mutant: Mutant, copy: Path, tests: Sequence[str], limit_s: float) -> Result:
    if why := why_equivalent(mutant):
        return Result(group, mutant, "equivalent", why)
    file = copy / mutant.path
    before, times = file.read_bytes(), file.stat()
    try:
        file.write_bytes(mutant.applied(before))
        # Python knows a changed file by its length and its second.
        os.utime(file, (times.st_atime, time.time() + 10 + mutant.begin % 10_000))
        status, said = _pytest(copy, "-x", *tests, limit_s=limit_s)
        if status != 0:
            failed = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
            return Result(group, mutant, "killed", failed[1] if failed else "by its time limit or its end")
        return Result(group, mutant, "survived")
    finally:
        file.write_bytes(before)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def table(results: Sequence[Result]) -> str:
    """Group by group: how many were tried, and what came of them."""
    lines = ["| part | changes | noticed | not noticed | change nothing | score |", "|---|---|---|---|---|---|"]
    for group in dict.fromkeys(result.group for result in results):
        count = Counter(result.outcome for result in results if result.group == group)
        told = count["killed"] + count["survived"]
        score = f"{100 * count['killed'] / told:.0f} %" if told else "–"
        cells = (group, count.total(), count["killed"], count["survived"], count["equivalent"], score)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _write(text: str) -> None:
    before, _, rest = PAGE.read_text("utf-8").partition(_MARK)
    _, _, after = rest.partition(_MARK)
    PAGE.write_text(f"{before}{_MARK}\n{text}\n{_MARK}{after}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
