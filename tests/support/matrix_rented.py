"""``python -m support.matrix_rented OPTIONS WORDS…``: hpcaccept at the quick pace of ``support.vast_cli``, in the processes that rent too."""

from __future__ import annotations

import json
import sys

from hpcaccept.app.matrix import rented
from hpcaccept.cli import main
from support import vast_cli


def words(options: dict[str, object], *rest: str) -> list[str]:
    """The command."""
    return [sys.executable, "-m", "support.matrix_rented", json.dumps(options), *rest]


if __name__ == "__main__":
    vast_cli.use(json.loads(sys.argv[1]))
    rented.COMMAND = (sys.executable, "-m", "support.matrix_rented", sys.argv[1])
    sys.exit(main(sys.argv[2:]))
