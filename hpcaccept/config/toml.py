"""Reads a TOML file so that a mistake names its file and line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hpcaccept.bounded import read_text
from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

#: Of a file that people write.
MOST_BYTES = 1024 * 1024


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UsageError: absent, unreadable or not TOML; the message has the file and the place.
    """
    try:
        text = read_text(file, follow=True, most=MOST_BYTES)
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
    except RecursionError:
        raise UsageError(f"{place} is not TOML that can be read: it is nested too deeply.") from None
    except ValueError as fault:  # TOMLDecodeError, and whole numbers of thousands of digits
        raise UsageError(f"{place} is not TOML: {str(fault)[:300]}.") from None
    return tables
