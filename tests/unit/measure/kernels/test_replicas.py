from __future__ import annotations

import pytest

from hpcaccept.measure.kernels.replicas import Replica, mismatch


def ranks(digests: str, like: str = "") -> list[Replica | None]:
    """One letter per rank: its digest, or ``-`` for a rank without a result."""
    kinds = like or "H" * len(digests)
    return [None if d == "-" else {"like": k, "digest": d} for d, k in zip(digests, kinds, strict=True)]


@pytest.mark.parametrize(
    ("digests", "rank", "wrong"),
    [
        ("aa", 0, False),
        ("aaab", 3, True),
        ("aaab", 0, False),
        ("a-ab", 3, True),
        ("a-ab", 0, False),
        ("aabbb", 1, True),
    ],
)
def test_who_differs_from_most_is_the_odd_one(digests: str, rank: int, wrong: bool) -> None:
    assert mismatch(ranks(digests), rank)[0] is wrong


@pytest.mark.parametrize("digests", ["ab", "abc", "aabb"])
def test_in_a_tie_nobody_passes(digests: str) -> None:
    for rank in range(len(digests)):
        wrong, sentence = mismatch(ranks(digests), rank)
        assert wrong is True
        assert sentence.startswith("undecided")


@pytest.mark.parametrize(
    ("digests", "like", "rank"), [("a", "H", 0), ("ab", "HA", 0), ("a-", "HH", 0), ("aab", "AAH", 2)]
)
def test_a_rank_that_nobody_is_like_has_no_verdict(digests: str, like: str, rank: int) -> None:
    assert mismatch(ranks(digests, like), rank)[0] is None


def test_unlike_ranks_may_differ() -> None:
    everyone = ranks("aabb", "HHAA")
    assert [mismatch(everyone, rank)[0] for rank in range(4)] == [False] * 4


def test_a_rank_without_a_result_is_never_judged() -> None:
    with pytest.raises(ValueError, match="rank 1 has no result"):
        mismatch(ranks("a-"), 1)
