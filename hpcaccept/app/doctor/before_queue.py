"""Refuses before the queue what the doctor can see from this machine to be impossible: what would wait for ever, or start for nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hpcaccept.app.doctor.case import Case
from hpcaccept.app.doctor.login import gres, image, partition
from hpcaccept.errors import LaunchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcaccept.model.doctor.finding import Finding
    from hpcaccept.model.plan import Plan
    from hpcaccept.store.folder import RunFolder

#: The image first: it needs no scheduler. Accounts and time limits are the scheduler's to refuse, which it does at once.
_LOOKS = (image, partition, gres)


def must_fit(plan: Plan, folder: RunFolder) -> None:
    """Refuse a run that cannot begin as things stand. What ends by itself (a reservation, other jobs) is waited for.

    Raises:
        LaunchError: with what was found, what was expected, and what to type.
    """
    case = Case(plan.launcher, plan.request, plan.image, folder.path.parent, plan, quick=True)
    for finding in _findings(case):
        if finding.stops and not finding.passes:
            expected = f", expected {finding.expected}" if finding.expected else ""
            raise LaunchError(f"Nothing was submitted. {finding.look}: {finding.found}{expected}.", finding.remedy)


def _findings(case: Case) -> Iterator[Finding]:
    seen: dict[Any, Any] = {}
    for look in _LOOKS:
        if not case.traits.provides.issuperset(look.NEEDS) or (look.NEEDS and _is_elsewhere(case)):
            continue
        try:
            # Two looks may ask the same.
            seen[look.ask] = seen[look.ask] if look.ask in seen else look.ask(case)
        except (LaunchError, OSError):
            seen[look.ask] = None  # what cannot be seen from here, the scheduler will say
        if seen[look.ask] is not None:
            yield from look.judge(case, seen[look.ask])


def _is_elsewhere(case: Case) -> bool:
    """True for a job of another cluster than the one that answers here."""
    return "clusters" in case.request.slurm or "SLURM_CLUSTERS" in os.environ
