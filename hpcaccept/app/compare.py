"""Compares two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.run.conclude import evidence_of, judge_run
from hpcaccept.judge.compare_runs import compare
from hpcaccept.model.verdict import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.comparison import Comparison
    from hpcaccept.report.judged import Judged
    from hpcaccept.store.folder import RunFolder

#: Origins of limits on speed, which an environment may change.
_OF_SPEED = ("peers", "baseline", "history")


def compare_runs(earlier: RunFolder, later: RunFolder, baselines_dir: Path) -> Comparison:
    """Judge both, then put them side by side.

    Raises:
        RunError: one of them cannot be read.
    """
    before, now = (judge_run(evidence_of(folder), baselines_dir) for folder in (earlier, later))
    said = [{node: outcome.value for node, outcome in judged.summary.nodes.items()} for judged in (before, now)]
    broken = _broken(before), _broken(now)
    return compare(before.evidence, now.evidence, (before.values, now.values), (said[0], said[1]), broken)


def _broken(judged: Judged) -> frozenset[str]:
    """Nodes with a FAIL by a limit: it is no question of speed, and so none of the environment."""
    return frozenset(
        verdict.subject.node
        for verdict in judged.judgement.verdicts
        if verdict.outcome is Outcome.FAIL and (verdict.limit is None or verdict.limit.origin not in _OF_SPEED)
    )
