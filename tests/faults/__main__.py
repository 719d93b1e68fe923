"""``make faults``: every scenario several times, a table of what was found, and docs/explanation/detection.md.

Exit status 0 when every fault was found with the right name and nobody else was blamed, in every repeat.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from support.slurm_fixtures import WHY_NOT
from system.cluster import VirtualSlurm

from faults.scenarios import SCENARIOS, Result, Scenario, result_of

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "detection.md"
_MARK = "<!-- made by make faults -->"


@dataclass
class Row:
    """What came of one scenario."""

    scenario: Scenario
    results: list[Result] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    why_not: str = ""

    @property
    def found(self) -> int:
        """Repeats in which the fault was found; of a healthy scenario those in which nobody was blamed."""
        return sum(bool(r.found_by) if self.scenario.names else not r.blamed for r in self.results)

    @property
    def perfect(self) -> bool:
        """Found each time, nobody else ever blamed."""
        return self.found == len(self.results) and not any(r.blamed for r in self.results)

    def cells(self) -> tuple[str, ...]:
        """For the table."""
        if self.why_not:
            return (self.scenario.name, self.scenario.fault, f"not run: {self.why_not}", "", "")
        by = Counter(name for r in self.results for name in r.found_by)
        wrong = Counter(who for r in self.results for who in r.blamed)
        return (
            self.scenario.name,
            self.scenario.fault,
            f"{self.found} of {len(self.results)}" if self.scenario.names else "–",
            f"{self.scenario.names}: " + ", ".join(f"`{name}`" for name in sorted(by)) if by else "–",
            ", ".join(f"{who} ({count} ×)" for who, count in wrong.items()) or "nobody",
        )


def main() -> int:
    """Run them, print, write."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help="only these")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="runs of each (%(default)s)")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is open is closed: clusters, namespaces
    wanted = [s for s in SCENARIOS if not options.names or s.name in options.names]
    with contextlib.ExitStack() as open_things:
        slurm = None
        if not WHY_NOT and any(s.slurm for s in wanted):
            slurm = open_things.enter_context(
                VirtualSlurm.up(Path(tempfile.mkdtemp(prefix="hpcaccept-faults-", dir="/run")))
            )
        rows: list[Row] = []
        for scenario in wanted:
            rows.append(_repeat(scenario, slurm, options.repeats))
            if options.write_docs:
                _write(rows)  # after each: what was found is kept whatever comes next
    return 0 if all(row.perfect for row in rows) else 1


def _repeat(scenario: Scenario, slurm: VirtualSlurm | None, repeats: int) -> Row:
    row = Row(scenario, why_not=scenario.why_not or (WHY_NOT if scenario.slurm else ""))
    for _ in range(0 if row.why_not else repeats):
        with tempfile.TemporaryDirectory(prefix="hpcaccept-fault-") as folder:
            begin = time.monotonic()
            row.results.append(result_of(scenario, scenario.run(Path(folder), slurm)))
            row.seconds.append(time.monotonic() - begin)
    name, fault, found, by, blamed = row.cells()
    sys.stdout.write(f"{name:<16} {fault}\n{'':<16} found: {found}   by: {by}   others blamed: {blamed}\n")
    sys.stdout.flush()
    return row


def _write(rows: list[Row]) -> None:
    head = ("fault", "what is broken", "found", "named, and by which metric", "others blamed")
    lines = ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *(r.cells() for r in rows))]
    before, _, rest = PAGE.read_text("utf-8").partition(_MARK)
    _, _, after = rest.partition(_MARK)
    PAGE.write_text(f"{before}{_MARK}\n" + "\n".join(lines) + f"\n{_MARK}{after}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
