"""How long does it take to judge 4,096 and 16,384 nodes by every question, and is every bad one of them found?"""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks._child import environment, output, rounds
from benchmarks._row import Row, Target

#: What SuperBench's ``sb result diagnosis`` takes and misses on such a fleet (2026-11-21, section 2 of the measurements that
#: docs/reference/performance.md names; reading its JSON lines included, which is a quarter of it).
_CITED = {
    4096: ("SuperBench 60.6 s", "SuperBench misses 4 of 40"),
    16384: ("SuperBench 252 s", "SuperBench misses 16 of 160"),
}
_PLAIN = "numpy, 5 % off"


def measure(quick: bool) -> list[Row]:
    """Each size in processes of its own, so that what is said of memory is of that size alone."""
    rows = _rows(4096, 1.0, quick)
    if not quick:
        rows += _rows(16384, 3.0, quick, peak=1e9)
    judged = [_judge(4096, "--past") for _ in rounds(2 if quick else 5, budget_s=90)]
    what = "judge 4,096 nodes × 8 GPUs × 30 metrics with 20 runs of history"
    return [*rows, Row(what, "s", _of(judged, "ours_s"), target=Target("value", upper=5.0)), *_found(what, judged, "")]


def _rows(nodes: int, most_s: float, quick: bool, peak: float | None = None) -> list[Row]:
    judged = [_judge(nodes) for _ in rounds(2 if quick else 5, budget_s=90)]
    what = f"judge {nodes:,} nodes × 8 GPUs × 30 metrics"
    seconds, missed = _CITED[nodes]
    ours, plain = _of(judged, "ours_s"), _of(judged, "plain_s")
    rows = [
        Row(what, "s", ours, target=Target("value", upper=most_s), cited=seconds),
        Row(f"{what}, beside the plainest rule", "s", ours, _PLAIN, plain),
        *_found(what, judged, missed),
    ]
    if peak is not None:
        rows.append(Row(f"{what}: peak memory", "B", _of(judged, "peak_bytes"), target=Target("value", upper=peak)))
    return rows


def _found(what: str, judged: list[dict[str, Any]], cited: str) -> list[Row]:
    bad = judged[0]["bad"]
    return [
        Row(
            f"{what}: missed of {bad} bad nodes",
            "nodes",
            _of(judged, "missed"),
            target=Target("value", 0, 0),
            cited=cited,
        ),
        Row(f"{what}: healthy nodes flagged", "nodes", _of(judged, "false"), target=Target("value", 0, 0)),
    ]


def _judge(nodes: int, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks._fleet", str(nodes), *more]
    found: dict[str, Any] = json.loads(output(command, environment(), timeout_s=180))
    return found


def _of(judged: list[dict[str, Any]], name: str) -> tuple[float, ...]:
    return tuple(float(one[name]) for one in judged)
