"""How the nodes of a campaign stand, for node_exporter's textfile collector. The same names whatever ran: whoever runs a fleet hands in plain values."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from hpcaccept import __version__
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.openmetrics import Family, exposition

if TYPE_CHECKING:
    from collections.abc import Mapping


class Standing(NamedTuple):
    """What is known of a node; a plain tuple does as well.

    Attributes:
        verdict: the last one, a value of ``Outcome``; empty: none yet.
        accepted_at: when the node was accepted last, ISO 8601; empty: never.
        run: id of the run that gave the verdict; empty: none.
    """

    verdict: str
    accepted_at: str
    run: str


def campaign_metrics(
    campaign: str, nodes: Mapping[str, tuple[str, str, str]], counts: Mapping[str, int], at: str
) -> str:
    """The text of a file ``NAME.prom``.

    Args:
        campaign: its name; tells files of several campaigns apart.
        nodes: name → ``Standing``, of every node of the campaign: one that is left out raises no alarm.
        counts: how many nodes are in each state of the campaign (``waiting``, ``done``, ``never idle`` …).
        at: when that was so, ISO 8601.

    Raises:
        ValueError: a time is not ISO 8601.
    """
    mine = {"campaign": campaign}
    stands = {node: Standing(*standing) for node, standing in nodes.items()}
    families = (
        Family("campaign_info", "What the other numbers speak of.", [({**mine, "version": __version__}, 1)]),
        Family("campaign_timestamp_seconds", "When the campaign stood so.", [(mine, _seconds(at))], "seconds"),
        Family("campaign_nodes", "Nodes by their state in the campaign.", [({**mine, "state": state}, n) for state, n in counts.items()]),
        Family("campaign_node_info", "The run that a node's verdict is of.", [({**mine, "node": node, "run": stand.run}, 1) for node, stand in stands.items()]),
        Family("campaign_node_accepted", "1 when the last verdict of a node is PASS.", [({**mine, "node": node, "outcome": stand.verdict or Outcome.NOT_RUN.value}, stand.verdict == Outcome.PASS.value) for node, stand in stands.items()]),
        # Never accepted is 1970: an alert on the age has no node without a number.
        Family("campaign_node_accepted_timestamp_seconds", "When a node was accepted last; 0: never.", [({**mine, "node": node}, _seconds(stand.accepted_at)) for node, stand in stands.items()], "seconds"),
    )  # fmt: skip
    return exposition(families)


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() if at else 0.0
