"""Whether every expected network link is up, at its rate, and free of errors since the job began. As the check ``ib_links`` judges."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.app.node_check.look import Look
from hpcaccept.app.node_check.one_node import OneNode, judged
from hpcaccept.checks.ib_links import IbLinks, Links
from hpcaccept.model.check import Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import at_most
from hpcaccept.serial import from_plain, to_plain

if TYPE_CHECKING:
    from hpcaccept.app.node_check.look import Asked
    from hpcaccept.model.node_check import Item

PART = "links"
#: What the difference over a job can judge.
_OVER_A_JOB = ("missing_ports", "degraded_ports", "link_faults", "error_share")


def look(asked: Asked) -> Look:
    """Ports of RDMA adapters, and network interfaces with hardware behind them."""
    found, wanted = Look(), asked.expected
    check = IbLinks(ports=wanted.ports, rate_gbit=wanted.rate_gbit, root=str(asked.root))
    seat = OneNode(check, node=asked.node)
    now = check.begin(seat)
    assert now is not None
    before = from_plain(asked.before, Links) if asked.before is not None else now
    seat.begun = replace(before, at_s=time.monotonic() - asked.elapsed_s)
    # Links that were there before the job and are not any more count as well: ``compare`` looks at both.
    with contextlib.suppress(Unavailable):  # no adapter here, and none is expected
        check.compare(seat, check.measure(seat))
    only = _OVER_A_JOB if asked.before is not None else _OVER_A_JOB[:2]
    found.items += seat.items(PART, only=only)
    found.facts |= {name: text for name, text in seat.facts.items() if name.startswith(("port[", "adapters"))}
    found.items += [_interface(name, now) for name in wanted.interfaces]
    found.kept = to_plain(now)
    found.compare(_counters(before), _counters(now))
    return found


def _interface(name: str, now: Links) -> Item:
    interface = now.interfaces.get(name)
    why = "" if interface and interface.up else "it is down" if interface else "there is no such interface"
    limit = at_most(0, "interfaces", "what this node is expected to have")
    return judged(PART, f"interfaces_down[{name}]", FindingCode.PORT_DOWN, float(bool(why)), limit, why)


def _counters(links: Links) -> dict[str, float]:
    """Error counters by port and interface; traffic moves in every job and tells nothing."""
    owners = {name: port.counters for name, port in links.ports.items()}
    owners |= {name: interface.counters for name, interface in links.interfaces.items()}
    return {
        f"{name} {counter}": float(count)
        for name, counters in owners.items()
        for counter, count in counters.items()
        if not counter.endswith(("_data", "_packets")) and not counter.startswith(("unicast", "multicast"))
    }
