"""What does a step that has ended leave to do? Pure: journals and the launcher's words in, deaths and next steps out.

One crash costs one check. The ranks that died or stopped are told from those that were ended because of them:

1. the launcher's own words (``task 2: Killed``), where it has any;
2. else *the rank without a word*: whoever is ended by SIGTERM or waits in vain writes a last record, a killed or
   stopped one cannot (one that its MPI aborts cannot either, but Open MPI says which those are);
3. else, when everyone has spoken, those that saw a hole in their own time: they were stopped;
4. else those that were overdue themselves rather than waiting for others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept import checks
from hpcaccept.model.record import STOPPED, Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.model.plan import Step
    from hpcaccept.parse.rank_exits import Death


@dataclass(frozen=True)
class RankLogs:
    """What the ranks of a step have said.

    Attributes:
        spoke: rank → node, for every rank that left any word.
        records: of all ranks.
        finished: ranks that said everything they had to say.
        stopped: rank → last words outside a check (MPI start).
        aborted: ranks that their own MPI was about to abort.
    """

    spoke: dict[int, str]
    records: tuple[Record, ...]
    finished: frozenset[int]
    stopped: dict[int, tuple[str, bool]]
    aborted: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Loss:
    """Ranks that a step has lost.

    Attributes:
        ranks: the suspects; empty when nobody could be singled out.
        nodes: theirs.
        check: what was running, empty before the first.
        how: evidence, a sentence.
    """

    ranks: tuple[int, ...]
    nodes: tuple[str, ...]
    check: str
    how: str


def loss_of(step: Step, words: RankLogs, deaths: Sequence[Death], late: bool) -> Loss | None:
    """Who was lost in a step, or None when every rank finished."""
    complete = {(r.rank, r.check) for r in words.records if not r.cut_short}
    if len(words.finished) == step.ranks or len(complete) == step.ranks * len(step.checks):
        # Whoever dies after its last record takes nothing with it.
        return None
    broken = _broken_check(step, words)
    by_rank = {(r.rank, r.check): r for r in words.records}
    silent = [
        rank
        for rank in range(step.ranks)
        if rank not in words.finished and (rank, broken) not in by_rank and rank not in words.stopped
    ]
    # MPI aborts whoever finds a peer gone. Where nobody else is silent, it aborted that rank for a reason of its own.
    silent = [rank for rank in silent if rank not in words.aborted] or silent
    victims = {rank for rank, (_, by_peer) in words.stopped.items() if by_peer}
    victims |= {r.rank for r in words.records if r.check == broken and r.by_peer}
    told = {d.rank: d for d in deaths if d.rank not in victims and d.rank not in words.finished}
    # A launcher tells of everyone it ended; the first that left no word of its own is the root cause.
    first_told = next((d for d in deaths if d.rank in told and d.rank in silent), None)
    if first_told:
        same = sorted({d.rank for d in deaths if d.rank in silent and d.how == first_told.how})
        return _loss(step, words, same, broken, f"the launcher reports {first_told.how!r}")
    if silent:
        what = "the step ran out of time" if late else "the others were ended waiting"
        return _loss(step, words, silent, broken, f"left no word while {what}")
    # Who was stopped and woken says so; whoever waited for it inside a collective can only say that it was late.
    stopped = [r for r in words.records if r.check == broken and r.cause.startswith(STOPPED)]
    if stopped:
        return _loss(step, words, [r.rank for r in stopped], broken, stopped[0].cause)
    overdue = [r for r in words.records if r.check == broken and r.outcome == "error" and not r.by_peer]
    if overdue:
        # What happened to all of them alike singles nobody out: the check is over, and the rest goes on with everyone.
        suspects = [r.rank for r in overdue] if len(overdue) < step.ranks else []
        return _loss(step, words, suspects, broken, overdue[0].cause)
    told_cause = next(
        (cause for cause, by_peer in words.stopped.values() if not by_peer), "no rank could be singled out"
    )
    return _loss(step, words, [], broken, told_cause)


def _broken_check(step: Step, words: RankLogs) -> str:
    """The first check that some rank has not completed; empty when no rank has begun one.

    A rank that fails in a check of all ranks together ends the step there, on purpose, and leaves its record.
    """
    if not words.spoke:
        return ""
    cut_short = {r.check for r in words.records if r.cut_short}
    cut_short |= {r.check for r in words.records if r.outcome == "error" and checks.load(r.check).scope == "world"}
    for spec in step.checks:
        said = {r.rank for r in words.records if r.check == spec.name}
        if len(said) < step.ranks or spec.name in cut_short:
            begun = said or any(r.check == spec.name for r in words.records) or not words.stopped
            return spec.name if begun else ""
    return ""


def _loss(step: Step, words: RankLogs, ranks: Sequence[int], check: str, how: str) -> Loss:
    return Loss(tuple(ranks), node_names(step, words, ranks), check, how)


def narrowed(step: Step, words: RankLogs, loss: Loss, gone: Mapping[str, str]) -> Loss:
    """The loss where some of its nodes cannot be reached any more: they took the others with them.

    Args:
        step: that was lost.
        words: what its ranks have said.
        loss: with several nodes.
        gone: node → why it cannot be reached; empty: nothing is known.
    """
    ranks = [rank for rank in loss.ranks if node_names(step, words, [rank])[0] in gone]
    how = "; ".join(f"{node} {cause}" for node, cause in gone.items())
    return _loss(step, words, ranks, loss.check, how) if ranks else loss


def node_names(step: Step, words: RankLogs, ranks: Sequence[int]) -> tuple[str, ...]:
    """The nodes of ranks: as they said, else by elimination (a node that lacks ranks), else by block order."""
    heard: dict[str, int] = {}
    for node in words.spoke.values():
        heard[node] = heard.get(node, 0) + 1
    lacking = [node for node in step.nodes if heard.get(node, 0) < step.ranks_per_node]
    names = []
    for rank in ranks:
        block = step.nodes[min(rank // step.ranks_per_node, len(step.nodes) - 1)]
        guess = block if block in lacking or not lacking else lacking[0]
        told = words.spoke.get(rank, guess)
        # A name that is none of the step (a FQDN) would be struck from no list.
        names.append(told if told in step.nodes else guess)
    return tuple(dict.fromkeys(names))


def next_steps(step: Step, loss: Loss, struck: dict[str, int]) -> list[Step]:
    """What remains to be run after a loss.

    The broken check runs again without the suspects (their node is not measured in it), then the rest runs with
    everyone; a node that has cost two steps is left out of what follows. Ends: every step drops a check or a node.

    Args:
        step: that was lost.
        loss: what was lost.
        struck: node → how many steps it has cost, this one included.
    """
    order = [spec.name for spec in step.checks]
    fit = tuple(node for node in step.nodes if struck.get(node, 0) < 2)
    steps: list[Step] = []
    if loss.check:
        at = order.index(loss.check)
        healthy = tuple(node for node in fit if node not in loss.nodes)
        enough = len(healthy) >= (2 if checks.load(loss.check).scope == "world" else 1)
        if loss.nodes and enough:
            steps.append(replace(step, nodes=healthy, checks=(step.checks[at],)))
        rest = step.checks[at + 1 :]
    else:
        fit = tuple(node for node in fit if node not in loss.nodes) if loss.nodes else ()
        rest = step.checks
    if rest and fit:
        steps.append(replace(step, nodes=fit, checks=rest))
    return steps
