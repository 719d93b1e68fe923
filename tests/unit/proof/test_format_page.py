from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import numpy as np

from hpcaccept.proof import transcript
from hpcaccept.proof.challenge import Challenge
from hpcaccept.proof.transcript import Transcript
from hpcaccept.proof.verdict import Reason

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "reference" / "proof-transcript.md").read_text("utf-8")


def test_the_published_schema_is_that_of_the_code() -> None:
    """Accept with: python -c "import json; from hpcaccept.proof.transcript import schema; print(json.dumps(schema(), indent=1))"."""
    assert json.loads((DOCS / "reference" / "proof-transcript.schema.json").read_text("utf-8")) == transcript.schema()


def test_the_page_names_every_key() -> None:
    for field in dataclasses.fields(Transcript):
        assert f"`{field.name}`" in PAGE, field.name


def test_the_other_page_names_every_reason() -> None:
    text = (DOCS / "explanation" / "rented-machines.md").read_text("utf-8")
    for reason in Reason.__args__:  # type: ignore[attr-defined]
        assert not reason or f"`{reason}`" in text, reason


def test_a_step_is_what_the_page_says() -> None:
    """By the page alone, so that an auditor in another language gets the same bytes."""
    of = Challenge("5a" * 32, 64, 64, 2, 1)

    def stream(label: str, size: int) -> np.ndarray:
        digest = hashlib.sha256(bytes.fromhex(of.nonce) + b"|" + label.encode()).digest()
        philox = np.random.Philox(key=np.frombuffer(digest[:16], "<u8"))
        return np.frombuffer(philox.random_raw(size // 8).astype("<u8").tobytes(), np.int8)

    weights = stream("weights", 64 * 64).reshape(64, 64).astype(np.int64)
    row = stream("start", 64 * 64).reshape(64, 64)[7]
    assert np.array_equal(row, of.start_rows([7])[0])
    sums = row.astype(np.int64) @ weights
    stepped = ((sums >> 8) & 0xFF).astype(np.uint8)
    marks = stream("marks", 2 * 64 * 32).reshape(2, 64, 32)
    stepped[:32] ^= marks[0, 7].view(np.uint8)
    from hpcaccept.proof.chain import advance

    assert np.array_equal(stepped.view(np.int8), advance(of.start_rows([7]), of.weights(), of.marks([(0, 7)]), 1)[0])
    assert re.search(r"bits 8 to 15", PAGE)
