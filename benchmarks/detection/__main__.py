"""``make detection``: simulate everything, print the tables, and put them into docs/explanation/detection.md."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.detection.measure import measure
from benchmarks.detection.tables import tables

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "detection.md"
_MARK = "<!-- made by make detection -->"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="make detection", description=__doc__)
    parser.add_argument("--fleets", type=float, default=1.0, metavar="SHARE", help="of what is published (%(default)s)")
    parser.add_argument("--processes", type=int, default=0, metavar="N", help="0: one per core, four at most")
    parser.add_argument(
        "--only",
        default="",
        metavar="NAME",
        help="measure what begins so (nights, losses, past …); keep the rest as it is",
    )
    parser.add_argument(
        "--write-docs", action="store_true", help=f"put the tables into {PAGE.name}, the numbers beside it"
    )
    options = parser.parse_args()
    found = measure(options.fleets, options.processes, options.only)
    if options.only:
        before = json.loads(PAGE.with_suffix(".json").read_text("utf-8"))
        found = {name: one for name, one in before.items() if not name.startswith(options.only)} | found
    text = tables(found)
    sys.stdout.write(text + "\n")
    if options.write_docs:
        head, _, rest = PAGE.read_text("utf-8").partition(_MARK)
        _, _, after = rest.partition(_MARK)
        PAGE.write_text(f"{head}{_MARK}\n{text}\n{_MARK}{after}", "utf-8")
        PAGE.with_suffix(".json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
