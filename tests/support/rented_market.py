"""``python -m support.rented_market FOLDER``: a marketplace on this machine whose machines are reached by ssh, until ^C; to try ``hpcaccept schedule`` with.

Machine 1 costs 0.50 USD/h, machine 2 a little more and is faster, machine 3 is above every cap. Nothing leaves this machine, and nothing costs anything.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
from pathlib import Path

from support import rented_hosts
from support.vast_server import KEY, vast_server


def main() -> int:
    """Until ^C."""
    if why := rented_hosts.why_not():
        sys.stderr.write(f"There can be no such machines here: {why}\n")
        return 3
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="market-"))
    hosts = rented_hosts.RentedHosts(folder / "machines")
    with vast_server() as server:
        server.start = hosts.start
        for machine, price in ((1, 0.5), (2, 0.52), (3, 2.9)):
            server.offer(
                machine, num_gpus=1, dph_total=price, dlperf=100.0 * machine, verified=True, verification="verified"
            )
        server.foreign(3)
        sys.stdout.write(f"# In another shell:\nexport VAST_URL={server.url} VAST_API_KEY={KEY}\n")
        sys.stdout.write("hpcaccept schedule init --command 'python3 train.py' --image example/image:1\n")
        sys.stdout.write(
            "hpcaccept schedule create --on rented --max-price 0.6 --premium 10% --max-usd 2 --max-hours 1 --yes\n"
        )
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        hosts.end()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
