from __future__ import annotations

import numpy as np
import pytest

from hpcaccept.errors import HpcacceptError
from hpcaccept.proof import chain, stream
from hpcaccept.proof.challenge import Challenge

NONCE = bytes(range(32))


def challenge(rows: int = 64, width: int = 128, steps: int = 16, segment: int = 4, nonce: bytes = NONCE) -> Challenge:
    return Challenge(nonce.hex(), rows, width, steps, segment)


def plain_steps(x: stream.Bytes, matrix: stream.Bytes, marks: stream.Bytes, steps: int) -> stream.Bytes:
    """The definition, element by element in int64."""
    for _ in range(steps):
        sums = x.astype(np.int64) @ matrix.astype(np.int64)
        x = ((sums >> 8) & 0xFF).astype(np.uint8).view(np.int8).copy()
        x[:, :32] ^= marks
    return x


@pytest.mark.parametrize("width", [64, 96, 1024, 1056, 2080])
def test_the_recomputation_is_the_definition(width: int) -> None:
    of = challenge(width=width)
    matrix = stream.rows(of.key("weights"), 0, width, width)
    cells = [(1, row) for row in range(8)]
    x, marks = of.start_rows(range(8)), of.marks(cells)
    assert np.array_equal(chain.advance(x, of.weights(), marks, 3), plain_steps(x, matrix, marks, 3))


@pytest.mark.parametrize("left", [-128, 127])
@pytest.mark.parametrize("right", [-128, 127])
def test_the_largest_sums_are_exact(left: int, right: int) -> None:
    width = 2048
    weights = chain.Weights(np.full((width, width), right, np.int8))
    assert (weights.product(np.full((2, width), left, np.int8)) == left * right * width).all()


def test_a_blas_that_is_not_exact_blames_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = challenge(width=256).weights()
    monkeypatch.setattr(weights, "_slices", [part + np.float32(0.001) * part for part in weights._slices])
    with pytest.raises(HpcacceptError, match="not exact"):
        weights.product(challenge(width=256).start_rows(range(4)))


@pytest.mark.parametrize(("rows", "width"), [(64, 64), (32, 96)])  # small enough for one thread of BLAS
def test_after_1200_steps_values_are_spread_and_rows_are_different(rows: int, width: int) -> None:
    of = challenge(rows=rows, width=width, steps=1200, segment=100)
    x = of.start_rows(range(of.rows))
    for segment in range(of.segments):
        x = chain.advance(x, of.weights(), of.marks([(segment, row) for row in range(of.rows)]), of.segment)
        counts = np.bincount((x.astype(np.int64) + 128).ravel(), minlength=256)
        share = counts / x.size
        entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
        # Of uniform bytes: 8 bits less (256 - 1) / (2 · samples · ln 2).
        assert entropy > 8 - 1.5 * 255 / (2 * x.size * np.log(2))
        assert len(np.unique(x, axis=0)) == of.rows
        nearest = min(int((x[0] != other).sum()) for other in x[1:])
        assert nearest > 0.9 * width


def test_one_wrong_bit_is_all_of_the_row_three_steps_later() -> None:
    of = challenge(width=256)
    x = of.start_rows([0, 0])
    x[1, 200] ^= 1
    for steps, share in ((1, 0.0), (2, 0.5), (3, 0.95)):
        both = chain.advance(x, of.weights(), of.marks([(0, 0), (0, 0)]), steps)
        assert (both[0] != both[1]).mean() > share


def test_the_lowest_byte_would_be_linear_and_s_steps_one_product() -> None:
    """Why q cuts it off: with it nobody would have to do the steps."""
    of = challenge(width=64)
    matrix = stream.rows(of.key("weights"), 0, 64, 64).astype(np.int64)
    power = np.linalg.matrix_power(np.eye(64, dtype=np.int64), 1)
    x = of.start_rows(range(8)).astype(np.int64)
    low = x
    for _ in range(16):
        low = (low @ matrix) & 0xFF
        power = (power @ matrix) & 0xFF
    assert np.array_equal((x @ power) & 0xFF, low)


def test_the_chain_is_not_linear_in_its_start() -> None:
    of = challenge(width=256)
    a, b = of.start_rows([1])[0] // 2, of.start_rows([2])[0] // 2
    none = np.zeros((3, 32), np.int8)
    found = chain.advance(np.stack([a, b, a + b]), of.weights(), none, 2).astype(np.int64)
    assert (((found[0] + found[1] - found[2]) & 0xFF) == 0).mean() < 0.05


def test_equal_rows_part_at_once_because_each_row_and_segment_has_a_mark() -> None:
    """Else one row in all places of one checkpoint would save all the work behind it, for one bad checkpoint of many."""
    of = challenge(width=256)
    x = np.repeat(of.start_rows([0]), 8, axis=0)
    marks = of.marks([(0, row) for row in range(8)])
    assert len(np.unique(chain.advance(x, of.weights(), marks, 1), axis=0)) == 8
    parted = chain.advance(x, of.weights(), marks, 3)
    assert min((parted[0] != other).mean() for other in parted[1:]) > 0.95
    unmarked = chain.advance(x, of.weights(), np.zeros_like(marks), 3)
    assert len(np.unique(unmarked, axis=0)) == 1


def test_the_same_row_at_two_checkpoints_goes_on_differently() -> None:
    """Else a prover could go round in a circle of two checkpoints."""
    of = challenge(width=256)
    x = np.repeat(of.start_rows([0]), 2, axis=0)
    after = chain.advance(x, of.weights(), of.marks([(0, 5), (1, 5)]), of.segment)
    assert (after[0] != after[1]).mean() > 0.95


def test_every_stream_of_every_nonce_is_another_one() -> None:
    keys = {
        stream.key_of(nonce, label) for nonce in (NONCE, bytes(32)) for label in ("start", "weights", "marks", "probe")
    }
    assert len(keys) == 8


def test_a_row_is_made_alone_as_it_is_made_among_others() -> None:
    of = challenge()
    whole = stream.rows(of.key("start"), 0, of.rows, of.width)
    assert np.array_equal(of.start_rows([3, 63, 3]), whole[[3, 63, 3]])


def test_philox_is_the_published_one() -> None:
    """Random123's known answers for philox4x64-10 (kat_vectors): numpy counts from 1, so the block before 0 is that of counter 0."""
    words = np.random.Philox(key=np.zeros(2, np.uint64), counter=np.full(4, (1 << 64) - 1, np.uint64)).random_raw(4)
    assert [f"{int(word):016x}" for word in words] == [
        "16554d9eca36314c", "db20fe9d672d0fdc", "d7e772cee186176b", "7e68b68aec7ba23b",
    ]  # fmt: skip
    ours = stream.blocks((0, 0), 0, 1).view("<u8").ravel()
    assert np.array_equal(ours, np.random.Philox(key=np.zeros(2, np.uint64)).random_raw(4))


def test_numbers_are_chosen_once_each_and_evenly() -> None:
    key = stream.key_of(NONCE, "test")
    assert sorted(stream.chosen(key, 10, 100)) == list(range(10))
    found = stream.chosen(key, 1 << 40, 500)
    assert len(set(found)) == 500
    assert 0.4 < np.mean(np.array(found) / (1 << 40)) < 0.6
