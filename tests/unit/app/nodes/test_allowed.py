from __future__ import annotations

import pytest
from support.marked_slurm import MarkedSlurm

from hpcaccept.app.nodes.allowed import beyond_limit, our_marks, whose
from hpcaccept.model.node import NodeState, Reserved, TakenOut
from hpcaccept.model.node_mark import Mark, Seen
from hpcaccept.parse.slurm.marks import reason_of, reservation_of

MARK = Mark("1a2b3c4d", "n1", "drain", "run1", "gpu-lost")
OURS = Reserved(reservation_of(MARK), 0.0, 1e18, frozenset({"n1"}))


@pytest.mark.parametrize(
    "flags", [("IDLE",), ("MIXED",), ("ALLOCATED", "COMPLETING"), ("IDLE", "PLANNED"), ("IDLE", "NOT_RESPONDING")]
)
def test_a_node_in_service_is_nobody_elses(flags: tuple[str, ...]) -> None:
    assert whose(NodeState("n1", flags), ()) == ""


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("IDLE", "DRAIN"), "bad DIMM"),
        (("IDLE", "DRAIN"), f"{reason_of(MARK)}, and bad DIMM"),
        (("DOWN",), "Not responding"),
        (("DOWN",), ""),
        (("IDLE", "FAIL"), "soon"),
        (("IDLE", "REBOOT_REQUESTED"), ""),
        (("IDLE", "POWERED_DOWN"), ""),
        (("IDLE", "MAINTENANCE"), ""),
        (("IDLE", "SOMETHING_NEW"), ""),
        (("IDLE",), "watch this one"),
    ],
)
def test_what_somebody_or_slurm_has_marked_is_theirs(flags: tuple[str, ...], reason: str) -> None:
    out = TakenOut(reason, "ann") if reason else None
    said = whose(NodeState("n1", flags, out=out), ())
    assert said
    assert reason in said


def test_a_node_in_anybodys_reservation_is_theirs_also_beside_ours() -> None:
    theirs = Reserved("theirs", 0.0, 1e18, frozenset({"n0", "n1"}))
    node = NodeState("n1", ("IDLE", "MAINTENANCE"))
    assert whose(node, [theirs, OURS]) == "reservation theirs has it"
    assert whose(node, [OURS]) == ""


def test_a_reservation_with_our_name_and_other_nodes_is_not_ours() -> None:
    wider = Reserved(OURS.name, 0.0, 1e18, frozenset({"n1", "n2"}))
    assert our_marks([], [wider]) == ()
    assert whose(NodeState("n1", ("IDLE",)), [wider])


def test_a_drain_of_ours_is_seen_only_while_the_node_is_drained() -> None:
    out = TakenOut(reason_of(MARK), "root")
    assert our_marks([NodeState("n1", ("IDLE", "DRAIN"), out=out)], ()) == (
        Seen("1a2b3c4d", "n1", "drain", "run1", "gpu-lost"),
    )
    assert our_marks([NodeState("n1", ("IDLE",), out=out)], ()) == ()


# --- the circuit breaker ----------------------------------------------------------------------------------------------


def seen(*names: str) -> list[Seen]:
    return [Seen("1a2b3c4d", name, "drain") for name in names]


def test_beyond_the_share_of_a_partition_nothing_goes_and_earlier_marks_count() -> None:
    nodes = MarkedSlurm(f"n{i}" for i in range(20)).nodes()
    assert beyond_limit(nodes, seen("n0"), ["n1"], 0.1) == {}
    assert list(beyond_limit(nodes, seen("n0"), ["n1", "n2"], 0.1)) == ["gpu"]
    assert beyond_limit(nodes, seen("n0", "n1", "n2"), [], 0.1) == {}


def test_each_partition_has_its_own_share_and_one_node_may_always_go() -> None:
    large = MarkedSlurm(f"n{i}" for i in range(30)).nodes()
    small = MarkedSlurm(["s0", "s1"], ("gpu", "login")).nodes()
    assert beyond_limit([*large, *small], [], ["n0", "s0"], 0.1) == {}
    assert list(beyond_limit([*large, *small], [], ["s0", "s1"], 0.1)) == ["login"]


def test_a_node_with_two_marks_counts_once() -> None:
    nodes = MarkedSlurm(f"n{i}" for i in range(20)).nodes()
    assert beyond_limit(nodes, [*seen("n0"), *seen("n0"), *seen("n1")], ["n1"], 0.1) == {}
