"""A run with everything that follows from it: what every report format is handed."""

from __future__ import annotations

from dataclasses import dataclass

from hpcaccept.judge import Judgement
from hpcaccept.judge.statistics.aggregate import Values
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.history import Past
from hpcaccept.report.model import Summary


@dataclass(frozen=True)
class Judged:
    """A run that was judged.

    Attributes:
        evidence: everything known of the run.
        values: one number per metric and subject.
        judgement: the verdicts.
        summary: what stands on the first page.
        past: what the run was judged against of its own past; None: nothing was asked of the past.
        unkept: why the evidence could not be kept; empty: it is kept, or nobody has tried.
        where: path of the run folder; empty where a report does not lie in one.
    """

    evidence: Evidence
    values: list[Values]
    judgement: Judgement
    summary: Summary
    past: Past | None = None
    unkept: str = ""
    where: str = ""
