"""``python -m support.vast_cli OPTIONS WORDS…``: hpcaccept, at a quick pace. OPTIONS is JSON: ``{"tester": {…}, "guard": false,
"connect_s": 4.0}``.

The server is that of ``VAST_URL``, the key that of ``VAST_API_KEY``. Without ``tester`` the real one is used.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from hpcaccept.app.tester.examine import Plan
from hpcaccept.app.vast import fleet, guard, removal, rental, standard_tester
from hpcaccept.cli import main
from hpcaccept.proof.challenge import Challenge
from hpcaccept.transport import vast_api
from support.vast_server import KEY
from support.vast_tester import WrittenTester

ROOT = Path(__file__).parents[2]
QUICK = fleet.Pace(
    poll_s=0.05, money_s=0.2, listed_s=1.0, port_s=0.3, create_s=0.5, destroy_wait_s=0.02, destroy_tries=10
)


def environment(url: str) -> dict[str, str]:
    """Variables of a client of the server of a test."""
    paths = os.pathsep.join((str(ROOT / "tests"), str(ROOT)))
    return {**os.environ, "PYTHONPATH": paths, "VAST_URL": url, "VAST_API_KEY": KEY}


def words(options: dict[str, Any], *rest: str) -> list[str]:
    """The command."""
    return [sys.executable, "-m", "support.vast_cli", json.dumps(options), "vast", *rest]


def use(options: dict[str, Any]) -> None:
    """Let this process be quick."""
    vast_api.INTERVAL_S = 0.0
    vast_api._FIRST_WAIT_S = 0.02
    removal.WAIT_S = 0.02
    guard.LOOKS, guard.BETWEEN_S = 4, 0.3
    guard.COMMAND = (sys.executable, "-m", "support.vast_cli", json.dumps(options), "vast", "guard")
    if not options.get("guard", True):
        guard.post = lambda *_: None  # type: ignore[assignment]
    fleet.PACE = dataclasses.replace(QUICK, **options.get("pace", {}))
    rental._CONNECT_S = options.get("connect_s", rental._CONNECT_S)
    if "tester" in options:
        tester = WrittenTester.from_json(json.dumps(options["tester"]))
        standard_tester.standard_tester = lambda _, **__: tester  # type: ignore[assignment]
    if "small" in options:
        small = Challenge("0" * 64, 64, 64, 16, 4)
        floor, peak = small.ops / 60, small.ops * 1e6
        plan = Plan(challenge=small, openings=24, groups=0, transfer_bytes=1 << 16, floor_ops=floor, peak_ops=peak)
        real = standard_tester.standard_tester
        standard_tester.standard_tester = lambda suite, **more: real(suite, plan=plan, global_only=False, **more)


def run() -> int:
    """What the command line asks for."""
    use(json.loads(sys.argv[1]))
    return main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(run())
