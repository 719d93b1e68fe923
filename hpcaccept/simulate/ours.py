"""Whom does hpcaccept blame? The simulated run goes through the code that judges real runs, its retests included.

Nothing of the rule is written here: samples become values (``judge.statistics.aggregate``), are compared with the peers
(``judge.questions.peers``) and the past (``judge.questions.history``), and whoever is suspect is launched again
(``launch.job.retest.checks_again``) as often as the suite says.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept import checks
from hpcaccept.judge.questions.history import judge_against_history
from hpcaccept.judge.questions.peers import judge_against_peers
from hpcaccept.judge.statistics.aggregate import Values, values_of
from hpcaccept.judge.statistics.grouping import Alike, alike_of
from hpcaccept.launch.job.retest import checks_again
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.history import FAILED, PASSED, SUSPECT, WARNED, Past, PastRun, subject_id
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.plan import Image, Plan, Request
from hpcaccept.model.suite import CheckSpec, PeerRule, Suite
from hpcaccept.model.verdict import CODE, Outcome
from hpcaccept.model.verdict_table import JudgedColumn
from hpcaccept.simulate.faults import left_of
from hpcaccept.simulate.fleet import SPREADS, Fleet, Site, subjects_of, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.model.metric import Metric
    from hpcaccept.simulate.faults import Fault

Floats = npt.NDArray[np.float64]
#: What the outcomes of answers are remembered as.
_REMEMBERED = {CODE[Outcome.PASS]: PASSED, CODE[Outcome.WARN]: WARNED, CODE[Outcome.FAIL]: FAILED}


@dataclass(frozen=True, eq=False)
class Run:
    """What came of one run.

    Attributes:
        values: of its metrics, with the outcome of nothing yet.
        first: short name → float64[u]: medians of the first launch, NaN where absent: what peers' rules see.
        blocks: short name → float64[u, b]: the first launch in full.
        answers: of the comparisons.
        launches: how many it took.
        judge_s: CPU seconds of judging.
    """

    values: list[Values]
    first: dict[str, Floats]
    blocks: dict[str, Floats]
    answers: list[JudgedColumn]
    launches: int
    judge_s: float

    def failed(self, site: Site) -> list[tuple[int, int, str]]:
        """(node, GPU or -1, short name) of every FAIL."""
        return [
            (row // site.gpus, row % site.gpus, _SHORT[answer.key])
            if row < site.nodes * site.gpus
            else (row - site.nodes * site.gpus, -1, _SHORT[answer.key])
            for answer in self.answers
            if answer.key in _SHORT
            for row in answer.subject[answer.outcome == CODE[Outcome.FAIL]].tolist()
        ]


@dataclass(eq=False)
class Memory:
    """The earlier runs of one fleet, as ``store.history_file`` would give them back."""

    site: Site
    runs: list[PastRun] = field(default_factory=list)
    values: dict[str, list[Floats]] = field(default_factory=dict)
    outcomes: dict[str, list[npt.NDArray[np.uint8]]] = field(default_factory=dict)

    def remember(self, run: Run) -> None:
        """Keep the values, and what was said of them."""
        subjects = len(subjects_of(self.site.nodes, self.site.gpus))
        self.runs.append(PastRun(f"run{len(self.runs)}", f"2026-01-{len(self.runs) + 1:02d}", "", "simulated"))
        for column in run.values:
            value = np.full(subjects, np.nan)
            value[column.subject] = column.value
            said = np.zeros(subjects, np.uint8)
            for answer in run.answers:
                if answer.key == column.key:
                    coded = np.array([_REMEMBERED.get(code, 1) for code in answer.outcome.tolist()], np.uint8)
                    said[answer.subject] = np.maximum(said[answer.subject], coded)
            value[np.isin(said, SUSPECT)] = np.nan
            self.values.setdefault(column.key, []).append(value)
            self.outcomes.setdefault(column.key, []).append(said)

    def past(self) -> Past:
        """For the judge."""
        return Past(
            tuple(self.runs),
            tuple(subject_id(subject) for subject in subjects_of(self.site.nodes, self.site.gpus)),
            {key: np.stack(rows) for key, rows in self.values.items()},
            {key: np.stack(rows) for key, rows in self.outcomes.items()},
        )


def run_of(fleet: Fleet, faults: Sequence[Fault], rule: PeerRule | None = None, memory: Memory | None = None) -> Run:
    """Measure, judge, measure the checks of suspects again, judge.

    Args:
        fleet: that is measured.
        faults: that it has now.
        rule: how peers are compared; None: as suites do.
        memory: its earlier runs; None: nothing is asked of the past.
    """
    site, present = fleet.site, fleet.present()
    plan = _plan(site.nodes, site.gpus, rule or PeerRule())
    blocks = fleet.launch(list(SPREADS), left_of(faults, site, fleet.rng))
    launches: list[Mapping[str, Floats]] = [blocks]
    begin = time.process_time()
    while True:
        evidence = _evidence(plan, site, launches, present)
        values = values_of(evidence.samples, catalogue())
        alike = _alike(site.nodes, site.gpus)
        answers, _ = judge_against_peers(evidence, values, alike)
        again = checks_again(plan.suite.peers, answers, len(launches) - 1)
        if not again:
            break
        names = [name for name, spread in SPREADS.items() if MetricKey.parse(spread.key).check_name in again]
        launches.append(fleet.launch(names, left_of(faults, site, fleet.rng)))
    if memory is not None and memory.runs:
        answers = [*answers, *judge_against_history(evidence, values, alike, memory.past())[0]]
    judge_s = time.process_time() - begin
    kept = {name: np.where(present[name][:, None], value, np.nan) for name, value in blocks.items()}
    first = {name: np.median(value, axis=1) for name, value in kept.items()}
    return Run(values, first, kept, answers, len(launches), judge_s)


@lru_cache(maxsize=1)
def catalogue() -> dict[str, dict[str, Metric]]:
    """The declared metrics that are simulated; statistic and floors are theirs."""
    return checks.catalogue(_checks())


_SHORT = {spread.key: name for name, spread in SPREADS.items()}


def _checks() -> list[str]:
    return sorted({MetricKey.parse(spread.key).check_name for spread in SPREADS.values()})


@lru_cache(maxsize=8)
def _plan(nodes: int, gpus: int, rule: PeerRule) -> Plan:
    suite = Suite("simulated", "A simulated fleet.", tuple(CheckSpec(name) for name in _checks()), peers=rule)
    return Plan(
        run_id="simulated", created_at="", version="", commit="", launcher="",
        request=Request(nodes=nodes, gpus_per_node=gpus), suite=suite, image=Image(), start_deadline_s=0.0,
    )  # fmt: skip


@lru_cache(maxsize=8)
def _alike(nodes: int, gpus: int) -> Alike:
    return alike_of(subjects_of(nodes, gpus))


def _evidence(
    plan: Plan, site: Site, launches: Sequence[Mapping[str, Floats]], present: Mapping[str, npt.NDArray[np.bool_]]
) -> Evidence:
    return Evidence(
        plan=plan, nodes=(), steps=(), rank_starts=(), records=(), samples=table_of(site, launches, present), events=(),
    )  # fmt: skip
