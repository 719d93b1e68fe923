"""Everything about one node: its verdict first, its findings, its values, its parts; an unknown one is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.finished_runs import gpu_run

from hpcaccept.app.run.conclude import collect, judge_run
from hpcaccept.errors import UsageError
from hpcaccept.report.views.node import node_page
from hpcaccept.report.views.on_paper import Paragraph, printed

if TYPE_CHECKING:
    from pathlib import Path


def page(place: Path, node: str) -> str:
    judged = judge_run(collect(gpu_run(place, rates=(7.9e14, 7.91e14, 5e14, 7.92e14))), place / "baselines")
    return printed(node_page(judged, node), width=80)


def test_a_bad_node_is_shown_with_finding_value_and_serial(tmp_path: Path) -> None:
    text = " ".join(page(tmp_path, "node2").split())
    assert text.startswith("FAIL node2 in run1")
    assert "node2 GPU 0: serial-of-GPU-2" in text
    assert "36.8 % below the median of 3 peers" in text
    assert "node0" not in text.partition("→")[0]


def test_a_list_of_nodes_never_breaks_inside_a_number() -> None:
    names = ",".join(f"{number:05d}" for number in range(0, 512, 3))
    lines = printed(Paragraph(f"FAIL  gpu[{names}] (171 nodes)", "bold", 4, "red"), width=80).splitlines()
    assert "".join(lines).replace(" ", "") == f"FAILgpu[{names}](171nodes)"
    assert all(line.rstrip().endswith((",", ")")) and len(line) <= 80 for line in lines[1:])


def test_a_healthy_node_has_values_and_no_finding(tmp_path: Path) -> None:
    text = page(tmp_path, "node0")
    assert text.startswith("PASS  node0")
    assert "→" not in text
    assert "BF16 matrix" in text


def test_an_unknown_node_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no node 'node9'"):
        page(tmp_path, "node9")
