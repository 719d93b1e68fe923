"""What is known of a run when it is judged: records, samples as columns, events, and what could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from hpcaccept.model.event import CANCELLED, Event
from hpcaccept.model.job import FROM_OUTSIDE, JobStatus
from hpcaccept.model.plan import Plan, Step
from hpcaccept.model.record import RankStarted, Record, UnreadableLine
from hpcaccept.model.record_table import RecordTable, record_table
from hpcaccept.model.table import SampleTable


@dataclass(frozen=True)
class Evidence:
    """Everything that a run left behind.

    Attributes:
        plan: what was asked for.
        nodes: names of the nodes of the job; as many as were asked for, when they are known.
        steps: that were launched.
        rank_starts: what each rank wrote when it started.
        records: without their samples, which are in the table.
        samples: of all records.
        events: of the driver.
        unreadable: lines of journals that cannot be read.
        imports_s: module → longest import of a rank in seconds.
        job: how the job ended, where the driver had no last word, or only that it was told to end.
        job_id: number of the job, as the scheduler or the launcher knows it; empty when nobody said.
    """

    plan: Plan
    nodes: tuple[str, ...]
    steps: tuple[Step, ...]
    rank_starts: tuple[RankStarted, ...]
    records: Sequence[Record]
    samples: SampleTable
    events: tuple[Event, ...]
    unreadable: tuple[UnreadableLine, ...] = ()
    imports_s: dict[str, float] = field(default_factory=dict)
    job: JobStatus | None = None
    job_id: str = ""

    @cached_property
    def record_table(self) -> RecordTable:
        """The records with their columns: what is counted is counted there."""
        return record_table(self.records)

    @property
    def last_word(self) -> Event | None:
        """The driver's ``ended``, when there is one."""
        return next((e for e in reversed(self.events) if e.kind == "ended"), None)

    @property
    def ended_from_outside(self) -> JobStatus | None:
        """What ended the job, where it was neither its own work nor its driver: a node that failed, a limit, somebody who cancelled it."""
        last = self.last_word
        if self.job and self.job.state in FROM_OUTSIDE and (last is None or last.detail == CANCELLED):
            return self.job
        return JobStatus("cancelled", CANCELLED, last.remedy) if last and last.detail == CANCELLED else None

    @property
    def cancelled(self) -> bool:
        """True when somebody, or a job of higher rank, ended it: what it would have found out nobody knows."""
        end = self.ended_from_outside
        return end is not None and end.state == "cancelled"

    @cached_property
    def shared_host(self) -> bool:
        """True when nodes of the run share one kernel: virtual nodes, which can only be compared roughly.

        Asked for each metric, of which a run has as many as nodes where these meet in pairs.
        """
        nodes_of: dict[str, set[str]] = {}
        for rank_started in self.rank_starts:
            if not rank_started.boot_id:
                continue  # not Linux: nothing is known of its kernel
            nodes_of.setdefault(rank_started.boot_id, set()).add(rank_started.node)
        return any(len(names) > 1 for names in nodes_of.values())

    @cached_property
    def in_turn(self) -> bool:
        """True when ranks outnumbered cores and measured one after another."""
        return any(rank_started.in_turn for rank_started in self.rank_starts)
