"""``python -m hpcaccept``: the command line, with the exit codes that every command shares."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Run the command line; an error is a sentence on standard error and an exit code, never a traceback."""
    try:
        run = _loaded()
    except KeyboardInterrupt:
        sys.exit(130)
    except (Exception, SystemExit) as fault:  # noqa: BLE001  exit code 1, Python's own, would say that a node is not fit
        with contextlib.suppress(OSError, AttributeError):
            sys.stderr.write(
                f"Error: hpcaccept cannot be loaded: {type(fault).__name__}: {fault}\n"
                "  → Install it again, or look at what PYTHONPATH puts before it; nothing is said of any node.\n"
            )
        sys.exit(3)
    sys.exit(run())


def _loaded() -> Callable[[], int]:
    """What is left to run. ``--version`` alone is answered here: it needs no click, which takes as long as all the rest."""
    if sys.argv[1:] == ["--version"]:
        from hpcaccept.app.commit import version_line

        line = version_line()
        with contextlib.suppress(
            OSError, AttributeError, UnicodeError
        ):  # the command line knows what to do without a reader
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            return int
    from hpcaccept.cli import main as cli

    return cli


if __name__ == "__main__":
    main()
