"""Shows where a campaign stands: progress, who is at it, what runs, what is missing. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.app.campaign.memory import instant_of
from hpcaccept.app.campaign.report import CampaignReport, headline, report_of
from hpcaccept.app.campaign.standing import Standing
from hpcaccept.report.phrases import fold
from hpcaccept.report.printable import safe
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from datetime import datetime

    from hpcaccept.store.night_lock import Held

#: Nobody is at a campaign whose last look is so old: cron comes every few minutes.
SILENT_S = 600.0


@dataclass(frozen=True)
class Status:
    """What is known at a moment.

    Attributes:
        standing: of the campaign.
        report: of it.
        attended: somebody is at it, or was a moment ago.
        owner: who holds the lock; empty: nobody.
        looked_s: seconds since the last look at the cluster; None: there was none.
        missing: node → why it is not taken.
    """

    standing: Standing
    report: CampaignReport
    attended: bool
    owner: str
    looked_s: float | None
    missing: Mapping[str, str]

    @property
    def exit_code(self) -> int:
        """That of the report when it is over; before, 3 where nobody is at it."""
        if self.standing.closed:
            return self.report.exit_code
        return 0 if self.attended else 3


def status_of(standing: Standing, held: Held, look: Mapping[str, Any], now: datetime) -> Status:
    """The sum of journal, lock and last look."""
    looked_s = max(0.0, (now - instant_of(look["at"])).total_seconds()) if look else None
    idle = standing.state == "paused" and not standing.open
    attended = not held.free or idle or (looked_s is not None and looked_s < SILENT_S)
    owner = str(held.owner) if held.owner and not held.free else ""
    return Status(standing, report_of(standing, look), attended, owner, looked_s, look.get("missing", {}))


def lines(status: Status) -> list[str]:
    """For people, without anything that could steer a terminal."""
    standing = status.standing
    found = [f"Campaign: {standing.opened.campaign}", f"State:    {headline(status.report)}"]
    if not standing.closed:
        nobody = f"none; go on: hpcaccept campaign resume {standing.opened.campaign}"
        found.append(f"Process:  {status.owner or ('none now, between two looks' if status.attended else nobody)}")
        ago = "never" if status.looked_s is None else f"{show_duration(status.looked_s)} ago"
        found.append(f"Look:     {ago}; ends by {standing.opened.until}")
    found += [f"Running:  {one.run} on {fold(one.nodes)}" for one in standing.open]
    bad = [row for row in status.report.nodes if row.outcome not in ("", "PASS")]
    found += [f"Bad:      {row.node}: {row.outcome}: {row.reason}" for row in bad[:20]]
    kinds = Counter(why.partition(":")[0] or "not looked at yet" for node, why in _missing(status).items())
    found += [f"Missing:  {count} {kind}" for kind, count in kinds.most_common()]
    found += [f"Note:     {note}" for note in status.report.notes]
    return [safe(line) for line in found]


def _missing(status: Status) -> dict[str, str]:
    if status.standing.closed:
        return dict(status.standing.closed.missing)
    return {node: status.missing.get(node, "") for node in status.standing.left}


def as_json(status: Status) -> str:
    """For programs."""
    standing = status.standing
    document = {
        "schema": 1,
        "campaign": standing.opened.campaign,
        "state": standing.state,
        "exit_code": status.exit_code,
        "attended": status.attended,
        "owner": status.owner or None,
        "looked_s": None if status.looked_s is None else round(status.looked_s, 1),
        "until": standing.opened.until,
        "counts": status.report.counts,
        "open_runs": [{"run": one.run, "nodes": list(one.nodes)} for one in standing.open],
        "tested": {node: found.outcome for node, found in standing.tested.items()},
        "missing": _missing(status),
    }
    return json.dumps(document, indent=1, ensure_ascii=False)
