"""Was a slow unit slow by itself? What somebody else was using cannot be blamed for its speed; wrong results still can.

A check says so with the fact ``DISTURBED`` of a record (``health``: a process of a former user is still on the GPU).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.model.record import DISTURBED
from hpcaccept.model.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict import Verdict

_COMPARED = ("peers", "baseline")


def without_disturbed(verdicts: Iterable[Verdict], evidence: Evidence) -> Iterable[Verdict]:
    """The verdicts; a rate that falls short on a disturbed device is an ERROR with the reason instead of a FAIL or WARN."""
    by = {(r.node, r.device): r.facts[DISTURBED] for r in evidence.records if DISTURBED in r.facts}
    for verdict in verdicts:
        why = by.get((verdict.subject.node, verdict.subject.device))
        blames = verdict.outcome in (Outcome.FAIL, Outcome.WARN)
        if why and blames and verdict.limit and verdict.limit.origin in _COMPARED:
            reason = f"{verdict.reason}; not blamed on it: {why}"
            yield replace(verdict, outcome=Outcome.ERROR, reason=reason, remedy="Clear the device, then run again.")
        else:
            yield verdict
