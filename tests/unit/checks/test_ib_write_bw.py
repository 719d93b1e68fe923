"""Ranks of several nodes as threads of one process, over a real barrier; their servers and clients are real processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.infiniband_tree import adapter
from support.solo_context import SoloContext

from hpcaccept import checks
from hpcaccept.checks import ib_write_bw as module
from hpcaccept.checks.ib_write_bw import IbWriteBw, _bind_option, listening, rounds
from hpcaccept.errors import ToolError, UsageError
from hpcaccept.model.check import Unavailable
from hpcaccept.transport import rendezvous

pytestmark = pytest.mark.slow

STAND_IN = Path(__file__).parents[2] / "support" / "perftest_stand_in.py"
DEVICES = ("mlx5_0", "mlx5_1")


@dataclass
class World:
    """Collectives of threads."""

    size: int
    things: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.things = [None] * self.size
        self.gate = threading.Barrier(self.size, timeout=60)


@dataclass
class Node(SoloContext):
    """One node of a world."""

    world: World = field(default_factory=lambda: World(1))

    def barrier(self) -> None:
        self.world.gate.wait()

    def allgather(self, thing: Any) -> list[Any]:
        self.world.things[self.rank] = thing
        self.world.gate.wait()
        found = list(self.world.things)
        self.world.gate.wait()
        return found


@pytest.fixture
def perftest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stand-in on PATH, told about its world; the ranks are told apart by the device's table alone."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "ib_write_bw"
    program.write_text(STAND_IN.read_text().replace("#!/usr/bin/env python3", f"#!{sys.executable}", 1))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    told = tmp_path / "world.json"
    monkeypatch.setenv("HPCACCEPT_FAKE_PERFTEST", str(told))
    for name in ("PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)

    def tell(**world: Any) -> None:
        told.write_text(json.dumps({"devices": DEVICES, **world}))

    tell()
    return tell


def run(nodes: int, roots: dict[int, Path] | None = None, **params: Any) -> tuple[list[Node], list[Exception | None]]:
    world = World(nodes)
    usual: dict[str, Any] = {"duration_s": 1} if roots else {"devices": DEVICES, "duration_s": 1}
    benches: list[Node] = []
    faults: list[Exception | None] = [None] * nodes
    for n in range(nodes):
        check = IbWriteBw(**{**usual, **({"root": str(roots[n])} if roots else {}), **params})
        benches.append(Node(check, rank=n, size=nodes, node=f"node{n}", node_ranks=(n,), world=world))

    def one(n: int) -> None:
        ctx = benches[n]
        try:
            ctx.check.compare(ctx, ctx.check.measure(ctx))
        except Exception as fault:  # noqa: BLE001 (the test looks at it)
            faults[n] = fault

    threads = [threading.Thread(target=one, args=(n,)) for n in range(nodes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return benches, faults


@pytest.mark.parametrize("nodes", [2, 3, 4, 5, 8, 9])
def test_every_node_sends_and_receives_with_each_neighbour_once(nodes: int) -> None:
    plan = rounds(nodes)
    for pairs in plan:
        ends = [end for pair in pairs for end in pair]
        assert len(ends) == len(set(ends)), "a node is in one test at a time"
    tests = Counter(pair for pairs in plan for pair in pairs)
    ring = {(n, (n + 1) % nodes) for n in range(nodes)}
    assert set(tests) == ring | {(b, a) for a, b in ring}
    assert set(tests.values()) == {1}


def test_one_node_has_no_link() -> None:
    assert rounds(1) == rounds(0) == []


def test_three_nodes_measure_every_rail_both_ways(perftest: Any) -> None:
    benches, faults = run(3)
    assert faults == [None] * 3
    assert benches[0].value("links") == 12
    for ctx in benches:
        assert ctx.variants("rate_bytes") == {f"{d}/{way}" for d in DEVICES for way in ("send", "receive")}
        assert ctx.value("rate_bytes", "mlx5_0/send") == pytest.approx(391e9 / 8)
    assert {round(v[0], 6) for (name, _), v in benches[0].samples.items() if name == "rail_share"} == {1.0}
    assert "not known" in benches[0].refused["line_share"]
    assert "391.00 Gbit/s" in benches[2].facts["link[node2/mlx5_0→node0/mlx5_0]"]


def test_rails_and_their_rates_come_from_the_system(perftest: Any, tmp_path: Path) -> None:
    roots = {n: tmp_path / f"node{n}" for n in range(2)}
    for root in roots.values():
        for device in (*DEVICES, "mlx5_2"):
            adapter(root, device, **({"link_layer": "Ethernet"} if device == "mlx5_2" else {}))
    benches, faults = run(2, roots)
    assert faults == [None, None]
    assert benches[0].variants("line_share") == {
        variant for variant in benches[0].variants("line_share") if "mlx5_2" not in variant
    }
    shares = [v[0] for (name, _), v in benches[0].samples.items() if name == "line_share"]
    assert shares == [pytest.approx(391 / 400)] * 2


def test_a_slow_rail_is_named_with_both_ends(perftest: Any, tmp_path: Path) -> None:
    roots = {n: tmp_path / f"node{n}" for n in range(3)}
    for root in roots.values():
        for device in DEVICES:
            adapter(root, device)
    perftest(gbits={"mlx5_1": 195.0})
    benches, _ = run(3, roots)
    limit = next(m.limit for m in IbWriteBw.metrics if m.name == "line_share")
    assert limit
    slow = {
        v for (name, v), values in benches[0].samples.items() if name == "line_share" and not limit.met_by(values[0])
    }
    assert slow == {f"node{a}/mlx5_1→node{b}/mlx5_1" for a in range(3) for b in range(3) if a != b}, (
        "all links that miss the limit are named, the healthy rail's are not"
    )


def test_a_device_that_one_node_lacks_is_not_run_there_and_the_other_rail_is(perftest: Any, tmp_path: Path) -> None:
    roots = {n: tmp_path / f"node{n}" for n in range(2)}
    adapter(roots[0], "mlx5_0")
    adapter(roots[0], "mlx5_1")
    adapter(roots[1], "mlx5_0")
    benches, faults = run(2, roots)
    assert faults == [None, None]
    assert benches[0].variants("rate_bytes") == {"mlx5_0/send", "mlx5_0/receive"}
    assert "node1 has no active mlx5_1" in benches[0].refused["node0/mlx5_1→node1/mlx5_1"]


def test_a_test_that_breaks_is_an_error_with_both_ends_and_the_rest_is_measured(perftest: Any) -> None:
    perftest(broken=["0>0/mlx5_1"])  # every rank is 0 to the stand-in here
    benches, faults = run(2)
    for ctx, fault in zip(benches, faults, strict=True):
        assert isinstance(fault, ToolError)
        assert "node0/mlx5_1→node1/mlx5_1" in fault.message
        assert "Completion with error" in fault.message
        assert ctx.variants("rate_bytes") == {"mlx5_0/send", "mlx5_0/receive"}


def test_a_server_that_never_listens_is_an_error_and_not_a_hang(perftest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_START_S", 1.0)
    perftest(deaf=["0/mlx5_0"])
    benches, faults = run(2)
    assert all(isinstance(fault, ToolError) and "did not listen within 1 s" in fault.message for fault in faults)
    assert benches[0].variants("rate_bytes") == {"mlx5_1/send", "mlx5_1/receive"}


def test_a_device_that_perftest_does_not_find_is_not_run(perftest: Any) -> None:
    perftest(devices=["mlx5_0"])
    benches, faults = run(2)
    assert faults == [None, None]
    assert "IB device mlx5_1 not found" in benches[0].refused["node0/mlx5_1→node1/mlx5_1"]


@pytest.mark.skipif(shutil.which("ib_write_bw") is None, reason="perftest is not installed")
def test_the_real_perftest_without_an_adapter_is_not_run() -> None:
    if Path("/sys/class/infiniband").exists():
        pytest.skip("there is an adapter here")
    _, faults = run(2)
    assert [type(fault) for fault in faults] == [Unavailable, Unavailable]
    assert "find the Infiniband" in str(faults[0]) or "No IB devices" in str(faults[0])


def test_without_the_program_it_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    _, faults = run(2)
    assert all(isinstance(fault, Unavailable) and "not installed" in fault.cause for fault in faults)


def test_without_an_active_port_it_is_not_run(perftest: Any, tmp_path: Path) -> None:
    _, faults = run(2, {0: tmp_path, 1: tmp_path})
    assert all(isinstance(fault, Unavailable) and "active InfiniBand port" in fault.cause for fault in faults)


def test_one_node_alone_is_not_run(perftest: Any) -> None:
    _, (fault,) = run(1)
    assert isinstance(fault, Unavailable)
    assert "two nodes" in fault.cause


def test_other_ranks_of_a_node_only_take_part(perftest: Any) -> None:
    ctx = SoloContext(IbWriteBw(devices=DEVICES), local_rank=1, rank=1)
    assert ctx.check.measure(ctx) is None
    ctx.check.compare(ctx, None)
    assert ctx.samples == {}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_a_program_runs_next_to_its_adapter(tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    device = adapter(tmp_path, "mlx5_0").parents[1] / "device"
    device.mkdir()
    (device / "local_cpulist").write_text(f"{cpu}\n")
    with contextlib.ExitStack() as stack:
        process = IbWriteBw(root=str(tmp_path))._start(stack, "mlx5_0:2", ["sleep", "60"])
        assert os.sched_getaffinity(process.pid) == {cpu}


def test_processors_that_the_job_may_not_use_change_nothing(tmp_path: Path) -> None:
    device = adapter(tmp_path, "mlx5_0").parents[1] / "device"
    device.mkdir()
    (device / "local_cpulist").write_text("1000-1007\n")
    with contextlib.ExitStack() as stack:
        process = IbWriteBw(root=str(tmp_path))._start(stack, "mlx5_0", ["sleep", "60"])
        assert process.poll() is None


def test_servers_listen_at_the_address_of_their_client_and_the_way_to_them_is_shown_to_nobody_else(
    perftest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed: list[list[str]] = []
    start, listen = IbWriteBw._start, rendezvous._listen
    doors: list[str] = []

    def starting(self: IbWriteBw, stack: contextlib.ExitStack, rail: str, command: list[str]) -> Any:
        typed.append(command)
        return start(self, stack, rail, command)

    def listening_at(address: str) -> Any:
        doors.append(address)
        return listen(address)

    monkeypatch.setattr(IbWriteBw, "_start", starting)
    monkeypatch.setattr(rendezvous, "_listen", listening_at)
    _, faults = run(2)
    assert faults == [None, None]
    servers = [command for command in typed if "--source_ip" in command]
    clients = [command for command in typed if "--source_ip" not in command]
    # Two rails, both ways.
    assert len(servers) == len(clients) == 4
    assert {command[-1] for command in servers} == {command[-1] for command in clients}
    assert doors
    assert not {"", "0.0.0.0"} & {*doors, *(command[-1] for command in servers)}


@pytest.mark.parametrize(
    ("prints", "option"),
    [
        ("  --source_ip  Source IP of the interface", "--source_ip"),
        ("  --bind_source_ip  Source IP of the interface", "--bind_source_ip"),
        ("  -p, --port=<port>  Listen on", ""),
    ],
)
def test_the_option_to_listen_at_one_address_is_that_of_this_perftest(tmp_path: Path, prints: str, option: str) -> None:
    program = tmp_path / "ib_write_bw"
    program.write_text(f"#!/bin/sh\necho '{prints}' >&2; exit 1\n")
    program.chmod(0o755)
    assert _bind_option(str(program)) == option


def test_options_of_both_ends_are_alike_and_a_second_port_is_its_own_rail() -> None:
    check = IbWriteBw(gid_index=3, extra=("--perform_warm_up",))
    server, client = check.command("mlx5_0:2", 18600), check.command("mlx5_0:2", 18600, "10.0.0.2")
    assert client == [*server, "10.0.0.2"]
    assert server[:5] == ["ib_write_bw", "-d", "mlx5_0", "-i", "2"]
    assert server[-3:] == ["--perform_warm_up", "-x", "3"]


@pytest.mark.parametrize(
    "params", [{"devices": ("mlx5_0; rm",)}, {"program": "true; rm"}, {"extra": ("-d mlx5_1",)}, {"duration_s": 0}]
)
def test_senseless_parameters_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="of check 'ib_write_bw'"):
        checks.build("ib_write_bw", params)


def test_ports_that_listen_are_seen_without_connecting() -> None:
    import socket

    with socket.create_server(("", 0)) as door:
        assert door.getsockname()[1] in listening()
        port = door.getsockname()[1]
    assert port not in listening()
