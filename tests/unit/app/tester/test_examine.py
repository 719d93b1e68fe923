from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support import lying_testers
from support.lying_testers import Machine, connected, listening

from hpcaccept.app.tester import keys, remote
from hpcaccept.app.tester.examine import Claim, Plan, examine
from hpcaccept.app.tester.remote import RemoteTester
from hpcaccept.proof import memory
from hpcaccept.proof.challenge import Challenge
from hpcaccept.proof.judge import judge, overall
from hpcaccept.proof.transcript import Transcript, dumps, loads

if TYPE_CHECKING:
    from pathlib import Path

#: Real servers and clients, which wait for each other.
pytestmark = pytest.mark.slow
SMALL = Challenge("0" * 64, 64, 64, 16, 4)
#: A machine with time: what takes longer than 20 s here is the test's own machine.
SLOW_OPS, PEAK_OPS = SMALL.ops / 20, SMALL.ops * 1e6
QUICK = Plan(challenge=SMALL, openings=24, groups=0, transfer_bytes=0, floor_ops=SLOW_OPS, peak_ops=PEAK_OPS)


def asked(folder: Path, kind: type[Machine], plan: Plan = QUICK, gpus: int = 1) -> Transcript:
    with connected(folder, kind) as tester:
        return examine(tester, Claim("machine 7", "H100 SXM", gpus), plan)


def kept(transcript: Transcript) -> Transcript:
    """As it comes back from its file."""
    return loads(dumps(transcript).encode(), "a file")


def test_an_honest_machine_is_verified_and_whoever_reads_its_transcript_finds_the_same(tmp_path: Path) -> None:
    found = asked(
        tmp_path,
        Machine,
        Plan(challenge=SMALL, openings=24, groups=0, transfer_bytes=1 << 20, floor_ops=SLOW_OPS, peak_ops=PEAK_OPS),
    )
    assert overall(found.verdicts) == "verified"
    assert len(found.proofs[0].openings) == 24
    assert [t.size_bytes for t in found.transfers] == [1 << 20, 1 << 20]
    assert judge(kept(found)) == found.verdicts


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (lying_testers.Replay, "wrong-result"),
        (lying_testers.LazyRows, "wrong-result"),
        (lying_testers.LazySteps, "wrong-result"),
        (lying_testers.WrongStart, "wrong-result"),
        (lying_testers.FlippedBits, "wrong-result"),
        (lying_testers.SharedRow, "wrong-result"),
        (lying_testers.SwappedCheckpoints, "not-committed"),
        (lying_testers.WrongRoot, "not-committed"),
        (lying_testers.MalformedRoot, "malformed"),
        (lying_testers.ChangedRoot, "not-committed"),
        (lying_testers.ForgedPath, "not-committed"),
        (lying_testers.ShortPath, "malformed"),
        (lying_testers.OtherCells, "other-cells"),
        (lying_testers.Oversize, "oversize"),
        (lying_testers.DeepJson, "malformed"),
        (lying_testers.EndsEarly, "malformed"),
        (lying_testers.FalseDone, "other-cells"),
    ],
)
def test_a_lie_is_refuted_with_its_reason_and_the_transcript_shows_it(
    tmp_path: Path, kind: type[Machine], reason: str
) -> None:
    found = asked(tmp_path, kind)
    assert [(v.outcome, v.reason) for v in found.verdicts] == [("refuted", reason)]
    assert judge(kept(found)) == found.verdicts


def test_a_late_root_is_refuted_and_the_same_machine_in_time_is_not(tmp_path: Path) -> None:
    floor = Plan(
        challenge=SMALL, openings=4, groups=0, transfer_bytes=0, floor_ops=SMALL.ops / 0.7, peak_ops=SMALL.ops * 1e6
    )
    assert asked(tmp_path / "late", lying_testers.LateRoot, floor).verdicts[0].reason == "late"
    slack = Plan(challenge=SMALL, openings=4, groups=0, transfer_bytes=0, floor_ops=SLOW_OPS, peak_ops=PEAK_OPS)
    assert asked(tmp_path / "slack", lying_testers.LateRoot, slack).verdicts[0].outcome == "verified"


def test_faster_than_the_claimed_part_can_be_is_a_finding_too(tmp_path: Path) -> None:
    impossible = Plan(challenge=SMALL, openings=4, groups=0, transfer_bytes=0, floor_ops=1.0, peak_ops=SMALL.ops / 1000)
    assert asked(tmp_path, Machine, impossible).verdicts[0].reason == "faster-than-peak"


def test_a_class_without_a_floor_is_never_verified(tmp_path: Path) -> None:
    with connected(tmp_path, Machine) as tester:
        found = examine(
            tester, Claim("m", "Voodoo 2", 1), Plan(challenge=SMALL, openings=4, groups=0, transfer_bytes=0)
        )
    assert [(v.outcome, v.cause) for v in found.verdicts] == [("inconclusive", "unsupported")]


def test_an_answer_that_drips_is_cut_off_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcaccept.app.tester.examine._GRACE_S", 1.0)
    hasty = Plan(
        challenge=SMALL, openings=4, groups=0, transfer_bytes=0, floor_ops=SMALL.ops * 10, peak_ops=SMALL.ops * 1e6
    )
    found = asked(tmp_path, lying_testers.DripFeed, hasty)
    assert [(v.outcome, v.cause, v.reason) for v in found.verdicts] == [("inconclusive", "timeout", "")]


def test_no_redirect_is_followed(tmp_path: Path) -> None:
    found = asked(tmp_path, lying_testers.Redirects)
    assert [(v.outcome, v.cause) for v in found.verdicts] == [("inconclusive", "unsupported")]
    assert "302" in found.verdicts[0].text


def test_who_commits_and_opens_nothing_is_not_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcaccept.app.tester.examine._PAUSE_S", 0.0)
    found = asked(tmp_path, lying_testers.NoOpening)
    assert found.proofs[0].roots
    assert [(v.outcome, v.cause) for v in found.verdicts] == [("inconclusive", "network")]


def test_a_machine_that_says_it_cannot_is_not_blamed_and_steers_no_terminal(tmp_path: Path) -> None:
    found = asked(tmp_path, lying_testers.SaysItCannot)
    assert [(v.outcome, v.cause) for v in found.verdicts] == [("inconclusive", "unsupported")]
    assert "int8" in found.verdicts[0].text
    assert "\x1b" not in found.verdicts[0].text


def test_false_done_passes_nothing(tmp_path: Path) -> None:
    with connected(tmp_path, lying_testers.FalseDone) as tester:
        assert remote.is_over(tester.progress())
        found = examine(tester, Claim("m", "H100 SXM", 1), QUICK)
    assert overall(found.verdicts) == "refuted"


@pytest.mark.slow
@pytest.mark.alone
def test_one_gpu_cannot_pose_as_eight(tmp_path: Path) -> None:
    floor = Plan(
        challenge=SMALL, openings=4, groups=0, transfer_bytes=0, floor_ops=SMALL.ops / 1.4, peak_ops=SMALL.ops * 1e6
    )
    one = asked(tmp_path / "one", lying_testers.OneAsEight, floor, gpus=8)
    assert overall(one.verdicts) == "refuted"
    assert {v.reason for v in one.verdicts if v.outcome == "refuted"} == {"late"}
    eight = asked(tmp_path / "eight", lying_testers.EightGpus, floor, gpus=8)
    assert overall(eight.verdicts) == "verified", [v.text for v in eight.verdicts]


def held(folder: Path, kind: type[Machine], peak_ops: float) -> Any:
    filling = memory.filling(b"0" * 32, 256 * 64, width=64, steps=8)
    plan = Plan(
        challenge=SMALL, openings=4, filling=filling, groups=2, transfer_bytes=0, floor_ops=SMALL.ops / 20,
        peak_ops=filling.ops / peak_ops,
    )  # fmt: skip
    with connected(folder, kind) as tester:
        return examine(tester, Claim("m", "H100 SXM", 1), plan).verdicts[1]


def test_memory_that_is_held_answers_in_time(tmp_path: Path) -> None:
    assert held(tmp_path, Machine, 40.0).outcome == "verified"


@pytest.mark.alone
def test_memory_that_is_computed_anew_answers_too_late(tmp_path: Path) -> None:
    """The buffer takes 0.8 s at the claimed peak; an answer may take a quarter of that."""
    assert held(tmp_path, lying_testers.Recomputes, 0.8).reason == "memory-late"


def test_memory_that_is_made_up_is_refuted(tmp_path: Path) -> None:
    found = [held(tmp_path / str(i), lying_testers.HalfResident, 40.0).reason for i in range(4)]
    assert "wrong-result" in found


def test_a_relayed_prover_is_undetected(tmp_path: Path) -> None:
    """Nothing that travels over a network tells who has computed it: docs/explanation/rented-machines.md says so, and every audit."""
    inner, outer = keys.new_secret(), keys.new_secret()
    with listening(tmp_path / "behind", Machine(inner)) as behind:
        to_behind = RemoteTester.connect("127.0.0.1", behind.port, inner, global_only=False)
        with listening(tmp_path / "front", lying_testers.Relayed(outer, to_behind)) as front:
            tester = RemoteTester.connect("127.0.0.1", front.port, outer, global_only=False)
            found = examine(tester, Claim("m", "H100 SXM", 1), QUICK)
    assert overall(found.verdicts) == "verified"


def test_every_gpu_and_round_has_a_nonce_of_its_own(tmp_path: Path) -> None:
    class Two(Machine):
        gpus = 2

    found = [asked(tmp_path / str(i), Two, gpus=2) for i in range(2)]
    nonces = [proof.challenge.nonce for transcript in found for proof in transcript.proofs]
    assert len(set(nonces)) == 4


def test_nothing_of_the_rentals_secret_stands_in_the_transcript(tmp_path: Path) -> None:
    secret = keys.new_secret()
    with listening(tmp_path, Machine(secret)) as server:
        tester = RemoteTester.connect("127.0.0.1", server.port, secret, global_only=False)
        text = dumps(examine(tester, Claim("m", "H100 SXM", 1), QUICK))
    assert not any(word in text for word in (secret.hex(), keys.token_of(secret), keys.pin_of(secret).hex()))
