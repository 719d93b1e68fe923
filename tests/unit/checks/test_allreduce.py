from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from support.solo_context import SoloContext

from hpcaccept import checks
from hpcaccept.checks.allreduce import Allreduce
from hpcaccept.checks.shared import nccl_transport
from hpcaccept.errors import UsageError
from hpcaccept.measure.device import Cpu
from hpcaccept.measure.ranks import collective
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

KIB = 1 << 10


class PairBench(SoloContext):
    """Rank 0 of two. Rank 1 fills its buffer like rank 0 does, with its own numbers, and is twice as slow."""

    size = 2
    forgets = False
    accumulates = False

    def __init__(self, check: Allreduce) -> None:
        super().__init__(check, size=2, node_ranks=(0, 1))

    def allgather(self, thing: Any) -> list[Any]:
        if isinstance(thing, tuple):  # a node and its ports
            return [thing, ("other", *thing[1:])]
        double = [2 * t for t in thing] if isinstance(thing, list) else 2 * thing
        return [thing, double]

    def reduce_sum(self, buffer: np.ndarray) -> None:
        if self.accumulates and len(buffer) > 1:
            buffer += buffer
        if not self.forgets:
            buffer += np.resize(collective.numbers(1).numpy(), len(buffer))

    @contextlib.contextmanager
    def process_group(self) -> Iterator[str]:
        yield "gloo"


def over_mpi(**params: Any) -> PairBench:
    return PairBench(Allreduce(**{"sizes_bytes": (4 * KIB,), "backends": ("mpi",), "block_s": 0.001, **params}))


def test_one_rank_alone_cannot_be_measured() -> None:
    with pytest.raises(Unavailable, match="at least two ranks"):
        SoloContext(Allreduce()).run()


def test_more_ranks_than_float32_can_add_exactly_are_refused() -> None:
    assert collective.MOST_RANKS * collective.PERIOD < 2**24
    with pytest.raises(Unavailable, match="would not be exact"):
        SoloContext(Allreduce(), size=collective.MOST_RANKS + 1).run()


def test_rank_0_gives_every_metric_for_each_size() -> None:
    ctx = over_mpi(sizes_bytes=(4 * KIB, 64 * KIB)).run()
    for metric in ("latency_s", "algbw_bytes", "busbw_bytes", "spread", "wrong_elements"):
        assert ctx.variants(metric) == {"mpi/4KiB", "mpi/64KiB"}
    assert ctx.value("channels", "mpi") == 1
    assert len(ctx.samples["latency_s", "mpi/4KiB"]) == 3
    assert ctx.value("wrong_elements", "mpi/4KiB") == 0


def test_another_rank_gives_only_what_it_verified_itself() -> None:
    ctx = over_mpi()
    ctx.rank = 1
    ctx.check.measure(ctx)
    assert {name for name, _ in ctx.samples} == {"wrong_elements", "channels"}


def test_the_slowest_rank_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cpu, "time_calls", lambda _self, call, count: [(call(), 0.5)[1] for _ in range(count)])
    ctx = over_mpi().run()
    assert ctx.samples["latency_s", "mpi/4KiB"] == [1.0] * 3
    assert ctx.samples["algbw_bytes", "mpi/4KiB"] == [4096.0] * 3
    assert ctx.samples["busbw_bytes", "mpi/4KiB"] == [4096.0] * 3, "2·(n - 1)/n is 1 for two ranks"


def test_a_sum_that_forgets_a_rank_is_wrong_in_every_element() -> None:
    ctx = over_mpi()
    ctx.forgets = True
    assert ctx.run().value("wrong_elements", "mpi/4KiB") == 1024


def test_a_sum_that_adds_a_rank_twice_is_wrong_in_every_element() -> None:
    ctx = over_mpi()
    ctx.accumulates = True
    assert ctx.run().value("wrong_elements", "mpi/4KiB") == 1024


def test_one_wrong_element_anywhere_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    real = PairBench.reduce_sum

    def harmed(self: PairBench, buffer: np.ndarray) -> None:
        real(self, buffer)
        buffer[-1] += 1

    monkeypatch.setattr(PairBench, "reduce_sum", harmed)
    assert over_mpi().run().value("wrong_elements", "mpi/4KiB") == 1


def test_numbers_differ_by_rank_and_by_element() -> None:
    tables = torch.stack([collective.numbers(rank) for rank in range(64)])
    assert all(len(set(column.tolist())) == 64 for column in tables.T)
    assert tables.min() == 1
    assert torch.equal(collective.total(range(64)), tables.sum(0))
    assert torch.equal(collective.numbers(5), collective.numbers().roll(-collective.offset(5)))
    assert torch.equal(tables, tables.round())


def test_the_device_s_own_backend_is_measured_through_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_reduce(buffer: Any) -> None:
        PairBench.reduce_sum(ctx, buffer.numpy())

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    ctx = over_mpi(backends=("device",))
    ctx.run()
    assert ctx.variants("busbw_bytes") == {"gloo/4KiB"}
    assert ctx.value("wrong_elements", "gloo/4KiB") == 0
    assert ctx.facts["library"].startswith("gloo of torch")
    assert ctx.facts["transport"] == "gloo"
    assert "stands in for NCCL" in ctx.refused["fallback"]


def test_nccl_settings_of_the_environment_are_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    assert "NCCL_ALGO=Ring" in over_mpi().run().facts["nccl_environment"]


def test_sums_over_many_ranks_are_exact() -> None:
    ranks = range(collective.MOST_RANKS)
    expected = [sum((place + 131 * rank) % 1021 + 1 for rank in ranks) for place in (0, 500, 1020)]
    assert collective.total(ranks)[[0, 500, 1020]].tolist() == expected


def test_an_unknown_backend_is_an_error() -> None:
    with pytest.raises(UsageError, match="'backends' of check 'allreduce' has 'ucx'"):
        checks.build("allreduce", {"backends": ["ucx"]})


def test_summing_again_what_was_summed_is_not_taken_for_a_wrong_sum() -> None:
    """The trap of a check that was wrong on every healthy cluster: in place, each call multiplies by the ranks."""
    ctx = over_mpi(blocks=3).run()
    assert ctx.value("wrong_elements", "mpi/4KiB") == 0
    buffer = collective.numbers(0).numpy()
    ctx.reduce_sum(buffer)
    ctx.reduce_sum(buffer)
    assert not np.array_equal(buffer, collective.total(range(2)).numpy()), "without filling anew it would be wrong"


def test_an_unknown_transport_cannot_be_expected() -> None:
    with pytest.raises(
        UsageError, match=r"'expect_transport' of check 'allreduce' is 'rmda'(?s:.*)Did you mean 'rdma'"
    ):
        checks.build("allreduce", {"expect_transport": "rmda"})


def test_what_it_reached_between_nodes_is_held_against_the_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(nccl_transport, "judge_rates", lambda _ctx, backend, rates: told.append((backend, list(rates))))
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda buffer: buffer)
    bench = over_mpi(backends=("device", "mpi"), sizes_bytes=(4 * KIB, 1 << 20))
    monkeypatch.setattr(nccl_transport, "even_nodes", lambda _nodes: (2, 1))
    bench.run()
    ((backend, rates),) = told
    assert backend == "gloo"
    assert [(rate.variant, rate.operation, rate.nodes, rate.ranks_per_node) for rate in rates] == [
        ("gloo/4KiB", "all_reduce", 2, 1),
        ("gloo/1MiB", "all_reduce", 2, 1),
    ]
    blocks = bench.samples["busbw_bytes", "gloo/1MiB"]
    assert min(blocks) <= rates[1].busbw_bytes <= max(blocks)


def test_nodes_with_unlike_numbers_of_ranks_have_no_ceiling() -> None:
    assert nccl_transport.even_nodes(["a", "a", "b", "b"]) == (2, 2)
    assert nccl_transport.even_nodes(["a", "a", "b"]) == (0, 0)
