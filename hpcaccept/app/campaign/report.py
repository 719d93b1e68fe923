"""What a campaign has come to, over all its runs, in one report: for people, for programs (docs/reference/campaign.schema.json), a row for each node. Pure."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.report.phrases import counted, fold
from hpcaccept.report.printable import safe
from hpcaccept.serial import to_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcaccept.app.campaign.standing import Standing

SCHEMA = 1
#: What is said of a node that has no outcome.
NEVER_IDLE, MADE_ROOM, IN_TEST, GIVEN_UP = "never idle", "made room", "in test", "given up"
#: Nodes that are told one by one.
SHOWN = 20


@dataclass(frozen=True)
class FalseAlarms:
    """What is to be expected of a fleet in which all is well.

    Attributes:
        runs: that were judged.
        unrated: those of them whose limits state no rate.
        per_run: the largest rate that a run states; None where none does.
        any: chance that any of them blames anybody; None likewise. Runs are taken to be independent.
        expected: mean number of runs that do; None likewise.
    """

    runs: int
    unrated: int
    per_run: float | None
    any: float | None
    expected: float | None


@dataclass(frozen=True)
class NodeRow:
    """One node.

    Attributes:
        node: its name.
        outcome: its worst verdict; empty where it was not tested.
        state: ``tested``, or why it was not: ``never idle``, ``made room`` (it was idle, and each time somebody else needed it), ``in test``, ``given up``.
        tested_at: when the run was planned, UTC, ISO 8601; empty likewise.
        run: that tested it; empty likewise.
        reason: why it was not accepted, or not tested.
        accepted_before: when it was accepted last before the campaign; empty: never.
        tries: runs of it that were begun.
        made_room: those of them that came to nothing because somebody else needed its nodes.
    """

    node: str
    outcome: str
    state: str
    tested_at: str
    run: str
    reason: str
    accepted_before: str
    tries: int
    made_room: int


@dataclass(frozen=True)
class CampaignReport:
    """A campaign, now or when it was over.

    Attributes:
        campaign: its name.
        state: ``running``, ``paused``, ``stopping``, ``done``, ``expired`` or ``stopped``.
        began: UTC, ISO 8601.
        ended: likewise; empty while it goes on.
        until: when it ends at the latest.
        exit_code: 0: every node was accepted; 1: one has failed; else 3.
        partitions: that its nodes belong to.
        caps: partition → at most so many nodes at once.
        max_jobs: at most so many jobs at once; 0: no such limit.
        counts: outcome, or state of what was not tested → nodes.
        false_alarms: over all its runs.
        nodes: one row each, in the order of the scheduler.
        runs: that were judged: ``run``, ``at``, ``exit_code``, ``nodes``.
        withdrawn: that came to nothing: ``run``, ``nodes``, ``at``, ``kind``, ``reason``.
        notes: what else went wrong.
    """

    campaign: str
    state: str
    began: str
    ended: str
    until: str
    exit_code: int
    partitions: tuple[str, ...]
    caps: dict[str, int]
    max_jobs: int
    counts: dict[str, int]
    false_alarms: FalseAlarms
    nodes: tuple[NodeRow, ...]
    runs: tuple[dict[str, Any], ...] = ()
    withdrawn: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, state: str) -> tuple[str, ...]:
        """Names of the nodes in a state."""
        return tuple(row.node for row in self.nodes if row.state == state)


def report_of(standing: Standing, look: Mapping[str, Any] | None = None) -> CampaignReport:
    """The report of a campaign.

    Args:
        standing: of the campaign.
        look: what the last look at the cluster has found (``campaign.last_look``).
    """
    opened, look = standing.opened, look or {}
    nodes = tuple(_rows(standing, standing.closed.missing if standing.closed else look.get("missing", {})))
    return CampaignReport(
        campaign=opened.campaign,
        state=standing.state,
        began=standing.opened_at,
        ended=standing.closed_at,
        until=opened.until,
        exit_code=_exit_code(nodes),
        partitions=opened.partitions,
        caps=dict(opened.caps),
        max_jobs=opened.max_jobs,
        counts=dict(Counter(row.outcome or row.state for row in nodes).most_common()),
        false_alarms=false_alarms([run.false_alarm_rate for run in standing.concluded]),
        nodes=nodes,
        runs=tuple(
            {"run": run.run, "at": run.at, "exit_code": run.exit_code, "nodes": dict(run.nodes)}
            for run in standing.concluded
        ),
        withdrawn=tuple(
            {
                "run": one.run,
                "nodes": list(standing.nodes_of.get(one.run, ())),
                "at": at,
                "kind": one.kind,
                "reason": one.reason,
            }
            for at, one in standing.withdrawn
        ),
        notes=tuple(look.get("notes", ())),
    )


def false_alarms(rates: Iterable[float | None]) -> FalseAlarms:
    """The false-alarm rate of a campaign from those that its runs state."""
    all_ = list(rates)
    stated = [rate for rate in all_ if rate is not None]
    if not stated:
        return FalseAlarms(len(all_), len(all_), None, None, None)
    # 1 - Π(1 - r), without losing what is small.
    any_ = -math.expm1(math.fsum(math.log1p(-min(rate, 1 - 1e-12)) for rate in stated))
    return FalseAlarms(len(all_), len(all_) - len(stated), max(stated), any_, math.fsum(stated))


def _rows(standing: Standing, why: Mapping[str, str]) -> Iterable[NodeRow]:
    opened, tested, given_up, in_test = standing.opened, standing.tested, standing.given_up, standing.in_test
    room: Counter[str] = Counter()
    for _, one in standing.withdrawn:
        if one.kind in ("room", "preempted", "late"):
            room.update(standing.nodes_of.get(one.run, ()))
    tries = standing.tries
    for node in opened.nodes:
        found = tested.get(node)
        state = (
            "tested"
            if found
            else IN_TEST
            if node in in_test
            else GIVEN_UP
            if node in given_up
            else MADE_ROOM
            if tries[node]
            else NEVER_IDLE
        )
        yield NodeRow(
            node=node,
            outcome=found.outcome if found else "",
            state=state,
            tested_at=found.at if found else "",
            run=found.run if found else "",
            reason=found.reason if found else given_up.get(node, why.get(node, "")),
            accepted_before=opened.accepted.get(node, ""),
            tries=tries[node],
            made_room=room[node],
        )


def _exit_code(nodes: Iterable[NodeRow]) -> int:
    outcomes = {row.outcome for row in nodes}
    if "FAIL" in outcomes:
        return 1
    return 0 if outcomes == {"PASS"} else 3


def as_json(report: CampaignReport) -> str:
    """For programs: docs/reference/campaign.schema.json."""
    document = {"event": "hpcaccept.campaign", "schema": SCHEMA, "headline": headline(report), **to_plain(report)}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def headline(report: CampaignReport) -> str:
    """``done: 4 of 4 nodes tested, 3 accepted, 1 failed``."""
    tested = sum(row.state == "tested" for row in report.nodes)
    parts = [f"{tested:,} of {len(report.nodes):,} nodes tested", f"{report.counts.get('PASS', 0):,} accepted"]
    parts += [
        f"{count:,} {name}"
        for name, count in (
            ("failed", report.counts.get("FAIL", 0)),
            ("in doubt or not judged", tested - report.counts.get("PASS", 0) - report.counts.get("FAIL", 0)),
            (IN_TEST, report.counts.get(IN_TEST, 0)),
        )
        if count
    ]
    return f"{report.state}: {', '.join(parts)}"


def text(report: CampaignReport) -> str:
    """The whole campaign for people, without a line that could steer a terminal."""
    return "\n".join(safe(line) for line in _lines(report)) + "\n"


def _lines(report: CampaignReport) -> Iterable[str]:
    yield f"Campaign {report.campaign}: {headline(report)}"
    yield f"Began {_time(report.began)}; {f'ended {_time(report.ended)}' if report.ended else f'ends by {_time(report.until)}'}."
    caps = ", ".join(f"{cap} of {part}" for part, cap in report.caps.items())
    yield f"At once at most {caps}{f', in {report.max_jobs} jobs' if report.max_jobs else ''}."
    yield alarms_line(report.false_alarms)
    bad = [row for row in report.nodes if row.state == "tested" and row.outcome != "PASS"]
    if bad:
        yield ""
        yield f"Not accepted ({len(bad)})"
        order = {"FAIL": 0, "WARN": 2}
        for row in sorted(bad, key=lambda row: (order.get(row.outcome, 1), row.node))[:SHOWN]:
            yield f"  {row.node}: {row.outcome}{': ' if row.reason else ''}{row.reason}"
        if len(bad) > SHOWN:
            yield f"  and {len(bad) - SHOWN} more: report --format nodes"
    for state, title in (
        (NEVER_IDLE, "Never idle"),
        (MADE_ROOM, "Idle, but each time another job needed them"),
        (GIVEN_UP, "Given up"),
        (IN_TEST, "Being tested"),
    ):
        yield from _group(report, state, title)
    yielded = sum(one["kind"] == "room" for one in report.withdrawn)
    preempted = sum(one["kind"] == "preempted" for one in report.withdrawn)
    if yielded or preempted:
        yield ""
        yield f"Made room for users' jobs: {yielded + preempted} ({yielded} ended by hpcaccept, {preempted} preempted by the scheduler)"
    for note in report.notes:
        yield f"Note: {note}"
    yield f"Exit code {report.exit_code}."


def _group(report: CampaignReport, state: str, title: str) -> Iterable[str]:
    rows = [row for row in report.nodes if row.state == state]
    if not rows:
        return
    yield ""
    yield f"{title} ({len(rows)})"
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        by_reason.setdefault(row.reason, []).append(row.node)
    for reason, nodes in list(by_reason.items())[:SHOWN]:
        yield f"  {fold(sorted(nodes))}{f': {reason}' if reason else ''}"


def alarms_line(alarms: FalseAlarms) -> str:
    """What a healthy fleet has to expect, in a sentence."""
    if not alarms.runs:
        return "No run was judged yet."
    runs = counted(alarms.runs, "run")
    if alarms.any is None or alarms.per_run is None or alarms.expected is None:
        return f"False alarms: no rate can be stated; {runs} had limits that state none."
    more = f" {counted(alarms.unrated, 'run')} had limits that state none." if alarms.unrated else ""
    return (
        f"False alarms: {runs} at {alarms.per_run * 100:.2g} % each; in a healthy fleet the chance of blaming any node is "
        f"{alarms.any * 100:.2g} % ({alarms.expected:.2g} expected).{more}"
    )


def node_table(report: CampaignReport) -> str:
    """One line for each node, columns separated by tabs, with a head."""
    names = ("node", "state", "outcome", "tested_at", "run", "accepted_before", "tries", "made_room", "reason")
    lines = ["\t".join(names)]
    cells = ([" ".join(safe(str(getattr(row, name))).split()) or "-" for name in names] for row in report.nodes)
    lines += ["\t".join(row) for row in cells]
    return "\n".join(lines) + "\n"


def _time(text_: str) -> str:
    return f"{text_[:16].replace('T', ' ')} UTC"
