"""The suite on the machine: ``hpcaccept submit`` under the local launcher, its lines as progress, its report as the result."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from hpcaccept.bounded import read_bytes, read_end
from hpcaccept.errors import HpcacceptError
from hpcaccept.store.folder import latest
from hpcaccept.transport.process import run_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

#: Of a report that is handed out, and of the lines of progress.
MOST_REPORT_BYTES = 16 * 1024 * 1024
_MOST_PROGRESS_BYTES = 256 * 1024
#: Of a suite that a client sends: a table of checks, parameters and limits.
MOST_SUITE_BYTES = 64 * 1024
#: The last line of progress, as the marketplace's own self-test writes it.
DONE, ERROR = "DONE", "ERROR"


class SuiteRun:
    """One run of a suite; it can be started once."""

    def __init__(self, folder: Path, suite: str, devices: int, deadline_s: float, environ: Mapping[str, str]) -> None:
        """Args: an empty folder of one's own, name or file of a suite, GPUs (0: none), and when it is ended."""
        self._folder, self._deadline_s, self._environ = folder, deadline_s, environ
        self.suite = suite
        self._command = [
            sys.executable, "-m", "hpcaccept", "submit", "--launcher", "local", "--nodes", "1",
            "--runs-dir", str(folder / "runs"), *(["--gpus-per-node", str(devices)] if devices else []),
        ]  # fmt: skip
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stop = threading.Event()
        self._end = ""

    def start(self, toml: str = "") -> bool:
        """False when it was started before.

        Args:
            toml: a suite in the place of the named one; it is only read by ``submit``, which refuses what is none.

        Raises:
            OSError: it cannot be written.
        """
        with self._starting:
            if self._thread:
                return False
            if toml:
                file = self._folder / "suite.toml"
                file.write_text(toml, "utf-8", "replace")
                self.suite = str(file)
            self._thread = threading.Thread(target=self._run, daemon=True, name="suite")
            self._thread.start()
            return True

    def take(self, blocks: Iterable[bytes]) -> str:
        """SHA-256 of files that are sent before the start.

        Raises:
            ValueError: none are wanted, or these are none.
        """
        raise ValueError("no files are wanted")

    @property
    def running(self) -> bool:
        """Between start and end."""
        return self._thread is not None and not self._end

    @property
    def state(self) -> str:
        """``idle``, ``running`` or the last line of progress."""
        return self._end or ("running" if self._thread else "idle")

    def progress(self) -> list[str]:
        """Lines so far; the last one is ``DONE``, or begins with ``ERROR``, once it is over."""
        lines: list[str] = []
        for name in ("out", "err"):
            try:
                text = read_end(self._folder / f"suite.{name}", _MOST_PROGRESS_BYTES).decode("utf-8", "replace")
            except OSError:
                continue
            lines = [*text.splitlines(), *lines]  # progress is on standard error, the report on standard output
        return [*lines, self._end] if self._end else lines

    def report(self) -> bytes:
        """``report.json`` of the run.

        Raises:
            OSError: there is none yet.
        """
        try:
            return read_bytes(latest(self._folder / "runs").report_file, most=MOST_REPORT_BYTES)
        except HpcacceptError as fault:
            raise OSError(str(fault)) from None

    def stop(self) -> None:
        """End it; returns when its processes are gone."""
        self._stop.set()
        if self._thread:
            self._thread.join(30.0)

    def _run(self) -> None:
        try:
            code, late = run_until(
                [*self._command, "--suite", self.suite],
                out=self._folder / "suite.out",
                err=self._folder / "suite.err",
                deadline_s=self._deadline_s,
                env=self._environ,
                should_stop=self._stop.is_set,
            )
            self._end = _end(code, late, self._deadline_s)
        except Exception as fault:  # noqa: BLE001 (whatever it is must end the progress, or the client waits for ever)
            self._end = f"{ERROR} the suite could not be run: {fault}"[:300]


def _end(code: int, late: bool, deadline_s: float) -> str:
    if late:
        return f"{ERROR} the suite was not done within {deadline_s:g} s"
    words = {0: DONE, 1: f"{ERROR} a check failed (exit code 1)"}
    return words.get(code, f"{ERROR} the suite could not be judged (exit code {code})")
