"""A verdict as lines: for NHC's log, for the node problem detector, for a drain's reason. ASCII alone.

The node problem detector reads 4 KiB and cuts them at ``max_output_length`` bytes (80 unless it is told otherwise), wherever that is: half of a character would be no text
any more (pkg/custompluginmonitor/plugin/plugin.go, 1.37). Its states are the exit codes 0 and 1; every other is unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.parse.slurm.marks import gate_reason
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcaccept.model.node_check import Gate


def lines_of(gate: Gate) -> Iterator[str]:
    """The verdict with its first finding, then each finding and what to do about it, what moved during the job, and a reason for a drain."""
    return (line.replace("→", "->").encode("ascii", "backslashreplace").decode() for line in _lines(gate))


def _lines(gate: Gate) -> Iterator[str]:
    first = f": {safe(gate.reason)}" if gate.reason else ""
    yield f"hpcaccept {gate.verdict.replace('_', ' ')}{first}"
    for item in gate.items:
        if item.outcome != "PASS":
            yield f"{item.outcome} {item.code}: {safe(item.reason)}"
            yield f"  → {safe(item.action)}"
    for name, (before, now) in gate.moved.items():
        yield f"moved {safe(name)}: {before:g} → {now:g}"
    if gate.verdict == "NOT_FIT":
        yield f"reason {gate_reason(gate.items[0].code, gate.items[0].reason)}"
