"""What the official client sent for a list of queries and commands (``tests/data/vast/official_client.json``), and how it is recorded."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import vastai_client
from support.vast_server import KEY, VastServer, vast_server

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE = Path(__file__).parents[1] / "data" / "vast" / "official_client.json"
QUERIES = (
    "",
    "cuda_vers>=12.4 verified=any reliability>0.90 direct_port_count>3 pcie_bw>3 inet_down>10 inet_up>10 gpu_ram>7",
    "gpu_name=RTX_4090 num_gpus>=4",
    "gpu_name in [RTX_4090,RTX_5090] dph<1.5",
    'gpu_name="RTX 4090"',
    "geolocation in [SE,NO,DE]",
    "geolocation not in [CN,RU]",
    "geolocation notin [CN,RU]",
    "geolocation nin [CN,RU]",
    "num_gpus in [1,2,4]",
    "gpu_ram gt 7 gpu_ram lte 48",
    "cpu_ram gte 64 gpu_total_ram lt 200",
    "duration>2.5",
    "driver_version >= 535.86.05",
    "static_ip=true datacenter=False",
    "rentable=any rented=? external=*",
    "verified eq true machine_id neq 5",
    "machine_id==4711",
    "compute_cap>=890 dlperf_usd>100 flops_usd>50 display_active=false",
    "cluster_id=null",
    "inet_up_cost <= 0.01   inet_down_cost<=0.01",
)
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("show", "instances", "--raw"),
    ("show", "instance", "900001", "--raw"),
    ("create", "instance", "7000011", "--image", "me/image:1", "--disk", "40", "--ssh", "--direct", "--env", "-p 5000:5000", "--onstart-cmd", "start", "--label", "a-label", "--raw"),
    ("logs", "900001", "--tail", "200"),
    ("reports", "11"),
    ("search", "benchmarks", "machine_id=11", "--raw"),
    ("destroy", "instance", "900001", "-y"),
)  # fmt: skip


@functools.cache
def recorded() -> dict[str, Any]:
    """``{"queries": {text: body}, "commands": {text: [requests]}}``."""
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return found


def record(home: Path) -> dict[str, Any]:
    """The same from the real client; what it always asks for beside (GPU names, who it is) is left out."""
    queries: dict[str, Any] = {}
    for text in QUERIES:
        with vast_server() as server:
            _prepare(server)
            done = vastai_client.run(server.url, home, "search", "offers", *([text] if text else []), "--raw")
            assert done.returncode == 0, done.stderr
            queries[text] = next(body for line, body in _sent(server) if line == "POST /api/v0/bundles/")
    commands = {}
    for words in COMMANDS:
        with vast_server() as server:
            _prepare(server)
            vastai_client.run(server.url, home, *words)
            commands[" ".join(words)] = [{"request": line, "body": body} for line, body in _sent(server)]
    found = {"client": "vastai 1.9.1", "queries": queries, "commands": commands}
    assert KEY not in json.dumps(found)
    return found


def _prepare(server: VastServer) -> None:
    server.offer(11)
    server.foreign(1)


def _sent(server: VastServer) -> Sequence[tuple[str, Any]]:
    always = re.compile(r"gpu_names|users/current|/logs/")
    return [pair for pair in zip(server.requests, server.sent, strict=True) if not always.search(pair[0])]


def as_text(found: dict[str, Any]) -> str:
    """Of the file."""
    return json.dumps(found, indent=1, sort_keys=True) + "\n"
