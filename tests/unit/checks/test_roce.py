"""RoCE ports in a tree of /sys: settings, and what was counted between begin and measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.infiniband_tree import adapter, interface
from support.solo_context import SoloContext
from support.stand_ins import DATA, tools_say

from hpcaccept.checks.roce import LOSSES, MARKS, Roce
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def port(
    root: Path,
    name: str = "mlx5_0",
    *,
    mtu: int = 9000,
    kinds: tuple[str, ...] = ("IB/RoCE v1", "RoCE v2"),
    ecn: str = "1",
) -> Path:
    """A ConnectX port with RoCE, as MLNX_OFED's driver shows it: names of files as in github.com/prometheus/node_exporter#2827 and byteps#313."""
    folder = adapter(root, name, link_layer="Ethernet", rate="400 Gb/sec (4X NDR)")
    for number, kind in enumerate(kinds):
        for table, text in (("types", kind), ("ndevs", f"eth_{name}")):
            (folder / "gid_attrs" / table).mkdir(parents=True, exist_ok=True)
            (folder / "gid_attrs" / table / str(number)).write_text(f"{text}\n")
    for counter in (*LOSSES, *MARKS):
        (folder / "hw_counters" / counter).write_text("17\n")
    net = interface(root, f"eth_{name}")
    (net / "mtu").write_text(f"{mtu}\n")
    for point in ("roce_np", "roce_rp"):
        (net / "ecn" / point / "enable").mkdir(parents=True)
        if ecn:
            (net / "ecn" / point / "enable/3").write_text(f"{ecn}\n")
    return folder


def measured(root: Path, during: Callable[[], object] = lambda: None, **params: Any) -> SoloContext:
    check = Roce(root=str(root), **params)
    ctx = SoloContext(check)
    ctx.begun = check.begin(ctx)
    during()
    check.measure(ctx)
    return ctx


def values(ctx: SoloContext, metric: str) -> dict[str, float]:
    return {variant: found[0] for (name, variant), found in ctx.samples.items() if name == metric}


def test_a_port_that_is_set_up_passes_and_what_cannot_be_read_is_not_run(tmp_path: Path) -> None:
    port(tmp_path)
    ctx = measured(tmp_path)
    assert values(ctx, "old_gids") == {"mlx5_0/1": 0}
    assert values(ctx, "missing_mtu_bytes") == {"mlx5_0/1 eth_mlx5_0": 0}
    assert values(ctx, "congestion_off") == {"mlx5_0/1 eth_mlx5_0": 0}
    assert values(ctx, "congestion") == {f"mlx5_0/1 {counter}": 0 for counter in (*LOSSES, *MARKS)}
    assert set(ctx.refused) == {"flow_control_off[mlx5_0/1 eth_mlx5_0]"}


def test_a_port_that_is_not_set_up_is_named_by_what_it_lacks(tmp_path: Path) -> None:
    port(tmp_path, mtu=1500, kinds=("IB/RoCE v1",), ecn="0")
    ctx = measured(tmp_path)
    assert values(ctx, "old_gids") == {"mlx5_0/1": 1}
    assert values(ctx, "missing_mtu_bytes") == {"mlx5_0/1 eth_mlx5_0": 2700}
    assert values(ctx, "congestion_off") == {"mlx5_0/1 eth_mlx5_0": 1}
    assert ctx.facts["off[mlx5_0/1 eth_mlx5_0]"] == "roce_np and roce_rp of priority 3"
    assert values(measured(tmp_path, least_mtu_bytes=1500), "missing_mtu_bytes") == {"mlx5_0/1 eth_mlx5_0": 0}


def test_flow_control_is_what_mlnx_qos_says_of_the_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port(tmp_path)
    tools_say(monkeypatch, DATA / "mlnx_qos/lossless_3.txt")
    ctx = measured(tmp_path)
    assert values(ctx, "flow_control_off") == {"mlx5_0/1 eth_mlx5_0": 0}
    assert ctx.facts["trust[mlx5_0/1 eth_mlx5_0]"] == "dscp"
    assert values(measured(tmp_path, priority=5), "flow_control_off") == {"mlx5_0/1 eth_mlx5_0": 1}
    tools_say(monkeypatch, "Netlink error: Permission denied", 1)
    assert "Permission denied" in measured(tmp_path).refused["flow_control_off[mlx5_0/1 eth_mlx5_0]"]


def test_packets_that_are_lost_or_marked_between_pairs_fail_that_port(tmp_path: Path) -> None:
    one, two = port(tmp_path), port(tmp_path, "mlx5_1")

    def traffic() -> None:
        (one / "hw_counters/out_of_sequence").write_text("20\n")
        (two / "hw_counters/rp_cnp_handled").write_text("18\n")

    ctx = measured(tmp_path, traffic)
    assert {key: value for key, value in values(ctx, "congestion").items() if value} == {
        "mlx5_0/1 out_of_sequence": 3,
        "mlx5_1/1 rp_cnp_handled": 1,
    }


def test_behind_collectives_marks_are_told_and_losses_still_fail(tmp_path: Path) -> None:
    one = port(tmp_path)
    ctx = measured(tmp_path, lambda: (one / "hw_counters/np_cnp_sent").write_text("99\n"), many_to_one=True)
    assert set(values(ctx, "congestion")) == {f"mlx5_0/1 {counter}" for counter in LOSSES}
    assert ctx.facts["marks[mlx5_0/1 np_cnp_sent]"] == "82"


def test_counters_that_were_cleared_and_drivers_that_show_nothing_are_not_run(tmp_path: Path) -> None:
    one = port(tmp_path, kinds=(), ecn="")
    ctx = measured(tmp_path, lambda: (one / "hw_counters/np_cnp_sent").write_text("0\n"))
    assert set(ctx.refused) == {
        "old_gids[mlx5_0/1]", "missing_mtu_bytes[mlx5_0/1]", "congestion[mlx5_0/1 np_cnp_sent]",
    }  # fmt: skip
    for counter in (*LOSSES, *MARKS):
        (one / "hw_counters" / counter).unlink()
    assert "congestion[mlx5_0/1]" in measured(tmp_path).refused


def test_infiniband_and_ports_that_are_down_are_somebody_elses_business(tmp_path: Path) -> None:
    adapter(tmp_path, "mlx5_0")
    with pytest.raises(Unavailable, match="no active RoCE port"):
        measured(tmp_path)
    adapter(tmp_path, "mlx5_1", link_layer="Ethernet", state="1: DOWN")
    with pytest.raises(Unavailable, match="no active RoCE port"):
        measured(tmp_path)
