"""Where the numbers of ``judge.statistics.run_width`` come from: ``python -m benchmarks.detection.widths [--runs N] [--draws N]``.

Two tables. The first is of the robust width of few normal values: the mean of its square, and the degrees of freedom of a chi² of the same mean and
variance. The second judges fleets of ``benchmarks.detection.fleets`` in one launch, with what the comparisons of a run tell of each other and
without it: healthy runs in which anybody is a FAIL, and runs in which a unit that has lost something is one.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np

from benchmarks.detection.fleets import TRIAD, Fault, Shape, tally_of
from hpcaccept.judge.questions import peers_together
from hpcaccept.judge.statistics.peer_rule import PRIOR_DF, robust
from hpcaccept.judge.statistics.run_width import freedom, mean_square
from hpcaccept.model.suite import PeerRule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.detection.fleets import Floats
    from hpcaccept.judge.statistics.run_width import Told

_SEED = 20261129
_ONE_LAUNCH = PeerRule(retests=0)
_WIDTHS = (1.0, 1.5, 2.0, 4.0)
#: Nodes of one GPU, and metrics.
_FLEETS = ((3, 30), (8, 30), (3, 5))
#: Of a fleet of the first width: what a unit has lost in memory bandwidth, in widths of its class (a quarter of the floor of 2 %).
_LOSSES = {6: Fault(0.03, TRIAD), 10: Fault(0.05, TRIAD)}
#: Values of which a width is made; of more a formula holds.
_FEW = (2, 3, 4, 5, 6, 7, 8, 12, 16, 32, 64)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection.widths", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="runs of each cell (%(default)s)")
    parser.add_argument("--draws", type=int, default=1_000_000, metavar="N", help="widths of each number (%(default)s)")
    options = parser.parse_args()
    for line in chain(_of_few(options.draws), [""], _of_runs(options.runs)):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()  # a cell takes a minute
    return 0


def _of_few(draws: int) -> Iterator[str]:
    yield "values  mean square (taken)  degrees of freedom (taken)"
    for values in _FEW:
        mean, df = few(values, draws)
        yield f"{values:>6}  {mean:11.3f} ({mean_square(values):.3f})  {df:18.2f} ({freedom(values):.2f})"


def few(values: int, draws: int) -> tuple[float, float]:
    """Mean square of the robust width of some normal values of width 1, and the degrees of freedom of a chi² that varies as much."""
    rng = np.random.default_rng([_SEED, values])
    square = robust(np.sort(rng.standard_normal((draws, values)), axis=1))[1] ** 2
    return float(square.mean()), float(2 * square.mean() ** 2 / square.var())


def _of_runs(runs: int) -> Iterator[str]:
    yield "runs with a FAIL, percent       with it  without"
    for nodes, metrics in _FLEETS:
        for width in _WIDTHS:
            yield _line(
                f"{nodes} units x {metrics}, width {width:g}", Shape(nodes, 1, metrics, width=width), runs, None
            )
    for widths, fault in _LOSSES.items():
        yield _line(f"3 units x 5, one {widths} widths slower", Shape(3, 1, 5), runs, fault)


def _line(what: str, shape: Shape, runs: int, fault: Fault | None) -> str:
    found = [failing(shape, runs, fault)]
    with _each_by_itself():
        found.append(failing(shape, runs, fault))
    return f"{what:<32}{found[0]:7.1f}  {found[1]:7.1f}"


def failing(shape: Shape, runs: int, fault: Fault | None) -> float:
    """Percent of runs with a FAIL: of anybody in a healthy fleet, of who has lost something in another."""
    tally = tally_of(shape, runs, [_SEED, shape.nodes, shape.metrics], fault, _ONE_LAUNCH)
    return 100 * (tally.found if fault else tally.failed) / runs


@contextmanager
def _each_by_itself() -> Iterator[None]:
    """Each comparison believes its class, whatever the others tell."""
    with patch.object(peers_together, "wider_than_class", _as_the_class):
        yield


def _as_the_class(told: Sequence[Told]) -> tuple[Floats, Floats, Floats]:
    shape = (len(told), len(told[0].square))
    return np.ones(shape), np.full(shape, PRIOR_DF), np.full(shape, np.nan)


if __name__ == "__main__":
    sys.exit(main())
