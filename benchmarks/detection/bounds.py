"""How often could any test find one slow GPU in one metric, at a run-wise false-alarm rate of 1 %, in a normal fleet?

Two tests by the book stand on both sides of what can be asked for. One knows how wide healthy units differ. The other takes that from
the run alone, as every test must that holds its rate whatever the width: the widths of the run's metrics have a known ratio, so all other units
in all metrics tell it together, and the cut is Student's. Both compare a unit with the mean of the others and share the rate among all values
of the run (Bonferroni). Nothing stops a rule that knows something of the width from ending between the two.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.detection.fleets import Fault, Shape, floor_of
from hpcaccept.judge.statistics.student_t import normal_quantile, normal_tail, t_quantile

_RATE = 0.01
_DRAWS = 400_000
#: Launches of a suspect; the noise of a launch is a quarter of what units differ by.
_LAUNCHES = 3


def bounds(shape: Shape, fault: Fault) -> tuple[float, float]:
    """Shares of runs in which the fault is found: by the test that knows the width, and by the one that has the run alone.

    Args:
        shape: normal noise of width 1.
        fault: of one unit in one metric.
    """
    assert fault.metric is not None
    units = shape.nodes * shape.gpus
    tail = _RATE / (units * shape.metrics)
    unit = floor_of(fault.metric) / 4
    spread = unit * math.sqrt(1 + 1 / 16 / _LAUNCHES) * math.sqrt(1 + 1 / (units - 1))
    shift = fault.loss / spread
    known = normal_tail(normal_quantile(tail) - shift)
    # The metric in which it is compared lends one unit less.
    df = shape.metrics * (units - 1) - 1
    rng = np.random.default_rng(20261129)
    seen = (shift + rng.standard_normal(_DRAWS)) / np.sqrt(rng.chisquare(df, _DRAWS) / df)
    return known, float(np.mean(seen > t_quantile(tail, df)))
