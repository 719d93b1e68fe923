"""How do tests submit for real, reach into a running run, and look at what came out?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[2]


#: For suites that only use os_noise because it needs no torch: the load of the machine is not what their tests ask about.
ANY_NOISE = '[limits."{label}.lost_share"]\nupper = 1.0\nunit = "share"\n'


def noise(duration_s: float, *labels: str, deadline_s: float = 60.0, cores: float = 0.01) -> str:
    """A suite of identity and os_noise under labels (``os_noise`` alone, else ``os_noise:later`` …); only the first lasts."""
    # Of one or two nodes nothing else judges what identity counts.
    text = f'[checks.identity]\n[limits."identity.cores"]\nlower = {cores}\nunit = "cores"\n'
    names = labels or ("os_noise",)
    for number, label in enumerate(names):
        text += f'[checks."{label}"]\nduration_s = {duration_s if number == 0 else 0.1}\ndeadline_s = {deadline_s}\n'
    return text + "".join(ANY_NOISE.format(label=label) for label in names)


@dataclass
class Finished:
    """A command that has ended, with its report."""

    code: int
    out: str
    err: str
    folder: Path
    report: dict[str, Any]

    def verdicts(self, **wanted: str) -> list[dict[str, Any]]:
        """Verdicts whose fields have these values."""
        return [v for v in self.report["verdicts"] if all(v[key] == value for key, value in wanted.items())]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The driver's events of one kind."""
        return [e for e in self.report["events"] if e["kind"] == kind]


@dataclass
class Submission:
    """``python -m hpcaccept submit …`` in the background."""

    runs: Path
    process: subprocess.Popen[str]

    def folder(self, timeout_s: float = 60) -> Path:
        """The run folder, as soon as there is one."""
        return Path(until(lambda: next(iter(self.runs.glob("*/plan.json")), None), timeout_s, self.state)).parent

    def pid(self, rank: int, step: str = "00", check: str = "", timeout_s: float = 120) -> int:
        """Process number of a rank, once it has begun a check."""

        def look() -> int | None:
            file = self.folder() / "records" / step / f"r{rank:06d}.jsonl"
            lines = [json.loads(x) for x in file.read_text().splitlines() if x.endswith("}")] if file.exists() else []
            begun = [x for x in lines if x["kind"] == "check_started" and check in ("", x["data"]["check"])]
            rank_started = [x for x in lines if x["kind"] == "rank_started"]
            return int(rank_started[0]["data"]["pid"]) if rank_started and begun else None

        return int(until(look, timeout_s, self.state))

    def wait_for_record(self, check: str, rank: int = 0, timeout_s: float = 120) -> None:
        """Until a rank has a record of a check."""
        name = f"r{rank:06d}.jsonl"
        until(
            lambda: (
                any(
                    f'"check":"{check}"' in x and '"kind":"record"' in x
                    for x in _text(self.folder(), name).splitlines()
                )
                or None
            ),
            timeout_s,
            self.state,
        )

    def state(self) -> str:
        """For messages: what the command has said so far."""
        return f"exit status {self.process.poll()}"

    def finish(self, timeout_s: float = 90) -> Finished:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=timeout_s)
        folder = next((p.parent for p in self.runs.glob("*/plan.json")), self.runs)
        report = folder / "report.json"
        return Finished(
            self.process.returncode, out, err, folder, json.loads(report.read_text()) if report.exists() else {}
        )


def _text(folder: Path, name: str) -> str:
    return "".join(file.read_text() for file in folder.glob(f"records/*/{name}"))


def until(look: Callable[[], Any], timeout_s: float, state: Callable[[], str] = str) -> Any:
    """The first true answer of ``look``; fails after a time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing after {timeout_s} s: {state()}")


def command(
    *words: str, env: Mapping[str, str] | None = None, timeout_s: float = 120, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    """``python -m hpcaccept …`` to its end."""
    return subprocess.run(
        [python, "-m", "hpcaccept", *words],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def submit(
    runs: Path, suite: Path | str, *words: str, env: Mapping[str, str] | None = None, python: str = sys.executable
) -> Submission:
    """Start a submission; its baselines folder is empty."""
    process = subprocess.Popen(
        [
            python,
            "-m",
            "hpcaccept",
            "submit",
            "--suite",
            str(suite),
            "--runs-dir",
            str(runs),
            "--baselines-dir",
            str(runs.parent / "baselines"),
            *words,
        ],
        env={**os.environ, "HPCACCEPT_GPUS_PER_NODE": "0", **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return Submission(runs, process)


def images_of(run: Path) -> set[str]:
    """The images in which the records of a run say they were made."""
    lines = [line for file in run.glob("records/*/*.jsonl") for line in file.read_text().splitlines()]
    return {str(json.loads(line)["data"].get("image", "")) for line in lines if '"kind":"record"' in line}


def suite_file(folder: Path, text: str) -> Path:
    """A suite file with this text."""
    file = folder / "suite.toml"
    file.write_text(text)
    return file
