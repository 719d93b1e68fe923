"""What Azure would be told of the machine below a faulty node: the body of a Guest Health Report, not sent (``azure report-host`` sends)."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hpcaccept.app.azure.hosts import read_nodes
from hpcaccept.app.azure.report_host import node_called, read_report
from hpcaccept.app.bundle.sheets import faults_of, physical_hosts
from hpcaccept.errors import UsageError
from hpcaccept.model.metric_key import check_of
from hpcaccept.model.verdict import Outcome
from hpcaccept.provider.azure.health_report import GENERIC, body_of, category_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hpcaccept.app.bundle.sheets import Fault
    from hpcaccept.model.record import Record
    from hpcaccept.model.verdict import Verdict
    from hpcaccept.report.judged import Judged

_LONGEST = 500


def reported(file: Path, node: str) -> dict[str, Any]:
    """Identity and body of a report that was written down; one of another node would accuse the wrong machine.

    Raises:
        UsageError: it is none, or of another node.
    """
    report = read_report(file)
    if report.node != node:
        raise UsageError(
            f"{file} is a report of {report.node or 'a node that it does not name'}, expected {node}.",
            "hpcaccept azure report-host writes report-NODE-….json into the cluster's folder.",
        )
    return {"identity": report.identity, "body": report.body}


def proposed(cluster: Path, judged: Judged, fault: Fault, mine: Sequence[Verdict], now: datetime) -> dict[str, Any]:
    """The body, with the category that the finding's code has. The physical host is the one that was read before: by ``azure hosts``, and by the run.

    Args:
        cluster: folder of ``hpcaccept azure``.
        judged: the run.
        fault: whose it is.
        mine: verdicts on it.
        now: when it is reported.

    Raises:
        UsageError: no FAIL, no such node, its physical host is not known, or it ran on another one.
    """
    failed = [verdict for verdict in faults_of(mine) if verdict.outcome is Outcome.FAIL]
    if not failed:
        raise UsageError(f"Nothing of {fault} has failed in this run, so there is nothing to report to Azure.")
    node = node_called(read_nodes(cluster), fault.node)
    seen = physical_hosts(judged, fault.node)
    if seen and seen != [node.physical_host]:
        raise UsageError(
            f"{fault.node} ran on the machine {' and '.join(seen)}, and hosts has read {node.physical_host or 'none'}.",
            "The VM was moved, and its fault belongs to the machine that it ran on.",
        )
    named = [(category_of(v.code, check_of(v.check), v.variant), v) for v in failed]
    # The first that Azure has a word for.
    category, verdict = next((each for each in named if each[0] != GENERIC), named[0])
    part = next(
        (r for r in judged.evidence.records if _is_part(r, fault.node, verdict.subject.device or fault.device)), None
    )
    details = {} if part is None else {
        "serial": part.facts.get("gpu_serial", ""), "model": part.device_model, "location": part.facts.get("gpu_pci_bus_id", ""),
    }  # fmt: skip
    begun = datetime.fromisoformat(judged.evidence.plan.created_at.replace("Z", "+00:00"))
    said = f"{verdict.code}: {verdict.reason}"[:_LONGEST]
    return {"sent": False, "body": body_of(node, category, said, begun.astimezone(timezone.utc), now, details)}


def _is_part(record: Record, node: str, device: str) -> bool:
    return bool(device) and (record.node, record.device) == (node, device) and check_of(record.check) == "identity"
