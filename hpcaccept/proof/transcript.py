"""What is kept of a conversation, so that anyone can judge it again: one JSON file, read strictly and within limits.

It shows that rows follow from nonces and were committed to. It cannot show when: times are the client's word, and nothing is signed, since a machine that is
rented for an hour has no name to sign with. There is no secret in it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from hpcaccept import serial
from hpcaccept.errors import StoreError
from hpcaccept.proof import memory, openings
from hpcaccept.proof.challenge import MOST_STATE_BYTES, Challenge
from hpcaccept.proof.memory import GroupOpening
from hpcaccept.proof.openings import MOST_OPENINGS, MOST_VERIFYING_MACS, Opening
from hpcaccept.proof.verdict import ProofVerdict

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT, VERSION = "hpcaccept-proof-transcript", 1
#: Of a file: 8 GPUs with 64 openings each have 7 MB.
MOST_BYTES = 32 * 1024 * 1024
_MOST_PROOFS, _MOST_TEXT, _MOST_CLAIMS = 64, 2000, 64
#: Multiply-adds that judging one file again may cost: some minutes on two cores.
_MOST_MACS = 8 * MOST_VERIFYING_MACS
_LONGEST_S = 7 * 24 * 3600.0
_RESIDENT = 0.25

#: What came instead of an answer. The first three are nobody's guilt.
Failure = Literal["", "network", "timeout", "unsupported", "oversize", "malformed"]


@dataclass(frozen=True)
class Proof:
    """One GPU's challenge and what came back. Times are seconds of the client's clock since the transcript began.

    Attributes:
        gpu: index.
        challenge: that was sent.
        floor_ops: int8 operations per second of the claimed class below which the claim is refuted; 0: none is known.
        peak_ops: of the claimed class; 0: unknown.
        sent_s: when the nonce left.
        committed_s: when the last root was there; 0: never.
        roots: hexadecimal, one a segment.
        seed: hexadecimal, 32 bytes, the client's, of which the opened cells follow; made after the roots had come.
        count: cells that were asked for.
        openings: the answer.
        failure: what came instead of one.
        failure_text: in words, printable.
    """

    gpu: int
    challenge: Challenge
    floor_ops: float
    peak_ops: float
    sent_s: float
    committed_s: float = 0.0
    roots: tuple[str, ...] = ()
    seed: str = ""
    count: int = 0
    openings: tuple[Opening, ...] = ()
    failure: Failure = ""
    failure_text: str = ""


@dataclass(frozen=True)
class MemoryProof:
    """One GPU's memory: the filling, one probe of it, and what came back.

    Attributes:
        gpu: index.
        challenge: the chain whose end is kept in memory.
        filled_s: seconds that the filling took.
        probe: hexadecimal nonce of the vector.
        sent_s: when it left.
        committed_s: when the root was there; 0: never.
        peak_ops: int8 operations per second that the claimed class cannot exceed; 0: unknown, and then nothing is too late.
        root: hexadecimal.
        seed: hexadecimal, of which the opened groups follow.
        count: groups that were asked for.
        openings: the answer.
        failure: what came instead of one.
        failure_text: in words, printable.
    """

    gpu: int
    challenge: Challenge
    filled_s: float
    probe: str
    sent_s: float
    committed_s: float = 0.0
    peak_ops: float = 0.0
    root: str = ""
    seed: str = ""
    count: int = 0
    openings: tuple[GroupOpening, ...] = ()
    failure: Failure = ""
    failure_text: str = ""

    @property
    def size_bytes(self) -> int:
        """Of the memory that was read."""
        return self.challenge.rows * self.challenge.width

    @property
    def allowed_s(self) -> float:
        """A quarter of what making the buffer anew takes at the peak; how long the host took to fill it says nothing. 0: not known."""
        return _RESIDENT * self.challenge.ops / self.peak_ops if self.peak_ops else 0.0


@dataclass(frozen=True)
class Transfer:
    """Bytes that the client itself counted.

    Attributes:
        direction: seen from the machine.
        size_bytes: sent or received whole.
        seconds: on the client's clock.
        failure: what came instead.
    """

    direction: Literal["down", "up"]
    size_bytes: int
    seconds: float
    failure: Failure = ""

    @property
    def rate_bytes(self) -> float:
        """Bytes per second: of the slower of both ends and the path."""
        return self.size_bytes / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class Transcript:
    """Everything said between a client and one machine, and what the client made of it.

    Attributes:
        format: always the same, so that the file says what it is.
        version: of the format.
        hpcaccept: version that wrote it.
        created_at: UTC, ISO 8601.
        machine: what the machine is called by who rented it.
        claimed: what the host says of itself; nothing here is measured.
        rtts_s: round trips before the challenge.
        proofs: one a GPU.
        memory: one a GPU.
        transfers: both directions.
        verdicts: the client's.
    """

    format: str
    version: int
    hpcaccept: str
    created_at: str
    machine: str
    claimed: dict[str, str]
    rtts_s: tuple[float, ...]
    proofs: tuple[Proof, ...]
    memory: tuple[MemoryProof, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    verdicts: tuple[ProofVerdict, ...] = ()

    def judged(self, verdicts: tuple[ProofVerdict, ...]) -> Transcript:
        """The same with verdicts."""
        return replace(self, verdicts=verdicts)


def dumps(transcript: Transcript) -> str:
    """The file's text."""
    return json.dumps(serial.to_plain(transcript), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def loads(raw: bytes, name: str) -> Transcript:
    """A transcript from a file's bytes, seen to be within what an auditor can judge in minutes.

    Args:
        raw: of the file, which may come from anybody.
        name: of the file, for errors.

    Raises:
        StoreError: other version or format, not JSON, too large, or inconsistent. A retry cannot help.
    """
    if len(raw) > MOST_BYTES:
        raise StoreError(f"{name} has {len(raw):,} bytes, expected a transcript of at most {MOST_BYTES:,}.")
    try:
        plain = serial.loads(raw)
    except ValueError as fault:
        raise StoreError(f"{name} is not a transcript: {str(fault)[:200]}.") from None
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise StoreError(f"{name} is not a transcript: its format is not {FORMAT!r}.")
    if plain.get("version") != VERSION:
        raise StoreError(
            f"{name} has version {str(plain.get('version'))[:20]}, expected {VERSION}.",
            "Use the hpcaccept that wrote it.",
        )
    try:
        found = serial.from_plain(plain, Transcript)
    except ValueError as fault:
        raise StoreError(f"{name} is not a transcript: {str(fault)[:300]}.") from None
    for what in _wrong(found):
        raise StoreError(f"{name} cannot be judged: {what}.")
    return found


def _wrong(found: Transcript) -> Iterator[str]:
    """What makes it impossible, dishonest or too costly to judge."""
    many = {"proofs": found.proofs, "memory": found.memory, "transfers": found.transfers}
    yield from (
        f"it has {len(x)} {name}, expected at most {_MOST_PROOFS}" for name, x in many.items() if len(x) > _MOST_PROOFS
    )
    parts: list[Proof | MemoryProof] = [*found.proofs, *found.memory]
    if len(found.claimed) > _MOST_CLAIMS or len(found.rtts_s) > _MOST_PROOFS:
        yield "it has more claims or round trips than a machine can have"
    texts = [
        *found.claimed.values(),
        *found.claimed,
        found.machine,
        *(part.failure_text for part in parts),
    ]
    if any(len(text) > _MOST_TEXT for text in texts):
        yield f"a text in it is longer than {_MOST_TEXT} characters"
    nonces = [part.challenge.nonce for part in parts]
    if len(set(nonces)) < len(nonces):
        yield "two challenges have one nonce, so that one GPU could answer for both"
    if not all(_sane(part) for part in parts) or not all(0 <= rtt < _LONGEST_S for rtt in found.rtts_s):
        yield "a time, rate, seed or count in it is none"
    if any(t.size_bytes < 0 or not 0 <= t.seconds < _LONGEST_S for t in found.transfers):
        yield "a transfer in it is none"
    if any(p.challenge.rows * p.challenge.width > MOST_STATE_BYTES for p in found.proofs):
        yield f"a challenge has more than {MOST_STATE_BYTES:,} bytes of rows"
    costs = [macs_of(part) for part in parts]
    if any(cost > MOST_VERIFYING_MACS for cost in costs) or sum(costs) > _MOST_MACS:
        yield f"it would take {sum(costs):.1e} multiply-adds to recompute, expected at most {_MOST_MACS:.1e}"


def macs_of(part: Proof | MemoryProof) -> float:
    """Multiply-adds that it takes to recompute what was opened, and the weights' preparation."""
    rows = len(part.openings) * (memory.GROUP if isinstance(part, MemoryProof) else 1)
    return part.challenge.verifying_macs(rows)


def _sane(part: Proof | MemoryProof) -> bool:
    times: list[float] = [part.sent_s, part.committed_s]
    rates: list[float] = [part.peak_ops]
    if isinstance(part, Proof):
        rates.append(part.floor_ops)
    else:
        times.append(part.filled_s)
    digests = [part.seed] if part.seed else []
    digests += [part.probe] if isinstance(part, MemoryProof) else []
    return (
        all(0 <= x < _LONGEST_S for x in times)
        and all(0 <= x < 1e18 and math.isfinite(x) for x in rates)
        and all(len(x) == 64 and set(x) <= set("0123456789abcdef") for x in digests)
        and 0 <= part.count <= MOST_OPENINGS
        and len(part.openings) <= MOST_OPENINGS
        and 0 <= part.gpu < _MOST_PROOFS
    )


def cells_of(proof: Proof) -> list[openings.Cell]:
    """The cells that had to be opened."""
    return openings.draw(proof.challenge, bytes.fromhex(proof.seed), proof.roots, proof.count)


def schema() -> dict[str, Any]:
    """JSON schema of the file, for readers in other languages."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": FORMAT, **_schema_of(Transcript)}


def _schema_of(hint: Any) -> dict[str, Any]:
    import dataclasses
    from typing import get_args, get_origin, get_type_hints

    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        fields = dataclasses.fields(hint)
        return {
            "type": "object",
            "properties": {f.name: _schema_of(hints[f.name]) for f in fields},
            "required": [f.name for f in fields if f.default is dataclasses.MISSING],
            "additionalProperties": False,
        }
    args = get_args(hint)
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _schema_of(args[0])}
    if get_origin(hint) is dict:
        return {"type": "object", "additionalProperties": _schema_of(args[1])}
    if get_origin(hint) is Literal:
        return {"enum": list(args)}
    return {"type": {str: "string", int: "integer", float: "number"}[hint]}
