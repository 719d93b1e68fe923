"""``python -m benchmarks.sensitivity``: are losses found as often as a report says that they are?

A healthy fleet of 3, 8 or 64 like units is judged; what its report says is found half of the time, and 19 times of 20, is then the loss of
one of its units, and the same fleet is judged again, retests included. One metric of each kind at a time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from hpcaccept.simulate.faults import Fault
from hpcaccept.simulate.fleet import Fleet, Site
from hpcaccept.simulate.ours import run_of

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "detection.md"
_MARK = "<!-- made by python -m benchmarks.sensitivity -->"
UNITS = (3, 8, 64)
#: Kind of fault → the one metric that it spoils, and what that is called.
METRICS = {
    "power": ("bf16", "products"),
    "memory": ("hbm", "memory"),
    "network": ("network", "links"),
    "storage": ("nvme", "storage"),
}


def row_of(units: int, kind: str, fleets: int) -> list[str]:
    """One line of the table: losses that are promised, and how often they were found."""
    name, called = METRICS[kind]
    site = Site(nodes=units, gpus=1, disturbed=0.0, missing=0.0, crashed=0.0)
    losses, found = np.zeros((fleets, 2)), np.zeros(2, int)
    for seed in range(fleets):
        fleet = Fleet(site, np.random.default_rng((units, seed)))
        (sight,) = run_of(fleet, [], measured=[name]).sensitivity.kinds
        assert sight.nearly_all is not None
        losses[seed] = sight.half[0], sight.nearly_all[0]
        node = int(fleet.rng.integers(units))
        for number, loss in enumerate(losses[seed].tolist()):
            slow = Fault(kind, loss, node)
            found[number] += any(place[0] == node for place in run_of(fleet, [slow], measured=[name]).failed(site))
    half, nearly = (f"{100 * share:.3g} %" for share in np.median(losses, axis=0).tolist())
    shares = [f"{100 * count / fleets:.0f} %" for count in found.tolist()]
    return [called, str(units), half, shares[0], nearly, shares[1]]


def table(fleets: int) -> str:
    """The whole table, as Markdown."""
    heads = ["metric", "like units", "said: half of the time", "found", "said: 19 times of 20", "found"]
    rows = [row_of(units, kind, fleets) for kind in METRICS for units in UNITS]
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sensitivity", description=__doc__)
    parser.add_argument("--fleets", type=int, default=300, metavar="N", help="of each row (%(default)s)")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    text = table(options.fleets)
    sys.stdout.write(text + "\n")
    if options.write_docs:
        before, _, rest = PAGE.read_text("utf-8").partition(_MARK)
        _, _, after = rest.partition(_MARK)
        PAGE.write_text(f"{before}{_MARK}\n{text}\n{_MARK}{after}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
