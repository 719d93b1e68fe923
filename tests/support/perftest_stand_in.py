#!/usr/bin/env python3
"""An ``ib_write_bw`` without RDMA: the command line and the words of perftest, over a real TCP connection.

It is strict where a forgiving program would hide a fault of its caller: unknown options, a client whose settings are not the
server's, a second client, an unknown device end it with an error. HPCACCEPT_FAKE_PERFTEST is a JSON file: ``devices``, and
``gbits``: ``{"0>1/mlx5_1": 195.0}`` for a write from rank 0 to rank 1 (as the launcher counts), ``mlx5_1`` for any, else
``default``; ``"deaf": ["1/mlx5_0"]`` are servers that never listen, ``"broken": ["0>1/mlx5_0"]`` writes that fail.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

LINE = "-" * 87


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def rank() -> str:
    names = ("PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
    return next((os.environ[name] for name in names if name in os.environ), "0")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-d", "--ib-dev", required=True)
    parser.add_argument("-i", "--ib-port", type=int, default=1)
    parser.add_argument("-p", "--port", type=int, default=18515)
    parser.add_argument("-s", "--size", type=int, default=65536)
    parser.add_argument("-D", "--duration", type=int, required=True)
    parser.add_argument("-q", "--qp", type=int, default=1)
    parser.add_argument("-x", "--gid-index", type=int)
    parser.add_argument("-F", "--CPU-freq", action="store_true")
    parser.add_argument("--report_gbits", action="store_true", required=True)
    parser.add_argument("--source_ip", default="")
    parser.add_argument("host", nargs="?")
    return parser.parse_args()


def fail(*lines: str) -> None:
    say("\n".join(lines))
    sys.exit(1)


def main() -> None:
    asked = arguments()
    world: dict[str, Any] = json.loads(Path(os.environ["HPCACCEPT_FAKE_PERFTEST"]).read_text())
    if asked.ib_dev not in world["devices"]:
        fail(f"IB device {asked.ib_dev} not found", " Unable to find the Infiniband/RoCE device")
    mine = {
        "rank": rank(),
        **{k: v for k, v in vars(asked).items() if k not in ("host", "port", "CPU_freq", "source_ip")},
    }
    peer = serve(asked, mine, world) if asked.host is None else write(asked, mine)
    if {k: v for k, v in peer.items() if k != "rank"} != {k: v for k, v in mine.items() if k != "rank"}:
        fail(" Conflicting settings", f"{mine} against {peer}")
    ends = (peer["rank"], mine["rank"]) if asked.host is None else (mine["rank"], peer["rank"])
    name = f"{ends[0]}>{ends[1]}/{asked.ib_dev}"
    if name in world.get("broken", []):
        fail(" Completion with error at client", " Failed status 12: wr_id 0 syndrom 0x81")
    rates = world.get("gbits", {})
    rate = rates.get(name, rates.get(asked.ib_dev, world.get("default", 391.0)))
    say(f"{LINE}\n                    RDMA_Write BW Test\n Dual-port       : OFF\t\tDevice         : {asked.ib_dev}")
    say(f"{LINE}\n #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]")
    say(f" {asked.size:<10d} 1000             0.00               {rate:.2f} \t\t     0.01\n{LINE}")


def serve(asked: argparse.Namespace, mine: dict[str, Any], world: dict[str, Any]) -> Any:
    if f"{mine['rank']}/{asked.ib_dev}" in world.get("deaf", []):
        time.sleep(600)
    # Servers that are ready at once would prove nothing about the wait for them.
    time.sleep(0.2)
    with socket.create_server((asked.source_ip, asked.port), backlog=1) as door:
        say("************************************\n* Waiting for client to connect... *")
        connection, _ = door.accept()
    with connection:
        return exchange(connection, mine)


def write(asked: argparse.Namespace, mine: dict[str, Any]) -> Any:
    try:
        connection = socket.create_connection((asked.host, asked.port), timeout=5)
    except OSError:
        fail(f"Couldn't connect to {asked.host}:{asked.port}")
        raise
    with connection:
        return exchange(connection, mine)


def exchange(connection: socket.socket, mine: dict[str, Any]) -> Any:
    connection.sendall(json.dumps(mine).encode() + b"\n")
    with connection.makefile("rb") as answers:
        return json.loads(answers.readline())


if __name__ == "__main__":
    main()
