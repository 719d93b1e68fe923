"""Is it good? Evidence in, verdicts out: pure, no files, no clock, no device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.judge.absent import judge_absent
from hpcaccept.judge.against_baseline import judge_against_baseline
from hpcaccept.judge.against_limits import judge_against_limits
from hpcaccept.judge.against_peers import PeerPower, judge_against_peers
from hpcaccept.judge.coverage import Coverage, coverage_of
from hpcaccept.judge.disturbed import without_disturbed
from hpcaccept.judge.drift import judge_drift
from hpcaccept.judge.values import values_of
from hpcaccept.model.metric import Metric
from hpcaccept.model.verdict import Verdict, exit_code

if TYPE_CHECKING:
    from hpcaccept.model.baseline import Baseline
    from hpcaccept.model.evidence import Evidence

Catalogue = Mapping[str, Mapping[str, Metric]]


@dataclass(frozen=True)
class Judgement:
    """All verdicts of a run.

    Attributes:
        verdicts: by severity of what they mean, then by subject.
        coverage: what was judged of what was asked.
        power: what the comparison with the peers could see.
        exit_code: 0, 1 or 3 (hpcaccept.model.verdict.exit_code).
    """

    verdicts: tuple[Verdict, ...]
    coverage: Coverage
    power: PeerPower
    exit_code: int


def judge(
    evidence: Evidence, catalogue: Catalogue, baselines: Mapping[str, Baseline], unique_facts: frozenset[str]
) -> Judgement:
    """Every question, kept apart.

    Args:
        evidence: of one run.
        catalogue: check → metric name → metric.
        baselines: device model → baseline; a model without one gives NO_BASELINE.
        unique_facts: facts that differ between healthy nodes by nature.
    """
    values = values_of(evidence.samples, catalogue)
    peers, power = judge_against_peers(evidence, values)
    verdicts = [
        *judge_absent(evidence, catalogue),
        *judge_against_limits(evidence, values),
        *without_disturbed([*peers, *judge_against_baseline(evidence, values, baselines)], evidence),
        *judge_drift(evidence, unique_facts),
    ]
    return Judgement(tuple(verdicts), coverage_of(evidence, verdicts), power, exit_code(verdicts))
