"""Times how fast each RDMA rail writes from node to node, both ways."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.errors import NotUnderstood, ToolError
from hpcaccept.measure.host import host, infiniband
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_least
from hpcaccept.model.parameter import HOUR_S, param
from hpcaccept.parse.perftest import NO_DEVICE, complaint, parse_write_bw
from hpcaccept.transport.network import own_addresses, reserved_ports
from hpcaccept.transport.rendezvous import doors, knock, new_secret
from hpcaccept.transport.tool import Tool, finish, found, started

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What stands for itself on a command line and in a table of rails.
_WORD = "[A-Za-z0-9_.,=/:-]+"
_REMEDY = "Debian, Ubuntu: apt-get install perftest. Red Hat: dnf install perftest."
#: Until a server listens, and after the test until its client has ended.
_START_S, _GRACE_S = 15.0, 20.0
_POLL_S = 0.05
_LOOPBACK = "127.0.0.1"
#: How perftest is told where to listen, the newer name first (Debian 12's 4.5 has the other).
_BIND = ("--bind_source_ip", "--source_ip")
_AZNHC = (
    "AzNHC conf (2026-10): nd96asr_v4 180 of 200, nd96isr_h100_v5 380 of 400, nd96isr_h200_v5 360 of 400 Gbit/s; "
    "https://github.com/Azure/azurehpc-health-checks"
)
#: Fewer links have no median worth being compared with.
_FEWEST_LINKS = 4


@dataclass(frozen=True)
class Link:
    """What one rail carried from one node to another.

    Attributes:
        sender: node that wrote.
        receiver: node that was written to.
        rail: device, alike on both.
        rate_bytes: per second; None where it could not be measured.
        line_bytes: rate of the slower of the two ports as negotiated, 0 where it is not known.
        why: it could not be measured.
        absent: True when there is no device or no program: not run, and no error.
    """

    sender: str
    receiver: str
    rail: str
    rate_bytes: float | None
    line_bytes: float = 0.0
    why: str = ""
    absent: bool = False

    @property
    def name(self) -> str:
        """With both ends: ``node1/mlx5_0→node2/mlx5_0``."""
        return f"{self.sender}/{self.rail}→{self.receiver}/{self.rail}"


@dataclass(frozen=True)
class IbWriteBw(Check):
    """RDMA write bandwidth of each rail between neighbouring nodes, one way and then the other, with perftest's ``ib_write_bw``.

    How: the nodes form a ring; each is measured with the node after it and the node before it (two nodes: with each other). In a
    pair the devices of the same name (the *rails*, ``mlx5_0`` with ``mlx5_0``) write at the same time, one server and one client
    for each, first in the one direction, then in the other. Addresses and ports are agreed on over MPI; a client starts when its
    server is seen to listen; every wait ends. Each program runs on the processors next to its adapter, where the job may use them.

    - ``rate_bytes[mlx5_0/send]``, ``[mlx5_0/receive]``: the better of the two partners, by node, compared with the same rail of the other
      nodes. A good node beside a bad one is good with its other neighbour and is not blamed.
    - ``line_share``: a link's rate as a share of the rate that the slower of its ports negotiated.
    - ``rail_share``: the same as a share of the median of all links of the run (four at least).

    The last two speak of links, not of nodes: the variant names both ends (``node1/mlx5_0→node2/mlx5_0``). For each rail the slowest link
    is reported, and all that miss their limit. A bad link whose two nodes are fast elsewhere blames neither of them.

    A program or an adapter that is missing is NOT_RUN. A server that never listens, or a test that ends with an error, is an ERROR
    that names both ends: a wrong GID index looks the same as a dead cable, so whose fault it is, is for ``ib_links`` to say.

    What it does not mean: data go from memory to memory, not from GPU to GPU; two nodes alone do not load the core of the fabric.

    Parameters:
        devices: to measure; empty: those with an active InfiniBand port.
        duration_s: of each test.
        size_bytes: of a message.
        queue_pairs: of each test (``-q``).
        gid_index: for RoCE (``-x``); -1: perftest's own choice.
        extra: further words for ``ib_write_bw``, the same on both ends.
        program: name or path of perftest's ``ib_write_bw`` (a build with CUDA may lie elsewhere).
        root: a folder that stands for ``/``, where the devices are looked up.
    """

    name: ClassVar = "ib_write_bw"
    revision: ClassVar = 1
    about: ClassVar = (
        "RDMA write bandwidth per rail between neighbouring nodes, both ways; a slow link is named by both ends."
    )
    on_device: ClassVar = False
    metrics: ClassVar = (
        Metric(
            "rate_bytes", "B/s", "higher",
            "What a rail writes (send) or is written (receive), with the better of two partners. Slow with both: look at its PCIe link "
            "('lspci -vv'), its cable and its switch port.", title="RDMA write bandwidth ({})",
            formula="bytes / seconds, mean of a test, the better partner",
            source="https://github.com/linux-rdma/perftest", scope="node", peer_floor=0.02, required=False,
        ),
        Metric(
            "line_share", "share", "higher",
            "The rate of a link as a share of what its ports negotiated. Look at both ends, and measure each with another partner.", title="RDMA write bandwidth against the line rate ({})",
            formula="rate_bytes / (rate of the slower port / 8)", source=_AZNHC, scope="world", statistic="worst",
            noise="ratio", required=False, limit=at_least(0.88, "share", f"ours, below the lowest of {_AZNHC}"),
            code=FindingCode.RAIL_SLOW,
        ),
        Metric(
            "rail_share", "share", "higher",
            "The rate of a link as a share of the median of all links. Look at both ends, and measure each with another partner.", title="RDMA write bandwidth against the other rails ({})",
            formula="rate_bytes / median of all links of the run", scope="world", statistic="worst", noise="ratio", required=False,
            limit=at_least(0.9, "share", "ours, provisional: a healthy node's rails were seen at 390.98 ± 0.01 Gbit/s (AzNHC)"),
            code=FindingCode.RAIL_SLOW,
        ),
        Metric(
            "links", "links", "exact", "Links that were measured, directions counted.", title="RDMA links measured", formula="count", scope="world",
            required=False, headline=False,
        ),
    )  # fmt: skip

    devices: tuple[str, ...] = param((), matching=_WORD)
    duration_s: int = param(3, at_least=1, at_most=HOUR_S, unit="s")
    size_bytes: int = param(4 << 20, at_least=2, at_most=1 << 31, unit="B")
    queue_pairs: int = param(1, at_least=1, at_most=16384)
    gid_index: int = param(-1, at_least=-1, at_most=255)
    extra: tuple[str, ...] = param((), matching=_WORD)
    program: str = param("ib_write_bw", matching=_WORD)
    root: str = "/"

    def measure(self, ctx: CheckContext) -> Any:
        """What this node has; the tests themselves need all nodes, so they are made in ``compare``."""
        if ctx.local_rank != 0:
            return None
        rails = self._rails()
        why = "" if rails else "no RDMA device has an active InfiniBand port here, and the suite names none"
        try:
            found(self.program, _REMEDY)
        except Unavailable as missing:
            why = f"{missing.cause}. {missing.remedy}"
        return {"node": ctx.node, "rails": rails, "why": why}

    def compare(self, ctx: CheckContext, kept: Any) -> None:
        """All tests, round by round; see the class. Nothing is raised before the last collective."""
        # Asked here and not in "measure": what a node does meanwhile counts as company of what it measures.
        bind = "" if kept is None or kept["why"] else _bind_option(self.program)
        crew = _meet(ctx, None if kept is None else {**kept, "bind": bind})
        links: list[Link] = []
        for number, pairs in enumerate(rounds(len(crew.nodes))):
            ctx.beat(f"test {number + 1}")
            links += self._test(ctx, crew, pairs)
        told = ctx.allgather([astuple(link) for link in links])
        if ctx.local_rank == 0:
            self._conclude(ctx, crew, kept, [Link(*link) for one in told for link in one])

    def command(self, rail: str, tcp_port: int, server: str = "", at: Sequence[str] = ()) -> list[str]:
        """Of the server, which listens ``at`` an address where perftest can; of a client when there is the address of a server."""
        device, _, port = rail.partition(":")
        words = [self.program, "-d", device, "-i", port or "1", "-p", str(tcp_port), "-s", str(self.size_bytes)]
        words += ["-D", str(self.duration_s), "-q", str(self.queue_pairs), "-F", "--report_gbits", *self.extra]
        words += ["-x", str(self.gid_index)] if self.gid_index >= 0 else []
        return [*words, *at, *([server] if server else [])]

    def _rails(self) -> dict[str, float]:
        """Rail → rate of its port in bytes per second, 0 where it is not known. ``mlx5_0:2`` is its second port."""
        rates = {}
        for port in infiniband.ports(infiniband.adapters(Path(self.root), counters=False)).values():
            device, _, number = port.name.partition("/")
            rail = device if number == "1" else f"{device}:{number}"
            if rail in self.devices or (not self.devices and port.active and port.link_layer == "InfiniBand"):
                rates[rail] = port.rate_bits / 8 if port.active else 0.0
        return {rail: rates.get(rail, 0.0) for rail in (self.devices or rates)}

    def _test(self, ctx: CheckContext, crew: _Crew, pairs: list[tuple[int, int]]) -> list[Link]:
        """One way between the nodes of each pair. Gives the links that this node wrote over; all ranks take part."""
        mine = next((pair for pair in pairs if crew.mine in pair), None)
        with contextlib.ExitStack() as servers:
            offers: dict[str, tuple[int, str]] = {}
            if mine and crew.mine == mine[1]:
                rails = crew.shared(*mine)
                try:
                    offers = self._serve(ctx, servers, rails, crew.listen_at(mine[0]))
                except (OSError, Unavailable) as fault:
                    offers = dict.fromkeys(rails, (0, f"the server cannot be started: {fault}"))
            offered = ctx.allgather(offers)
            links = []
            if mine and crew.mine == mine[0]:
                there = offered[crew.nodes[mine[1]]["rank"]]
                try:
                    links = self._write(ctx, crew, mine, there)
                except (OSError, Unavailable) as fault:
                    ends = crew.nodes[mine[0]], crew.nodes[mine[1]]
                    links = [_failed(*ends, rail, f"the client cannot be started: {fault}") for rail in there]
            ctx.barrier()
        return links

    def _serve(
        self, ctx: CheckContext, servers: contextlib.ExitStack, rails: list[str], at: Sequence[str]
    ) -> dict[str, tuple[int, str]]:
        """Start a server for each rail; rail → (port that it listens on, or 0; why it does not)."""
        with reserved_ports(len(rails)) as numbers:
            ports = dict(zip(rails, numbers, strict=True))
            processes = {rail: self._start(servers, rail, self.command(rail, ports[rail], at=at)) for rail in rails}
            offers: dict[str, tuple[int, str]] = {}
            end = time.monotonic() + _START_S
            while len(offers) < len(rails):
                ctx.beat("waiting for servers to listen")
                for rail in (rail for rail in rails if rail not in offers):
                    process = processes[rail]
                    if process.poll() is not None:
                        text = "".join(part.decode("utf-8", "replace") for part in process.communicate())
                        offers[rail] = (0, f"the server ended with {process.returncode}: {complaint(text)}")
                    elif ports[rail] in listening():
                        offers[rail] = (ports[rail], "")
                    elif time.monotonic() > end:
                        offers[rail] = (0, f"the server did not listen within {_START_S:g} s")
                time.sleep(_POLL_S)
        return offers

    def _start(self, stack: contextlib.ExitStack, rail: str, command: list[str]) -> Tool:
        """Start one end, on the processors next to its adapter.

        A rank is often bound to a few cores, far from most adapters: eight tests on them would measure the binding.
        """
        process = stack.enter_context(started(command))
        near = infiniband.local_cpus(rail.partition(":")[0], Path(self.root))
        # Not ours to use (another job's cpuset), or it has ended already: then it stays where it is.
        with contextlib.suppress(OSError):
            if near:
                os.sched_setaffinity(process.pid, near)
        return process

    def _write(
        self, ctx: CheckContext, crew: _Crew, pair: tuple[int, int], offers: dict[str, tuple[int, str]]
    ) -> list[Link]:
        """Clients of all rails at the same time."""
        sender, receiver = crew.nodes[pair[0]], crew.nodes[pair[1]]
        links = []
        for rail in sorted(sender["rails"].keys() ^ receiver["rails"].keys()):
            lacks = receiver if rail in sender["rails"] else sender
            links.append(_failed(sender, receiver, rail, f"{lacks['node']} has no active {rail}", absent=True))
        address = crew.addresses.get(pair[1], "")
        with contextlib.ExitStack() as clients:
            running: dict[str, Tool] = {}
            for rail, (port, why) in offers.items():
                if why or not address:
                    why = why or f"no address of {receiver['node']} answers from {sender['node']}"
                    links.append(_failed(sender, receiver, rail, why, absent=bool(NO_DEVICE.search(why))))
                else:
                    running[rail] = self._start(clients, rail, self.command(rail, port, address))
            end = time.monotonic() + self.duration_s + _GRACE_S
            for rail, process in running.items():
                text, why = _finish(ctx, process, end)
                ctx.keep(f"{rail.replace(':', '-')}.to.{receiver['node']}.out", text)
                links.append(self._link(sender, receiver, rail, text, why))
        return links

    def _link(self, sender: _Node, receiver: _Node, rail: str, text: str, why: str) -> Link:
        if why:
            return _failed(sender, receiver, rail, why, absent=bool(NO_DEVICE.search(text)))
        try:
            rows = {row.size_bytes: row for row in parse_write_bw(text).rows}
        except NotUnderstood as fault:
            return _failed(sender, receiver, rail, fault.message)
        if self.size_bytes not in rows:
            return _failed(sender, receiver, rail, f"no row of {self.size_bytes} bytes: {complaint(text)}")
        line = min(sender["rails"][rail], receiver["rails"][rail])
        return Link(sender["node"], receiver["node"], rail, rows[self.size_bytes].rate_bytes, line)

    def _conclude(self, ctx: CheckContext, crew: _Crew, kept: Any, links: list[Link]) -> None:
        if ctx.rank == 0:
            _of_links(ctx, links)
        mine = [link for link in links if ctx.node in (link.sender, link.receiver)]
        measured = [link for link in mine if link.rate_bytes is not None]
        for way, end in (("send", "sender"), ("receive", "receiver")):
            for rail in sorted({link.rail for link in measured}):
                rates = [x.rate_bytes for x in measured if x.rail == rail and getattr(x, end) == ctx.node]
                if rates:
                    ctx.emit("rate_bytes", max(rate for rate in rates if rate is not None), f"{rail}/{way}")
        for link in measured:
            ctx.fact(f"link[{link.name}]", f"{(link.rate_bytes or 0) * 8 / 1e9:.2f} Gbit/s")
        for link in (link for link in mine if link.absent):
            ctx.unsupported(link.name, link.why)
        if kept is not None and kept["why"]:
            raise Unavailable(kept["why"])
        broken = [link for link in mine if link.rate_bytes is None and not link.absent]
        if broken:
            names = "; ".join(f"{link.name}: {link.why}" for link in broken[:4])
            raise ToolError(
                f"{len(broken)} of {len(mine)} tests ended without a result: {names}",
                "See ib_links for the ports, gid_index for RoCE, and try ib_write_bw by hand between these two nodes.",
            )
        if not measured:
            others = "; ".join(sorted({link.why for link in mine})) or crew.why
            raise Unavailable(others or "a link needs two nodes", "Run with two nodes or more.")


# --- who meets whom ---------------------------------------------------------------------------------------------------

_Node = dict[str, Any]


@dataclass(frozen=True)
class _Crew:
    """The nodes that take part.

    Attributes:
        nodes: of each ``node``, ``rails`` and the ``rank`` that speaks for it, in order.
        mine: index of this node, -1 for a rank that speaks for none.
        addresses: index of a neighbour → its address as seen from here.
        seen_at: index of a neighbour → the address at which it sees this node.
        why: nobody else takes part.
    """

    nodes: list[_Node]
    mine: int
    addresses: dict[int, str]
    seen_at: dict[int, str]
    why: str

    def shared(self, first: int, second: int) -> list[str]:
        """Rails of both."""
        return sorted(self.nodes[first]["rails"].keys() & self.nodes[second]["rails"].keys())

    def listen_at(self, sender: int) -> list[str]:
        """Words with which a server of this node listens at no other address than the one that its client uses."""
        option, address = self.nodes[self.mine]["bind"], self.seen_at.get(sender, "")
        return [option, address] if option and address else []


def _meet(ctx: CheckContext, kept: Any) -> _Crew:
    """Agree on who takes part, and on addresses that really answer. A collective of all ranks; raises nothing."""
    secret = new_secret()
    # At its own addresses alone, and only to who knows the secret, which travels over MPI.
    with doors([*own_addresses(), _LOOPBACK], secret) as mine_to_open:
        here = {
            "rank": ctx.rank,
            "places": mine_to_open.places,
            "secret": secret,
            "kernel": host.boot_id(),
        }
        me = None if kept is None else {**kept, **here}
        everyone = [one for one in ctx.allgather(me) if one is not None]
        nodes = [one for one in everyone if not one["why"]]
        mine = next((n for n, one in enumerate(nodes) if one["rank"] == ctx.rank), -1)
        addresses: dict[int, str] = {}
        for other in {(mine + 1) % len(nodes), (mine - 1) % len(nodes)} - {mine} if mine >= 0 else ():
            # Virtual nodes on a machine without a network still have each other; those in namespaces of their own do not.
            near = nodes[other]["kernel"] == here["kernel"]
            places = [place for place in nodes[other]["places"] if near or place[0] != _LOOPBACK]
            answer = knock(places, nodes[other]["secret"])
            if answer is not None:
                addresses[other] = answer[0]
        # Nobody closes the door before everybody has knocked: all wait here.
        told = ctx.allgather(addresses)
    seen_at = {n: told[one["rank"]][mine] for n, one in enumerate(nodes) if mine in told[one["rank"]]}
    lacking = "; ".join(sorted({f"{one['node']}: {one['why']}" for one in everyone if one["why"]})[:3])
    why = "" if len(nodes) > 1 else f"a link needs two nodes that take part ({lacking or 'there is one'})"
    return _Crew(nodes, mine, addresses, seen_at, why)


def rounds(nodes: int) -> list[list[tuple[int, int]]]:
    """Tests, one after another: pairs (sender, receiver) that measure at the same time, each node in one of them at most.

    Neighbours of the ring in both directions, so every node sends to and receives from two partners (two nodes: one).
    """
    if nodes < 2:
        return []
    if nodes == 2:
        return [[(0, 1)], [(1, 0)]]
    even = [(n, n + 1) for n in range(0, nodes - 1, 2)]
    odd = [(n, n + 1) for n in range(1, nodes - 1, 2)]
    # The ring is closed in the second round; with an odd number both rounds have one end of it at work already.
    sets = [even, [*odd, (nodes - 1, 0)]] if nodes % 2 == 0 else [even, odd, [(nodes - 1, 0)]]
    return [[pair[::way] for pair in pairs] for pairs in sets for way in (1, -1)]  # type: ignore[misc]


def listening(root: Path = Path("/")) -> frozenset[int]:
    """TCP ports that somebody listens on in this network namespace. To connect would take the server's only client away."""
    ports = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (root / "proc/net" / name).read_text().splitlines()[1:]:
                _number, local, _remote, state, *_rest = line.split()
                if state == "0A":  # TCP_LISTEN, include/net/tcp_states.h
                    ports.add(int(local.rpartition(":")[2], 16))
    return frozenset(ports)


def _bind_option(program: str) -> str:
    """The option with which this perftest listens at one address; empty where it has none, or does not start."""
    try:
        with started([program, "--help"]) as asked:
            done = finish(asked, time.monotonic() + _START_S, lambda: None)
    except (OSError, Unavailable):
        return ""
    offered = (done.stdout + done.stderr).split()
    return next((option for option in _BIND if option in offered), "")


# --- one test ---------------------------------------------------------------------------------------------------------


def _failed(sender: _Node, receiver: _Node, rail: str, why: str, absent: bool = False) -> Link:
    return Link(sender["node"], receiver["node"], rail, None, 0.0, why, absent)


def _finish(ctx: CheckContext, process: Tool, end: float) -> tuple[str, str]:
    """What a client said, and why it failed. A client that does not end is left to whoever started it."""
    done = finish(process, end, lambda: ctx.beat("writing"))
    text = done.stdout + done.stderr
    if done.late:
        return text, "the test did not end in time"
    return text, f"status {done.returncode}: {complaint(text)}" if done.returncode else ""


# --- what comes of it -------------------------------------------------------------------------------------------------


def _of_links(ctx: CheckContext, links: list[Link]) -> None:
    """Emit what speaks of links: the slowest of each rail, and all that miss their limit."""
    measured = [link for link in links if link.rate_bytes]
    ctx.emit("links", len(measured))
    lines = {link: (link.rate_bytes or 0) / link.line_bytes for link in measured if link.line_bytes}
    _emit_slow(ctx, "line_share", lines)
    if measured and not lines:
        ctx.unsupported("line_share", "the rate of the ports is not known")
    if len(measured) < _FEWEST_LINKS:
        ctx.unsupported("rail_share", f"{len(measured)} links were measured, {_FEWEST_LINKS} are needed for a median")
        return
    median = statistics.median(link.rate_bytes or 0 for link in measured)
    _emit_slow(ctx, "rail_share", {link: (link.rate_bytes or 0) / median for link in measured})


def _emit_slow(ctx: CheckContext, name: str, shares: dict[Link, float]) -> None:
    limit = next(m.limit for m in IbWriteBw.metrics if m.name == name)
    slowest: dict[str, Link] = {}
    for link in sorted(shares, key=lambda link: shares[link]):
        slowest.setdefault(link.rail, link)
    for link, share in shares.items():
        if slowest[link.rail] is link or (limit and not limit.met_by(share)):
            ctx.emit(name, share, link.name)
