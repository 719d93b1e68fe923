"""Shows text that came from elsewhere without letting it act."""

from __future__ import annotations

import re

#: C0 and C1 controls (ESC among them) and Unicode's direction overrides; lone surrogates, which no terminal takes. Tab and newline become spaces.
_DANGEROUS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def safe(text: str) -> str:
    """The text with control characters replaced: a log line must not be able to steer a terminal."""
    return _DANGEROUS.sub(lambda m: " " if m[0] in "\t\n\r" else "\ufffd", text)


#: A spreadsheet takes a cell that begins so for a formula. https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@")


def cell(text: str) -> str:
    """A text as a cell of a table: one that a spreadsheet would run as a formula begins with an apostrophe."""
    shown = safe(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
