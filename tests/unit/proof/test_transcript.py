from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.lying_testers import Commitment, computed

from hpcaccept.errors import StoreError
from hpcaccept.proof import openings
from hpcaccept.proof.challenge import Challenge
from hpcaccept.proof.judge import judge
from hpcaccept.proof.openings import Opening
from hpcaccept.proof.transcript import FORMAT, VERSION, Proof, Transcript, dumps, loads, schema

if TYPE_CHECKING:
    from collections.abc import Callable

OF = Challenge("ab" * 32, 64, 64, 8, 2)
SEED = "cd" * 32


@pytest.fixture(scope="module")
def right() -> Transcript:
    """One GPU, honest."""
    made = Commitment(OF, computed(OF))
    cells = openings.draw(OF, bytes.fromhex(SEED), made.roots, 6)
    shown = tuple(Opening(**made.opened(segment, row)) for segment, row in cells)
    proof = Proof(0, OF, 1.0, 1e15, 1.0, 2.0, tuple(made.roots), SEED, 6, shown)
    found = Transcript(
        FORMAT, VERSION, "0.1.0", "2026-11-29T00:00:00+00:00", "7", {"gpu": "H100"}, (0.01, 0.02), (proof,)
    )
    return found.judged(judge(found))


def test_what_is_written_is_read_and_fits_the_published_schema(right: Transcript) -> None:
    text = dumps(right)
    assert loads(text.encode(), "x") == right
    assert right.verdicts[0].outcome == "verified"
    jsonschema.validate(json.loads(text), schema())


def changed(right: Transcript, change: Callable[[dict[str, Any]], object]) -> bytes:
    plain = json.loads(dumps(right))
    change(plain)
    return json.dumps(plain).encode()


def proof_of(plain: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = plain["proofs"][0]
    return found


def widen(plain: dict[str, Any]) -> None:
    proof_of(plain)["challenge"].update(width=16384, steps=1 << 16, segment=1 << 14)


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "other format": (lambda p: p.update(format="x"), "format"),
    "other version": (lambda p: p.update(version=2), "version 2, expected 1"),
    "endless version": (lambda p: p.update(version="9" * 10_000), "expected 1"),
    "unknown key": (lambda p: p.update(more=1), "unknown key"),
    "nonce twice": (lambda p: p["proofs"].append(p["proofs"][0]), "one nonce"),
    "many proofs": (lambda p: p.update(proofs=p["proofs"] * 100), "expected at most 64"),
    "years of work": (widen, "multiply-adds"),
    "too many rows": (lambda p: proof_of(p)["challenge"].update(rows=1 << 26), "bytes of rows"),
    "no nonce": (lambda p: proof_of(p)["challenge"].update(nonce="x"), "nonce"),
    "negative time": (lambda p: proof_of(p).update(sent_s=-1.0), "time"),
    "endless count": (lambda p: proof_of(p).update(count=1 << 40), "count"),
    "seed of words": (lambda p: proof_of(p).update(seed="../../etc"), "seed"),
    "long text": (lambda p: p["claimed"].update(gpu="x" * 10_000), "longer"),
    "many claims": (lambda p: p["claimed"].update({str(i): "" for i in range(100)}), "claims"),
    "text for a number": (lambda p: proof_of(p).update(gpu="0"), "expected int"),
    "null": (lambda p: p.update(proofs=None), "expected a list"),
    "refuted without a reason": (lambda p: p["verdicts"][0].update(outcome="refuted"), "reason"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_transcript_is_refused_with_a_sentence_within_a_second(name: str, right: Transcript) -> None:
    change, words = HOSTILE[name]
    raw = changed(right, change)
    begin = time.process_time()
    with pytest.raises(StoreError, match=words):
        loads(raw, "given.json")
    assert time.process_time() - begin < 1.0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 500_000,
        b'{"a":' * 200_000,
        b'{"format":1,"format":2}',
        b"NaN",
        b"1" * 5000,
    ],
    ids=["empty", "torn", "list", "null", "no text", "deep", "deep tables", "key twice", "NaN", "digits"],
)
def test_what_is_no_transcript_is_refused_within_a_second(raw: bytes) -> None:
    begin = time.process_time()
    with pytest.raises(StoreError, match="not a transcript"):
        loads(raw, "given.json")
    assert time.process_time() - begin < 1.0


def test_a_huge_one_is_not_even_parsed() -> None:
    begin = time.process_time()
    with pytest.raises(StoreError, match="33,554,433 bytes"):
        loads(b" " * ((32 << 20) + 1), "given.json")
    assert time.process_time() - begin < 1.0


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another root": (lambda p: p["roots"].__setitem__(0, "00" * 32), "other-cells"),
    "another seed": (lambda p: p.update(seed="00" * 32), "other-cells"),
    "a cell less": (lambda p: p["openings"].pop(), "other-cells"),
    "another row's bytes": (lambda p: p["openings"][0].update(end=p["openings"][1]["end"]), "not-committed"),
    "another nonce": (lambda p: p["challenge"].update(nonce="00" * 32), "wrong-result"),
    "a root less": (lambda p: p["roots"].pop(), "malformed"),
    "no base64": (lambda p: p["openings"][0].update(end="%%%"), "malformed"),
    "half a row": (lambda p: p["openings"][0].update(end="AAAA"), "malformed"),
    "fewer steps": (lambda p: p["challenge"].update(steps=4, segment=1), "wrong-result"),
    "an hour later": (lambda p: p.update(committed_s=3600.0, floor_ops=1e6), "late"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_one_is_judged_by_its_evidence_and_not_by_its_verdict(name: str, right: Transcript) -> None:
    change, reason = FORGERIES[name]
    found = loads(changed(right, lambda plain: change(proof_of(plain))), "x")
    assert found.verdicts[0].outcome == "verified"
    assert judge(found)[0].reason == reason


@settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_change_of_one_value_is_refused_or_judged(right: Transcript, data: st.DataObject) -> None:
    plain = json.loads(dumps(right))
    place: Any = plain
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key]:
            break
        place = place[key]
    place[key] = data.draw(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(1 << 70), 1 << 70),
            st.floats(allow_nan=False),
            st.text(max_size=40),
            st.just([]),
        )
    )
    try:
        found = loads(json.dumps(plain, allow_nan=False).encode(), "x")
    except (StoreError, ValueError):
        return
    assert judge(found)
