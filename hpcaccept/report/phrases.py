"""In which words do all reports say how a run ended, what is wrong, and where? Written once, without layout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcaccept.judge import Judgement
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.report.model import Summary

#: From what must be looked at first to what is well.
ORDER = (Outcome.FAIL, Outcome.ERROR, Outcome.WARN, Outcome.NOT_RUN, Outcome.NO_BASELINE, Outcome.PASS)
#: What a host may be called (RFC 1123, and underscores, which sites use). Other names are never folded or put into commands.
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")


@dataclass(frozen=True)
class Conclusion:
    """How a run ended.

    Attributes:
        word: ``ACCEPTED``, ``NOT ACCEPTED`` or ``NOT JUDGED``.
        sentence: what that means here.
    """

    word: str
    sentence: str


def conclusion(evidence: Evidence, judgement: Judgement, summary: Summary) -> Conclusion:
    """The verdict on the whole run, in one sentence."""
    asked = evidence.plan.request.nodes
    if judgement.exit_code == 0:
        return Conclusion("ACCEPTED", f"All that is required passed on {counted(asked, 'node')}.")
    failed = [node for node, outcome in summary.nodes.items() if outcome is Outcome.FAIL]
    if judgement.exit_code == 1:
        if not failed:
            return Conclusion("NOT ACCEPTED", "What all nodes did together failed; no single node is blamed.")
        verb = "is" if len(failed) == 1 else "are"
        return Conclusion("NOT ACCEPTED", f"{len(failed)} of {counted(asked, 'node')} {verb} not fit for work.")
    return Conclusion("NOT JUDGED", "Something that is required could not be judged; no node is blamed for that.")


def place_of(below: int, above: int) -> str:
    """``lowest``, ``3rd lowest``, ``highest``: where a value stands, seen from its nearer end.

    Args:
        below: how many are smaller.
        above: how many are larger.
    """
    rank, end = (below + 1, "lowest") if below <= above else (above + 1, "highest")
    ending = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return end if rank == 1 else f"{rank:,}{ending} {end}"


def counted(number: int, noun: str) -> str:
    """``1 node``, ``16,384 nodes``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Trouble:
    """What several subjects have in common: one thing to do.

    Attributes:
        outcome: of all of them.
        what: metric key or check; several, where a baseline is missing.
        verdicts: the worst first.
    """

    outcome: Outcome
    what: str
    verdicts: tuple[Verdict, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes, each once; empty when it speaks of all together."""
        return tuple(dict.fromkeys(v.subject.node for v in self.verdicts if v.subject.node))


def troubles(bad: Sequence[Verdict]) -> list[Trouble]:
    """Verdicts that ask for the same, together; in the order of the first of each."""
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for verdict in bad:
        groups.setdefault(_same(verdict), []).append(verdict)
    return [Trouble(vs[0].outcome, what_of(vs), tuple(sorted(vs, key=_badness))) for vs in groups.values()]


def _same(verdict: Verdict) -> tuple[str, ...]:
    if verdict.outcome is Outcome.NO_BASELINE:
        return (verdict.outcome.value, verdict.remedy)  # every number would say the same
    if verdict.value is None:
        # What was not measured has its cause for a reason, and that is what is in common, also of several checks.
        return (verdict.outcome.value, verdict.reason, verdict.remedy)
    origin = verdict.limit.origin if verdict.limit else ""
    return (verdict.outcome.value, verdict.check, verdict.metric, origin, verdict.remedy)


def what_of(verdicts: Sequence[Verdict]) -> str:
    """The metric key or check that several verdicts speak of, or how many."""
    keys = list(dict.fromkeys(verdict.key for verdict in verdicts))
    if len(keys) == 1:
        return keys[0]
    metrics = list(dict.fromkeys((v.check, v.metric) for v in verdicts))
    if len(metrics) == 1:
        check, metric = metrics[0]
        return f"{MetricKey.of(check, metric)}, {len(keys)} variants" if metric else check
    checks = list(dict.fromkeys(check for check, _ in metrics))
    some = f"{', '.join(checks[:6])}{' …' if len(checks) > 6 else ''}"
    return some if all(verdict.value is None for verdict in verdicts) else f"{some}, {len(keys)} kinds of numbers"


def _badness(verdict: Verdict) -> float:
    """How far outside of its limit, relative to it; the farthest is the smallest number."""
    limit, value = verdict.limit, verdict.value
    if limit is None or value is None:
        return 0.0
    bound = limit.lower if limit.lower is not None and value < limit.lower else limit.upper
    bound = limit.lower if bound is None else bound
    return -abs(value / bound - 1) if bound else -abs(value)


def fold(names: Iterable[str]) -> str:
    """``node[0-3,7]``; names that no host may have are listed as they are."""
    found = list(names)
    hosts = [name for name in found if is_host(name)]
    return ", ".join([*([folded(hosts)] if hosts else []), *(name for name in found if not is_host(name))])


def folded(hosts: list[str]) -> str:
    """Names of hosts in the notation that Slurm and ClusterShell share."""
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

    return str(NodeSet.fromlist(hosts, resolver=RESOLVER_NOGROUP))


def is_host(name: str) -> bool:
    """True for what can be a host's name, so that it means nothing else to ClusterShell, Slurm or a shell."""
    return len(name) <= 253 and _HOST.fullmatch(name) is not None
