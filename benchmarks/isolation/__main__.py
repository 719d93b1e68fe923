"""``make isolation``: simulate everything, print the table, and put it into docs/explanation/isolation.md."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.isolation.cells import CELLS
from benchmarks.isolation.table import table
from hpcaccept.simulate.isolation.score import measured

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "isolation.md"
MARK = "<!-- made by make isolation -->"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="make isolation", description=__doc__)
    parser.add_argument("--fleets", type=float, default=1.0, metavar="SHARE", help="of what is published (%(default)s)")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="rows whose name contains it; keep the rest as it is"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further row after this long")
    parser.add_argument("--skip-measured", action="store_true", help="measure only rows that the file does not have")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"put the table into {PAGE.name}, the numbers beside it"
    )
    options = parser.parse_args()
    numbers = PAGE.with_suffix(".json")
    found: dict[str, Any] = json.loads(numbers.read_text("utf-8")) if numbers.exists() else {}
    began = time.monotonic()
    for cell, fleets, methods, goal in CELLS:
        known = options.skip_measured and cell.name in found
        if known or options.only not in cell.name or time.monotonic() - began > options.seconds:
            continue
        rows = measured(cell, max(1, round(fleets * options.fleets)), methods)
        found[cell.name] = {"cell": dataclasses.asdict(cell), "goal": goal, "methods": rows}
        sys.stdout.write(f"{cell.name}: {time.monotonic() - began:.0f} s\n")
        sys.stdout.flush()
        if options.write_docs:
            _write(found, numbers)
    sys.stdout.write(table(found) + "\n")
    if options.write_docs:
        _write(found, numbers)
    return 0


def _write(found: dict[str, Any], numbers: Path) -> None:
    numbers.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if PAGE.exists():
        head, _, rest = PAGE.read_text("utf-8").partition(MARK)
        _, _, after = rest.partition(MARK)
        PAGE.write_text(f"{head}{MARK}\n{table(found)}\n{MARK}{after}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
