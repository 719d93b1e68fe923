"""hpcaccept.judge.compare_runs: which pairs are compared, and what few of them can say. Whole runs: tests/unit/app/test_compare.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import CATALOGUE, evidence, nodes, plan, record, suite

from hpcaccept.judge.compare_runs import compare
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.model.plan import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcaccept.model.comparison import Comparison
    from hpcaccept.model.evidence import Evidence

KEY = "speed.rate_flops"


def run(rates: Sequence[float], *, driver: str = "580", metric: str = "rate_flops", **more: object) -> Evidence:
    """One GPU per node, each with a UUID."""
    records = [
        record("speed", node, {metric: rate}, device_id=f"GPU-{i}", **more)
        for i, (node, rate) in enumerate(zip(nodes(len(rates)), rates, strict=True))
    ]
    records += [
        record("identity", node, {}, device_id=f"GPU-{i}", facts={"driver": driver})
        for i, node in enumerate(nodes(len(rates)))
    ]
    return evidence(records, plan(nodes=len(rates)))


def compared(before: Evidence, now: Evidence, *, broken: frozenset[str] = frozenset()) -> Comparison:
    values = values_of(before.samples, CATALOGUE), values_of(now.samples, CATALOGUE)
    return compare(before, now, values, ({}, {}), (frozenset(), broken))


@pytest.mark.parametrize(
    ("now", "cause", "code"),
    [([100.0, 101.0], "alike", 0), ([100.0, 80.0], "undecided", 3), ([120.0, 130.0], "undecided", 3)],
)
def test_few_units_with_a_new_driver_are_alike_only_where_none_of_them_moved(
    now: list[float], cause: str, code: int
) -> None:
    found = compared(run([100.0, 101.0]), run(now, driver="590"))
    assert (found.cause, found.exit_code) == (cause, code)
    (metric,) = found.metrics
    assert (metric.cause, metric.worse, metric.better) == (cause, (), ())
    assert ("Nothing became slower beyond that." in found.conclusion) == (cause == "alike")


def test_what_a_run_does_not_say_of_its_environment_has_not_changed() -> None:
    now = run([100.0, 101.0])
    silent = replace(now, records=tuple(r for r in now.records if r.check != "identity"))
    found = compared(run([100.0, 101.0]), silent)
    assert found.environment == {}
    assert found.conclusion[0].startswith("No node said in which environment it ran: ")
    assert "The environment is the same." not in found.conclusion


def test_another_revision_of_the_method_is_not_compared() -> None:
    found = compared(run([100.0] * 8), run([50.0] * 8, revision=2))
    assert found.not_compared == {KEY: "revision 1 of its method, now 2"}
    assert (found.metrics, found.cause, found.exit_code) == ((), "undecided", 3)
    assert found.conclusion[-1] == "Nothing was measured the same way in both runs: the hardware cannot be compared."


def test_what_the_earlier_run_has_not_measured_is_not_compared() -> None:
    before = run([100.0] * 8)
    found = compare(before, run([50.0] * 8), ([], values_of(before.samples, CATALOGUE)), ({}, {}), (frozenset(),) * 2)
    assert found.not_compared == {KEY: "the earlier run has not measured it"}


def test_a_unit_without_a_good_number_in_the_earlier_run_is_no_pair() -> None:
    found = compared(run([100.0, 0.0, 100.0, 100.0, 100.0]), run([100.0] * 5))
    assert [metric.pairs for metric in found.metrics] == [4]
    found = compared(run([0.0] * 4), run([100.0] * 4))
    assert found.not_compared == {KEY: "no unit of the same device model and setting has it in both runs"}


def test_kinds_of_device_are_compared_each_by_itself() -> None:
    def mixed(of_second: float) -> Evidence:
        one = run([100.0] * 4)
        two = run([100.0] * 4 + [of_second] * 4, device_model="NVIDIA L40S")
        records = [*one.records, *two.records[4:8]]
        samples = replace(two.samples, subjects=(*one.samples.subjects, *two.samples.subjects[4:]))
        return replace(two, records=tuple(records), samples=samples)

    found = compared(mixed(50.0), mixed(25.0))
    assert {(metric.model, metric.cause, metric.pairs) for metric in found.metrics} == {
        ("NVIDIA H100 80GB HBM3", "alike", 4),
        ("NVIDIA L40S", "hardware", 4),
    }
    assert found.exit_code == 1


def test_a_common_gain_in_the_same_environment_is_alike_and_with_a_new_one_the_environment() -> None:
    assert compared(run([100.0] * 8), run([120.0] * 8)).cause == "alike"
    found = compared(run([100.0] * 8), run([120.0] * 8, driver="590"))
    assert (found.cause, found.exit_code) == ("environment", 0)
    assert any("gained 20.0% in common" in line for line in found.conclusion)


def test_of_times_more_is_a_loss() -> None:
    for now, cause in ((1.2, "hardware"), (0.8, "alike")):
        found = compared(run([1.0] * 8, metric="latency_s"), run([now] * 8, metric="latency_s"))
        (metric,) = found.metrics
        assert metric.common == pytest.approx(now - 1)
        assert found.cause == cause


def test_enough_pairs_know_their_width_and_fewer_have_none() -> None:
    now = [100.0 + 0.2 * i for i in range(8)]
    (metric,) = compared(run([100.0] * 8), run(now)).metrics
    assert metric.sigma == pytest.approx(1.4826 * 0.004, rel=1e-3)
    (metric,) = compared(run([100.0] * 3), run(now[:3])).metrics
    assert (metric.sigma, metric.common) == (0.0, 0.0)


def test_the_worst_unit_is_told_first_and_who_gained_is_no_loss() -> None:
    now = [100.0] * 12
    now[3], now[7], now[9] = 80.0, 60.0, 130.0
    found = compared(run([100.0] * 12), run(now))
    (metric,) = found.metrics
    assert [change.where for change in metric.worse] == ["node7 cuda:0", "node3 cuda:0"]
    assert [(change.where, change.before, change.now) for change in metric.better] == [("node9 cuda:0", 100.0, 130.0)]
    assert metric.worse[0].beyond == pytest.approx(0.4)
    assert (found.cause, found.comparisons) == ("hardware", 12)


def started(found: Evidence, **more: Any) -> Evidence:
    return replace(found, rank_starts=tuple(replace(rank, **more) for rank in found.rank_starts))


IMAGE = Image(reference="hpc:2", digest="sha256:2")


@pytest.mark.parametrize(
    ("change", "environment"),
    [
        (lambda run: replace(run, plan=replace(run.plan, launcher="hosts")), {"launcher": ("slurm", "hosts")}),
        (lambda run: replace(run, plan=replace(run.plan, image=IMAGE)), {"image": ("", "sha256:2")}),
        (lambda run: replace(run, plan=replace(run.plan, image=replace(IMAGE, digest=""))), {"image": ("", "hpc:2")}),
        (lambda run: started(run, mpi="MPICH"), {"MPI of the ranks": ("Open MPI v4.1.4", "MPICH")}),
        (
            lambda run: started(run, threads=4, in_turn=True, ranks_on_host=2),
            {"threads": ("8, all at once, 1 ranks on a host", "4, in turn, 2 ranks on a host")},
        ),
        (
            lambda run: started(run, threads=0),
            {"threads": ("8, all at once, 1 ranks on a host", "")},
        ),
    ],
)
def test_what_changes_numbers_and_is_no_hardware_is_the_environment(
    change: Callable[[Evidence], Evidence], environment: dict[str, tuple[str, str]]
) -> None:
    found = compared(run([100.0] * 8), change(run([80.0] * 8)))
    assert found.environment == environment
    assert found.cause == "environment"


@pytest.mark.parametrize(
    ("driver", "said"), [("580", "The environment is the same."), ("590", "The environment changed: driver 580 → 590.")]
)
def test_the_first_sentence_is_about_the_environment(driver: str, said: str) -> None:
    assert compared(run([100.0] * 8), run([100.0] * 8, driver=driver)).conclusion[0] == said


def test_what_most_ranks_say_of_their_start_counts() -> None:
    now = run([100.0] * 8)
    odd = replace(now.rank_starts[0], mpi="MPICH")
    assert compared(run([100.0] * 8), replace(now, rank_starts=(odd, *now.rank_starts[1:]))).environment == {}


def test_a_node_that_is_broken_now_is_hardware_only_where_the_earlier_run_had_it() -> None:
    before, now = run([100.0] * 8), run([100.0] * 9)
    assert compared(before, now, broken=frozenset({"node2"})).exit_code == 1
    assert compared(before, now, broken=frozenset({"node8"})).exit_code == 0


def test_what_is_never_held_against_the_past_is_not_compared() -> None:
    def wide(rate: float) -> Evidence:
        records = [
            record("speed", node, {"rate_flops": 100.0, "spread": rate}, device_id=f"GPU-{i}")
            for i, node in enumerate(nodes(8))
        ]
        records += [record("fabric", node, {"busbw_bytes": rate}) for node in nodes(8)]
        return evidence(records, plan(suite("speed", "fabric"), nodes=8))

    found = compared(wide(1.0), wide(0.5))
    assert ([metric.key for metric in found.metrics], found.not_compared, found.cause) == ([KEY], {}, "alike")
