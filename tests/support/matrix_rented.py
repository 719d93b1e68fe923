"""``python -m support.matrix_rented OPTIONS WORDS…``: hpcaccept at the quick pace of ``support.vast_cli``, in the processes that rent too.

Beside those of ``support.vast_cli`` OPTIONS has ``kills``: machine of the matrix → kind of request and ``before`` or ``after``. The process that rents for
it kills itself (SIGKILL) at its first request of that kind, and asks no machine for anything.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from hpcaccept.app.matrix import rent, rented
from hpcaccept.cli import main
from hpcaccept.transport.vast_api import VastApi
from support import vast_cli
from support.vast_tester import WrittenTester


def words(options: dict[str, Any], *rest: str) -> list[str]:
    """The command."""
    return [sys.executable, "-m", "support.matrix_rented", json.dumps(options), *rest]


def kill_at(kind: str, when: str) -> None:
    """Make the first request of a kind deadly."""
    rent.CellTester = lambda *_: WrittenTester()  # type: ignore[assignment,misc]
    call = VastApi.call

    def called(self: VastApi, method: str, path: str, *rest: Any, **more: Any) -> Any:
        hit = re.sub(r"\d{3,}", "N", f"{method} {path}") == kind
        if hit and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = call(self, method, path, *rest, **more)
        if hit:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    VastApi.call = called  # type: ignore[method-assign]


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    vast_cli.use(given)
    rented.COMMAND = (sys.executable, "-m", "support.matrix_rented", sys.argv[1])
    if sys.argv[2:4] == ["matrix", "rent"]:
        # …/cells/IMAGE@MACHINE/NUMBER
        machine = Path(sys.argv[4]).parent.name.partition("@")[2]
        if machine in given.get("kills", {}):
            kill_at(*given["kills"][machine])
    sys.exit(main(sys.argv[2:]))
