"""Whether a node has shown since its repair that it is fit again: the checks that it failed, passed in k runs, with no failure since the last of them.

What counts is the report of each run (``report.json``) as it was judged: a run that was not made before the mark (or before ``--since``, the
time of the repair; both are whole seconds, and a script may test a node again in the second of its mark) and is not the one it failed, in which the node has a PASS of each of these checks, and no check of which says anything worse about the node than PASS
as far as it is required.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hpcaccept.bounded import read_text
from hpcaccept.serial import loads
from hpcaccept.store.folder import RunFolder, all_runs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Of a report: verdicts of thousands of nodes.
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Shown:
    """What one run says of a node.

    Attributes:
        run: its name.
        at: when it was made, ISO 8601.
        passed: checks that are PASS on the node, and nothing else.
        bad: checks that are not, with the worst outcome: required ones.
        node: outcome of the node.
    """

    run: str
    at: str
    passed: frozenset[str]
    bad: tuple[str, ...]
    node: str


@dataclass(frozen=True)
class GateResult:
    """Whether a node may come back.

    Attributes:
        passed: True when it may.
        runs: that count.
        why: what is missing, in one sentence; empty when it passed.
    """

    passed: bool
    runs: tuple[str, ...]
    why: str = ""


def gate_of(shown: Iterable[Shown], checks: tuple[str, ...], times: int) -> GateResult:
    """Pure: the last ``times`` runs that say anything of the node must all have passed.

    Args:
        shown: by runs since the repair, oldest first.
        checks: that the node has failed; empty: whatever the suites of these runs hold.
        times: how often.
    """
    found = list(shown)
    good: list[str] = []
    for one in found:
        lacking = [check for check in checks if check not in one.passed]
        if one.bad or one.node != "PASS":
            good = []
        elif not lacking:
            good.append(one.run)
    if len(good) >= times:
        return GateResult(True, tuple(good[-times:]))
    of = f" of {', '.join(checks)}" if checks else ""
    last = next((one for one in reversed(found) if one.bad or one.node != "PASS"), None)
    said = f"; {last.run} says {last.node}{f' ({last.bad[0]})' if last.bad else ''}" if last else ""
    return GateResult(False, tuple(good), f"{len(good)} of {times} passing runs{of} since the mark{said}")


def shown_since(runs_dir: Path, node: str, since: str, failed: str = "") -> list[Shown]:
    """What runs not made before a time say of a node, oldest first, but for the one it ``failed``. A report that cannot be read says nothing."""
    found = [_shown(folder, node, since) for folder in all_runs(runs_dir) if folder.run_id != failed]
    return sorted((one for one in found if one), key=lambda one: one.at)


def _shown(folder: RunFolder, node: str, since: str) -> Shown | None:
    try:
        report = loads(read_text(folder.report_file, most=_MOST_BYTES))
        at = str(report["created_at"])
        if _time(at) < _time(since) or node not in report["nodes"]:
            return None
        return _of_node(folder.run_id, at, node, report)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _of_node(run: str, at: str, node: str, report: dict[str, Any]) -> Shown:
    mine = [one for one in report["verdicts"] if one["node"] in (node, "")]
    bad = [f"{one['check']}: {one['outcome']}" for one in mine if one["required"] and one["outcome"] != "PASS"]
    failing = {
        one["check"]
        for one in mine
        if one["outcome"] in ("FAIL", "WARN", "ERROR") or (one["required"] and one["outcome"] != "PASS")
    }
    # Of very large runs passes are only counted: there the rows of the checks and the node's own outcome say it.
    listed = report["passes"] == "listed"
    passed = {one["check"] for one in mine if one["outcome"] == "PASS" and one["node"] == node}
    if not listed and report["nodes"][node] == "PASS":
        passed = {row["check"] for row in report["checks"]}
    return Shown(run, at, frozenset(passed - failing), tuple(bad), report["nodes"][node])


def _time(text: str) -> float:
    """Raises ValueError where it is no time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone().timestamp()


def failed_nodes(folder: RunFolder) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Node → the code of its first FAIL, and the checks that it failed; of a run whose report was written.

    Raises:
        OSError: there is no report.
        ValueError: it cannot be understood.
    """
    report = loads(read_text(folder.report_file, most=_MOST_BYTES))
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    try:
        for node, outcome in report["nodes"].items():
            if outcome == "FAIL":
                fails = [one for one in report["verdicts"] if one["outcome"] == "FAIL" and one["node"] == node]
                checks = tuple(dict.fromkeys(str(one["check"]) for one in fails))
                found[node] = (str(fails[0]["code"]) if fails else "unknown", checks)
    except (KeyError, TypeError) as fault:
        raise ValueError(f"it is not a report: {fault!r}") from None
    return found
