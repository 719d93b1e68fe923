"""What the nodes of a cluster must reach together follows from their network cards, and the suite that says so can be run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.azure_fixtures import CPU_SIZE, config_text

from hpcaccept.app.azure.render import load_cluster
from hpcaccept.cli import main
from hpcaccept.config.suites import built_in
from hpcaccept.provider.azure.nccl_suite import (
    _ALL_REDUCE_SHARE,
    _ALL_TO_ALL_SHARE,
    ALL_NODES,
    all_reduce_cut,
    all_to_all_cut,
    limits,
)

if TYPE_CHECKING:
    from pathlib import Path

GB = 1e9


@pytest.mark.parametrize(
    ("nodes", "gpus", "nic", "reduced", "exchanged"),
    [
        (2, 8, 400 * GB, 487.87 * GB, 79.11 * GB),
        (4, 4, 200 * GB, 191.40 * GB, 58.15 * GB),
        (8, 4, 400 * GB, 376.01 * GB, 85.62 * GB),
        (2, 8, 200 * GB, 337.09 * GB, 40.16 * GB),
    ],
)
def test_what_is_published_of_healthy_clusters_is_below_the_cut_and_above_the_floor(
    nodes: int, gpus: int, nic: float, reduced: float, exchanged: float
) -> None:
    share = (nodes * gpus - 1) / (nodes * gpus)
    assert _ALL_REDUCE_SHARE * nic * share < 0.7 * reduced
    assert reduced < all_reduce_cut(nodes, gpus, nic)
    assert _ALL_TO_ALL_SHARE * all_to_all_cut(nodes, gpus, nic) < 0.7 * exchanged
    assert exchanged < all_to_all_cut(nodes, gpus, nic)


def cluster_limits(folder: Path, size: str, nodes: int) -> str:
    more = "" if size != "Standard_ND128isr_GB300_v6" else 'image = "a:b:c:latest"\nzone = "1"'
    (folder / "c.toml").write_text(config_text(size, nodes, more))
    return limits(load_cluster(folder / "c.toml"))


@pytest.mark.parametrize(
    ("size", "nodes"), [("Standard_ND96isr_H200_v5", 1), (CPU_SIZE, 4), ("Standard_ND128isr_GB300_v6", 18)]
)
def test_there_is_no_limit_where_cards_are_not_the_only_way_or_not_known(tmp_path: Path, size: str, nodes: int) -> None:
    assert cluster_limits(tmp_path, size, nodes) == ""


@pytest.mark.parametrize(("nodes", "keys"), [(2, 2), (3, 1), (16, 2)])
def test_a_suite_with_the_limits_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], nodes: int, keys: int
) -> None:
    text = cluster_limits(tmp_path, "Standard_ND96isr_H200_v5", nodes)
    assert text.count("[limits.") == keys, "24 ranks do not share 1 GiB, and the variant has another name"
    suite = tmp_path / "nccl.toml"
    suite.write_text(built_in()["fabric"].read_text() + ALL_NODES + text)
    assert main(["config", "--suite", str(suite)]) == 0
    assert "allreduce.busbw_bytes[nccl/1GiB]" in capsys.readouterr().out


def test_tcp_in_the_place_of_rdma_misses_the_floor(tmp_path: Path) -> None:
    text = cluster_limits(tmp_path, "Standard_ND96isr_H200_v5", 2)
    lower = float(text.partition("lower = ")[2].partition("\n")[0])
    assert 3 * GB < lower < 400 * GB
