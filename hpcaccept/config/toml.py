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
    try:
        text = file.read_text("utf-8")
    except OSError as fault:
        raise UsageError(f"Cannot read {file}: {fault.strerror}.") from None
    except UnicodeDecodeError as fault:
        raise UsageError(f"{file} is not TOML: {fault}.") from None
    return parse_toml(text, str(file))


def parse_toml(text: str, place: str) -> dict[str, Any]:
    """The tables in a text.

    Raises:
        UsageError: it is not TOML; the message has ``place`` and the line.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:  # pragma: no cover (Python 3.10)
        import tomli as tomllib
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise UsageError(f"{place} is not TOML: {fault}.") from None
    return tables
