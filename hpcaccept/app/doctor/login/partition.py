"""Whether the partition exists, is up, has enough usable nodes, and allows a run of this length."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from hpcaccept.app.doctor import fitting
from hpcaccept.app.doctor.fitting import Seen, chosen
from hpcaccept.errors import LaunchError
from hpcaccept.launch.job.driver import time_limit_s
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.parse.slurm.nodes import parse_nodes, parse_reservations
from hpcaccept.parse.slurm.site import Partition, parse_partitions
from hpcaccept.report.phrases import counted, fold
from hpcaccept.transport.slurm import ask_slurm, users_groups
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.node import NodeState

PLACE = 20
NEEDS = {"sbatch"}


def ask(case: Case) -> Seen:
    """Three questions to the controller."""
    return Seen(
        tuple(parse_partitions(_said("partition"))),
        tuple(parse_nodes(_said("node"))),
        tuple(parse_reservations(_said("reservation"))),
        users_groups(),
        {name: os.environ[name] for name in ("SBATCH_PARTITION", "SBATCH_RESERVATION") if name in os.environ},
    )


def _said(what: str) -> str:
    done = ask_slurm(["scontrol", "-o", "show", what], timeout_s=60.0, seconds=True)
    if not done.ok:
        raise LaunchError(f"scontrol show {what}: {done.stderr.strip()[:300]}", "Is the scheduler up?")
    return done.stdout


def judge(case: Case, seen: Seen) -> list[Finding]:
    """The partition, the reservation, its nodes, its time limit."""
    request = case.request
    mine = chosen(request, seen)
    unknown = sorted(set(fitting.partitions_named(request, seen)) - {p.name for p in seen.partitions})
    if unknown or not mine:
        usable = [p for p in seen.partitions if p.open_to(seen.groups)]
        known = ", ".join(p.name for p in usable) or "any"
        found = f"there is no {', '.join(map(repr, unknown))}" if unknown else "Slurm has no default partition"
        return [Finding("partition", "wrong", found, f"one of {known}", "--partition NAME", stops=True)]
    return [
        *_states(mine),
        *_closed(mine, seen),
        *_accounts(case, mine),
        *(_reservation(case, seen) or _nodes(case, seen, mine)),
        *_time(case, mine),
    ]


def _closed(mine: list[Partition], seen: Seen) -> list[Finding]:
    """Partitions of others. Slurm asks its own machines for groups, so it has the last word."""
    usable = ", ".join(p.name for p in seen.partitions if p.open_to(seen.groups)) or "none"
    return [
        Finding(
            "partition",
            "wrong",
            f"{p.name} is for root alone" if p.root_only else f"{p.name} is for the groups {', '.join(p.groups)}",
            f"one of {usable}",
            "--partition NAME",
        )
        for p in mine
        if not p.open_to(seen.groups)
    ]


def _reservation(case: Case, seen: Seen) -> list[Finding]:
    unknown = sorted(set(fitting.reservations_named(case.request, seen)) - {r.name for r in seen.kept})
    if not unknown:
        return []
    known = ", ".join(sorted({r.name for r in seen.kept}))
    found = f"there is no {', '.join(map(repr, unknown))}"
    expected, remedy = f"one of {known}" if known else "none: there is no reservation", "--slurm reservation=NAME"
    return [Finding("reservation", "wrong", found, expected, remedy if known else "Leave it out", stops=True)]


def _states(mine: list[Partition]) -> list[Finding]:
    found = []
    for partition in mine:
        up = partition.state == "UP"
        remedy = f"--partition OTHER, or: scontrol update partitionname={partition.name} state=up"
        text = f"{partition.name} is {partition.state.lower()}"
        found.append(
            Finding("partition", "ok" if up else "wrong", text, "" if up else "up", "" if up else remedy, stops=not up)
        )
    return found


def _accounts(case: Case, mine: list[Partition]) -> list[Finding]:
    """Partitions that do not take the account; which one is taken where none is named, is not known here."""
    asked = case.request.account
    found = []
    for partition in mine:
        if asked and ((partition.accounts and asked not in partition.accounts) or asked in partition.closed_to):
            text = f"{partition.name} does not take account {asked}"
            expected = f"one of {', '.join(partition.accounts)}" if partition.accounts else "another"
            found.append(
                Finding("partition", "wrong", text, expected, "--account NAME, or another --partition", stops=True)
            )
    return found


def _nodes(case: Case, seen: Seen, mine: list[Partition]) -> list[Finding]:
    request, wanted = case.request, case.request.nodes
    meant = fitting.candidates(request, seen)
    good = [node for node in meant if fitting.usable(request, seen, node)]
    bad = [node for node in meant if not fitting.usable(request, seen, node)]
    strangers = sorted(fitting.expanded(request.nodelist) - {node.name for node in meant})
    names = ",".join(partition.name for partition in mine)
    if strangers:
        found, remedy = f"{fold(strangers)} not in {names}", f"sinfo -N -p {names}"
        return [Finding("nodes", "wrong", found, "nodes of the partition", remedy, stops=True)]
    most = min((p.most_nodes for p in mine if p.most_nodes is not None), default=None)
    if most is not None and wanted > most:
        return [Finding("nodes", "wrong", f"at most {most} to a job", f"{wanted}", f"--nodes {most}", stops=True)]
    idle = sum(node.flags[:1] == ("IDLE",) for node in good)
    text = f"{len(good)} of {counted(len(meant), 'node')} can be used, {idle} idle"
    told = f"{text}; {fitting.reasons(bad)}" if bad else text
    if len(good) < wanted:
        later = sum(fitting.comes_back(request, seen, node) for node in bad)
        fits, in_time = _what_fits(case, good), len(good) + later >= wanted
        remedy = f"{fits}sinfo -R -p {names}    # why the others cannot"
        return [Finding("nodes", "wrong", told, f"{wanted}", remedy, stops=True, passes=in_time)]
    if bad:
        return [Finding("nodes", "warning", told, f"{wanted}", f"sinfo -R -p {names}    # why the others cannot")]
    if idle < wanted:
        return [Finding("nodes", "warning", text, f"{wanted} idle", "The job waits: squeue --start")]
    return [Finding("nodes", "ok", text, f"{wanted}")]


def _what_fits(case: Case, good: list[NodeState]) -> str:
    """The options with which the request could have the nodes that there are."""
    if not good:
        return ""
    only = f"--nodelist {fold(sorted(node.name for node in good))}" if case.request.nodelist else f"--nodes {len(good)}"
    return f"{only}; with the others, once they are in service again: "


def _time(case: Case, mine: list[Partition]) -> list[Finding]:
    most_s = min((p.most_s for p in mine if p.most_s is not None), default=None)
    if case.plan is None:
        return []
    needed_s = time_limit_s(case.plan)
    whose = "asked for" if case.request.time_s else f"suite {case.plan.suite.name} at most"
    expected = f"{show_duration(needed_s)} ({whose})"
    if most_s is None:
        return [Finding("time limit", "ok", "none", expected)]
    # The job is submitted in whole minutes.
    if math.ceil(needed_s / 60) * 60 <= most_s:
        return [Finding("time limit", "ok", show_duration(most_s), expected)]
    remedy = f"--time {int(most_s // 60)} and a shorter --suite, or another --partition"
    return [Finding("time limit", "wrong", f"{show_duration(most_s)} at most", expected, remedy)]
