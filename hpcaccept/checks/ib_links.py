"""Verifies that every network link is up, at its full rate, and free of errors while the run loads it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hpcaccept.measure.host import infiniband
from hpcaccept.measure.host.infiniband import Interface, Port
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import param

_NVSENTINEL = (
    "NVIDIA NVSentinel, NIC health monitor, link counter detection, default thresholds (2026-10): "
    "https://docs.nvidia.com/nvsentinel/components/nic-health-monitor/link-counter-detection"
)
_KERNEL = "https://www.kernel.org/doc/Documentation/ABI/stable/sysfs-class-infiniband"
#: Counters that never rise on a healthy link → what a rise means. NVSentinel's "fatal" ones; ``link_error_recovery`` (there
#: 5 a minute) and CRC errors are ours: an acceptance of minutes tolerates no retrained link.
FAULTS = {
    "link_downed": "the link went down",
    "link_error_recovery": "the link was trained anew",
    "local_link_integrity_errors": "more local errors than the port tolerates",
    "excessive_buffer_overrun_errors": "flow control failed",
    "rnr_nak_retry_err": "the peer was never ready to receive",
    "rx_icrc_encapsulated": "a RoCE packet was corrupt",
    "carrier_down_count": "the interface lost its carrier",
    "rx_crc_errors": "an Ethernet frame was corrupt",
}
#: Counters that may rise a little → events per second that are tolerated.
TOLERATED = {
    "symbol_error": 120 / 3600,
    "port_rcv_errors": 10.0,
    "port_xmit_discards": 100.0,
    "local_ack_timeout_err": 1.0,
    "roce_slow_restart": 10.0,
}
#: A run is taken to be at least this long: one symbol error in ten seconds is no rate of 360 an hour.
SHORTEST_S = 60.0


@dataclass(frozen=True)
class Links:
    """What there was when the run began."""

    at_s: float
    ports: dict[str, Port]
    interfaces: dict[str, Interface]


@dataclass(frozen=True)
class IbLinks(Check):
    """State, rate and error counters of InfiniBand and RoCE ports and of Ethernet interfaces, judged on the difference.

    How: sysfs is read when the run begins and again in this check, so put it **last** in a suite: what is judged is what the
    other checks provoked. Totals since boot are not judged. Nothing is sent: traffic is not looked at, because a node may
    rightly be idle.

    - ``missing_ports``: 1 for a port that is expected and is not ACTIVE with a physical LinkUp. Expected are ``ports``; without
      them those that are active on more than half of the nodes of the run (the request, not what is visible, says what must be there).
    - ``degraded_ports``: 1 for an active port below ``rate_gbit``; without it below the rate that more than half of the nodes
      have on the same port, and with one node below that of most of its ports of the same kind.
    - ``link_faults``: rises of counters that never rise on a healthy link (a flap is ``link_downed``, ``carrier_down_count``).
    - ``error_share``: rises of counters that may rise a little, as a share of what is tolerated in the time of the run (at
      least a minute): symbol errors 120 an hour, receive errors 10/s, discards 100/s, RoCE time-outs 1/s and slow restarts 10/s.
    - Other counters that rose are kept as ``counters``, without a judgement (congestion is no fault of a node).

    A counter that stands at its end, or was cleared during the run, says nothing and is reported as not supported.

    What it does not mean: a link without errors may still be slow (``ib_write_bw`` measures), or lead into a slow fabric. With
    two nodes that differ there is no majority: give ``ports`` and ``rate_gbit``.

    Parameters:
        ports: names of ports that must be active: ``["mlx5_0/1", …]``.
        rate_gbit: of every active InfiniBand port, in Gbit/s as on the box (HDR 200, NDR 400, XDR 800).
        root: a folder that stands for ``/``.
    """

    name: ClassVar = "ib_links"
    revision: ClassVar = 1
    about: ClassVar = "InfiniBand, RoCE and Ethernet links: state, rate, flaps and errors since the run began."
    on_device: ClassVar = False
    usual_s: ClassVar = 20
    metrics: ClassVar = (
        Metric(
            "missing_ports", "ports", "lower",
            "A port that is expected is not up. Type 'ibstat' on the node; look at cable, switch port and subnet manager.", title="InfiniBand ports not up ({})",
            formula="1 where state is not ACTIVE or the physical state not LinkUp", source=_KERNEL, scope="node",
            statistic="worst", required=False, limit=at_most(0, "ports", "what the others have, or the suite demands"),
            code=FindingCode.PORT_DOWN,
        ),
        Metric(
            "degraded_ports", "ports", "lower",
            "A port is up at a lower rate than it should be: reseat or change the cable, then the transceiver.", title="InfiniBand ports at a lower rate ({})",
            formula="1 where rate is below what is expected", source=_KERNEL, scope="node", statistic="worst",
            required=False, limit=at_most(0, "ports", "what the others have, or the suite demands"), code=FindingCode.PORT_DOWN,
        ),
        Metric(
            "rate_bytes", "B/s", "exact", "Rate of an active port as negotiated, one direction.", title="InfiniBand port rate ({})",
            formula="rate / 8", source=_KERNEL, scope="node", required=False, headline=False,
        ),
        Metric(
            "link_faults", "events", "lower",
            "A counter rose that never does on a healthy link: change the cable or the transceiver, and look at the other end.", title="InfiniBand link faults ({})",
            formula="counter now - counter when the run began", source=_NVSENTINEL, scope="node", statistic="worst",
            required=False, limit=at_most(0, "events", f"tolerated: none. {_NVSENTINEL}"), code=FindingCode.PORT_ERRORS,
        ),
        Metric(
            "error_share", "share", "lower",
            "More errors than are tolerated in the time of the run: clean or change the cable or the transceiver.", title="InfiniBand errors against the tolerated number ({})",
            formula="(counter now - when the run began) / (tolerated per second · seconds of the run, 60 at least)",
            source=_NVSENTINEL, scope="node", statistic="worst", required=False, limit=at_most(1, "share", _NVSENTINEL),
            code=FindingCode.PORT_ERRORS,
        ),
        Metric(
            "counters", "events", "exact", "Other counters that rose during the run: congestion, retries.", title="other InfiniBand counters ({})",
            formula="counter now - counter when the run began", scope="node", required=False, headline=False,
        ),
    )  # fmt: skip

    ports: tuple[str, ...] = ()
    rate_gbit: float = param(0.0, at_least=0, at_most=1e6, unit="Gbit/s")
    root: str = "/"

    def begin(self, ctx: CheckContext) -> Links | None:
        """Ports, interfaces and counters before anything loads them."""
        return self._look() if ctx.local_rank == 0 else None

    def measure(self, ctx: CheckContext) -> Any:
        """The difference; for ``compare``, the state and rate of every port."""
        if ctx.local_rank != 0:
            return None
        now, before = self._look(), ctx.begun
        assert isinstance(before, Links)
        if firmware := infiniband.firmware(infiniband.adapters(Path(self.root))):
            ctx.fact("adapters", firmware)
        elapsed_s = max(SHORTEST_S, now.at_s - before.at_s)
        for name, port in now.ports.items():
            ctx.fact(f"port[{name}]", f"{port.state}, {port.physical_state}, {port.rate_text}, {port.link_layer}")
            if port.active:
                ctx.emit("rate_bytes", port.rate_bits / 8, name)
        for name in sorted(before.ports.keys() | now.ports.keys()):
            self._port(ctx, name, before.ports.get(name), now.ports.get(name), elapsed_s)
        for name, interface in before.interfaces.items():
            if interface.up and name in now.interfaces:
                self._counters(ctx, name, interface.counters, now.interfaces[name].counters, elapsed_s)
        return {
            name: [port.active and port.physical_state == "LinkUp", port.rate_bits, port.link_layer]
            for name, port in now.ports.items()
        }

    def compare(self, ctx: CheckContext, kept: Any) -> None:
        """What the others have is what a node should have."""
        nodes = [states for states in ctx.allgather(kept) if states is not None]
        if ctx.local_rank != 0 or kept is None:
            return
        before: Links = ctx.begun
        expected = set(self.ports) or _majority(nodes)
        if not expected and not kept and not before.interfaces:
            raise Unavailable("this node has no network adapter, and none is expected")
        if not expected:
            ctx.unsupported("missing_ports", "no port is active on most nodes, and the suite names none")
        for name in sorted(expected | {name for name, port in before.ports.items() if port.active}):
            up = name in kept and kept[name][0]
            ctx.emit("missing_ports", 0 if up else 1, name)
        for name, (up, rate, layer) in kept.items():
            if up:
                self._rate(ctx, name, rate, self._expected_rate(name, layer, nodes, kept))

    def _rate(self, ctx: CheckContext, name: str, rate: float, expected: float | None) -> None:
        if expected is None:
            ctx.unsupported(f"degraded_ports[{name}]", "no rate is that of most like ports, and the suite names none")
        else:
            ctx.fact(f"expected[{name}]", f"{expected / 1e9:g} Gbit/s")
            ctx.emit("degraded_ports", int(rate < expected), name)

    def _expected_rate(self, name: str, layer: str, nodes: list[Any], mine: Any) -> float | None:
        if self.rate_gbit and layer == "InfiniBand":
            return self.rate_gbit * 1e9
        if len(nodes) > 1:
            return _common([node[name][1] for node in nodes if name in node and node[name][0]])
        return _common([rate for up, rate, kind in mine.values() if up and kind == layer])

    def _look(self) -> Links:
        root = Path(self.root)
        return Links(time.monotonic(), infiniband.ports(infiniband.adapters(root)), infiniband.interfaces(root))

    def _port(self, ctx: CheckContext, name: str, before: Port | None, now: Port | None, elapsed_s: float) -> None:
        if before is None or now is None:
            # A device that vanished is a missing port (compare); one that appeared has nothing to be compared with.
            what = "vanished" if now is None else "appeared"
            ctx.unsupported(f"link_faults[{name}]", f"the port {what} during the run")
        elif before.active or now.active:
            self._counters(ctx, name, before.counters, now.counters, elapsed_s)

    def _counters(self, ctx: CheckContext, where: str, before: Any, now: Any, elapsed_s: float) -> None:
        for counter in sorted(before.keys() & now.keys()):
            variant = f"{where} {counter}"
            judged = counter in FAULTS or counter in TOLERATED
            count, why = infiniband.rise(counter, before[counter], now[counter])
            if count is None:
                if judged:
                    ctx.unsupported(variant, why)
            elif counter in FAULTS:
                ctx.emit("link_faults", count, variant)
            elif counter in TOLERATED:
                ctx.emit("error_share", count / (TOLERATED[counter] * elapsed_s), variant)
            elif count and not counter.endswith(("_data", "_packets")):
                ctx.emit("counters", count, variant)
        if not (before.keys() & now.keys() & FAULTS.keys()):
            ctx.unsupported(f"link_faults[{where}]", "none of its counters can be read")


def _majority(nodes: list[Any]) -> set[str]:
    """Ports that are up on more than half of the nodes. One node alone is no majority: its own state is all it has."""
    if len(nodes) < 2:
        return set()
    up = Counter(name for states in nodes for name, state in states.items() if state[0])
    return {name for name, count in up.items() if 2 * count > len(nodes)}


def _common(rates: list[float]) -> float | None:
    """The rate of more than half; None where there is none."""
    if not rates:
        return None
    rate, count = Counter(rates).most_common(1)[0]
    return rate if 2 * count > len(rates) and rate else None
