from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from support.nvml.build import build, describe, environment, h100
from support.solo_context import SoloContext

from hpcaccept.checks import peer_to_peer as module
from hpcaccept.checks.peer_to_peer import PeerToPeer
from hpcaccept.measure import device as devices
from hpcaccept.measure.device import Cpu
from hpcaccept.measure.gpu import links
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

WORDS = 70_000
LIMIT = PeerToPeer.metric("cell_share").limit  # type: ignore[union-attr]


def quick(**params: Any) -> SoloContext:
    return SoloContext(PeerToPeer(**{"size_bytes": 8 * WORDS, "blocks": 2, "block_s": 0.0005, **params}))


@dataclasses.dataclass(frozen=True)
class FakeGpu(Cpu):
    """Host memory that says it is a GPU; its copies take the time that a test gives them."""

    number: int = 0
    seconds: Callable[[int, str], float] = lambda _number, _phase: 1e-3
    ctx: Any = None

    def time_calls(self, call: Any, count: int) -> list[float]:
        call()
        return [self.seconds(self.number, self.ctx.beats[-1])] * count

    def reaches(self, other: str) -> bool:
        return self.number != 2


def gpus(
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    slow: Callable[[str], float] = lambda _cell: 1.0,
    kind: str = "NVSwitch",
) -> SoloContext:
    """A node of fake GPUs on one kind of link; ``slow``: how many times longer a cell takes."""
    ctx = quick()
    fakes = [FakeGpu(kind="cuda", number=i, seconds=lambda _n, cell: 1e-3 * slow(cell), ctx=ctx) for i in range(count)]
    monkeypatch.setattr(module, "_devices", lambda _ctx: fakes)
    cells = [(i, j) for i in range(count) for j in range(count) if i != j]
    monkeypatch.setattr(links, "classes", lambda _names: dict.fromkeys(cells, kind))
    return ctx


def named(ctx: SoloContext) -> set[str]:
    """Cells that fail."""
    assert LIMIT is not None
    return {v for v in ctx.variants("cell_share") if not LIMIT.met_by(ctx.value("cell_share", v))}


def test_on_a_cpu_two_buffers_are_copied_both_ways_and_verified() -> None:
    ctx = quick().run()
    assert ctx.variants("bandwidth_bytes") == {"0→1", "1→0", "0↔1"}
    assert all(ctx.value("wrong_elements", cell) == 0 for cell in ("0→1", "1→0", "0↔1"))
    assert len(ctx.samples["bandwidth_bytes", "0→1"]) == 2
    assert "no link" in ctx.refused["cell_share"]


def test_every_cell_of_the_matrix_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = gpus(monkeypatch, 4).run()
    assert len(ctx.variants("bandwidth_bytes")) == 12 + 6
    assert len(ctx.variants("cell_share")) == 12
    assert ctx.samples["bandwidth_bytes", "3→1"] == pytest.approx([8 * WORDS / 1e-3] * 2)
    assert ctx.samples["bandwidth_bytes", "1↔3"] == pytest.approx([2 * 8 * WORDS / 1e-3] * 2)
    assert not named(ctx)


def test_a_slow_cell_is_named_on_one_node_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = gpus(monkeypatch, 4, lambda cell: 1.5 if cell == "3→1" else 1.0).run()
    assert named(ctx) == {"3→1"}
    assert ctx.value("cell_share", "3→1") == pytest.approx(1 / 1.5)
    assert ctx.facts["worst_cell"] == "3→1: 373 MB/s, 67% of its kind"


def test_a_gpu_with_a_bad_port_is_named_by_all_its_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = gpus(monkeypatch, 8, lambda cell: 18 / 14 if "5" in cell else 1.0).run()
    assert named(ctx) == {f"5→{j}" for j in range(8) if j != 5} | {f"{i}→5" for i in range(8) if i != 5}


def test_of_two_gpus_the_slow_direction_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(gpus(monkeypatch, 2, lambda cell: 2.0 if cell == "1→0" else 1.0).run()) == {"1→0"}


def test_a_node_that_stands_still_is_no_pass_though_all_its_pairs_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = gpus(monkeypatch, 4, lambda cell: 1e6 if cell != "2→1" else 2e6).run()
    limit = PeerToPeer.metric("slowest_bytes").limit  # type: ignore[union-attr]
    assert limit is not None
    assert ctx.variants("slowest_bytes") == {"2→1"}
    assert not limit.met_by(ctx.value("slowest_bytes", "2→1"))
    assert limit.met_by(0.985e9 * 0.8), "one lane of PCIe 3.0"


def test_a_cell_that_stands_still_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(gpus(monkeypatch, 3, lambda cell: 1e9 if cell == "0→2" else 1.0).run()) == {"0→2"}


def test_a_slower_kind_of_link_is_no_fault_but_a_slow_one_of_its_kind_is() -> None:
    rates = {(i, j): 300e9 if i // 2 == j // 2 else 20e9 for i in range(4) for j in range(4) if i != j}
    kinds = {(i, j): "4 NVLinks" if i // 2 == j // 2 else "SYS" for i, j in rates}
    assert set(module.shares(rates, kinds).values()) == {1.0}
    rates[0, 3] = 10e9
    found = module.shares(rates, kinds)
    assert found[0, 3] == 0.5
    assert min(share for cell, share in found.items() if cell != (0, 3)) == 1.0


def test_cells_of_links_that_are_not_known_are_not_judged_by_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = gpus(monkeypatch, 3, lambda cell: 20.0 if cell == "0→2" else 1.0, kind=links.UNKNOWN).run()
    assert not ctx.variants("cell_share")
    assert "the driver does not say" in ctx.refused["cell_share"]
    assert ctx.variants("slowest_bytes") == {"0→2"}


def test_cells_that_go_through_the_host_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = gpus(monkeypatch, 3).run()
    assert ctx.facts["peer_access"] == "through the host: 2→0 2→1"
    assert ctx.facts["links"] == "6 cells over NVSwitch"


def test_all_host_memory_is_reached() -> None:
    assert quick().run().facts["peer_access"] == "every pair"


@pytest.mark.parametrize("bit", [0, 33, 62])
def test_a_flipped_bit_is_found_in_the_cell_that_flips_it(monkeypatch: pytest.MonkeyPatch, bit: int) -> None:
    real = module.copy

    def harmed(one: module.End, other: module.End) -> None:
        real(one, other)
        if (one.device.number, other.device.number) == (2, 0):  # type: ignore[attr-defined]
            other.target[17:18].bitwise_xor_(1 << bit)

    monkeypatch.setattr(module, "copy", harmed)
    ctx = gpus(monkeypatch, 3).run()
    assert {c for c in ctx.variants("wrong_elements") if ctx.value("wrong_elements", c)} == {"2→0", "0↔2"}
    assert ctx.value("wrong_elements", "2→0") == 1


def test_bytes_of_another_gpu_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = gpus(monkeypatch, 3)
    ends = [module.end_on(Cpu(), number, WORDS) for number in range(3)]
    real = module.copy
    monkeypatch.setattr(module, "copy", lambda _one, other: real(ends[2], other))
    ctx.run()
    assert ctx.value("wrong_elements", "0→1") == WORDS
    assert ctx.value("wrong_elements", "2→1") == 0


def test_a_copy_that_copies_nothing_is_wrong_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "copy", lambda _one, _other: None)
    assert quick().run().value("wrong_elements", "0→1") == WORDS


def test_only_the_first_rank_of_a_node_copies() -> None:
    ctx = quick()
    ctx.local_rank = 1
    ctx.check.measure(ctx)
    assert not ctx.samples
    assert not ctx.beats


@pytest.mark.parametrize("local_rank", [0, 1])
@pytest.mark.parametrize(
    ("asked", "seen", "why"),
    [(1, 1, "nobody to copy to"), (8, 7, "sees 7 of the 8 GPUs"), (8, 1, "sees 1 of the 8 GPUs")],
)
def test_all_ranks_of_a_node_agree_that_there_is_no_matrix(
    monkeypatch: pytest.MonkeyPatch, local_rank: int, asked: int, seen: int, why: str
) -> None:
    ctx = quick()
    ctx.device, ctx.gpus_asked, ctx.local_rank = f"cuda:{local_rank}", asked, local_rank
    monkeypatch.setattr(devices, "visible", lambda: seen)
    with pytest.raises(Unavailable, match=why):
        ctx.check.measure(ctx)


# --- kinds of links ---------------------------------------------------------------------------------------------------

KINDS = """
import json
from hpcaccept.measure.gpu import links
found = links.classes(["cuda:0", "cuda:1", "cuda:2"])
print(json.dumps({f"{i}{j}": kind for (i, j), kind in found.items()}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def kinds(library: Path, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Kinds of links between three GPUs, through the real pynvml."""

    def kinds(*gpus: dict[str, str]) -> dict[str, str]:
        node = describe(tmp_path / "node", gpus)
        env = {**os.environ, **environment(library, node)}
        env.pop("CUDA_VISIBLE_DEVICES", None)
        done = subprocess.run([sys.executable, "-c", KINDS], check=True, capture_output=True, text=True, env=env)
        return dict(json.loads(done.stdout))

    return kinds


def meshed(index: int, *others: int, **more: str) -> dict[str, str]:
    """A GPU with a link to each of these GPUs."""
    ends = ",".join(h100(other)["pci_bus_id"] for other in others)
    return h100(index, nvlinks="1" * len(others), nvlink_remotes=ends, **more)


def test_behind_a_switch_all_pairs_are_of_one_kind_whatever_lanes_are_up(kinds: Any) -> None:
    lost = "111111111111110000"
    assert set(kinds(h100(0), h100(1, nvlinks=lost), h100(2)).values()) == {"NVSwitch"}


def test_direct_nvlinks_are_counted_for_each_pair(kinds: Any) -> None:
    found = kinds(meshed(0, 1, 1, 2), meshed(1, 0, 0, 2), meshed(2, 0, 1))
    assert found == {
        **dict.fromkeys(("01", "10"), "2 NVLinks"),
        **dict.fromkeys(("02", "20", "12", "21"), "1 NVLinks"),
    }


def test_a_bridged_pair_is_no_yardstick_for_the_others(kinds: Any) -> None:
    found = kinds(meshed(0, 1), meshed(1, 0), h100(2, nvlinks=""))
    assert found["01"] == "1 NVLinks"
    assert found["02"] == found["21"] == "the link between sockets (SYS)"


@pytest.mark.parametrize(
    ("level", "said"),
    [("10", "one PCIe switch (PIX)"), ("30", "a PCIe host bridge (PHB)"), ("99", "topology level 99")],
)
def test_without_nvlink_it_is_what_pcie_says(kinds: Any, level: str, said: str) -> None:
    assert set(kinds(*(h100(i, nvlinks="", topology=level) for i in range(3))).values()) == {said}


@pytest.mark.parametrize("more", [{"topology": "!not_supported"}, {"topology": "!unknown"}])
def test_what_the_driver_does_not_say_is_not_guessed(kinds: Any, more: dict[str, str]) -> None:
    assert set(kinds(*(h100(i, nvlinks="", **more) for i in range(3))).values()) == {links.UNKNOWN}


def test_without_nvml_all_cells_are_of_one_kind() -> None:
    assert set(links.classes(["cuda:0", "cuda:1", "cuda:2"]).values()) == {links.UNKNOWN}
