"""Somebody else comes before each step; python -m faults.marks does the same to the real scontrol, two hundred times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.marked_slurm import MarkedSlurm

from hpcaccept.app.nodes.act import Hand, new_mark
from hpcaccept.app.nodes.allowed import our_marks
from hpcaccept.app.nodes.audit import Audit
from hpcaccept.errors import LaunchError, RunError
from hpcaccept.model.node_mark import Acted, Acting, Seen

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.node_mark import Kind, Mark


@pytest.fixture
def slurm() -> MarkedSlurm:
    return MarkedSlurm(["n0", "n1"])


@pytest.fixture
def hand(slurm: MarkedSlurm, tmp_path: Path) -> Hand:
    return Hand(slurm, Audit(tmp_path / "nodes"), "ann")


def mark(kind: Kind, node: str = "n0") -> Mark:
    return new_mark(node, kind, "run1", "gpu-lost", ("health",), "2026-11-30T12:00:00+00:00", "ann")


def there(slurm: MarkedSlurm) -> list[Seen]:
    return list(our_marks(slurm.states.values(), slurm.kept.values()))


@pytest.mark.parametrize("kind", ["quarantine", "drain"])
def test_a_mark_is_put_on_and_taken_off_and_both_are_in_the_audit_log(
    hand: Hand, slurm: MarkedSlurm, kind: Kind
) -> None:
    assert hand.mark(mark(kind)).result == "done"
    if kind == "drain":
        assert hand.mark(mark("quarantine")).result == "done"
    for seen in sorted(there(slurm), key=lambda one: one.kind):
        assert hand.release(seen, "resume", ("run2", "run3")).result == "done"
    assert there(slurm) == []
    entries = [entry for _, entry in hand.audit.entries()]
    assert [type(entry) for entry in entries] == [Acting, Acted] * (len(entries) // 2)
    last = entries[-1]
    assert isinstance(last, Acted)
    assert (last.verb, last.node, last.result, last.by, last.gate) == ("resume", "n0", "done", "ann", ("run2", "run3"))


def test_a_foreign_drain_gets_no_order_at_all(hand: Hand, slurm: MarkedSlurm) -> None:
    slurm.take_out("n0", "bad DIMM")
    assert [hand.mark(mark(kind)).result for kind in ("quarantine", "drain")] == ["refused", "refused"]
    assert slurm.orders == []


def test_a_drain_that_comes_while_we_reserve_stands_and_our_reservation_goes(hand: Hand, slurm: MarkedSlurm) -> None:
    slurm.before["create"] = lambda: slurm.take_out("n0", "bad DIMM")
    acted = hand.mark(mark("quarantine"))
    assert (acted.result, slurm.kept) == ("overtaken", {})
    assert slurm.states["n0"].out.why == "bad DIMM"  # type: ignore[union-attr]


def test_a_reservation_that_comes_first_makes_slurm_refuse_ours(hand: Hand, slurm: MarkedSlurm) -> None:
    slurm.before["create"] = lambda: slurm.reserve("theirs", "n0")
    assert hand.mark(mark("quarantine")).result == "failed"
    assert list(slurm.kept) == ["theirs"]


def test_words_that_come_over_our_drain_stand(hand: Hand, slurm: MarkedSlurm) -> None:
    real = slurm.drain

    def drain(node: str, reason: str) -> None:
        real(node, reason)
        slurm.take_out(node, "bad DIMM")

    slurm.drain = drain  # type: ignore[method-assign]
    assert hand.mark(mark("drain")).result == "overtaken"
    assert slurm.states["n0"].out.why == "bad DIMM"  # type: ignore[union-attr]


def test_a_drain_comes_off_only_under_a_quarantine(hand: Hand, slurm: MarkedSlurm) -> None:
    hand.mark(mark("drain"))
    (seen,) = there(slurm)
    assert hand.release(seen).result == "refused"
    assert there(slurm) == [seen]


@pytest.mark.parametrize("words", ["bad DIMM", "{reason}, and bad DIMM", "{reason}x"])
def test_a_drain_with_other_words_than_ours_stays(hand: Hand, slurm: MarkedSlurm, words: str) -> None:
    made = [mark(kind) for kind in ("drain", "quarantine")]
    assert [hand.mark(one).result for one in made] == ["done", "done"]
    seen = next(one for one in there(slurm) if one.kind == "drain")
    reason = slurm.states["n0"].out.why  # type: ignore[union-attr]
    slurm.take_out("n0", words.format(reason=reason))
    assert hand.release(seen).result == "overtaken"
    assert slurm.states["n0"].out.why == words.format(reason=reason)  # type: ignore[union-attr]


def test_a_reservation_that_somebody_removed_is_told(hand: Hand, slurm: MarkedSlurm) -> None:
    hand.mark(mark("quarantine"))
    (seen,) = there(slurm)
    slurm.kept.clear()
    assert hand.release(seen).result == "overtaken"


def test_a_slurm_that_does_not_answer_is_a_failure_in_the_audit_log(hand: Hand, slurm: MarkedSlurm) -> None:
    def gone() -> None:
        raise LaunchError("scontrol did not answer within 30 s.")

    slurm.before["create"] = gone
    acted = hand.mark(mark("quarantine"))
    assert (acted.result, acted.why) == ("failed", "scontrol did not answer within 30 s.")
    assert hand.audit.entries()[-1][1] == acted


def test_without_an_audit_log_nothing_is_done(slurm: MarkedSlurm, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="No node is touched"):
        Hand(slurm, Audit(tmp_path / "file"), "ann").mark(mark("quarantine"))
    assert slurm.orders == []


def test_a_second_mark_of_one_kind_is_refused(hand: Hand) -> None:
    assert [hand.mark(mark("quarantine")).result for _ in range(2)] == ["done", "refused"]


def test_a_reboot_is_ordered_and_written_down(hand: Hand, slurm: MarkedSlurm) -> None:
    hand.mark(mark("quarantine"))
    (seen,) = there(slurm)
    assert hand.reboot(seen).result == "done"
    assert slurm.orders[-1] == "reboot n0"
