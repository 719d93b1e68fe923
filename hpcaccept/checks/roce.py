"""RoCE ports are set up as a lossless fabric needs it, and pairs of nodes exchanged without congestion."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hpcaccept.measure.host import infiniband
from hpcaccept.measure.host.host import kernel_text
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import param
from hpcaccept.parse.mlnx_qos import parse_mlnx_qos
from hpcaccept.transport.tool import run_tool

if TYPE_CHECKING:
    from hpcaccept.measure.host.infiniband import Port

_COUNTERS = "https://enterprise-support.nvidia.com/s/article/understanding-mlx5-linux-counters-and-status-parameters"
_RULE = "no congestion with one sender for each receiver: https://github.com/bytedance/byteps/issues/313"
_SYSFS = "https://www.kernel.org/doc/Documentation/ABI/stable/sysfs-class-infiniband"
_DCQCN = "https://enterprise-support.nvidia.com/s/article/dcqcn-parameters"
_PFC = "https://enterprise-support.nvidia.com/s/article/howto-configure-pfc-on-connectx-4"
_TIMEOUT_S = 30.0
#: Packets lost, or marked as having met a queue: with one sender for each receiver none of them is.
LOSSES = ("out_of_sequence", "packet_seq_err", "implied_nak_seq_err", "roce_adp_retrans")
MARKS = ("np_ecn_marked_roce_packets", "np_cnp_sent", "rp_cnp_handled")


@dataclass(frozen=True)
class Roce(Check):
    """RoCE ports: GID type, MTU, congestion control, and what they counted while pairs of nodes exchanged.

    How: the first rank of each node reads sysfs when the run begins and in this check. Put it **after** checks in which each node sends to one
    other (``ib_write_bw``, ``pairs``) and **before** those in which many send to one (``allreduce``, ``collectives``): then no packet may have been lost or marked, and
    a rise is a fault of configuration: priority flow control (PFC) that is off on a switch, a wrong trust or DSCP, another priority than the switches keep lossless.

    - ``old_gids``: 1 for a port without a GID of type RoCE v2.
    - ``missing_mtu_bytes``: by how much the MTU of the network interface is below ``least_mtu_bytes``. RDMA with 4096 bytes a packet needs 4200 and more.
    - ``congestion_off``: 1 where congestion control (DCQCN: notification and reaction point) is off for ``priority``. Only the driver of
      MLNX_OFED and DOCA shows it in sysfs; elsewhere it is not run.
    - ``congestion``: rises of counters of lost and of marked packets (``out_of_sequence``, ``packet_seq_err``, ``implied_nak_seq_err``, ``roce_adp_retrans``;
      ``np_ecn_marked_roce_packets``, ``np_cnp_sent``, ``rp_cnp_handled``). With ``many_to_one`` marks may rise and losses may not.
    - ``flow_control_off``: 1 where priority flow control (PFC) is off for ``priority``, by ``mlnx_qos``; what the port trusts (DSCP or PCP) is the fact
      ``trust[…]``. sysfs has neither: without mlnx_qos it is not run.
    - The traffic class of the adapter is the fact ``traffic_class[…]``.

    A port of InfiniBand, and one that is down, is not looked at.

    What it does not mean: other jobs on the fabric may cause marks. ``ib_links`` judges state, rate and errors of the link.

    Parameters:
        priority: that carries RoCE, for ``congestion_off`` and ``flow_control_off``.
        least_mtu_bytes: of an interface.
        many_to_one: True where this check stands behind collectives.
        root: a folder that stands for ``/``.
    """

    name: ClassVar = "roce"
    revision: ClassVar = 1
    about: ClassVar = "RoCE ports: GID type, MTU, congestion control, packets lost or marked while pairs exchanged."
    on_device: ClassVar = False
    metrics: ClassVar = (
        Metric(
            "old_gids", "ports", "lower", "A port without a RoCE v2 address: packets cannot be routed, or not be marked.",
            title="ports without a RoCE v2 address ({})", formula="1 where no type below gid_attrs is 'RoCE v2'", source=_SYSFS, scope="node",
            statistic="worst", required=False, limit=at_most(0, "ports", "RoCE v1 is not routed and carries no ECN"), code=FindingCode.ROCE_SETUP,
        ),
        Metric(
            "missing_mtu_bytes", "B", "lower", "Bytes by which the MTU of an interface is too small for RDMA packets of 4096.",
            title="RoCE interface MTU, missing bytes ({})", formula="max(0, least_mtu_bytes - mtu)", source=_SYSFS, scope="node", statistic="worst",
            noise="counted", required=False, headline=False, limit=at_most(0, "B", "4096 bytes of data and up to 104 of headers"), code=FindingCode.ROCE_SETUP,
        ),
        Metric(
            "congestion_off", "ports", "lower", "Congestion control is off for the priority that carries RoCE.",
            title="RoCE ports without congestion control ({})", formula="1 where ecn/roce_np/enable or ecn/roce_rp/enable of the priority is 0",
            source=_DCQCN, scope="node", statistic="worst", required=False, headline=False, limit=at_most(0, "ports", _DCQCN), code=FindingCode.ROCE_SETUP,
        ),
        Metric(
            "flow_control_off", "ports", "lower", "Priority flow control is off for the priority that carries RoCE: packets are dropped instead of paused.",
            title="RoCE ports without priority flow control ({})", formula="1 where 'enabled' of the priority is 0 in mlnx_qos", source=_PFC, scope="node",
            statistic="worst", required=False, headline=False, limit=at_most(0, "ports", _PFC), code=FindingCode.ROCE_SETUP,
        ),
        Metric(
            "congestion", "events", "lower", "Packets were lost or marked although each node sent to one other.",
            title="RoCE packets lost or marked ({})", formula="counter now - counter when the run began", source=_COUNTERS, scope="node",
            statistic="worst", required=False, limit=at_most(0, "events", _RULE), code=FindingCode.ROCE_CONGESTION,
        ),
    )  # fmt: skip

    priority: int = param(3, at_least=0, at_most=7)
    least_mtu_bytes: int = param(4200, at_least=0, at_most=65535, unit="B")
    many_to_one: bool = False
    root: str = "/"

    def begin(self, ctx: CheckContext) -> dict[str, Port] | None:
        """Counters before anything loads the ports."""
        return self._ports() if ctx.local_rank == 0 else None

    def measure(self, ctx: CheckContext) -> None:
        """Settings, and the difference.

        Raises:
            Unavailable: this node has no RoCE port that is active.
        """
        if ctx.local_rank:
            return
        before: dict[str, Port] = ctx.begun
        ports = {name: port for name, port in self._ports().items() if port.active}
        if not ports:
            raise Unavailable("this node has no active RoCE port")
        for name, port in ports.items():
            self._settings(ctx, name)
            self._rises(ctx, name, before.get(name), port)

    def _ports(self) -> dict[str, Port]:
        found = infiniband.ports(infiniband.adapters(Path(self.root)))
        return {name: port for name, port in found.items() if port.link_layer == "Ethernet"}

    def _settings(self, ctx: CheckContext, name: str) -> None:
        adapter, _, number = name.partition("/")
        folder = Path(self.root) / "sys/class/infiniband" / adapter
        gids = infiniband.gid_types(folder / "ports" / number)
        if gids:
            ctx.fact(f"gids[{name}]", ", ".join(f"{count} of {kind}" for kind, count in Counter(gids.values()).items()))
            ctx.emit("old_gids", int("RoCE v2" not in gids.values()), name)
        else:
            ctx.unsupported(f"old_gids[{name}]", "no address of the port, or no type of one, can be read")
        interfaces = infiniband.interfaces_of(folder / "ports" / number)
        if not interfaces:
            ctx.unsupported(f"missing_mtu_bytes[{name}]", "its network interface is not in this network namespace")
        for interface in interfaces:
            self._interface(ctx, name, Path(self.root) / "sys/class/net" / interface)
        if traffic_class := kernel_text(folder / "tc" / number / "traffic_class").strip():
            ctx.fact(f"traffic_class[{name}]", traffic_class)

    def _interface(self, ctx: CheckContext, name: str, folder: Path) -> None:
        variant = f"{name} {folder.name}"
        mtu = kernel_text(folder / "mtu").strip()
        if mtu.isdigit():
            ctx.fact(f"mtu[{variant}]", f"{mtu} B")
            ctx.emit("missing_mtu_bytes", max(0, self.least_mtu_bytes - int(mtu)), variant)
        else:
            ctx.unsupported(f"missing_mtu_bytes[{variant}]", "its MTU cannot be read")
        self._flow_control(ctx, variant, folder.name)
        points = {
            point: kernel_text(folder / "ecn" / point / "enable" / str(self.priority)).strip()
            for point in ("roce_np", "roce_rp")
        }
        if not all(text in ("0", "1") for text in points.values()):
            ctx.unsupported(
                f"congestion_off[{variant}]", "this driver does not show it in sysfs (MLNX_OFED's and DOCA's does)"
            )
            return
        off = [point for point, text in points.items() if text == "0"]
        ctx.emit("congestion_off", int(bool(off)), variant)
        if off:
            ctx.fact(f"off[{variant}]", f"{' and '.join(off)} of priority {self.priority}")

    def _flow_control(self, ctx: CheckContext, variant: str, interface: str) -> None:
        """As mlnx_qos says; where it is not there or says nothing, so does the record."""
        try:
            done = run_tool(ctx, ["mlnx_qos", "-i", interface], timeout_s=_TIMEOUT_S, keep_as=f"mlnx_qos-{interface}")
        except Unavailable as missing:
            ctx.unsupported(
                f"flow_control_off[{variant}]", f"{missing.cause}; dcb pfc show dev {interface} shows it too"
            )
            return
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[:200]
            ctx.unsupported(f"flow_control_off[{variant}]", f"mlnx_qos ended with {done.returncode}: {said}")
            return
        found = parse_mlnx_qos(done.stdout)
        ctx.fact(f"trust[{variant}]", found.trust or "not stated")
        ctx.emit("flow_control_off", int(not found.paused[self.priority]), variant)

    def _rises(self, ctx: CheckContext, name: str, before: Port | None, now: Port) -> None:
        if before is None:
            ctx.unsupported(f"congestion[{name}]", "the port appeared during the run")
            return
        there = [counter for counter in (*LOSSES, *MARKS) if counter in before.counters and counter in now.counters]
        if not there:
            ctx.unsupported(f"congestion[{name}]", "this adapter counts neither lost nor marked packets")
        for counter in there:
            count, why = infiniband.rise(counter, before.counters[counter], now.counters[counter])
            if count is None:
                ctx.unsupported(f"congestion[{name} {counter}]", why)
            elif self.many_to_one and counter in MARKS:
                ctx.fact(f"marks[{name} {counter}]", str(count))
            else:
                ctx.emit("congestion", count, f"{name} {counter}")
