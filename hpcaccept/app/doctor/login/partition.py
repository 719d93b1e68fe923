"""Is there such a partition, is it up, has it enough nodes that can be used, and does it allow a run to be so long?"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError
from hpcaccept.launch.job.driver import time_limit_s
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.model.node import NodeState
from hpcaccept.parse.slurm.nodes import parse_nodes
from hpcaccept.parse.slurm.site import Partition, parse_partitions
from hpcaccept.report.phrases import counted, fold
from hpcaccept.transport.process import ask as said
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case

PLACE = 20
NEEDS = {"sbatch"}
#: Flags of a node on which no job will start before somebody mends it.
#: https://slurm.schedmd.com/sinfo.html#SECTION_NODE-STATE-CODES (25.05); ``MARK *``: it does not respond.
_UNUSABLE = {"DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "FUTURE", "INVALID_REG", "MARK *",
             "NOT_RESPONDING", "NO_RESPOND", "UNKNOWN"}  # fmt: skip
_KEPT = {"MAINT", "RESERVED"}


@dataclass(frozen=True)
class Seen:
    """What Slurm says of its partitions and nodes."""

    partitions: tuple[Partition, ...]
    nodes: tuple[NodeState, ...]


def ask(case: Case) -> Seen:
    """Two questions to the controller."""
    return Seen(
        tuple(parse_partitions(_said("partition"))),
        tuple(parse_nodes(_said("node"))),
    )


def _said(what: str) -> str:
    done = said(["scontrol", "-o", "show", what], timeout_s=60.0, env={**os.environ, "SLURM_TIME_FORMAT": "%s"})
    if not done.ok:
        raise LaunchError(f"scontrol show {what}: {done.stderr.strip()[:300]}", "Is the scheduler up?")
    return done.stdout


def chosen(case: Case, seen: Seen) -> list[Partition]:
    """The partitions that the job would be submitted to: those named, else the default one."""
    named = [name for name in case.request.partition.split(",") if name]
    return [p for p in seen.partitions if (p.name in named if named else p.default)]


def candidates(case: Case, seen: Seen) -> list[NodeState]:
    """The nodes that could be meant, whatever their state."""
    names = {partition.name for partition in chosen(case, seen)}
    only, without = _expanded(case.request.nodelist), _expanded(case.request.exclude)
    mine = [node for node in seen.nodes if names & set(node.partitions) and node.name not in without]
    return [node for node in mine if node.name in only] if only else mine


def usable(case: Case, node: NodeState) -> bool:
    """True for a node on which a job of this request can start, sooner or later."""
    flags = set(node.flags)
    return not flags & _UNUSABLE and (not flags & _KEPT or "reservation" in case.request.slurm)


def _expanded(folded: str) -> set[str]:
    if not folded:
        return set()
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

    return set(NodeSet(folded, resolver=RESOLVER_NOGROUP))


def judge(case: Case, seen: Seen) -> list[Finding]:
    """The partition, its nodes, its time limit."""
    mine = chosen(case, seen)
    unknown = sorted(set(case.request.partition.split(",")) - {p.name for p in seen.partitions} - {""})
    if unknown or not mine:
        known = ", ".join(p.name for p in seen.partitions) or "any"
        found = f"there is no {', '.join(map(repr, unknown))}" if unknown else "Slurm has no default partition"
        return [Finding("partition", "wrong", found, f"one of {known}", "--partition NAME", stops=True)]
    return [*_states(mine), *_accounts(case, mine), *_nodes(case, seen, mine), *_time(case, mine)]


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
    wanted = case.request.nodes
    meant = candidates(case, seen)
    good = [node for node in meant if usable(case, node)]
    bad = [node for node in meant if not usable(case, node)]
    named = _expanded(case.request.nodelist)
    strangers = sorted(named - {node.name for node in meant})
    names = ",".join(partition.name for partition in mine)
    if strangers:
        found, remedy = f"{fold(strangers)} not in {names}", f"sinfo -N -p {names}"
        return [Finding("nodes", "wrong", found, "nodes of the partition", remedy, stops=True)]
    most = min((p.most_nodes for p in mine if p.most_nodes is not None), default=None)
    if most is not None and wanted > most:
        return [Finding("nodes", "wrong", f"at most {most} to a job", f"{wanted}", f"--nodes {most}", stops=True)]
    idle = sum(node.flags[:1] == ("IDLE",) for node in good)
    text = f"{len(good)} of {counted(len(meant), 'node')} can be used, {idle} idle"
    expected = f"{wanted}"
    out = f"sinfo -R -p {names}    # why the others cannot"
    states = f"{fold(sorted(n.name for n in bad))} {_words(bad)}"
    if len(good) < wanted:
        return [Finding("nodes", "wrong", f"{text}; {states}" if bad else text, expected, out, stops=True)]
    if bad:
        return [Finding("nodes", "warning", f"{text}; {states}", expected, out)]
    if idle < wanted:
        return [Finding("nodes", "warning", text, f"{expected} idle", "The job waits: squeue --start")]
    return [Finding("nodes", "ok", text, expected)]


def _words(bad: list[NodeState]) -> str:
    flags = {flag.lower().replace("mark *", "not responding") for node in bad for flag in node.flags}
    shown = flags & {flag.lower().replace("mark *", "not responding") for flag in _UNUSABLE | _KEPT}
    return "+".join(sorted(shown))


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
