"""What follows from a transcript. The same function judges while the machine is rented and years later on somebody else's desk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.proof import memory, openings, speed
from hpcaccept.proof.challenge import survival
from hpcaccept.proof.openings import Unproven
from hpcaccept.proof.transcript import cells_of
from hpcaccept.proof.verdict import ProofVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.proof.transcript import MemoryProof, Proof, Transcript
    from hpcaccept.proof.verdict import Cause, Outcome, Reason

#: Faster than PCIe 5.0 x16 carries, so that the data is likely to be where the GPU reads it.
_PCIE_BYTES = 64e9
#: Cells that a statement of the report speaks of.
_SKIPPED = 0.1
_GIB = 1 << 30


def judge(transcript: Transcript, *, threads: int = 1) -> tuple[ProofVerdict, ...]:
    """Every verdict, in the order of the transcript: proofs, then memory; ``threads`` as ``chain.advance``."""
    return (
        *(_of_speed(proof, transcript, threads) for proof in transcript.proofs),
        *(_of_memory(proof, transcript, threads) for proof in transcript.memory),
    )


def overall(verdicts: Sequence[ProofVerdict]) -> Outcome:
    """Of a machine: refuted by one, verified by all."""
    outcomes = {verdict.outcome for verdict in verdicts}
    if "refuted" in outcomes:
        return "refuted"
    return "verified" if outcomes == {"verified"} else "inconclusive"


def _of_speed(proof: Proof, transcript: Transcript, threads: int) -> ProofVerdict:
    subject = f"gpu {proof.gpu}"
    if proof.failure:
        return _failed(subject, proof)
    if not proof.roots or proof.committed_s < proof.sent_s:
        return _open(subject, "timeout", "No commitment came.")
    if proof.count < 1 or not proof.seed:
        return _open(subject, "unsupported", "No cell was opened, so nothing is known of the result.")
    try:
        openings.verify(proof.challenge, proof.roots, cells_of(proof), proof.openings, threads=threads)
    except Unproven as fault:
        return _refuted(subject, fault.reason, str(fault))
    return _of_rate(subject, proof, transcript)


def _of_rate(subject: str, proof: Proof, transcript: Transcript) -> ProofVerdict:
    """The result is right: was it in time?"""
    rtts = transcript.rtts_s
    rate = speed.rate_ops(proof.challenge.ops, proof.committed_s - proof.sent_s, rtts)
    shown = f"{proof.challenge.ops:.2e} operations in {proof.committed_s - proof.sent_s:.2f} s on the client's clock: {rate / 1e12:.4g} TOP/s"
    if proof.peak_ops and rate > speed.ABOVE_PEAK * proof.peak_ops:
        return _refuted(
            subject,
            "faster-than-peak",
            f"{shown}, above the peak of the claimed class ({proof.peak_ops / 1e12:g}).",
            rate,
        )
    if not proof.floor_ops:
        return _open(
            subject, "unsupported", f"{shown}. The result is right; no floor is known for the claimed class.", rate
        )
    if rate < proof.floor_ops:
        if speed.unsteady(proof.challenge.ops / proof.floor_ops, rtts):
            return _open(
                subject, "network", f"{shown}, below the floor; the round trips differ too much to say why.", rate
            )
        return _refuted(
            subject, "late", f"{shown}, below the floor of the claimed class ({proof.floor_ops / 1e12:g}).", rate
        )
    if alone := _not_together(proof, transcript.proofs):
        return _open(subject, "network", f"{shown}. {alone}", rate)
    count = len(proof.openings)
    missed = survival(count, _SKIPPED)
    return ProofVerdict(
        subject,
        "verified",
        f"{shown}. {count} opened cells are right: who skips {_SKIPPED:.0%} of the cells is missed with a probability of at most {missed:.2g}.",
        rate_ops=rate,
    )


def _not_together(proof: Proof, others: Sequence[Proof]) -> str:
    """A GPU that was asked after another one had answered may be that other one."""
    before = [o.gpu for o in others if o is not proof and o.committed_s and o.committed_s <= proof.sent_s]
    return f"It was asked after GPU {before[0]} had answered, so both may be one." if before else ""


def _of_memory(proof: MemoryProof, transcript: Transcript, threads: int) -> ProofVerdict:
    subject = f"memory of gpu {proof.gpu}"
    if proof.failure:
        return _failed(subject, proof)
    if not proof.root or proof.committed_s < proof.sent_s:
        return _open(subject, "timeout", "No commitment came.")
    if proof.count < 1 or not proof.seed:
        return _open(subject, "unsupported", "No group was opened, so nothing is known of the content.")
    groups = memory.draw(proof.challenge, bytes.fromhex(proof.seed), proof.root, proof.count)
    try:
        memory.verify(proof.challenge, proof.probe, proof.root, groups, proof.openings, threads=threads)
    except Unproven as fault:
        return _refuted(subject, fault.reason, str(fault))
    took = max(proof.committed_s - proof.sent_s - speed.round_trip_s(transcript.rtts_s), 1e-3)
    rate = proof.size_bytes / took
    shown = f"{proof.size_bytes / _GIB:.2f} GiB were read in {took:.2f} s ({rate / 1e9:.3g} GB/s); filling took {proof.filled_s:.1f} s"
    if not proof.allowed_s:
        return _open(subject, "unsupported", f"{shown}. The content is right; no peak is known for the claimed class.")
    if took > proof.allowed_s:
        if speed.unsteady(proof.allowed_s, transcript.rtts_s):
            return _open(subject, "network", f"{shown}; the round trips differ too much to say why it was late.")
        return _refuted(
            subject, "memory-late", f"{shown}, expected at most {proof.allowed_s:.2f} s for data that is resident."
        )
    where = (
        "faster than PCIe, so likely in the GPU's own memory"
        if rate > _PCIE_BYTES
        else "which host memory could do too"
    )
    return ProofVerdict(subject, "verified", f"{shown}, {where}. Evidence, not proof.")


def _failed(subject: str, proof: Proof | MemoryProof) -> ProofVerdict:
    text = proof.failure_text or f"No answer: {proof.failure}."
    if proof.failure in ("oversize", "malformed"):
        return _refuted(subject, proof.failure, text)
    cause: Cause = proof.failure if proof.failure in ("network", "timeout", "unsupported") else "network"
    return _open(subject, cause, text)


def _refuted(subject: str, reason: Reason, text: str, rate: float = 0.0) -> ProofVerdict:
    return ProofVerdict(subject, "refuted", text, reason=reason, rate_ops=rate)


def _open(subject: str, cause: Cause, text: str, rate: float = 0.0) -> ProofVerdict:
    return ProofVerdict(subject, "inconclusive", text, cause=cause, rate_ops=rate)
