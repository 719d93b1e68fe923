"""Cells of ``fleets``: healthy fleets and faults, beside what an independent audit of an earlier version found in the same fleets."""

from __future__ import annotations

from typing import Any

from benchmarks.detection.fleets import BF16, TRIAD, Fault, Shape, tally_of

_SEED = 20261129
#: What fleets are like → nodes, GPUs, metrics, runs, and what the audit found.
_HEALTHY: tuple[tuple[dict[str, Any], tuple[tuple[int, int, int, int, str], ...]], ...] = (
    (
        {"family": "slow-skewed"},
        ((3, 1, 30, 400, "18"), (8, 1, 30, 400, "59"), (3, 8, 30, 100, "94"), (8, 8, 30, 100, "100"), (64, 8, 30, 20, "100")),
    ),
    ({"family": "t(3)"}, ((3, 1, 30, 400, "12"), (8, 1, 30, 400, "41"), (3, 8, 30, 100, "79"), (8, 8, 30, 100, "96"))),
    (
        {"family": "t(5)"},
        ((3, 1, 30, 400, "6"), (8, 1, 30, 400, "21"), (3, 8, 30, 100, "47"), (8, 8, 30, 100, "60"), (64, 8, 30, 20, "100")),
    ),
    ({"width": 4.0}, ((3, 1, 30, 400, "99.7"), (8, 1, 30, 400, "36"), (3, 8, 30, 100, "0.5"), (8, 8, 30, 100, "1.7"))),
    (
        {"width": 2.0},
        (
            (3, 1, 30, 400, "57"), (4, 1, 30, 400, "68"), (8, 1, 30, 400, "35"), (3, 8, 30, 200, "7"), (4, 8, 30, 200, "4"),
            (3, 1, 5, 400, "27"), (4, 1, 5, 400, "23"), (8, 1, 5, 400, "15"), (16, 1, 5, 400, "7"), (2, 8, 5, 400, "7"),
        ),
    ),
    (
        {"width": 1.5},
        ((3, 1, 30, 400, "13"), (4, 1, 30, 400, "26"), (8, 1, 30, 400, "11"), (16, 1, 30, 200, "5"), (2, 8, 30, 200, "8")),
    ),
    ({"rack": 0.01, "node": 0.005}, ((3, 1, 30, 400, "5"), (8, 1, 30, 400, "7"), (8, 8, 30, 100, "2"))),
    ({"disturbed": 0.01, "load": 0.0}, ((8, 8, 5, 200, "0"),)),
    ({"disturbed": 0.01, "load": 0.03}, ((8, 8, 5, 200, "10"),)),
    ({"disturbed": 0.01, "load": 0.1}, ((8, 8, 5, 200, "65"),)),
    ({"digits": 3}, ((3, 1, 30, 400, "0.4 (WARN 19)"), (8, 1, 30, 400, "0.2 (WARN 11)"))),
    (
        {},
        (
            (3, 1, 5, 400, "0–0.9"), (4, 1, 5, 400, "0–0.9"), (8, 1, 5, 400, "0–0.9"), (64, 1, 5, 400, "0–0.9"), (3, 1, 30, 400, "0–0.9"),
            (8, 1, 30, 400, "0–0.9"), (3, 8, 30, 100, "0–0.9"), (8, 8, 30, 100, "0–0.9"), (64, 8, 5, 100, "0.8"), (64, 8, 30, 20, "0"),
            (1024, 8, 5, 20, "1.5"),
        ),
    ),
    ({"width": 0.5}, ((8, 8, 5, 200, "≤ 1.1"),)),
    ({"wild": 0.1}, ((8, 8, 5, 200, "≤ 1.1"),)),
    ({"disturbed": 0.01}, ((8, 8, 5, 200, "≤ 1.1"),)),
    ({"drift": 0.01}, ((8, 8, 5, 200, "≤ 1.1"),)),
    ({"correlated": 0.5}, ((8, 8, 5, 200, "≤ 1.1"),)),
    ({"family": "fast-skewed"}, ((8, 8, 5, 200, "≤ 1.1"),)),
)  # fmt: skip
_ONE_TRIAD_3, _ONE_TRIAD_5, _ONE_BF16_5, _ONE_BF16_7 = (
    Fault(0.03, TRIAD), Fault(0.05, TRIAD), Fault(0.05, BF16), Fault(0.07, BF16)
)  # fmt: skip
_NODE, _QUARTER, _HALF, _MOST = (
    Fault(0.05, TRIAD, whole=True), Fault(0.05, None, 0.25, whole=True), Fault(0.05, None, 0.5, whole=True), Fault(0.05, None, 0.67, whole=True)
)  # fmt: skip
#: Nodes, GPUs, runs → fault, and what the audit found; of five metrics.
_FAULTS: tuple[tuple[int, int, int, tuple[tuple[Fault, str], ...]], ...] = (
    (3, 1, 400, ((_ONE_TRIAD_3, "90"), (_ONE_TRIAD_5, "100"), (_ONE_BF16_5, "–"), (_ONE_BF16_7, "–"))),
    (8, 1, 400, ((_ONE_TRIAD_3, "–"), (_ONE_TRIAD_5, "–"), (_ONE_BF16_5, "–"), (_ONE_BF16_7, "–"))),
    (8, 8, 200, ((_ONE_TRIAD_3, "85"), (_ONE_TRIAD_5, "100"), (_ONE_BF16_5, "97"), (_ONE_BF16_7, "100"))),
    (64, 8, 100, ((_ONE_TRIAD_3, "97"), (_ONE_TRIAD_5, "100"), (_ONE_BF16_5, "97"), (_ONE_BF16_7, "100"))),
    (3, 8, 100, ((_NODE, "0"),)),
    (8, 8, 100, ((_NODE, "100"),)),
    (64, 8, 100, ((_NODE, "100"),)),
    (16, 1, 100, ((_QUARTER, "0"), (_HALF, "0"), (_MOST, "0"))),
    (64, 1, 100, ((_QUARTER, "0"), (_HALF, "0"), (_MOST, "0"))),
    (64, 8, 100, ((_QUARTER, "0"), (_HALF, "0"), (_MOST, "0"))),
)


def _name(shape: Shape, what: str) -> str:
    return f"{shape.nodes:,}x{shape.gpus}, {shape.metrics} metrics: {what}"


def _of_fault(fault: Fault) -> str:
    if fault.nodes:
        return f"{fault.nodes:.0%} of the nodes, all metrics {fault.loss:.0%}"
    metric = "bf16" if fault.metric == BF16 else "triad"
    return f"{'a whole node' if fault.whole else 'one GPU'}, {metric} {fault.loss:.0%}"


#: Name of a healthy fleet → its shape, runs, and healthy runs with a FAIL that the audit found (percent, as it says it).
HEALTHY: dict[str, tuple[Shape, int, str]] = {
    _name(shape, ", ".join(f"{key} {value}" for key, value in like.items()) or "normal, as wide as the class"): (
        shape,
        runs,
        said,
    )
    for like, cells in _HEALTHY
    for nodes, gpus, metrics, runs, said in cells
    for shape in (Shape(nodes, gpus, metrics, **like),)
}
#: Name of a fault → shape, fault, runs, and what the audit found.
FAULTS: dict[str, tuple[Shape, Fault, int, str]] = {
    f"{nodes}x{gpus}: {_of_fault(fault)}": (Shape(nodes, gpus, 5), fault, runs, said)
    for nodes, gpus, runs, cells in _FAULTS
    for fault, said in cells
}


def audit_healthy(name: str, fleets: float) -> dict[str, Any]:
    """Counts of a healthy cell."""
    shape, runs, said = HEALTHY[name]
    return _counts(shape, None, max(4, round(runs * fleets)), said)


def audit_fault(name: str, fleets: float) -> dict[str, Any]:
    """Counts of a cell with a fault."""
    shape, fault, runs, said = FAULTS[name]
    return _counts(shape, fault, max(4, round(runs * fleets)), said)


def _counts(shape: Shape, fault: Fault | None, runs: int, said: str) -> dict[str, Any]:
    seed = [_SEED, shape.nodes, shape.gpus, shape.metrics, round(1000 * fault.loss) if fault else 0]
    tally = tally_of(shape, runs, seed, fault)
    return {
        "runs": tally.runs, "failed": tally.failed, "warned": tally.warned, "undecided": tally.undecided, "doubted": tally.doubted,
        "found": tally.found, "told": tally.told, "launches": tally.launches, "audit": said,
    }  # fmt: skip
