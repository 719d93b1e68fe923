"""Reports a broken machine to Azure, once, and follows the report to Azure's last answer.

The report is written down before it is sent, under an identity of its own: whoever is interrupted goes on with the same report.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.bounded import read_bytes
from hpcaccept.errors import UsageError, nearest
from hpcaccept.provider.azure import health_report
from hpcaccept.provider.azure.template import as_text
from hpcaccept.serial import loads
from hpcaccept.store.replaced_files import replace_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcaccept.app.azure.session import Session
    from hpcaccept.provider.azure.health_report import Insight
    from hpcaccept.provider.azure.nodes import Node

_LOOK_S = 30.0


@dataclass(frozen=True)
class Report:
    """A report that was written down.

    Attributes:
        identity: by which Azure knows it.
        body: that is, or was, sent.
        file: where it stands.
        node: name of the node; empty in a file of an older hpcaccept.
    """

    identity: str
    body: dict[str, Any]
    file: Path
    node: str = ""


def node_called(nodes: Sequence[Node], name: str) -> Node:
    """The node of that name, of the last ``hosts``.

    Raises:
        UsageError: there is none.
    """
    found = next((node for node in nodes if node.name == name), None)
    if found is None:
        raise UsageError(
            f"There is no node {name!r}. {nearest(name, [node.name for node in nodes])}", "hpcaccept azure hosts CONFIG"
        )
    return found


def write_down(folder: Path, node: str, body: dict[str, Any]) -> Report:
    """Keep a report in the cluster's folder before it is sent."""
    identity = str(uuid.uuid4())
    name = f"report-{node}-{identity}.json"
    replace_files({name: as_text({"identity": identity, "node": node, "body": body}).encode()}, folder)
    return Report(identity, body, folder / name, node)


def read_report(file: Path) -> Report:
    """A report that was written down.

    Raises:
        UsageError: the file is none.
    """
    try:
        found = loads(read_bytes(file, follow=True, most=1024 * 1024))
        return Report(str(uuid.UUID(str(found["identity"]))), dict(found["body"]), file, str(found.get("node", "")))
    except OSError as fault:
        raise UsageError(f"Cannot read {file}: {fault.strerror}.") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{file} is not a report of hpcaccept azure report-host.") from None


def send(session: Session, report: Report) -> None:
    """Send a report; again is the same report.

    Raises:
        AzureRefused: with what Azure said.
    """
    session.send(
        health_report.send(session.subscription, report.identity, report.body),
        otherwise="The subscription must be enrolled in Guest Health Reporting, and you need the role Impact Reporter.",
    )


def follow(
    session: Session,
    report: Report,
    deadline_s: float,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Insight | None:
    """Tell each answer once, until Azure's last one or the deadline; gives the last one, None when it did not come."""
    until, told = time.monotonic() + deadline_s, 0
    while True:
        found = health_report.insights_of(session.every(health_report.insights(session.subscription, report.identity)))
        for each in found[told:]:
            say(f"{each.time}  {each}")
        told = len(found)
        last = next((each for each in reversed(found) if each.final), None)
        if last or time.monotonic() + _LOOK_S > until:
            return last
        sleep(_LOOK_S)
