"""How long do ``hpcaccept azure gather`` and ``health`` take with 300 nodes of which two are dead, and is every one accounted for? And 1,000 that are judged?"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._child import ROOT
from benchmarks._row import CannotRun, Row, Target
from hpcaccept.app.azure import gather, node_health

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcaccept.app.azure.gather import Gathered

_NODES, _SIMULATED = 300, 1000
#: What issue and run book promise, in seconds.
_MOST_S = 60.0


def measure(quick: bool) -> list[Row]:
    """Names of four real sshds on this machine: both ends of each connection cost its processors.

    Raises:
        CannotRun: there can be no hosts with ssh here.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from support.many_nodes import many_nodes
    from support.ssh_hosts import why_not

    if why_not():
        raise CannotRun(why_not())
    gathered_s, health_s, missing, judged_s = [], [], [], []
    with tempfile.TemporaryDirectory() as folder, many_nodes(Path(folder), _NODES) as many:
        for _ in range(1 if quick else 3):
            begin = time.perf_counter()
            gather.gather(many.names, "uptime", config=many.config, deadline_s=_MOST_S)
            middle = time.perf_counter()
            found = gather.gather(many.names, many.health_command, config=many.config, deadline_s=_MOST_S)
            health = _judged(found)
            end = time.perf_counter()
            gathered_s.append(middle - begin)
            health_s.append(end - middle)
            missing.append(float(len(set(many.names) - {row.node for row in health.rows})))
            begin = time.perf_counter()
            _judged(_repeated(found))
            judged_s.append(time.perf_counter() - begin)
    most, none = Target("value", upper=_MOST_S), Target("value", 0, 0)
    return [
        Row(f"gather one command of {_NODES} nodes, two of them dead", "s", tuple(gathered_s), target=most),
        Row(f"health of {_NODES} nodes, two of them dead: gather and judge", "s", tuple(health_s), target=most),
        Row(f"health of {_NODES} nodes: not accounted for", "nodes", tuple(missing), target=none),
        Row(f"judge the logs of {_SIMULATED:,} nodes, gathered before", "s", tuple(judged_s), target=most),
    ]


def _judged(found: Iterable[Gathered]) -> node_health.ScaleSetHealth:
    files: Mapping[str, node_health.Files] = {each.node: node_health.unpack(each.output, each.why) for each in found}
    return node_health.judge_nodes(files, gpus=8, now=dt.datetime.now(dt.timezone.utc))


def _repeated(found: tuple[Gathered, ...]) -> Iterable[Gathered]:
    """A thousand nodes with the logs of these."""
    for number in range(_SIMULATED):
        one = found[number % len(found)]
        yield gather.Gathered(f"s{number:04d}", one.output, one.why)
