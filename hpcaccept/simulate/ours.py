"""Whom hpcaccept blames. The simulated run goes through the code that judges real runs, its retests included.

Nothing of the rule is written here: samples become values (``judge.statistics.aggregate``), are compared with the peers
(``judge.questions.peers``) and the past (``judge.questions.history``), and whoever either of them suspects is launched again
(``launch.job.retest.measured_again``) as often as the suite says.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept import checks
from hpcaccept.judge.questions.history import judge_against_history, suspected_by_past
from hpcaccept.judge.questions.peers import judge_against_peers
from hpcaccept.judge.statistics.aggregate import Values, values_of
from hpcaccept.judge.statistics.grouping import Alike, alike_of
from hpcaccept.judge.statistics.sensitivity import Sensitivity
from hpcaccept.launch.job.retest import measured_again
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
    from hpcaccept.model.table import MeasuredSubject
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
        sensitivity: what the comparison with the peers could see.
    """

    values: list[Values]
    first: dict[str, Floats]
    blocks: dict[str, Floats]
    answers: list[JudgedColumn]
    launches: int
    judge_s: float
    sensitivity: Sensitivity

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
    launches: dict[str, list[npt.NDArray[np.uint8]]] = field(default_factory=dict)

    def remember(self, run: Run, environment: str = "") -> None:
        """Keep the values, and what was said of them; the environment is that of today where it is empty."""
        self._begin(environment)
        for column in run.values:
            said = np.zeros(len(self._subjects), np.uint8)
            for answer in run.answers:
                if answer.key == column.key:
                    coded = np.array([_REMEMBERED.get(code, 1) for code in answer.outcome.tolist()], np.uint8)
                    said[answer.subject] = np.maximum(said[answer.subject], coded)
            self._keep(column.key, column.subject, column.value, said, column.launches)

    def fill(
        self,
        launches: Sequence[Mapping[str, Floats]],
        present: Mapping[str, npt.NDArray[np.bool_]],
        environment: str = "",
    ) -> None:
        """Keep a run that nobody judged: the best of its launches, as passed."""
        self._begin(environment)
        for name in launches[0]:
            best = np.max([np.median(launch[name], axis=1) for launch in launches], axis=0)
            first = 0 if SPREADS[name].scope == "device" else self.site.nodes * self.site.gpus
            rows, said = first + np.flatnonzero(present[name]), np.zeros(len(self._subjects), np.uint8)
            said[rows] = PASSED
            self._keep(SPREADS[name].key, rows, best[present[name]], said, len(launches))

    @property
    def _subjects(self) -> tuple[MeasuredSubject, ...]:
        return subjects_of(self.site.nodes, self.site.gpus)

    def _begin(self, environment: str) -> None:
        """One more run, a day after the one before."""
        at = f"2026-{1 + len(self.runs) // 28:02d}-{len(self.runs) % 28 + 1:02d}"
        self.runs.append(PastRun(f"run{len(self.runs)}", at, environment, "simulated"))

    def _keep(
        self,
        key: str,
        rows: npt.NDArray[np.integer],
        values: Floats,
        said: npt.NDArray[np.uint8],
        launches: npt.NDArray[np.int32] | int,
    ) -> None:
        """One metric of the run that was begun; what was suspect is no value that later runs are compared with.

        Args:
            key: of the metric.
            rows: int[n], subjects that were measured.
            values: float64[n], theirs.
            said: uint8[u], what was said of every subject.
            launches: int32[n] or one number, of how many launches each value is the best.
        """
        value, number = np.full(len(said), np.nan), np.zeros(len(said), np.uint8)
        value[rows], number[rows] = values, launches
        value[np.isin(said, SUSPECT)] = np.nan
        self.values.setdefault(key, []).append(value)
        self.outcomes.setdefault(key, []).append(said)
        self.launches.setdefault(key, []).append(number)

    def past(self) -> Past:
        """For the judge."""
        return Past(
            tuple(self.runs),
            tuple(subject_id(subject) for subject in self._subjects),
            {key: np.stack(rows) for key, rows in self.values.items()},
            {key: np.stack(rows) for key, rows in self.outcomes.items()},
            launches={key: np.stack(rows) for key, rows in self.launches.items()},
        )


def run_of(
    fleet: Fleet,
    faults: Sequence[Fault],
    rule: PeerRule | None = None,
    memory: Memory | None = None,
    measured: Sequence[str] = tuple(SPREADS),
) -> Run:
    """Measure, judge, measure the checks of suspects again, judge.

    Args:
        fleet: that is measured.
        faults: that it has now.
        rule: how peers are compared; None: as suites do.
        memory: its earlier runs; None: nothing is asked of the past.
        measured: short names of the metrics.
    """
    site, present = fleet.site, fleet.begin_run()
    plan = _plan(site.nodes, site.gpus, rule or PeerRule())
    blocks = fleet.launch(measured, left_of(faults, site, fleet.rng))
    launches: list[Mapping[str, Floats]] = [blocks]
    past = memory.past() if memory is not None and memory.runs else None
    begin = time.process_time()
    while True:
        evidence = _evidence(plan, site, launches, present)
        values = values_of(evidence.samples, catalogue())
        alike = _alike(site.nodes, site.gpus)
        answers, sensitivity = judge_against_peers(evidence, values, alike)
        suspects = suspected_by_past(evidence, values, alike, past) if past is not None else []
        again = measured_again(plan.suite.peers, [*answers, *suspects], alike, len(launches) - 1, shared_host=False)
        if again is None:
            break
        names = [name for name in measured if MetricKey.parse(SPREADS[name].key).check_name in again.checks]
        launches.append(_only(again.nodes, site, fleet.launch(names, left_of(faults, site, fleet.rng))))
    if past is not None:
        answers = [*answers, *judge_against_history(evidence, values, alike, past)[0]]
    judge_s = time.process_time() - begin
    kept = {name: np.where(present[name][:, None], value, np.nan) for name, value in blocks.items()}
    first = {name: np.median(value, axis=1) for name, value in kept.items()}
    return Run(values, first, kept, answers, len(launches), judge_s, sensitivity)


def _only(nodes: frozenset[int] | None, site: Site, launch: Mapping[str, Floats]) -> Mapping[str, Floats]:
    """A launch on some nodes: NaN for everybody else."""
    if nodes is None:
        return launch
    here = np.isin(np.arange(site.nodes), sorted(nodes))
    return {
        name: np.where(np.repeat(here, len(value) // site.nodes)[:, None], value, np.nan)
        for name, value in launch.items()
    }


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
