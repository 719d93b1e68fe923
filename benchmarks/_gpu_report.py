"""``python -m benchmarks._gpu_report FOLDER``: the tests and benchmarks of this machine's GPUs, in one JSON and one text file.

Exit status 1 when a test failed; where nothing could run, the files say why.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from benchmarks import __main__ as bench
from benchmarks import _row
from benchmarks._child import ROOT
from hpcaccept.measure.gpu import driver
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Both together stay below eight minutes, hung or not.
_TESTS_S, _BENCHMARKS_S = 300, 160


def main(folder: Path) -> int:
    """Run both, write both files, and say where they are."""
    with tempfile.TemporaryDirectory() as place:
        tests, figures = Path(place) / "tests.xml", Path(place) / "figures.json"
        late = [
            _run("pytest", ["pytest", "tests/gpu", "-q", "-rs", f"--junitxml={tests}"], _TESTS_S),
            _run("benchmarks", ["benchmarks", "--device", "cuda", "--json", str(figures)], _BENCHMARKS_S),
        ]
        report = collect(tests, figures, [said for said in late if said])
    for file in write(report, folder):
        print(file)
    return 1 if report["late"] or any(test["outcome"] == "failed" for test in report["tests"]) else 0


def collect(tests: Path, figures: Path, late: Sequence[str] = ()) -> dict[str, Any]:
    """What the two have left.

    Args:
        tests: JUnit's XML; may be missing.
        figures: of the benchmarks; may be missing.
        late: what did not end in time.
    """
    found = json.loads(figures.read_text("utf-8")) if figures.exists() else {}
    return {
        "at": bench._now(),
        "machine": {**bench._machine(), "GPUs": _gpus()},
        "tests": parse_junit(tests.read_text("utf-8")) if tests.exists() else [],
        "benchmarks": found.get("results", {}),
        "late": list(late),
    }


def parse_junit(text: str) -> list[dict[str, Any]]:
    """Name, outcome (passed, failed, not run), reason and seconds of each test."""
    return [_test(case) for case in ET.fromstring(text).iter("testcase")]


def _test(case: ET.Element) -> dict[str, Any]:
    outcome, why = "passed", ""
    for kind, said in (("skipped", "not run"), ("failure", "failed"), ("error", "failed")):
        if (found := case.find(kind)) is not None:
            outcome, why = said, found.get("message", "")
    name = f"{case.get('classname', '')}::{case.get('name', '')}"
    return {"name": name, "outcome": outcome, "why": why, "seconds": float(case.get("time", 0))}


def text_of(report: dict[str, Any]) -> str:
    """For people: what failed and what did not run with its reason, then the figures."""
    lines = [f"{key}: {value}" for key, value in {"at": report["at"], **report["machine"]}.items() if value]
    lines += ["", *report["late"]]
    for test in report["tests"]:
        why = f": {test['why'].removeprefix('not run: ')}" if test["why"] else ""
        lines.append(f"{test['outcome']:<8} {test['name']} ({test['seconds']:.1f} s){why}")
    if not report["tests"]:
        lines.append("no test has run")
    for name, result in report["benchmarks"].items():
        lines += ["", name]
        for row in map(_row.from_plain, result["rows"]):
            target = f"; target {_row.target_text(row)}: {_row.met_text(row)}" if row.target else ""
            lines.append(f"  {row.what}: {_row.ours_text(row)}; {_row.compared_text(row)}{target}")
    if not report["benchmarks"]:
        lines += ["", "no benchmark has run"]
    return "\n".join(lines) + "\n"


def write(report: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """``gpu-report.json`` and ``gpu-report.txt``."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_text = folder / "gpu-report.json", folder / "gpu-report.txt"
    as_json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    as_text.write_text(text_of(report), "utf-8")
    return as_json, as_text


def _run(what: str, words: Sequence[str], seconds: float) -> str:
    """What is to be said where it did not end in time; empty otherwise."""
    try:
        subprocess.run([sys.executable, "-m", *words], cwd=ROOT, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"{what} did not end within {seconds:g} s"
    return ""


def _gpus() -> str:
    try:
        found = driver.own_gpus()
    except Unavailable as why:
        return f"none: {why.cause}"
    return ", ".join(f"{gpu.name} (driver {gpu.driver}, power limit {gpu.power_limit_w} W)" for gpu in found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
