"""The report of a night for people and for programs, from one ``NightReport``. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from hpcaccept.app.nightly.changes import Change, Changes
from hpcaccept.report.phrases import folded, is_host
from hpcaccept.report.printable import safe
from hpcaccept.serial import to_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcaccept.model.nightly.night import Ended, LastTest

SCHEMA = 1
#: Nodes told one by one in a message; the rest is counted. All of them are in the reports of the runs.
SHOWN = 20
#: Characters of Slack's text field that are certainly shown. https://api.slack.com/reference/messaging/payload (2025)
_SLACK_CHARACTERS = 3000

_TITLES = {
    "failed": "newly bad",
    "unjudged": "could not be judged",
    "warned": "with a new warning",
    "recovered": "recovered",
    "still": "as bad as before",
}


@dataclass(frozen=True)
class NightReport:
    """Everything that is told of a night.

    Attributes:
        night: its name.
        host: that it ran on.
        exit_code: 0, 1 or 3.
        tested: nodes that were judged.
        changes: against what was known before.
        runs: folders of the runs.
        left_out: kind of reason → nodes of the partition that were not taken.
        nothing: why no node was tested; empty when some were.
        withdrawn: runs that came to nothing, with the reason.
        resumed: runs of an earlier night that was cut short, finished now.
        missed: nights of which nothing came and that were not reported yet, as people write times.
        stale: nodes that were not tested for too long.
        newly_stale: those of them that were not reported yet.
        stale_days: how long is too long.
        untold: news of earlier nights that could not be delivered.
        notes: what else went wrong.
    """

    night: str
    host: str
    exit_code: int
    tested: tuple[str, ...] = ()
    changes: Changes = field(default_factory=Changes)
    runs: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    nothing: str = ""
    withdrawn: tuple[tuple[str, str], ...] = ()
    resumed: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    newly_stale: tuple[str, ...] = ()
    stale_days: float = 30.0
    untold: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def is_news(report: NightReport, last: Ended | None) -> bool:
    """True when something is not as it was after the night before (of a first night: when something is wrong)."""
    code = last.exit_code if last else 0
    return (
        report.changes.any
        or bool(report.missed or report.newly_stale or report.untold)
        or report.exit_code != code
        or bool(report.nothing and last and not last.nothing)
    )


def headline(report: NightReport) -> str:
    """``2 newly bad, 1 recovered; 12 nodes tested``."""
    kinds = [(f.name, getattr(report.changes, f.name)) for f in fields(report.changes)]
    parts = [f"{len(found)} {_TITLES[name]}" for name, found in kinds if found]
    if report.missed:
        parts.append(f"{_counted(len(report.missed), 'night')} missed")
    if report.newly_stale:
        parts.append(f"{_counted(len(report.newly_stale), 'node')} not tested for {report.stale_days:g} days")
    what = f"no node tested ({report.nothing})" if report.nothing else f"{_counted(len(report.tested), 'node')} tested"
    return safe("; ".join(part for part in (", ".join(parts), what) if part))


def text(report: NightReport) -> str:
    """The whole night for people, without a line that could steer a terminal."""
    lines = [f"hpcaccept nightly on {report.host}: {headline(report)}", ""]
    for name, title in _TITLES.items():
        found: tuple[Change, ...] = getattr(report.changes, name)
        if found:
            lines += [f"{title.capitalize()} ({len(found)})", *_told(found, brief=name in ("still", "recovered")), ""]
    if report.untold:
        lines += ["Could not be delivered earlier", *(f"  {line}" for line in report.untold), ""]
    lines += list(_rest(report))
    lines.append(f"Exit code {report.exit_code}.")
    return "\n".join(safe(line) for line in lines) + "\n"


def _told(found: Sequence[Change], *, brief: bool) -> Iterable[str]:
    if brief:
        yield f"  {named(change.node for change in found)}"
        return
    for change in found[:SHOWN]:
        before = f" (was {change.before})" if change.before else ""
        yield f"  {change.node}: {change.now}{before}{': ' if change.reason else ''}{change.reason}"
    if len(found) > SHOWN:
        yield f"  and {len(found) - SHOWN} more: {named(change.node for change in found[SHOWN:])}"


def _rest(report: NightReport) -> Iterable[str]:
    for due in report.missed:
        yield f"Missed: no run came at {due}. Did cron run, and was this machine up?"
    if report.stale:
        new = f", {len(report.newly_stale)} of them new" if report.newly_stale else ""
        yield f"Not tested for {report.stale_days:g} days or longer ({len(report.stale)}{new}): {named(report.stale)}"
    for run, reason in report.withdrawn:
        yield f"Taken back: {run}: {reason}"
    for run in report.resumed:
        yield f"Finished now, after the night that began it was cut short: {run}"
    if report.left_out:
        yield "Not taken: " + ", ".join(f"{count} {why}" for why, count in report.left_out.items())
    for run in report.runs:
        yield f"Run: {run}"
    for note in report.notes:
        yield f"Note: {note}"


def news_lines(report: NightReport) -> tuple[str, ...]:
    """The news alone, one line each: what the next night tells when this one could not."""
    found = [*report.untold]
    for name, title in _TITLES.items():
        changes: tuple[Change, ...] = getattr(report.changes, name)
        if changes and name != "still":
            found.append(f"{report.night}: {title}: {named(change.node for change in changes)}")
    found += [f"{report.night}: missed {due}" for due in report.missed]
    if report.nothing:
        found.append(f"{report.night}: no node tested ({report.nothing})")
    return tuple(safe(line) for line in found)


def node_lists(tested: Mapping[str, LastTest]) -> dict[str, str]:
    """File name → one line for ``--exclude``: nodes by the last that is known of each, whichever run it was.

    A name that would mean something else in a command line is in none of them.
    """
    kinds: dict[str, list[str]] = {"bad": [], "good": [], "unjudged": []}
    for name, last in tested.items():
        if is_host(name):
            kinds["good" if last.outcome == "PASS" else "bad" if last.outcome == "FAIL" else "unjudged"].append(name)
    return {f"nodes-{kind}.txt": f"{folded(names)}\n" if names else "\n" for kind, names in kinds.items()}


def as_json(report: NightReport) -> dict[str, Any]:
    """For programs: every field of the report, its headline, and a name and version of the form."""
    return {"event": "hpcaccept.nightly", "schema": SCHEMA, "headline": headline(report), **to_plain(report)}


def as_slack(report: NightReport) -> dict[str, Any]:
    """``{"text": …}``, as Slack, Mattermost and others take it.

    The three characters that Slack gives a meaning are escaped, so that no node name can mention a channel.
    https://api.slack.com/reference/surfaces/formatting#escaping (2025)
    """
    told = text(report)
    if len(told) > _SLACK_CHARACTERS:
        told = told[:_SLACK_CHARACTERS].rpartition("\n")[0] + "\n…\n"
    return {"text": told.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


def named(nodes: Iterable[str]) -> str:
    """``node[01-04],node07``; what is not a host name stands behind them as it is."""
    found = sorted(set(nodes))
    hosts = [name for name in found if is_host(name)]
    return ", ".join((*([folded(hosts)] if hosts else []), *(name for name in found if not is_host(name))))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
