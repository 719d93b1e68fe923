"""Challenge all GPUs of a machine at once, probe their memory, count bytes, and keep what was said as a transcript.

Never raises for what a machine does: whatever it answers is evidence, and ends as a verdict.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal, TypeVar

from hpcaccept import __version__
from hpcaccept.proof import memory, openings, speed
from hpcaccept.proof.challenge import DEFAULT_SECONDS, Challenge, sized
from hpcaccept.proof.judge import judge
from hpcaccept.proof.openings import DEFAULT_OPENINGS
from hpcaccept.proof.transcript import FORMAT, VERSION, Failure, MemoryProof, Proof, Transcript, Transfer
from hpcaccept.report.printable import safe
from hpcaccept.transport.tester_client import TesterFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.app.tester.remote import RemoteTester

_P = TypeVar("_P")
#: Round trips before the challenge.
_PINGS = 5
#: An answer that is late is waited for, so that it is refuted and not only missing: this many times the time allowed.
_PATIENCE, _GRACE_S = 2.0, 10.0
#: Openings are asked for again after a broken connection: the answer cannot change, because it was committed to.
_TRIES = 3
_PAUSE_S = 1.0
#: Of claimed memory that is left to the prover itself: context, sums of a block, and a share that drivers keep.
_KEPT_BYTES, _KEPT_SHARE = 3 << 30, 0.05


@dataclass(frozen=True)
class Claim:
    """What the offer says.

    Attributes:
        machine: what the machine is called in the report.
        gpu: model, as the marketplace or a driver spells it.
        gpus: how many.
        memory_bytes: of each GPU; 0: memory is not probed.
        texts: whatever else the host says, for the report's section of claims.
    """

    machine: str
    gpu: str
    gpus: int
    memory_bytes: int = 0
    texts: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Plan:
    """How hard it is looked.

    Attributes:
        seconds: of each GPU at its claimed peak.
        openings: cells of each GPU.
        groups: of memory, of 64 rows each; 0: memory is not probed.
        transfer_bytes: in each direction; 0: none.
        floor_ops: instead of the class's; 0: the class's.
        peak_ops: instead of the class's; 0: the class's.
        challenge: instead of one of the class's size; its nonce is never used.
        filling: instead of one of the claimed memory's size; its nonce is never used.
        deadline_s: for a GPU of which no floor is known, and for filling memory.
    """

    seconds: float = DEFAULT_SECONDS
    openings: int = DEFAULT_OPENINGS
    groups: int = memory.DEFAULT_GROUPS
    transfer_bytes: int = 64 << 20
    floor_ops: float = 0.0
    peak_ops: float = 0.0
    challenge: Challenge | None = None
    filling: Challenge | None = None
    deadline_s: float = 300.0


def examine(
    tester: RemoteTester, claim: Claim, plan: Plan | None = None, *, clock: Callable[[], float] = time.monotonic
) -> Transcript:
    """Ask for every proof, and judge.

    Args:
        tester: connected, its devices ready.
        claim: of the offer.
        plan: how hard to look.
        clock: seconds, the same as the client's transport uses.

    Returns:
        The transcript with its verdicts. Judging costs up to half a minute a GPU on two cores: the machine may be given back before (``collect``).
    """
    found = collect(tester, claim, plan, clock=clock)
    return found.judged(judge(found))


def collect(
    tester: RemoteTester, claim: Claim, plan: Plan | None = None, *, clock: Callable[[], float] = time.monotonic
) -> Transcript:
    """As ``examine`` without judging: the machine is not needed any more afterwards."""
    asked = _Examination(tester, claim, plan or Plan(), clock)
    rtts = asked.round_trips()
    proofs = asked.all_gpus(asked.prove)
    held = asked.all_gpus(asked.probe) if asked.fillings else ()
    return Transcript(
        format=FORMAT,
        version=VERSION,
        hpcaccept=__version__,
        created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=_text(claim.machine),
        claimed={
            _text(name): _text(text)
            for name, text in {"gpu": claim.gpu, "gpus": str(claim.gpus), **(claim.texts or {})}.items()
        },
        rtts_s=rtts,
        proofs=proofs,
        memory=held,
        transfers=asked.transfers(),
    )


class _Examination:
    """One machine being asked; every method gives evidence and raises nothing for what the machine does."""

    def __init__(self, tester: RemoteTester, claim: Claim, plan: Plan, clock: Callable[[], float]) -> None:
        self.tester, self.claim, self.plan = tester, claim, plan
        self._clock, self._begin = clock, clock()
        known = speed.gpu_class(claim.gpu)
        self.peak_ops = plan.peak_ops or (known.peak_ops if known else 0.0)
        self.floor_ops = plan.floor_ops or (known.floor_ops if known else 0.0)
        self.fillings = bool(plan.groups and (claim.memory_bytes or plan.filling))
        self._start = threading.Barrier(max(1, claim.gpus))

    def since(self, at: float) -> float:
        """Seconds of the transcript."""
        return max(0.0, at - self._begin)

    def round_trips(self) -> tuple[float, ...]:
        found = []
        for _ in range(_PINGS):
            try:
                found.append(self.tester.ping())
            except TesterFault:
                continue
        return tuple(found)

    def all_gpus(self, one: Callable[[int], _P]) -> tuple[_P, ...]:
        """Each GPU in a thread of its own, all at the same time."""
        with ThreadPoolExecutor(max(1, self.claim.gpus)) as pool:
            return tuple(pool.map(one, range(self.claim.gpus)))

    def prove(self, gpu: int) -> Proof:
        """Challenge, commitment, and openings that are drawn afterwards."""
        challenge = self._challenge()
        allowed_s = self.plan.deadline_s
        if self.floor_ops:
            allowed_s = challenge.ops / self.floor_ops + speed.MOST_ROUND_TRIP_S
        self._start.wait()
        proof = Proof(
            gpu, challenge, self.floor_ops, self.peak_ops, self.since(self._clock()), count=self.plan.openings
        )
        try:
            roots, answer = self.tester.challenge(gpu, challenge, deadline_s=_PATIENCE * allowed_s + _GRACE_S)
            proof = replace(
                proof,
                sent_s=self.since(answer.sent_s),
                committed_s=self.since(answer.done_s),
                roots=roots,
                seed=secrets.token_hex(32),
            )
            cells = openings.draw(challenge, bytes.fromhex(proof.seed), roots, proof.count)
            return replace(proof, openings=self._again(lambda: self.tester.open(gpu, challenge, cells)))
        except TesterFault as fault:
            return replace(proof, failure=_kind(fault), failure_text=_words(fault))

    def probe(self, gpu: int) -> MemoryProof:
        """Fill, wait until all have filled, probe, open."""
        challenge = self._filling()
        proof = MemoryProof(
            gpu, challenge, 0.0, secrets.token_hex(32), 0.0, peak_ops=self.peak_ops, count=self.plan.groups
        )
        try:
            filled = self.tester.fill(gpu, challenge, deadline_s=self.plan.deadline_s)
            proof = replace(proof, filled_s=filled.seconds)
        except TesterFault as fault:
            proof = replace(proof, failure=_kind(fault), failure_text=_words(fault))
        self._start.wait()
        if proof.failure:
            return proof
        try:
            root, answer = self.tester.probe(gpu, proof.probe, deadline_s=_PATIENCE * proof.allowed_s + _GRACE_S)
            proof = replace(
                proof,
                sent_s=self.since(answer.sent_s),
                committed_s=self.since(answer.done_s),
                root=root,
                seed=secrets.token_hex(32),
            )
            groups = memory.draw(challenge, bytes.fromhex(proof.seed), root, proof.count)
            proof = replace(proof, openings=self._again(lambda: self.tester.groups(gpu, groups)))
            self.tester.drop(gpu)
            return proof
        except TesterFault as fault:
            return proof if proof.openings else replace(proof, failure=_kind(fault), failure_text=_words(fault))

    def transfers(self) -> tuple[Transfer, ...]:
        """Bytes both ways, counted here."""
        size = self.plan.transfer_bytes
        if not size:
            return ()
        return (self._transfer("up", self.tester.download, size), self._transfer("down", self.tester.upload, size))

    def _transfer(self, direction: Literal["down", "up"], move: Callable[..., float], size: int) -> Transfer:
        try:
            return Transfer(direction, size, move(size, deadline_s=120.0))
        except TesterFault as fault:
            return Transfer(direction, 0, 0.0, failure=_kind(fault))

    def _challenge(self) -> Challenge:
        nonce = secrets.token_bytes(32)
        if self.plan.challenge:
            return self.plan.challenge.anew(nonce)
        return sized(nonce, self.peak_ops or 100e12, seconds=self.plan.seconds)

    def _filling(self) -> Challenge:
        nonce = secrets.token_bytes(32)
        if self.plan.filling:
            return self.plan.filling.anew(nonce)
        total = self.claim.memory_bytes
        return memory.filling(nonce, int(max(total * (1.0 - _KEPT_SHARE) - _KEPT_BYTES, total / 4)))

    def _again(self, ask: Callable[[], _P]) -> _P:
        for _ in range(_TRIES - 1):
            try:
                return ask()
            except TesterFault as fault:
                if fault.fault not in ("network", "timeout"):
                    raise
                time.sleep(_PAUSE_S)
        return ask()


def _words(fault: TesterFault) -> str:
    """Our sentence, and the beginning of a refusal in the machine's own words."""
    return _text(f"{fault} {fault.answer.decode('utf-8', 'replace')}".strip())


def _kind(fault: TesterFault) -> Failure:
    """Status 422 is the tester's own word for "this device cannot"; that it says so makes it true of nothing but the answer."""
    if fault.fault == "refused":
        return "unsupported"
    return "network" if fault.fault == "certificate" else fault.fault


def _text(text: str) -> str:
    return safe(text[:1000])
