from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.fake_cuda import fake_cuda

from hpcaccept.measure.kernels import int8_chain
from hpcaccept.measure.kernels.int8_chain import Chain, Work
from hpcaccept.proof import chain, memory, stream
from hpcaccept.proof.challenge import Challenge

NONCE = bytes(range(32))


def challenge(rows: int = 40, width: int = 96, steps: int = 12, segment: int = 4) -> Challenge:
    return Challenge(NONCE.hex(), rows, width, steps, segment)


def work(of: Challenge) -> Work:
    return Work(of.key("start"), of.key("weights"), of.key("marks"), of.rows, of.width, of.segments, of.segment)


def reference(of: Challenge) -> list[Any]:
    """X at every checkpoint, by numpy."""
    rows = range(of.rows)
    x, found = of.start_rows(rows), []
    for segment in range(of.segments):
        x = chain.advance(x, of.weights(), of.marks([(segment, row) for row in rows]), of.segment)
        found.append(x)
    return found


@pytest.fixture(params=[True, False], ids=["int8", "float32"])
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    exact: bool = request.param
    if exact and not int8_chain.exact_product("cpu"):
        pytest.skip("torch._int_mm saturates on this processor")
    monkeypatch.setattr(int8_chain, "exact_product", lambda device: exact)
    return exact


@pytest.mark.parametrize("first", [0, 5, (1 << 40) - 3])
@pytest.mark.parametrize("key", [(0, 0), ((1 << 64) - 1, (1 << 63) + 5), stream.key_of(NONCE, "weights")])
def test_torch_makes_the_bytes_of_numpys_philox(
    key: tuple[int, int], first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_chain, "_AT_ONCE", 7)
    assert np.array_equal(int8_chain.random_blocks(key, first, 20, "cpu").numpy(), stream.blocks(key, first, 20))


def test_every_checkpoint_is_numpys_bit_by_bit(product: bool) -> None:
    of = challenge()
    ours = [x.clone().numpy() for x in Chain(work(of), "cpu").checkpoints(range(of.rows))]
    assert all(np.array_equal(a, b) for a, b in zip(ours, reference(of), strict=True))


def test_sums_of_more_than_1024_products_are_exact_too(product: bool) -> None:
    of = challenge(rows=32, width=2080, steps=2, segment=1)
    ours = [x.clone().numpy() for x in Chain(work(of), "cpu").checkpoints(range(of.rows))]
    assert all(np.array_equal(a, b) for a, b in zip(ours, reference(of), strict=True))


@pytest.mark.parametrize("value", [-128, 127])
def test_the_largest_sums_are_exact(value: int, product: bool) -> None:
    x = torch.full((32, 2048), value, dtype=torch.int8)
    of = Chain(work(challenge(rows=32, width=2048, steps=1, segment=1)), "cpu")
    of._factors = torch.full((2048, 2048), -128, dtype=torch.int8).t() if product else torch.full((2048, 2048), -128.0)
    out = torch.empty((32, 2048), dtype=torch.int32)
    of.multiply(x, out)
    assert bool((out == -128 * value * 2048).all())


def test_blocks_of_rows_give_what_all_of_them_at_once_give(product: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    of = challenge(rows=100, width=64)
    whole = reference(of)
    monkeypatch.setattr(int8_chain, "_SUM_BYTES", 32 * 4 * 64)
    made = Chain(work(of), "cpu")
    assert [len(block) for block in made.blocks()] == [32, 32, 36]
    for block in made.blocks():
        for ours, theirs in zip(made.checkpoints(block), whole, strict=True):
            assert np.array_equal(ours.numpy(), theirs[block.start : block.stop])


def test_single_rows_are_made_anew(product: bool) -> None:
    of = challenge()
    found = [x.clone().numpy() for x in Chain(work(of), "cpu").rows_at([7, 31])]
    assert np.array_equal(found[0], of.start_rows([7, 31]))
    assert all(np.array_equal(a, b[[7, 31]]) for a, b in zip(found[1:], reference(of), strict=True))


def test_sums_over_memory_are_those_of_the_verifier(product: bool) -> None:
    of = memory.filling(NONCE, 100 * 64, width=64, steps=3)
    vector = memory.probe_vector("ab" * 32, of.width)
    filled = Chain(work(of), "cpu").filled()
    found = int8_chain.sums_with(filled, vector, "cpu")
    assert np.array_equal(found, reference(of)[-1].astype(np.int64) @ vector.astype(np.int64))


def test_on_a_gpu_the_product_is_one_of_int8_with_the_layout_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    of = challenge(rows=4096, width=256, steps=4, segment=2)
    with fake_cuda(monkeypatch) as runtime:
        monkeypatch.setattr(int8_chain, "exact_product", lambda device: True)
        made = Chain(work(of), "cuda:3")
        assert made._factors.stride() == (1, 256)
        for _ in made.checkpoints(range(of.rows)):
            pass
        list(made.rows_at([1]))
    assert runtime.operations["_int_mm"] == of.steps * 2
    assert runtime.used == {"cuda:3"}


def test_a_checkpoint_leaves_the_gpu_beside_the_next_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a stream of its own, from a copy: X goes on changing meanwhile."""
    with fake_cuda(monkeypatch) as runtime:
        x = torch.zeros((64, 64), dtype=torch.int8, device="cuda:2")
        fetch = int8_chain.snapshot(x)
        assert runtime.operations["clone"] == 1
        assert fetch().device.type == "cpu"


def test_on_a_processor_a_checkpoint_is_a_copy_too() -> None:
    x = torch.zeros((64, 64), dtype=torch.int8)
    fetch = int8_chain.snapshot(x)
    x += 1
    assert int(fetch().sum()) == 0


def test_a_device_without_products_of_int8_multiplies_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("_int_mm is not implemented")

    monkeypatch.setattr(torch, "_int_mm", refuse)
    int8_chain.exact_product.cache_clear()
    try:
        assert int8_chain.exact_product("cpu") is False
        of = challenge()
        ours = [x.clone().numpy() for x in Chain(work(of), "cpu").checkpoints(range(of.rows))]
        assert np.array_equal(ours[-1], reference(of)[-1])
    finally:
        int8_chain.exact_product.cache_clear()


def test_a_product_that_saturates_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch._int_mm
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: right(a, b).clamp(-1_000_000, 1_000_000))
    int8_chain.exact_product.cache_clear()
    try:
        assert int8_chain.exact_product("cpu") is False
    finally:
        int8_chain.exact_product.cache_clear()
