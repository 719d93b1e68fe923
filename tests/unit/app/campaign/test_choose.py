"""Which nodes are tested tonight: what Slurm really said (tests/data/slurm/nodes_now.txt), and rules that hold for any cluster."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.slurm_now import SAID

from hpcaccept.app.campaign.choose import Terms, cap_of, choose, in_jobs
from hpcaccept.model.nightly.night import LastTest
from hpcaccept.model.node import NodeState, Reserved
from hpcaccept.parse.slurm.nodes import (
    parse_default_partition,
    parse_job_with,
    parse_nodes,
    parse_planned,
    parse_reservations,
)

NOW = 1_795_335_700.0
IDLE = NodeState("n1", ("IDLE",), gpus=(("h100", 8),), partitions=("gpu",))
FREE = Terms(partition="gpu", gpus=0, now_s=NOW, until_s=NOW + 900, cap=100)


def test_nodes_are_read_with_all_their_flags() -> None:
    nodes = {node.name: node for node in parse_nodes(SAID["scontrol -o show node"])}
    assert nodes["node0"].flags == ("IDLE", "PLANNED")
    assert nodes["node1"].flags == ("MIXED",)
    assert nodes["node1"].busy_cpus == 1
    assert nodes["node2"].flags == ("IDLE",)
    assert nodes["node3"].flags == ("IDLE", "DRAIN")
    assert {node.gpus for node in nodes.values()} == {(("h100", 8),)}
    assert nodes["node2"].partitions == ("gpu", "small", "down")


def test_reservations_and_plans_are_read_as_instants() -> None:
    (maint,) = parse_reservations(SAID["scontrol -o show reservation"])
    assert maint == Reserved("maint", 1795342892, 1795346492, frozenset(("node2", "node3")))
    (planned,) = parse_planned(SAID["squeue -h -t PD -o '%i|%S|%Y'"])
    assert planned == Reserved("job 9", 1795336292, math.inf, frozenset(("node0", "node1")), for_job=True)
    assert parse_default_partition(SAID["scontrol -o show partition"]) == "gpu"
    assert parse_reservations("No reservations in the system\n") == []


def test_a_job_is_found_by_a_whole_word_of_its_comment() -> None:
    text = SAID["squeue -h -t all -o '%A|%k'"]
    assert parse_job_with(text, "20261122-082104-s-2n-b3d9") == "7"
    assert parse_job_with(text, "20261122-082104-s-2n") == ""
    assert parse_job_with(text, "user") == "9"


def test_of_the_recorded_cluster_one_node_may_be_taken() -> None:
    nodes = parse_nodes(SAID["scontrol -o show node"])
    kept = [
        *parse_reservations(SAID["scontrol -o show reservation"]),
        *parse_planned(SAID["squeue -h -t PD -o '%i|%S|%Y'"]),
    ]
    found = choose(nodes, kept, {}, FREE)
    assert found.nodes == ("node2",)
    assert {name: str(why) for name, why in found.left_out.items()} == {
        "node0": "planned for a job that waits",
        "node1": "not idle: MIXED",
        "node3": "not idle: IDLE+DRAIN",
    }
    # A job that would still run when the maintenance begins is not submitted.
    late = Terms("gpu", 0, NOW, 1795342892 + 1, 100)
    assert str(choose(nodes, kept, {}, late).left_out["node2"]) == "reserved: maint"


@pytest.mark.parametrize(
    "line",
    [
        "State=IDLE*",
        "State=IDLE~",
        "State=IDLE+POWERED_DOWN",
        "State=IDLE+NOT_RESPONDING",
        "State=IDLE+COMPLETING",
        "State=IDLE+RESERVED",
        "State=IDLE+MAINT",
        "State=IDLE+MAINTENANCE+RESERVED",
        "State=IDLE+REBOOT_REQUESTED",
        "State=IDLE+INVALID_REG",
        "State=IDLE+BLOCKED",
        "State=IDLE+SOMETHING_NEW",
        "State=ALLOCATED",
        "State=DOWN",
        "State=UNKNOWN",
        "State=FUTURE",
        "State=IDLE CPUAlloc=1",
    ],
)
def test_what_is_not_plainly_idle_is_left_alone(line: str) -> None:
    nodes = parse_nodes(f"NodeName=n1 {line} Partitions=gpu")
    assert choose(nodes, [], {}, FREE).nodes == ()


def test_a_reason_that_an_administrator_wrote_changes_no_state() -> None:
    (node,) = parse_nodes("NodeName=n1 State=IDLE+DRAIN Partitions=gpu Reason=back soon State=IDLE Partitions=gpu")
    assert node.flags == ("IDLE", "DRAIN")


def test_a_cloud_node_that_is_up_may_be_taken() -> None:
    assert choose(parse_nodes("NodeName=n1 State=IDLE+CLOUD Partitions=gpu"), [], {}, FREE).nodes == ("n1",)


def test_inside_the_own_reservation_only_its_nodes_are_taken() -> None:
    inside = NodeState("n1", ("IDLE", "RESERVED"), partitions=("gpu",))
    outside = NodeState("n2", ("IDLE",), partitions=("gpu",))
    kept = [Reserved("night", NOW - 60, NOW + 7200, frozenset(("n1",)))]
    mine = Terms("gpu", 0, NOW, NOW + 900, 100, reservation="night")
    assert choose([inside, outside], kept, {}, mine).nodes == ("n1",)
    assert choose([inside, outside], kept, {}, FREE).nodes == ("n2",)


@pytest.mark.parametrize("state", ["IDLE+MAINTENANCE+RESERVED", "IDLE+MAINT", "IDLE+RESERVED"])
def test_a_maintenance_is_for_the_night_that_names_it_and_for_no_other(state: str) -> None:
    nodes = parse_nodes(f"NodeName=n1 State={state} Partitions=gpu")
    kept = [Reserved("night", NOW - 60, NOW + 7200, frozenset(("n1",)))]
    for named, taken in (("night", ("n1",)), ("other,night", ("n1",)), ("other", ()), ("", ())):
        assert choose(nodes, kept, {}, Terms("gpu", 0, NOW, NOW + 900, 100, reservation=named)).nodes == taken


@pytest.mark.parametrize(("start_s", "taken"), [(0, True), (1, False)])
def test_a_reservation_is_ours_from_its_first_second_on(start_s: float, taken: bool) -> None:
    node = NodeState("n1", ("IDLE",), partitions=("gpu",))
    kept = [Reserved("night", NOW + start_s, NOW + 7200, frozenset(("n1",)))]
    found = choose([node], kept, {}, Terms("gpu", 0, NOW, NOW + 900, 100, reservation="night"))
    assert bool(found.nodes) is taken


def test_slices_are_no_gpus_and_gpus_no_slices() -> None:
    (node,) = parse_nodes("NodeName=n1 State=IDLE Partitions=gpu Gres=gpu:ampere:6(S:0-1),gpu:1g.10gb:28(S:0-1)")
    for gpu_type, count, taken in (
        ("ampere", 6, True),
        ("ampere", 7, False),
        ("1g.10gb", 28, True),
        ("h100", 1, False),
    ):
        found = choose([node], [], {}, Terms("gpu", count, NOW, NOW + 900, 100, gpu_type=gpu_type))
        assert bool(found.nodes) is taken, (gpu_type, count)


def test_a_node_with_fewer_gpus_than_asked_for_is_another_kind_of_node() -> None:
    asked = Terms("gpu", 8, NOW, NOW + 900, 100)
    small = NodeState("n2", ("IDLE",), gpus=(("h100", 4),), partitions=("gpu",))
    assert choose([IDLE, small], [], {}, asked).nodes == ("n1",)


def test_names_and_exclusions_are_kept() -> None:
    nodes = [NodeState(f"n{i}", ("IDLE",), partitions=("gpu",)) for i in range(4)]
    only = Terms("gpu", 0, NOW, NOW + 900, 100, only=frozenset(("n1", "n2")), exclude=frozenset(("n2",)))
    found = choose(nodes, [], {}, only)
    assert found.nodes == ("n1",)
    assert found.reasons == {"not among those named": 2, "excluded": 1}


def test_who_was_never_tested_comes_first_then_who_was_tested_longest_ago() -> None:
    nodes = [NodeState(name, ("IDLE",), partitions=("gpu",)) for name in ("a", "b", "c", "d", "e")]
    tested = {
        "a": LastTest("2026-11-03T02:00:00+00:00", "PASS", "r3"),
        "b": LastTest("2026-11-01T02:00:00+00:00", "PASS", "r1"),
        # It failed last night. It must not be taken every night while others wait.
        "c": LastTest("2026-11-03T02:00:01+00:00", "FAIL", "r3"),
    }
    assert choose(nodes, [], tested, FREE).nodes == ("d", "e", "b", "a", "c")


@pytest.mark.parametrize(
    ("nodes", "most", "share", "cap"),
    [(100, 0, 0.25, 25), (100, 10, 0.25, 10), (3, 0, 0.25, 1), (100, 0, 0.29, 29), (4, 9, 1.0, 4), (1000, 1, 1.0, 1)],
)
def test_the_cap(nodes: int, most: int, share: float, cap: int) -> None:
    assert cap_of(nodes, most, share) == cap


def test_jobs_take_so_many_nodes_each() -> None:
    assert in_jobs(("a", "b", "c"), 2) == [("a", "b"), ("c",)]
    assert in_jobs(("a", "b", "c"), 0) == [("a", "b", "c")]
    assert in_jobs((), 0) == []


@pytest.mark.parametrize(
    ("start_s", "end_s", "meets"),
    [
        (-5000, -1, False), (-5000, 0, False), (-5000, 1, True), (-5000, math.inf, True), (0, 900, True), (1, 2, True),
        (899, 5000, True), (900, 5000, False), (901, math.inf, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("for_job", [False, True])
def test_who_reserved_a_node_for_any_part_of_the_night_has_it(
    start_s: float, end_s: float, meets: bool, for_job: bool
) -> None:
    nodes = [NodeState(f"n{i}", ("IDLE",), partitions=("gpu",)) for i in range(2)]
    kept = [Reserved("somebody", NOW + start_s, NOW + end_s, frozenset(("n1",)), for_job=for_job)]
    found = choose(nodes, kept, {}, FREE)
    assert found.nodes == (("n0",) if meets else ("n0", "n1"))
    kind = "planned for a job that waits" if for_job else "reserved"
    assert {name: str(why) for name, why in found.left_out.items()} == ({"n1": f"{kind}: somebody"} if meets else {})


NAMES = st.integers(0, 9).map(lambda n: f"n{n}")
FLAGS = st.lists(
    st.sampled_from(
        ["DRAIN", "PLANNED", "RESERVED", "MAINT", "MAINTENANCE", "CLOUD", "COMPLETING", "NOT_RESPONDING", "X"]
    ),
    max_size=2,
)
ODD = st.builds(
    lambda name, base, flags, busy, gpus, parts: NodeState(name, (base, *flags), busy, gpus, parts),
    NAMES,
    st.sampled_from(["IDLE", "MIXED", "ALLOCATED", "DOWN"]),
    FLAGS,
    st.sampled_from([0, 0, 0, 3]),
    st.sampled_from([(), (("h100", 4),), (("h100", 8),), (("a100", 4), ("1g.5gb", 28))]),
    st.sampled_from([("gpu",), ("cpu",), ("cpu", "gpu")]),
)
STATES = st.builds(lambda name: NodeState(name, ("IDLE",), 0, (("h100", 8),), ("gpu",)), NAMES) | ODD
EDGES = st.sampled_from([-5000.0, -1.0, 0.0, 1.0, 899.0, 900.0, 901.0, 5000.0])
KEPT = st.builds(
    Reserved,
    st.sampled_from(["maint", "job 7", "mine"]),
    EDGES.map(lambda s: NOW + s),
    EDGES.map(lambda s: NOW + s) | st.just(math.inf),
    st.frozensets(NAMES, min_size=1, max_size=5),
)


def test_nobody_is_ever_disturbed() -> None:
    """Gated: a property that meets no idle node under somebody's reservation holds nothing."""
    met = Counter[str]()

    @settings(max_examples=40)
    @given(
        st.lists(STATES, min_size=4, max_size=10, unique_by=lambda node: node.name),
        st.lists(KEPT, min_size=1, max_size=3),
        st.integers(1, 12),
        st.sampled_from([0, 4, 8]),
        st.sampled_from(["", "mine"]),
        st.frozensets(NAMES, max_size=2),
    )
    def holds(
        nodes: list[NodeState], kept: list[Reserved], cap: int, gpus: int, reservation: str, exclude: frozenset[str]
    ) -> None:
        terms = Terms("gpu", gpus, NOW, NOW + 900, cap, reservation=reservation, exclude=exclude)
        found = choose(nodes, kept, {}, terms)
        by_name = {node.name: node for node in nodes}
        assert len(found.nodes) <= cap
        assert set(found.nodes) | set(found.left_out) == {n.name for n in nodes if "gpu" in n.partitions}
        assert not set(found.nodes) & (set(found.left_out) | exclude)
        for name in found.nodes:
            node = by_name[name]
            ours = any(r.name == "mine" == reservation and name in r.nodes and r.start_s <= NOW for r in kept)
            assert node.flags[0] == "IDLE"
            assert set(node.flags[1:]) <= ({"CLOUD", "RESERVED", "MAINT", "MAINTENANCE"} if ours else {"CLOUD"})
            assert node.busy_cpus == 0
            assert node.count() >= gpus
            met["taken"] += 1
            for other in kept:
                if other.name != reservation and name in other.nodes:
                    met["taken before or after somebody's reservation"] += 1
                    assert other.start_s >= terms.until_s or other.end_s <= NOW
        for why in found.left_out.values():
            met[why.kind] += 1

    holds()
    kinds = ("taken", "taken before or after somebody's reservation", "reserved", "not idle", "not in the reservation")
    assert all(met[kind] for kind in kinds), met


@given(st.integers(1, 40), st.integers(1, 12))
def test_every_node_is_tested_within_n_over_cap_nights(count: int, cap: int) -> None:
    nodes = [NodeState(f"n{i}", ("IDLE",), partitions=("gpu",)) for i in range(count)]
    terms = Terms("gpu", 0, NOW, NOW + 900, cap)
    tested: dict[str, LastTest] = {}
    for night in range(math.ceil(count / cap)):
        for name in choose(nodes, [], tested, terms).nodes:
            # Some of them fail each time: they take nobody's place.
            tested[name] = LastTest(f"2026-11-{night:04d}", "FAIL" if name.endswith("3") else "PASS", "r")
    assert len(tested) == count
