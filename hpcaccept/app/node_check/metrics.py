"""A verdict as a file for node_exporter's textfile collector, with its age: a gate that no longer answers leaves an old file, and an alert on its time sees that."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from hpcaccept import __version__
from hpcaccept.app.node_check.deep_cache import MEASURED_AT
from hpcaccept.report.openmetrics import Family, exposition
from hpcaccept.store.replaced_files import replace_file
from hpcaccept.transport.apart import ask_apart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hpcaccept.model.node_check import Gate

_OUTCOMES = ("PASS", "FAIL", "NOT_RUN", "ERROR")


def metrics_of(gate: Gate) -> str:
    """Gauges about this node. What could not be judged is not fit, whatever ``--on-unknown`` makes of it."""
    return exposition(_families(gate))


def _families(gate: Gate) -> Iterator[Family]:
    node = {"node": gate.node}
    at = datetime.fromisoformat(gate.at).timestamp()
    items: Counter[str] = Counter(item.outcome for item in gate.items)
    findings = Counter((item.part, item.code, item.outcome) for item in gate.items if item.outcome != "PASS")
    yield Family(
        "node_check_info", "What asked, and what for.", [({**node, "version": __version__, "phase": gate.phase}, 1)]
    )
    yield Family("node_check_timestamp_seconds", "When the node was looked at.", [(node, at)], "seconds")
    yield Family(
        "node_check_fit",
        "1 when a job may run on the node; 0 when not, and when nobody can say.",
        [({**node, "verdict": gate.verdict}, gate.verdict == "FIT")],
    )
    yield Family("node_check_exit_code", "0 fit, 1 not fit, 3 could not be judged.", [(node, gate.exit_code)])
    yield Family(
        "node_check_duration_seconds",
        "From the start of the process to the verdict.",
        [(node, gate.seconds)],
        "seconds",
    )
    yield Family(
        "node_check_items",
        "Things that were looked at, by outcome.",
        [({**node, "outcome": name}, items[name]) for name in _OUTCOMES],
    )
    yield Family(
        "node_check_findings",
        "Findings by part, code and outcome.",
        [
            ({**node, "part": part, "code": code, "outcome": outcome}, n)
            for (part, code, outcome), n in sorted(findings.items())
        ],
    )
    if measured_at := gate.facts.get(MEASURED_AT):
        deep = datetime.fromisoformat(measured_at).timestamp()
        yield Family(
            "node_check_deep_timestamp_seconds", "When node-check --deep measured the node.", [(node, deep)], "seconds"
        )
        yield Family(
            "node_check_deep_age_seconds", "How old that result was at this look.", [(node, at - deep)], "seconds"
        )


def write_metrics(file: Path, gate: Gate, left_s: float) -> str:
    """Replace the file, in a child: its disk may hang, and the verdict does not wait for it.

    Args:
        file: for everybody to read.
        gate: of which it speaks.
        left_s: until it is given up.

    Returns:
        Why it was not written; nothing where it was.
    """

    def write() -> bytes:
        try:
            replace_file(file, metrics_of(gate))
        except OSError as fault:
            return (fault.strerror or str(fault)).encode()
        return b""

    answer = ask_apart({"write": write}, time.monotonic() + left_s)["write"]
    return answer.decode() if isinstance(answer, bytes) else answer.why
