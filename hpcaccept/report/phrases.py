"""The words in which all reports say how a run ended, what is wrong, and where. Written once, without layout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.verdict import Outcome, Subject, Verdict, device_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hpcaccept.judge.statistics.sensitivity import Sensitivity, Sight
    from hpcaccept.report.judged import Judged

#: What the verdicts without a node are about.
EVERYBODY = "all nodes together"
#: Nodes that a sentence names: so many are folded at most (16,384 take a second), into so many characters; else the first few.
_FOLDED, _CHARACTERS, _FEW = 1024, 300, 16
#: Checks or metrics that a sentence names.
_LISTED = 6
#: What a host may be called (RFC 1123, and underscores, which sites use). Other names are never folded or put into commands.
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")


@dataclass(frozen=True)
class Conclusion:
    """How a run ended.

    Attributes:
        word: ``ACCEPTED``, ``NOT ACCEPTED`` or ``NOT JUDGED``.
        sentence: what that means here.
        bad_nodes: those that failed, folded; of very many the first few, and how many more there are.
    """

    word: str
    sentence: str
    bad_nodes: str = ""


def conclusion(judged: Judged) -> Conclusion:
    """The verdict on the whole run, in one sentence that names the nodes that failed."""
    asked, code = judged.evidence.plan.request.nodes, judged.judgement.exit_code
    if code == 0:
        passed = f"{asked:,} of {counted(asked, 'node')} passed all that is required."
        left_out = judged.summary.left_out
        if not judged.evidence.plan.request.gpus_per_node:
            passed += " No GPU was asked for, and none was tested."
        return Conclusion(
            "ACCEPTED", f"{passed} Not judged: {_listed(_in_words(judged, left_out))}." if left_out else passed
        )
    failed = [node for node, outcome in judged.summary.nodes.items() if outcome is Outcome.FAIL]
    if code == 1:
        if not failed:
            return Conclusion("NOT ACCEPTED", "What all nodes did together failed; no single node is blamed.")
        verb = "is" if len(failed) == 1 else "are"
        share = f"{len(failed):,} of {counted(asked, 'node')}"
        names = _some(failed)
        return Conclusion("NOT ACCEPTED", f"{names} {verb} not fit for work ({share}).", names)
    return Conclusion("NOT JUDGED", " ".join([*_what_is_missing(judged), "No node is blamed."]))


def _in_words(judged: Judged, names: Iterable[str]) -> list[str]:
    """Metrics by their titles; what is the name of a check stays."""
    titles = {str(MetricKey.parse(answer.key).bare): answer.metric.named() for answer in judged.judgement.table.answers}
    return [titles.get(name, name) for name in names]


def _what_is_missing(judged: Judged) -> Iterator[str]:
    """Why a run without a FAIL is not accepted, a sentence each."""
    if judged.unkept:
        yield f"The evidence could not be kept: {judged.unkept}"
    cover, nodes = judged.judgement.coverage, judged.summary.nodes
    if end := judged.evidence.ended_from_outside:
        yield f"The run was cut short: {end.sentence}."
    absent = cover.nodes_asked - len(nodes)
    if absent > 0:
        verb = "is" if absent == 1 else "are"
        yield f"{absent:,} of {counted(cover.nodes_asked, 'node')} that {'was' if absent == 1 else 'were'} asked for {verb} not in the job."
    doubtful = [node for node, outcome in nodes.items() if outcome is Outcome.WARN]
    if doubtful:
        yield f"{_some(doubtful)} {'is' if len(doubtful) == 1 else 'are'} in doubt (WARN)."
    required = [spec.name for spec in judged.evidence.plan.suite.checks if spec.required]
    gaps = {name: len(cover.gaps[name]) for name in dict.fromkeys(required) if name in cover.gaps}
    if gaps:
        where = [f"{name} on {counted(many, 'node')}" for name, many in gaps.items()]
        yield f"Not judged, or not all of it: {_listed(where)}."
    elif absent <= 0 and not doubtful:
        yield "Something that is required of all nodes together could not be judged."


#: What a question is called that compares.
ASKED = {"peers": "peers", "baseline": "the baseline", "history": "the own past"}
#: From this loss of a time on nobody would call it one that was looked for; of a rate, all is gone at 1.
_NOTHING_SEEN = 10.0


def stated_rate(sensitivity: Sensitivity) -> str:
    """Behind a number of comparisons: the false-alarm rate that they were set for, how many of them state none, and why it does not hold."""
    rate, unrated, tail = sensitivity.false_alarm_rate, sensitivity.unrated, sensitivity.tail
    if rate is None:
        return ""
    said = f", set to blame a healthy unit in {rate * 100:.2g} % of runs"
    if unrated:
        said += f"; {unrated:,} of them against exact limits, which state none"
    if tail:
        said += f"; these units differ by {tail}, for which this rate does not hold: what a healthy one of them may lose is a WARN, no FAIL"
    return said


def sight(kind: Sight) -> str:
    """``memory 2 % (2.9 %)``, ``links 2–4.1 % (2.9–5.5 %)``: the loss found half of the time, and the one found 19 times of 20."""
    nearly = _losses(kind, kind.nearly_all) if kind.nearly_all else "not known"
    return f"{kind.kind} {_losses(kind, kind.half)} ({nearly})"


def found_nearly_always(kinds: Iterable[Sight]) -> str:
    """``products 5.9 %, memory 2.9 %``: the smallest loss of each kind that is found 19 times of 20."""
    return ", ".join(
        f"{kind.kind} {_losses(kind, kind.nearly_all)}" if kind.nearly_all else f"{kind.kind} not known"
        for kind in kinds
    )


def _losses(kind: Sight, ends: tuple[float, float]) -> str:
    low, high = (_loss(kind, end) for end in ends)
    return low if low == high else f"{low.removesuffix(' %')}–{high}"


def _loss(kind: Sight, loss: float) -> str:
    """A share in percent; where not even the loss of everything would have been seen, that is said."""
    if loss >= (_NOTHING_SEEN if kind.kind == "latencies" else 1.0):
        return "none"
    return f"{loss * 100:.2g} %" if loss < 0.1 else f"{loss * 100:.0f} %"


def _listed(names: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}"


def _some(names: Sequence[str]) -> str:
    """All names folded, or the first few and how many more there are."""
    if len(names) <= _FEW:
        return fold(names)
    text = fold(names) if len(names) <= _FOLDED else ""
    return text if 0 < len(text) <= _CHARACTERS else f"{fold(names[:_FEW])} and {len(names) - _FEW:,} more"


def place_of(below: int, above: int) -> str:
    """``lowest``, ``3rd lowest``, ``highest``: where a value stands, seen from its nearer end.

    Args:
        below: how many are smaller.
        above: how many are larger.
    """
    rank, end = (below + 1, "lowest") if below <= above else (above + 1, "highest")
    ending = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return end if rank == 1 else f"{rank:,}{ending} {end}"


def place_name(subject: Subject) -> str:
    """``node3 GPU 0``, ``node3``; ``all nodes`` for all ranks together."""
    return f"{subject.node} {device_name(subject.device)}".rstrip() if subject.node else str(subject)


def counted(number: int, noun: str) -> str:
    """``1 node``, ``16,384 nodes``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Trouble:
    """What several subjects have in common: one thing to do.

    Attributes:
        outcome: of all of them.
        what: metric key or check; several, where a baseline is missing.
        verdicts: the worst first, never none.
    """

    outcome: Outcome
    what: str
    verdicts: tuple[Verdict, ...]

    @property
    def code(self) -> str:
        """What the finding is called (docs/reference/codes.md)."""
        return str(self.verdicts[0].code or "")

    @property
    def remedy(self) -> str:
        """What to do: about the node, or, where there are several, about each ``NODE``."""
        worst = self.verdicts[0]
        nodes = {verdict.subject.node for verdict in self.verdicts}
        general = worst.code is not None and len(nodes) > 1 and not _own_remedy(worst)
        return worst.code.action_for("") if worst.code and general else worst.remedy

    @property
    def where(self) -> tuple[str, ...]:
        """The one subject with its device, or the names of the nodes, each once; empty when it speaks of all together."""
        subjects = dict.fromkeys(v.subject for v in self.verdicts if v.subject.node)
        return (place_name(*subjects),) if len(subjects) == 1 else tuple(dict.fromkeys(s.node for s in subjects))

    @property
    def reason(self) -> str:
        """What is the matter, in the words of the worst, which is named where the others say something else."""
        worst = self.verdicts[0]
        if all(verdict.reason == worst.reason for verdict in self.verdicts):
            return worst.reason
        if not worst.outcome.is_judged:
            return f"for example {self._said_of(worst)}"
        several = any(verdict.subject != worst.subject for verdict in self.verdicts)
        return f"the worst, {self._said_of(worst)}" if several else f"the worst of {len(self.verdicts)}: {worst.reason}"

    @property
    def sentence(self) -> str:
        """What is the matter with what: a number's sentence begins with its name, anything else is named before it."""
        return f"{self._name}{self.reason}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """The same of each subject, where what is to be said of them differs."""
        first, *others = self.reasons
        return (f"{self._name}{first}", *others)

    @property
    def _name(self) -> str:
        named = self.verdicts[0].value is not None and self.outcome is not Outcome.NO_BASELINE
        return "" if named else f"{self.what}: "

    @property
    def reasons(self) -> tuple[str, ...]:
        """``reason``, or what is said of each subject, where that differs and is more than a missing baseline."""
        worst: dict[Subject, Verdict] = {}
        for verdict in self.verdicts:
            worst.setdefault(verdict.subject, verdict)
        alike = len({verdict.reason for verdict in self.verdicts}) == 1
        if alike or len(worst) == 1 or self.outcome is Outcome.NO_BASELINE:
            return (self.reason,)
        return tuple(map(self._said_of, worst.values()))

    def _said_of(self, verdict: Verdict) -> str:
        """``node3 GPU 0: …``, without what all have in common."""
        several = [place_name(verdict.subject)] if any(v.subject != verdict.subject for v in self.verdicts) else []
        # What was measured is named in the sentence about it.
        keys = [verdict.key] if verdict.value is None and any(v.key != verdict.key for v in self.verdicts) else []
        return f"{', '.join([*several, *keys])}: {verdict.reason}" if several or keys else verdict.reason


def troubles(bad: Sequence[Verdict]) -> list[Trouble]:
    """Verdicts that ask for the same, together.

    Args:
        bad: the worst first (``Summary.bad``); so are the troubles, and the verdicts of each.
    """
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for verdict in bad:
        groups.setdefault(_same(verdict), []).append(verdict)
    return [Trouble(vs[0].outcome, what_of(vs), tuple(vs)) for vs in groups.values()]


def _same(verdict: Verdict) -> tuple[str, ...]:
    said = (verdict.outcome.value, str(verdict.code or ""), _own_remedy(verdict))
    if verdict.outcome is Outcome.NO_BASELINE:
        return said  # every number would say the same
    if verdict.value is None:
        # What was not measured has its cause for a reason, and that is what is in common, also of several checks.
        return (*said, verdict.reason)
    origin = verdict.limit.origin if verdict.limit else ""
    return (*said, verdict.check, verdict.metric, origin)


def _own_remedy(verdict: Verdict) -> str:
    """What to do, where that is more special than what the code says for any node."""
    code = verdict.code
    return "" if code and verdict.remedy == code.action_for(verdict.subject.node) else verdict.remedy


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
    return some if all(verdict.value is None for verdict in verdicts) else f"{some}, {len(keys)} metrics"


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
