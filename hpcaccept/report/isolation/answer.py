"""The answer of an isolation as every report tells it: one word, what was found with its code, and what each test showed. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.isolation import Conclusion
from hpcaccept.model.isolation_order import EndedIsolation, EndedRound, EndedTest, IsolationOrder
from hpcaccept.report.phrases import counted, folded, is_host
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcaccept.model.isolation import Fault, Missable, Suspicion

Word = Literal["FAULT FOUND", "NOTHING WRONG", "UNATTRIBUTED-AT-SCALE", "UNATTRIBUTED", "UNDECIDED", "NOT MEASURED"]
#: What each word exits with: 1 is blame and nothing else.
EXIT_CODES: Mapping[Word, int] = {
    "FAULT FOUND": 1,
    "NOTHING WRONG": 0,
    "UNATTRIBUTED-AT-SCALE": 3,
    "UNATTRIBUTED": 3,
    "UNDECIDED": 3,
    "NOT MEASURED": 3,
}
#: What is less probable is told to programs only.
_WORTH_TELLING = 0.05
#: Tests that are quoted of each suspicion, names in a sentence, and characters of what was seen.
_QUOTED, _NAMED, _LONGEST = 6, 8, 200
#: Names that a line of a test folds.
_FOLDED = 24
_KIND_CODES = {
    "node": FindingCode.ISOLATED_NODE,
    "link": FindingCode.ISOLATED_LINK,
    "leaf": FindingCode.ISOLATED_LEAF,
    "leaf_pair": FindingCode.ISOLATED_LEAF,
    "scale": FindingCode.UNATTRIBUTED_AT_SCALE,
}


@dataclass(frozen=True)
class IsolationAnswer:
    """Everything that a report of an isolation tells.

    Attributes:
        run_id: of the folder.
        order: what was asked.
        nodes: that were looked at.
        tests: that were run, in order; round 0 is what an earlier run has shown.
        rounds: that have ended.
        conclusion: of the judge.
        over_time: posterior of each node after each round.
        end: why there are no more rounds; None: it was ended from outside, or goes on.
        unreadable: lines of the journal that cannot be read.
        where: path of the folder.
    """

    run_id: str
    order: IsolationOrder
    nodes: tuple[str, ...]
    tests: tuple[EndedTest, ...]
    rounds: tuple[EndedRound, ...]
    conclusion: Conclusion
    over_time: tuple[Mapping[str, float], ...]
    end: EndedIsolation | None
    unreadable: int = 0
    where: str = ""

    @property
    def measured(self) -> tuple[EndedTest, ...]:
        """Tests that tell something."""
        return tuple(test for test in self.tests if test.kind != "not_run")


@dataclass(frozen=True)
class IsolationFinding:
    """One thing that was found, or may be.

    Attributes:
        code: of the table of findings.
        where: what it speaks of: a node, ``node1 – node2``, a leaf; empty: nobody in particular.
        posterior: probability that it is there; NaN where it has none.
        blamed: whether it is named.
        sentence: what was found.
        evidence: tests for and against, a line each.
        instead: what else could explain it.
        action: what to do.
        next_test: what would decide it; empty: it is decided.
    """

    code: FindingCode
    where: str
    posterior: float
    blamed: bool
    sentence: str
    evidence: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    action: str = ""
    next_test: str = ""


def word_of(answer: IsolationAnswer) -> Word:
    """How it ended."""
    conclusion = answer.conclusion
    if any(one.fault.kind != "scale" for one in conclusion.blamed):
        return "FAULT FOUND"
    if not answer.measured:
        return "NOT MEASURED"
    if conclusion.at_scale or any(one.fault.kind == "scale" for one in conclusion.blamed):
        return "UNATTRIBUTED-AT-SCALE"
    if conclusion.unattributed:
        return "UNATTRIBUTED"
    ended = answer.end is not None and answer.end.reason is not None
    sure = conclusion.nothing_wrong >= answer.order.until and not conclusion.missable.untested
    return "NOTHING WRONG" if ended and sure else "UNDECIDED"


def exit_code_of(answer: IsolationAnswer) -> int:
    """1 where somebody is blamed, 0 where nothing is wrong, else 3."""
    return EXIT_CODES[word_of(answer)]


def sentence_of(answer: IsolationAnswer) -> str:
    """What the word means here."""
    word, conclusion = word_of(answer), answer.conclusion
    spent = f"{counted(len(answer.measured), 'test')} in {counted(len(answer.rounds), 'round')}"
    if word == "FAULT FOUND":
        found = [name_of(one.fault) for one in conclusion.blamed if one.fault.kind != "scale"]
        return f"{_listed(found)} {'is' if len(found) == 1 else 'are'} to blame, after {spent}."
    if word == "NOTHING WRONG":
        return f"{counted(len(answer.nodes), 'node')} passed {answer.order.what} together, in {spent}. {missable_text(conclusion.missable)}"
    if word == "NOT MEASURED":
        why = next(
            (test.how for test in answer.tests if test.how), answer.end.text if answer.end else "no test has ended"
        )
        return f"No test has measured anything: {why[:_LONGEST]}. Nothing is said of any node."
    if word == "UNDECIDED":
        why = answer.end.text if answer.end else "it was ended before its last round"
        return f"No node is blamed after {spent}: {why}."
    smallest = fold_names(conclusion.unattributed) if conclusion.unattributed else ""
    if word == "UNATTRIBUTED-AT-SCALE":
        size = next((one.fault.size for one in conclusion.suspicions if one.fault.kind == "scale"), 0)
        grows = f"It fails in groups of about {size} nodes and more" if size else "It fails only in large groups"
        return f"{grows}, and no node or link explains that, after {spent}. Smallest set that failed: {smallest or 'none was kept'}."
    return f"What failed is explained by no node and no link that could be confirmed, after {spent}. Smallest set that failed: {smallest}."


def findings(answer: IsolationAnswer) -> list[IsolationFinding]:
    """What was found, the blamed first, then what is in doubt and worth telling."""
    tests = {test.test.id: test for test in answer.tests}
    found = [
        _finding(one, tests) for one in answer.conclusion.suspicions if one.blamed or one.posterior >= _WORTH_TELLING
    ]
    if word_of(answer) == "UNATTRIBUTED":
        names = fold_names(answer.conclusion.unattributed)
        sentence = f"{names} failed together, and no node or link of them could be confirmed as the reason"
        code = FindingCode.ISOLATION_UNATTRIBUTED
        found.append(
            IsolationFinding(code, names, math.nan, blamed=False, sentence=sentence, action=code.action_for(names))
        )
    return found


def _finding(one: Suspicion, tests: Mapping[str, EndedTest]) -> IsolationFinding:
    where = name_of(one.fault)
    sure = one.blamed or one.fault.kind == "scale"
    code = _KIND_CODES[one.fault.kind] if sure else FindingCode.ISOLATION_DOUBT
    lost = "" if math.isnan(one.fault.loss) else f", slower by about {one.fault.loss:.0%}"
    unsure = (
        ""
        if one.blamed
        else ("; not confirmed with another good partner" if not one.confirmed else "; not sure enough")
    )
    ask = one.next_test
    return IsolationFinding(
        code=code,
        where=where,
        posterior=one.posterior,
        blamed=one.blamed and one.fault.kind != "scale",
        sentence=f"{where}: {percent(one.posterior)} sure{lost}{unsure}",
        evidence=(*_told("for", one.evidence_for, tests), *_told("against", one.evidence_against, tests)),
        instead=tuple(f"{name_of(fault)} ({percent(posterior)})" for fault, posterior in one.instead),
        action=code.action_for(where),
        next_test=f"test {fold_names(ask)} together: hpcaccept isolate --run latest" if ask and not one.blamed else "",
    )


def _told(side: str, ids: Sequence[str], tests: Mapping[str, EndedTest]) -> Iterator[str]:
    for ident in ids[:_QUOTED]:
        if ident in tests:
            yield f"{side}: {test_text(tests[ident])}"
    if len(ids) > _QUOTED:
        yield f"{side}: {len(ids) - _QUOTED} more tests"


def test_text(test: EndedTest) -> str:
    """One test in a line."""
    who = some_names(test.test.nodes)
    went = f", first silent: {fold_names(test.silent)}" if test.silent else ""
    number = "" if test.value is None else f" at {test.value:.4g}"
    why = f" ({test.how[:_LONGEST]})" if test.how and test.kind != "passed" else ""
    return f"{test.test.id}: {who} {test.kind.replace('_', ' ')}{number}{went}{why}"


def name_of(fault: Fault) -> str:
    """What a fault is of."""
    if fault.kind == "scale":
        return f"groups of {fault.size} nodes and more"
    if fault.kind in ("link", "leaf_pair"):
        return f"{'leaves ' if fault.kind == 'leaf_pair' else ''}{' – '.join(fault.where)}"
    return f"{'leaf ' if fault.kind == 'leaf' else ''}{''.join(fault.where)}"


def percent(posterior: float) -> str:
    """A probability; neither 0 nor 100 % by rounding."""
    if 0.999 < posterior < 1:
        return "over 99.9 %"
    if 0 < posterior < 0.001:
        return "under 0.1 %"
    return f"{100 * posterior:.1f} %".replace(".0 %", " %")


def missable_text(missable: Missable) -> str:
    """How large a fault could have been missed."""
    seen = (
        f"A node that fails {missable.fail_share:.0%} of its tests would have been seen"
        if missable.fail_share <= 1
        else "Rare failures were not looked for"
    )
    slow = "" if math.isnan(missable.loss) else f", and one that is slower by {missable.loss:.0%}"
    left = f"; {percent(missable.fabric)} is left for links and switches, of which {missable.links_tested:.0%} of pairs were tested"
    return f"{seen}{slow} (19 times of 20){left}. Largest group that passed: {counted(missable.largest_group, 'node')}."


def excluded(answer: IsolationAnswer) -> str:
    """The blamed nodes, as ``--exclude`` takes them; empty where no node is blamed."""
    names = [name for one in answer.conclusion.blamed if one.fault.kind == "node" for name in one.fault.where]
    return fold_names(names)


def fold_names(names: Sequence[str]) -> str:
    """Names as Slurm writes them; what is no host's name is left as it is."""
    if all(is_host(name) for name in names) and names:
        return folded(list(names))
    return ", ".join(names)


def some_names(names: Sequence[str]) -> str:
    """The same of a few names; of more their number and the first."""
    if len(names) <= _FOLDED:
        return fold_names(names)
    return f"{fold_names(names[:_NAMED])} and {len(names) - _NAMED:,} more"


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(shown) + more


def time_text(answer: IsolationAnswer) -> str:
    """What the rounds took, and how much of it was not measuring."""
    if not answer.rounds:
        return ""
    whole = sum(one.wall_s for one in answer.rounds)
    beyond = sum(one.beyond_s for one in answer.rounds) / len(answer.rounds)
    return f"{show_duration(whole)} for {counted(len(answer.rounds), 'round')}, of which {beyond:.1f} s a round were launching and ending."
