"""How is a TOML file read so that a mistake names its file and line?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UsageError: absent, unreadable or not TOML; the message has the file and the place.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:  # pragma: no cover (Python 3.10)
        import tomli as tomllib
    try:
        tables: dict[str, Any] = tomllib.loads(file.read_text("utf-8"))
    except OSError as fault:
        raise UsageError(f"Cannot read {file}: {fault.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise UsageError(f"{file} is not TOML: {fault}.") from None
    return tables
