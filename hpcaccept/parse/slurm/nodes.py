"""What scontrol and squeue say of nodes, partitions and what is planned for them. Text in, dataclasses out.

All times are seconds since the epoch: the commands are started with ``SLURM_TIME_FORMAT=%s``, so that no time zone and no
change of clocks comes in between. Seen with Slurm 22.05; https://slurm.schedmd.com/scontrol.html (25.05).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from hpcaccept.model.node import NodeState, Reserved, TakenOut, WaitingJob
from hpcaccept.parse.slurm.gres import parse_gpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: ``Key=value``; the further words of a value with blanks (``OS=Linux 6.1 #1 SMP``) are nothing that is needed here.
_PAIR = re.compile(r"(?:^|\s)([A-Za-z]\w*)=(\S*)")
#: Jobs that wait, as squeue's ``-o`` has to tell them; the comment last, which may hold anything.
WAITING = "%i|%S|%Y|%P|%D|%n|%x|%r|%V|%k"
#: ``Reason=bad DIMM [root@1795944475]``; newer versions let a comment follow.
_REASON = re.compile(r"\sReason=(?P<why>.*?)(?: \[(?P<by>[^\s@\[\]]+)@(?P<at>[^\s\]]+)\](?= [A-Z]\w*=|\s*$)|\s*$)")


def _fields(line: str) -> dict[str, str]:
    """The first of each name: what an administrator wrote into Reason= comes last and cannot change what stands before."""
    found: dict[str, str] = {}
    for key, value in _PAIR.findall(line):
        found.setdefault(key, value)
    return found


def parse_nodes(text: str) -> list[NodeState]:
    """From ``scontrol -o show node``. A line without a name or a state is left out."""
    lines = ((line, _fields(line)) for line in text.splitlines())
    return [_node(line, fields) for line, fields in lines if fields.get("NodeName") and fields.get("State")]


def _node(line: str, fields: dict[str, str]) -> NodeState:
    # "IDLE*" does not respond, "IDLE~" is powered down, "IDLE#" powers up …: the long flags stand beside them in scontrol,
    # but what carries a mark that is not known here is not plainly idle either.
    words = fields["State"].upper().split("+")
    marks = [f"MARK {word[-1]}" for word in words if not word[-1:].isalpha()]
    return NodeState(
        name=fields["NodeName"],
        flags=(*(re.sub(r"\W+$", "", word) for word in words), *marks),
        busy_cpus=int(fields["CPUAlloc"]) if fields.get("CPUAlloc", "").isdigit() else 0,
        gpus=parse_gpus(fields.get("Gres", "")),
        partitions=tuple(part for part in fields.get("Partitions", "").split(",") if part),
        out=_out(line),
    )


def _out(line: str) -> TakenOut | None:
    found = _REASON.search(line)
    if not found:
        return None
    # An administrator's own words: nothing that could steer a terminal, and no essay.
    why = "".join(c for c in found["why"].strip() if c.isprintable())[:200]
    return TakenOut(why, found["by"] or "", _seconds(found["at"] or "", math.nan))


def parse_default_partition(text: str) -> str:
    """From ``scontrol -o show partition``: the one with ``Default=YES``; empty when there is none."""
    return next((f["PartitionName"] for f in _lines(text, "PartitionName") if f.get("Default") == "YES"), "")


def parse_reservations(text: str) -> list[Reserved]:
    """From ``scontrol -o show reservation``. Reservations of licences alone, without nodes, are left out."""
    return [
        Reserved(
            fields["ReservationName"],
            _seconds(fields.get("StartTime", ""), -math.inf),
            _seconds(fields.get("EndTime", ""), math.inf),
            _names(fields.get("Nodes", "")),
        )
        for fields in _lines(text, "ReservationName")
        if _names(fields.get("Nodes", ""))
    ]


def parse_planned(text: str) -> list[Reserved]:
    """From ``squeue -h -t PD -o '%i|%S|%Y'``, and whatever follows: nodes on which Slurm means to start jobs that wait."""
    rows = (line.strip().split("|") for line in text.splitlines())
    found = [(row[0], _seconds(row[1], math.inf), _names(row[2])) for row in rows if len(row) >= 3]
    return [Reserved(f"job {job}", start, math.inf, nodes, for_job=True) for job, start, nodes in found if nodes]


def parse_waiting(text: str) -> list[WaitingJob]:
    """From ``squeue -h -t PD -o`` with ``WAITING``, in squeue's order: by partition, then the highest priority first."""
    last = WAITING.count("|")
    return [_waiting(row) for line in text.splitlines() if len(row := line.strip().split("|", last)) == last + 1]


def _waiting(row: Sequence[str]) -> WaitingJob:
    job, _, planned, partitions, nodes, named, excluded, reason, since, comment = row
    number = re.match(r"\d+", nodes)  # "1-2": it takes more where there is more
    return WaitingJob(
        id=job,
        partitions=tuple(partitions.split(",")),
        nodes=int(number[0]) if number else 1,
        reason=reason.strip("()"),
        since_s=_seconds(since, math.nan),
        named=_names(named),
        excluded=_names(excluded),
        planned=_names(planned),
        several="[" in job,
        comment="" if comment == "(null)" else comment,
    )


def parse_job_with(text: str, comment: str) -> str:
    """From ``squeue -h -o '%A|%k'``: number of the job whose comment has this word; empty when there is none."""
    rows = (line.strip().partition("|") for line in text.splitlines())
    return next((job for job, _, said in rows if comment in said.split()), "")


def _lines(text: str, key: str) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        fields = _fields(line)
        if fields.get(key):
            yield fields


def _seconds(word: str, otherwise: float) -> float:
    return float(word) if word.isdigit() else otherwise


def _names(folded: str) -> frozenset[str]:
    if folded in ("", "(null)"):
        return frozenset()
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException

    try:
        return frozenset(NodeSet(folded, resolver=RESOLVER_NOGROUP))
    except NodeSetException:
        return frozenset((folded,))
