from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.infiniband_tree import adapter, interface

from hpcaccept.app.node_check import links
from hpcaccept.app.node_check.look import Asked, Look
from hpcaccept.model.node_check import Expected

if TYPE_CHECKING:
    from pathlib import Path

WANTED = Expected(ports=("mlx5_0/1", "mlx5_1/1"), rate_gbit=400.0, interfaces=("eth0",))


def looked(root: Path, before: Any = None, expected: Expected = WANTED) -> Look:
    # What is kept goes through a file.
    return links.look(Asked(expected, "node0", root, json.loads(json.dumps(before)), 600.0))


def bad(look: Look) -> dict[str, str]:
    return {item.what: item.code for item in look.items if item.outcome != "PASS"}


def test_expected_ports_that_are_up_pass_with_values(tmp_path: Path) -> None:
    for name in ("mlx5_0", "mlx5_1"):
        adapter(tmp_path, name)
    interface(tmp_path, "eth0")
    look = looked(tmp_path)
    assert bad(look) == {}
    assert {item.what for item in look.items} == {
        "missing_ports[mlx5_0/1]", "missing_ports[mlx5_1/1]", "degraded_ports[mlx5_0/1]", "degraded_ports[mlx5_1/1]", "interfaces_down[eth0]",
    }  # fmt: skip


def test_a_port_that_is_down_slow_or_gone_is_named(tmp_path: Path) -> None:
    adapter(tmp_path, "mlx5_0", rate="200 Gb/sec (4X HDR)")
    interface(tmp_path, "eth0", state="down")
    assert bad(looked(tmp_path)) == {
        "missing_ports[mlx5_1/1]": "port-down", "degraded_ports[mlx5_0/1]": "port-down", "interfaces_down[eth0]": "port-down",
    }  # fmt: skip


def test_a_link_that_flapped_during_the_job_is_named_with_what_moved(tmp_path: Path) -> None:
    ports = [adapter(tmp_path, name) for name in ("mlx5_0", "mlx5_1")]
    interface(tmp_path, "eth0")
    before = looked(tmp_path).kept
    (ports[1] / "counters/link_downed").write_text("1\n")
    look = looked(tmp_path, before)
    assert bad(look) == {"link_faults[mlx5_1/1 link_downed]": "port-errors"}
    assert look.moved == {"mlx5_1/1 link_downed": (0.0, 1.0)}


def test_totals_since_boot_are_not_judged(tmp_path: Path) -> None:
    for name in ("mlx5_0", "mlx5_1"):
        (adapter(tmp_path, name) / "counters/link_downed").write_text("3\n")
    interface(tmp_path, "eth0")
    assert bad(looked(tmp_path)) == {}


def test_a_node_without_adapters_of_which_none_are_expected_has_nothing_to_judge(tmp_path: Path) -> None:
    assert looked(tmp_path, expected=Expected()).items == []
