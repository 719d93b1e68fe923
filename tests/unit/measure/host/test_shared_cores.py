"""What pins a rank is no quota of its host."""

from __future__ import annotations

import pytest

from hpcaccept.measure.host.shared_cores import CoreShare, cores_together


def ranks(*cpus: range, group: str = "one", quota: float | None = None) -> list[CoreShare]:
    return [CoreShare(frozenset(of_rank), group, quota) for of_rank in cpus]


def test_ranks_that_their_mpi_has_pinned_share_all_their_cores() -> None:
    # Intel MPI with four ranks on two cores: {0}, {0}, {1}, {1}.
    assert cores_together(ranks(range(1), range(1), range(1, 2), range(1, 2))) == 2
    assert cores_together(ranks(*(range(12 * r, 12 * r + 12) for r in range(8)))) == 96


@pytest.mark.parametrize(("quota", "together"), [(1.5, 1.5), (2.0, 2.0), (64.0, 4.0)])
def test_a_quota_is_that_of_all_ranks_under_it(quota: float, together: float) -> None:
    assert cores_together(ranks(range(4), range(4), range(4), quota=quota)) == together


def test_each_control_group_has_its_own_quota_and_all_of_them_no_more_than_the_host() -> None:
    groups = [*ranks(range(8), group="a", quota=2.0), *ranks(range(8), group="b", quota=3.0)]
    assert cores_together(groups) == 5
    assert cores_together([*groups, *ranks(range(8), group="c", quota=7.0)]) == 8


def test_one_group_without_a_quota_lifts_nobody_elses() -> None:
    assert cores_together([*ranks(range(2), group="a", quota=1.0), *ranks(range(2, 4), group="b")]) == 3


def test_cores_may_have_any_names() -> None:
    share = [CoreShare(frozenset(names), "a", None) for names in (["0,48"], ["0,48", "1,49"])]
    assert cores_together(share) == 2
