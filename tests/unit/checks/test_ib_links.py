from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from support.infiniband_tree import adapter, interface
from support.solo_context import SoloContext

from hpcaccept.checks.ib_links import IbLinks
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UP = [True, 400e9, "InfiniBand"]
PORTS = tuple(f"mlx5_{n}/1" for n in range(4))


@dataclass
class Fleet(SoloContext):
    """One of several nodes; the others say what the test says."""

    others: list[Any] = field(default_factory=list)

    def allgather(self, thing: Any) -> list[Any]:
        return [thing, *self.others]


def node(root: Path, **changes: dict[str, str]) -> Path:
    for n in range(4):
        adapter(root, f"mlx5_{n}", **changes.get(f"mlx5_{n}", {}))
    interface(root, "eth0")
    return root


def run(
    root: Path, during: Callable[[], object] = lambda: None, others: list[Any] | None = None, **params: Any
) -> Fleet:
    check = IbLinks(root=str(root), **params)
    ctx = Fleet(check, others=others or [])
    ctx.begun = check.begin(ctx)
    during()
    check.compare(ctx, check.measure(ctx))
    return ctx


def bad(ctx: SoloContext) -> set[tuple[str, str]]:
    """What lies outside of the built-in limits."""
    found = set()
    for (name, variant), values in ctx.samples.items():
        metric = ctx.check.metric(name)
        assert metric
        if metric.limit and not all(map(metric.limit.met_by, values)):
            found.add((name, variant))
    return found


def test_a_healthy_node_among_its_like_is_within_every_limit(tmp_path: Path) -> None:
    ctx = run(node(tmp_path), others=[dict.fromkeys(PORTS, UP)] * 2)
    assert bad(ctx) == set()
    assert ctx.variants("missing_ports") == ctx.variants("degraded_ports") == set(PORTS)
    assert ctx.value("rate_bytes", "mlx5_0/1") == 50e9
    assert ctx.value("link_faults", "mlx5_3/1 link_downed") == 0
    assert ctx.value("link_faults", "eth0 carrier_down_count") == 0
    assert ctx.facts["adapters"] == "MT4129 28.39.1002 (MT_0000000838) × 4"
    assert ctx.facts["port[mlx5_0/1]"] == "ACTIVE, LinkUp, 400 Gb/sec (4X NDR), InfiniBand"


@pytest.mark.parametrize(
    "change",
    [{"state": "1: DOWN", "phys_state": "2: Polling"}, {"state": "2: INIT"}, {"phys_state": "6: LinkErrorRecovery"}],
)
def test_a_port_that_is_up_on_the_others_and_not_here_is_named(tmp_path: Path, change: dict[str, str]) -> None:
    ctx = run(node(tmp_path, mlx5_2=change), others=[dict.fromkeys(PORTS, UP)] * 2)
    assert bad(ctx) == {("missing_ports", "mlx5_2/1")}


def test_an_adapter_that_is_not_there_at_all_is_named(tmp_path: Path) -> None:
    adapter(tmp_path, "mlx5_0")
    ctx = run(tmp_path, others=[dict.fromkeys(PORTS[:2], UP)] * 2)
    assert bad(ctx) == {("missing_ports", "mlx5_1/1")}


def test_a_port_that_is_down_everywhere_is_nobody_s_fault(tmp_path: Path) -> None:
    down = {**dict.fromkeys(PORTS, UP), "mlx5_2/1": [False, 10e9, "InfiniBand"]}
    ctx = run(node(tmp_path, mlx5_2={"state": "1: DOWN", "phys_state": "3: Disabled"}), others=[down] * 2)
    assert bad(ctx) == set()


def test_a_port_of_the_suite_must_be_up_even_on_one_node(tmp_path: Path) -> None:
    ctx = run(node(tmp_path, mlx5_1={"state": "1: DOWN"}), ports=PORTS)
    assert bad(ctx) == {("missing_ports", "mlx5_1/1")}


def test_one_node_that_nobody_told_anything_is_no_pass_for_its_ports(tmp_path: Path) -> None:
    ctx = run(node(tmp_path, mlx5_1={"state": "1: DOWN"}))
    assert "the suite names none" in ctx.refused["missing_ports"]
    assert "mlx5_1/1" not in ctx.variants("missing_ports")


def test_two_nodes_that_differ_have_no_majority(tmp_path: Path) -> None:
    ctx = run(node(tmp_path, mlx5_1={"state": "1: DOWN"}), others=[dict.fromkeys(PORTS, UP)])
    assert ("missing_ports", "mlx5_1/1") not in bad(ctx)
    slow = run(node(tmp_path / "b", mlx5_1={"rate": "200 Gb/sec (2X NDR)"}), others=[dict.fromkeys(PORTS, UP)])
    assert "degraded_ports[mlx5_1/1]" in slow.refused


def test_a_port_that_goes_down_during_the_run_is_missing(tmp_path: Path) -> None:
    node(tmp_path)
    state = tmp_path / "sys/class/infiniband/mlx5_1/ports/1/state"
    ctx = run(tmp_path, lambda: state.write_text("1: DOWN\n"))
    assert ("missing_ports", "mlx5_1/1") in bad(ctx)


def test_an_adapter_that_vanishes_during_the_run_is_missing(tmp_path: Path) -> None:
    node(tmp_path)
    folder = tmp_path / "sys/class/infiniband/mlx5_1"
    ctx = run(tmp_path, lambda: folder.rename(tmp_path / "gone"))
    assert ("missing_ports", "mlx5_1/1") in bad(ctx)
    assert "vanished" in ctx.refused["link_faults[mlx5_1/1]"]


def test_a_lower_rate_than_that_of_the_others_is_degraded(tmp_path: Path) -> None:
    slow = node(tmp_path, mlx5_3={"rate": "200 Gb/sec (2X NDR)"})
    ctx = run(slow, others=[dict.fromkeys(PORTS, UP)] * 2)
    assert bad(ctx) == {("degraded_ports", "mlx5_3/1")}
    assert ctx.facts["expected[mlx5_3/1]"] == "400 Gbit/s"


def test_on_one_node_a_lower_rate_than_that_of_its_other_ports_is_degraded(tmp_path: Path) -> None:
    ctx = run(node(tmp_path, mlx5_3={"rate": "200 Gb/sec (2X NDR)"}))
    assert ("degraded_ports", "mlx5_3/1") in bad(ctx)


def test_an_ethernet_port_is_not_measured_by_infiniband_ports(tmp_path: Path) -> None:
    ctx = run(node(tmp_path, mlx5_3={"rate": "100 Gb/sec (4X EDR)", "link_layer": "Ethernet"}))
    assert not [v for _, v in bad(ctx) if v == "mlx5_3/1"]


def test_all_ports_alike_and_below_what_the_suite_says_are_degraded(tmp_path: Path) -> None:
    ctx = run(node(tmp_path), others=[dict.fromkeys(PORTS, UP)] * 2, rate_gbit=800)
    assert bad(ctx) == {("degraded_ports", port) for port in PORTS}


# --- counters ---------------------------------------------------------------------------------------------------------


def count(root: Path, adapter_name: str, counter: str, value: int) -> None:
    (root / f"sys/class/infiniband/{adapter_name}/ports/1/counters/{counter}").write_text(f"{value}\n")


@pytest.mark.parametrize("counter", ["link_downed", "link_error_recovery", "local_link_integrity_errors"])
def test_one_rise_of_what_never_rises_is_a_fault_that_names_port_and_counter(tmp_path: Path, counter: str) -> None:
    node(tmp_path, mlx5_1={counter: "7"})
    ctx = run(tmp_path, lambda: count(tmp_path, "mlx5_1", counter, 8))
    assert bad(ctx) == {("link_faults", f"mlx5_1/1 {counter}")}


def test_what_was_counted_before_the_run_is_not_judged(tmp_path: Path) -> None:
    ctx = run(node(tmp_path, mlx5_1={"link_downed": "7", "symbol_error": "4000"}))
    assert bad(ctx) == set()


def test_a_few_symbol_errors_are_tolerated_and_many_are_not(tmp_path: Path) -> None:
    node(tmp_path)
    assert bad(run(tmp_path, lambda: count(tmp_path, "mlx5_0", "symbol_error", 2))) == set()
    assert bad(run(tmp_path, lambda: count(tmp_path, "mlx5_0", "symbol_error", 5))) == {
        ("error_share", "mlx5_0/1 symbol_error")
    }


def test_tolerance_grows_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 3600.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    node(tmp_path)
    assert run(tmp_path, lambda: count(tmp_path, "mlx5_0", "symbol_error", 60)).value(
        "error_share", "mlx5_0/1 symbol_error"
    ) == pytest.approx(0.5)


def test_a_counter_at_its_end_is_no_pass(tmp_path: Path) -> None:
    ctx = run(node(tmp_path, mlx5_0={"link_downed": "255"}))
    assert ("link_faults", "mlx5_0/1 link_downed") not in ctx.samples
    assert "rise no more" in ctx.refused["mlx5_0/1 link_downed"]


def test_counters_that_cannot_be_read_are_no_pass(tmp_path: Path) -> None:
    port = adapter(tmp_path, "mlx5_0")
    for folder in ("counters", "hw_counters"):
        for file in (port / folder).iterdir():
            file.unlink()
    ctx = run(tmp_path, others=[{"mlx5_0/1": UP}] * 2)
    assert "can be read" in ctx.refused["link_faults[mlx5_0/1]"]
    assert ctx.variants("link_faults") == set()


def test_congestion_is_kept_and_not_judged(tmp_path: Path) -> None:
    node(tmp_path)
    ctx = run(tmp_path, lambda: count(tmp_path, "mlx5_0", "port_xmit_wait", 10**9))
    assert ctx.value("counters", "mlx5_0/1 port_xmit_wait") == 1e9
    assert bad(ctx) == set()


def test_traffic_or_its_absence_is_not_looked_at(tmp_path: Path) -> None:
    """An idle adapter was called sick elsewhere (cluster-toolkit#5917)."""
    node(tmp_path)
    idle, busy = run(tmp_path), run(tmp_path, lambda: count(tmp_path, "mlx5_0", "port_rcv_data", 10**12))
    assert bad(idle) == bad(busy) == set()
    assert "mlx5_0/1 port_rcv_data" not in busy.variants("counters")


def test_an_ethernet_carrier_that_went_is_a_fault(tmp_path: Path) -> None:
    node(tmp_path)
    file = tmp_path / "sys/class/net/eth0/carrier_down_count"
    ctx = run(tmp_path, lambda: file.write_text("2\n"))
    assert bad(ctx) == {("link_faults", "eth0 carrier_down_count")}


def test_an_interface_that_was_down_is_not_in_use(tmp_path: Path) -> None:
    interface(tmp_path, "eth0")
    interface(tmp_path, "eth1", state="down")
    assert "eth1 carrier_down_count" not in run(tmp_path).variants("link_faults")


def test_no_adapter_where_none_is_expected_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no network adapter"):
        run(tmp_path)


def test_no_adapter_where_the_others_have_some_is_named(tmp_path: Path) -> None:
    ctx = run(tmp_path, others=[dict.fromkeys(PORTS, UP)] * 2)
    assert bad(ctx) == {("missing_ports", port) for port in PORTS}


def test_only_the_first_rank_of_a_node_speaks(tmp_path: Path) -> None:
    ctx = Fleet(IbLinks(root=str(node(tmp_path))), local_rank=1, others=[])
    assert ctx.check.measure(ctx) is None
    ctx.check.compare(ctx, None)
    assert ctx.samples == {}


def test_this_machine_can_be_asked() -> None:
    try:
        ctx = SoloContext(IbLinks()).run()
    except Unavailable:
        return
    assert bad(ctx) == set()
