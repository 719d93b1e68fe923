"""``python -m support.vast_market [FOLDER]``: a marketplace on this machine to try ``hpcaccept vast`` with, until ^C.

Machine 4711 is honest, 4712 skips a part of its work, 4713 went offline. Each is a real process; nothing leaves this machine, and nothing costs anything.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from support import lying_testers, vast_machines
from support.vast_server import KEY, Behaviour, VastServer, vast_server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
OPTIONS = {"small": True}
HONEST, LIAR, OFFLINE = 4711, 4712, 4713


@contextlib.contextmanager
def market(folder: Path) -> Iterator[VastServer]:
    """A server with three machines; ``suite.toml`` in the folder is what they can run within seconds."""
    (folder / "suite.toml").write_text(vast_machines.SUITE)
    with vast_server() as server:
        machines = vast_machines.Machines(folder / "machines")
        server.start = machines.start
        for machine, score in ((HONEST, 900.0), (LIAR, 800.0), (OFFLINE, 700.0)):
            server.offer(machine, num_gpus=1, gpu_name="H100 SXM", dph_total=1.9, dlperf=score, total_flops=989.0)
        machines.liars[LIAR] = lying_testers.LazyRows
        server.behaviours[OFFLINE] = Behaviour(status="offline")
        server.foreign(3)
        yield server


def shell(server: VastServer) -> list[str]:
    """What another shell needs."""
    command = [sys.executable, "-m", "support.vast_cli", json.dumps(OPTIONS)]
    return [
        f"export VAST_URL={server.url} VAST_API_KEY={KEY} PYTHONPATH={ROOT / 'tests'}:{ROOT}",
        f'hpcaccept() {{ {shlex.join(command)} "$@"; }}',
    ]


def main() -> None:
    """Until ^C."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="market-"))
    folder.mkdir(parents=True, exist_ok=True)
    with market(folder) as server:
        for line in ("# In another shell:", *shell(server), f"cd {shlex.quote(str(folder))}"):
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
