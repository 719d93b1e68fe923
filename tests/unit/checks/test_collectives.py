"""The pure parts, and what is right and wrong in a result. Real ranks: tests/system/test_collectives_mpi.py."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.distributed as dist
from support.solo_context import SoloContext

from hpcaccept import checks
from hpcaccept.checks import collectives as module
from hpcaccept.checks.collectives import Collectives, Team, groups_of
from hpcaccept.checks.shared import exchange as shared
from hpcaccept.checks.shared.exchange import Exchange, exchange, length_of, wrong_elements
from hpcaccept.errors import UsageError
from hpcaccept.measure.device import Cpu
from hpcaccept.measure.kernels import pattern
from hpcaccept.measure.ranks import collective
from hpcaccept.model.check import Unavailable

OPERATIONS = tuple(shared.FACTORS)
RANKS = (4, 7, 9)
SHARE = 1500


@pytest.fixture(autouse=True)
def no_torch_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that only remember their tensors: ``world`` moves the data."""
    for name in ("all_reduce", "broadcast", "all_to_all_single", "all_gather_single", "reduce_scatter_single"):
        monkeypatch.setattr(dist, name, lambda *tensors, **_: tensors, raising=False)


def members(operation: str, length: int = SHARE * len(RANKS)) -> list[Exchange]:
    """What each of three ranks would call."""
    works = []
    for rank in RANKS:
        team = Team("node", ((0, 1, 2), RANKS), 1, RANKS.index(rank))
        works.append(exchange(operation, team, "cpu", length))
    return works


def tensors(work: Exchange) -> tuple[Any, ...]:
    found: Any = work.call()
    return tuple(found)


def world(operation: str, works: list[Exchange]) -> None:
    """A fabric that does what the operation is defined to do."""
    sent = [tensors(work)[-1].clone() for work in works]
    share = len(sent[0]) // len(works)
    for me, work in enumerate(works):
        target = tensors(work)[0]
        if operation == "all_reduce":
            target.copy_(sum(sent))
        elif operation == "broadcast":
            target.copy_(sent[0])
        elif operation == "all_gather":
            target.copy_(torch.cat(sent))
        elif operation == "reduce_scatter":
            target.copy_(sum(sent)[me * share : (me + 1) * share])
        else:
            target.copy_(torch.cat([source[me * share : (me + 1) * share] for source in sent]))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_right_result_is_right_on_every_rank(operation: str) -> None:
    works = members(operation)
    world(operation, works)
    assert [wrong_elements(work) for work in works] == [0, 0, 0]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_wrong_element_is_found_on_the_rank_that_has_it_and_on_no_other(operation: str) -> None:
    works = members(operation)
    world(operation, works)
    works[1].target[-1] += 1
    assert [wrong_elements(work) for work in works] == [0, 1, 0]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_never_arrived_is_wrong_everywhere(operation: str) -> None:
    works = members(operation)
    wrong = [wrong_elements(work) for work in works]
    receives = [len(work.target) for work in works]
    if operation == "broadcast":
        receives[0] = 0  # the root has what it sends
    assert wrong == receives


@pytest.mark.parametrize("operation", ["all_gather", "all_to_all"])
def test_two_ranks_in_each_other_s_place_are_seen(operation: str) -> None:
    works = members(operation)
    world(operation, works)
    target = works[2].target
    first, second = target[:SHARE].clone(), target[SHARE : 2 * SHARE].clone()
    target[:SHARE], target[SHARE : 2 * SHARE] = second, first
    assert wrong_elements(works[2]) > 1.9 * SHARE


@pytest.mark.parametrize("operation", ["reduce_scatter", "all_to_all"])
def test_another_rank_s_share_is_wrong(operation: str) -> None:
    works = members(operation)
    world(operation, works)
    works[0].target.copy_(works[1].target)
    assert wrong_elements(works[0]) > 0.9 * len(works[0].target)


@pytest.mark.parametrize("operation", ["all_reduce", "reduce_scatter"])
@pytest.mark.parametrize("times", [0, 2])
def test_a_sum_without_a_rank_or_with_it_twice_is_wrong_in_every_element(operation: str, times: int) -> None:
    works = members(operation)
    world(operation, works)
    target = works[0].target
    target += (times - 1) * _filled(len(target), RANKS[1])
    assert wrong_elements(works[0]) == len(target)


def _filled(length: int, rank: int) -> Any:
    memory = torch.empty(length)
    pattern.fill(memory, collective.numbers(rank))
    return memory


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_element_of_the_target_belongs_to_a_part(operation: str) -> None:
    for work in members(operation):
        covered = [(part.start, part.stop) for part in work.parts]
        assert covered[0][0] == 0
        assert all(before[1] == after[0] for before, after in itertools.pairwise(covered))
        assert covered[-1][1] == len(work.target)


@pytest.mark.parametrize("operation", ["all_gather", "reduce_scatter", "all_to_all"])
def test_old_results_are_cleared_before_the_call_that_is_verified(operation: str) -> None:
    works = members(operation)
    world(operation, works)
    works[0].refill()
    assert all(math.isnan(number) for number in works[0].target.tolist())


# --- groups -----------------------------------------------------------------------------------------------------------


def test_ranks_fall_into_world_nodes_and_rails() -> None:
    found, absent = groups_of(["a", "a", "b", "b", "c", "c"])
    assert found == {
        "world": ((0, 1, 2, 3, 4, 5),),
        "node": ((0, 1), (2, 3), (4, 5)),
        "rail": ((0, 2, 4), (1, 3, 5)),
    }
    assert not absent


def test_ranks_that_are_dealt_in_turn_still_fall_into_their_nodes() -> None:
    found, _ = groups_of(["a", "b", "a", "b"])
    assert found["node"] == ((0, 2), (1, 3))
    assert found["rail"] == ((0, 1), (2, 3))


@pytest.mark.parametrize(
    ("nodes", "kinds", "reasons"),
    [
        (["a", "a"], {"node"}, {"world": "all ranks are on one node", "rail": "all ranks are on one node"}),
        (["a", "b"], {"world"}, {"node": "one rank on each node", "rail": "one rank on each node"}),
        (["a", "a", "b"], {"world"}, {"node": "unlike numbers of ranks: 1 to 2", "rail": "unlike numbers"}),
    ],
)
def test_a_group_that_is_not_there_is_told_with_its_reason(
    nodes: list[str], kinds: set[str], reasons: dict[str, str]
) -> None:
    found, absent = groups_of(nodes)
    assert set(found) == kinds
    assert set(absent) == set(reasons)
    assert all(words in absent[group] for group, words in reasons.items())


@pytest.mark.parametrize(
    ("size", "ranks", "length"),
    [(8, 4, 4), (8, 2, 2), (4096, 4, 1024), (4096, 3, 3 * 340), (1 << 20, 7, 7 * 37448), (64, 16, 16)],
)
def test_every_rank_has_the_same_share_cut_to_16_bytes(size: int, ranks: int, length: int) -> None:
    assert length_of(size, ranks) == length
    assert length % ranks == 0


def test_the_rails_have_names_and_all_nodes_one() -> None:
    rails = Team("rail", ((0, 2), (1, 3)), 1, 0)
    assert rails.name == "rail1"
    assert rails.all_named() == {"rail0": (0, 2), "rail1": (1, 3)}
    assert Team("node", ((0, 1), (2, 3)), 1, 0).all_named() == {"node": (2, 3)}


# --- figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "ranks", "factor"),
    [
        ("all_reduce", 8, 1.75),
        ("all_gather", 8, 0.875),
        ("reduce_scatter", 8, 0.875),
        ("all_to_all", 2, 0.5),
        ("broadcast", 8, 1.0),
    ],
)
def test_bus_bandwidth_is_nccl_tests_definition(operation: str, ranks: int, factor: float) -> None:
    assert shared.FACTORS[operation](ranks) == factor


def test_a_slow_rail_is_named_by_its_share() -> None:
    found = module.shares({f"rail{k}": [0.2 if k == 3 else 0.1] for k in range(8)})
    limit = Collectives.metric("rail_share").limit  # type: ignore[union-attr]
    assert limit is not None
    assert [name for name, share in found.items() if not limit.met_by(share)] == ["rail3"]


RAILS = ((0, 3), (1, 4), (2, 5))


def rails(monkeypatch: pytest.MonkeyPatch, device: Cpu, size_bytes: int, rank: int = 0) -> SoloContext:
    """Six ranks on three rails; rank 4 takes twice as long as the others."""
    figures = [[2e-3 if rank == 4 else 1e-3] * 2 for rank in range(6)]
    monkeypatch.setattr(collective, "block_seconds", lambda *_: figures)
    ctx = SoloContext(Collectives(), rank=rank, size=6)
    team = Team("rail", RAILS, rank % 3, rank // 3)
    Collectives()._measure_size(ctx, device, team, "all_gather", size_bytes)
    return ctx


def test_the_rail_of_a_slow_rank_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = rails(monkeypatch, Cpu(kind="cuda"), 1 << 20)
    assert {variant: ctx.value("rail_share", variant) for variant in ctx.variants("rail_share")} == {
        "all_gather/rail0/1MiB": 1.0,
        "all_gather/rail1/1MiB": 0.5,
        "all_gather/rail2/1MiB": 1.0,
    }
    assert ctx.samples["latency_s", "all_gather/rail1/1MiB"] == [2e-3, 2e-3]
    assert ctx.samples["busbw_bytes", "all_gather/rail0/1MiB"] == pytest.approx([(1 << 20) / 2 / 1e-3] * 2)


def test_rails_of_cpus_and_their_latencies_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not rails(monkeypatch, Cpu(), 1 << 20).variants("rail_share")
    assert not rails(monkeypatch, Cpu(kind="cuda"), 4096).variants("rail_share")


def test_other_ranks_say_only_what_they_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = rails(monkeypatch, Cpu(kind="cuda"), 1 << 20, rank=4)
    assert {*ctx.samples} == {("wrong_elements", "all_gather/rail1/1MiB")}


# --- what cannot be measured ------------------------------------------------------------------------------------------


def test_one_rank_alone_cannot_be_measured() -> None:
    with pytest.raises(Unavailable, match="at least two ranks"):
        SoloContext(Collectives()).run()


class OneNode(SoloContext):
    """Rank 0 of two on one node."""

    def allgather(self, thing: Any) -> list[Any]:
        return [thing, thing]


def test_a_group_that_is_not_there_alone_is_not_measured() -> None:
    ctx = OneNode(Collectives(groups=("world",)), size=2, node_ranks=(0, 1))
    with pytest.raises(Unavailable, match="There is no group to measure: all ranks are on one node"):
        ctx.run()


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (RuntimeError("ProcessGroupGloo does not support reduce_scatter"), True),
        (NotImplementedError("Backend gloo: _alltoall_base not implemented"), True),
        (RuntimeError("No backend type associated with device type cpu"), True),
        (RuntimeError("Connection reset by peer"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (dist.DistBackendError("NCCL error: operation not supported by the remote process"), False),
        (dist.DistNetworkError("socket not supported"), False),
    ],
)
def test_a_collective_that_does_not_exist_is_told_from_one_that_failed(error: Exception, refusal: bool) -> None:
    assert shared.is_refusal(error) is refusal


@pytest.mark.parametrize("fault", [RuntimeError("Connection reset by peer"), dist.DistBackendError("NCCL error")])
def test_a_collective_that_failed_is_an_error(fault: Exception) -> None:
    def call() -> None:
        raise fault

    work = Exchange(call, lambda: None, torch.empty(0), ())
    with pytest.raises(type(fault)):
        shared.refusal(SoloContext(Collectives()), Cpu(), work)


class SecondRefuses(SoloContext):
    def allgather(self, thing: Any) -> list[Any]:
        return [thing, "rank 1 cannot"]


def test_all_ranks_hear_that_one_cannot() -> None:
    ctx = SecondRefuses(Collectives())
    work = Exchange(lambda: None, lambda: None, torch.empty(0), ())
    assert shared.refusal(ctx, Cpu(), work) == "rank 1 cannot"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"operations": ("allgather",)}, r"'operations' of check 'collectives' has 'allgather'(?s:.*)'all_gather'"),
        ({"groups": ("rails",)}, r"'groups' of check 'collectives' has 'rails'(?s:.*)'rail'"),
        ({"expect_transport": "ib"}, "'expect_transport' of check 'collectives' is 'ib'"),
    ],
)
def test_a_wrong_word_is_an_error(params: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        checks.build("collectives", params)


# --- whose numbers they are -------------------------------------------------------------------------------------------


def emitted(node: bool, **place: Any) -> set[str]:
    ctx = SoloContext(Collectives(), **place)
    if node:
        module._emit_node(ctx, "all_gather/node/1MiB", [0.5, 0.25], 1e6)
        module._emit_node(ctx, "all_gather/node/4KiB", [1e-4], 0.0)
    else:
        module._emit_world(ctx, "all_gather/world/1MiB", [0.5], 2_000_000, 1e6)
    return {f"{name}[{variant}] {values}" for (name, variant), values in ctx.samples.items()}


def test_the_first_rank_of_a_node_speaks_for_it_of_bandwidth_or_of_latency() -> None:
    assert emitted(node=True) == {
        "node_busbw_bytes[all_gather/node/1MiB] [2000000.0, 4000000.0]",
        "node_latency_s[all_gather/node/4KiB] [0.0001]",
    }
    assert emitted(node=True, local_rank=1) == set()


def test_a_node_is_not_judged_by_what_the_scheduler_did_to_its_ranks() -> None:
    assert emitted(node=True, in_turn=True) == set()


def test_a_number_of_the_world_has_time_and_both_bandwidths() -> None:
    assert emitted(node=False) == {
        "latency_s[all_gather/world/1MiB] [0.5]",
        "algbw_bytes[all_gather/world/1MiB] [4000000.0]",
        "busbw_bytes[all_gather/world/1MiB] [2000000.0]",
    }


def test_what_leaves_a_node_is_held_against_its_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """World and rails; what stays in a node is bound by no card."""
    monkeypatch.setattr(Collectives, "_measure_size", lambda *_: 7e9)
    monkeypatch.setattr(module, "refusal", lambda *_: "")
    ctx = SoloContext(Collectives(sizes_bytes=(1 << 20,)), size=4)
    monkeypatch.setattr(ctx, "allgather", lambda _thing: ["a", "a", "b", "b"], raising=False)
    found = {}
    for group, teams in (("world", ((0, 1, 2, 3),)), ("rail", ((0, 2), (1, 3))), ("node", ((0, 1), (2, 3)))):
        team = Team(group, teams, 0, 0)
        found[group] = ctx.check._measure_group(ctx, Cpu(), team, alone=False)  # type: ignore[attr-defined]
    assert [(r.variant, r.nodes, r.ranks_per_node, r.sharing) for r in found["world"]] == [
        (f"{name}/world/1MiB", 2, 2, 1) for name in OPERATIONS if name != "all_reduce"
    ]
    assert [(r.variant, r.nodes, r.ranks_per_node, r.sharing) for r in found["rail"]] == [
        (f"{name}/rail/1MiB", 2, 1, 2) for name in OPERATIONS
    ]
    assert found["node"] == []
    # With one rank on each node there is no other group, and nothing that was asked for is left out.
    world = ctx.check._measure_group(ctx, Cpu(), Team("world", ((0, 1, 2, 3),), 0, 0), alone=True)  # type: ignore[attr-defined]
    assert [each.variant for each in world] == [f"{name}/world/1MiB" for name in OPERATIONS]
