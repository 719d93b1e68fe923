#!/usr/bin/env python3
"""What does ``docker run IMAGE WORD …`` start? hpcaccept for its own commands and options, else the program of that name.

It becomes what it starts, so signals and the exit code pass. Kubernetes' ``command`` and, by default, Pyxis and Enroot start
programs without it; it therefore sets nothing that a rank needs.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from hpcaccept.cli import _COMMANDS
from hpcaccept.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def chosen(words: Sequence[str]) -> list[str]:
    """The command line that these words stand for."""
    own = not words or words[0].startswith("-") or words[0] in _COMMANDS
    return ["hpcaccept", *(words or ["--help"])] if own else list(words)


def surroundings(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment; with ``docker run --user`` nobody knows the user's name, and home may be no one's."""
    home = environ.get("HOME", "/")
    return {
        **environ,
        "HOME": home if home != "/" and os.access(home, os.W_OK) else "/tmp",
        "USER": environ.get("USER") or "hpcaccept",
    }


def main(words: Sequence[str]) -> int:
    """Become it. Returns only when that cannot be, with the exit code of shells for it."""
    command = chosen(words)
    try:
        os.execvpe(command[0], command, surroundings(os.environ))
    except FileNotFoundError:
        why, code = "is neither a command of hpcaccept nor a program of this image", 127
    except PermissionError:
        why, code = "is there, but may not be started", 126
    except OSError as fault:
        why, code = f"cannot be started: {fault.strerror}", 126
    print(f"hpcaccept-entrypoint: {command[0]!r} {why}. {nearest(command[0], _COMMANDS)}", file=sys.stderr)  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
