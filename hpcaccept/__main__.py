"""``python -m hpcaccept``: the command line, with the exit codes that every command shares."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; an error is a sentence on standard error and an exit code, never a traceback."""
    from hpcaccept.cli import main as cli

    sys.exit(cli())


if __name__ == "__main__":
    main()
