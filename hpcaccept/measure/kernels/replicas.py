"""Finds the ranks that did the same work and came to another result.

Ranks are compared only with ranks that are alike: same part, same software, same number of threads. Others may differ
in the last bit and be right.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.measure.device import Device
    from hpcaccept.model.check import CheckContext


class Replica(TypedDict):
    """What one rank says of its result.

    Attributes:
        like: whatever must be equal for two results to be equal in every bit.
        digest: of the result.
    """

    like: str
    digest: str


def replica(ctx: CheckContext, device: Device, digest: str) -> Replica:
    """This rank's result with what it may be compared by."""
    import torch

    # The order in which threads share a sum on a CPU changes its last bit.
    threads = f", {ctx.threads} threads" if device.kind == "cpu" else ""
    return {"like": f"{device.model()}, torch {torch.__version__}{threads}", "digest": digest}


def mismatch(replicas: Sequence[Replica | None], rank: int) -> tuple[bool | None, str]:
    """Whether this rank differs from most ranks like it, and a sentence about it.

    Args:
        replicas: of every rank; None for a rank that has no result.
        rank: whose turn it is; it has a result.

    Returns:
        None when no other rank is like it. True for **everyone** when there is no most frequent result: somebody is
        wrong and it cannot be said who, so nobody may pass.
    """
    mine = replicas[rank]
    if mine is None:
        raise ValueError(f"rank {rank} has no result to compare")
    alike = Counter(r["digest"] for r in replicas if r is not None and r["like"] == mine["like"])
    total = alike.total()
    if total < 2:
        return None, "no other rank is like this one"
    (winner, votes), *others = alike.most_common()
    if others and others[0][1] == votes:
        return True, f"undecided: {len(alike)} results among {total} like ranks, none of them the most frequent"
    if mine["digest"] == winner:
        return False, f"equal to {votes - 1} of {total - 1} like ranks"
    return True, f"differs from {votes} of {total - 1} like ranks, which agree with each other"


def compare(ctx: CheckContext, mine: Replica | None) -> None:
    """Emit ``replica_mismatch[peers]`` of this rank. All ranks must call it, also those without a result."""
    judge(ctx, ctx.allgather(mine), "replica_mismatch", "peers", "replicas")


def judge(ctx: CheckContext, everyone: Sequence[Replica | None], metric: str, variant: str, fact: str) -> None:
    """Emit 0 or 1 under a metric, and say why under a fact; nothing for a rank without a result or without its like.

    Args:
        ctx: of this rank.
        everyone: what each rank said, by rank.
        metric: that counts this rank when it differs.
        variant: of the metric.
        fact: name of the sentence about it.
    """
    if everyone[ctx.rank] is None:
        return
    wrong, sentence = mismatch(everyone, ctx.rank)
    ctx.fact(fact, sentence)
    if wrong is not None:
        ctx.emit(metric, float(wrong), variant)
