"""``python -m hpcaccept submit``, with the time of everything that a person sees, and of what the run wrote down."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from benchmarks._child import ROOT, ending
from benchmarks._row import CannotRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Submission:
    """A submission that has ended, with what its run folder held. Times are seconds since the epoch.

    Attributes:
        begin: before the command was started.
        first_line: when the report began to appear.
        end: when the command had ended.
        job: its number.
        submitted: when the scheduler had accepted it.
        events: kind → when the driver said so last.
        ranks: what each rank wrote in the first launch of the run.
    """

    begin: float
    first_line: float
    end: float
    job: str
    submitted: float
    events: dict[str, float]
    ranks: list[RankWords]

    @property
    def wall_s(self) -> float:
        """From command to report."""
        return self.end - self.begin


@dataclass
class RankWords:
    """The journal of one rank, as the plain tables that its lines are.

    Attributes:
        hello: its first words.
        records: of its checks.
        imports: module and seconds, in order.
    """

    rank_started: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    imports: list[tuple[str, float]] = field(default_factory=list)

    def values(self, check: str, metric: str, variant: str) -> list[float]:
        """The repeats of one metric."""
        samples = [s for record in self.records if record["check"] == check for s in record["samples"]]
        return [s["value"] for s in samples if (s["metric"], s.get("variant", "")) == (metric, variant)]


class Running:
    """A submission on its way. Its standard output is a terminal, as it is for a person."""

    def __init__(self, place: Path, suite: str, *words: str, env: Mapping[str, str]) -> None:
        """Start it.

        Args:
            place: an existing folder; the run folder is made below it.
            suite: text of the suite file, or the name of a built-in one.
            words: further options.
            env: of the command.
        """
        self._runs = place / "runs"
        if "[checks" in suite:
            file = place / "bench.toml"
            file.write_text(suite)
            suite = str(file)
        command = [sys.executable, "-m", "hpcaccept", "submit", "--suite", suite]
        command += ["--runs-dir", str(self._runs), "--baselines-dir", str(place / "baselines"), *words]
        self._before = set(self._runs.glob("*/plan.json"))
        self._terminal, end = pty.openpty()
        self._env = dict(env)
        self.begin = time.time()
        self._child = subprocess.Popen(
            command, env=self._env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=end, stderr=subprocess.PIPE, text=True
        )
        os.close(end)
        self._first_line = 0.0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while os.read(self._terminal, 65536):
                self._first_line = self._first_line or time.time()
        except OSError:  # EIO: nobody has the other end any more
            return

    def folder(self, timeout_s: float = 30.0) -> Path:
        """The run folder, as soon as there is one. Raises CannotRun when there is none in time."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            new = set(self._runs.glob("*/plan.json")) - self._before
            if new:
                return new.pop().parent
            time.sleep(0.02)
        raise CannotRun(f"no run folder under {self._runs} within {timeout_s:g} s")

    def finish(self, timeout_s: float) -> Submission:
        """Wait for its end.

        Raises:
            CannotRun: it said that it could not be used, or gave no report in time; its job is cancelled.
        """
        with ending(self._child, timeout_s):
            _, err = self._child.communicate()
        end = time.time()
        self._reader.join(5.0)
        os.close(self._terminal)
        last = " / ".join(err.strip().splitlines()[-3:])
        if self._child.returncode == 2:
            raise CannotRun(last)
        folder = self.folder(timeout_s=1.0)
        if not (folder / "report.json").exists():
            words = [sys.executable, "-m", "hpcaccept", "cancel", str(folder)]
            subprocess.run(words, env=self._env, cwd=ROOT, capture_output=True, timeout=60, check=False)
            raise CannotRun(f"no report within {timeout_s:g} s, exit status {self._child.returncode}: {last}")
        job = json.loads((folder / "job.json").read_text())
        events = {data["kind"]: epoch(data["at"]) for _, data in _lines(folder / "driver.jsonl")}
        # Written when the scheduler had answered.
        submitted = (folder / "job.json").stat().st_mtime
        return Submission(self.begin, self._first_line, end, job["id"], submitted, events, rank_words(folder))


def submit(place: Path, suite: str, *words: str, env: Mapping[str, str], timeout_s: float = 120.0) -> Submission:
    """From command to report. Raises CannotRun as ``Running.finish`` does."""
    return Running(place, suite, *words, env=env).finish(timeout_s)


def rank_words(folder: Path) -> list[RankWords]:
    """What each rank wrote in the first launch of a run; in a later one suspects would be measured again."""
    return [_words(file) for file in sorted(folder.glob("records/00/*.jsonl"))]


def epoch(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 time."""
    return datetime.fromisoformat(text).timestamp()


def _words(file: Path) -> RankWords:
    words = RankWords()
    for kind, data in _lines(file):
        if kind == "rank_started":
            words.rank_started = data
        elif kind == "record":
            words.records.append({"samples": [], "duration_s": 0.0, **data})
        elif kind == "module_imported":
            words.imports.append((data["module"], data["seconds"]))
    return words


def _lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for text in file.read_text("utf-8").splitlines():
        line = json.loads(text)
        yield line["kind"], line["data"]
