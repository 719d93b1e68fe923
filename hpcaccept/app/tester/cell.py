"""The tests of a cell of a matrix on a rented machine: the same program as everywhere, in the place of a suite. What it finds is the machine's word."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import zlib
from typing import TYPE_CHECKING, Any

from hpcaccept.app.tester.sent_files import unpack
from hpcaccept.app.tester.suite import MOST_REPORT_BYTES, SuiteRun
from hpcaccept.bounded import end_of, read_text
from hpcaccept.errors import UsageError
from hpcaccept.serial import loads
from hpcaccept.transport import matrix_inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FORM = "hpcaccept-matrix-cell-1"
#: Bytes of an order, unpacked; and of each log's end that is handed out.
_MOST_ORDER, _LOG_BYTES = 1 << 20, 16384
_WORK = "work"


def packed(inner: Mapping[str, Any], files: Mapping[str, str], *, more: bool = False) -> str:
    """Tests and the texts of their files, for a command line; ``more``: their files are sent before the tests start, as an archive."""
    plain = json.dumps({"inner": inner, "files": files, "more": more}, separators=(",", ":"))
    return base64.b85encode(zlib.compress(plain.encode(), 9)).decode()


def unpacked(text: str) -> tuple[dict[str, Any], dict[str, str], bool]:
    """What ``packed`` made.

    Raises:
        UsageError: it is none of that.
    """
    try:
        plain = loads(zlib.decompressobj().decompress(base64.b85decode(text), _MOST_ORDER))
        files = {str(name): str(content) for name, content in plain["files"].items()}
        inner, more = dict(plain["inner"]), plain.get("more") is True
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as fault:
        raise UsageError(f"--cell holds no tests: {fault}.") from None
    if any("/" in name or name.startswith(".") for name in files):
        raise UsageError("--cell names a file outside its folder.")
    return inner, files, more


class CellRun(SuiteRun):
    """One run of the tests; it can be started once."""

    def __init__(self, folder: Path, order: str, deadline_s: float, environ: Mapping[str, str]) -> None:
        """Args: an empty folder of one's own, the tests, when they are ended, and the environment."""
        super().__init__(folder, "", 0, deadline_s, environ)
        self._command = [sys.executable, matrix_inside.__file__, str(folder)]
        inner, files, self._waits = unpacked(order)
        for name, content in files.items():
            (folder / name).write_text(content, "utf-8")
        # What is sent has a folder of its own: a file of it never takes the place of a result.
        work = folder / _WORK if self._waits else folder
        tests = [{**test, **_placed(test, work, None if self._waits else files)} for test in inner["tests"]]
        (folder / "inner.json").write_text(json.dumps({"work": str(work), "tests": tests}), "utf-8")

    def take(self, blocks: Iterable[bytes]) -> str:
        """SHA-256 of the archive with the tests' files.

        Raises:
            ValueError: none is wanted, one is there already, or this is none.
        """
        archive, digest = self._folder / "files.tar.gz", hashlib.sha256()
        if not self._waits:
            raise ValueError("no files are wanted, or they are here already")
        with archive.open("wb") as file:
            for block in blocks:
                digest.update(block)
                file.write(block)
        unpack(archive, self._folder / _WORK)
        archive.unlink()
        self._waits = False
        return digest.hexdigest()

    def start(self, toml: str = "") -> bool:
        """As for a suite.

        Raises:
            ValueError: the tests' files have not come yet.
        """
        if self._waits:
            raise ValueError("the tests' files have not come yet")
        return super().start(toml)

    def report(self) -> bytes:
        """Results and ends of the logs.

        Raises:
            OSError: there are none yet.
        """
        results = read_text(self._folder / "results.jsonl", most=MOST_REPORT_BYTES)
        logs = {file.name: end_of(file, _LOG_BYTES) for file in self._folder.glob("test-*.log")}
        return json.dumps({"form": FORM, "results": results, "logs": logs}).encode()


def _placed(test: Mapping[str, Any], folder: Path, files: Mapping[str, str] | None) -> dict[str, str]:
    """Files of a test by their places here; None: whatever it names is among those that are sent."""
    found = {key: str(test.get(key) or "") for key in ("script", "notebook", "suite")}
    sent = {key: name for key, name in found.items() if name and (name.endswith(".toml") or key != "suite")}
    return {key: str(folder / name) for key, name in sent.items() if files is None or name in files}
