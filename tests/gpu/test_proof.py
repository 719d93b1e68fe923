"""The prover on a real GPU: bit by bit what numpy computes, and at the speed that its class is asked for."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import numpy as np
import pytest

from hpcaccept.app.tester.worker import Worker, work
from hpcaccept.measure.kernels import int8_chain
from hpcaccept.measure.kernels.int8_chain import Chain, Work
from hpcaccept.proof import chain, memory, openings, speed, stream
from hpcaccept.proof.challenge import Challenge, sized
from hpcaccept.proof.memory import GroupOpening
from hpcaccept.proof.openings import Opening
from hpcaccept.serial import to_plain

GPU = "cuda:0"
NONCE = bytes(range(32))


def test_the_streams_are_numpys() -> None:
    key = stream.key_of(NONCE, "weights")
    assert np.array_equal(int8_chain.random_blocks(key, 5, 1000, GPU).cpu().numpy(), stream.blocks(key, 5, 1000))


@pytest.mark.parametrize("exact", [True, False], ids=["int8", "float32"])
def test_every_checkpoint_is_numpys_bit_by_bit(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_chain, "exact_product", lambda device: exact)
    of = Challenge(NONCE.hex(), 256, 2080, 12, 4)
    keys = (of.key("start"), of.key("weights"), of.key("marks"))
    made = Chain(Work(*keys, of.rows, of.width, of.segments, of.segment), GPU)
    rows = range(of.rows)
    x = of.start_rows(rows)
    for segment, ours in enumerate(made.checkpoints(rows)):
        x = chain.advance(x, of.weights(), of.marks([(segment, row) for row in rows]), of.segment)
        assert np.array_equal(ours.cpu().numpy(), x)


def test_a_gpu_that_has_int8_products_has_exact_ones() -> None:
    import torch

    if torch.cuda.get_device_capability(0) >= (7, 5):
        assert int8_chain.exact_product(GPU)


def test_its_commitment_and_its_memory_are_verified() -> None:
    of = Challenge(NONCE.hex(), 8192, 2048, 64, 16)
    filling = memory.filling(NONCE[::-1], 64 << 20, width=2048, steps=8)
    probe = "cd" * 32
    lines = [
        {"op": "prove", "challenge": to_plain(of)}, {"op": "fill", "challenge": to_plain(filling)}, {"op": "probe", "probe": probe},
        {"op": "groups", "groups": [0, 3]},
    ]  # fmt: skip
    found = asked(lines)
    memory.verify(filling, probe, found[2]["root"], [0, 3], [GroupOpening(**each) for each in found[3]["openings"]])
    roots = found[0]["roots"]
    cells = openings.draw(of, NONCE, roots, 16)
    shown = asked([lines[0], {"op": "open", "cells": cells}])[1]["openings"]
    openings.verify(of, roots, cells, [Opening(**each) for each in shown])


def asked(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    out = io.StringIO()
    work(GPU, io.StringIO("".join(json.dumps(request) + "\n" for request in requests)), out)
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    assert not [answer for answer in found if "fault" in answer], found
    return found


def test_it_is_above_the_floor_of_its_class_and_below_the_peak(record_property: Any) -> None:
    """What floors are calibrated from: the rate stands in the report of the tests."""
    import torch

    known = speed.gpu_class(torch.cuda.get_device_name(0))
    if known is None:
        pytest.skip(f"no class for {torch.cuda.get_device_name(0)}")
    of = sized(NONCE, known.peak_ops)
    worker = Worker(GPU)
    worker.warm({})
    begin = time.perf_counter()
    worker.prove({"challenge": to_plain(of)})
    rate = of.ops / (time.perf_counter() - begin)
    record_property("int8_chain_ops", rate)
    print(f"{known.name}: {rate / 1e12:.1f} TOP/s, {rate / known.peak_ops:.0%} of the peak")  # noqa: T201
    assert known.floor_ops < rate < speed.ABOVE_PEAK * known.peak_ops
