from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.marked_slurm import MarkedSlurm

from hpcaccept.app.nodes.act import Hand
from hpcaccept.app.nodes.allowed import our_marks
from hpcaccept.app.nodes.audit import Audit
from hpcaccept.app.nodes.plan import plan_marks, plan_returns, to_quarantine, undone
from hpcaccept.errors import UsageError
from hpcaccept.parse.slurm.marks import gate_reason

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.node_mark import Kind

FAILED = {"n0": ("gpu-lost", ("health",)), "n1": ("peers-slow", ("matmul",))}


@pytest.fixture
def slurm() -> MarkedSlurm:
    return MarkedSlurm(f"n{i}" for i in range(30))


@pytest.fixture
def hand(slurm: MarkedSlurm, tmp_path: Path) -> Hand:
    return Hand(slurm, Audit(tmp_path / "nodes"), "ann")


def put(hand: Hand, kind: Kind, *names: str) -> None:
    plan = plan_marks(hand.slurm, {name: FAILED[name] for name in names}, kind, "run1", "ann", 0.1)
    assert [hand.mark(mark).result for mark in plan.marks] == ["done"] * len(names)


def kinds(slurm: MarkedSlurm) -> list[tuple[str, str]]:
    return sorted((one.node, one.kind) for one in our_marks(slurm.states.values(), slurm.kept.values()))


def test_the_plan_changes_nothing_and_says_why_a_node_is_left_alone(slurm: MarkedSlurm) -> None:
    slurm.take_out("n1", "bad DIMM", by="bob")
    plan = plan_marks(slurm, {**FAILED, "n99": ("x", ())}, "quarantine", "run1", "ann", 0.1)
    assert [(mark.node, mark.code, mark.checks) for mark in plan.marks] == [("n0", "gpu-lost", ("health",))]
    assert plan.refused == {"n99": "Slurm knows no such node", "n1": "it is IDLE+DRAIN (bad DIMM by bob)"}
    assert slurm.orders == []


def test_a_node_without_a_mark_of_ours_cannot_be_resumed(hand: Hand, slurm: MarkedSlurm, tmp_path: Path) -> None:
    slurm.take_out("n1", "bad DIMM")
    with pytest.raises(UsageError, match="n1: no mark"):
        plan_returns(slurm, hand.audit, {"n1"}, tmp_path, 2, "")


def test_a_mark_of_another_audit_log_needs_the_time_of_the_repair(
    hand: Hand, slurm: MarkedSlurm, tmp_path: Path
) -> None:
    slurm.take_out("n0", gate_reason("gpu-missing", "7 of 8"))
    (one,) = plan_returns(slurm, hand.audit, {"n0"}, tmp_path, 2, "")
    assert "--since" in one.gate.why
    (one,) = plan_returns(slurm, hand.audit, {"n0"}, tmp_path, 2, "2026-11-30T12:00:00+00:00")
    assert one.gate.why == "0 of 2 passing runs since the mark"


def test_a_drain_moves_into_a_quarantine_that_remembers_what_failed(hand: Hand, slurm: MarkedSlurm) -> None:
    put(hand, "drain", "n0")
    (seen,) = our_marks(slurm.states.values(), slurm.kept.values())
    assert [acted.result for acted in to_quarantine(hand, seen, ("root",))] == ["done", "done"]
    assert kinds(slurm) == [("n0", "quarantine")]
    (now,) = our_marks(slurm.states.values(), slurm.kept.values())
    known = hand.audit.mark(now.id)
    assert known is not None
    assert (known.checks, known.run, known.code) == (("health",), "run1", "gpu-lost")


def test_a_drain_by_the_gate_moves_into_a_quarantine_too(hand: Hand, slurm: MarkedSlurm) -> None:
    slurm.take_out("n0", gate_reason("gpu-missing", "7 of 8"))
    (seen,) = our_marks(slurm.states.values(), slurm.kept.values())
    assert [acted.result for acted in to_quarantine(hand, seen, ("root",))] == ["done", "done"]
    assert kinds(slurm) == [("n0", "quarantine")]


@pytest.mark.parametrize("kind", ["quarantine", "drain"])
def test_undo_takes_a_mark_off_and_undo_again_puts_it_back(hand: Hand, slurm: MarkedSlurm, kind: Kind) -> None:
    put(hand, kind, "n0", "n1")
    assert all(acted.result == "done" for acted in undone(hand, {"n0"}, ("root",)))
    assert kinds(slurm) == [("n1", kind)]
    assert all(acted.result == "done" for acted in undone(hand, {"n0"}, ("root",)))
    assert kinds(slurm) == [("n0", kind), ("n1", kind)]


def test_undo_of_nothing_says_so(hand: Hand) -> None:
    with pytest.raises(UsageError, match="n5: the audit log holds nothing to undo"):
        list(undone(hand, {"n5"}, ("root",)))


def test_undo_leaves_what_somebody_else_has_made_of_it(hand: Hand, slurm: MarkedSlurm) -> None:
    put(hand, "drain", "n0")
    slurm.take_out("n0", "bad DIMM")
    assert [acted.result for acted in undone(hand, {"n0"}, ("root",))] == ["refused"]
    assert slurm.states["n0"].out.why == "bad DIMM"  # type: ignore[union-attr]
