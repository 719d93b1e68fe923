"""What a step that has ended leaves to do. Pure: journals and the launcher's words in, deaths and next steps out.

One crash costs one check. The ranks that died or stopped are told from those that were ended because of them. These signs are asked in this order,
and the first that says anything decides (``_SIGNS``):

1. how the processes of ranks that had no reason to end did end, as their own parents wrote it down (``hpcaccept.rank.guard``);
2. else whether the launcher killed ranks on several nodes before they, or their parents, could say a word: that singles nobody out, and the check
   is tried once more with everyone;
3. else the rank without even a parent's line, where parents of others have written some;
4. else the launcher's own words (``task 2: Killed``), where it has any;
5. else *the rank without a word*: whoever is ended by SIGTERM or waits in vain writes a last record, a killed or
   stopped one cannot;
6. else, when everyone has spoken, those that saw a hole in their own time: they were stopped;
7. else, when a deadline ended it, those that had not entered the collective in which the others waited (torch's flight recorder);
8. else those that were overdue themselves rather than waiting for others.

What ranks and NCCL's RAS service have seen of a hang is added to the evidence of 3, 5, 6 and 7; it never overrules an earlier sign.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from hpcaccept import checks
from hpcaccept.launch.job.hang import earliest_wait, said_by_ras
from hpcaccept.model.plan import Step
from hpcaccept.model.record import CollectivesSeen, RankExited, Record
from hpcaccept.parse.rank_exits import Death

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Exit codes with which MPI libraries end ranks whose peer has died: 14 is Open MPI 5's (recorded from the 5.0.11 wheel under srun).
PEER_DIED = frozenset({14})
#: How launchers call the signals that end a rank for reasons of its own (``strsignal``; srun's word for the kernel's OOM killer).
_SIGNALLED = (
    "Killed",
    "Out Of Memory",
    "Segmentation fault",
    "Bus error",
    "Aborted",
    "Illegal instruction",
    "Floating point",
)
#: What srun says of a rank that got SIGKILL, whoever sent it.
_KILLED = "Killed"
#: Deaths by signal within this time of the first one have the same cause (a node out of memory kills several ranks).
TOGETHER_S = 1.0


@dataclass(frozen=True)
class RankLogs:
    """What the ranks of a step have said.

    Attributes:
        spoke: rank → node, for every rank that left any word.
        records: of all ranks.
        finished: ranks that said everything they had to say.
        stopped: rank → last words outside a check (MPI start).
        exits: rank → how its process ended, where its parent saw it end with anything but exit code 0.
        pids: rank → number of its process on its host.
        collectives: rank → how far it had come in its collectives when it was ended.
        ras: what NCCL's RAS service said of the job, as it came.
    """

    spoke: dict[int, str]
    records: tuple[Record, ...]
    finished: frozenset[int]
    stopped: dict[int, tuple[str, bool]]
    exits: dict[int, RankExited] = field(default_factory=dict)
    pids: dict[int, int] = field(default_factory=dict)
    collectives: dict[int, CollectivesSeen] = field(default_factory=dict)
    ras: str = ""


#: How ranks were lost: ``died``, their parent or the launcher says so; ``silent``, without a word; ``stopped``, a hole in their own time;
#: ``overdue``, by their own deadline; ``failed``, an error of the check; ``unreachable``, their host is; ``alike``, killed as all others were,
#: so that nobody is singled out; ``unknown``.
LossKind = Literal["died", "silent", "stopped", "overdue", "failed", "unreachable", "alike", "unknown"]


@dataclass(frozen=True)
class Loss:
    """Ranks that a step has lost.

    Attributes:
        ranks: the suspects; empty when nobody could be singled out.
        nodes: theirs.
        check: what was running, empty before the first.
        how: evidence, a sentence.
        kind: see ``LossKind``.
        by_signal: True when a suspect is known to have ended by a signal that nobody has sent to all.
    """

    ranks: tuple[int, ...]
    nodes: tuple[str, ...]
    check: str
    how: str
    kind: LossKind = "unknown"
    by_signal: bool = field(default=False, compare=False)


def loss_of(step: Step, words: RankLogs, deaths: Sequence[Death], late: bool) -> Loss | None:
    """Who was lost in a step, or None when every rank finished.

    Args:
        step: that has ended.
        words: what its ranks have said.
        deaths: as the launcher tells of them, in its order.
        late: True when the driver's own deadline ended it.
    """
    complete = {(r.rank, r.check) for r in words.records if not r.cut_short}
    if len(words.finished) == step.ranks or len(complete) == step.ranks * len(step.checks):
        # Whoever dies after its last record takes nothing with it.
        return None
    end = _End.of(step, words, deaths, late=late)
    return _with_witnesses(next(loss for sign in _SIGNS if (loss := sign(end)) is not None), words)


def _with_witnesses(loss: Loss, words: RankLogs) -> Loss:
    """The loss of ranks that hung, with what the others waited for and whom NCCL's RAS service missed."""
    if loss.kind not in ("silent", "stopped", "overdue"):
        return loss
    # Whoever was stopped in a collective waited in it too, and is not whom it kept waiting.
    others = {rank: seen for rank, seen in words.collectives.items() if rank not in loss.ranks}
    wait = earliest_wait(others)
    more = [str(wait) if wait else "", said_by_ras(words.ras, words.pids)]
    return replace(loss, how="; ".join(filter(None, (loss.how, *more))))


@dataclass(frozen=True)
class _End:
    """How a step has ended, and how its ranks stand to the check that broke.

    Attributes:
        step: that has ended.
        words: what its ranks have said.
        deaths: as the launcher tells of them.
        late: True when the driver's own deadline ended it.
        broken: the first check that some rank has not completed; empty when none was begun.
        mute: ranks without a word of the broken check.
        unharmed: ranks that have said all they had to say of the broken check, and nothing of being ended, there or in a later one.
        victims: ranks that say themselves that they were ended for another's sake.
    """

    step: Step
    words: RankLogs
    deaths: Sequence[Death]
    late: bool
    broken: str
    mute: tuple[int, ...]
    unharmed: tuple[int, ...]
    victims: frozenset[int]

    @classmethod
    def of(cls, step: Step, words: RankLogs, deaths: Sequence[Death], *, late: bool) -> _End:
        broken = _broken_check(step, words)
        of_broken = {r.rank for r in words.records if r.check == broken}
        whole = {r.rank for r in words.records if r.check == broken and r.outcome != "error"}
        ended = words.finished | words.stopped.keys()
        # Of any check: whoever has measured the broken one already waits in the next for the rank that has not.
        victims = {r.rank for r in words.records if r.by_peer}
        victims |= {rank for rank, (_, by_peer) in words.stopped.items() if by_peer}
        cut_short = {r.rank for r in words.records if r.cut_short}
        return cls(
            step=step,
            words=words,
            deaths=deaths,
            late=late,
            broken=broken,
            mute=tuple(rank for rank in range(step.ranks) if rank not in of_broken | ended),
            unharmed=tuple(rank for rank in range(step.ranks) if rank in whole - ended - cut_short),
            victims=frozenset(victims),
        )

    @property
    def exits(self) -> dict[int, RankExited]:
        """Of ranks that had no reason to end: how they did, where a parent saw it."""
        return {rank: self.words.exits[rank] for rank in (*self.mute, *self.unharmed) if rank in self.words.exits}

    @property
    def unseen(self) -> list[int]:
        """Mute ranks whose end no parent saw: a launcher that kills a rank takes its parent with it, a lost node has none left."""
        return [rank for rank in self.mute if rank not in self.words.exits]

    def loss(self, ranks: Sequence[int], how: str, kind: LossKind, *, by_signal: bool = False) -> Loss:
        """Of some ranks, in the broken check."""
        nodes = node_names(self.step, self.words, ranks)
        return Loss(tuple(ranks), nodes, self.broken, how, kind, by_signal)


def _seen_to_end(end: _End) -> Loss | None:
    """Ranks that ended by themselves, as their parents saw it.

    Who dies when its own record is written takes ranks with it whose record is not: their silence is no evidence against them.
    """
    ranks = _ended_by_themselves(end.exits)
    if not ranks:
        return None
    first = end.exits[ranks[0]]
    return end.loss(ranks, _ending(first), "died", by_signal=_is_killed(first))


def _ended_by_themselves(exits: Mapping[int, RankExited]) -> list[int]:
    """Of ranks that had no reason to end those that took the others with them; empty where only survivors are among them."""
    killed = {rank: end for rank, end in exits.items() if _is_killed(end)}
    if killed:
        first = min(end.at for end in killed.values())
        return [rank for rank, end in killed.items() if end.at <= first + TOGETHER_S]
    gave_up = {rank: end for rank, end in exits.items() if end.status > 0 and end.status not in PEER_DIED}
    if not gave_up:
        return []
    counts = Counter(end.status for end in gave_up.values())
    # Survivors end alike, whatever their MPI ends them with; the one that ended otherwise did so for itself.
    lonely = [rank for rank, end in gave_up.items() if counts[end.status] == 1]
    first_rank = min(gave_up, key=lambda rank: gave_up[rank].at)
    odd = lonely[0] if len(lonely) == 1 and len(counts) > 1 else first_rank
    return [rank for rank, end in gave_up.items() if end.status == gave_up[odd].status]


def _is_killed(end: RankExited) -> bool:
    """By a signal that nobody sends to all."""
    return end.status < 0 and end.status != -signal.SIGTERM


def _killed_alike(end: _End) -> Loss | None:
    """Nobody, where ranks on several nodes have nothing against them but that they were killed, as others were.

    Some libraries have the whole step killed within milliseconds (Open MPI 5 with Slurm's PMIx). On a busy machine that is sooner than the parent
    of the rank that died first, or the survivors, can write a line. Who came to no harm in the broken check may have died after its record, and
    those without one because of it. And Hydra (MPICH, Intel MPI) ends all ranks without a word of its own when one goes together with its parent.
    """
    killed = {d.rank for d in end.deaths if d.how == _KILLED}
    unseen = end.unseen
    suspects = [*unseen, *(rank for rank in end.unharmed if rank in killed and rank not in end.words.exits)]
    if not unseen or len(node_names(end.step, end.words, suspects)) < 2:
        return None
    without_a_word = len(unseen) == end.step.ranks and not end.deaths and not end.late
    survivors = end.victims | {rank for rank, seen in end.words.exits.items() if seen.status in PEER_DIED}
    # Also a survivor was killed, or all ranks were.
    with_survivors = len(suspects) == end.step.ranks or not killed.isdisjoint(survivors)
    if not without_a_word and not (end.broken and killed.issuperset(suspects) and with_survivors):
        return None
    return end.loss([], "the launcher killed all ranks before it could be seen which one was lost first", "alike")


def _unseen_among_seen(end: _End) -> Loss | None:
    """Only survivors ended under the eyes of a parent: who has not even that was lost with it."""
    return end.loss(end.unseen, _ending(None, late=end.late), "silent") if end.exits and end.unseen else None


def _told_by_the_launcher(end: _End) -> Loss | None:
    """A launcher tells of everyone it ended; the first that left no word of its own is the root cause."""
    suspects = set(end.unseen) - end.victims
    first = next((d for d in end.deaths if d.rank in suspects), None)
    if first is None:
        return None
    same = sorted({d.rank for d in end.deaths if d.rank in end.unseen and d.how == first.how})
    by_signal = any(word in first.how for word in _SIGNALLED)
    return end.loss(same, f"the launcher reports {first.how!r}", "died", by_signal=by_signal)


def _without_a_word(end: _End) -> Loss | None:
    return end.loss(end.unseen, _ending(None, late=end.late), "silent") if end.unseen else None


def _stopped(end: _End) -> Loss | None:
    """Who was stopped and woken says so; whoever waited for it inside a collective can only say that it was late."""
    stopped = [r for r in end.words.records if r.check == end.broken and r.interruption == "stopped"]
    return end.loss([r.rank for r in stopped], stopped[0].cause, "stopped") if stopped else None


def _absent(end: _End) -> Loss | None:
    """Who had not entered the collective in which the others waited: all are late then, and whose deadline passed first is chance."""
    late = [r for r in end.words.records if r.check == end.broken and r.outcome == "error" and not r.by_peer]
    wait = earliest_wait(end.words.collectives)
    if not wait or not wait.absent or not late or any(r.interruption != "deadline" for r in late):
        return None
    if len(wait.absent) > len(wait.waiting):
        return None
    return end.loss(wait.absent, "did not enter the collective that the others were in", "overdue")


def _overdue(end: _End) -> Loss | None:
    """Who ran into its own deadline, or into an error of the check."""
    overdue = [r for r in end.words.records if r.check == end.broken and r.outcome == "error" and not r.by_peer]
    if not overdue:
        return None
    # What happened to all of them alike singles nobody out: the check is over, and the rest goes on with everyone.
    suspects = [r.rank for r in overdue] if len(overdue) < end.step.ranks else []
    kind: LossKind = "overdue" if overdue[0].interruption == "deadline" else "failed"
    return end.loss(suspects, overdue[0].cause, kind)


def _nobody(end: _End) -> Loss:
    told = next((cause for cause, by_peer in end.words.stopped.values() if not by_peer), "")
    return end.loss([], told or "no rank could be singled out", "unknown")


#: In the order in which they are asked.
_SIGNS: tuple[Callable[[_End], Loss | None], ...] = (
    _seen_to_end,
    _killed_alike,
    _unseen_among_seen,
    _told_by_the_launcher,
    _without_a_word,
    _stopped,
    _absent,
    _overdue,
    _nobody,
)


def misfit_of(words: RankLogs) -> tuple[str, str] | None:
    """Cause and remedy when a rank found itself in another MPI world: launcher and library do not fit, and no node is to blame.

    Some of the others may have been ended before they could say the same.
    """
    return next(((r.cause, r.remedy) for r in words.records if r.interruption == "stray"), None)


def seen_to_die(step: Step, words: RankLogs, loss: Loss, *, refused: bool) -> bool:
    """True when somebody saw the suspects die, and of something else than what keeps every rank from starting.

    Args:
        step: that was lost.
        words: what its ranks have said.
        loss: that is told.
        refused: their MPI says that it does not speak with this launcher; whoever found out first ended with an exit code.
    """
    if len(loss.ranks) >= step.ranks:
        return False
    seen = not words.exits.keys().isdisjoint(loss.ranks)
    return loss.by_signal or (seen and not (refused and not loss.check))


def _ending(end: RankExited | None, *, late: bool = False) -> str:
    """How a rank ended, in words."""
    if end is None:
        when = "the step ran out of time" if late else "the other ranks were terminated while waiting for it"
        return f"wrote no record; {when}"
    if end.status > 0:
        return f"its process ended with exit code {end.status}"
    return f"its process ended with signal {-end.status} ({signal.strsignal(-end.status)})"


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
            return spec.name if said or not words.stopped else ""
    return ""


def narrowed(step: Step, words: RankLogs, loss: Loss, gone: Mapping[str, str]) -> Loss:
    """The loss where some of its nodes cannot be reached any more: they took the others with them.

    Args:
        step: that was lost.
        words: what its ranks have said.
        loss: with several nodes, or none where all were killed alike.
        gone: node → why it cannot be reached; empty: nothing is known.
    """
    suspects = range(step.ranks) if loss.kind == "alike" else loss.ranks
    ranks = [rank for rank in suspects if node_names(step, words, [rank])[0] in gone]
    how = "; ".join(f"{node} {cause}" for node, cause in gone.items())
    return Loss(tuple(ranks), node_names(step, words, ranks), loss.check, how, "unreachable") if ranks else loss


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
    everyone; a node that has cost two steps is left out of what follows. Where all were killed alike, the check is tried once more, alone.
    Ends: every step drops a check or a node, or is a single check of a longer one.

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
        elif loss.kind == "alike" and len(step.checks) > 1:
            steps.append(replace(step, checks=(step.checks[at],)))
        rest = step.checks[at + 1 :]
    else:
        fit = tuple(node for node in fit if node not in loss.nodes) if loss.nodes else ()
        rest = step.checks
    if rest and fit:
        steps.append(replace(step, nodes=fit, checks=rest))
    return steps
